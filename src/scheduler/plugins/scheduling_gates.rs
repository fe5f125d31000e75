//! SchedulingGates: a pod with gates is not queued.

use crate::cluster::{Change, PodInfo};
use crate::scheduler::framework::plugin::{Hint, Plugin, PreEnqueue};
use crate::scheduler::framework::{Events, Status};

/// See the module.
#[derive(Debug)]
pub struct SchedulingGates;

impl Plugin for SchedulingGates {
    fn name(&self) -> &'static str {
        "SchedulingGates"
    }
    fn events(&self) -> Events {
        Events::SELF_GATES
    }
    fn hint(&self, _: Events, pod: &PodInfo, change: &Change) -> Hint {
        let own = matches!(change, Change::Pending { new, .. } if new.uid() == pod.uid());
        Hint::queue_if(own)
    }
    fn as_pre_enqueue(&self) -> Option<&dyn PreEnqueue> {
        Some(self)
    }
}

impl PreEnqueue for SchedulingGates {
    fn pre_enqueue(&self, pod: &PodInfo) -> Result<(), Status> {
        if pod.spec.gates.is_empty() {
            return Ok(());
        }
        let gates = pod.spec.gates.join(" ");
        Err(Status::unresolvable(format!(
            "waiting for scheduling gates: [{gates}]"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::plugins::testing;

    #[test]
    fn names_the_gates() {
        let gated = testing::pod(serde_json::json!({"containers":[],
            "schedulingGates":[{"name":"a"},{"name":"b"}]}));
        let status = SchedulingGates.pre_enqueue(&gated).unwrap_err();
        assert_eq!(status.message(), "waiting for scheduling gates: [a b]");
        assert!(
            SchedulingGates
                .pre_enqueue(&testing::asking("1", "1"))
                .is_ok()
        );
    }
}
