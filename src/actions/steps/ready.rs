//! Waiting for pods to arrive, to go, and for workloads to settle.

use std::time::Duration;

use super::rest::without_pod_of;
use crate::actions::context::Step;
use crate::actions::end::End;
use crate::actions::order::Target;
use crate::clock;
use crate::model::{NamespacedName, Pod, ReplicaSet, WorkloadRef};
use crate::store::{Intent, PodRef};

/// How long a ReplicaSet may say FailedCreate before a new replica is given up: its controller tries again
/// at growing pauses, and a quota is often freed by a pod that is just leaving.
const FAILED_CREATE_PATIENCE: Duration = Duration::from_secs(5);

/// Waits until the pod that took the intent is Ready where it belongs.
pub(super) async fn await_ready(step: &Step, index: usize) -> Result<String, End> {
    let mut waker = step.waker();
    let mut failing_since = None;
    loop {
        let intent = step.intent(index).await?;
        if let Some(pod) = arrived(step, &intent).await? {
            let place = PodRef {
                namespace: pod.key.namespace.clone(),
                name: pod.key.name.clone(),
                uid: pod.uid.clone(),
                node: pod.node_name.clone().unwrap_or_default(),
            };
            let detail = format!("{} is Ready on {}", pod.key, place.node);
            step.context
                .journal
                .write(
                    |record| {
                        record.pods.retain(|known| known.uid != place.uid);
                        record.pods.push(place);
                    },
                    &[],
                )
                .await?;
            return Ok(detail);
        }
        if let Some(refusal) = &intent.refusal
            && !held_by_another(step, &intent, &refusal.pod_uid)
        {
            let node = intent.node.as_deref().unwrap_or_default();
            return Err(End::failed(
                "Infeasible",
                format!(
                    "{} does not fit on {node}: {}",
                    intent.workload, refusal.message
                ),
            ));
        }
        match failed_create(step, &intent) {
            None => failing_since = None,
            Some(message) => {
                let since = *failing_since.get_or_insert_with(clock::instant);
                if clock::instant() - since >= FAILED_CREATE_PATIENCE {
                    return Err(End::failed(
                        "FailedCreate",
                        format!("{} cannot make a pod: {message}", intent.workload),
                    ));
                }
            }
        }
        if let Some(rest) = without_pod_of(step, &intent).await? {
            return Err(rest.no_new_pod(step, &intent.workload).await);
        }
        let what = waiting_for(step, &intent);
        step.note(&what).await?;
        waker.next(&what).await?;
    }
}

/// Whether a living pod has the intent, other than the one of this uid.
fn held_by_another(step: &Step, intent: &Intent, uid: &str) -> bool {
    intent.claim.as_ref().is_some_and(|claim| {
        let key = NamespacedName::new(&claim.namespace, &claim.name);
        let alive = |pod: &Pod| pod.uid == claim.uid && pod.is_active();
        claim.uid != uid
            && step
                .context
                .parts
                .view
                .pod(&key)
                .is_some_and(|pod| alive(&pod))
    })
}

/// The claimant, if it is Ready on the intent's node; confirmed by a fresh read.
async fn arrived(step: &Step, intent: &Intent) -> Result<Option<Pod>, End> {
    let Some(claim) = &intent.claim else {
        return Ok(None);
    };
    let key = NamespacedName::new(&claim.namespace, &claim.name);
    let here = |pod: &Pod| {
        pod.uid == claim.uid
            && pod.ready
            && pod.deleted.is_none()
            && pod.node_name == intent.node
            && !intent.hold
    };
    if !step
        .context
        .parts
        .view
        .pod(&key)
        .is_some_and(|pod| here(&pod))
    {
        return Ok(None);
    }
    match step.context.parts.cluster.pod(&key).await {
        Ok(pod) => Ok(pod.filter(here)),
        Err(error) => {
            tracing::debug!(%error, "cannot confirm a pod yet");
            Ok(None)
        }
    }
}

/// Why the workload's present ReplicaSet makes no pod, while the intent has no claimant, and no pod is leaving
/// whose share of a quota the new one may take.
fn failed_create(step: &Step, intent: &Intent) -> Option<String> {
    if intent.claim.is_some() {
        return None;
    }
    let view = &step.context.parts.view;
    let sets = view.replica_sets_of(&intent.workload.uid);
    let leaving = |set: &ReplicaSet| view.pods_of(&set.uid).iter().any(|p| p.deleted.is_some());
    if sets.iter().any(|set| leaving(set)) {
        return None;
    }
    sets.iter()
        .filter(|set| set.replicas > 0)
        .find_map(|set| set.failed_create.clone())
}

fn waiting_for(step: &Step, intent: &Intent) -> String {
    let Some(claim) = &intent.claim else {
        return format!("a new pod of {}", intent.workload);
    };
    let key = NamespacedName::new(&claim.namespace, &claim.name);
    match step.context.parts.view.pod(&key) {
        Some(pod) if pod.node_name.is_some() => format!("pod {key} to be Ready"),
        _ => format!("pod {key} to be bound"),
    }
}

/// Waits until the pod of this uid is gone.
pub(super) async fn await_gone(step: &Step, target: &Target) -> Result<String, End> {
    let mut waker = step.waker();
    let what = format!("pod {} to be gone", target.pod);
    loop {
        let seen = step.context.parts.view.pod(&target.pod);
        if seen.is_none_or(|pod| pod.uid != target.uid) {
            match step.context.parts.cluster.pod(&target.pod).await {
                Ok(pod) if pod.as_ref().is_none_or(|pod| pod.uid != target.uid) => {
                    return Ok(String::new());
                }
                Ok(_) => {}
                Err(error) => {
                    waker.pause(&error).await?;
                    continue;
                }
            }
        }
        waker.next(&what).await?;
    }
}

/// Waits until no rollout is in progress.
pub(super) async fn await_settled(step: &Step, workload: &WorkloadRef) -> Result<String, End> {
    let mut waker = step.waker();
    let key = workload.key();
    let what = format!("the rollout of {workload} to settle");
    loop {
        match step.context.parts.cluster.deployment(&key).await {
            Ok(Some(found)) if found.uid == workload.uid => {
                if found.is_settled() {
                    return Ok(String::new());
                }
            }
            Ok(_) => {
                return Err(End::failed(
                    "WorkloadGone",
                    format!("{workload} does not exist any more"),
                ));
            }
            Err(error) => {
                waker.pause(&error).await?;
                continue;
            }
        }
        step.note(&format!("waiting for {what}")).await?;
        waker.next(&what).await?;
    }
}
