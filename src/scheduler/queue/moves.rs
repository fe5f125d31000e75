//! From place to place: what arrives, what changes, what comes back from an attempt, and what events and the
//! passing of time move (`scheduling_queue.go`).
//!
//! Only plugins that stand in a pod's way are asked whether an event may help it. A way that leads to active or
//! backoff leads through PreEnqueue.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::{self, window, window_of};
use super::{Held, Queue, QueuedPod};
use crate::clock;
use crate::cluster::{Change, PodInfo};
use crate::scheduler::framework::Events;
use crate::scheduler::framework::plugin::Hint;

/// How often pods are looked for that have waited too long.
const FLUSH: Duration = Duration::from_secs(30);
/// How many durations of hints are kept between two looks at them.
const MOST_TIMES: usize = 10_000;

/// How long a queueing hint took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HintTime {
    /// Whose.
    pub plugin: &'static str,
    /// The event's label.
    pub event: &'static str,
    /// What it said.
    pub hint: Hint,
    /// How long it took.
    pub seconds: f64,
}

/// What becomes of a waiting pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    Skip,
    AfterBackoff,
    Immediately,
}

impl Queue {
    /// A pod appeared (`change` is [`Change::Pending`] without an old form) or changed.
    pub fn put(&mut self, old: Option<&Arc<PodInfo>>, new: Arc<PodInfo>, now: Instant) {
        let events = old.map_or_else(Vec::new, |old| Events::of_pending(old, &new));
        let change = Change::Pending {
            old: old.cloned(),
            new: Arc::clone(&new),
        };
        if self.flights.changed(&new) {
            for event in events {
                self.flights.note(event, Some(&change));
            }
            return;
        }
        let uid = new.uid().to_owned();
        if self.unschedulable.contains_key(&uid) {
            return self.update_unschedulable(&uid, new, &events, &change, now);
        }
        let was_held = self.held.get(&uid).map(|(_, why)| why.clone());
        let backing_off = self.rejected.get(&uid).is_some() || self.erred.get(&uid).is_some();
        let was_active = self.active.get(&uid).is_some();
        let Some(mut pod) = self.take(&uid) else {
            let event = if old.is_none() {
                Events::SELF_ADD
            } else {
                Events::SELF_OTHER
            };
            let pod = self.fresh(new, now);
            return self.activate(pod, event.label(), now);
        };
        pod.info = new;
        match was_held {
            // The new form may be one that can be read, or have another owner.
            Some(Held::Malformed | Held::Owner(_)) => {
                self.activate(pod, Events::SELF_OTHER.label(), now);
            }
            Some(why) => {
                self.held.insert(uid, (pod, why));
            }
            // In place; it is no move into a queue.
            None => {
                self.blame(&pod, 1);
                let policy = Arc::clone(&self.policy);
                if was_active {
                    self.active.push(pod, &|a, b| policy.less(a, b));
                } else if backing_off {
                    self.push_to_backoff(pod);
                }
            }
        }
    }

    fn update_unschedulable(
        &mut self,
        uid: &str,
        new: Arc<PodInfo>,
        events: &[Events],
        change: &Change,
        now: Instant,
    ) {
        if let Some(pod) = self.unschedulable.get_mut(uid) {
            pod.info = new;
        }
        for event in events {
            self.consider(uid, *event, change, now);
            if !self.unschedulable.contains_key(uid) {
                return;
            }
        }
    }

    /// Something happened in the cluster: the pods it may help are tried again.
    pub fn event(&mut self, event: Events, change: &Change, now: Instant) {
        self.event_for(event, change, now, |_| true);
    }

    /// As [`Self::event`], for the pods of which `which` is true.
    pub fn event_for(
        &mut self,
        event: Events,
        change: &Change,
        now: Instant,
        which: impl Fn(&QueuedPod) -> bool,
    ) {
        if !self.policy.interests().meets(event) {
            return;
        }
        self.flights.note(event, Some(change));
        let waiting: Vec<String> = self
            .unschedulable
            .values()
            .filter(|pod| which(pod) && self.may_move(pod, event))
            .map(|pod| pod.uid().to_owned())
            .collect();
        for uid in waiting {
            self.consider(&uid, event, change, now);
        }
    }

    /// Cheaply, before the hints are asked: whether a plugin in the pod's way has registered the event at all.
    fn may_move(&self, pod: &QueuedPod, event: Events) -> bool {
        let registered = |plugin| self.policy.events_of(&pod.info, plugin).meets(event);
        match pod.gated_by {
            Some(plugin) => registered(plugin),
            None => pod.blockers().next().is_none() || pod.blockers().any(registered),
        }
    }

    /// Moves a pod out of unschedulable if the event may help it.
    fn consider(&mut self, uid: &str, event: Events, change: &Change, now: Instant) {
        let Some(pod) = self.unschedulable.get(uid).cloned() else {
            return;
        };
        let strategy = self.strategy(&pod, event, Some(change));
        if strategy != Strategy::Skip
            && let Some(pod) = self.take(uid)
        {
            self.requeue(pod, strategy, event.label(), now);
        }
    }

    /// `isPodWorthRequeuing`: asks the hints of the plugins in the pod's way.
    fn strategy(&mut self, pod: &QueuedPod, event: Events, change: Option<&Change>) -> Strategy {
        let Some(change) = change.filter(|_| pod.blockers().next().is_some()) else {
            return Strategy::AfterBackoff;
        };
        let policy = Arc::clone(&self.policy);
        let mut helps = |plugin: &'static str| {
            if !policy.events_of(&pod.info, plugin).meets(event) {
                return false;
            }
            let started = clock::instant();
            let hint = policy.hint(&pod.info, plugin, event, change);
            if self.hint_times.len() < MOST_TIMES {
                self.hint_times.push(HintTime {
                    plugin,
                    event: event.label(),
                    hint,
                    seconds: clock::instant().duration_since(started).as_secs_f64(),
                });
            }
            hint == Hint::Queue
        };
        if pod.pending.iter().any(|plugin| helps(plugin)) {
            Strategy::Immediately
        } else if pod.rejectors.iter().any(|plugin| helps(plugin)) {
            Strategy::AfterBackoff
        } else {
            Strategy::Skip
        }
    }

    fn requeue(&mut self, pod: QueuedPod, strategy: Strategy, event: &'static str, now: Instant) {
        let backing_off = window(&pod, self.epoch) > window_of(now, self.epoch);
        match strategy {
            Strategy::Skip => self.rest(pod, event),
            Strategy::AfterBackoff if backing_off => self.back_off(pod, event),
            _ => self.activate(pod, event, now),
        }
    }

    /// To active, unless PreEnqueue keeps it out.
    pub(super) fn activate(&mut self, mut pod: QueuedPod, event: &'static str, now: Instant) {
        if self.keep_out(&mut pod) {
            return self.rest(pod, event);
        }
        pod.first_attempt.get_or_insert(now);
        self.incoming.push(("active", event));
        self.blame(&pod, 1);
        let policy = Arc::clone(&self.policy);
        self.active.push(pod, &|a, b| policy.less(a, b));
    }

    /// To backoff, unless PreEnqueue keeps it out.
    fn back_off(&mut self, mut pod: QueuedPod, event: &'static str) {
        if self.keep_out(&mut pod) {
            return self.rest(pod, event);
        }
        self.incoming.push(("backoff", event));
        self.blame(&pod, 1);
        self.push_to_backoff(pod);
    }

    fn push_to_backoff(&mut self, pod: QueuedPod) {
        let policy = Arc::clone(&self.policy);
        let order = backoff::order(&*policy, self.epoch);
        let heap = if pod.errors > 0 {
            &mut self.erred
        } else {
            &mut self.rejected
        };
        heap.push(pod, &order);
    }

    /// Asks PreEnqueue, and notes who says no.
    fn keep_out(&self, pod: &mut QueuedPod) -> bool {
        pod.gated_by = self.policy.gate(&pod.info);
        if let Some(plugin) = pod.gated_by
            && !pod.blockers().any(|blocker| blocker == plugin)
        {
            pod.rejectors.push(plugin);
        }
        pod.gated_by.is_some()
    }

    /// To unschedulable.
    fn rest(&mut self, pod: QueuedPod, event: &'static str) {
        self.gated += usize::from(pod.gated_by.is_some());
        self.incoming.push(("unschedulable", event));
        self.blame(&pod, 1);
        self.unschedulable.insert(pod.uid().to_owned(), pod);
    }

    /// Ends a flight: the pod as it is now, and what happened meanwhile; `None` if it is gone. What happened is
    /// there until the next trim.
    pub(super) fn land(
        &mut self,
        mut pod: QueuedPod,
    ) -> Option<(QueuedPod, super::flight::Landed)> {
        let mut landed = self.flights.land(pod.uid());
        if landed.deleted {
            return None;
        }
        if let Some(changed) = landed.changed.take() {
            pod.info = changed;
        }
        Some((pod, landed))
    }

    /// A popped pod fits nowhere: it waits for what may help, unless that happened meanwhile. `pending` are
    /// those of the plugins that answered `Pending`. Without any plugin to wait for it is a [`Self::fail`].
    pub fn reject(
        &mut self,
        mut pod: QueuedPod,
        rejectors: Vec<&'static str>,
        pending: Vec<&'static str>,
        now: Instant,
    ) {
        if rejectors.is_empty() && pending.is_empty() {
            return self.fail(pod, now);
        }
        pod.unschedulable_count += 1;
        pod.errors = 0;
        pod.timestamp = now;
        pod.flushed = false;
        pod.backoff_until = now + self.backoff.delay(pod.unschedulable_count);
        pod.rejectors = rejectors;
        pod.pending = pending;
        if let Some((pod, landed)) = self.land(pod)
            && !self.contains(pod.uid())
        {
            let during: Vec<(Events, Option<Change>)> = self
                .flights
                .during(&landed)
                .filter(|h| self.may_move(&pod, h.event) || h.change.is_none())
                .map(|h| (h.event, h.change.clone()))
                .collect();
            let mut strategy = Strategy::Skip;
            for (event, change) in &during {
                match self.strategy(&pod, *event, change.as_ref()) {
                    Strategy::Skip => {}
                    Strategy::AfterBackoff => strategy = Strategy::AfterBackoff,
                    Strategy::Immediately => {
                        strategy = Strategy::Immediately;
                        break;
                    }
                }
                if strategy == Strategy::AfterBackoff && pod.pending.is_empty() {
                    break;
                }
            }
            self.requeue(pod, strategy, "ScheduleAttemptFailure", now);
        }
        self.flights.trim();
    }

    /// Something went wrong with a pod (popped, or bound in vain): it is tried again after a while.
    pub fn fail(&mut self, mut pod: QueuedPod, now: Instant) {
        pod.errors += 1;
        pod.timestamp = now;
        pod.flushed = false;
        pod.backoff_until = now + self.backoff.delay(pod.errors);
        pod.rejectors = Vec::new();
        pod.pending = Vec::new();
        if let Some((pod, _)) = self.land(pod)
            && !self.contains(pod.uid())
        {
            self.requeue(pod, Strategy::AfterBackoff, "ScheduleAttemptFailure", now);
        }
        self.flights.trim();
    }

    /// A popped pod goes back as if it had not been tried.
    pub fn put_back(&mut self, mut pod: QueuedPod, now: Instant) {
        pod.attempts = pod.attempts.saturating_sub(1);
        if let Some((pod, _)) = self.land(pod)
            && !self.contains(pod.uid())
        {
            self.activate(pod, "ForceActivate", now);
        }
        self.flights.trim();
    }

    /// Once in a while: whose backoff is over becomes active; who waited too long is tried again.
    pub fn tick(&mut self, now: Instant) {
        let policy = Arc::clone(&self.policy);
        let order = backoff::order(&*policy, self.epoch);
        let present = window_of(now, self.epoch);
        for erred in [false, true] {
            loop {
                let heap = if erred {
                    &mut self.erred
                } else {
                    &mut self.rejected
                };
                if heap
                    .peek()
                    .is_none_or(|pod| window(pod, self.epoch) > present)
                {
                    break;
                }
                if let Some(mut pod) = heap.pop(&order) {
                    // PreEnqueue was asked on the way into backoff.
                    pod.first_attempt.get_or_insert(now);
                    self.incoming.push(("active", "BackoffComplete"));
                    self.active.push(pod, &|a, b| policy.less(a, b));
                }
            }
        }
        if now.duration_since(self.last_flush) >= FLUSH {
            self.last_flush = now;
            self.flush(now);
        }
    }

    /// Pods that have waited too long, unless they are gated.
    fn flush(&mut self, now: Instant) {
        let limit = self.backoff.max_unschedulable;
        let late: Vec<String> = self
            .unschedulable
            .values()
            .filter(|pod| pod.gated_by.is_none() && now.duration_since(pod.timestamp) > limit)
            .map(|pod| pod.uid().to_owned())
            .collect();
        for uid in late {
            if let Some(mut pod) = self.take(&uid) {
                pod.flushed = true;
                self.requeue(pod, Strategy::AfterBackoff, Events::TIMEOUT.label(), now);
            }
        }
    }
}
