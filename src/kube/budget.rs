//! How much of the API server one kind of call may take: a token bucket and a bound on calls in flight.
//!
//! Binds, actions, and status patches with events have a budget each, so that a storm of
//! `FailedScheduling` can never hold up a bind.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::clock;

/// The size of a budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetOptions {
    /// Calls per second in the long run; zero or less means unlimited.
    pub qps: f64,
    /// Calls that may be made at once after a quiet time.
    pub burst: u32,
    /// Calls in flight. The client speaks HTTP/1.1: each of them holds a connection.
    pub in_flight: usize,
}

/// A budget in use.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Time per call, `None` when unlimited.
    pace: Option<Duration>,
    /// How far the account may be overdrawn: `burst` calls' worth of time.
    credit: Duration,
    /// When the account would be even if nothing else were called (the virtual scheduling of GCRA).
    even_at: Mutex<Option<Instant>>,
    slots: Semaphore,
}

impl Budget {
    pub(crate) fn new(options: BudgetOptions) -> Self {
        let pace = (options.qps > 0.0 && options.qps.is_finite())
            .then(|| Duration::from_secs_f64((1.0 / options.qps).min(3600.0)));
        Self {
            pace,
            credit: pace.unwrap_or_default() * options.burst.max(1).saturating_sub(1),
            even_at: Mutex::new(None),
            slots: Semaphore::new(options.in_flight.max(1)),
        }
    }

    /// Waits until one call may be made; the call is in flight until the answer is dropped.
    pub(crate) async fn take(&self) -> SemaphorePermit<'_> {
        let permit = self
            .slots
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let at = self.reserve(clock::instant());
        if let Some(at) = at {
            clock::sleep_until(at).await;
        }
        permit
    }

    /// Books one call; answers when it may be made, `None` for now.
    fn reserve(&self, now: Instant) -> Option<Instant> {
        let pace = self.pace?;
        let mut even_at = self.even_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = even_at.map_or(now, |at| at.max(now));
        *even_at = Some(start + pace);
        let allowed_at = start.checked_sub(self.credit)?;
        (allowed_at > now).then_some(allowed_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bursts_then_paces() {
        let budget = Budget::new(BudgetOptions {
            qps: 10.0,
            burst: 3,
            in_flight: 100,
        });
        let start = clock::instant();
        let mut at = Vec::new();
        for _ in 0..6 {
            drop(budget.take().await);
            at.push(start.elapsed().as_millis());
        }
        assert_eq!(at[..3], [0, 0, 0]);
        assert!((100..=102).contains(&at[3]), "{at:?}");
        assert!((300..=303).contains(&at[5]), "{at:?}");
        // A quiet time refills the burst, and no more than that.
        clock::sleep(Duration::from_secs(60)).await;
        let start = clock::instant();
        for _ in 0..4 {
            drop(budget.take().await);
        }
        assert!((100..=102).contains(&start.elapsed().as_millis()));
    }

    #[tokio::test(start_paused = true)]
    async fn bounds_what_is_in_flight() {
        let budget = Budget::new(BudgetOptions {
            qps: 0.0,
            burst: 0,
            in_flight: 1,
        });
        let held = budget.take().await;
        let waited = clock::timeout(Duration::from_secs(5), budget.take()).await;
        assert!(waited.is_err());
        drop(held);
        drop(
            clock::timeout(Duration::from_secs(5), budget.take())
                .await
                .unwrap(),
        );
    }
}
