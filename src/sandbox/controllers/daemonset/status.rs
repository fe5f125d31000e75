//! A DaemonSet's status from its nodes and pods (daemon_controller.go, `updateDaemonSetStatus`). Pure.

use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSetStatus;

use super::placement::is_updated;
use super::plan::View;
use crate::sandbox::controllers::objects::{is_ready, name, until_available};

/// The status. `observed` says whether this generation was acted on.
#[must_use]
pub fn status(view: &View<'_>, observed: bool) -> DaemonSetStatus {
    let old = view.set.status.clone().unwrap_or_default();
    let min_ready = view.set.spec.min_ready_seconds.unwrap_or(0);
    let mut status = DaemonSetStatus {
        collision_count: old.collision_count,
        conditions: old.conditions,
        observed_generation: old.observed_generation,
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available) = (0, 0);
    for (node, verdict) in view.nodes {
        let pods = view.pods.get(name(&node.metadata));
        let pod = pods.and_then(|pods| pods.first());
        if !verdict.run {
            status.number_misscheduled += i32::from(pod.is_some());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(pod) = pod else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(is_ready(pod));
        let lasts = until_available(pod, min_ready, view.now) == Some(Duration::ZERO);
        available += i32::from(lasts);
        updated += i32::from(is_updated(view.set, pod, view.hash));
    }
    let unavailable = status.desired_number_scheduled - available;
    // Zero is left out, as Go's `omitempty` does.
    let some = |number: i32| (number != 0).then_some(number);
    status.updated_number_scheduled = some(updated);
    status.number_available = some(available);
    status.number_unavailable = some(unavailable);
    if observed {
        status.observed_generation = view.set.metadata.generation;
    }
    status
}
