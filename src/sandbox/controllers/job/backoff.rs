//! How long a Job waits before it replaces a failed pod (pkg/controller/job/backoff_utils.go). Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::pods::finished_at;

/// The first pause and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// The failures since the last success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    last: Option<Timestamp>,
}

impl Backoff {
    /// After these pods have ended.
    #[must_use]
    pub fn after(self, succeeded: &[Arc<Pod>], failed: &[Arc<Pod>]) -> Self {
        let success = succeeded.iter().map(|pod| finished_at(pod)).max();
        let later = failed
            .iter()
            .map(|pod| finished_at(pod))
            .filter(|time| success.is_none_or(|success| *time > success));
        let later = Vec::from_iter(later);
        let before = if success.is_some() {
            Self::default()
        } else {
            self
        };
        Self {
            failures: before
                .failures
                .saturating_add(u32::try_from(later.len()).unwrap_or(u32::MAX)),
            last: later.into_iter().max().or(before.last),
        }
    }

    /// How long to wait at `now`.
    #[must_use]
    pub fn left(self, now: Timestamp) -> Duration {
        pause(self.failures, self.last, now)
    }
}

/// How long to wait at `now` after so many failures, the last of them then.
#[must_use]
pub fn pause(failures: u32, last: Option<Timestamp>, now: Timestamp) -> Duration {
    let Some(last) = last.filter(|_| failures > 0) else {
        return Duration::ZERO;
    };
    let doubled = PAUSES.0.saturating_mul(1 << (failures - 1).min(16));
    let passed = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    doubled.min(PAUSES.1).saturating_sub(passed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pauses_double_until_a_success() {
        let pod = |second: u32| {
            let pod: Pod = serde_json::from_value(json!({"metadata": {
                "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")}}))
            .unwrap();
            Arc::new(pod)
        };
        let now: Timestamp = "2026-01-01T00:00:30Z".parse().unwrap();
        let first = Backoff::default().after(&[], &[pod(25)]);
        assert_eq!(first.left(now), Duration::from_secs(5));
        let third = first.after(&[], &[pod(28), pod(30)]);
        assert_eq!(third.left(now), Duration::from_secs(40));
        assert_eq!(third.after(&[pod(30)], &[]).left(now), Duration::ZERO);
        let mixed = third.after(&[pod(28)], &[pod(27), pod(29)]);
        assert_eq!(mixed.left(now), Duration::from_secs(9));
    }
}
