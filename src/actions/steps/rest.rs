//! A workload at rest without the pod of an intent: nothing is to come that could take the intent any more.
//!
//! A rollout replaces pods without making new ones for each, and another hand's scaling takes an unbound pod
//! before all others. Whoever waits for the pod of an intent asks here, so that it does not wait for nothing.

use crate::actions::context::Step;
use crate::actions::end::End;
use crate::actions::line::op_of;
use crate::actions::op::Op;
use crate::actions::ports::CallError;
use crate::model::{Deployment, Pod, ReplicaSet, WorkloadRef};
use crate::store::{ActionRecord, Direction, Intent, StepState};

/// What fresh reads say of such a workload.
#[derive(Debug)]
pub(super) struct AtRest {
    /// `spec.replicas`.
    replicas: i32,
    /// Its pods, all bound, none of them the intent's.
    pods: Vec<Pod>,
    /// The ReplicaSet that the intent is for has no replica any more.
    emptied: bool,
}

/// Whether, judged by fresh reads, the workload has as many pods as it asks for, all of them bound, without one
/// that has the intent or could take it. `None`: no, or it cannot be told yet.
///
/// # Errors
/// As [`Step::store`].
pub(super) async fn without_pod_of(step: &Step, intent: &Intent) -> Result<Option<AtRest>, End> {
    // Asked before the cluster: what is written in between is in what the cluster says.
    let rising = |record: &ActionRecord| is_rising(record, &intent.workload);
    if step.context.journal.read(rising).await || others_open(step, intent).await? {
        return Ok(None);
    }
    let rest = match look(step, intent).await {
        Ok(Some(rest)) => rest,
        Ok(None) => return Ok(None),
        Err(error) => {
            tracing::debug!(%error, "cannot tell yet whether a pod is to come");
            return Ok(None);
        }
    };
    // A pod has its claim before it is bound: one that was bound since the intent was read is known by now.
    let store = &step.context.parts.store;
    let now = step.store(|| store.intent(&intent.id)).await?;
    Ok(Some(rest).filter(|_| now.is_some_and(|now| now.claim == intent.claim)))
}

/// Whether another action waits for a pod of the workload too. Intents of one workload are fungible: its pod may be
/// there for ours or ours for its own, and then ours is still to come.
async fn others_open(step: &Step, ours: &Intent) -> Result<bool, End> {
    let store = &step.context.parts.store;
    let intents = step.store(|| store.intents_since(0)).await?;
    Ok(intents
        .changed
        .iter()
        .any(|other| other.action != ours.action && other.workload == ours.workload && !other.hold))
}

async fn look(step: &Step, intent: &Intent) -> Result<Option<AtRest>, CallError> {
    let parts = &step.context.parts;
    let workload = &intent.workload;
    let key = workload.key();
    let settled = |found: &Deployment| found.uid == workload.uid && found.is_settled();
    // The watches first: this is asked at every change.
    if !parts
        .view
        .deployment(&key)
        .is_some_and(|found| settled(&found))
    {
        return Ok(None);
    }
    let Some(found) = parts.cluster.deployment(&key).await?.filter(settled) else {
        return Ok(None);
    };
    let sets = parts
        .cluster
        .replica_sets(&workload.namespace, &workload.uid)
        .await?;
    let uids: Vec<String> = sets.iter().map(|set| set.uid.clone()).collect();
    let mut pods = parts.cluster.pods(&workload.namespace, &uids).await?;
    pods.retain(Pod::is_active);
    let claimant = intent.claim.as_ref().map(|claim| &claim.uid);
    let whole = sets.iter().map(|set| set.replicas).sum::<i32>() == found.replicas
        && i32::try_from(pods.len()).is_ok_and(|count| count >= found.replicas)
        && pods
            .iter()
            .all(|pod| pod.node_name.is_some() && Some(&pod.uid) != claimant);
    let emptied = intent.replica_set.as_ref().is_some_and(|uid| {
        let living = |set: &ReplicaSet| set.uid == *uid && set.replicas > 0;
        !sets.iter().any(living)
    });
    Ok(whole.then_some(AtRest {
        replicas: found.replicas,
        pods,
        emptied,
    }))
}

impl AtRest {
    /// Whether another hand has lowered the count that this action raised: then the replica too many, that the
    /// action would take away, is gone already.
    pub(super) async fn lowered(&self, step: &Step, workload: &WorkloadRef) -> bool {
        let raised = step
            .context
            .journal
            .read(|record| raised_to(record, workload))
            .await;
        raised.is_some_and(|raised| self.replicas < raised)
    }

    /// A pod that may go in the place of one that came for this action and was replaced by a rollout: pods of
    /// one workload are fungible, but for those that an action put where they are. `None`: there is none but
    /// such as have an intent.
    pub(super) async fn substitute(&self, step: &Step) -> Result<Option<&Pod>, End> {
        let store = &step.context.parts.store;
        let intents = step.store(|| store.intents_since(0)).await?;
        let claimed = |pod: &Pod| {
            let claims = intents.changed.iter().filter_map(|i| i.claim.as_ref());
            claims.into_iter().any(|claim| claim.uid == pod.uid)
        };
        // As a ReplicaSet would choose: the unready first, then the youngest.
        let rank = |pod: &&Pod| {
            (
                pod.action.is_some(),
                pod.ready,
                std::cmp::Reverse(pod.created),
            )
        };
        Ok(self
            .pods
            .iter()
            .filter(|pod| !claimed(pod))
            .min_by_key(rank))
    }

    /// The failure of a step that waited for a pod to be taken away.
    pub(super) fn no_replacement(&self, workload: &WorkloadRef) -> End {
        if self.emptied {
            return End::failed(
                "RolloutBegan",
                format!("a rollout of {workload} began meanwhile and has replaced all its pods"),
            );
        }
        End::failed(
            "NoReplacement",
            format!(
                "{workload} was changed by another hand meanwhile: it has its {} replicas, all bound, and no \
                 pod is to come that could be taken away",
                self.replicas
            ),
        )
    }

    /// The failure of a step that waited for a pod to become Ready.
    pub(super) async fn no_new_pod(&self, step: &Step, workload: &WorkloadRef) -> End {
        let replicas = self.replicas;
        if self.lowered(step, workload).await {
            return End::failed(
                "ScaledByAnother",
                format!(
                    "{workload} was scaled down to {replicas} by another hand meanwhile, which took the new pod"
                ),
            );
        }
        End::failed(
            "NewPodLost",
            format!(
                "{workload} was changed by another hand meanwhile: it has its {replicas} replicas, all bound, \
                 and the new pod is not among them"
            ),
        )
    }
}

/// Whether the action is yet to ask for another pod of the workload. Its intents are fungible: the pod of one may
/// have come for another, and then that one's is still to come.
fn is_rising(record: &ActionRecord, workload: &WorkloadRef) -> bool {
    let open = |state| matches!(state, StepState::Pending | StepState::Running);
    record.direction == Direction::Forward
        && record.steps.iter().enumerate().any(|(index, step)| {
            open(step.state)
                && matches!(op_of(record, index), Some(Op::ScaleUp { workload: of }) if of == *workload)
        })
}

/// The replica count that the steps done so far have left, if they raised it at all. Other actions may only
/// have raised it further.
fn raised_to(record: &ActionRecord, workload: &WorkloadRef) -> Option<i32> {
    let mut count: Option<i32> = None;
    for (index, step) in record.steps.iter().enumerate() {
        if step.state != StepState::Done {
            continue;
        }
        match op_of(record, index) {
            Some(Op::ScaleUp { workload: of }) if of == *workload => {
                count = match count {
                    Some(count) => Some(count + 1),
                    None => super::scale::written(&step.memo),
                };
            }
            Some(Op::ScaleDown { workload: of, .. }) if of == *workload => {
                count = count.map(|count| count - 1);
            }
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests;
