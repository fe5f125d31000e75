//! Nodes: `pkg/registry/core/node/strategy.go` and `TaintNodesByCondition` admission.

use serde_json::{Value, json};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::store::Key;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Labels of a node that its pods carry too (`PodTopologyLabels` admission).
const TOPOLOGY_LABELS: [&str; 2] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];

/// The topology labels of a node; none if it is not there.
pub(crate) fn topology_labels(call: &Call, name: &str) -> Vec<(&'static str, Value)> {
    let Some(nodes) = call.server.registry.core("", "nodes") else {
        return Vec::new();
    };
    let Some(node) = call.server.store.get(nodes.collection, &Key::new("", name)) else {
        return Vec::new();
    };
    let labels = meta::labels(&node.value);
    TOPOLOGY_LABELS
        .iter()
        .filter_map(|key| Some((*key, labels?.get(*key)?.clone())))
        .collect()
}

/// A new node is tainted not-ready until the node lifecycle controller has seen it ready.
pub(crate) fn prepare_create(object: &mut Value) {
    let spec = meta::map_mut(object, "spec");
    let taints = spec.entry("taints").or_insert_with(|| json!([]));
    if !taints.is_array() {
        *taints = json!([]);
    }
    if let Value::Array(list) = taints
        && !list
            .iter()
            .any(|t| t["key"] == NOT_READY && t["effect"] == "NoSchedule")
    {
        list.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
    }
}

/// The provider's id and the pod ranges are fixed once set.
pub(crate) fn validate_update(live: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let old = meta::text(live, &["spec", "providerID"]);
    if !old.is_empty() && old != meta::text(new, &["spec", "providerID"]) {
        errors.push(FieldError::forbidden(
            "spec.providerID",
            "node updates may not change providerID except from \"\" to valid",
        ));
    }
    let old = meta::list(live, &["spec", "podCIDRs"]);
    if !old.is_empty() && old != meta::list(new, &["spec", "podCIDRs"]) {
        errors.push(FieldError::forbidden(
            "spec.podCIDRs",
            "node updates may not change podCIDR except from \"\" to valid",
        ));
    }
    for (i, taint) in meta::list(new, &["spec", "taints"]).iter().enumerate() {
        let effect = meta::text(taint, &["effect"]);
        if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            errors.push(FieldError::not_supported(
                format!("spec.taints[{i}].effect"),
                effect,
                &["NoExecute", "NoSchedule", "PreferNoSchedule"],
            ));
        }
    }
    errors
}
