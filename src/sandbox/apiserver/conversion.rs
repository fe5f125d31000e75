//! Views of stored objects in other versions, for the few resources that are served in several.
//!
//! Where the versions differ by more than `apiVersion`, a rule below moves the fields; source:
//! `pkg/apis/core/v1` ↔ `pkg/apis/events/v1` and `pkg/apis/autoscaling/v1` conversions.

use serde_json::{Map, Value, json};

use super::registry::Resource;

/// Fields of events that the two groups name differently: (core, `events.k8s.io`).
const EVENT_FIELDS: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// From the requested version to the stored one.
pub(crate) fn to_stored(resource: &Resource, mut object: Value) -> Value {
    if resource.is_stored_version() {
        return object;
    }
    if let Value::Object(map) = &mut object {
        match resource.facts.group.as_str() {
            "events.k8s.io" => {
                for (core, new) in EVENT_FIELDS {
                    rename(map, new, core);
                }
                rename(map, "reportingController", "reportingComponent");
            }
            "autoscaling" => hpa_to_v2(map),
            _ => {}
        }
        map.insert(
            "apiVersion".to_owned(),
            json!(resource.stored.api_version()),
        );
    }
    object
}

/// From the stored version to the requested one.
pub(crate) fn from_stored(resource: &Resource, stored: &Value) -> Value {
    let mut object = stored.clone();
    if resource.is_stored_version() {
        return object;
    }
    if let Value::Object(map) = &mut object {
        match resource.facts.group.as_str() {
            "events.k8s.io" => {
                for (core, new) in EVENT_FIELDS {
                    rename(map, core, new);
                }
                rename(map, "reportingComponent", "reportingController");
            }
            "autoscaling" => hpa_to_v1(map),
            _ => {}
        }
        map.insert("apiVersion".to_owned(), json!(resource.api_version));
    }
    object
}

fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = map.remove(from) {
        map.insert(to.to_owned(), value);
    }
}

fn hpa_to_v2(map: &mut Map<String, Value>) {
    if let Some(Value::Object(spec)) = map.get_mut("spec")
        && let Some(percent) = spec.remove("targetCPUUtilizationPercentage")
    {
        spec.insert(
            "metrics".to_owned(),
            json!([{"type": "Resource", "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": percent},
            }}]),
        );
    }
}

fn hpa_to_v1(map: &mut Map<String, Value>) {
    if let Some(Value::Object(status)) = map.get_mut("status") {
        status.remove("currentMetrics");
        status.remove("conditions");
        status.entry("currentReplicas").or_insert_with(|| json!(0));
    }
    let Some(Value::Object(spec)) = map.get_mut("spec") else {
        return;
    };
    spec.remove("behavior");
    let Some(Value::Array(metrics)) = spec.remove("metrics") else {
        return;
    };
    let cpu = metrics.iter().find_map(|m| {
        (m["resource"]["name"] == "cpu")
            .then(|| m["resource"]["target"]["averageUtilization"].clone())
            .filter(|p| !p.is_null())
    });
    if let Some(percent) = cpu {
        spec.insert("targetCPUUtilizationPercentage".to_owned(), percent);
    }
}
