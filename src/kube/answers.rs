//! The API server's answers in the words of the ports.

use super::failure::Failure;
use crate::actions::ports::CallError as ActionError;
use crate::scheduler::ports::CallError as SchedulerError;

/// For the scheduler's ports.
pub(crate) fn for_scheduler(failure: Failure) -> SchedulerError {
    let text = failure.to_string();
    if failure.is_transient() {
        return SchedulerError::Unavailable(text);
    }
    match failure.code() {
        Some(404 | 410) => SchedulerError::Gone(text),
        Some(409 | 429) => SchedulerError::Conflict(text),
        _ => SchedulerError::Refused(text),
    }
}

/// For the actions' ports.
pub(crate) fn for_actions(failure: Failure) -> ActionError {
    let message = failure.to_string();
    if failure.is_disruption_budget() {
        return ActionError::Budget(message);
    }
    if failure.is_transient() {
        return ActionError::Unavailable {
            message,
            retry_after: failure.retry_after(),
        };
    }
    match failure.code() {
        Some(404 | 410) => ActionError::Gone(message),
        Some(409) => ActionError::Precondition(message),
        Some(422) if !failure.is_validation() => ActionError::Precondition(message),
        // Success that cannot be read: what was done is unknown, and reading again will tell.
        None => ActionError::Unavailable {
            message,
            retry_after: None,
        },
        _ => ActionError::Refused(message),
    }
}
