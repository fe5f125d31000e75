//! The scheduler's view of the intents in the store, and which pods have taken them locally.
//!
//! Invariants: the view is that of revision `revision`; an intent taken locally by a pod goes to no other
//! pod until it is given back. The store has the last word: a local taking is confirmed by
//! `Store::claim` before the binding.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::{Intent, IntentDelta};

/// How often an intent may be claimed anew before the action is told that it leads nowhere.
pub const MAX_CLAIMS: u32 = 10;

/// What the intents say about a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// Nothing: ordinary scheduling.
    None,
    /// This one, with the uid of the dead pod whose claim it still carries.
    Intent(Box<Intent>, Option<String>),
    /// This one, but too many pods have had it.
    Exhausted(Box<Intent>),
}

/// See the module.
#[derive(Debug, Default)]
pub struct IntentBook {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    revision: u64,
    intents: BTreeMap<String, Intent>,
    /// workload uid -> ids
    by_workload: HashMap<String, BTreeSet<String>>,
    /// intent id -> pod uid
    taken: HashMap<String, String>,
}

impl IntentBook {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The revision of the view; 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.inner().revision
    }

    /// How many intents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner().intents.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in the store's answer. Answers the uids of the workloads whose pods should be looked at
    /// again: an intent of theirs is new, withdrawn, changed in what it wants, or free again.
    pub fn apply(&self, delta: IntentDelta) -> HashSet<String> {
        let mut inner = self.inner();
        let mut affected = HashSet::new();
        let mut gone = delta.withdrawn;
        if delta.full {
            let kept: HashSet<&String> = delta.changed.iter().map(|i| &i.id).collect();
            gone.extend(
                inner
                    .intents
                    .keys()
                    .filter(|id| !kept.contains(id))
                    .cloned(),
            );
        }
        for id in gone {
            inner.taken.remove(&id);
            if let Some(old) = inner.intents.remove(&id) {
                let uid = old.workload.uid;
                let left = inner.by_workload.get_mut(&uid).is_some_and(|ids| {
                    ids.remove(&id);
                    !ids.is_empty()
                });
                if !left {
                    inner.by_workload.remove(&uid);
                }
                affected.insert(uid);
            }
        }
        for new in delta.changed {
            let uid = new.workload.uid.clone();
            inner
                .by_workload
                .entry(uid.clone())
                .or_default()
                .insert(new.id.clone());
            let old = inner.intents.insert(new.id.clone(), new.clone());
            let matters = old.is_none_or(|old| {
                old.node != new.node
                    || old.hold != new.hold
                    || (old.claim.is_some() && new.claim.is_none())
            });
            if matters {
                affected.insert(uid);
            }
        }
        inner.revision = delta.revision;
        affected
    }

    /// The intent for a pod of a workload: the one it has already, else the oldest that is free. A claim
    /// or taking of a dead pod leaves an intent free. `owner` is the uid of the pod's direct owner: some
    /// intents are for the pods of one ReplicaSet only.
    #[must_use]
    pub fn find(
        &self,
        pod: &str,
        owner: Option<&str>,
        workload: &str,
        is_dead: &dyn Fn(&str) -> bool,
    ) -> Match {
        let inner = self.inner();
        let Some(ids) = inner.by_workload.get(workload) else {
            return Match::None;
        };
        let mut intents: Vec<&Intent> = ids.iter().filter_map(|id| inner.intents.get(id)).collect();
        intents.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let claimant = |intent: &Intent| intent.claim.as_ref().map(|c| c.uid.clone());
        let own = intents.iter().find(|i| {
            claimant(i).as_deref() == Some(pod)
                || inner.taken.get(&i.id).is_some_and(|uid| uid == pod)
                    && claimant(i).as_deref().is_none_or(is_dead)
        });
        if let Some(own) = own {
            let former = claimant(own).filter(|uid| uid != pod);
            return Match::Intent(Box::new((**own).clone()), former);
        }
        for intent in intents {
            let former = claimant(intent);
            let free = former.as_deref().is_none_or(is_dead)
                && inner.taken.get(&intent.id).is_none_or(|uid| is_dead(uid))
                && !intent.exclude.contains(pod)
                && intent
                    .replica_set
                    .as_deref()
                    .is_none_or(|set| owner == Some(set));
            if free && intent.claims >= MAX_CLAIMS {
                return Match::Exhausted(Box::new(intent.clone()));
            }
            if free {
                return Match::Intent(Box::new(intent.clone()), former);
            }
        }
        Match::None
    }

    /// Takes an intent for a pod locally, in place of whoever had it: ask [`Self::find`] first. False if
    /// the intent was withdrawn.
    pub fn take(&self, intent: &str, pod: &str) -> bool {
        let mut inner = self.inner();
        if !inner.intents.contains_key(intent) {
            return false;
        }
        inner.taken.insert(intent.to_owned(), pod.to_owned());
        true
    }

    /// Gives back what a pod has taken locally; a claim in the store stays.
    pub fn give_back(&self, intent: &str, pod: &str) {
        let mut inner = self.inner();
        if inner.taken.get(intent).is_some_and(|uid| uid == pod) {
            inner.taken.remove(intent);
        }
    }

    /// Whether the pod still has this intent and is to be left unbound for it.
    #[must_use]
    pub fn holds(&self, intent: &str) -> bool {
        self.inner().intents.get(intent).is_some_and(|i| i.hold)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::WorkloadRef;
    use crate::store::{ActionId, Claim};

    fn intent(id: &str, second: i64) -> Intent {
        Intent {
            id: id.into(),
            action: ActionId::new(Timestamp::UNIX_EPOCH),
            workload: WorkloadRef {
                api_version: "apps/v1".into(),
                kind: "Deployment".into(),
                namespace: "d".into(),
                name: "web".into(),
                uid: "w".into(),
            },
            node: Some("n1".into()),
            hold: false,
            replica_set: None,
            exclude: BTreeSet::new(),
            claim: None,
            claims: 0,
            refusal: None,
            created_at: Timestamp::from_second(second).unwrap(),
        }
    }

    fn claimed(mut intent: Intent, uid: &str) -> Intent {
        intent.claim = Some(Claim {
            held: false,
            namespace: "d".into(),
            name: "p".into(),
            uid: uid.into(),
        });
        intent
    }

    fn book(intents: Vec<Intent>) -> IntentBook {
        let book = IntentBook::default();
        book.apply(IntentDelta {
            revision: 1,
            full: true,
            changed: intents,
            withdrawn: vec![],
        });
        book
    }

    fn found(book: &IntentBook, pod: &str, dead: &[&str]) -> Option<(String, Option<String>)> {
        match book.find(pod, Some("rs"), "w", &|uid| dead.contains(&uid)) {
            Match::Intent(intent, former) => Some((intent.id, former)),
            _ => None,
        }
    }

    #[test]
    fn the_oldest_free_intent_first_and_each_once() {
        let book = book(vec![intent("b", 1), intent("a", 2)]);
        assert_eq!(found(&book, "p1", &[]), Some(("b".into(), None)));
        assert!(book.take("b", "p1"));
        assert_eq!(
            found(&book, "p1", &[]),
            Some(("b".into(), None)),
            "it keeps its own"
        );
        assert_eq!(found(&book, "p2", &[]), Some(("a".into(), None)));
        assert!(book.take("a", "p2"));
        assert_eq!(found(&book, "p3", &[]), None);
        book.give_back("a", "p2");
        assert_eq!(found(&book, "p3", &[]), Some(("a".into(), None)));
        assert_eq!(book.find("p3", None, "another", &|_| false), Match::None);
    }

    #[test]
    fn a_dead_pods_claim_is_inherited_and_a_living_ones_is_not() {
        let book = book(vec![claimed(intent("a", 1), "old")]);
        assert_eq!(found(&book, "new", &[]), None);
        assert_eq!(
            found(&book, "new", &["old"]),
            Some(("a".into(), Some("old".into())))
        );
        assert_eq!(found(&book, "old", &[]), Some(("a".into(), None)));
    }

    #[test]
    fn excluded_pods_do_not_take_it() {
        let mut i = intent("a", 1);
        i.exclude.insert("before".into());
        let book = book(vec![i]);
        assert_eq!(found(&book, "before", &[]), None);
        assert!(found(&book, "after", &[]).is_some());
    }

    #[test]
    fn an_intent_may_be_for_one_replica_set() {
        let mut i = intent("a", 1);
        i.replica_set = Some("rs".into());
        assert!(found(&book(vec![i.clone()]), "p", &[]).is_some());
        i.replica_set = Some("another".into());
        assert!(found(&book(vec![i]), "p", &[]).is_none());
    }

    #[test]
    fn claims_are_bounded() {
        let mut i = claimed(intent("a", 1), "p1");
        i.claims = MAX_CLAIMS;
        let book = book(vec![i]);
        assert!(found(&book, "p1", &[]).is_some(), "who has it keeps it");
        assert!(matches!(
            book.find("p2", None, "w", &|_| true),
            Match::Exhausted(_)
        ));
    }

    #[test]
    fn a_delta_names_the_workloads_it_concerns() {
        let book = book(vec![intent("a", 1)]);
        let delta = |changed, withdrawn: &[&str]| IntentDelta {
            revision: 2,
            full: false,
            changed,
            withdrawn: withdrawn.iter().map(|w| (*w).to_owned()).collect(),
        };
        assert!(
            book.apply(delta(vec![claimed(intent("a", 1), "p")], &[]))
                .is_empty(),
            "a claim"
        );
        assert_eq!(
            book.apply(delta(vec![intent("a", 1)], &[])).len(),
            1,
            "given back"
        );
        let mut moved = intent("a", 1);
        moved.node = Some("n2".into());
        assert_eq!(book.apply(delta(vec![moved], &[])).len(), 1, "redirected");
        assert_eq!(
            book.apply(delta(vec![], &["a", "unknown"])).len(),
            1,
            "withdrawn"
        );
        assert!(book.is_empty());
        book.apply(delta(vec![intent("b", 1)], &[]));
        let full = IntentDelta {
            revision: 9,
            full: true,
            ..IntentDelta::default()
        };
        assert_eq!(book.apply(full).len(), 1, "a full answer forgets the rest");
        assert_eq!((book.revision(), book.is_empty()), (9, true));
    }
}
