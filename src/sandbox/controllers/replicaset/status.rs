//! A ReplicaSet's status from its pods (pkg/controller/replicaset/replica_set_utils.go). Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::sandbox::controllers::objects::{is_ready, until_available};
use crate::sandbox::controllers::pods::Failure;

/// The status of `set` with these `active` and `terminating` pods.
#[must_use]
pub fn status(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    terminating: usize,
    failure: Option<&Failure>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let template = set.spec.template.as_ref();
    let wanted = template
        .and_then(|template| template.metadata.as_ref())
        .and_then(|meta| meta.labels.clone())
        .unwrap_or_default();
    let fully_labeled = active.iter().filter(|pod| {
        let labels = pod.metadata.labels.as_ref();
        wanted
            .iter()
            .all(|(key, value)| labels.and_then(|all| all.get(key)) == Some(value))
    });
    let min_ready = set.spec.min_ready_seconds.unwrap_or(0);
    let available = active
        .iter()
        .filter(|pod| until_available(pod, min_ready, now) == Some(Duration::ZERO));
    let old = set.status.clone().unwrap_or_default();
    ReplicaSetStatus {
        replicas: count(active.len()),
        fully_labeled_replicas: some(fully_labeled.count()),
        ready_replicas: some(active.iter().filter(|pod| is_ready(pod)).count()),
        available_replicas: some(available.count()),
        terminating_replicas: Some(count(terminating)),
        observed_generation: set.metadata.generation,
        conditions: conditions(old.conditions.unwrap_or_default(), failure, now),
    }
}

/// How long until the next Ready pod of `set` becomes available.
#[must_use]
pub fn next_check(set: &ReplicaSet, active: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    let min_ready = set.spec.min_ready_seconds.unwrap_or(0);
    active
        .iter()
        .filter_map(|pod| until_available(pod, min_ready, now))
        .filter(|left| !left.is_zero())
        .min()
}

fn conditions(
    mut conditions: Vec<ReplicaSetCondition>,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let is_failure =
        |condition: &ReplicaSetCondition| condition.type_.as_deref() == Some("ReplicaFailure");
    match failure {
        // The first failure stands until the numbers are right again.
        Some(failure) if !conditions.iter().any(is_failure) => {
            conditions.push(ReplicaSetCondition {
                type_: Some("ReplicaFailure".into()),
                status: Some("True".into()),
                reason: Some(failure.reason.into()),
                message: Some(failure.message.clone()),
                last_transition_time: Some(Time(now)),
            });
        }
        Some(_) => {}
        None => conditions.retain(|condition| !is_failure(condition)),
    }
    (!conditions.is_empty()).then_some(conditions)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Zero is left out, as Go's `omitempty` does: or every status would look changed.
fn some(number: usize) -> Option<i32> {
    (number > 0).then(|| count(number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(labels: serde_json::Value, ready: Option<&str>) -> Arc<Pod> {
        let conditions = ready.map_or(
            json!([]),
            |since| json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]),
        );
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": "p", "labels": labels},
                "status": {"phase": "Running", "conditions": conditions},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn status_counts_what_the_pods_are() {
        let set: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "rs", "generation": 3},
            "spec": {"minReadySeconds": 10, "selector": {"matchLabels": {"app": "a"}},
                     "template": {"metadata": {"labels": {"app": "a", "x": "y"}}}},
        }))
        .unwrap();
        let pods = [
            pod(json!({"app": "a", "x": "y"}), Some("2026-01-01T00:00:00Z")),
            pod(json!({"app": "a"}), Some("2026-01-01T00:00:55Z")),
            pod(json!({"app": "a"}), None),
        ];
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let failure = Failure {
            reason: "FailedCreate",
            message: "quota".into(),
        };
        let status = status(&set, &pods, 1, Some(&failure), now);
        assert_eq!(
            (
                status.replicas,
                status.fully_labeled_replicas,
                status.ready_replicas,
                status.available_replicas,
                status.terminating_replicas,
                status.observed_generation,
            ),
            (3, Some(1), Some(2), Some(1), Some(1), Some(3))
        );
        assert_eq!(
            status.conditions.unwrap()[0].reason.as_deref(),
            Some("FailedCreate")
        );
        assert_eq!(next_check(&set, &pods, now), Some(Duration::from_secs(5)));
    }
}
