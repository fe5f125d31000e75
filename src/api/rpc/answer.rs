//! The results, member by member in the order they are written.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::actions::Accepted;
use crate::store::{ActionId, ActionPage, ActionRecord, ActionState, PodRef, StepState};

/// A submission's result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Submission {
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_id: Option<ActionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Value>,
}

impl From<Accepted> for Submission {
    fn from(accepted: Accepted) -> Self {
        let empty = Self {
            message: "ok",
            action_id: None,
            dry_run: None,
            plan: None,
        };
        match accepted {
            Accepted::Stored { id } => Self {
                action_id: Some(id),
                ..empty
            },
            Accepted::DryRun { plan } => Self {
                dry_run: Some(true),
                plan: Some(plan),
                ..empty
            },
        }
    }
}

/// `action.Get`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Action {
    action_id: ActionId,
    method: String,
    state: ActionState,
    reason: String,
    message: String,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    pods: Vec<PodRef>,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    name: String,
    state: StepState,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    detail: String,
}

impl From<ActionRecord> for Action {
    fn from(record: ActionRecord) -> Self {
        Self {
            action_id: record.id,
            method: record.method,
            state: record.state,
            reason: record.reason,
            message: record.message,
            created_at: record.created_at,
            started_at: record.started_at,
            finished_at: record.finished_at,
            pods: record.pods,
            steps: record
                .steps
                .into_iter()
                .map(|step| Step {
                    name: step.name,
                    state: step.state,
                    started_at: step.started_at,
                    finished_at: step.finished_at,
                    detail: step.detail,
                })
                .collect(),
        }
    }
}

/// `action.List`.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    actions: Vec<Action>,
    /// Empty on the last page, as in a Kubernetes list.
    #[serde(rename = "continue")]
    next: String,
}

impl From<ActionPage> for Page {
    fn from(page: ActionPage) -> Self {
        Self {
            actions: page.actions.into_iter().map(Action::from).collect(),
            next: page.next.unwrap_or_default(),
        }
    }
}
