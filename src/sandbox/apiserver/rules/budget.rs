//! PodDisruptionBudgets: `ValidatePodDisruptionBudgetSpec` in `pkg/apis/policy/validation`.

use serde_json::Value;

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
