//! Preemption, carried out: the node is nominated, the victims are told to go, and while that is under way the
//! pod itself waits (`framework/preemption/executor.go`).

use tokio::time::Instant;

use super::diagnosis::Nominate;
use super::framework::Events;
use super::framework::plugin::Nomination;
use super::ports::{PodEvent, ScheduledCondition};
use super::queue::{Held, QueuedPod};
use super::run::Scheduler;
use crate::cluster::Change;

impl Scheduler {
    /// Does what PostFilter wants. What the pod's nominated node is to be, if it changes (empty: none).
    pub(super) fn nominate(&mut self, pod: &QueuedPod, wanted: Nominate) -> Option<String> {
        match wanted {
            Nominate::Leave => None,
            Nominate::Clear => {
                if pod.info.spec.nominated_node.is_none() {
                    return None;
                }
                self.cache.nominate(pod.uid(), None);
                Some(String::new())
            }
            Nominate::Node(nomination) => {
                let node = nomination.node.to_string();
                self.cache.nominate(pod.uid(), Some(&node));
                self.displace(pod, nomination);
                Some(node)
            }
        }
    }

    fn displace(&mut self, pod: &QueuedPod, nomination: Nomination) {
        let Nomination { node, victims, .. } = nomination;
        self.withdraw_lower_nominations(pod, &node);
        let scheduler = &pod.info.pod.scheduler_name;
        for victim in &victims {
            self.ports.events.record(PodEvent {
                pod: victim.pod.key.clone(),
                uid: victim.uid().to_owned(),
                warning: false,
                reason: "Preempted",
                action: "Preempting",
                note: format!("Preempted by pod {} on node {node}", pod.uid()),
                reporter: scheduler.clone(),
            });
        }
        let why = format!("{scheduler}: preempting to accommodate a higher priority pod");
        self.preempting.insert(pod.uid().to_owned());
        // Those that are going already need not be told.
        let victims = victims.into_iter().filter(|v| v.pod.deleted.is_none());
        self.caller
            .displace(pod.uid().to_owned(), victims.collect(), why);
    }

    /// Pods of lower priority that wait for the same node: it may not be enough for them any more, so that
    /// they must look again.
    fn withdraw_lower_nominations(&self, pod: &QueuedPod, node: &str) {
        let snapshot = self.cache.snapshot();
        let lower = snapshot
            .nominated
            .get(node)
            .into_iter()
            .flatten()
            .filter(|other| {
                other.spec.priority < pod.info.spec.priority && other.uid() != pod.uid()
            });
        for other in lower {
            self.cache.nominate(other.uid(), None);
            if let Some((reason, message)) = other.spec.unscheduled.clone() {
                let condition = ScheduledCondition {
                    reason,
                    message,
                    nominated_node: Some(String::new()),
                };
                self.caller
                    .patch(other.pod.key.clone(), other.uid().to_owned(), condition);
            }
        }
    }

    /// The victims of a pod have been told: it may look again as soon as one of them is gone.
    pub(super) fn displaced(&mut self, uid: &str, failed: bool, now: Instant) {
        self.preempting.remove(uid);
        self.queue
            .release(now, |pod, why| pod.uid() == uid && *why == Held::Preempting);
        if !failed {
            return;
        }
        // Nobody may ever go: it must look again by itself.
        if let Some((info, None)) = self.cache.pod_info(uid) {
            let change = Change::AssignedGone(info);
            let itself = |pod: &QueuedPod| pod.uid() == uid;
            self.queue.event_for(Events::TIMEOUT, &change, now, itself);
        }
    }
}
