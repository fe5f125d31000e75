//! The one writer of an action's record while it is carried out.
//!
//! Invariant: what is in memory is what is stored; a change is visible to readers only after the store has
//! taken it. When another executor has taken the action over, every later write is refused and the
//! cancellation token stops the steps.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::end::End;
use super::event::{What, event};
use crate::clock;
use crate::store::{self, ActionId, ActionRecord, Store};

/// The longest pause between two tries to reach the store.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// See the module documentation.
pub struct Journal {
    store: Arc<dyn Store>,
    record: Mutex<ActionRecord>,
    stop: CancellationToken,
    /// The action's id.
    pub id: ActionId,
    /// The fence under which it is carried out.
    pub fence: u64,
}

impl Journal {
    /// Takes over the writing of `record`. `stop` ends all steps: shutdown, or the action was lost.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, record: ActionRecord, stop: CancellationToken) -> Self {
        let (id, fence) = (record.id, record.fence);
        Self {
            store,
            record: Mutex::new(record),
            stop,
            id,
            fence,
        }
    }

    /// Reads the record.
    pub async fn read<R>(&self, read: impl FnOnce(&ActionRecord) -> R) -> R {
        read(&*self.record.lock().await)
    }

    /// Changes the record and appends events about it, in one write.
    ///
    /// # Errors
    /// [`End::Stopped`] when the action is another's now, or on shutdown before the store was reached.
    pub async fn write(
        &self,
        change: impl FnOnce(&mut ActionRecord) + Send,
        events: &[What],
    ) -> Result<(), End> {
        let mut held = self.record.lock().await;
        let mut next = held.clone();
        change(&mut next);
        let events: Vec<_> = events.iter().map(|what| event(&next, *what)).collect();
        let version = retrying(&self.stop, || self.store.save(&next, &events)).await?;
        match version {
            Ok(version) => {
                next.version = version;
                *held = next;
                Ok(())
            }
            Err(error) => {
                tracing::warn!(action = %self.id, %error, "giving the action up");
                self.stop.cancel();
                Err(End::Stopped)
            }
        }
    }
}

/// Repeats a call while the store is unavailable; answers any other error. Redis away loses nothing: the
/// action waits.
///
/// # Errors
/// [`End::Stopped`] on shutdown.
pub async fn retrying<T, F, Fut>(
    stop: &CancellationToken,
    mut call: F,
) -> Result<store::Result<T>, End>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = store::Result<T>>,
{
    let mut pause = Duration::from_millis(20);
    loop {
        match call().await {
            Err(store::Error::Unavailable(problem)) => {
                tracing::warn!(%problem, "the store is unavailable, waiting");
                tokio::select! {
                    () = stop.cancelled() => return Err(End::Stopped),
                    () = clock::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                }
            }
            other => return Ok(other),
        }
    }
}
