//! Intents, with a revision for each change and a bounded memory of those withdrawn.

use std::collections::{BTreeMap, HashMap};

use crate::store::{ActionId, Claim, Intent, IntentDelta};

#[derive(Debug)]
pub(super) struct Intents {
    /// Each with the revision of its last change.
    live: HashMap<String, (Intent, u64)>,
    /// Live intents by revision.
    order: BTreeMap<u64, String>,
    /// Withdrawn ones by revision, as they were last.
    withdrawn: BTreeMap<u64, Intent>,
    withdrawn_at: HashMap<String, u64>,
    /// How many withdrawn ones are remembered.
    keep: usize,
    revision: u64,
    /// Withdrawals up to here may be forgotten.
    floor: u64,
}

impl Intents {
    pub(super) fn new(keep: usize) -> Self {
        Self {
            live: HashMap::new(),
            order: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
            withdrawn_at: HashMap::new(),
            keep,
            revision: 0,
            floor: 0,
        }
    }

    pub(super) fn put(&mut self, intent: &Intent) {
        if self.live.contains_key(&intent.id) {
            return;
        }
        if let Some(revision) = self.withdrawn_at.remove(&intent.id) {
            self.withdrawn.remove(&revision);
        }
        self.store(intent.clone());
    }

    fn store(&mut self, intent: Intent) {
        self.revision += 1;
        self.order.insert(self.revision, intent.id.clone());
        self.live.insert(intent.id.clone(), (intent, self.revision));
    }

    pub(super) fn get(&self, id: &str) -> Option<Intent> {
        self.live.get(id).map(|(intent, _)| intent.clone())
    }

    /// Changes an intent; false if there is none. A change that changes nothing costs no revision.
    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut Intent)) -> bool {
        let Some((stored, revision)) = self.live.get(id) else {
            return false;
        };
        let mut intent = stored.clone();
        change(&mut intent);
        if intent != *stored {
            self.order.remove(revision);
            self.store(intent);
        }
        true
    }

    pub(super) fn claim(&mut self, id: &str, claim: &Claim, instead_of: Option<&str>) -> bool {
        let Some((intent, _)) = self.live.get(id) else {
            return false;
        };
        if claim.held != intent.hold || intent.exclude.contains(&claim.uid) {
            return false;
        }
        let anew = match &intent.claim {
            Some(current) if current.uid == claim.uid => 0,
            Some(current) if instead_of != Some(current.uid.as_str()) => return false,
            _ => 1,
        };
        self.change(id, |intent| {
            intent.claim = Some(claim.clone());
            intent.claims = intent.claims.saturating_add(anew);
        })
    }

    pub(super) fn withdraw(&mut self, id: &str) -> Option<Intent> {
        let Some((intent, revision)) = self.live.remove(id) else {
            let revision = self.withdrawn_at.get(id)?;
            return self.withdrawn.get(revision).cloned();
        };
        self.order.remove(&revision);
        self.revision += 1;
        self.withdrawn.insert(self.revision, intent.clone());
        self.withdrawn_at.insert(id.to_owned(), self.revision);
        while self.withdrawn.len() > self.keep {
            let Some((revision, forgotten)) = self.withdrawn.pop_first() else {
                break;
            };
            self.withdrawn_at.remove(&forgotten.id);
            self.floor = revision;
        }
        Some(intent)
    }

    pub(super) fn withdraw_all(&mut self, action: ActionId) {
        let ids: Vec<String> = self
            .order
            .values()
            .filter(|id| self.live.get(*id).is_some_and(|(i, _)| i.action == action))
            .cloned()
            .collect();
        for id in ids {
            self.withdraw(&id);
        }
    }

    pub(super) fn since(&self, since: u64) -> IntentDelta {
        let full = since == 0 || since < self.floor || since > self.revision;
        let from = if full { 0 } else { since };
        let changed = self.order.range(from.saturating_add(1)..);
        let gone = self.withdrawn.range(from.saturating_add(1)..);
        IntentDelta {
            revision: self.revision,
            full,
            changed: changed.filter_map(|(_, id)| self.get(id)).collect(),
            withdrawn: if full {
                Vec::new()
            } else {
                gone.map(|(_, intent)| intent.id.clone()).collect()
            },
        }
    }
}
