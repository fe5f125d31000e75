//! Volumes and their claims: the `StorageObjectInUseProtection` admission, and what of a claim is fixed
//! (`ValidatePersistentVolumeClaimUpdate` in `pkg/apis/core/validation/validation.go`).

use serde_json::Value;

use super::kinds::RuleKey;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;

/// A volume or claim in use must not go: it waits for who uses it.
pub(crate) fn protect(key: RuleKey, object: &mut Value) {
    let finalizer = match key {
        ("", "persistentvolumes") => "kubernetes.io/pv-protection",
        ("", "persistentvolumeclaims") => "kubernetes.io/pvc-protection",
        _ => return,
    };
    let mut finalizers = meta::finalizers(object).to_vec();
    if !finalizers.iter().any(|f| f == finalizer) {
        finalizers.push(Value::from(finalizer));
        meta::set(object, "finalizers", Some(Value::Array(finalizers)));
    }
}

/// Of a claim only its size and its class of attributes may change, and the volume that it is bound to may be
/// filled in.
pub(crate) fn validate_claim_update(live: &Value, new: &Value) -> Vec<FieldError> {
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        if let Value::Object(spec) = &mut spec {
            if live["spec"].get("volumeName").is_none() {
                spec.remove("volumeName");
            }
            spec.remove("resources");
            spec.remove("volumeAttributesClassName");
        }
        spec
    };
    if fixed(live) == fixed(new) {
        return Vec::new();
    }
    let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    vec![FieldError::forbidden("spec", why)]
}
