//! What `api` calls.

use async_trait::async_trait;
use serde_json::Value;

use super::request::Request;
use crate::store::{ActionId, ActionPage, ActionRecord};

/// The answer to a submission.
#[derive(Debug, Clone, PartialEq)]
pub enum Accepted {
    /// Stored; it will end in exactly one outcome.
    Stored {
        /// The action's id.
        id: ActionId,
    },
    /// `dryRun`: nothing was stored; this is what would be done.
    DryRun {
        /// The steps with their order and their reasons.
        plan: Value,
    },
}

/// Why a submission was not taken; nothing was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The request is wrong; the text is the caller's answer.
    #[error("{0}")]
    Invalid(String),
    /// The cluster or the store cannot be asked now; the caller may try again.
    #[error("{0}")]
    Unavailable(String),
}

/// The actions, as `api` sees them.
#[async_trait]
pub trait Facade: Send + Sync {
    /// Validates against the cluster, fixes uids, stores the action.
    async fn submit(&self, request: Request) -> Result<Accepted, SubmitError>;
    /// One action.
    async fn get(&self, id: ActionId) -> Result<Option<ActionRecord>, SubmitError>;
    /// Newest first.
    async fn list(&self, limit: usize, from: Option<&str>) -> Result<ActionPage, SubmitError>;
}
