//! How long a DaemonSet waits before it deletes the failed pod of a node once more: it often fights with
//! a kubelet that refuses its pods (daemon_controller.go, `failedPodsBackoff`).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// The first pause and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15 * 60));

/// The pauses by DaemonSet (uid) and node.
#[derive(Debug, Default)]
pub struct Backoffs(Mutex<BTreeMap<(String, String), (Instant, Duration)>>);

impl Backoffs {
    /// How long to wait now; `None` if the deletion may be made, which doubles the next pause.
    pub fn ask(&self, set: &str, node: &str, now: Instant) -> Option<Duration> {
        let mut map = self
            .0
            .lock()
            .expect("no code panics while it holds this lock");
        // What was quiet for long has recovered.
        map.retain(|_, (last, _)| now.saturating_duration_since(*last) < 2 * PAUSES.1);
        let key = (set.to_owned(), node.to_owned());
        if let Some((last, pause)) = map.get(&key) {
            let passed = now.saturating_duration_since(*last);
            if passed < *pause {
                return Some(*pause);
            }
        }
        let next = map
            .get(&key)
            .map_or(PAUSES.0, |(_, pause)| (*pause * 2).min(PAUSES.1));
        map.insert(key, (now, next));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double() {
        let (backoffs, start) = (Backoffs::default(), crate::clock::instant());
        let at = |seconds: u64| backoffs.ask("u", "n", start + Duration::from_secs(seconds));
        assert_eq!(at(0), None);
        assert_eq!(at(0), Some(Duration::from_secs(1)));
        assert_eq!(at(1), None);
        assert_eq!(at(2), Some(Duration::from_secs(2)));
        assert_eq!(at(3), None);
    }
}
