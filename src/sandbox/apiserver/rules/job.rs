//! Jobs: the selector that the server makes (`generateSelector` in `pkg/registry/batch/job`).

use serde_json::{Value, json};

use crate::sandbox::apiserver::meta;

/// Labels the template with the job's UID and name and selects by the UID, unless the client manages
/// the selector itself.
pub(crate) fn prepare_create(object: &mut Value, uid: &str) {
    if object["spec"]["manualSelector"] == true {
        return;
    }
    let name = meta::name(object).to_owned();
    // A job without labels of its own got its template's by default; in the real server that is one map.
    let shared = meta::labels(object)
        == meta::at(object, &["spec", "template", "metadata", "labels"]).and_then(Value::as_object);
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
