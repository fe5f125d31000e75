//! Jobs: the selector that the server makes (`generateSelector` in `pkg/registry/batch/job`).

use serde_json::{Value, json};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;

/// Labels the template with the job's UID and name and selects by the UID, unless the client manages
/// the selector itself.
pub(crate) fn prepare_create(call: &Call, object: &mut Value) {
    let uid = meta::uid(object).to_owned();
    if object["spec"]["manualSelector"] == true {
        return;
    }
    let name = meta::name(object).to_owned();
    // A job without labels of its own got its template's by default; in the real server that is one map.
    let shared = meta::labels(object)
        == meta::at(object, &["spec", "template", "metadata", "labels"]).and_then(Value::as_object)
        && !came_with_labels(call);
    let spec = meta::map_mut(object, "spec");
    let template = meta::map_mut_in(spec, "template");
    let labels = meta::map_mut_in(meta::map_mut_in(template, "metadata"), "labels");
    for key in ["job-name", "batch.kubernetes.io/job-name"] {
        labels.entry(key).or_insert_with(|| json!(name));
    }
    for key in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
        labels.insert(key.to_owned(), json!(uid));
    }
    let copy = shared.then(|| json!(labels));
    let selector = meta::map_mut_in(spec, "selector");
    let selected = meta::map_mut_in(selector, "matchLabels");
    selected
        .entry("batch.kubernetes.io/controller-uid")
        .or_insert_with(|| json!(uid));
    if copy.is_some() {
        meta::set(object, "labels", copy);
    }
}

/// Whether the client named labels; defaults have hidden that from the object.
fn came_with_labels(call: &Call) -> bool {
    call.decode_object()
        .is_ok_and(|given| meta::labels(&given).is_some_and(|labels| !labels.is_empty()))
}

/// What of a Job cannot change (`ValidateJobSpecUpdate` in `pkg/apis/batch/validation`).
pub(crate) fn validate_update(live: &Value, new: &Value) -> Vec<FieldError> {
    let indexed = new["spec"]["completionMode"] == "Indexed";
    let mut errors = Vec::new();
    let fixed = [
        "completions",
        "selector",
        "template",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ];
    for field in fixed {
        let value = new["spec"].get(field);
        if live["spec"].get(field) == value {
            continue;
        }
        let path = format!("spec.{field}");
        let value = value.cloned().unwrap_or_default();
        if field == "completions" && indexed {
            if value != new["spec"]["parallelism"] {
                let why = "can only be modified in tandem with spec.parallelism";
                errors.push(FieldError::invalid(path, value, why));
            }
            continue;
        }
        // Where it has not run yet, a suspended Job may still be sent elsewhere.
        let movable = live["spec"]["suspend"] == true && live["status"].get("startTime").is_none();
        if field == "template" && movable {
            continue;
        }
        errors.push(FieldError::invalid(path, value, "field is immutable"));
    }
    errors
}
