//! A Deployment's status and how a rollout is going
//! (pkg/controller/deployment/progress.go, sync.go `calculateStatus`). Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::rolling::{fenceposts, wanted};
use crate::sandbox::controllers::objects::{age, name};

/// A condition's type, status, reason and message.
pub type Told<'a> = (&'a str, &'a str, &'a str, String);

/// The reason of a rollout that has ended well.
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// The condition of this type.
#[must_use]
pub fn condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    let conditions = status.conditions.as_deref()?;
    conditions
        .iter()
        .find(|condition| condition.type_.as_deref() == Some(kind))
}

/// Sets a condition. One with the same status and reason is left as it is; one with the same status
/// keeps the time of its last transition (`SetDeploymentCondition`).
pub fn set_condition(status: &mut DeploymentStatus, told: Told<'_>, now: Timestamp) {
    let (kind, value, reason, message) = told;
    let mut transition = Time(now);
    if let Some(old) = condition(status, kind)
        && old.status.as_deref() == Some(value)
    {
        if old.reason.as_deref() == Some(reason) {
            return;
        }
        transition = old.last_transition_time.clone().unwrap_or(transition);
    }
    put(
        status,
        DeploymentCondition {
            type_: Some(kind.to_owned()),
            status: Some(value.to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(transition),
            last_update_time: Some(Time(now)),
        },
    );
}

fn put(status: &mut DeploymentStatus, new: DeploymentCondition) {
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|old| old.type_ != new.type_);
    conditions.push(new);
}

fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_.as_deref() != Some(kind));
    }
}

/// Whether the Deployment has a deadline for progress. The largest number means none.
#[must_use]
pub fn deadline(deployment: &Deployment) -> Option<Duration> {
    deployment
        .spec
        .progress_deadline_seconds
        .filter(|seconds| *seconds != i32::MAX)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(Duration::from_secs)
}

fn sum(sets: &[&ReplicaSet], number: impl Fn(&ReplicaSetStatus) -> Option<i32>) -> i32 {
    sets.iter()
        .filter_map(|set| set.status.as_ref().and_then(&number))
        .sum()
}

/// The numbers and the Available condition (`calculateStatus`).
#[must_use]
pub fn calculate(
    deployment: &Deployment,
    all: &[&ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> DeploymentStatus {
    let old = deployment.status.clone().unwrap_or_default();
    let total = sum(all, |status| Some(status.replicas));
    let available = sum(all, |status| status.available_replicas);
    let terminating = all
        .iter()
        .map(|set| {
            set.status
                .as_ref()
                .and_then(|status| status.terminating_replicas)
        })
        .sum::<Option<i32>>();
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(total),
        updated_replicas: some(new.map_or(0, |new| sum(&[new], |status| Some(status.replicas)))),
        ready_replicas: some(sum(all, |status| status.ready_replicas)),
        available_replicas: some(available),
        unavailable_replicas: some((total - available).max(0)),
        terminating_replicas: terminating,
        collision_count: old.collision_count,
        conditions: old.conditions,
    };
    let told = if available >= wanted(deployment) - fenceposts(deployment).unavailable {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    set_condition(
        &mut status,
        ("Available", told.0, told.1, told.2.to_owned()),
        now,
    );
    status
}

/// Zero is left out, as Go's `omitempty` does: or every status would look changed.
fn some(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}

/// Whether the rollout has ended: all replicas are new and available, and this was computed from the
/// newest generation.
#[must_use]
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = wanted(deployment);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0)
}

fn is_progressing(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let number = |value: Option<i32>| value.unwrap_or(0);
    let outdated =
        |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    number(new.updated_replicas) > number(old.updated_replicas)
        || outdated(new) < outdated(old)
        || number(new.ready_replicas) > number(old.ready_replicas)
        || number(new.available_replicas) > number(old.available_replicas)
}

fn is_timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(deadline) = deadline(deployment) else {
        return false;
    };
    let Some(progressing) = condition(status, "Progressing") else {
        return false;
    };
    match progressing.reason.as_deref() {
        Some(COMPLETE) => false,
        Some(TIMED_OUT) => true,
        _ => progressing
            .last_update_time
            .as_ref()
            .is_some_and(|since| age(since, now) > deadline),
    }
}

/// The status during a rollout: [`calculate`] and the Progressing and ReplicaFailure conditions
/// (`syncRolloutStatus`).
#[must_use]
pub fn rollout(
    deployment: &Deployment,
    all: &[&ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> DeploymentStatus {
    let mut status = calculate(deployment, all, new, now);
    let old = deployment.status.clone().unwrap_or_default();
    let current = condition(&old, "Progressing");
    if deadline(deployment).is_none() {
        remove(&mut status, "Progressing");
    } else {
        let settled = status.replicas == status.updated_replicas
            && current.is_some_and(|current| current.reason.as_deref() == Some(COMPLETE));
        let who = new.map_or_else(
            || format!("Deployment \"{}\"", name(&deployment.metadata)),
            |new| format!("ReplicaSet \"{}\"", name(&new.metadata)),
        );
        if settled {
            // No rollout is going on: nothing to say about its progress.
        } else if is_complete(deployment, &status) {
            let message = format!("{who} has successfully progressed.");
            set_condition(&mut status, ("Progressing", "True", COMPLETE, message), now);
        } else if is_progressing(&old, &status) {
            // Unlike other conditions this one is renewed though its reason is the same: the
            // deadline counts from the last progress.
            let kept = current
                .filter(|current| current.status.as_deref() == Some("True"))
                .and_then(|current| current.last_transition_time.clone());
            put(
                &mut status,
                DeploymentCondition {
                    type_: Some("Progressing".into()),
                    status: Some("True".into()),
                    reason: Some("ReplicaSetUpdated".into()),
                    message: Some(format!("{who} is progressing.")),
                    last_transition_time: Some(kept.unwrap_or(Time(now))),
                    last_update_time: Some(Time(now)),
                },
            );
        } else if is_timed_out(deployment, &status, now) {
            let message = format!("{who} has timed out progressing.");
            set_condition(
                &mut status,
                ("Progressing", "False", TIMED_OUT, message),
                now,
            );
        }
    }
    match replica_failure(all, new) {
        Some(failure) => {
            let told = condition(&status, "ReplicaFailure");
            if told.is_none_or(|old| old.reason != failure.reason || old.status != failure.status) {
                put(&mut status, failure);
            }
        }
        None => remove(&mut status, "ReplicaFailure"),
    }
    status
}

/// The failure of the new ReplicaSet, or of any.
fn replica_failure(all: &[&ReplicaSet], new: Option<&ReplicaSet>) -> Option<DeploymentCondition> {
    let found = new.into_iter().chain(all.iter().copied()).find_map(|set| {
        let conditions = set.status.as_ref()?.conditions.as_deref()?;
        conditions
            .iter()
            .find(|condition| condition.type_.as_deref() == Some("ReplicaFailure"))
    })?;
    Some(DeploymentCondition {
        type_: found.type_.clone(),
        status: found.status.clone(),
        reason: found.reason.clone(),
        message: found.message.clone(),
        last_transition_time: found.last_transition_time.clone(),
        last_update_time: found.last_transition_time.clone(),
    })
}

/// When to look again for a rollout that does not move: when its deadline has passed
/// (`requeueStuckDeployment`).
#[must_use]
pub fn next_check(deployment: &Deployment, now: Timestamp) -> Option<Duration> {
    let deadline = deadline(deployment)?;
    let status = deployment.status.as_ref()?;
    let progressing = condition(status, "Progressing")?;
    if is_complete(deployment, status)
        || matches!(progressing.reason.as_deref(), Some(TIMED_OUT | COMPLETE))
    {
        return None;
    }
    let since = progressing.last_update_time.as_ref()?;
    Some(deadline.saturating_sub(age(since, now)) + Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-01-01T00:20:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn deployment(status: Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "d", "generation": 2},
            "spec": {"replicas": 4, "progressDeadlineSeconds": 600, "selector": {},
                     "template": {}},
            "status": status,
        }))
        .unwrap()
    }

    fn set(name: &str, status: Value) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": name}, "spec": {"selector": {}}, "status": status}))
        .unwrap()
    }

    fn told(status: &DeploymentStatus, kind: &str) -> (String, String) {
        let condition = condition(status, kind).unwrap();
        (
            condition.reason.clone().unwrap(),
            condition.message.clone().unwrap(),
        )
    }

    #[test]
    fn a_finished_rollout_says_so_and_stays_so() {
        let new = set(
            "d-x",
            json!({"replicas": 4, "readyReplicas": 4, "availableReplicas": 4,
                   "terminatingReplicas": 0}),
        );
        let status = rollout(&deployment(json!({})), &[&new], Some(&new), now());
        assert_eq!(
            told(&status, "Progressing"),
            (
                "NewReplicaSetAvailable".into(),
                "ReplicaSet \"d-x\" has successfully progressed.".into()
            )
        );
        assert_eq!(told(&status, "Available").0, "MinimumReplicasAvailable");
        assert_eq!(status.unavailable_replicas, None);
        assert_eq!(status.terminating_replicas, Some(0));
        // A pod that is lost later is no rollout.
        let later = set(
            "d-x",
            json!({"replicas": 4, "readyReplicas": 2, "availableReplicas": 2}),
        );
        let mut done = deployment(json!({}));
        done.status = Some(status.clone());
        let after = rollout(&done, &[&later], Some(&later), now());
        assert_eq!(told(&after, "Progressing"), told(&status, "Progressing"));
        assert_eq!(told(&after, "Available").0, "MinimumReplicasUnavailable");
        assert_eq!(after.terminating_replicas, None);
    }

    #[test]
    fn a_rollout_without_progress_times_out() {
        let stuck = json!({"replicas": 4, "updatedReplicas": 1, "conditions": [
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": "m",
             "lastUpdateTime": "2026-01-01T00:05:00Z"}]});
        let old = set("d-o", json!({"replicas": 3}));
        let new = set("d-n", json!({"replicas": 1}));
        let deployment = deployment(stuck);
        let status = rollout(&deployment, &[&old, &new], Some(&new), now());
        assert_eq!(told(&status, "Progressing").0, "ProgressDeadlineExceeded");
        let early: Timestamp = "2026-01-01T00:06:00Z".parse().unwrap();
        let status = rollout(&deployment, &[&old, &new], Some(&new), early);
        assert_eq!(told(&status, "Progressing").0, "ReplicaSetUpdated");
        assert_eq!(
            next_check(&deployment, early),
            Some(Duration::from_secs(541))
        );
    }

    #[test]
    fn a_refused_pod_is_the_deployments_condition_too() {
        let new = set(
            "d-x",
            json!({"replicas": 1, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
             "message": "quota"}]}),
        );
        let status = rollout(&deployment(json!({})), &[&new], Some(&new), now());
        assert_eq!(
            told(&status, "ReplicaFailure"),
            ("FailedCreate".into(), "quota".into())
        );
    }
}
