//! `options` of an action, decoded strictly: an option that is unknown or not built is an error, never
//! ignored (an ignored `dryRun` would act).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long an action may take unless it says otherwise: the original's five minutes.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(300);
/// The longest deadline that is taken: a week.
const LONGEST_DEADLINE: i64 = 7 * 24 * 3600;
/// The longest idempotency key that is taken, in bytes.
const LONGEST_KEY: usize = 255;

/// How a pod's place is taken by a new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// Surges when it fits and is allowed, else recreates.
    #[default]
    Auto,
    /// One more replica first; the old pod goes when the new one is Ready.
    Surge,
    /// The old pod goes first; its replacement is bound to the target. No scale change.
    Recreate,
}

/// The options, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Same key and same request: the same action.
    pub idempotency_key: Option<String>,
    /// How long the action may take.
    pub deadline: Duration,
    /// See [`Strategy`].
    pub strategy: Strategy,
    /// Say what would be done; do nothing.
    pub dry_run: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            idempotency_key: None,
            deadline: DEFAULT_DEADLINE,
            strategy: Strategy::Auto,
            dry_run: false,
        }
    }
}

/// An option is wrong; the text is the caller's answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

const KNOWN: &str = "idempotencyKey, deadlineSeconds, strategy, dryRun";

impl Options {
    /// Decodes `options` as it arrived. Absent and `null` are the defaults.
    ///
    /// # Errors
    /// [`Error`] naming the first option that is unknown or has a wrong value.
    pub fn decode(value: Option<&Value>) -> Result<Self, Error> {
        let mut options = Self::default();
        let members = match value {
            None | Some(Value::Null) => return Ok(options),
            Some(Value::Object(members)) => members,
            Some(other) => {
                return Err(Error(format!(
                    "options must be an object, not {}",
                    kind(other)
                )));
            }
        };
        for (name, value) in members {
            match name.as_str() {
                "idempotencyKey" => options.idempotency_key = Some(key(value)?),
                "deadlineSeconds" => options.deadline = deadline(value)?,
                "strategy" => {
                    options.strategy = match value.as_str() {
                        Some("Auto") => Strategy::Auto,
                        Some("Surge") => Strategy::Surge,
                        Some("Recreate") => Strategy::Recreate,
                        _ => {
                            return Err(Error(format!(
                                "options.strategy must be \"Auto\", \"Surge\" or \"Recreate\", not {value}"
                            )));
                        }
                    }
                }
                "dryRun" => {
                    options.dry_run = value.as_bool().ok_or_else(|| {
                        Error(format!("options.dryRun must be true or false, not {value}"))
                    })?;
                }
                other => {
                    return Err(Error(format!(
                        "options.{other} is not supported; known options are {KNOWN}"
                    )));
                }
            }
        }
        Ok(options)
    }
}

fn key(value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(key) if !key.is_empty() && key.len() <= LONGEST_KEY => Ok(key.to_owned()),
        Some(_) => Err(Error(format!(
            "options.idempotencyKey must have 1 to {LONGEST_KEY} bytes"
        ))),
        None => Err(Error(format!(
            "options.idempotencyKey must be a string, not {}",
            kind(value)
        ))),
    }
}

fn deadline(value: &Value) -> Result<Duration, Error> {
    match value.as_i64() {
        Some(seconds @ 1..=LONGEST_DEADLINE) => Ok(Duration::from_secs(seconds.unsigned_abs())),
        _ => Err(Error(format!(
            "options.deadlineSeconds must be a whole number from 1 to {LONGEST_DEADLINE}, not {value}"
        ))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(value: Value) -> String {
        Options::decode(Some(&value)).unwrap_err().to_string()
    }

    #[test]
    fn absent_and_null_are_the_defaults() {
        assert_eq!(Options::decode(None), Ok(Options::default()));
        assert_eq!(Options::decode(Some(&Value::Null)), Ok(Options::default()));
        assert_eq!(Options::decode(Some(&json!({}))), Ok(Options::default()));
    }

    #[test]
    fn all_of_them() {
        let options = Options::decode(Some(&json!({
            "idempotencyKey": "k", "deadlineSeconds": 5, "strategy": "Surge", "dryRun": true
        })));
        let wanted = Options {
            idempotency_key: Some("k".into()),
            deadline: Duration::from_secs(5),
            strategy: Strategy::Surge,
            dry_run: true,
        };
        assert_eq!(options, Ok(wanted));
    }

    #[test]
    fn nothing_unknown_or_wrong_passes() {
        assert!(refused(json!({"dryrun": true})).contains("options.dryrun is not supported"));
        assert!(refused(json!({"callback": "http://x"})).contains("callback"));
        assert!(refused(json!({"dryRun": "true"})).contains("true or false"));
        assert!(refused(json!({"deadlineSeconds": 0})).contains("from 1 to"));
        assert!(refused(json!({"deadlineSeconds": -3})).contains("from 1 to"));
        assert!(refused(json!({"deadlineSeconds": 1.5})).contains("whole number"));
        assert!(refused(json!({"strategy": "surge"})).contains("options.strategy"));
        assert!(refused(json!({"idempotencyKey": ""})).contains("1 to 255 bytes"));
        assert!(refused(json!({"idempotencyKey": 7})).contains("a number"));
        assert!(refused(json!([])).contains("an array"));
    }
}
