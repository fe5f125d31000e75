//! What the controller manager writes onto every node: the old names of two labels (`labelReconcileInfo` in
//! pkg/controller/nodelifecycle) and how long kubelets may keep secrets (pkg/controller/ttl).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

const TTL: &str = "node.alpha.kubernetes.io/ttl";

/// Labels and the older names that follow them.
const LABELS: [(&str, &str); 2] = [
    ("kubernetes.io/os", "beta.kubernetes.io/os"),
    ("kubernetes.io/arch", "beta.kubernetes.io/arch"),
];

/// Seconds by the number of nodes (`ttlBoundaries`).
fn ttl(nodes: usize) -> u32 {
    match nodes {
        0..=100 => 0,
        101..=500 => 15,
        501..=1000 => 30,
        1001..=2000 => 60,
        _ => 300,
    }
}

/// A merge patch with what the node lacks; `None` if it lacks nothing. The time to live is written once and
/// not again when the cluster grows.
pub(super) fn missing(node: &Node, nodes: usize) -> Option<Value> {
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let annotations = node.metadata.annotations.as_ref().unwrap_or(&none);
    let mut metadata = serde_json::Map::new();
    let old: BTreeMap<&str, &String> = LABELS
        .iter()
        .filter_map(|(new, old)| Some((*old, labels.get(*new)?)))
        .filter(|(old, value)| labels.get(*old) != Some(value))
        .collect();
    if !old.is_empty() {
        metadata.insert("labels".into(), json!(old));
    }
    if !annotations.contains_key(TTL) {
        metadata.insert("annotations".into(), json!({TTL: ttl(nodes).to_string()}));
    }
    (!metadata.is_empty()).then(|| json!({"metadata": metadata}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_gets_what_it_lacks_once() {
        let node = |metadata: Value| -> Node {
            serde_json::from_value(json!({"metadata": metadata})).unwrap()
        };
        let fresh = node(json!({"labels": {"kubernetes.io/os": "linux"}}));
        let patch = json!({"metadata": {
            "labels": {"beta.kubernetes.io/os": "linux"},
            "annotations": {TTL: "15"},
        }});
        assert_eq!(missing(&fresh, 200), Some(patch));
        let done = node(json!({
            "labels": {"kubernetes.io/os": "linux", "beta.kubernetes.io/os": "linux"},
            "annotations": {TTL: "0"},
        }));
        assert_eq!(missing(&done, 200), None);
    }
}
