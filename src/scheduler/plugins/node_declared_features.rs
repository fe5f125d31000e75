//! NodeDeclaredFeatures: what a pod needs of the kubelet, the node must declare.

use crate::cluster::{NodeInfo, PodInfo, Snapshot};
use crate::scheduler::framework::plugin::{Filter, NodeNames, Plugin, PreFilter};
use crate::scheduler::framework::{CycleState, Events, Status};

/// See the module.
#[derive(Debug)]
pub struct NodeDeclaredFeatures;

impl Plugin for NodeDeclaredFeatures {
    fn name(&self) -> &'static str {
        "NodeDeclaredFeatures"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD | Events::NODE_FEATURES | Events::SELF_CHANGED
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl PreFilter for NodeDeclaredFeatures {
    fn pre_filter(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
    ) -> Result<NodeNames, Status> {
        if pod.spec.needed_features.is_empty() {
            return Err(Status::skip());
        }
        Ok(None)
    }
}

impl Filter for NodeDeclaredFeatures {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        let declares = |feature: &&str| {
            let features = &node.node.features;
            features
                .binary_search_by(|f| f.as_str().cmp(feature))
                .is_ok()
        };
        if pod.spec.needed_features.iter().all(declares) {
            return Ok(());
        }
        Err(Status::unresolvable(
            "node(s) didn't match Pod's required features",
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scheduler::plugins::testing;

    #[test]
    fn the_node_must_declare_what_is_needed() {
        let node = |features: serde_json::Value| {
            testing::node(json!({"metadata":{"name":"n"},"status":{"declaredFeatures":features}}))
        };
        let pod = testing::pod(json!({"containers":[],"hostNetwork":true,"hostUsers":false}));
        let fits = |features| {
            NodeDeclaredFeatures
                .filter(&CycleState::default(), &pod, &node(features))
                .is_ok()
        };
        assert!(fits(json!(["Z", "UserNamespacesHostNetworkSupport"])));
        assert!(!fits(json!(["Z"])));
        let plain = testing::asking("1", "1");
        let snapshot = Snapshot::default();
        let skips = NodeDeclaredFeatures.pre_filter(&mut CycleState::default(), &plain, &snapshot);
        assert!(skips.is_err());
    }
}
