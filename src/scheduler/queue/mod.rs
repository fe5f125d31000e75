//! The scheduling queue: which pod is tried next, and which ones wait for what
//! (`pkg/scheduler/backend/queue`).
//!
//! A pod is in exactly one place: *active* (to be tried), *backoff* (tried and to be tried again in a
//! moment), *unschedulable* (until something happens that may help; the gated ones among them are kept out by
//! PreEnqueue), *held* (left unbound on purpose, or because it cannot be decided yet), or *in flight* (between
//! pop and done, see [`flight`]). Time is handed in; nothing here waits.

mod backoff;
mod flight;
mod heap;
mod held;
mod moves;
mod pod;
pub mod policy;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::framework::Events;
use crate::cluster::PodInfo;
use flight::Flights;
use heap::Heap;
use policy::Policy;

pub use backoff::Backoff;
pub use moves::HintTime;
pub use pod::{Held, QueuedPod};

/// How many pods wait where, as the metric `scheduler_pending_pods` shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pending {
    /// To be tried.
    pub active: usize,
    /// To be tried in a moment.
    pub backoff: usize,
    /// Until something helps.
    pub unschedulable: usize,
    /// Kept out by PreEnqueue.
    pub gated: usize,
    /// Left unbound on purpose or undecidable.
    pub held: usize,
}

/// See the module.
pub struct Queue {
    policy: Arc<dyn Policy>,
    backoff: Backoff,
    epoch: Instant,
    sequence: u64,
    active: Heap,
    rejected: Heap,
    erred: Heap,
    unschedulable: HashMap<String, QueuedPod>,
    held: HashMap<String, (QueuedPod, Held)>,
    flights: Flights,
    last_flush: Instant,
    incoming: Vec<(&'static str, &'static str)>,
    hint_times: Vec<HintTime>,
    blamed: HashMap<(&'static str, String), i64>,
    gated: usize,
}

impl Queue {
    /// An empty one.
    #[must_use]
    pub fn new(policy: Arc<dyn Policy>, backoff: Backoff, now: Instant) -> Self {
        Self {
            policy,
            backoff,
            epoch: now,
            sequence: 0,
            active: Heap::default(),
            rejected: Heap::default(),
            erred: Heap::default(),
            unschedulable: HashMap::new(),
            held: HashMap::new(),
            flights: Flights::default(),
            last_flush: now,
            incoming: Vec::new(),
            hint_times: Vec::new(),
            blamed: HashMap::new(),
            gated: 0,
        }
    }

    /// A pod is pending no more.
    pub fn remove(&mut self, uid: &str) {
        self.take(uid);
        self.flights.deleted(uid);
    }

    fn contains(&self, uid: &str) -> bool {
        self.active.get(uid).is_some()
            || self.rejected.get(uid).is_some()
            || self.erred.get(uid).is_some()
            || self.unschedulable.contains_key(uid)
            || self.held.contains_key(uid)
    }

    fn fresh(&mut self, info: Arc<PodInfo>, now: Instant) -> QueuedPod {
        self.sequence += 1;
        QueuedPod {
            condition: info.spec.unscheduled.clone(),
            info,
            workload: None,
            timestamp: now,
            first_attempt: None,
            attempts: 0,
            unschedulable_count: 0,
            errors: 0,
            rejectors: Vec::new(),
            pending: Vec::new(),
            gated_by: None,
            flushed: false,
            sequence: self.sequence,
            backoff_until: now,
        }
    }

    /// Takes a pod out of wherever it waits. Its blockers are blamed no more.
    fn take(&mut self, uid: &str) -> Option<QueuedPod> {
        let epoch = self.epoch;
        let policy = Arc::clone(&self.policy);
        let by_backoff = backoff::order(&*policy, epoch);
        let less = |a: &_, b: &_| policy.less(a, b);
        let taken = self
            .active
            .remove(uid, &less)
            .or_else(|| self.rejected.remove(uid, &by_backoff))
            .or_else(|| self.erred.remove(uid, &by_backoff))
            .or_else(|| self.take_unschedulable(uid))
            .or_else(|| self.held.remove(uid).map(|(pod, _)| pod))?;
        self.blame(&taken, -1);
        Some(taken)
    }

    fn take_unschedulable(&mut self, uid: &str) -> Option<QueuedPod> {
        let pod = self.unschedulable.remove(uid)?;
        self.gated -= usize::from(pod.gated_by.is_some());
        Some(pod)
    }

    /// Counts a pod for (or no more for) the plugins in its way.
    fn blame(&mut self, pod: &QueuedPod, by: i64) {
        for plugin in pod.blockers() {
            let profile = pod.info.pod.scheduler_name.clone();
            *self.blamed.entry((plugin, profile)).or_default() += by;
        }
    }

    /// Up to `max` pods to try, first things first. When none is active, those backing off from a
    /// rejection (not from an error) are tried rather than nothing (PopFromBackoffQ).
    pub fn pop(&mut self, max: usize) -> Vec<QueuedPod> {
        let policy = Arc::clone(&self.policy);
        let less = |a: &_, b: &_| policy.less(a, b);
        let mut popped = Vec::new();
        while popped.len() < max {
            let mut next = self.active.pop(&less);
            if next.is_none() {
                next = self.rejected.pop(&backoff::order(&*policy, self.epoch));
                if next.is_some() {
                    self.incoming.push(("active", "PopFromBackoffQ"));
                }
            }
            let Some(mut pod) = next else {
                break;
            };
            self.blame(&pod, -1);
            pod.attempts += 1;
            pod.rejectors.clear();
            pod.pending.clear();
            pod.gated_by = None;
            self.flights.depart(pod.uid());
            popped.push(pod);
        }
        popped
    }

    /// Whether [`Self::pop`] would give something.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.active.len() == 0 && self.rejected.len() == 0
    }

    /// The pod is assumed on a node: it is in flight no more.
    pub fn done(&mut self, uid: &str) {
        self.flights.land(uid);
        self.flights.trim();
    }

    /// How many wait where.
    #[must_use]
    pub fn pending(&self) -> Pending {
        Pending {
            active: self.active.len(),
            backoff: self.rejected.len() + self.erred.len(),
            unschedulable: self.unschedulable.len() - self.gated,
            gated: self.gated,
            held: self.held.len(),
        }
    }

    /// The moves into queues since the last call, as (queue, event), for the metric.
    pub fn take_incoming(&mut self) -> Vec<(&'static str, &'static str)> {
        std::mem::take(&mut self.incoming)
    }

    /// How long the queueing hints since the last call took, for the metric.
    pub fn take_hint_times(&mut self) -> Vec<HintTime> {
        std::mem::take(&mut self.hint_times)
    }

    /// How many pods each plugin keeps waiting, by plugin and profile.
    pub fn blamed(&self) -> impl Iterator<Item = (&'static str, &str, i64)> {
        let all = self.blamed.iter();
        all.map(|((plugin, profile), count)| (*plugin, profile.as_str(), *count))
    }

    /// The events kept for pods in flight, for the metric.
    pub fn in_flight_events(&self) -> impl Iterator<Item = Events> {
        self.flights.events()
    }
}
