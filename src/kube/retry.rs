//! What is repeated, when, and how often. The one place for it.
//!
//! A PodDisruptionBudget's refusal is a 429 like the API server's own overload; only the cause in the
//! status' details tells them apart (kubernetes `pkg/registry/core/pod/storage/eviction.go`). It is
//! never repeated here: waiting for a budget is the action's business.

use std::time::Duration;

use rand::RngExt;

use super::failure::Failure;

/// Whether a call may be made again after a try of which it is unknown whether it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Doing it twice is the same as once: reads, patches to a fixed value, binds (the API server
    /// refuses the second).
    Safe,
    /// Only where the try was certainly not carried out: nobody listened, or the server sheds load.
    IfNotDone,
}

/// Bounds of the repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Tries in all.
    pub tries: u32,
    /// The first delay; each further one doubles.
    pub first: Duration,
    /// No computed delay is longer.
    pub longest: Duration,
    /// A `Retry-After` beyond this is handed to the caller instead of waited for.
    pub patience: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tries: 5,
            first: Duration::from_millis(50),
            longest: Duration::from_secs(2),
            patience: Duration::from_secs(5),
        }
    }
}

impl Policy {
    /// One try.
    #[must_use]
    pub fn once() -> Self {
        Self {
            tries: 1,
            ..Self::default()
        }
    }

    /// How long to wait before another try after `tries` of them, `None` to give up.
    pub fn delay(
        &self,
        tries: u32,
        repeat: Repeat,
        failure: &Failure,
        rng: &mut impl rand::Rng,
    ) -> Option<Duration> {
        let worthwhile = match repeat {
            Repeat::Safe => failure.is_transient(),
            Repeat::IfNotDone => failure.is_transient() && failure.was_not_done(),
        };
        if !worthwhile || tries >= self.tries {
            return None;
        }
        let doubled = self
            .first
            .saturating_mul(
                1_u32
                    .checked_shl(tries.saturating_sub(1))
                    .unwrap_or(u32::MAX),
            )
            .min(self.longest);
        // Jitter upwards as well as downwards: many clients that failed together come back apart.
        let jittered = doubled.mul_f64(rng.random_range(0.5..1.5));
        match failure.retry_after() {
            Some(asked) if asked > self.patience => None,
            Some(asked) => Some(asked.max(jittered)),
            None => Some(jittered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn answered(code: u16, retry_after: Option<u64>, cause: Option<&str>) -> Failure {
        let body = serde_json::json!({
            "kind": "Status", "code": code, "message": "m",
            "details": {"causes": cause.map(|c| vec![serde_json::json!({"reason": c})]).unwrap_or_default()},
        });
        Failure::answered(
            code,
            retry_after.map(Duration::from_secs),
            body.to_string().as_bytes(),
        )
    }

    #[test]
    fn what_is_repeated() {
        let mut rng = SmallRng::seed_from_u64(1);
        let policy = Policy::default();
        let mut delay = |repeat, failure: &Failure| policy.delay(1, repeat, failure, &mut rng);
        let lost = Failure::Lost("reset".into());
        let refused = Failure::NotSent("refused".into());
        assert!(delay(Repeat::Safe, &lost).is_some());
        assert!(delay(Repeat::IfNotDone, &lost).is_none());
        assert!(delay(Repeat::IfNotDone, &refused).is_some());
        assert!(delay(Repeat::IfNotDone, &answered(429, None, None)).is_some());
        assert!(delay(Repeat::IfNotDone, &answered(500, None, None)).is_none());
        assert!(delay(Repeat::Safe, &answered(503, None, None)).is_some());
        assert!(delay(Repeat::Safe, &answered(429, None, Some("DisruptionBudget"))).is_none());
        assert!(delay(Repeat::Safe, &answered(409, None, None)).is_none());
        assert!(delay(Repeat::Safe, &answered(403, None, None)).is_none());
        let asked = delay(Repeat::Safe, &answered(429, Some(3), None)).unwrap();
        assert!(asked >= Duration::from_secs(3));
        assert!(delay(Repeat::Safe, &answered(429, Some(60), None)).is_none());
    }

    #[test]
    fn it_ends() {
        let mut rng = SmallRng::seed_from_u64(1);
        let policy = Policy::default();
        let lost = Failure::Lost("reset".into());
        let delays: Vec<_> = (1..=50)
            .map_while(|n| policy.delay(n, Repeat::Safe, &lost, &mut rng))
            .collect();
        assert_eq!(delays.len(), 4);
        assert!(
            delays.iter().all(|d| *d < Duration::from_secs(3)),
            "{delays:?}"
        );
    }
}
