//! DaemonSets count the generations of their template in an annotation: all that is left of a field that the
//! apps/v1 API no longer has (`pkg/apis/apps/v1/conversion.go`, `pkg/registry/apps/daemonset/strategy.go`).

use serde_json::Value;

use crate::sandbox::apiserver::meta;

const GENERATION: &str = "deprecated.daemonset.template.generation";

/// `live` is the object before the change; `None` for a new one.
pub(crate) fn count_template(live: Option<&Value>, new: &mut Value) {
    let generation = match live {
        None => 1,
        Some(live) => {
            let before = live
                .pointer("/metadata/annotations")
                .and_then(|annotations| annotations.get(GENERATION))
                .and_then(Value::as_str)
                .and_then(|text| text.parse::<i64>().ok())
                .unwrap_or(0);
            let changed = live.pointer("/spec/template") != new.pointer("/spec/template");
            before + i64::from(changed)
        }
    };
    let mut annotations = match new.pointer("/metadata/annotations") {
        Some(Value::Object(annotations)) => annotations.clone(),
        _ => serde_json::Map::new(),
    };
    annotations.insert(GENERATION.to_owned(), Value::from(generation.to_string()));
    meta::set(new, "annotations", Some(Value::Object(annotations)));
}
