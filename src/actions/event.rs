//! The events of an action, as CloudEvents 1.0: accepted, started, step, and exactly one outcome.
//!
//! An event's id is made of the action's id and what happened, so that a repeated write is the same event.

use serde_json::{Value, json};

use crate::clock;
use crate::store::{ActionRecord, ActionState, NewEvent};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Stored.
    Accepted,
    /// An executor has begun.
    Started,
    /// A step ended.
    Step(usize),
    /// The action ended; which way is its state.
    Outcome,
}

/// The event that tells it.
#[must_use]
pub fn event(record: &ActionRecord, what: What) -> NewEvent {
    let (word, id) = match what {
        What::Accepted => ("accepted", format!("{}.accepted", record.id)),
        What::Started => ("started", format!("{}.started", record.id)),
        What::Step(index) => ("step", format!("{}.step.{index}", record.id)),
        What::Outcome => (outcome(record.state), format!("{}.outcome", record.id)),
    };
    let kind = format!("wam.action.{word}.v1");
    let mut data = json!({
        "actionId": record.id,
        "method": record.method,
        "state": record.state,
        "reason": record.reason,
        "message": record.message,
        "pods": record.pods,
    });
    if let What::Step(index) = what
        && let Some(step) = record.steps.get(index)
    {
        data["step"] = json!({
            "index": index,
            "name": step.name,
            "state": step.state,
            "startedAt": step.started_at,
            "finishedAt": step.finished_at,
            "detail": step.detail,
        });
    }
    let body = json!({
        "specversion": "1.0",
        "id": id,
        "source": "/wam",
        "type": kind,
        "subject": record.id,
        "time": clock::now(),
        "datacontenttype": "application/json",
        "data": Value::Object(data.as_object().cloned().unwrap_or_default()),
    });
    NewEvent { id, kind, body }
}

fn outcome(state: ActionState) -> &'static str {
    match state {
        ActionState::Succeeded => "succeeded",
        ActionState::Compensated => "compensated",
        ActionState::Cancelled => "cancelled",
        ActionState::Failed | ActionState::Pending | ActionState::Running => "failed",
    }
}
