//! The held pod: the replacement that the scheduler keeps unbound, the certain victim of a scale-down.

use crate::actions::context::Step;
use crate::actions::end::End;
use crate::actions::ports::CallError;
use crate::clock;
use crate::model::{Deployment, NamespacedName, Pod, ReplicaSet, WorkloadRef};
use crate::store::Intent;

use super::evict::evict_now;

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
        let intent = step.intent(index).await?;
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
        evict_if_bound(step, &intent).await?;
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

/// Fails when there is nothing to wait for: judged by fresh reads, the workload has as many pods as it asks
/// for, all of them bound, without one that could be held. A rollout has replaced the pods, or somebody
/// else took the replica away. Any -1 would then take a pod of nobody's choosing.
async fn none_is_coming(step: &Step, intent: &Intent) -> Result<Result<(), End>, CallError> {
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
        return Ok(Ok(()));
    }
    let Some(found) = parts.cluster.deployment(&key).await?.filter(settled) else {
        return Ok(Ok(()));
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
    if !whole {
        return Ok(Ok(()));
    }
    let emptied = intent.replica_set.as_ref().is_some_and(|uid| {
        let living = |set: &ReplicaSet| set.uid == *uid && set.replicas > 0;
        !sets.iter().any(living)
    });
    Ok(Err(if emptied {
        End::failed(
            "RolloutBegan",
            format!("a rollout of {workload} began meanwhile and has replaced all its pods"),
        )
    } else {
        End::failed(
            "NoReplacement",
            format!(
                "{workload} was changed by another hand meanwhile: it has its {} replicas, all bound, and no \
                 pod is to come that could be taken away",
                found.replicas
            ),
        )
    }))
}

/// What a step does that finds nobody held. A bind that was under way may land late: then the claimant is
/// evicted, and its replacement held. Where nobody can come any more (the one held was taken by a rollout, or
/// by another hand's scaling) the step fails.
pub(super) async fn evict_if_bound(step: &Step, intent: &Intent) -> Result<(), End> {
    match none_is_coming(step, intent).await {
        Ok(verdict) => verdict?,
        // The next look asks again.
        Err(error) => tracing::debug!(%error, "cannot tell yet whether a replacement is to come"),
    }
    let Some(claim) = &intent.claim else {
        return Ok(());
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
        return Ok(());
    }
    let Ok(Some(pod)) = step.context.parts.cluster.pod(&key).await else {
        return Ok(());
    };
    if bound(&pod)
        && let Err(error) = evict_now(step, &key, &pod).await
    {
        step.note(&format!(
            "pod {key} got bound and is not evicted yet: {error}"
        ))
        .await?;
    }
    Ok(())
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
