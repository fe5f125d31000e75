//! `metadata` of every kind: `k8s.io/apimachinery/pkg/api/validation/objectmeta.go`.

use serde_json::Value;

use super::kinds::RuleKey;
use super::names;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;

/// Total size of all annotations.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The name of a new object, by its kind's rules.
pub(crate) fn validate_name(key: RuleKey, object: &Value) -> Vec<FieldError> {
    let name = meta::name(object);
    let complaints = match key {
        ("", "namespaces") => names::dns_label(name),
        ("", "services") => names::dns1035_label(name),
        ("rbac.authorization.k8s.io", _) => names::path_segment(name),
        _ => names::dns_subdomain(name),
    };
    complaints
        .into_iter()
        .map(|why| FieldError::invalid("metadata.name", name, why))
        .collect()
}

/// Labels, annotations, owners and finalizers.
pub(crate) fn validate(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(labels) = meta::labels(object) {
        labels_at("metadata.labels", labels, &mut errors);
    }
    if let Some(annotations) =
        meta::at(object, &["metadata", "annotations"]).and_then(Value::as_object)
    {
        let mut size = 0;
        for (key, value) in annotations {
            for why in names::qualified_name(&key.to_lowercase()) {
                errors.push(FieldError::invalid(
                    "metadata.annotations",
                    key.as_str(),
                    why,
                ));
            }
            size += key.len() + value.as_str().map_or(0, str::len);
        }
        if size > MAX_ANNOTATIONS {
            errors.push(FieldError::too_long(
                "metadata.annotations",
                MAX_ANNOTATIONS,
            ));
        }
    }
    let mut controllers = 0;
    for (i, owner) in meta::list(object, &["metadata", "ownerReferences"])
        .iter()
        .enumerate()
    {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if meta::text(owner, &[field]).is_empty() {
                let path = format!("metadata.ownerReferences[{i}].{field}");
                errors.push(FieldError::invalid(
                    path,
                    "",
                    format!("{} must not be empty", spoken(field)),
                ));
            }
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            controllers += 1;
        }
    }
    if controllers > 1 {
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            meta::at(object, &["metadata", "ownerReferences"])
                .cloned()
                .unwrap_or_default(),
            "Only one reference can have Controller set to true",
        ));
    }
    for finalizer in meta::finalizers(object) {
        let finalizer = finalizer.as_str().unwrap_or_default();
        for why in names::qualified_name(finalizer) {
            errors.push(FieldError::invalid("metadata.finalizers", finalizer, why));
        }
    }
    errors
}

fn spoken(field: &str) -> &str {
    if field == "apiVersion" {
        "version"
    } else {
        field
    }
}

/// Label keys and values at `path`.
pub(crate) fn labels_at(
    path: &str,
    labels: &serde_json::Map<String, Value>,
    errors: &mut Vec<FieldError>,
) {
    for (key, value) in labels {
        for why in names::qualified_name(key) {
            errors.push(FieldError::invalid(path, key.as_str(), why));
        }
        let value = value.as_str().unwrap_or_default();
        for why in names::label_value(value) {
            errors.push(FieldError::invalid(path, value, why));
        }
    }
}
