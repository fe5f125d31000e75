//! Bindings of roles: `pkg/apis/rbac/validation/validation.go`.

use serde_json::{Value, json};

use crate::sandbox::apiserver::field::FieldError;

/// A binding keeps the role that it binds.
pub(crate) fn validate_update(live: &Value, new: &Value) -> Vec<FieldError> {
    if live.get("roleRef") == new.get("roleRef") {
        return Vec::new();
    }
    let role = &new["roleRef"];
    let shown = json!({"APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"]});
    vec![FieldError::invalid(
        "roleRef",
        shown,
        "cannot change roleRef",
    )]
}
