//! NodeUnschedulable: cordoned nodes take only pods that tolerate it.

use crate::cluster::{Change, NodeInfo, PodInfo};
use crate::model::taint::{Effect, Taint};
use crate::scheduler::framework::plugin::{Filter, Hint, Plugin};
use crate::scheduler::framework::{CycleState, Events, Status};

/// See the module.
#[derive(Debug)]
pub struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD | Events::NODE_TAINT | Events::SELF_TOLERATION
    }
    fn hint(&self, _: Events, pod: &PodInfo, change: &Change) -> Hint {
        Hint::queue_if(match change {
            Change::NodeAdded(node) => !node.unschedulable,
            Change::NodeChanged { old, new } => old.unschedulable && !new.unschedulable,
            Change::Pending { new, .. } => new.uid() == pod.uid() && tolerates(new),
            _ => true,
        })
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

/// Whether the pod may be on cordoned nodes.
fn tolerates(pod: &PodInfo) -> bool {
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        value: String::new(),
        effect: Effect::NoSchedule,
    };
    pod.spec.tolerations.iter().any(|t| t.tolerates(&cordon))
}

impl Filter for NodeUnschedulable {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        if !node.node.unschedulable {
            return Ok(());
        }
        if tolerates(pod) {
            return Ok(());
        }
        Err(Status::unresolvable("node(s) were unschedulable"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scheduler::plugins::testing;

    #[test]
    fn a_cordon_keeps_out_who_does_not_tolerate_it() {
        let state = CycleState::default();
        let cordoned =
            testing::node(json!({"metadata":{"name":"n"},"spec":{"unschedulable":true}}));
        let plain = testing::asking("1", "1");
        let status = NodeUnschedulable
            .filter(&state, &plain, &cordoned)
            .unwrap_err();
        assert_eq!(status, Status::unresolvable("node(s) were unschedulable"));
        let tolerant = testing::pod(json!({"containers":[],"tolerations":[
            {"key":"node.kubernetes.io/unschedulable","operator":"Exists"}]}));
        assert!(
            NodeUnschedulable
                .filter(&state, &tolerant, &cordoned)
                .is_ok()
        );
        assert!(
            NodeUnschedulable
                .filter(&state, &plain, &testing::sized("n", "1", "1", &[]))
                .is_ok()
        );
    }
}
