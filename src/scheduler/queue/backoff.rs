//! How long a pod waits after an attempt (`backoff_queue.go`).
//!
//! Backoffs end in whole seconds; within one, the active queue's order decides (KEP-5142).

use std::time::Duration;

use tokio::time::Instant;

use super::QueuedPod;
use super::policy::Policy;

/// How long a rejected pod waits.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// After the first rejection (`podInitialBackoffSeconds`, 1).
    pub initial: Duration,
    /// At most (`podMaxBackoffSeconds`, 10).
    pub max: Duration,
    /// After this long in unschedulable a pod is tried again whatever happens
    /// (`--pod-max-in-unschedulable-pods-duration`, 5 min).
    pub max_unschedulable: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(10),
            max_unschedulable: Duration::from_secs(300),
        }
    }
}

impl Backoff {
    /// After so many attempts in vain.
    pub(super) fn delay(&self, count: u32) -> Duration {
        if count == 0 {
            return Duration::ZERO;
        }
        let doubled = 2_u32.checked_pow(count - 1).unwrap_or(u32::MAX);
        self.initial.saturating_mul(doubled).min(self.max)
    }
}

/// The second in which a pod's backoff ends, counted from `epoch`.
pub(super) fn window(pod: &QueuedPod, epoch: Instant) -> u64 {
    window_of(pod.backoff_until, epoch)
}

/// The second of a time, counted from `epoch`.
pub(super) fn window_of(at: Instant, epoch: Instant) -> u64 {
    at.duration_since(epoch).as_secs()
}

/// The order of pods backing off.
pub(super) fn order(
    policy: &dyn Policy,
    epoch: Instant,
) -> impl Fn(&QueuedPod, &QueuedPod) -> bool {
    move |a, b| {
        let (wa, wb) = (window(a, epoch), window(b, epoch));
        wa < wb || (wa == wb && policy.less(a, b))
    }
}
