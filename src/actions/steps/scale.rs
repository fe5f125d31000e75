//! Changing a replica count by one, once.
//!
//! The count and the ledger are written by one JSON patch that tests the uid, the generation, the ledger and
//! the count as read. So a late or repeated patch of this step, or of an executor that was paused, fails; and
//! whoever takes over reads from the ledger whether it was done.

use serde::{Deserialize, Serialize};

use super::held::{Sought, TAKEN_AWAY, Victim, held_intent, seek, taken_away, victim};
use crate::actions::context::{Step, Waker};
use crate::actions::end::End;
use crate::actions::ports::{CallError, ScalePatch};
use crate::model::{Deployment, WorkloadRef};
use crate::store::ActionRecord;

/// Written ahead of the patch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memo {
    /// The ledger as it was when the patch was made; `None`: nothing was tried yet.
    ledger: Option<String>,
    /// The generation that the patch tests.
    generation: i64,
    /// The count that the patch writes.
    #[serde(default)]
    replicas: Option<i32>,
    /// See [`taken_away`].
    #[serde(default)]
    taken_away: bool,
}

/// The count that a step which was done has written, out of its memo.
pub(super) fn written(memo: &serde_json::Value) -> Option<i32> {
    let memo: Memo = serde_json::from_value(memo.clone()).ok()?;
    memo.replicas
}

/// One replica more. Waits for a rollout to settle first: a count changed meanwhile is spread over the old
/// and the new ReplicaSet.
pub(super) async fn up(step: &Step, workload: &WorkloadRef) -> Result<String, End> {
    let ended = raise(step, workload).await;
    settled(step, workload, ended).await
}

async fn raise(step: &Step, workload: &WorkloadRef) -> Result<String, End> {
    let mut waker = step.waker();
    loop {
        let found = match read(step, &mut waker, workload).await? {
            Read::Done(detail) => return Ok(detail),
            Read::Again => continue,
            Read::Open(found) => found,
        };
        let quiet = found.observed_generation >= found.generation
            && found.updated_replicas == found.status_replicas;
        if !quiet {
            step.note("waiting for the workload to settle").await?;
            waker.next(&format!("{workload} to settle")).await?;
            continue;
        }
        if let Some(detail) = write(step, &mut waker, &found, 1).await? {
            return Ok(detail);
        }
    }
}

/// One replica less: only while the held pod is the certain victim and no rollout is in progress.
pub(super) async fn down(
    step: &Step,
    workload: &WorkloadRef,
    intent: usize,
) -> Result<String, End> {
    let ended = lower(step, workload, intent).await;
    settled(step, workload, ended).await
}

async fn lower(step: &Step, workload: &WorkloadRef, intent: usize) -> Result<String, End> {
    let mut waker = step.waker();
    let taken = |record: &ActionRecord| taken_away(record, Some(intent));
    if step.context.journal.read(taken).await {
        return Ok(TAKEN_AWAY.to_owned());
    }
    loop {
        let found = match read(step, &mut waker, workload).await? {
            Read::Done(detail) => return Ok(detail),
            Read::Again => continue,
            Read::Open(found) => found,
        };
        let intent = held_intent(step, &mut waker, intent, workload).await?;
        let victim = match victim(step, &intent).await {
            Ok(victim) => victim,
            Err(error) => {
                waker.pause(&error).await?;
                continue;
            }
        };
        let enough = match victim {
            Some(Victim::Held(_)) => found.status_replicas == found.replicas,
            Some(Victim::Short(_)) => found.status_replicas < found.replicas,
            None => {
                if let Sought::TakenAway = seek(step, &intent).await? {
                    return give_up(step).await;
                }
                waker
                    .next(&format!("a replacement in {workload} to be held"))
                    .await?;
                continue;
            }
        };
        let settled = found.observed_generation >= found.generation
            && found.updated_replicas == found.status_replicas
            && enough;
        if !settled {
            step.note("waiting for the workload to settle").await?;
            waker.next(&format!("{workload} to settle")).await?;
            continue;
        }
        if let Some(detail) = write(step, &mut waker, &found, -1).await? {
            return Ok(detail);
        }
    }
}

/// Another hand's scaling took away what this step would have. A patch of this step that may be under way tests
/// the generation of before that scaling, and fails.
async fn give_up(step: &Step) -> Result<String, End> {
    let memo = Memo {
        taken_away: true,
        ..step.memo().await
    };
    step.remember(&memo).await?;
    Ok(TAKEN_AWAY.to_owned())
}

/// A step that gives up may have a patch under way whose answer was lost. It finds out: the ledger says that it
/// was done, or another mark is put there, on which a late patch fails its test.
async fn settled(
    step: &Step,
    workload: &WorkloadRef,
    ended: Result<String, End>,
) -> Result<String, End> {
    let memo: Memo = step.memo().await;
    let (Err(End::Failed(_) | End::Halted), Some(_)) = (&ended, &memo.ledger) else {
        return ended;
    };
    let sure = step.settling();
    let mut waker = sure.waker();
    loop {
        let found = match read(&sure, &mut waker, workload).await {
            Ok(Read::Done(detail)) => return Ok(detail),
            Ok(Read::Again) => continue,
            Ok(Read::Open(found)) => found,
            Err(End::Stopped) => return Err(End::Stopped),
            Err(End::Failed(unknown)) if unknown.reason == "DeadlineExceeded" => {
                return Err(End::failed(
                    "OutcomeUnknown",
                    format!(
                        "whether the replica count of {workload} was changed could not be found out: {}",
                        unknown.message
                    ),
                ));
            }
            Err(_) => return ended,
        };
        if found.generation != memo.generation {
            return ended;
        }
        let void = format!(
            "{}.void.{}",
            step.context.journal.id, step.context.journal.fence
        );
        match step
            .context
            .parts
            .cluster
            .scale(&mark_only(&found, void))
            .await
        {
            Ok(_) => return ended,
            Err(error) => match retry(&mut waker, error).await {
                Err(End::Stopped) => return Err(End::Stopped),
                Err(_) => return ended,
                Ok(()) => {}
            },
        }
    }
}

/// A patch that changes the ledger and no count.
fn mark_only(found: &Deployment, ledger_after: String) -> ScalePatch {
    ScalePatch {
        key: found.key.clone(),
        uid: found.uid.clone(),
        generation: found.generation,
        ledger_before: found.ledger().map(str::to_owned),
        has_labels: found.labels.is_some(),
        resource_version: found.resource_version.clone(),
        replicas_before: found.replicas,
        replicas_after: found.replicas,
        ledger_after,
    }
}

enum Read {
    /// The ledger says it was done.
    Done(String),
    /// It is yet to be done.
    Open(Deployment),
    /// Look again.
    Again,
}

async fn read(step: &Step, waker: &mut Waker, workload: &WorkloadRef) -> Result<Read, End> {
    let found = match step.context.parts.cluster.deployment(&workload.key()).await {
        Ok(found) => found,
        Err(error) => {
            waker.pause(&error).await?;
            return Ok(Read::Again);
        }
    };
    let Some(found) = found.filter(|found| found.uid == workload.uid && !found.deleting) else {
        return Err(End::failed(
            "WorkloadGone",
            format!("{workload} does not exist any more"),
        ));
    };
    if found.ledger().is_some_and(|mark| step.is_mine(mark)) {
        return Ok(Read::Done(format!("{} replicas", found.replicas)));
    }
    let memo: Memo = step.memo().await;
    if memo.ledger.is_some() && found.ledger().is_none() {
        return Err(End::failed(
            "LedgerLost",
            format!(
                "the label {} vanished from {workload} while its replica count was being changed: \
                 whether that was done cannot be known, and it is not repeated",
                crate::model::names::LEDGER_LABEL
            ),
        ));
    }
    Ok(Read::Open(found))
}

/// Makes the patch. `None`: look again.
async fn write(
    step: &Step,
    waker: &mut Waker,
    found: &Deployment,
    by: i32,
) -> Result<Option<String>, End> {
    let cluster = &step.context.parts.cluster;
    let first = format!(
        "{}.begun.{}",
        step.context.journal.id, step.context.journal.fence
    );
    let mut patch = mark_only(found, first);
    let Some(ledger) = patch.ledger_before.clone() else {
        // The very first mark on this workload changes no count: so that from now on an absent label means
        // that somebody took it away, and never that nothing was done yet.
        return match cluster.scale(&patch).await {
            Ok(_) => Ok(None),
            Err(error) => retry(waker, error).await.map(|()| None),
        };
    };
    let begun = step.memo::<Memo>().await.ledger.is_some();
    step.may_act(begun)?;
    let memo = Memo {
        ledger: Some(ledger),
        generation: found.generation,
        replicas: Some(found.replicas + by),
        taken_away: false,
    };
    if step.memo::<Memo>().await != memo {
        step.remember(&memo).await?;
    }
    patch.ledger_after = step.mark();
    patch.replicas_after = found.replicas + by;
    if patch.replicas_after < 0 {
        return Err(End::failed(
            "NoReplica",
            format!("deployment {} has no replica", found.key),
        ));
    }
    match cluster.scale(&patch).await {
        Ok(patched) => Ok(Some(format!(
            "{} -> {} replicas",
            found.replicas, patched.replicas
        ))),
        Err(error) => retry(waker, error).await.map(|()| None),
    }
}

/// A 409 or 422 says only "look again": something else changed the object. Anything but a plain refusal may
/// be looked at again, since the ledger tells what was done.
async fn retry(waker: &mut Waker, error: CallError) -> Result<(), End> {
    match error {
        CallError::Refused(_) | CallError::Budget(_) => Err(error.into()),
        CallError::Unavailable { .. } | CallError::Gone(_) | CallError::Precondition(_) => {
            waker.pause(&error).await
        }
    }
}
