//! Whether a node suits a pod's node selector and required node affinity
//! (component-helpers/scheduling/corev1/nodeaffinity). Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// Whether a node with this name and these labels suits.
#[must_use]
pub fn suits(spec: &PodSpec, node: &str, labels: &BTreeMap<String, String>) -> bool {
    let selected = spec.node_selector.iter().flatten();
    if selected
        .into_iter()
        .any(|(key, value)| labels.get(key) != Some(value))
    {
        return false;
    }
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| {
            affinity
                .required_during_scheduling_ignored_during_execution
                .as_ref()
        });
    required.is_none_or(|required| {
        required
            .node_selector_terms
            .iter()
            .any(|term| term_matches(term, node, labels))
    })
}

fn term_matches(term: &NodeSelectorTerm, node: &str, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    // A term that asks for nothing selects nothing.
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions
        .iter()
        .all(|wanted| matches(wanted, labels.get(&wanted.key).map(String::as_str)))
        && fields
            .iter()
            .all(|wanted| matches(wanted, (wanted.key == "metadata.name").then_some(node)))
}

fn matches(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let is_in = || value.is_some_and(|value| values.iter().any(|wanted| wanted == value));
    let compared = |holds: fn(i64, i64) -> bool| {
        let value = value.and_then(|value| value.parse::<i64>().ok());
        let limit = values.first().and_then(|limit| limit.parse::<i64>().ok());
        value
            .zip(limit)
            .is_some_and(|(value, limit)| holds(value, limit))
    };
    match wanted.operator.as_str() {
        "In" => is_in(),
        "NotIn" => !is_in(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(|value, limit| value > limit),
        "Lt" => compared(|value, limit| value < limit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn suits_with(affinity: Value, labels: Value) -> bool {
        let spec: PodSpec = serde_json::from_value(json!({"containers": [], "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": affinity}}}}))
        .unwrap();
        suits(&spec, "n1", &serde_json::from_value(labels).unwrap())
    }

    #[test]
    fn terms_are_alternatives_and_their_parts_are_not() {
        let term = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let zone = term("zone", "In", json!(["a", "b"]));
        assert!(suits_with(json!([zone]), json!({"zone": "b"})));
        assert!(!suits_with(json!([zone]), json!({"zone": "c"})));
        let many = term("cpus", "Gt", json!(["4"]));
        assert!(suits_with(json!([zone, many]), json!({"cpus": "8"})));
        assert!(!suits_with(json!([many]), json!({"cpus": "4"})));
        assert!(!suits_with(json!([many]), json!({"cpus": "x"})));
        assert!(suits_with(
            json!([term("zone", "NotIn", json!(["a"]))]),
            json!({})
        ));
        assert!(!suits_with(json!([{}]), json!({})));
        let name = json!({"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["n1"]}]});
        assert!(suits_with(json!([name]), json!({})));
    }

    #[test]
    fn the_plain_selector_must_match_in_full() {
        let spec: PodSpec =
            serde_json::from_value(json!({"containers": [], "nodeSelector": {"a": "1", "b": "2"}}))
                .unwrap();
        let labels = |value: Value| serde_json::from_value(value).unwrap();
        assert!(suits(
            &spec,
            "n",
            &labels(json!({"a": "1", "b": "2", "c": "3"}))
        ));
        assert!(!suits(&spec, "n", &labels(json!({"a": "1"}))));
    }
}
