//! How a request failed, and what that means for repeating it.

use std::error::Error as StdError;
use std::time::Duration;

use serde_json::Value;

/// The cause by which a PodDisruptionBudget's 429 is known.
const DISRUPTION_BUDGET: &str = "DisruptionBudget";

/// How a call failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The API server answered, and not with success.
    #[error("{message}")]
    Answered {
        /// The HTTP status.
        code: u16,
        /// The status' reason, for example `Conflict`.
        reason: String,
        /// The status' message, or the body's text.
        message: String,
        /// `(reason, field)` of each cause in the status' details.
        causes: Vec<(String, String)>,
        /// The header `Retry-After`, or the details' `retryAfterSeconds`.
        retry_after: Option<Duration>,
    },
    /// The request cannot have been carried out: nobody listened.
    #[error("{0}")]
    NotSent(String),
    /// There was no answer, or a broken one; the request may or may not have been carried out.
    #[error("{0}")]
    Lost(String),
    /// The answer says success and makes no sense.
    #[error("{0}")]
    Malformed(String),
}

impl Failure {
    /// Reads an answer that is no success.
    #[must_use]
    pub fn answered(code: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let status: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let message = match status["message"].as_str() {
            Some(message) if !message.is_empty() => message.to_owned(),
            // Overload is answered with bare text; a proxy in between may send a page.
            _ => {
                let body: String = String::from_utf8_lossy(body).chars().take(512).collect();
                match body.trim() {
                    "" => format!("the API server answered {code}"),
                    body => format!("the API server answered {code}: {body}"),
                }
            }
        };
        let details = &status["details"];
        let seconds = details["retryAfterSeconds"].as_u64().filter(|s| *s > 0);
        Self::Answered {
            code,
            reason: text(&status["reason"]),
            message,
            causes: details["causes"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|cause| (text(&cause["reason"]), text(&cause["field"])))
                .collect(),
            retry_after: retry_after.or_else(|| seconds.map(Duration::from_secs)),
        }
    }

    /// The HTTP status, if there was an answer.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Answered { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// How long the API server asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the details name this cause.
    #[must_use]
    pub fn has_cause(&self, reason: &str) -> bool {
        matches!(self, Self::Answered { causes, .. } if causes.iter().any(|(r, _)| r == reason))
    }

    /// Whether it is validation that failed: a 422 that names fields. (A JSON patch whose `test` fails
    /// is a bare 422.)
    #[must_use]
    pub fn is_validation(&self) -> bool {
        matches!(self, Self::Answered { code: 422, causes, .. } if !causes.is_empty())
    }

    /// Whether a PodDisruptionBudget refused.
    #[must_use]
    pub fn is_disruption_budget(&self) -> bool {
        self.code() == Some(429) && self.has_cause(DISRUPTION_BUDGET)
    }

    /// Whether a later try may end otherwise although nothing in the cluster has changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Answered { code, .. } => match code {
                429 => !self.is_disruption_budget(),
                // 501 and 505 say that the server cannot, ever.
                408 | 500 | 502..=504 | 507.. => true,
                _ => false,
            },
            Self::NotSent(_) | Self::Lost(_) => true,
            Self::Malformed(_) => false,
        }
    }

    /// Whether the request was certainly not carried out.
    #[must_use]
    pub fn was_not_done(&self) -> bool {
        match self {
            Self::Answered { code, .. } => *code < 500 && *code != 408,
            Self::NotSent(_) => true,
            Self::Lost(_) | Self::Malformed(_) => false,
        }
    }

    pub(crate) fn label(&self) -> String {
        match self {
            Self::Answered { code, .. } => code.to_string(),
            Self::NotSent(_) | Self::Lost(_) | Self::Malformed(_) => "error".to_owned(),
        }
    }
}

/// Whether a request that failed in the client was sent at all.
pub(crate) fn unsent_or_lost(error: ::kube::Error) -> Failure {
    let text = chain(&error);
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return Failure::NotSent(text);
        }
        cause = error.source();
    }
    Failure::Lost(text)
}

/// An error with what caused it, in one line.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_text_answer_is_understood() {
        let failure = Failure::answered(
            429,
            Some(Duration::from_secs(1)),
            b"Too many requests, please try again.\n",
        );
        assert!(failure.is_transient() && failure.was_not_done());
        assert_eq!(failure.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(
            failure.to_string(),
            "the API server answered 429: Too many requests, please try again."
        );
    }
}
