//! Which pods a ReplicaSet removes when it has too many
//! (pkg/controller/controller_utils.go, `ActivePodsWithRanks.Less`). Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::sandbox::controllers::objects::{age, annotation, is_ready, phase, ready_since, uid};

/// The annotation by which users say which pod to spare.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` pods of `pods` that go first. `related` are the active pods of all ReplicaSets of the
/// same owner: of two equal pods the one on the more crowded node goes.
#[must_use]
pub fn victims(
    pods: &[Arc<Pod>],
    related: &[Arc<Pod>],
    count: usize,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    if count >= pods.len() {
        return pods.to_vec();
    }
    let mut crowd: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in related {
        *crowd.entry(node(pod)).or_default() += 1;
    }
    // The order is not transitive (equal times fall through to restarts, times of one magnitude to
    // UIDs), so that a library sort, which may panic on such an order, is out of the question.
    let mut sorted: Vec<&Arc<Pod>> = Vec::with_capacity(pods.len());
    for pod in pods {
        let rank = |pod: &Pod| crowd.get(node(pod)).copied().unwrap_or(0);
        let place = sorted.partition_point(|other| {
            before(other, pod, (rank(other), rank(pod)), now) != Ordering::Greater
        });
        sorted.insert(place, pod);
    }
    sorted.into_iter().take(count).cloned().collect()
}

/// `Less` means that `a` goes first.
fn before(a: &Pod, b: &Pod, crowds: (usize, usize), now: Timestamp) -> Ordering {
    let order = node(a).is_empty().cmp(&node(b).is_empty()).reverse();
    let order = order
        .then_with(|| phase_order(a).cmp(&phase_order(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| crowds.1.cmp(&crowds.0));
    if order != Ordering::Equal {
        return order;
    }
    if let (Some(ready_a), Some(ready_b)) = (ready_since(a), ready_since(b))
        && ready_a != ready_b
    {
        return younger(age(ready_a, now), age(ready_b, now), a, b);
    }
    let order = restarts(b).cmp(&restarts(a));
    if order != Ordering::Equal {
        return order;
    }
    match (
        &a.metadata.creation_timestamp,
        &b.metadata.creation_timestamp,
    ) {
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(made_a), Some(made_b)) if made_a != made_b => {
            younger(age(made_a, now), age(made_b, now), a, b)
        }
        _ => Ordering::Equal,
    }
}

/// The younger goes first, but only the magnitude of the age counts; within one, the UID decides
/// (KEP-2185, random pod selection on ReplicaSet downscaling).
fn younger(age_a: Duration, age_b: Duration, a: &Pod, b: &Pod) -> Ordering {
    let magnitude = |age: Duration| age.as_nanos().checked_ilog2().map_or(-1, i64::from);
    magnitude(age_a)
        .cmp(&magnitude(age_b))
        .then_with(|| uid(&a.metadata).cmp(uid(&b.metadata)))
}

fn node(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

fn phase_order(pod: &Pod) -> u8 {
    match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    }
}

fn cost(pod: &Pod) -> i32 {
    // The API server refuses values that are no int32 in canonical form.
    annotation(&pod.metadata, DELETION_COST)
        .and_then(|cost| cost.parse().ok())
        .unwrap_or(0)
}

/// The most restarts of an ordinary container, then of a sidecar.
fn restarts(pod: &Pod) -> (i32, i32) {
    let most = |statuses: &Option<Vec<ContainerStatus>>, sidecars: Option<&[&str]>| {
        let statuses = statuses.as_deref().unwrap_or_default().iter();
        let counted = statuses
            .filter(|status| sidecars.is_none_or(|names| names.contains(&status.name.as_str())));
        counted
            .map(|status| status.restart_count)
            .max()
            .unwrap_or(0)
    };
    let inits = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.init_containers.as_deref());
    let sidecars: Vec<&str> = inits
        .unwrap_or_default()
        .iter()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"))
        .map(|container| container.name.as_str())
        .collect();
    pod.status.as_ref().map_or((0, 0), |status| {
        (
            most(&status.container_statuses, None),
            most(&status.init_container_statuses, Some(&sidecars)),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-01-01T01:00:00Z";

    struct Spec {
        name: &'static str,
        node: &'static str,
        phase: &'static str,
        ready: Option<&'static str>,
        cost: Option<&'static str>,
        restarts: i32,
        created: &'static str,
    }

    const PLAIN: Spec = Spec {
        name: "plain",
        node: "n1",
        phase: "Running",
        ready: Some("2026-01-01T00:00:00Z"),
        cost: None,
        restarts: 0,
        created: "2026-01-01T00:00:00Z",
    };

    fn pod(spec: &Spec) -> Arc<Pod> {
        let annotations = spec
            .cost
            .map_or_else(|| json!({}), |cost| json!({DELETION_COST: cost}));
        let conditions = spec.ready.map_or(
            json!([]),
            |since| json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]),
        );
        let value: Value = json!({
            "metadata": {"name": spec.name, "uid": spec.name, "annotations": annotations,
                         "creationTimestamp": spec.created},
            "spec": {"nodeName": spec.node, "containers": []},
            "status": {"phase": spec.phase, "conditions": conditions, "containerStatuses": [
                {"name": "c", "image": "i", "imageID": "", "ready": true,
                 "restartCount": spec.restarts}]},
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn first(specs: &[Spec]) -> String {
        let pods: Vec<_> = specs.iter().map(pod).collect();
        // Whatever the order in which they come.
        let mut answers: Vec<String> = Vec::new();
        for turn in 0..pods.len() {
            let mut turned = pods.clone();
            turned.rotate_left(turn);
            let gone = victims(&turned, &pods, 1, NOW.parse().unwrap());
            answers.push(gone[0].metadata.name.clone().unwrap());
        }
        assert!(
            answers.windows(2).all(|pair| pair[0] == pair[1]),
            "{answers:?}"
        );
        answers.remove(0)
    }

    #[test]
    fn each_rule_outranks_the_next() {
        let unassigned = Spec {
            name: "unassigned",
            node: "",
            ..PLAIN
        };
        let pending = Spec {
            name: "pending",
            phase: "Pending",
            ..PLAIN
        };
        let unready = Spec {
            name: "unready",
            ready: None,
            ..PLAIN
        };
        let cheap = Spec {
            name: "cheap",
            cost: Some("-5"),
            ..PLAIN
        };
        assert_eq!(first(&[PLAIN, pending.clone(), unassigned]), "unassigned");
        assert_eq!(first(&[PLAIN, unready.clone(), pending]), "pending");
        assert_eq!(first(&[PLAIN, cheap.clone(), unready]), "unready");
        assert_eq!(first(&[PLAIN, cheap]), "cheap");
        let crowded = Spec {
            name: "crowded",
            node: "n2",
            ..PLAIN
        };
        let crowding = Spec {
            name: "crowding",
            node: "n2",
            cost: Some("7"),
            ..PLAIN
        };
        assert_eq!(first(&[PLAIN, crowded, crowding]), "crowded");
        let fresh = Spec {
            name: "fresh",
            ready: Some("2026-01-01T00:59:00Z"),
            ..PLAIN
        };
        let restarted = Spec {
            name: "restarted",
            restarts: 3,
            ..PLAIN
        };
        assert_eq!(first(&[PLAIN, restarted.clone(), fresh]), "fresh");
        let young = Spec {
            name: "young",
            created: "2026-01-01T00:59:00Z",
            ..PLAIN
        };
        assert_eq!(first(&[PLAIN, restarted, young.clone()]), "restarted");
        assert_eq!(first(&[PLAIN, young]), "young");
    }

    #[test]
    fn ages_of_one_magnitude_are_decided_by_uid() {
        let a = Spec {
            name: "a",
            ready: Some("2026-01-01T00:00:10Z"),
            ..PLAIN
        };
        let z = Spec {
            name: "z",
            ready: Some("2026-01-01T00:00:20Z"),
            ..PLAIN
        };
        assert_eq!(first(&[z, a]), "a");
    }

    #[test]
    fn all_of_them_is_all_of_them() {
        let pods = [pod(&PLAIN)];
        assert_eq!(victims(&pods, &[], 5, NOW.parse().unwrap()).len(), 1);
    }

    impl Clone for Spec {
        fn clone(&self) -> Self {
            Self { ..*self }
        }
    }
}
