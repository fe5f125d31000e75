//! The locks of an action: on its workloads for as long as it lasts, on a ledger for as long as one step writes
//! it. They belong to the action, not to the process: whoever takes over holds them.

use std::sync::Arc;

use super::context::{Context, Step};
use super::end::End;
use super::journal::retrying;
use super::order::{Order, Verb};
use crate::store::LockMode;

pub(super) fn lock_names(order: &Order) -> Vec<String> {
    order
        .workloads()
        .iter()
        .map(|workload| format!("workload/{}", workload.uid))
        .collect()
}

pub(super) fn ledger_lock(order: &Order) -> Option<String> {
    match &order.verb {
        Verb::Create { workload, .. } => Some(format!("ledger/{}", workload.uid)),
        _ => None,
    }
}

/// Actions on one workload are serialised, in the order in which they came. Creates share it: they exclude
/// each other only while they write the ledger.
pub(super) async fn take_locks(step: &Step, order: &Order) -> Result<(), End> {
    let mode = match &order.verb {
        Verb::Create { .. } => LockMode::Shared,
        _ => LockMode::Exclusive,
    };
    for name in lock_names(order) {
        take_lock(step, &name, mode).await?;
    }
    Ok(())
}

pub(super) async fn take_lock(step: &Step, name: &str, mode: LockMode) -> Result<(), End> {
    let holder = step.context.journal.id.to_string();
    let store = &step.context.parts.store;
    let mut waker = step.waker();
    while !step.store(|| store.lock(name, mode, &holder)).await? {
        waker
            .next("other actions on the same workload to end")
            .await?;
    }
    Ok(())
}

pub(super) async fn unlock(context: &Arc<Context>, name: &str) -> Result<(), End> {
    let holder = context.journal.id.to_string();
    let store = &context.parts.store;
    if let Err(error) = retrying(&context.stop, || store.unlock(name, &holder)).await? {
        tracing::error!(action = holder, %error, name, "cannot unlock");
    }
    Ok(())
}
