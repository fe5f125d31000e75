//! Pods that are held: ours alone, kube-scheduler holds none. They wait for a word, not for an event.

use std::collections::HashSet;

use tokio::time::Instant;

use super::{Held, Queue, QueuedPod};

impl Queue {
    /// A popped pod is left alone until [`Self::release`].
    pub fn hold(&mut self, pod: QueuedPod, why: Held) {
        if let Some((pod, _)) = self.land(pod) {
            self.held.insert(pod.uid().to_owned(), (pod, why));
        }
        self.flights.trim();
    }

    /// What a pod is held for was refused: it is tried again after a while.
    pub fn fail_held(&mut self, uid: &str, now: Instant) {
        if let Some((pod, _)) = self.held.remove(uid) {
            self.fail(pod, now);
        }
    }

    /// Lets the held pods go for which `which` is true; answers how many.
    pub fn release(&mut self, now: Instant, which: impl Fn(&QueuedPod, &Held) -> bool) -> usize {
        let uids: Vec<String> = self
            .held
            .iter()
            .filter(|(_, (pod, why))| which(pod, why))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in &uids {
            if let Some((pod, _)) = self.held.remove(uid) {
                self.activate(pod, "ForceActivate", now);
            }
        }
        uids.len()
    }

    /// The held pods and why.
    pub fn held(&self) -> impl Iterator<Item = (&QueuedPod, &Held)> {
        self.held.values().map(|(pod, why)| (pod, why))
    }

    /// Pods of these workloads (by uid) are tried again at once, wherever they wait.
    pub fn activate_workloads(&mut self, workloads: &HashSet<String>, now: Instant) {
        let of = |pod: &&QueuedPod| {
            pod.workload
                .as_ref()
                .is_some_and(|w| workloads.contains(&w.uid))
        };
        let waiting = self.rejected.iter().chain(self.erred.iter());
        let waiting = waiting.chain(self.unschedulable.values());
        let waiting = waiting.chain(self.held.values().map(|(pod, _)| pod));
        let uids: Vec<String> = waiting.filter(of).map(|pod| pod.uid().to_owned()).collect();
        for uid in uids {
            if let Some(pod) = self.take(&uid) {
                self.activate(pod, "ForceActivate", now);
            }
        }
    }
}
