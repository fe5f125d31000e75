//! How a step can end without having been done.

use super::ports::CallError;

/// Why a step did not work, in the caller's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One word in CamelCase.
    pub reason: String,
    /// What happened, for people.
    pub message: String,
}

/// How a step ended without having been done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It cannot be done.
    Failed(Failure),
    /// Another step failed; this one was dropped at a point where it had nothing under way.
    Halted,
    /// This executor must stop: shutdown, or the action is another's now. Nothing more may be done.
    Stopped,
}

impl End {
    /// A failure.
    #[must_use]
    pub fn failed(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Failed(Failure {
            reason: reason.into(),
            message: message.into(),
        })
    }
}

/// What a call's error means for a step that can do nothing about it.
impl From<CallError> for End {
    fn from(error: CallError) -> Self {
        let reason = match &error {
            CallError::Gone(_) => "Gone",
            CallError::Precondition(_) => "Conflict",
            CallError::Budget(_) => "DisruptionBudget",
            CallError::Unavailable { .. } => "Unavailable",
            CallError::Refused(_) => "Refused",
        };
        Self::failed(reason, error.to_string())
    }
}
