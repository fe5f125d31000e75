//! NodeResourcesBalancedAllocation: prefers nodes whose shares of cpu and memory the pod makes more equal
//! (the formula of v1.36, kubernetes/kubernetes#135573).

use std::sync::Arc;

use crate::cluster::{NodeInfo, PodInfo, Snapshot};
use crate::model::Resources;
use crate::scheduler::framework::plugin::{MAX_SCORE, Plugin, PreScore, Score};
use crate::scheduler::framework::{CycleState, Status};

/// See the module.
#[derive(Debug)]
pub struct NodeResourcesBalancedAllocation {
    /// Resources compared.
    pub resources: Vec<String>,
}

impl Default for NodeResourcesBalancedAllocation {
    fn default() -> Self {
        Self {
            resources: vec!["cpu".into(), "memory".into()],
        }
    }
}

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }
    fn as_pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl PreScore for NodeResourcesBalancedAllocation {
    fn pre_score(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &[Arc<NodeInfo>],
        _: &Snapshot,
    ) -> Result<(), Status> {
        if self
            .resources
            .iter()
            .all(|name| pod.spec.requests.total.get(name) == 0)
        {
            return Err(Status::skip());
        }
        Ok(())
    }
}

impl Score for NodeResourcesBalancedAllocation {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo, _: &Snapshot) -> i64 {
        let with = self.balance(pod, node, true);
        let without = self.balance(pod, node, false);
        let half = MAX_SCORE / 2;
        half + (half + with - without) / 2
    }
}

impl NodeResourcesBalancedAllocation {
    /// 100 when all shares are equal, less the further they are apart.
    fn balance(&self, pod: &PodInfo, node: &NodeInfo, with_pod: bool) -> i64 {
        let wanted: &Resources = &pod.spec.requests.total;
        let shares: smallvec::SmallVec<[f64; 4]> = self
            .resources
            .iter()
            .filter_map(|name| {
                let all = node.node.allocatable.get(name);
                let native = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
                if all == 0 || (!native && wanted.get(name) == 0) {
                    return None;
                }
                let pod_part = if with_pod { wanted.get(name) } else { 0 };
                let used = node.requested.get(name).saturating_add(pod_part);
                Some((used as f64 / all as f64).min(1.0))
            })
            .collect();
        let deviation = match shares.as_slice() {
            [] | [_] => 0.0,
            [a, b] => ((a - b) / 2.0).abs(),
            more => {
                let mean = more.iter().sum::<f64>() / more.len() as f64;
                let squares = more.iter().map(|f| (f - mean) * (f - mean)).sum::<f64>();
                (squares / more.len() as f64).sqrt()
            }
        };
        ((1.0 - deviation) * MAX_SCORE as f64) as i64
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scheduler::framework::Code;
    use crate::scheduler::plugins::testing::{asking, pod, sized};

    fn score(pod: &PodInfo, node: &NodeInfo) -> i64 {
        NodeResourcesBalancedAllocation::default().score(
            &CycleState::default(),
            pod,
            node,
            &Snapshot::default(),
        )
    }

    #[test]
    fn neutral_better_and_worse() {
        // equal shares before and after
        assert_eq!(
            score(&asking("1", "1000"), &sized("n", "4", "4000", &[])),
            75
        );
        // before: 0.5 and 0 apart = 75; after: equal = 100 -> 50 + (50+25)/2
        let lopsided = sized("n", "4", "4000", &[asking("2", "0")]);
        assert_eq!(score(&asking("0", "2000"), &lopsided), 87);
        // before: equal = 100; after: 0.5 and 0 = 75 -> 50 + (50-25)/2
        assert_eq!(score(&asking("2", "0"), &sized("n", "4", "4000", &[])), 62);
    }

    #[test]
    fn skips_a_pod_that_asks_for_nothing() {
        let nothing = pod(json!({"containers":[{"name":"c"}]}));
        let plugin = NodeResourcesBalancedAllocation::default();
        let skipped = plugin.pre_score(
            &mut CycleState::default(),
            &nothing,
            &[],
            &Snapshot::default(),
        );
        assert_eq!(skipped.unwrap_err().code, Code::Skip);
        assert!(
            plugin
                .pre_score(
                    &mut CycleState::default(),
                    &asking("1", "0"),
                    &[],
                    &Snapshot::default()
                )
                .is_ok()
        );
    }
}
