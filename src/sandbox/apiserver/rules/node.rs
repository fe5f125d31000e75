//! Nodes: `pkg/registry/core/node/strategy.go` and `TaintNodesByCondition` admission.

use serde_json::{Value, json};

use super::names;
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
    let ranges = meta::list(new, &["spec", "podCIDRs"]);
    if ranges.len() > 1 {
        let family = |range: &Value| range.as_str().is_some_and(|r| r.contains(':'));
        if family(&ranges[0]) == family(&ranges[1]) {
            errors.insert(
                0,
                FieldError::invalid(
                    "spec.podCIDRs",
                    Value::Array(ranges.to_vec()),
                    "may specify no more than one CIDR for each IP family",
                ),
            );
        }
    }
    errors.extend(validate(new));
    errors
}

/// Taints that are none (`validateNodeTaints`).
pub(crate) fn validate(node: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let taints = meta::list(node, &["spec", "taints"]);
    for (i, taint) in taints.iter().enumerate() {
        let at = format!("metadata.taints[{i}]");
        let text = |field: &str| meta::text(taint, &[field]);
        let (key, value, effect) = (text("key"), text("value"), text("effect"));
        for why in names::qualified_name(key) {
            errors.push(FieldError::invalid(format!("{at}.key"), key, why));
        }
        for why in names::label_value(value) {
            errors.push(FieldError::invalid(format!("{at}.value"), value, why));
        }
        errors.extend(effect_fault(&format!("{at}.effect"), effect, false));
        let same = |t: &&Value| t["key"] == taint["key"] && t["effect"] == taint["effect"];
        if taints[..i].iter().any(|t| same(&t)) {
            let shown = format!(
                "{{\"Key\":{key:?},\"Value\":{value:?},\"Effect\":{effect:?},\"TimeAdded\":{}}}",
                taint.get("timeAdded").unwrap_or(&Value::Null)
            );
            let why = "taints must be unique by key and effect pair";
            errors.push(FieldError::duplicate_shown(at, shown, why));
        }
    }
    errors
}

/// What is wrong with a taint's or a toleration's effect.
pub(crate) fn effect_fault(at: &str, effect: &str, may_be_empty: bool) -> Option<FieldError> {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    match effect {
        "" if may_be_empty => None,
        "" => Some(FieldError::required(at, "")),
        known if EFFECTS.contains(&known) => None,
        other => Some(FieldError::not_supported(at, other, &EFFECTS)),
    }
}
