//! What an owner's last round asked for and has not been seen yet in the pod cache: as long as
//! something is outstanding the owner is left alone, or a stale cache would make its controller create
//! twice (pkg/controller/controller_utils.go, `ControllerExpectations`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::sandbox::controllers::informer::Key;

/// After this time an expectation is given up: an event was lost.
const EXPIRY: Duration = Duration::from_secs(5 * 60);

#[derive(Debug)]
struct Expectation {
    creations: usize,
    deletions: BTreeSet<Key>,
    since: Instant,
}

/// The expectations of all owners of one kind.
#[derive(Debug, Default)]
pub struct Expectations(Mutex<BTreeMap<Key, Expectation>>);

impl Expectations {
    /// Whether everything that `owner` asked for was seen, or it is too long ago.
    pub fn satisfied(&self, owner: &Key, now: Instant) -> bool {
        self.map().get(owner).is_none_or(|expected| {
            (expected.creations == 0 && expected.deletions.is_empty())
                || now.saturating_duration_since(expected.since) > EXPIRY
        })
    }

    /// `owner` is about to create that many pods and to delete these.
    pub fn expect(&self, owner: &Key, creations: usize, deletions: BTreeSet<Key>, now: Instant) {
        let expected = Expectation {
            creations,
            deletions,
            since: now,
        };
        self.map().insert(owner.clone(), expected);
    }

    /// `count` pods of `owner` were seen, or will never be.
    pub fn created(&self, owner: &Key, count: usize) {
        if let Some(expected) = self.map().get_mut(owner) {
            expected.creations = expected.creations.saturating_sub(count);
        }
    }

    /// The end of this pod of `owner` was seen, or will never be.
    pub fn deleted(&self, owner: &Key, pod: &Key) {
        if let Some(expected) = self.map().get_mut(owner) {
            expected.deletions.remove(pod);
        }
    }

    /// `owner` is gone.
    pub fn forget(&self, owner: &Key) {
        self.map().remove(owner);
    }

    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Expectation>> {
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[tokio::test(start_paused = true)]
    async fn outstanding_creations_and_deletions_hold_the_owner_back() {
        let expectations = Expectations::default();
        let (owner, pod) = (Key::new("d", "rs"), Key::new("d", "p"));
        assert!(expectations.satisfied(&owner, clock::instant()));
        expectations.expect(&owner, 2, BTreeSet::new(), clock::instant());
        expectations.created(&owner, 1);
        assert!(!expectations.satisfied(&owner, clock::instant()));
        expectations.created(&owner, 1);
        assert!(expectations.satisfied(&owner, clock::instant()));
        expectations.expect(&owner, 0, [pod.clone()].into(), clock::instant());
        assert!(!expectations.satisfied(&owner, clock::instant()));
        expectations.deleted(&owner, &pod);
        assert!(expectations.satisfied(&owner, clock::instant()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_event_does_not_hold_for_ever() {
        let expectations = Expectations::default();
        let owner = Key::new("d", "rs");
        expectations.expect(&owner, 1, BTreeSet::new(), clock::instant());
        clock::sleep(EXPIRY + Duration::from_secs(1)).await;
        assert!(expectations.satisfied(&owner, clock::instant()));
    }
}
