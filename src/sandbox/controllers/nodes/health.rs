//! What a node's conditions, taints and pods should be, given when it was last heard of
//! (pkg/controller/nodelifecycle/node_lifecycle_controller.go, pkg/controller/tainteviction). Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::sandbox::kubelet::admission::tolerates;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The conditions that become Unknown when a node is not heard of.
const WATCHED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The status of the node's condition of this type, `Unknown` if it has none.
#[must_use]
pub fn condition<'a>(node: &'a Node, kind: &str) -> &'a str {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    conditions
        .find(|condition| condition.type_ == kind)
        .map_or("Unknown", |condition| condition.status.as_str())
}

/// The conditions of a node that was not heard of for too long. `None` if they say so already.
#[must_use]
pub fn silenced(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let mut conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let mut changed = false;
    for kind in WATCHED {
        match conditions
            .iter_mut()
            .find(|condition| condition.type_ == kind)
        {
            Some(condition) if condition.status != "Unknown" => {
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("Kubelet stopped posting node status.".into());
                condition.last_transition_time = Some(Time(now));
                changed = true;
            }
            Some(_) => {}
            None => {
                conditions.push(NodeCondition {
                    type_: kind.into(),
                    status: "Unknown".into(),
                    reason: Some("NodeStatusNeverUpdated".into()),
                    message: Some("Kubelet never posted node status.".into()),
                    last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                    last_transition_time: Some(Time(now)),
                });
                changed = true;
            }
        }
    }
    changed.then_some(conditions)
}

/// The taints that the node should have: those of its conditions, and those that others gave it.
/// `None` if it has them already.
#[must_use]
pub fn taints(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let spec = node.spec.clone().unwrap_or_default();
    let old = spec.taints.unwrap_or_default();
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    match condition(node, "Ready") {
        "True" => {}
        "False" => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        _ => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
    }
    for (kind, key) in [
        ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
        ("DiskPressure", "node.kubernetes.io/disk-pressure"),
        (
            "NetworkUnavailable",
            "node.kubernetes.io/network-unavailable",
        ),
        ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ] {
        if condition(node, kind) == "True" {
            wanted.push((key, "NoSchedule"));
        }
    }
    if spec.unschedulable == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let is_ours = |taint: &Taint| {
        let by_condition = taint.key.starts_with("node.kubernetes.io/")
            && matches!(
                taint.key.trim_start_matches("node.kubernetes.io/"),
                "not-ready"
                    | "unreachable"
                    | "unschedulable"
                    | "memory-pressure"
                    | "disk-pressure"
                    | "network-unavailable"
                    | "pid-pressure"
            );
        let executes = taint.effect == "NoExecute";
        by_condition
            && (taint.effect == "NoSchedule"
                || (executes && [NOT_READY, UNREACHABLE].contains(&taint.key.as_str())))
    };
    let is_wanted = |taint: &Taint| {
        wanted
            .iter()
            .any(|(key, effect)| taint.key == *key && taint.effect == *effect)
    };
    let mut new: Vec<Taint> = old
        .iter()
        .filter(|taint| !is_ours(taint) || is_wanted(taint))
        .cloned()
        .collect();
    for (key, effect) in wanted {
        if !new
            .iter()
            .any(|taint| taint.key == key && taint.effect == effect)
        {
            new.push(Taint {
                key: key.into(),
                effect: effect.into(),
                value: None,
                time_added: Some(Time(now)),
            });
        }
    }
    (new != old).then_some(new)
}

/// What NoExecute taints mean for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It stays.
    ForEver,
    /// It stays that long from when this was first seen.
    For(Duration),
    /// It goes.
    No,
}

/// How long the pod may stay on a node with these taints (`processPodOnNode`).
#[must_use]
pub fn stay(pod: &Pod, taints: &[Taint]) -> Stay {
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref());
    let tolerations = tolerations.unwrap_or_default();
    let mut shortest = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let Some(toleration) = tolerations.iter().find(|one| tolerates(one, taint)) else {
            return Stay::No;
        };
        if let Some(seconds) = toleration.toleration_seconds {
            let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            shortest = Some(shortest.map_or(seconds, |other: Duration| other.min(seconds)));
        }
    }
    match shortest {
        None => Stay::ForEver,
        Some(Duration::ZERO) => Stay::No,
        Some(shortest) => Stay::For(shortest),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(ready: &str, spec: Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": spec, "status": {
            "conditions": [{"type": "Ready", "status": ready}]}}))
        .unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn names(taints: &[Taint]) -> Vec<String> {
        taints
            .iter()
            .map(|taint| format!("{}:{}", taint.key, taint.effect))
            .collect()
    }

    #[test]
    fn taints_follow_conditions_and_leave_others_alone() {
        let own = json!({"taints": [{"key": "mine", "effect": "NoSchedule"},
            {"key": NOT_READY, "effect": "NoSchedule"}]});
        let ready = taints(&node("True", own.clone()), now()).unwrap();
        assert_eq!(names(&ready), ["mine:NoSchedule"]);
        let lost = taints(&node("Unknown", own), now()).unwrap();
        assert_eq!(
            names(&lost),
            [
                "mine:NoSchedule",
                "node.kubernetes.io/unreachable:NoSchedule",
                "node.kubernetes.io/unreachable:NoExecute"
            ]
        );
        let cordoned = taints(&node("True", json!({"unschedulable": true})), now()).unwrap();
        assert_eq!(
            names(&cordoned),
            ["node.kubernetes.io/unschedulable:NoSchedule"]
        );
        assert_eq!(taints(&node("True", json!({})), now()), None);
    }

    #[test]
    fn a_silent_nodes_conditions_become_unknown_once() {
        let conditions = silenced(&node("True", json!({})), now()).unwrap();
        assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusUnknown"));
        assert_eq!(conditions.len(), 4);
        let mut gone = node("True", json!({}));
        gone.status.as_mut().unwrap().conditions = Some(conditions);
        assert_eq!(silenced(&gone, now()), None);
    }

    #[test]
    fn tolerations_say_how_long_a_pod_stays() {
        let taints: Vec<Taint> = serde_json::from_value(json!([
            {"key": UNREACHABLE, "effect": "NoExecute"},
            {"key": UNREACHABLE, "effect": "NoSchedule"}]))
        .unwrap();
        let pod = |tolerations: Value| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [], "tolerations": tolerations}}))
                .unwrap()
        };
        let tolerance = |seconds: Value| {
            json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": seconds}])
        };
        assert_eq!(stay(&pod(json!([])), &taints), Stay::No);
        assert_eq!(stay(&pod(tolerance(json!(null))), &taints), Stay::ForEver);
        let minutes = Stay::For(Duration::from_secs(300));
        assert_eq!(stay(&pod(tolerance(json!(300))), &taints), minutes);
        assert_eq!(stay(&pod(tolerance(json!(0))), &taints), Stay::No);
        assert_eq!(stay(&pod(json!([])), &[]), Stay::ForEver);
    }
}
