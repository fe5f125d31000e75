//! The line: runs the steps of a plan, each as soon as what it needs is done, and puts each on record.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::context::{Context, Step};
use super::end::End;
use super::event::What;
use super::locks::{ledger_lock, take_lock, unlock};
use super::op::{Op, Who};
use super::order::Order;
use super::steps;
use crate::clock;
use crate::store::{ActionRecord, Direction, LockMode, StepState};

/// What a plan past its point of no return may take beyond its deadline: the old pod has been evicted, and
/// only going on takes the surplus replica away.
const GRACE: SignedDuration = SignedDuration::from_secs(120);
/// What putting back may take.
pub(super) const BACK: SignedDuration = SignedDuration::from_secs(180);

/// Runs all steps that are pending (or were running when an executor died), each as soon as what it needs is
/// done.
///
/// A failure is on record with the step: whoever takes over begins nothing new either, and only finds out what
/// became of the steps that were running.
pub(super) async fn run_steps(
    context: &Arc<Context>,
    from: usize,
    deadline: Option<Timestamp>,
) -> Result<(), End> {
    let halt = CancellationToken::new();
    let mut begun: BTreeSet<usize> = BTreeSet::new();
    // Tasks of their own: a step may be inside a write of the journal while the line waits for the journal.
    let mut running: JoinSet<(usize, Result<String, End>)> = JoinSet::new();
    let mut failure: Option<End> = context.journal.read(|r| recorded_failure(r, from)).await;
    if failure.is_some() {
        halt.cancel();
    }
    loop {
        {
            let ready = context
                .journal
                .read(|r| ready_steps(r, failure.is_some()))
                .await;
            let fresh: Vec<usize> = ready
                .into_iter()
                .filter(|index| begun.insert(*index))
                .collect();
            if !fresh.is_empty() {
                context
                    .journal
                    .write(|record| mark_running(record, &fresh), &[])
                    .await?;
                let until = match deadline {
                    Some(deadline) => context.journal.read(|r| deadline_of(r, deadline)).await,
                    None => clock::now() + BACK,
                };
                for index in fresh {
                    let (context, halt) = (Arc::clone(context), halt.clone());
                    let step = Step {
                        context,
                        index,
                        halt,
                        deadline: until,
                    };
                    running.spawn(async move { (index, Box::pin(run_step(&step)).await) });
                }
            }
        }
        let (index, result) = match running.join_next().await {
            None => break,
            Some(Ok(ended)) => ended,
            Some(Err(error)) => {
                // A bug. What the step did is unknown, so the action is left to the next executor.
                tracing::error!(action = %context.journal.id, %error, "a step died");
                return Err(End::Stopped);
            }
        };
        match result {
            Ok(detail) => {
                let close = |record: &mut ActionRecord| {
                    close_step(record, index, StepState::Done, detail);
                };
                context.journal.write(close, &[What::Step(index)]).await?;
            }
            Err(End::Stopped) => return Err(End::Stopped),
            Err(End::Halted) => {
                let close = |record: &mut ActionRecord| {
                    close_step(record, index, StepState::Skipped, String::new());
                };
                context.journal.write(close, &[]).await?;
            }
            Err(End::Failed(why)) => {
                halt.cancel();
                let first = failure.is_none();
                let close = |record: &mut ActionRecord| {
                    close_step(record, index, StepState::Failed, why.message.clone());
                    if first && record.direction == Direction::Forward {
                        record.reason.clone_from(&why.reason);
                        record.message.clone_from(&why.message);
                    }
                };
                context.journal.write(close, &[What::Step(index)]).await?;
                failure.get_or_insert(End::Failed(why));
            }
        }
        let stepped = |r: &ActionRecord| context.metrics.stepped(r, index);
        context.journal.read(stepped).await;
        free_ledger(context, index).await?;
    }
    failure.map_or(Ok(()), Err)
}

/// The failure that an executor before this one has put on record, if any.
fn recorded_failure(record: &ActionRecord, from: usize) -> Option<End> {
    let failed = record
        .steps
        .iter()
        .skip(from)
        .find(|step| step.state == StepState::Failed)?;
    Some(match record.direction {
        Direction::Forward => End::failed(&record.reason, &record.message),
        Direction::Back => End::failed("PutBackFailed", &failed.detail),
    })
}

/// Steps to begin: those that were running, and (unless the line is stopped) those that may follow.
pub(super) fn ready_steps(record: &ActionRecord, stopped: bool) -> Vec<usize> {
    let done = |index: &usize| {
        record
            .steps
            .get(*index)
            .is_some_and(|step| step.state == StepState::Done)
    };
    record
        .steps
        .iter()
        .enumerate()
        .filter(|(_, step)| {
            step.state == StepState::Running || step.state == StepState::Pending && !stopped
        })
        .filter(|(_, step)| step.needs.iter().all(done))
        .map(|(index, _)| index)
        .collect()
}

fn mark_running(record: &mut ActionRecord, indices: &[usize]) {
    for index in indices {
        if let Some(step) = record.steps.get_mut(*index) {
            step.state = StepState::Running;
            step.started_at.get_or_insert_with(clock::now);
        }
    }
}

fn close_step(record: &mut ActionRecord, index: usize, state: StepState, detail: String) {
    if let Some(step) = record.steps.get_mut(index) {
        step.state = state;
        step.finished_at = Some(clock::now());
        step.detail = detail;
    }
}

pub(in crate::actions) fn op_of(record: &ActionRecord, index: usize) -> Option<Op> {
    serde_json::from_value(record.steps.get(index)?.op.clone()).ok()
}

/// Whether a step that changes the cluster was done: `(scaled up, evicted)`.
pub(super) fn changed(record: &ActionRecord) -> (bool, bool) {
    let (mut scaled, mut evicted) = (false, false);
    for (index, step) in record.steps.iter().enumerate() {
        if step.state == StepState::Done {
            match op_of(record, index) {
                Some(Op::ScaleUp { .. }) => scaled = true,
                Some(Op::Evict { who: Who::Named(_) }) => evicted = true,
                _ => {}
            }
        }
    }
    (scaled, evicted)
}

/// A pod that was to leave for good has been evicted: from here only going on is whole.
fn past_return(record: &ActionRecord) -> bool {
    (0..record.steps.len()).any(|index| {
        let step = &record.steps[index];
        step.state == StepState::Done
            && matches!(op_of(record, index), Some(Op::Evict { who: Who::Named(_) }))
            && step
                .needs
                .iter()
                .any(|need| matches!(op_of(record, *need), Some(Op::Intend { node: None, .. })))
    })
}

fn deadline_of(record: &ActionRecord, deadline: Timestamp) -> Timestamp {
    if past_return(record) {
        deadline + GRACE
    } else {
        deadline
    }
}

async fn run_step(step: &Step) -> Result<String, End> {
    let (op, order) = step
        .context
        .journal
        .read(|r| {
            (
                op_of(r, step.index),
                serde_json::from_value::<Order>(r.request.clone()),
            )
        })
        .await;
    let Some(op) = op else {
        return Err(End::failed("Corrupt", "unreadable step"));
    };
    if let (Op::ScaleUp { .. } | Op::ScaleDown { .. }, Ok(order)) = (&op, &order)
        && let Some(name) = ledger_lock(order)
    {
        take_lock(step, &name, LockMode::Exclusive).await?;
    }
    steps::run(step, &op).await
}

/// Lets the ledger go once the step that wrote it is on record.
async fn free_ledger(context: &Arc<Context>, index: usize) -> Result<(), End> {
    let name = context
        .journal
        .read(|record| match op_of(record, index) {
            Some(Op::ScaleUp { .. } | Op::ScaleDown { .. }) => {
                serde_json::from_value::<Order>(record.request.clone())
                    .ok()
                    .and_then(|order| ledger_lock(&order))
            }
            _ => None,
        })
        .await;
    match name {
        Some(name) => unlock(context, &name).await,
        None => Ok(()),
    }
}
