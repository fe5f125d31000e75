//! Times that Go's types hold by value: a condition without one says `null`, as encoded Go structs do.

use serde_json::Value;

use super::kinds::RuleKey;
use crate::sandbox::apiserver::meta;

/// The times of a kind's conditions.
fn times(key: RuleKey) -> &'static [&'static str] {
    match key {
        ("", "pods") | ("batch", "jobs") => &["lastProbeTime", "lastTransitionTime"],
        ("", "nodes") => &["lastHeartbeatTime", "lastTransitionTime"],
        ("apps", "deployments") => &["lastUpdateTime", "lastTransitionTime"],
        ("apps", "replicasets" | "statefulsets" | "daemonsets")
        | ("", "replicationcontrollers" | "namespaces" | "services")
        | ("autoscaling", _) => &["lastTransitionTime"],
        ("", "persistentvolumeclaims") => &["lastProbeTime", "lastTransitionTime"],
        _ => &[],
    }
}

/// Adds what is missing.
pub(crate) fn fill(key: RuleKey, object: &mut Value) {
    let times = times(key);
    if times.is_empty() || meta::list(object, &["status", "conditions"]).is_empty() {
        return;
    }
    let Some(Value::Array(conditions)) = meta::map_mut(object, "status").get_mut("conditions")
    else {
        return;
    };
    for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
        for time in times {
            condition.entry(*time).or_insert(Value::Null);
        }
    }
}
