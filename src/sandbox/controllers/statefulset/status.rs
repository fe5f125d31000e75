//! A StatefulSet's status from its pods (stateful_set_control.go, `updateStatus`;
//! stateful_set_utils.go, `completeRollingUpdate`). Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::identity::{revision_of, wanted};
use crate::sandbox::controllers::objects::{is_ready, is_terminating, phase, until_available};

/// The status with these pods. `updating` pods are being deleted for an update in this round.
#[must_use]
pub fn status(
    set: &StatefulSet,
    pods: &[Arc<Pod>],
    (current, update): (&str, &str),
    collisions: i32,
    updating: i32,
    now: Timestamp,
) -> StatefulSetStatus {
    let spec = &set.spec;
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let count = |counts: &dyn Fn(&Pod) -> bool| {
        let number = pods.iter().filter(|pod| counts(pod)).count();
        i32::try_from(number).unwrap_or(i32::MAX)
    };
    let is_of =
        |pod: &Pod, revision: &str| !is_terminating(&pod.metadata) && revision_of(pod) == revision;
    let runs = |pod: &Pod| phase(pod) == "Running" && is_ready(pod);
    let available =
        |pod: &Pod| runs(pod) && until_available(pod, min_ready, now) == Some(Duration::ZERO);
    let mut status = StatefulSetStatus {
        replicas: count(&|_| true),
        ready_replicas: Some(count(&runs)),
        available_replicas: Some(count(&available)),
        current_replicas: Some(count(&|pod| is_of(pod, current)) - updating),
        updated_replicas: Some(count(&|pod| is_of(pod, update))),
        current_revision: Some(current.to_owned()),
        update_revision: Some(update.to_owned()),
        collision_count: Some(collisions),
        observed_generation: set.metadata.generation,
        conditions: set.status.as_ref().and_then(|old| old.conditions.clone()),
    };
    let is_rolling = spec
        .update_strategy
        .as_ref()
        .and_then(|strategy| strategy.type_.as_deref())
        .is_none_or(|kind| kind == "RollingUpdate");
    let all = wanted(set);
    let complete = status.updated_replicas == Some(all)
        && status.ready_replicas == Some(all)
        && status.replicas == all;
    if is_rolling && complete {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
    // Zero is left out, as Go's `omitempty` does; `availableReplicas` is not.
    for number in [
        &mut status.ready_replicas,
        &mut status.current_replicas,
        &mut status.updated_replicas,
    ] {
        *number = number.filter(|number| *number != 0);
    }
    status
}

/// How long until the next Ready pod becomes available.
#[must_use]
pub fn next_check(set: &StatefulSet, pods: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    let spec = &set.spec;
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    pods.iter()
        .filter_map(|pod| until_available(pod, min_ready, now))
        .filter(|left| !left.is_zero())
        .min()
}
