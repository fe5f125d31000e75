//! The held pod: the replacement that the scheduler keeps unbound, the certain victim of a scale-down.

use serde::{Deserialize, Serialize};

use crate::actions::context::{Step, Waker};
use crate::actions::end::End;
use crate::actions::line::op_of;
use crate::actions::op::Op;
use crate::actions::ports::CallError;
use crate::clock;
use crate::model::{Deployment, NamespacedName, Pod, ReplicaSet, WorkloadRef};
use crate::store::{ActionRecord, Direction, Intent, StepState};

use super::evict::evict_now;
use super::intend::withhold_again;
use super::rest::without_pod_of;

/// What a step says that finds nothing to take away.
pub(in crate::actions) const TAKEN_AWAY: &str =
    "another hand's scaling has taken the new replica away";

/// Written by the step that waits for the held pod, for the one that scales down.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
struct Memo {
    /// Another hand's scaling took the replica: it must not be taken twice.
    taken_away: bool,
}

/// Whether a step found that another hand has taken the replica away that was added under this intent (`None`:
/// under any).
pub(in crate::actions) fn taken_away(record: &ActionRecord, intent: Option<usize>) -> bool {
    record.steps.iter().enumerate().any(|(index, step)| {
        let memo: Memo = serde_json::from_value(step.memo.clone()).unwrap_or_default();
        memo.taken_away
            && match op_of(record, index) {
                Some(Op::AwaitHeld { intent: of, .. } | Op::ScaleDown { intent: of, .. }) => {
                    intent.is_none_or(|intent| intent == of)
                }
                _ => false,
            }
    })
}

/// What proves that a scale-down will take nobody else's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Victim {
    /// A pod that the scheduler holds unbound: a ReplicaSet removes unassigned pods before all others.
    Held(NamespacedName),
    /// There are fewer replicas than asked for, and the ReplicaSet cannot make more.
    Short(String),
}

/// Waits for the certain victim.
pub(super) async fn await_held(
    step: &Step,
    index: usize,
    workload: &WorkloadRef,
) -> Result<String, End> {
    let mut waker = step.waker();
    loop {
        let intent = held_intent(step, &mut waker, index, workload).await?;
        match victim(step, &intent).await {
            Ok(Some(Victim::Held(key))) => return Ok(format!("pod {key} is held unbound")),
            Ok(Some(Victim::Short(message))) => {
                return Ok(format!("short of replicas, none can be made: {message}"));
            }
            Ok(None) => {}
            Err(error) => {
                waker.pause(&error).await?;
                continue;
            }
        }
        // A decision taken before the hold may have been carried out after it.
        if let Sought::TakenAway = seek(step, &intent).await? {
            step.remember(&Memo { taken_away: true }).await?;
            return Ok(TAKEN_AWAY.to_owned());
        }
        waker
            .next(&format!("a replacement in {workload} to be held"))
            .await?;
    }
}

/// The certain victim under this intent, judged by fresh reads.
pub(super) async fn victim(step: &Step, intent: &Intent) -> Result<Option<Victim>, CallError> {
    let cluster = &step.context.parts.cluster;
    if let Some(claim) = intent.claim.as_ref().filter(|claim| claim.held) {
        let key = NamespacedName::new(&claim.namespace, &claim.name);
        let held =
            |pod: &Pod| pod.uid == claim.uid && pod.node_name.is_none() && pod.deleted.is_none();
        if cluster.pod(&key).await?.is_some_and(|pod| held(&pod)) {
            return Ok(Some(Victim::Held(key)));
        }
        return Ok(None);
    }
    if intent.claim.is_some() {
        return Ok(None);
    }
    let seen = step
        .context
        .parts
        .view
        .replica_sets_of(&intent.workload.uid);
    if !seen.iter().any(|set| short(set).is_some()) {
        return Ok(None);
    }
    let sets = cluster
        .replica_sets(&intent.workload.namespace, &intent.workload.uid)
        .await?;
    let mut living = sets
        .iter()
        .filter(|set| set.replicas > 0 || set.status_replicas > 0);
    match (living.next(), living.next()) {
        (Some(only), None) => Ok(short(only).map(Victim::Short)),
        _ => Ok(None),
    }
}

/// The ReplicaSet has seen its spec, is short of replicas, and says why it cannot make them: then one replica
/// less to make takes nobody away.
fn short(set: &ReplicaSet) -> Option<String> {
    let short = set.observed_generation >= set.generation && set.status_replicas < set.replicas;
    set.failed_create.clone().filter(|_| short)
}

/// What a step does that finds nobody held.
pub(super) enum Sought {
    /// Look again after the next change.
    Wait,
    /// There is nothing to take away any more: another hand's scaling has taken it.
    TakenAway,
}

/// Seeks a pod to hold. A bind that was under way may land late: then the claimant is evicted, and its
/// replacement held. Where nobody can come any more (the one held was taken by a rollout, or by another hand's
/// scaling) any -1 would take a pod of nobody's choosing, so the step fails; but when a surge is undone, the
/// replica that this action added is still there: another pod goes in the place of the one that came for it.
pub(super) async fn seek(step: &Step, intent: &Intent) -> Result<Sought, End> {
    if let Some(rest) = without_pod_of(step, intent).await? {
        if !undoes_a_surge(step, &intent.id).await {
            return Err(rest.no_replacement(&intent.workload));
        }
        if rest.lowered(step, &intent.workload).await {
            return Ok(Sought::TakenAway);
        }
        let Some(pod) = rest.substitute(step).await? else {
            return Err(rest.no_replacement(&intent.workload));
        };
        if let Err(error) = evict_now(step, &pod.key, pod).await {
            step.note(&format!("pod {} is not evicted yet: {error}", pod.key))
                .await?;
        }
        return Ok(Sought::Wait);
    }
    let Some(claim) = &intent.claim else {
        return Ok(Sought::Wait);
    };
    let key = NamespacedName::new(&claim.namespace, &claim.name);
    let bound =
        |pod: &Pod| pod.uid == claim.uid && pod.node_name.is_some() && pod.deleted.is_none();
    if !step
        .context
        .parts
        .view
        .pod(&key)
        .is_some_and(|pod| bound(&pod))
    {
        return Ok(Sought::Wait);
    }
    let Ok(Some(pod)) = step.context.parts.cluster.pod(&key).await else {
        return Ok(Sought::Wait);
    };
    if bound(&pod)
        && let Err(error) = evict_now(step, &key, &pod).await
    {
        step.note(&format!(
            "pod {key} got bound and is not evicted yet: {error}"
        ))
        .await?;
    }
    Ok(Sought::Wait)
}

/// The intent under which a pod is held. A rollout that is in progress is let through first: it makes no
/// progress while a pod is held that it made, and no count may be lowered while it lasts. (The withhold of a
/// removal is for the pods of one ReplicaSet: those a rollout takes away by itself.)
pub(super) async fn held_intent(
    step: &Step,
    waker: &mut Waker,
    index: usize,
    workload: &WorkloadRef,
) -> Result<Intent, End> {
    let id = step.intent_id(index);
    if !undoes_a_surge(step, &id).await {
        return step.intent(index).await;
    }
    let store = &step.context.parts.store;
    loop {
        let key = workload.key();
        let rolling = |found: &Deployment| {
            found.uid == workload.uid && found.updated_replicas != found.status_replicas
        };
        let seen = step.context.parts.view.deployment(&key);
        if !seen.is_some_and(|found| rolling(&found)) {
            if let Some(intent) = step.store(|| store.intent(&id)).await? {
                return Ok(intent);
            }
            withhold_again(step, index, workload).await?;
            continue;
        }
        step.store(|| store.withdraw_intent(&id)).await?;
        let what = format!("the rollout of {workload} to settle");
        step.note(&format!("waiting for {what}")).await?;
        waker.next(&what).await?;
    }
}

/// Whether the intent is one whose pod this action scaled up for, and the action is being put back.
async fn undoes_a_surge(step: &Step, intent: &str) -> bool {
    let id = |index: usize| step.intent_id(index);
    step.context
        .journal
        .read(|record| {
            record.direction == Direction::Back
                && record.steps.iter().enumerate().any(|(index, done)| {
                    done.state == StepState::Done
                        && matches!(op_of(record, index), Some(Op::ScaleUp { .. }))
                        && done.needs.iter().any(|need| id(*need) == intent)
                })
        })
        .await
}

/// Waits until the held pod is deleted (by the scale-down), then takes the intent back.
pub(super) async fn await_held_gone(
    step: &Step,
    index: usize,
    workload: &WorkloadRef,
) -> Result<String, End> {
    let mut waker = step.waker();
    let store = &step.context.parts.store;
    let id = step.intent_id(index);
    loop {
        let Some(intent) = step.store(|| store.intent(&id)).await? else {
            return Ok(String::new()); // Taken back by this step before it was interrupted.
        };
        match gone(step, &intent, workload).await {
            Ok(true) => {
                step.store(|| store.withdraw_intent(&id)).await?;
                return Ok(String::new());
            }
            Ok(false) => waker.next("the held pod to be deleted").await?,
            Err(error) => waker.pause(&error).await?,
        }
    }
}

async fn gone(step: &Step, intent: &Intent, workload: &WorkloadRef) -> Result<bool, CallError> {
    let cluster = &step.context.parts.cluster;
    if let Some(claim) = &intent.claim {
        let key = NamespacedName::new(&claim.namespace, &claim.name);
        let alive = |pod: &Pod| pod.uid == claim.uid && pod.deleted.is_none();
        let seen = step.context.parts.view.pod(&key);
        if !seen.is_some_and(|pod| alive(&pod))
            && !cluster.pod(&key).await?.is_some_and(|p| alive(&p))
        {
            return Ok(true);
        }
        // Another unbound pod may have been taken in its place: then this one is released.
        let old_enough = intent.created_at < clock::now() - jiff::SignedDuration::from_secs(2);
        if !old_enough {
            return Ok(false);
        }
    }
    // With nobody held, the workload was short: it need not have all its pods, only have seen its count.
    let counts = |set: &ReplicaSet| {
        set.observed_generation >= set.generation
            && (intent.claim.is_none() || set.status_replicas == set.replicas)
    };
    let complete = |found: &Deployment| {
        found.uid == workload.uid
            && found.observed_generation >= found.generation
            && (intent.claim.is_none() || found.is_settled())
    };
    let key = workload.key();
    let seen = step.context.parts.view.deployment(&key);
    if !seen.is_some_and(|found| complete(&found)) {
        return Ok(false);
    }
    let Some(found) = cluster.deployment(&key).await? else {
        return Ok(true);
    };
    let sets = cluster
        .replica_sets(&workload.namespace, &workload.uid)
        .await?;
    let total: i32 = sets.iter().map(|set| set.replicas).sum();
    Ok(complete(&found) && sets.iter().all(counts) && total == found.replicas)
}
