//! PodDisruptionBudgets: `ValidatePodDisruptionBudgetSpec` in `pkg/apis/policy/validation`.

use serde_json::{Value, json};

use super::names;
use crate::sandbox::apiserver::field::FieldError;

/// Both bounds at once; the message shows the internal type, in the order of its fields.
pub(crate) fn both_bounds(spec: &Value) -> FieldError {
    let member = |key: &str| spec.get(key).cloned().unwrap_or(Value::Null);
    let shown = format!(
        r#"{{"MinAvailable":{},"Selector":{},"MaxUnavailable":{},"UnhealthyPodEvictionPolicy":{}}}"#,
        member("minAvailable"),
        member("selector"),
        member("maxUnavailable"),
        member("unhealthyPodEvictionPolicy"),
    );
    let why = "minAvailable and maxUnavailable cannot be both set";
    FieldError::invalid_shown("spec", shown, why)
}

/// Keys and values of the selector's labels.
pub(crate) fn selector(spec: &Value) -> Vec<FieldError> {
    let path = "spec.selector.matchLabels";
    let labels = spec
        .pointer("/selector/matchLabels")
        .and_then(Value::as_object);
    let mut errors = Vec::new();
    for (key, value) in labels.into_iter().flatten() {
        for why in names::qualified_name(key) {
            errors.push(FieldError::invalid(path, json!(key), why));
        }
        for why in names::label_value(value.as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid(path, value.clone(), why));
        }
    }
    errors
}
