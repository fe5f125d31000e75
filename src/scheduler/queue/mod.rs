//! The scheduling queue: which pod is tried next, and which ones wait for what.
//!
//! A pod is in exactly one place: *active* (to be tried), *backoff* (tried and to be tried again in a
//! moment), *unschedulable* (until something happens that may help), *gated* (kept out by PreEnqueue),
//! *held* (left unbound on purpose, or because it cannot be decided yet), or *in flight* (between pop and
//! done). Events that happen while a pod is in flight are kept and count when it comes back, so that none
//! is lost. Time is handed in; nothing here waits.

mod heap;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::framework::Events;
use crate::cluster::PodInfo;
use crate::model::WorkloadRef;
use heap::Heap;

/// A pod in the queue, with its history.
#[derive(Debug, Clone)]
pub struct QueuedPod {
    /// The pod as last seen.
    pub info: Arc<PodInfo>,
    /// What controls it, once known.
    pub workload: Option<WorkloadRef>,
    /// When it entered the queue, or came back to it last.
    pub timestamp: Instant,
    /// When it was tried first.
    pub first_attempt: Option<Instant>,
    /// How often it was tried.
    pub attempts: u32,
    /// How often it did not fit.
    pub unschedulable_count: u32,
    /// How often in a row something went wrong.
    pub errors: u32,
    /// The plugins that rejected it last.
    pub rejectors: Vec<&'static str>,
    /// The events that may help it.
    pub helped_by: Events,
    /// The condition PodScheduled=False that was sent last, as (reason, message).
    pub condition: Option<(String, String)>,
    sequence: u64,
    backoff_until: Instant,
}

impl QueuedPod {
    /// The pod's uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.info.uid()
    }
}

/// Why a pod is held. It is not marked Unschedulable meanwhile: nobody should buy nodes for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// An action withholds it: the intent's id.
    Intent(String),
    /// The ReplicaSet of this uid that owns it has not been seen yet.
    Owner(String),
    /// The intents in the store cannot be read.
    Store,
    /// It cannot be understood; until it changes.
    Malformed,
}

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

type Order = Box<dyn Fn(&QueuedPod, &QueuedPod) -> bool + Send + Sync>;

/// See the module.
pub struct Queue {
    order: Order,
    backoff: Backoff,
    epoch: Instant,
    sequence: u64,
    active: Heap,
    rejected: Heap,
    erred: Heap,
    unschedulable: HashMap<String, QueuedPod>,
    gated: HashMap<String, QueuedPod>,
    held: HashMap<String, (QueuedPod, Held)>,
    in_flight: HashMap<String, InFlight>,
    happened: VecDeque<Happened>,
    clock: u64,
    incoming: Vec<(&'static str, &'static str)>,
}

struct InFlight {
    since: u64,
    /// As changed meanwhile.
    changed: Option<Arc<PodInfo>>,
    deleted: bool,
}

struct Happened {
    at: u64,
    events: Events,
    /// The pod that alone is concerned.
    only: Option<String>,
}

impl Queue {
    /// An empty one, in this order (QueueSort).
    #[must_use]
    pub fn new(order: Order, backoff: Backoff, now: Instant) -> Self {
        Self {
            order,
            backoff,
            epoch: now,
            sequence: 0,
            active: Heap::default(),
            rejected: Heap::default(),
            erred: Heap::default(),
            unschedulable: HashMap::new(),
            gated: HashMap::new(),
            held: HashMap::new(),
            in_flight: HashMap::new(),
            happened: VecDeque::new(),
            clock: 0,
            incoming: Vec::new(),
        }
    }

    /// A pod appeared or changed. `gated`: PreEnqueue keeps it out.
    pub fn put(&mut self, info: Arc<PodInfo>, gated: bool, now: Instant) {
        let uid = info.uid().to_owned();
        if let Some(flight) = self.in_flight.get_mut(&uid) {
            flight.changed = Some(info);
            self.note(Events::SELF_CHANGED, Some(uid));
            return;
        }
        let was_unschedulable = self.unschedulable.contains_key(&uid);
        let was_held = self.held.get(&uid).map(|(_, why)| why.clone());
        let was_backing_off = self.rejected.get(&uid).is_some() || self.erred.get(&uid).is_some();
        let new = !self.contains(&uid);
        let mut pod = self
            .take(&uid)
            .unwrap_or_else(|| self.fresh(info.clone(), now));
        pod.info = info;
        if gated {
            if new {
                self.incoming.push(("gated", "PodAdd"));
            }
            self.gated.insert(uid, pod);
            return;
        }
        match was_held {
            // The new form may be one that can be read, or have another owner.
            None | Some(Held::Malformed | Held::Owner(_)) => {}
            Some(why) => {
                self.held.insert(uid, (pod, why));
                return;
            }
        }
        if was_unschedulable && !pod.helped_by.meets(Events::SELF_CHANGED) {
            self.unschedulable.insert(uid, pod);
        } else if was_backing_off || was_unschedulable {
            self.requeue(pod, "PodUpdate", now);
        } else {
            self.activate(pod, if new { "PodAdd" } else { "PodUpdate" });
        }
    }

    /// A pod is pending no more.
    pub fn remove(&mut self, uid: &str) {
        self.take(uid);
        if let Some(flight) = self.in_flight.get_mut(uid) {
            flight.deleted = true;
        }
    }

    fn contains(&self, uid: &str) -> bool {
        self.active.get(uid).is_some()
            || self.rejected.get(uid).is_some()
            || self.erred.get(uid).is_some()
            || self.unschedulable.contains_key(uid)
            || self.gated.contains_key(uid)
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
            helped_by: Events::NONE,
            sequence: self.sequence,
            backoff_until: now,
        }
    }

    fn take(&mut self, uid: &str) -> Option<QueuedPod> {
        let epoch = self.epoch;
        let order = &*self.order;
        self.active
            .remove(uid, order)
            .or_else(|| self.rejected.remove(uid, &by_backoff(order, epoch)))
            .or_else(|| self.erred.remove(uid, &by_backoff(order, epoch)))
            .or_else(|| self.unschedulable.remove(uid))
            .or_else(|| self.gated.remove(uid))
            .or_else(|| self.held.remove(uid).map(|(pod, _)| pod))
    }

    fn activate(&mut self, pod: QueuedPod, event: &'static str) {
        self.incoming.push(("active", event));
        self.active.push(pod, &*self.order);
    }

    /// To active, or to backoff while its time is not over.
    fn requeue(&mut self, pod: QueuedPod, event: &'static str, now: Instant) {
        if pod.backoff_until <= now {
            return self.activate(pod, event);
        }
        self.incoming.push(("backoff", event));
        let order = by_backoff(&*self.order, self.epoch);
        let heap = if pod.errors > 0 {
            &mut self.erred
        } else {
            &mut self.rejected
        };
        heap.push(pod, &order);
    }

    /// Up to `max` pods to try, first things first. When none is active, those backing off from a
    /// rejection (not from an error) are tried rather than nothing (PopFromBackoffQ).
    pub fn pop(&mut self, max: usize, now: Instant) -> Vec<QueuedPod> {
        let mut popped = Vec::new();
        while popped.len() < max {
            let next = self.active.pop(&*self.order).or_else(|| {
                let order = by_backoff(&*self.order, self.epoch);
                self.rejected.pop(&order)
            });
            let Some(mut pod) = next else {
                break;
            };
            pod.attempts += 1;
            pod.first_attempt.get_or_insert(now);
            let flight = InFlight {
                since: self.clock,
                changed: None,
                deleted: false,
            };
            self.in_flight.insert(pod.uid().to_owned(), flight);
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
        self.in_flight.remove(uid);
        self.trim();
    }

    /// Ends a flight: the events since its pop, and the pod as it is now; `None` if it is gone.
    fn land(&mut self, mut pod: QueuedPod) -> Option<(QueuedPod, Events)> {
        let mut since = Events::NONE;
        if let Some(flight) = self.in_flight.remove(pod.uid()) {
            let own = |only: &Option<String>| only.as_deref().is_none_or(|uid| uid == pod.uid());
            for happened in self
                .happened
                .iter()
                .filter(|h| h.at >= flight.since && own(&h.only))
            {
                since = since | happened.events;
            }
            if let Some(changed) = flight.changed {
                pod.info = changed;
            }
            if flight.deleted {
                self.trim();
                return None;
            }
        }
        self.trim();
        Some((pod, since))
    }

    fn trim(&mut self) {
        let oldest = self.in_flight.values().map(|f| f.since).min();
        match oldest {
            None => self.happened.clear(),
            Some(oldest) => {
                while self.happened.front().is_some_and(|h| h.at < oldest) {
                    self.happened.pop_front();
                }
            }
        }
    }

    fn note(&mut self, events: Events, only: Option<String>) {
        if !self.in_flight.is_empty() {
            self.happened.push_back(Happened {
                at: self.clock,
                events,
                only,
            });
        }
        self.clock += 1;
    }

    /// A popped pod fits nowhere: it waits for `helped_by`, unless that happened meanwhile.
    pub fn reject(
        &mut self,
        mut pod: QueuedPod,
        rejectors: Vec<&'static str>,
        helped_by: Events,
        now: Instant,
    ) {
        pod.unschedulable_count += 1;
        pod.errors = 0;
        pod.timestamp = now;
        pod.backoff_until = now + self.delay(pod.unschedulable_count);
        pod.rejectors = rejectors;
        pod.helped_by = helped_by;
        let Some((pod, since)) = self.land(pod) else {
            return;
        };
        if helped_by.meets(since) {
            self.requeue(pod, "ScheduleAttemptFailure", now);
        } else {
            self.incoming
                .push(("unschedulable", "ScheduleAttemptFailure"));
            self.unschedulable.insert(pod.uid().to_owned(), pod);
        }
    }

    /// Something went wrong with a pod (popped, or bound in vain): it is tried again after a while.
    pub fn fail(&mut self, mut pod: QueuedPod, now: Instant) {
        pod.errors += 1;
        pod.timestamp = now;
        pod.backoff_until = now + self.delay(pod.errors);
        pod.rejectors = Vec::new();
        if let Some((pod, _)) = self.land(pod)
            && !self.contains(pod.uid())
        {
            self.requeue(pod, "ScheduleAttemptFailure", now);
        }
    }

    /// A popped pod goes back as if it had not been tried.
    pub fn put_back(&mut self, mut pod: QueuedPod) {
        pod.attempts = pod.attempts.saturating_sub(1);
        if let Some((pod, _)) = self.land(pod)
            && !self.contains(pod.uid())
        {
            self.activate(pod, "PodAdd");
        }
    }

    /// A popped pod is left alone until [`Self::release`].
    pub fn hold(&mut self, pod: QueuedPod, why: Held) {
        if let Some((pod, _)) = self.land(pod) {
            self.held.insert(pod.uid().to_owned(), (pod, why));
        }
    }

    /// What a pod is held for was refused: it is tried again after a while.
    pub fn fail_held(&mut self, uid: &str, now: Instant) {
        if let Some((pod, _)) = self.held.remove(uid) {
            self.fail(pod, now);
        }
    }

    /// The pod changed in a way that does not concern its placement: it stays where it is.
    pub fn refresh(&mut self, info: &Arc<PodInfo>) {
        let uid = info.uid();
        if let Some(pod) = self
            .unschedulable
            .get_mut(uid)
            .or_else(|| self.gated.get_mut(uid))
            .or_else(|| self.held.get_mut(uid).map(|(pod, _)| pod))
        {
            pod.info = info.clone();
        }
    }

    /// Lets the held pods go for which `which` is true; answers how many.
    pub fn release(&mut self, which: impl Fn(&QueuedPod, &Held) -> bool) -> usize {
        let uids: Vec<String> = self
            .held
            .iter()
            .filter(|(_, (pod, why))| which(pod, why))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in &uids {
            if let Some((pod, _)) = self.held.remove(uid) {
                self.activate(pod, "ForceActivate");
            }
        }
        uids.len()
    }

    /// The held pods and why.
    pub fn held(&self) -> impl Iterator<Item = (&QueuedPod, &Held)> {
        self.held.values().map(|(pod, why)| (pod, why))
    }

    /// Pods of these workloads (by uid) are tried again at once, wherever they wait.
    pub fn activate_workloads(&mut self, workloads: &HashSet<String>) {
        let of = |pod: &&QueuedPod| {
            pod.workload
                .as_ref()
                .is_some_and(|w| workloads.contains(&w.uid))
        };
        let mut uids: Vec<String> = Vec::new();
        for heap in [&self.rejected, &self.erred] {
            uids.extend(heap.iter().filter(of).map(|p| p.uid().to_owned()));
        }
        uids.extend(
            self.unschedulable
                .values()
                .filter(of)
                .map(|p| p.uid().to_owned()),
        );
        uids.extend(
            self.held
                .values()
                .map(|(p, _)| p)
                .filter(of)
                .map(|p| p.uid().to_owned()),
        );
        for uid in uids {
            if let Some(pod) = self.take(&uid) {
                self.activate(pod, "ForceActivate");
            }
        }
    }

    /// Something happened in the cluster: the pods it may help are tried again.
    pub fn event(&mut self, events: Events, now: Instant) {
        self.note(events, None);
        let helped: Vec<String> = self
            .unschedulable
            .values()
            .filter(|pod| pod.helped_by.meets(events))
            .map(|pod| pod.uid().to_owned())
            .collect();
        for uid in helped {
            if let Some(pod) = self.unschedulable.remove(&uid) {
                self.requeue(pod, events.label(), now);
            }
        }
    }

    /// Once a second: whose backoff is over becomes active; who waited too long is tried again.
    pub fn tick(&mut self, now: Instant) {
        for erred in [false, true] {
            loop {
                let heap = if erred {
                    &mut self.erred
                } else {
                    &mut self.rejected
                };
                if heap
                    .peek()
                    .is_none_or(|pod| window(pod, self.epoch) > window_of(now, self.epoch))
                {
                    break;
                }
                let due = heap.pop(&by_backoff(&*self.order, self.epoch));
                if let Some(pod) = due {
                    self.activate(pod, "BackoffComplete");
                }
            }
        }
        let limit = self.backoff.max_unschedulable;
        let late: Vec<String> = self
            .unschedulable
            .values()
            .filter(|pod| now.duration_since(pod.timestamp) > limit)
            .map(|pod| pod.uid().to_owned())
            .collect();
        for uid in late {
            if let Some(pod) = self.unschedulable.remove(&uid) {
                self.requeue(pod, Events::TIMEOUT.label(), now);
            }
        }
    }

    fn delay(&self, count: u32) -> Duration {
        let doubled = 2_u32
            .checked_pow(count.saturating_sub(1))
            .unwrap_or(u32::MAX);
        self.backoff
            .initial
            .saturating_mul(doubled)
            .min(self.backoff.max)
    }

    /// How many wait where.
    #[must_use]
    pub fn pending(&self) -> Pending {
        Pending {
            active: self.active.len(),
            backoff: self.rejected.len() + self.erred.len(),
            unschedulable: self.unschedulable.len(),
            gated: self.gated.len(),
            held: self.held.len(),
        }
    }

    /// The moves into queues since the last call, as (queue, event), for the metric.
    pub fn take_incoming(&mut self) -> Vec<(&'static str, &'static str)> {
        std::mem::take(&mut self.incoming)
    }
}

/// Backoffs end in whole seconds; within one, the active queue's order decides (KEP-5142).
fn by_backoff<'a>(
    order: &'a (dyn Fn(&QueuedPod, &QueuedPod) -> bool + Send + Sync),
    epoch: Instant,
) -> impl Fn(&QueuedPod, &QueuedPod) -> bool + 'a {
    move |a, b| {
        let (wa, wb) = (window(a, epoch), window(b, epoch));
        wa < wb || (wa == wb && order(a, b))
    }
}

fn window(pod: &QueuedPod, epoch: Instant) -> u64 {
    window_of(pod.backoff_until, epoch)
}

fn window_of(at: Instant, epoch: Instant) -> u64 {
    at.duration_since(epoch).as_secs()
}
