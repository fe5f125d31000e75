//! NodeName: a pod that names its node fits no other.

use crate::cluster::{NodeInfo, PodInfo};
use crate::scheduler::framework::plugin::{Filter, Plugin};
use crate::scheduler::framework::{CycleState, Events, Status};

/// See the module.
#[derive(Debug)]
pub struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl Filter for NodeName {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        match &pod.pod.node_name {
            Some(name) if **name != **node.name() => Err(Status::unresolvable(
                "node(s) didn't match the requested node name",
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::plugins::testing;

    #[test]
    fn only_the_named_node() {
        let pod = testing::pod(serde_json::json!({"nodeName":"a","containers":[]}));
        let state = CycleState::default();
        assert!(
            NodeName
                .filter(&state, &pod, &testing::sized("a", "1", "1", &[]))
                .is_ok()
        );
        let status = NodeName.filter(&state, &pod, &testing::sized("b", "1", "1", &[]));
        assert_eq!(
            status.unwrap_err().message(),
            "node(s) didn't match the requested node name"
        );
    }
}
