//! What each primitive step does.
//!
//! Contract of every step: begun twice (by this executor or by one that took over), it is done once; it
//! writes ahead what a successor must know before it acts; it returns at a wait only where nothing of it is
//! under way.

mod evict;
mod held;
mod intend;
mod ready;
mod rest;
mod scale;

pub(super) use held::{TAKEN_AWAY, taken_away};

use super::context::Step;
use super::end::End;
use super::op::Op;

/// Carries a step out; answers what happened, for people.
///
/// # Errors
/// [`End`]: what became of it instead.
pub async fn run(step: &Step, op: &Op) -> Result<String, End> {
    match op {
        Op::Intend {
            workload,
            node,
            hold,
            replica_set,
        } => {
            intend::intend(
                step,
                workload,
                node.as_deref(),
                *hold,
                replica_set.as_deref(),
            )
            .await
        }
        Op::Redirect { intent, node, hold } => {
            intend::redirect(step, *intent, node.as_deref(), *hold).await
        }
        Op::Withdraw { intent } => intend::withdraw(step, *intent).await,
        Op::ScaleUp { workload } => scale::up(step, workload).await,
        Op::AwaitReady { intent } => ready::await_ready(step, *intent).await,
        Op::Evict { who } => evict::evict(step, who).await,
        Op::AwaitHeld { intent, workload } => held::await_held(step, *intent, workload).await,
        Op::ScaleDown { workload, intent } => scale::down(step, workload, *intent).await,
        Op::AwaitHeldGone { intent, workload } => {
            held::await_held_gone(step, *intent, workload).await
        }
        Op::AwaitGone { pod } => ready::await_gone(step, pod).await,
        Op::AwaitSettled { workload } => ready::await_settled(step, workload).await,
    }
}
