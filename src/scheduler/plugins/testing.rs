//! Pods and nodes for tests, from JSON as the API spells them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cluster::{Cache, ClusterEvent, NodeInfo, PodInfo, Snapshot};
use crate::model::Node;

pub(crate) fn pod(spec: Value) -> PodInfo {
    let pod = json!({"metadata":{"namespace":"d","name":"p","uid":"u"},"spec":spec});
    let info = PodInfo::from_api(&serde_json::from_value(pod).unwrap()).unwrap();
    assert_eq!(info.problem, None);
    info
}

pub(crate) fn node(json: Value) -> NodeInfo {
    let node = Node::from_api(&serde_json::from_value(json).unwrap()).unwrap();
    NodeInfo::new(Arc::new(node), [])
}

/// A node of this much, with what is on it.
pub(crate) fn sized(name: &str, cpu: &str, memory: &str, on_it: &[PodInfo]) -> NodeInfo {
    let mut info = node(json!({"metadata":{"name":name},
        "status":{"allocatable":{"cpu":cpu,"memory":memory,"pods":"10"}}}));
    for pod in on_it {
        info.add(Arc::new(pod.clone()));
    }
    info
}

pub(crate) fn asking(cpu: &str, memory: &str) -> PodInfo {
    pod(json!({"containers":[{"name":"c","resources":{"requests":{"cpu":cpu,"memory":memory}}}]}))
}

pub(crate) fn snapshot(nodes: &[Value]) -> Arc<Snapshot> {
    let cache = Cache::new();
    for node in nodes {
        let node = serde_json::from_value(node.clone()).unwrap();
        cache.apply(ClusterEvent::Node(Arc::new(node)));
    }
    cache.snapshot()
}
