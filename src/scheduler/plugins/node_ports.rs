//! NodePorts: a host port is taken once per node, address and protocol.

use crate::cluster::{Change, NodeInfo, PodInfo, Snapshot};
use crate::scheduler::framework::plugin::{Filter, Hint, NodeNames, Plugin, PreFilter};
use crate::scheduler::framework::{CycleState, Events, Status};

/// See the module.
#[derive(Debug)]
pub struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD | Events::POD_GONE
    }
    fn hint(&self, _: Events, pod: &PodInfo, change: &Change) -> Hint {
        Hint::queue_if(match change {
            Change::AssignedGone(gone) => {
                let freed = |port| gone.spec.host_ports.iter().any(|p| p.conflicts(port));
                pod.spec.host_ports.iter().any(freed)
            }
            _ => true,
        })
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl PreFilter for NodePorts {
    fn pre_filter(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
    ) -> Result<NodeNames, Status> {
        if pod.spec.host_ports.is_empty() {
            Err(Status::skip())
        } else {
            Ok(None)
        }
    }
}

impl Filter for NodePorts {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        if pod
            .spec
            .host_ports
            .iter()
            .any(|p| node.ports.iter().any(|used| used.conflicts(p)))
        {
            let reason = "node(s) didn't have free ports for the requested pod ports";
            return Err(Status::unschedulable(reason));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scheduler::plugins::testing;

    #[test]
    fn a_port_is_taken_once() {
        let with = |port: i32| {
            testing::pod(json!({"containers":[{"name":"c","ports":[
                {"containerPort":port,"hostPort":port}]}]}))
        };
        let state = CycleState::default();
        let node = testing::sized("n", "1", "1", &[with(80)]);
        assert!(NodePorts.filter(&state, &with(81), &node).is_ok());
        let status = NodePorts.filter(&state, &with(80), &node).unwrap_err();
        let text = "node(s) didn't have free ports for the requested pod ports";
        assert_eq!(status, Status::unschedulable(text));
    }
}
