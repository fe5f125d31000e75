//! Pods in flight, and what happens meanwhile.
//!
//! From pop to done a pod is nobody's but the cycle's. An event that would have helped it must not be lost:
//! all of them are kept, once, while any pod is in flight that was popped before them, and are asked about
//! again when such a pod comes back rejected (`active_queue.go`).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::cluster::{Change, PodInfo};
use crate::scheduler::framework::Events;

/// Something that happened while pods were in flight.
#[derive(Debug)]
pub(super) struct Happened {
    at: u64,
    pub(super) event: Events,
    pub(super) change: Option<Change>,
}

#[derive(Debug)]
struct Flight {
    since: u64,
    changed: Option<Arc<PodInfo>>,
    deleted: bool,
}

/// How a flight ended.
#[derive(Debug, Default)]
pub(super) struct Landed {
    /// The pod as it has become.
    pub(super) changed: Option<Arc<PodInfo>>,
    /// It is gone.
    pub(super) deleted: bool,
    since: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Flights {
    pods: HashMap<String, Flight>,
    happened: VecDeque<Happened>,
    clock: u64,
}

impl Flights {
    pub(super) fn depart(&mut self, uid: &str) {
        let flight = Flight {
            since: self.clock,
            changed: None,
            deleted: false,
        };
        self.pods.insert(uid.to_owned(), flight);
    }

    /// Ends a flight. What happened during it can be asked for until [`Self::trim`].
    pub(super) fn land(&mut self, uid: &str) -> Landed {
        self.pods
            .remove(uid)
            .map_or_else(Landed::default, |flight| Landed {
                changed: flight.changed,
                deleted: flight.deleted,
                since: Some(flight.since),
            })
    }

    /// What happened during a flight.
    pub(super) fn during(&self, landed: &Landed) -> impl Iterator<Item = &Happened> {
        let since = landed.since.unwrap_or(u64::MAX);
        self.happened.iter().filter(move |h| h.at >= since)
    }

    /// Forgets what no pod in flight could miss.
    pub(super) fn trim(&mut self) {
        match self.pods.values().map(|flight| flight.since).min() {
            None => self.happened.clear(),
            Some(oldest) => {
                while self.happened.front().is_some_and(|h| h.at < oldest) {
                    self.happened.pop_front();
                }
            }
        }
    }

    /// Keeps an event for those in flight.
    pub(super) fn note(&mut self, event: Events, change: Option<&Change>) {
        if !self.pods.is_empty() {
            self.happened.push_back(Happened {
                at: self.clock,
                event,
                change: change.cloned(),
            });
        }
        self.clock += 1;
    }

    /// The pod has changed; false if it is not in flight.
    pub(super) fn changed(&mut self, info: &Arc<PodInfo>) -> bool {
        match self.pods.get_mut(info.uid()) {
            Some(flight) => {
                flight.changed = Some(Arc::clone(info));
                true
            }
            None => false,
        }
    }

    pub(super) fn deleted(&mut self, uid: &str) {
        if let Some(flight) = self.pods.get_mut(uid) {
            flight.deleted = true;
        }
    }

    /// The events kept, each counted once for each kind.
    pub(super) fn events(&self) -> impl Iterator<Item = Events> {
        self.happened.iter().map(|h| h.event)
    }

    #[cfg(test)]
    pub(super) fn remembers(&self) -> usize {
        self.happened.len()
    }
}
