//! Storing, changing and taking back intents.

use std::collections::BTreeSet;

use crate::actions::context::Step;
use crate::actions::end::End;
use crate::clock;
use crate::model::WorkloadRef;
use crate::store::Intent;

/// Stores the intent of this step. Pods that wait unbound already may not take a withhold: it is for a pod
/// that is yet to come. (Bound pods cannot take one anyway, and who takes a place does not matter: pods of
/// one workload are fungible.)
pub(super) async fn intend(
    step: &Step,
    workload: &WorkloadRef,
    node: Option<&str>,
    hold: bool,
    replica_set: Option<&str>,
) -> Result<String, End> {
    let view = &step.context.parts.view;
    let waiting: BTreeSet<String> = view
        .replica_sets_of(&workload.uid)
        .iter()
        .flat_map(|set| view.pods_of(&set.uid))
        .filter(|pod| pod.node_name.is_none())
        .map(|pod| pod.uid.clone())
        .collect();
    let intent = Intent {
        node: node.map(str::to_owned),
        hold,
        replica_set: replica_set.map(str::to_owned),
        exclude: if hold { waiting } else { BTreeSet::new() },
        ..withhold(step, step.index, workload)
    };
    step.store(|| step.context.parts.store.put_intent(&intent))
        .await?;
    Ok(String::new())
}

/// The intent of the step `index` as one under which any pod of the workload is held.
fn withhold(step: &Step, index: usize, workload: &WorkloadRef) -> Intent {
    Intent {
        id: step.intent_id(index),
        action: step.context.journal.id,
        workload: workload.clone(),
        node: None,
        hold: true,
        replica_set: None,
        exclude: BTreeSet::new(),
        claim: None,
        claims: 0,
        refusal: None,
        created_at: clock::now(),
    }
}

/// Stores the intent of the step `index` once more, after it made way for a rollout.
pub(super) async fn withhold_again(
    step: &Step,
    index: usize,
    workload: &WorkloadRef,
) -> Result<(), End> {
    let intent = withhold(step, index, workload);
    step.store(|| step.context.parts.store.put_intent(&intent))
        .await
}

pub(super) async fn redirect(
    step: &Step,
    intent: usize,
    node: Option<&str>,
    hold: bool,
) -> Result<String, End> {
    let id = step.intent_id(intent);
    let store = &step.context.parts.store;
    if step
        .store(|| store.redirect_intent(&id, node, hold))
        .await?
    {
        Ok(String::new())
    } else {
        Err(End::failed(
            "IntentLost",
            format!("the intent {id} is not in the store any more"),
        ))
    }
}

pub(super) async fn withdraw(step: &Step, intent: usize) -> Result<String, End> {
    let id = step.intent_id(intent);
    step.store(|| step.context.parts.store.withdraw_intent(&id))
        .await?;
    Ok(String::new())
}
