//! The data of ConfigMaps and Secrets: `ValidateConfigMap` and `ValidateSecret` in
//! `pkg/apis/core/validation/validation.go`.

use serde_json::Value;

use super::kinds::RuleKey;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;

/// Size of all data of one object, in bytes.
const MAX_SIZE: usize = 1024 * 1024;

const KEY_FMT: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// Keys that are no keys, keys that come twice, and too much of it all.
pub(crate) fn validate(key: RuleKey, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for field in ["data", "binaryData"] {
        let Some(data) = object.get(field).and_then(Value::as_object) else {
            continue;
        };
        for (name, value) in data {
            let at = format!("{field}[{name}]");
            for why in config_key(name) {
                errors.push(FieldError::invalid(at.as_str(), name.as_str(), why));
            }
            if field == "data" && object["binaryData"].get(name).is_some() {
                let why = "duplicate of key present in binaryData";
                errors.push(FieldError::invalid(at.as_str(), name.as_str(), why));
            }
            let text = value.as_str().unwrap_or_default();
            let encoded = field == "binaryData" || key.1 == "secrets";
            size += if encoded {
                text.len() / 4 * 3
            } else {
                text.len()
            };
        }
    }
    if size > MAX_SIZE {
        // A path of no fields prints so.
        let field = if key.1 == "secrets" { "data" } else { "[]" };
        errors.push(FieldError::too_long(field, MAX_SIZE));
    }
    errors
}

/// What a key may not be: `IsConfigMapKey`.
fn config_key(key: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if key.len() > 253 {
        errors.push("must be no more than 253 characters".to_owned());
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if key.is_empty() || !key.bytes().all(fits) {
        errors.push(KEY_FMT.to_owned());
    } else if key == "." || key == ".." {
        errors.push(format!("must not be '{key}'"));
    } else if key.starts_with("..") {
        errors.push("must not start with '..'".to_owned());
    }
    errors
}

/// A Secret keeps its type.
pub(crate) fn validate_update(live: &Value, new: &Value) -> Vec<FieldError> {
    let of = |object: &Value| meta::text(object, &["type"]).to_owned();
    if of(live) == of(new) {
        return Vec::new();
    }
    vec![FieldError::invalid("type", of(new), "field is immutable")]
}
