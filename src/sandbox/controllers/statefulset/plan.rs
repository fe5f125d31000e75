//! What a StatefulSet's controller does next (pkg/controller/statefulset/stateful_set_control.go,
//! `updateStatefulSet`). Pure.
//!
//! With `OrderedReady` one thing at a time, in the order of the ordinals; with `Parallel` whatever has
//! to be done, but updates one at a time too: `maxUnavailable` is behind a feature gate that is off
//! (`MaxUnavailableStatefulSet`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;

use super::identity::{
    Version, first, is_furnished, is_identified, is_in_range, ordinal, pod_for, revision_of, wanted,
};
use crate::sandbox::controllers::objects::{
    is_finished, is_ready, is_terminating, phase, until_available,
};

/// One thing to do; the next one only if it worked.
#[derive(Clone, Debug)]
pub enum Step {
    /// Create this pod and its claims.
    Create(Box<Pod>, i32),
    /// Create the claims of a pod that may be waiting for them.
    Claims(Arc<Pod>, i32),
    /// Put the pod's identity, volumes and claims right.
    Fix(Arc<Pod>, i32),
    /// Put the owners of the pod's claims right.
    Retain(Arc<Pod>, i32),
    /// Delete it: it failed, or it is one too many.
    Delete(Arc<Pod>),
    /// Delete it because it is of an old revision.
    Update(Arc<Pod>),
}

/// What only the caches of claims know.
pub trait Claims {
    /// Whether the claims of a pod have the owners that they should have.
    fn are_owned(&self, pod: &Pod, ordinal: i32) -> bool;
    /// Whether a claim of this ordinal belongs to an earlier life of the pod, so that it must go
    /// before the pod may come.
    fn are_stale(&self, ordinal: i32) -> bool;
}

enum Replica {
    There(Arc<Pod>),
    Missing(Box<Pod>),
}

/// The steps of this round.
#[must_use]
pub fn plan(
    set: &StatefulSet,
    current: &Version,
    update: &Version,
    pods: &[Arc<Pod>],
    claims: &impl Claims,
    now: Timestamp,
) -> Vec<Step> {
    if is_terminating(&set.metadata) {
        return Vec::new();
    }
    let round = Round { set, claims, now };
    let mut there: BTreeMap<i32, Arc<Pod>> = BTreeMap::new();
    let mut condemned: Vec<(i32, Arc<Pod>)> = Vec::new();
    for pod in pods {
        match ordinal(set, pod) {
            Some(ordinal) if is_in_range(set, ordinal) => {
                there.insert(ordinal, Arc::clone(pod));
            }
            Some(ordinal) => condemned.push((ordinal, Arc::clone(pod))),
            None => {}
        }
    }
    condemned.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
    let replicas = (first(set)..first(set).saturating_add(wanted(set))).map(|ordinal| {
        let replica = match there.get(&ordinal) {
            Some(pod) => Replica::There(Arc::clone(pod)),
            None => Replica::Missing(Box::new(pod_for(set, current, update, ordinal))),
        };
        (ordinal, replica)
    });
    let replicas = Vec::from_iter(replicas);
    let mut steps = Vec::new();
    for (ordinal, replica) in &replicas {
        if round.replica(*ordinal, replica, &mut steps) {
            return steps;
        }
    }
    for (ordinal, pod) in &condemned {
        if !claims.are_owned(pod, *ordinal) {
            steps.push(Step::Retain(Arc::clone(pod), *ordinal));
        }
    }
    let unhealthy = round.first_unavailable(&replicas, &condemned);
    for (_, pod) in &condemned {
        if round.condemned(pod, unhealthy, &mut steps) {
            return steps;
        }
    }
    round.update(&replicas, &update.revision, &mut steps);
    steps
}

struct Round<'a, C> {
    set: &'a StatefulSet,
    claims: &'a C,
    now: Timestamp,
}

impl<C: Claims> Round<'_, C> {
    fn is_ordered(&self) -> bool {
        self.set.spec.pod_management_policy.as_deref() != Some("Parallel")
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let spec = &self.set.spec;
        let min_ready = spec.min_ready_seconds.unwrap_or(0);
        until_available(pod, min_ready, self.now) == Some(Duration::ZERO)
    }

    fn is_settled(&self, pod: &Pod) -> bool {
        phase(pod) == "Running" && is_ready(pod) && self.is_available(pod)
    }

    /// One wanted ordinal. Says whether to stop here.
    fn replica(&self, ordinal: i32, replica: &Replica, steps: &mut Vec<Step>) -> bool {
        let ordered = self.is_ordered();
        let pod = match replica {
            Replica::Missing(pod) => {
                if !self.claims.are_stale(ordinal) {
                    steps.push(Step::Create(pod.clone(), ordinal));
                }
                return ordered;
            }
            Replica::There(pod) => pod,
        };
        if is_finished(pod) {
            if !is_terminating(&pod.metadata) {
                steps.push(Step::Delete(Arc::clone(pod)));
            }
            return ordered;
        }
        if phase(pod) == "Pending" {
            steps.push(Step::Claims(Arc::clone(pod), ordinal));
        }
        if ordered && (is_terminating(&pod.metadata) || !self.is_settled(pod)) {
            return true;
        }
        let fits = is_identified(pod)
            && is_furnished(self.set, pod, ordinal)
            && self.claims.are_owned(pod, ordinal);
        if !fits {
            steps.push(Step::Fix(Arc::clone(pod), ordinal));
        }
        false
    }

    /// One pod too many. Says whether to stop here.
    fn condemned(&self, pod: &Arc<Pod>, unhealthy: Option<&str>, steps: &mut Vec<Step>) -> bool {
        let ordered = self.is_ordered();
        if is_terminating(&pod.metadata) {
            return ordered;
        }
        let is_unhealthy_one = unhealthy.is_some() && unhealthy == pod.metadata.name.as_deref();
        if ordered && !self.is_settled(pod) && !is_unhealthy_one {
            return true;
        }
        steps.push(Step::Delete(Arc::clone(pod)));
        ordered
    }

    fn is_unavailable(&self, pod: &Pod) -> bool {
        is_terminating(&pod.metadata) || !self.is_available(pod)
    }

    fn first_unavailable<'a>(
        &self,
        replicas: &'a [(i32, Replica)],
        condemned: &'a [(i32, Arc<Pod>)],
    ) -> Option<&'a str> {
        let there = |replica: &'a Replica| match replica {
            Replica::There(pod) => (self.is_unavailable(pod)).then_some(pod.as_ref()),
            Replica::Missing(pod) => Some(pod.as_ref()),
        };
        let first = replicas.iter().find_map(|(_, replica)| there(replica));
        let mut rest = condemned.iter().rev().map(|(_, pod)| pod.as_ref());
        first
            .or_else(|| rest.find(|pod| self.is_unavailable(pod)))
            .and_then(|pod| pod.metadata.name.as_deref())
    }

    /// The pod of the highest ordinal that is of an old revision, unless a newer one is not
    /// available.
    fn update(&self, replicas: &[(i32, Replica)], revision: &str, steps: &mut Vec<Step>) {
        let spec = &self.set.spec;
        let strategy = spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        let partition = strategy
            .and_then(|strategy| strategy.rolling_update.as_ref())
            .and_then(|rolling| rolling.partition)
            .unwrap_or(0);
        let kept = usize::try_from(partition).unwrap_or(0);
        for (_, replica) in replicas.iter().skip(kept).rev() {
            let Replica::There(pod) = replica else { return };
            if revision_of(pod) != revision && !is_terminating(&pod.metadata) {
                steps.push(Step::Update(Arc::clone(pod)));
                return;
            }
            if self.is_unavailable(pod) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    struct AllWell;
    impl Claims for AllWell {
        fn are_owned(&self, _: &Pod, _: i32) -> bool {
            true
        }
        fn are_stale(&self, _: i32) -> bool {
            false
        }
    }

    fn set(spec: Value) -> StatefulSet {
        let mut all = json!({"replicas": 3, "selector": {}, "template": {}});
        json_patch::merge(&mut all, &spec);
        let set = json!({"metadata": {"name": "web", "namespace": "d", "uid": "u"}, "spec": all});
        serde_json::from_value(set).unwrap()
    }

    /// A pod told as `ordinal revision word`; the word is ready, unready, pending, failed, going.
    fn pod(told: &str) -> Arc<Pod> {
        let words = Vec::from_iter(told.split(' '));
        let name = format!("web-{}", words[0]);
        let phase = match words[2] {
            "pending" => "Pending",
            "failed" => "Failed",
            _ => "Running",
        };
        let ready = matches!(words[2], "ready" | "going");
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "d", "labels": {
                "statefulset.kubernetes.io/pod-name": name, "controller-revision-hash": words[1]}},
            "spec": {"containers": []},
            "status": {"phase": phase, "conditions": [{"type": "Ready",
                "status": if ready {"True"} else {"False"},
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        });
        if words[2] == "going" {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn steps(spec: Value, pods: &[&str]) -> Vec<String> {
        let version = |revision: &str| Version {
            revision: revision.to_owned(),
            template: serde_json::from_value(json!({"spec": {"containers": []}})).unwrap(),
        };
        let pods = Vec::from_iter(pods.iter().map(|told| pod(told)));
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        let steps = plan(
            &set(spec),
            &version("a"),
            &version("b"),
            &pods,
            &AllWell,
            now,
        );
        let word = |step: &Step| match step {
            Step::Create(_, ordinal) => format!("create {ordinal}"),
            Step::Claims(_, ordinal) => format!("claims {ordinal}"),
            Step::Fix(_, ordinal) | Step::Retain(_, ordinal) => format!("fix {ordinal}"),
            Step::Delete(pod) => format!("delete {}", pod.metadata.name.clone().unwrap()),
            Step::Update(pod) => format!("update {}", pod.metadata.name.clone().unwrap()),
        };
        steps.iter().map(word).collect()
    }

    #[test]
    fn ordered_pods_come_one_after_the_other() {
        assert_eq!(steps(json!({}), &[]), ["create 0"]);
        assert_eq!(steps(json!({}), &["0 b pending"]), ["claims 0"]);
        assert_eq!(steps(json!({}), &["0 b unready"]), [""; 0]);
        assert_eq!(steps(json!({}), &["0 b ready"]), ["create 1"]);
        let slow = json!({"minReadySeconds": 600});
        assert_eq!(steps(slow, &["0 b ready"]), [""; 0]);
        assert_eq!(
            steps(json!({}), &["0 b ready", "1 b failed"]),
            ["delete web-1"]
        );
    }

    #[test]
    fn parallel_pods_come_all_at_once() {
        let parallel = json!({"podManagementPolicy": "Parallel"});
        assert_eq!(
            steps(parallel.clone(), &[]),
            ["create 0", "create 1", "create 2"]
        );
        let pods = [
            "0 b ready",
            "1 b unready",
            "2 b ready",
            "3 b ready",
            "4 b unready",
        ];
        assert_eq!(steps(parallel, &pods), ["delete web-4", "delete web-3"]);
    }

    #[test]
    fn pods_too_many_go_from_the_top_one_by_one() {
        let all = [
            "0 b ready",
            "1 b ready",
            "2 b ready",
            "3 b ready",
            "4 b ready",
        ];
        assert_eq!(steps(json!({}), &all), ["delete web-4"]);
        let going = [
            "0 b ready",
            "1 b ready",
            "2 b ready",
            "3 b ready",
            "4 b going",
        ];
        assert_eq!(steps(json!({}), &going), [""; 0]);
        // The one that is unhealthy may go; one that is healthy waits for it.
        let sick = [
            "0 b ready",
            "1 b ready",
            "2 b ready",
            "3 b unready",
            "4 b ready",
        ];
        assert_eq!(steps(json!({}), &sick), ["delete web-4"]);
        let sick = [
            "0 b ready",
            "1 b ready",
            "2 b ready",
            "3 b unready",
            "4 b unready",
        ];
        assert_eq!(steps(json!({}), &sick), [""; 0]);
    }

    #[test]
    fn updates_go_from_the_top_and_wait_for_each() {
        let old = ["0 a ready", "1 a ready", "2 a ready"];
        assert_eq!(steps(json!({}), &old), ["update web-2"]);
        let next = ["0 a ready", "1 a ready", "2 b ready"];
        assert_eq!(steps(json!({}), &next), ["update web-1"]);
        let waits = ["0 a ready", "1 a ready", "2 b unready"];
        assert_eq!(steps(json!({}), &waits), [""; 0]);
        let kept = json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}});
        assert_eq!(steps(kept, &next), [""; 0]);
        let by_hand = json!({"updateStrategy": {"type": "OnDelete"}});
        assert_eq!(steps(by_hand, &old), [""; 0]);
        // A pod of an old revision that never became ready blocks nobody's update but its own.
        let parallel = json!({"podManagementPolicy": "Parallel"});
        assert_eq!(
            steps(parallel, &["0 a ready", "1 a unready", "2 b ready"]),
            ["update web-1"]
        );
    }
}
