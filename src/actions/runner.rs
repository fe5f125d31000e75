//! Carries one action out, from where its record stands to its outcome.
//!
//! Forward: take the locks, wait until the workloads have settled, compile the plan, run it. A failure stops
//! the line, compiles the way back and runs that. The outcome is written last: no intent and no lock
//! outlives it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::context::{Context, Step};
use super::end::{End, Failure};
use super::event::What;
use super::journal::retrying;
use super::line::{BACK, changed, op_of, ready_steps, run_steps};
use super::locks::{ledger_lock, lock_names, take_lock, take_locks, unlock};
use super::op::Op;
use super::order::{Order, Verb};
use super::ports::CallError;
use super::{back, choose, plan, steps};
use crate::clock;
use crate::model::WorkloadRef;
use crate::store::{ActionRecord, ActionState, Direction, LockMode, StepState};

/// The reason of a failure to make a pod.
const FAILED_CREATE: &str = "FailedCreate";

/// The index of no step: for waiting before there is a plan.
const NO_STEP: usize = usize::MAX;

/// Runs the action to its outcome, or until `context.stop`.
pub async fn run(context: Arc<Context>) {
    let action = context.journal.id;
    match drive(&context).await {
        Ok(()) | Err(End::Stopped) => {}
        Err(End::Halted) => tracing::error!(%action, "halted without a failure"),
        Err(End::Failed(failure)) => {
            tracing::error!(%action, reason = failure.reason, message = failure.message, "not concluded");
        }
    }
}

async fn drive(context: &Arc<Context>) -> Result<(), End> {
    loop {
        let (state, direction) = context.journal.read(|r| (r.state, r.direction)).await;
        if state.is_final() {
            return Ok(());
        }
        if direction == Direction::Forward {
            match forward(context).await {
                Ok(message) => {
                    return conclude(context, ActionState::Succeeded, "", &message).await;
                }
                Err(End::Failed(failure)) => turn_back(context, failure).await?,
                Err(other) => return Err(other),
            }
        }
        go_back(context).await?;
    }
}

async fn forward(context: &Arc<Context>) -> Result<String, End> {
    let (order, deadline) = context
        .journal
        .read(|r| {
            (
                serde_json::from_value::<Order>(r.request.clone()),
                r.deadline,
            )
        })
        .await;
    let order =
        order.map_err(|error| End::failed("Corrupt", format!("unreadable order: {error}")))?;
    if context
        .journal
        .read(|r| r.state == ActionState::Pending)
        .await
    {
        let begin = |record: &mut ActionRecord| {
            record.state = ActionState::Running;
            record.started_at = Some(clock::now());
        };
        context.journal.write(begin, &[What::Started]).await?;
        context.journal.read(|r| context.metrics.begun(r)).await;
    }
    if context.journal.read(|r| r.steps.is_empty()).await {
        let step = waiting(context, deadline);
        take_locks(&step, &order).await?;
        step.may_act(false)?;
        if !matches!(order.verb, Verb::Create { .. }) {
            for workload in order.workloads() {
                steps::run(&step, &Op::AwaitSettled { workload }).await?;
            }
        }
        let compiled = plan::compile(&order, shape(&step, &order).await?, 0).steps();
        if compiled.is_empty() {
            return Ok("the pod is there already; nothing was done".to_owned());
        }
        context
            .journal
            .write(|record| record.steps = compiled, &[])
            .await?;
    }
    let (from, message) = context
        .journal
        .read(|r| (r.forward_from, r.message.clone()))
        .await;
    run_steps(context, from, Some(deadline)).await?;
    let open = |record: &ActionRecord| {
        let mut attempt = record.steps.iter().skip(from);
        attempt.any(|s| s.state != StepState::Done)
    };
    if context.journal.read(open).await {
        return Err(End::failed(
            "Incomplete",
            "not every step of the plan was done",
        ));
    }
    Ok(message)
}

/// A step that is none, for waiting before there is a plan.
fn waiting(context: &Arc<Context>, deadline: Timestamp) -> Step {
    let halt = CancellationToken::new();
    Step {
        context: Arc::clone(context),
        index: NO_STEP,
        halt,
        deadline,
    }
}

async fn shape(step: &Step, order: &Order) -> Result<plan::Shape, End> {
    let parts = &step.context.parts;
    let mut waker = step.waker();
    loop {
        match choose::shape(order, &*parts.cluster, &*parts.placement).await {
            Err(End::Failed(Failure { reason, message })) if reason == "Unavailable" => {
                waker
                    .pause(&CallError::Unavailable {
                        message,
                        retry_after: None,
                    })
                    .await?;
            }
            other => return other,
        }
    }
}

/// Compiles the way back and stores it, with the reason, before a step of it is done.
async fn turn_back(context: &Arc<Context>, failure: Failure) -> Result<(), End> {
    let turn = |record: &mut ActionRecord| {
        for step in &mut record.steps {
            if !matches!(step.state, StepState::Done | StepState::Failed) {
                step.state = StepState::Skipped;
            }
        }
        let back = back::compile(&record.steps, record.forward_from);
        record.direction = Direction::Back;
        record.back_from = record.steps.len();
        record.restores = back.restores;
        // Pods that came are going again; those that are put back will be named.
        record.pods.clear();
        record.reason = failure.reason;
        record.message = std::iter::once(failure.message)
            .chain(back.remarks)
            .collect::<Vec<_>>()
            .join("; ");
        record.steps.extend(back.steps);
    };
    context.journal.write(turn, &[]).await
}

/// Begins another way, if there is one, for a Move whose new pod was forbidden: what no filter knows (a quota)
/// shows only when the pod is asked for. All has been put back.
async fn another_way(context: &Arc<Context>) -> Result<bool, End> {
    let (order, open, deadline, why) = context
        .journal
        .read(|r| {
            let order = serde_json::from_value::<Order>(r.request.clone()).ok();
            let open = r.forward_from == 0 && r.reason == FAILED_CREATE;
            (order, open, r.deadline, r.message.clone())
        })
        .await;
    let Some(order) = order.filter(|_| open && clock::now() < deadline) else {
        return Ok(false);
    };
    let step = waiting(context, deadline);
    let parts = &context.parts;
    let mut waker = step.waker();
    let shape = loop {
        match choose::instead(&order, &*parts.cluster, &*parts.placement).await {
            Ok(Some(shape)) => break shape,
            Ok(None) => return Ok(false),
            Err(End::Failed(Failure { reason, message })) => {
                let unavailable = CallError::Unavailable {
                    message,
                    retry_after: None,
                };
                if reason == "Unavailable" {
                    match waker.pause(&unavailable).await {
                        Ok(()) => continue,
                        Err(End::Failed(_)) => return Ok(false),
                        Err(other) => return Err(other),
                    }
                }
                let told = |record: &mut ActionRecord| {
                    record.message = format!("{why}; nor can it be recreated: {unavailable}");
                };
                context.journal.write(told, &[]).await?;
                return Ok(false);
            }
            Err(other) => return Err(other),
        }
    };
    let begin = |record: &mut ActionRecord| {
        let from = record.steps.len();
        record.direction = Direction::Forward;
        record.forward_from = from;
        record.back_from = 0;
        record.restores = false;
        record.reason = String::new();
        record.message = format!("recreated, because it could not surge: {why}");
        record
            .steps
            .extend(plan::compile(&order, shape, from).steps());
    };
    context.journal.write(begin, &[]).await?;
    Ok(true)
}

async fn go_back(context: &Arc<Context>) -> Result<(), End> {
    // Undoing needs the workload alone, whatever mode it was taken in.
    let order = context
        .journal
        .read(|r| serde_json::from_value::<Order>(r.request.clone()).ok())
        .await;
    let pending = context
        .journal
        .read(|r| !ready_steps(r, false).is_empty())
        .await;
    if let Some(order) = order.filter(|_| pending)
        && matches!(order.verb, Verb::Create { .. })
    {
        let step = waiting(context, clock::now() + BACK);
        for name in lock_names(&order) {
            unlock(context, &name).await?;
            // Without the lock it is still safe: every step is conditional.
            if take_lock(&step, &name, LockMode::Exclusive).await == Err(End::Stopped) {
                return Err(End::Stopped);
            }
        }
    }
    let from = context.journal.read(|r| r.back_from).await;
    let result = run_steps(context, from, None).await;
    if result.is_ok() && another_way(context).await? {
        return Ok(());
    }
    let (reason, message, restores, touched, surplus) = context
        .journal
        .read(|r| {
            let (scaled, evicted) = changed(r);
            let mut message = r.message.clone();
            if steps::taken_away(r, None) {
                message = format!("{message}; {}", steps::TAKEN_AWAY);
            }
            (
                r.reason.clone(),
                message,
                r.restores,
                scaled || evicted,
                surplus(r),
            )
        })
        .await;
    let (state, message) = match result {
        Ok(()) if touched && restores => (ActionState::Compensated, message),
        Ok(()) => (ActionState::Failed, message),
        Err(End::Failed(why)) => {
            let left = surplus.iter().map(|workload| {
                format!(
                    "; {workload} has one replica more than before, placed by ordinary scheduling"
                )
            });
            let message = format!("{message}; putting back failed: {}", why.message);
            (
                ActionState::Failed,
                left.fold(message, |message, more| message + &more),
            )
        }
        Err(other) => return Err(other),
    };
    conclude(context, state, &reason, &message).await
}

/// Workloads that were scaled up more often than down again, each once for each replica too many.
fn surplus(record: &ActionRecord) -> Vec<WorkloadRef> {
    let mut more: Vec<WorkloadRef> = Vec::new();
    for (index, step) in record.steps.iter().enumerate() {
        match op_of(record, index) {
            Some(Op::ScaleUp { workload }) if step.state == StepState::Done => more.push(workload),
            Some(Op::ScaleDown { workload, .. }) if step.state == StepState::Done => {
                if let Some(at) = more.iter().position(|known| *known == workload) {
                    more.remove(at);
                }
            }
            _ => {}
        }
    }
    more
}

/// Takes back what is left of intents and locks, then writes the outcome.
async fn conclude(
    context: &Arc<Context>,
    state: ActionState,
    reason: &str,
    message: &str,
) -> Result<(), End> {
    let (intents, order) = context
        .journal
        .read(|record| {
            let intents: Vec<String> = (0..record.steps.len())
                .filter(|index| matches!(op_of(record, *index), Some(Op::Intend { .. })))
                .map(|index| format!("{}.{index}", record.id))
                .collect();
            (
                intents,
                serde_json::from_value::<Order>(record.request.clone()).ok(),
            )
        })
        .await;
    let store = &context.parts.store;
    for id in intents {
        if let Err(error) = retrying(&context.stop, || store.withdraw_intent(&id)).await? {
            tracing::error!(intent = id, %error, "cannot withdraw");
        }
    }
    if let Some(order) = order {
        for name in lock_names(&order).into_iter().chain(ledger_lock(&order)) {
            unlock(context, &name).await?;
        }
    }
    let finish = |record: &mut ActionRecord| {
        record.state = state;
        reason.clone_into(&mut record.reason);
        message.clone_into(&mut record.message);
        record.finished_at = Some(clock::now());
        if state != ActionState::Succeeded && state != ActionState::Compensated {
            record.pods.clear();
        }
    };
    context.journal.write(finish, &[What::Outcome]).await?;
    context.journal.read(|r| context.metrics.ended(r)).await;
    tracing::info!(action = %context.journal.id, ?state, reason, message, "action ended");
    Ok(())
}

/// How long a takeover may take to be noticed by tests and operators alike.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
