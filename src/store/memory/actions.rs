//! Actions, who holds them, and the idempotency keys.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::{
    ActionId, ActionPage, ActionRecord, Error, Idempotency, NewEvent, PRUNED_AT_ONCE, Result,
    write_mark,
};

#[derive(Debug)]
struct Entry {
    record: ActionRecord,
    /// Place in the order of acceptance.
    seq: u64,
    /// Recognises a repetition of the last write.
    mark: String,
    lease: Option<Lease>,
}

#[derive(Debug)]
struct Lease {
    owner: String,
    until: Instant,
}

#[derive(Debug)]
struct KnownKey {
    action: ActionId,
    fingerprint: String,
    until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Actions {
    entries: HashMap<ActionId, Entry>,
    /// All actions by acceptance.
    index: BTreeMap<u64, ActionId>,
    /// Those not final, by acceptance.
    unfinished: BTreeMap<u64, ActionId>,
    /// Those that are final, by when they ended.
    finished: VecDeque<(Instant, ActionId)>,
    keys: HashMap<(String, String), KnownKey>,
    last_seq: u64,
}

pub(super) enum Submission {
    Stored,
    Repeated,
    Replayed(ActionId),
}

pub(super) enum Saved {
    Written(u64),
    Repeated(u64),
}

impl Actions {
    pub(super) fn submit(
        &mut self,
        record: &ActionRecord,
        idempotency: Option<&Idempotency>,
        now: Instant,
    ) -> Result<Submission> {
        if let Some(asked) = idempotency {
            let known = self.idempotent(&asked.caller, &asked.key, now);
            if let Some((action, fingerprint)) = known.filter(|(id, _)| *id != record.id) {
                return if fingerprint == asked.fingerprint {
                    Ok(Submission::Replayed(action))
                } else {
                    Err(Error::IdempotencyMismatch {
                        key: asked.key.clone(),
                        action,
                    })
                };
            }
        }
        if self.entries.contains_key(&record.id) {
            return Ok(Submission::Repeated);
        }
        if let Some(asked) = idempotency {
            self.keys.retain(|_, key| key.until > now);
            self.keys.insert(
                (asked.caller.clone(), asked.key.clone()),
                KnownKey {
                    action: record.id,
                    fingerprint: asked.fingerprint.clone(),
                    until: later(now, asked.retention),
                },
            );
        }
        self.last_seq += 1;
        let seq = self.last_seq;
        self.index.insert(seq, record.id);
        if record.state.is_final() {
            self.finished.push_back((now, record.id));
        } else {
            self.unfinished.insert(seq, record.id);
        }
        self.entries.insert(
            record.id,
            Entry {
                record: record.clone(),
                seq,
                mark: String::new(),
                lease: None,
            },
        );
        Ok(Submission::Stored)
    }

    pub(super) fn idempotent(
        &self,
        caller: &str,
        key: &str,
        now: Instant,
    ) -> Option<(ActionId, String)> {
        self.keys
            .get(&(caller.to_owned(), key.to_owned()))
            .filter(|known| known.until > now)
            .map(|known| (known.action, known.fingerprint.clone()))
    }

    pub(super) fn get(&self, id: ActionId) -> Option<ActionRecord> {
        self.entries.get(&id).map(|entry| entry.record.clone())
    }

    pub(super) fn is_final(&self, id: ActionId) -> bool {
        self.entries
            .get(&id)
            .is_some_and(|entry| entry.record.state.is_final())
    }

    pub(super) fn list(&self, limit: usize, from: Option<&str>) -> Result<ActionPage> {
        let below = match from {
            None => u64::MAX,
            Some(text) => text
                .parse()
                .map_err(|_| Error::BadPosition(text.chars().take(80).collect()))?,
        };
        let limit = limit.max(1);
        let mut rest = self.index.range(..below).rev();
        let page: Vec<_> = rest.by_ref().take(limit).collect();
        let next = match (rest.next(), page.last()) {
            (Some(_), Some((seq, _))) => Some(seq.to_string()),
            _ => None,
        };
        let actions = page.into_iter().filter_map(|(_, id)| self.get(*id));
        Ok(ActionPage {
            actions: actions.collect(),
            next,
        })
    }

    pub(super) fn acquire(
        &mut self,
        owner: &str,
        ttl: Duration,
        limit: usize,
        now: Instant,
    ) -> Vec<ActionRecord> {
        let mut taken = Vec::new();
        for id in self.unfinished.values() {
            if taken.len() == limit {
                break;
            }
            let Some(entry) = self.entries.get_mut(id) else {
                continue;
            };
            if entry.lease.as_ref().is_some_and(|lease| lease.until > now) {
                continue;
            }
            entry.record.fence += 1;
            entry.lease = Some(Lease {
                owner: owner.to_owned(),
                until: later(now, ttl),
            });
            taken.push(entry.record.clone());
        }
        taken
    }

    pub(super) fn renew(
        &mut self,
        owner: &str,
        ids: &[ActionId],
        ttl: Duration,
        now: Instant,
    ) -> Vec<ActionId> {
        let mut held = Vec::new();
        for id in ids {
            let lease = self
                .entries
                .get_mut(id)
                .and_then(|entry| entry.lease.as_mut());
            if let Some(lease) = lease.filter(|l| l.owner == owner && l.until > now) {
                lease.until = later(now, ttl);
                held.push(*id);
            }
        }
        held
    }

    pub(super) fn release(&mut self, owner: &str, ids: &[ActionId]) {
        for id in ids {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.lease = entry.lease.take().filter(|lease| lease.owner != owner);
            }
        }
    }

    pub(super) fn save(
        &mut self,
        record: &ActionRecord,
        events: &[NewEvent],
        now: Instant,
    ) -> Result<Saved> {
        let id = record.id;
        let entry = self.entries.get_mut(&id).ok_or(Error::NotFound(id))?;
        if entry.record.fence != record.fence {
            return Err(Error::Fenced(id));
        }
        let mark = write_mark(record, events);
        let stored = entry.record.version;
        if stored == record.version.saturating_add(1) && entry.mark == mark {
            return Ok(Saved::Repeated(stored));
        }
        if stored != record.version || entry.record.state.is_final() {
            return Err(Error::Stale(id));
        }
        entry.record = record.clone();
        entry.record.version = stored + 1;
        entry.mark = mark;
        if record.state.is_final() {
            entry.lease = None;
            self.unfinished.remove(&entry.seq);
            self.finished.push_back((now, id));
        }
        Ok(Saved::Written(stored + 1))
    }

    pub(super) fn prune(&mut self, age: Duration, most: usize, now: Instant) -> usize {
        let mut pruned = 0;
        while pruned < PRUNED_AT_ONCE
            && let Some((ended, id)) = self.finished.front().copied()
            && (now.duration_since(ended) >= age || self.finished.len() > most)
        {
            self.finished.pop_front();
            if let Some(entry) = self.entries.remove(&id) {
                self.index.remove(&entry.seq);
            }
            pruned += 1;
        }
        pruned
    }
}

/// `now` plus `duration`, or as late as can be said.
fn later(now: Instant, duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    now + duration.min(FAR)
}
