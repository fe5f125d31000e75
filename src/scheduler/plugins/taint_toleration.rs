//! TaintToleration: keeps off nodes with taints not tolerated, and prefers those with fewer soft ones.

use super::default_normalize;
use crate::cluster::{Change, NodeInfo, PodInfo, Snapshot};
use crate::model::Node;
use crate::model::taint::{Effect, Taint};
use crate::scheduler::framework::plugin::{Filter, Hint, Plugin, Score};
use crate::scheduler::framework::{CycleState, Events, Status};

/// See the module.
#[derive(Debug)]
pub struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD | Events::NODE_TAINT | Events::SELF_TOLERATION
    }
    fn hint(&self, _: Events, pod: &PodInfo, change: &Change) -> Hint {
        Hint::queue_if(match change {
            Change::NodeAdded(node) => !repels(node, pod),
            Change::NodeChanged { old, new } => repels(old, pod) && !repels(new, pod),
            Change::Pending { new, .. } => new.uid() == pod.uid(),
            _ => true,
        })
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

/// Whether the node has a taint that keeps the pod away.
fn repels(node: &Node, pod: &PodInfo) -> bool {
    let tolerated = |taint: &Taint| pod.spec.tolerations.iter().any(|t| t.tolerates(taint));
    node.taints
        .iter()
        .any(|t| t.effect.repels() && !tolerated(t))
}

impl Filter for TaintToleration {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        if repels(&node.node, pod) {
            return Err(Status::unresolvable("node(s) had untolerated taint(s)"));
        }
        Ok(())
    }
}

impl Score for TaintToleration {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo, _: &Snapshot) -> i64 {
        // A toleration of that taint with another effect does not tolerate it: no need to filter them.
        let tolerated = |taint: &Taint| pod.spec.tolerations.iter().any(|t| t.tolerates(taint));
        let soft = node
            .node
            .taints
            .iter()
            .filter(|t| t.effect == Effect::PreferNoSchedule);
        i64::try_from(soft.filter(|t| !tolerated(t)).count()).unwrap_or(i64::MAX)
    }

    fn normalize(&self, _: &CycleState, _: &PodInfo, scores: &mut [i64]) {
        default_normalize(scores, true);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scheduler::plugins::testing;

    fn tainted(effects: &[&str]) -> NodeInfo {
        let taints: Vec<_> = effects
            .iter()
            .enumerate()
            .map(|(i, e)| json!({"key":format!("k{i}"),"value":"v","effect":e}))
            .collect();
        testing::node(json!({"metadata":{"name":"n"},"spec":{"taints":taints}}))
    }

    #[test]
    fn filters_hard_taints_alone() {
        let state = CycleState::default();
        let plain = testing::asking("1", "1");
        let tolerant =
            testing::pod(json!({"containers":[],"tolerations":[{"key":"k0","value":"v"}]}));
        let text = "node(s) had untolerated taint(s)";
        for (effects, pod, rejected) in [
            (&["NoSchedule"][..], &plain, true),
            (&["NoExecute"], &plain, true),
            (&["PreferNoSchedule"], &plain, false),
            (&["NoSchedule"], &tolerant, false),
            (&["NoSchedule", "NoExecute"], &tolerant, true),
        ] {
            let got = TaintToleration.filter(&state, pod, &tainted(effects)).err();
            assert_eq!(
                got,
                rejected.then(|| Status::unresolvable(text)),
                "{effects:?}"
            );
        }
    }

    #[test]
    fn scores_fewer_soft_taints_higher() {
        let (state, snapshot) = (CycleState::default(), Snapshot::default());
        let pod =
            testing::pod(json!({"containers":[],"tolerations":[{"key":"k0","operator":"Exists"}]}));
        let soft = "PreferNoSchedule";
        let nodes = [
            tainted(&[]),
            tainted(&[soft]),
            tainted(&[soft, soft]),
            tainted(&[soft; 3]),
        ];
        let mut scores = nodes.map(|n| TaintToleration.score(&state, &pod, &n, &snapshot));
        assert_eq!(scores, [0, 0, 1, 2]);
        TaintToleration.normalize(&state, &pod, &mut scores);
        assert_eq!(scores, [100, 100, 50, 0]);
    }
}
