//! Which daemon pods are to be created and deleted (daemon_controller.go `podsShouldBeOnNode`, update.go
//! `rollingUpdate`). Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::placement::{Verdict, is_updated, judge, node_of};
use crate::sandbox::controllers::objects::{
    is_finished, is_ready, is_terminating, name, phase, scaled, seconds, until_available,
};

/// Pods by the node that they run on or are meant for.
pub type ByNode = BTreeMap<String, Vec<Arc<Pod>>>;

/// What has to be done.
#[derive(Debug, Default)]
pub struct Changes {
    /// The nodes that get a pod.
    pub create: Vec<String>,
    /// The pods that go.
    pub delete: Vec<Arc<Pod>>,
    /// Pods among them that had ended, with their nodes.
    pub ended: Vec<(Arc<Pod>, String)>,
    /// Failed pods whose deletion has to wait for so long.
    pub wait: Option<Duration>,
}

/// The pod of a node that is of the present template, and the one that is not.
type Pair<'a> = (Option<&'a Arc<Pod>>, Option<&'a Arc<Pod>>);

/// One DaemonSet at one moment.
#[derive(Debug)]
pub struct View<'a> {
    /// The DaemonSet.
    pub set: &'a DaemonSet,
    /// All nodes, with what was found about each.
    pub nodes: &'a [(Arc<Node>, Verdict)],
    /// Its pods.
    pub pods: &'a ByNode,
    /// The hash of the present revision.
    pub hash: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// Judges all nodes.
#[must_use]
pub fn judge_all(set: &DaemonSet, nodes: Vec<Arc<Node>>) -> Vec<(Arc<Node>, Verdict)> {
    let judged = nodes.into_iter().map(|node| {
        let verdict = judge(set, &node);
        (node, verdict)
    });
    judged.collect()
}

/// Sorts pods by node; those that have ended and are being deleted are nobody's business.
#[must_use]
pub fn by_node(pods: &[Arc<Pod>]) -> ByNode {
    let mut found = ByNode::new();
    for pod in pods {
        if is_finished(pod) && is_terminating(&pod.metadata) {
            continue;
        }
        if let Some(node) = node_of(pod) {
            found
                .entry(node.to_owned())
                .or_default()
                .push(Arc::clone(pod));
        }
    }
    // The pods that have a node first, then the oldest.
    for pods in found.values_mut() {
        pods.sort_by_key(|pod| {
            let spec = pod.spec.as_ref();
            let created = pod.metadata.creation_timestamp.as_ref();
            (
                spec.is_none_or(|spec| spec.node_name.as_deref().is_none_or(str::is_empty)),
                created.map(|time| seconds(time.0)),
                pod.metadata.name.clone(),
            )
        });
    }
    found
}

impl View<'_> {
    fn rolling(&self) -> Option<(&IntOrString, &IntOrString)> {
        static ONE: IntOrString = IntOrString::Int(1);
        static ZERO: IntOrString = IntOrString::Int(0);
        let strategy = self.set.spec.update_strategy.as_ref();
        let kind = strategy.and_then(|strategy| strategy.type_.as_deref());
        if kind == Some("OnDelete") {
            return None;
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
        Some((unavailable.unwrap_or(&ONE), surge.unwrap_or(&ZERO)))
    }

    fn surges(&self) -> bool {
        self.rolling()
            .is_some_and(|(_, surge)| scaled(surge, 1, true) > 0)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let min_ready = self.set.spec.min_ready_seconds.unwrap_or(0);
        until_available(pod, min_ready, self.now) == Some(Duration::ZERO)
    }

    /// Pods where they should be, and none where they should not. `pause` says how long the failed
    /// pod of a node must wait for its deletion; it is asked once for each.
    pub fn manage(&self, mut pause: impl FnMut(&str) -> Option<Duration>) -> Changes {
        let mut changes = Changes::default();
        for (node, verdict) in self.nodes {
            let node = name(&node.metadata);
            match self.pods.get(node) {
                None if verdict.run => changes.create.push(node.to_owned()),
                None => {}
                Some(pods) if verdict.stay => {
                    self.keep(node, *verdict, pods, &mut pause, &mut changes);
                }
                Some(pods) => changes.delete.extend(
                    pods.iter()
                        .filter(|pod| !is_terminating(&pod.metadata))
                        .cloned(),
                ),
            }
        }
        // Unbound pods for nodes that are no more: nobody else would remove them.
        let nodes: BTreeSet<&str> = self
            .nodes
            .iter()
            .map(|(node, _)| name(&node.metadata))
            .collect();
        let is_bound = |pod: &Pod| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            node.is_some_and(|node| !node.is_empty())
        };
        for (_, pods) in self
            .pods
            .iter()
            .filter(|(node, _)| !nodes.contains(node.as_str()))
        {
            changes
                .delete
                .extend(pods.iter().filter(|pod| !is_bound(pod)).cloned());
        }
        changes
    }

    fn keep(
        &self,
        node: &str,
        verdict: Verdict,
        pods: &[Arc<Pod>],
        pause: &mut impl FnMut(&str) -> Option<Duration>,
        changes: &mut Changes,
    ) {
        let mut running = Vec::new();
        for pod in pods.iter().filter(|pod| !is_terminating(&pod.metadata)) {
            match phase(pod) {
                "Failed" => {
                    if let Some(wait) = pause(node) {
                        changes.wait = Some(changes.wait.map_or(wait, |other| other.min(wait)));
                        continue;
                    }
                    changes.ended.push((Arc::clone(pod), node.to_owned()));
                    changes.delete.push(Arc::clone(pod));
                }
                "Succeeded" => {
                    changes.ended.push((Arc::clone(pod), node.to_owned()));
                    changes.delete.push(Arc::clone(pod));
                }
                _ => running.push(pod),
            }
        }
        if !self.surges() {
            changes.delete.extend(running.into_iter().skip(1).cloned());
            return;
        }
        if running.is_empty() && verdict.run {
            changes.create.push(node.to_owned());
        }
        if running.len() <= 1 {
            return;
        }
        let (new, old): (Vec<_>, Vec<_>) = running
            .into_iter()
            .partition(|pod| is_updated(self.set, pod, self.hash));
        changes
            .delete
            .extend(new.iter().skip(1).map(|pod| Arc::clone(pod)));
        changes
            .delete
            .extend(old.iter().skip(1).map(|pod| Arc::clone(pod)));
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!is_ready(old) || self.is_available(new))
        {
            changes.delete.push(Arc::clone(old));
        }
    }

    /// Old pods make room for new ones, or new ones come beside them, as the strategy allows.
    #[must_use]
    pub fn roll(&self) -> Changes {
        let Some((unavailable, surge)) = self.rolling() else {
            return Changes::default();
        };
        let wanted = self.nodes.iter().filter(|(_, verdict)| verdict.run).count();
        let total = i32::try_from(wanted).unwrap_or(i32::MAX);
        let surge = count(scaled(surge, total, true));
        let mut unavailable = count(scaled(unavailable, total, true));
        if wanted > 0 && unavailable == 0 && surge == 0 {
            unavailable = 1;
        }
        if surge == 0 {
            self.roll_in_place(unavailable)
        } else {
            self.roll_beside(surge, wanted)
        }
    }

    fn roll_in_place(&self, most: usize) -> Changes {
        let empty = self
            .nodes
            .iter()
            .filter(|(node, verdict)| verdict.run && !self.pods.contains_key(name(&node.metadata)));
        let mut unavailable = empty.count();
        let (mut allowed, mut candidates) = (Vec::new(), Vec::new());
        for pods in self.pods.values() {
            match self.split(pods) {
                Some((Some(new), None)) => {
                    if !self.is_available(new) {
                        unavailable += 1;
                    }
                }
                Some((None, Some(old))) => {
                    if !self.is_available(old) {
                        allowed.push(Arc::clone(old));
                        unavailable += 1;
                    } else {
                        candidates.push(Arc::clone(old));
                    }
                }
                // Too many, none, or both: that is the other part's to put right.
                _ => unavailable += 1,
            }
        }
        candidates.truncate(most.saturating_sub(unavailable));
        allowed.extend(candidates);
        Changes {
            delete: allowed,
            ..Changes::default()
        }
    }

    fn roll_beside(&self, most: usize, wanted: usize) -> Changes {
        let running: BTreeSet<&str> = self
            .nodes
            .iter()
            .filter(|(_, verdict)| verdict.run)
            .map(|(node, _)| name(&node.metadata))
            .collect();
        let mut changes = Changes::default();
        let (mut surging, mut available) = (0, 0);
        let (mut candidates, mut misplaced) = (Vec::new(), Vec::new());
        for (node, pods) in self.pods {
            let Some((new, old)) = self.split(pods) else {
                surging += 1;
                continue;
            };
            if old.or(new).is_some_and(|pod| self.is_available(pod)) {
                available += 1;
            }
            match (new, old) {
                (_, None) => {}
                (None, Some(old)) => {
                    match (self.is_available(old), running.contains(node.as_str())) {
                        (false, false) => changes.delete.push(Arc::clone(old)),
                        (false, true) => changes.create.push(node.clone()),
                        (true, false) => misplaced.push(Arc::clone(old)),
                        (true, true) => candidates.push(node.clone()),
                    }
                }
                (Some(new), Some(old)) => {
                    if self.is_available(new) {
                        changes.delete.push(Arc::clone(old));
                    } else {
                        surging += 1;
                    }
                }
            }
        }
        misplaced.truncate(usize::saturating_sub(available, wanted));
        changes.delete.extend(misplaced);
        candidates.truncate(most.saturating_sub(surging));
        changes.create.extend(candidates);
        changes
    }

    /// The one new and the one old pod of a node; `None` if there are more (`findUpdatedPodsOnNode`).
    fn split<'a>(&self, pods: &'a [Arc<Pod>]) -> Option<Pair<'a>> {
        let (mut new, mut old) = (None, None);
        for pod in pods.iter().filter(|pod| !is_terminating(&pod.metadata)) {
            let place = if is_updated(self.set, pod, self.hash) {
                &mut new
            } else {
                &mut old
            };
            if place.replace(pod).is_some() {
                return None;
            }
        }
        Some((new, old))
    }
}

fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod told as `node hash word`; the word is ready, unready, failed, going.
    fn pod(told: &str) -> Arc<Pod> {
        let words = Vec::from_iter(told.split(' '));
        let mut pod = json!({
            "metadata": {"name": told.replace(' ', "-"),
                         "labels": {"controller-revision-hash": words[1]}},
            "spec": {"nodeName": words[0], "containers": []},
            "status": {"phase": if words[2] == "failed" {"Failed"} else {"Running"},
                "conditions": [{"type": "Ready",
                    "status": if words[2] == "ready" {"True"} else {"False"}}]},
        });
        if words[2] == "going" {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn told(changes: &Changes) -> Vec<String> {
        let created = changes.create.iter().map(|node| format!("+{node}"));
        let deleted = changes
            .delete
            .iter()
            .map(|pod| format!("-{}", name(&pod.metadata)));
        created.chain(deleted).collect()
    }

    fn both(strategy: Value, pods: &[&str]) -> (Vec<String>, Vec<String>) {
        let set: DaemonSet = serde_json::from_value(json!({"metadata": {"name": "d"},
            "spec": {"selector": {}, "template": {"spec": {"containers": []}},
                     "updateStrategy": strategy}}))
        .unwrap();
        let node = |name: &str| {
            let node: Node = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            Arc::new(node)
        };
        let nodes = judge_all(&set, ["n1", "n2", "n3", "n4"].map(node).to_vec());
        let pods = by_node(&Vec::from_iter(pods.iter().map(|told| pod(told))));
        let view = View {
            set: &set,
            nodes: &nodes,
            pods: &pods,
            hash: "new",
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
        };
        (told(&view.manage(|_| None)), told(&view.roll()))
    }

    #[test]
    fn every_node_has_one_pod() {
        let plain = json!({"type": "RollingUpdate"});
        let pods = [
            "n1 new ready",
            "n2 new failed",
            "n3 new ready",
            "n3 new unready",
            "gone new ready",
        ];
        let (managed, _) = both(plain, &pods);
        assert_eq!(managed, ["+n4", "-n2-new-failed", "-n3-new-unready"]);
    }

    #[test]
    fn an_update_in_place_keeps_to_its_limit() {
        let two = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}});
        let old = [
            "n1 old ready",
            "n2 old ready",
            "n3 old ready",
            "n4 old ready",
        ];
        assert_eq!(
            both(two.clone(), &old).1,
            ["-n1-old-ready", "-n2-old-ready"]
        );
        let next = [
            "n1 new unready",
            "n2 old ready",
            "n3 old ready",
            "n4 old unready",
        ];
        assert_eq!(both(two, &next).1, ["-n4-old-unready"]);
        assert_eq!(both(json!({"type": "OnDelete"}), &old).1, [""; 0]);
        let half = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}});
        let going = [
            "n1 old going",
            "n2 old ready",
            "n3 old ready",
            "n4 old ready",
        ];
        assert_eq!(both(half, &going).1, ["-n2-old-ready"]);
    }

    #[test]
    fn a_surging_update_never_takes_an_old_pod_before_its_successor_is_ready() {
        let surge = json!({"type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
        let old = [
            "n1 old ready",
            "n2 old ready",
            "n3 old ready",
            "n4 old ready",
        ];
        assert_eq!(both(surge.clone(), &old).1, ["+n1"]);
        let beside = [
            "n1 old ready",
            "n1 new unready",
            "n2 old ready",
            "n3 old ready",
            "n4 old ready",
        ];
        let (managed, rolled) = both(surge.clone(), &beside);
        assert_eq!((managed, rolled), (vec![], vec![]));
        let ready = [
            "n1 old ready",
            "n1 new ready",
            "n2 old ready",
            "n3 old ready",
            "n4 old ready",
        ];
        assert_eq!(both(surge, &ready).0, ["-n1-old-ready"]);
    }
}
