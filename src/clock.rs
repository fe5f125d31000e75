//! The only place where time enters the program.
//!
//! Everything that waits or asks what time it is goes through these functions. In production they are
//! the system's clocks. In a simulation (`tokio::time::pause`, one thread) [`simulate`] pins the wall
//! clock to tokio's virtual one, so that one seed gives one run.
#![allow(clippy::disallowed_methods)]

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

thread_local! {
    static SIMULATED: RefCell<Option<(Instant, Timestamp)>> = const { RefCell::new(None) };
}

/// Pins this thread's wall clock to tokio's virtual time: [`now`] answers `start` plus the virtual
/// time that has passed since this call. Call it on a current-thread runtime with paused time.
pub fn simulate(start: Timestamp) {
    SIMULATED.with(|cell| *cell.borrow_mut() = Some((Instant::now(), start)));
}

/// Wall-clock time.
#[must_use]
pub fn now() -> Timestamp {
    SIMULATED.with(|cell| match *cell.borrow() {
        Some((since, start)) => start
            .checked_add(SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::ZERO))
            .unwrap_or(start),
        None => Timestamp::now(),
    })
}

/// Monotonic time, for measuring how long something took. Virtual when tokio's time is paused.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until `deadline`.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline).await;
}

/// The future did not finish in time.
#[derive(Debug, thiserror::Error)]
#[error("timed out after {0:?}")]
pub struct Elapsed(pub Duration);

/// Runs `future` for at most `duration`.
///
/// # Errors
/// [`Elapsed`] if the time ran out; the future is dropped then.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(duration, future)
        .await
        .map_err(|_| Elapsed(duration))
}

/// A ticker that skips the ticks nobody waited for. The first tick is immediate.
#[must_use]
pub fn interval(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn simulated_wall_clock_follows_virtual_time() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        simulate(start);
        assert_eq!(now(), start);
        sleep(Duration::from_secs(90)).await;
        assert_eq!(now(), "2026-01-01T00:01:30Z".parse::<Timestamp>().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn timeout_reports_what_was_allowed() {
        let answer = timeout(Duration::from_secs(3), std::future::pending::<()>()).await;
        assert_eq!(answer.unwrap_err().to_string(), "timed out after 3s");
    }
}
