//! The work queue of a controller: a key is never worked on twice at once, a key added while it is
//! worked on is worked on again, and failures come back later and later (client-go's workqueue).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// What can be queued.
pub trait Item: Ord + Clone + Debug + Send + Sync + 'static {}
impl<T: Ord + Clone + Debug + Send + Sync + 'static> Item for T {}

/// First pause after a failure, and the longest. client-go begins at 5 ms and ends at 1,000 s; a
/// sandbox has no reason to let anybody wait that long.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(20));

#[derive(Debug)]
struct Inner<T> {
    ready: VecDeque<T>,
    /// Waits in `ready`, or is to be put there when its present round ends.
    dirty: BTreeSet<T>,
    processing: BTreeSet<T>,
    later: BTreeSet<(Instant, T)>,
    failures: BTreeMap<T, u32>,
}

/// See the module.
#[derive(Debug)]
pub struct Queue<T> {
    inner: Mutex<Inner<T>>,
    wake: Notify,
}

impl<T: Item> Default for Queue<T> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                ready: VecDeque::new(),
                dirty: BTreeSet::new(),
                processing: BTreeSet::new(),
                later: BTreeSet::new(),
                failures: BTreeMap::new(),
            }),
            wake: Notify::new(),
        }
    }
}

impl<T: Item> Queue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Wants `item` worked on.
    pub fn add(&self, item: T) {
        self.lock().add(item);
        self.wake.notify_one();
    }

    /// Wants `item` worked on after `delay`.
    pub fn add_after(&self, item: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(item);
        }
        self.lock().later.insert((clock::instant() + delay, item));
        self.wake.notify_one();
    }

    /// Wants `item` worked on again after a failure; the pause doubles until [`Self::forget`].
    pub fn retry(&self, item: T) {
        let pause = {
            let mut inner = self.lock();
            let failures = inner.failures.entry(item.clone()).or_default();
            let pause = PAUSES
                .0
                .saturating_mul(1 << (*failures).min(16))
                .min(PAUSES.1);
            *failures += 1;
            pause
        };
        self.add_after(item, pause);
    }

    /// Forgets the failures of `item`.
    pub fn forget(&self, item: &T) {
        self.lock().failures.remove(item);
    }

    /// The next item; [`Self::done`] must follow.
    pub async fn get(&self) -> T {
        loop {
            let next = {
                let mut inner = self.lock();
                inner.ripen(clock::instant());
                if let Some(item) = inner.ready.pop_front() {
                    inner.dirty.remove(&item);
                    inner.processing.insert(item.clone());
                    if !inner.ready.is_empty() || !inner.later.is_empty() {
                        self.wake.notify_one();
                    }
                    return item;
                }
                inner.later.first().map(|(due, _)| *due)
            };
            match next {
                Some(due) => tokio::select! {
                    () = clock::sleep_until(due) => {}
                    () = self.wake.notified() => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    /// The round of `item` has ended.
    pub fn done(&self, item: &T) {
        let mut inner = self.lock();
        inner.processing.remove(item);
        if inner.dirty.contains(item) {
            inner.ready.push_back(item.clone());
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

impl<T: Item> Inner<T> {
    fn add(&mut self, item: T) {
        if self.dirty.insert(item.clone()) && !self.processing.contains(&item) {
            self.ready.push_back(item);
        }
    }

    fn ripen(&mut self, now: Instant) {
        while let Some((due, _)) = self.later.first() {
            if *due > now {
                break;
            }
            if let Some((_, item)) = self.later.pop_first() {
                self.add(item);
            }
        }
    }
}

/// Works the queue off with `workers` concurrent rounds until `shutdown`. A failed round is logged
/// under `name` and retried.
pub async fn work<T, E, F, Fut>(
    name: &'static str,
    queue: Arc<Queue<T>>,
    workers: usize,
    shutdown: CancellationToken,
    round: F,
) where
    T: Item,
    E: std::fmt::Display,
    F: Fn(T) -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    let worker = || async {
        loop {
            let item = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                item = queue.get() => item,
            };
            match round(item.clone()).await {
                Ok(()) => queue.forget(&item),
                Err(error) => {
                    tracing::debug!(controller = name, key = ?item, %error, "will be retried");
                    queue.retry(item.clone());
                }
            }
            queue.done(&item);
        }
    };
    futures::future::join_all((0..workers).map(|_| worker())).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_item_is_never_worked_on_twice_at_once() {
        let queue = Queue::new();
        queue.add(1);
        queue.add(1);
        assert_eq!(queue.get().await, 1);
        queue.add(1);
        let waits = clock::timeout(Duration::from_secs(1), queue.get()).await;
        assert!(waits.is_err());
        queue.done(&1);
        assert_eq!(queue.get().await, 1);
        queue.done(&1);
        assert!(
            clock::timeout(Duration::from_secs(1), queue.get())
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn failures_come_back_later_and_later() {
        let queue = Queue::new();
        let rounds = Arc::new(AtomicUsize::new(0));
        let shutdown = CancellationToken::new();
        queue.add("a");
        let started = clock::instant();
        let (counter, stop) = (Arc::clone(&rounds), shutdown.clone());
        work("test", Arc::clone(&queue), 3, shutdown, move |_| {
            let (counter, stop) = (Arc::clone(&counter), stop.clone());
            async move {
                if counter.fetch_add(1, Ordering::SeqCst) == 5 {
                    stop.cancel();
                    return Ok(());
                }
                Err("no")
            }
        })
        .await;
        assert_eq!(rounds.load(Ordering::SeqCst), 6);
        // 5 + 10 + 20 + 40 + 80 ms; tokio's timer has a resolution of one millisecond.
        let waited = started.elapsed().as_millis();
        assert!((155..=165).contains(&waited), "{waited}");
    }

    #[tokio::test(start_paused = true)]
    async fn delayed_items_come_in_the_order_of_their_times() {
        let queue = Queue::new();
        queue.add_after("late", Duration::from_secs(2));
        queue.add_after("soon", Duration::from_secs(1));
        assert_eq!(queue.get().await, "soon");
        assert_eq!(queue.get().await, "late");
    }
}
