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
    let complaints = |name: &str| match key {
        ("", "namespaces" | "services") => names::dns_label(name),
        ("rbac.authorization.k8s.io", _) => names::path_segment(name),
        _ => names::dns_subdomain(name),
    };
    let mut errors = Vec::new();
    let prefix = meta::text(object, &["metadata", "generateName"]);
    if !prefix.is_empty() {
        // A prefix may end in what a name may not (`maskTrailingDash`).
        let masked = match prefix.strip_suffix('-') {
            Some(rest) if !rest.is_empty() => format!("{rest}a"),
            _ => prefix.to_owned(),
        };
        for why in complaints(&masked) {
            errors.push(FieldError::invalid("metadata.generateName", prefix, why));
        }
    }
    let name = meta::name(object);
    for why in complaints(name) {
        errors.push(FieldError::invalid("metadata.name", name, why));
    }
    errors
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
    let owners = meta::list(object, &["metadata", "ownerReferences"]);
    let mut controller = String::new();
    for owner in owners {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if meta::text(owner, &[field]).is_empty() {
                let why = if field == "apiVersion" {
                    "version must not be empty"
                } else {
                    "must not be empty"
                };
                let path = format!("metadata.ownerReferences.{field}");
                errors.push(FieldError::invalid(path, "", why));
            }
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            let this = format!(
                "{}/{}",
                meta::text(owner, &["kind"]),
                meta::text(owner, &["name"])
            );
            if controller.is_empty() {
                controller = this;
            } else {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {controller} and {this}"
                );
                errors.push(FieldError::invalid_shown(
                    "metadata.ownerReferences",
                    in_order(
                        owners,
                        &[
                            "apiVersion",
                            "kind",
                            "name",
                            "uid",
                            "controller",
                            "blockOwnerDeletion",
                        ],
                    ),
                    why,
                ));
            }
        }
    }
    let finalizers = meta::finalizers(object);
    for finalizer in finalizers {
        let finalizer = finalizer.as_str().unwrap_or_default();
        for why in names::qualified_name(finalizer) {
            errors.push(FieldError::invalid("metadata.finalizers", finalizer, why));
        }
    }
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    if has("orphan") && has("foregroundDeletion") {
        errors.push(FieldError::invalid(
            "metadata.finalizers",
            Value::Array(finalizers.to_vec()),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
    for (i, finalizer) in finalizers.iter().enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        let standard = ["kubernetes", "orphan", "foregroundDeletion"].contains(&finalizer);
        if !standard && !finalizer.contains('/') {
            errors.push(FieldError::invalid(
                format!("metadata.finalizers[{i}]"),
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    errors
}

/// Objects as JSON with their fields in the order in which the Go type has them.
fn in_order(objects: &[Value], fields: &[&str]) -> String {
    let one = |object: &Value| {
        let fields: Vec<String> = fields
            .iter()
            .filter_map(|field| Some(format!("{field:?}:{}", object.get(field)?)))
            .collect();
        format!("{{{}}}", fields.join(","))
    };
    let objects: Vec<String> = objects.iter().map(one).collect();
    format!("[{}]", objects.join(","))
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
