//! NodeResourcesFit: what the pod asks for must be free; and nodes are ranked by how full they would be.

use std::sync::Arc;

use super::utilisation::Curve;
use crate::cluster::{Change, NodeInfo, PodInfo, Snapshot};
use crate::model::resources::is_extended;
use crate::model::{Node, Resources};
use crate::scheduler::config::args::{NodeResourcesFitArgs, ResourceSpec};
use crate::scheduler::framework::plugin::{Filter, Hint, Plugin, Score};
use crate::scheduler::framework::{Code, CycleState, Events, Status};

/// See the module.
#[derive(Debug)]
pub struct NodeResourcesFit {
    args: NodeResourcesFitArgs,
    curve: Curve,
}

impl Default for NodeResourcesFit {
    fn default() -> Self {
        Self::new(&NodeResourcesFitArgs::default())
    }
}

impl NodeResourcesFit {
    /// With the args of a profile.
    #[must_use]
    pub fn new(args: &NodeResourcesFitArgs) -> Self {
        Self {
            curve: Curve::new(&args.scoring_strategy),
            args: args.clone(),
        }
    }

    /// Whether the profile has the filter look away from this extended resource.
    fn ignores(&self, name: &str) -> bool {
        let args = &self.args;
        let group = name.split_once('/').map_or(name, |(group, _)| group);
        (args.ignored_resources.iter().any(|i| i == name)
            || args.ignored_resource_groups.iter().any(|i| i == group))
            && is_extended(name)
    }
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD
            | Events::NODE_ALLOCATABLE
            | Events::POD_GONE
            | Events::POD_SCALE_DOWN
            | Events::SELF_SCALE_DOWN
    }
    fn hint(&self, _: Events, pod: &PodInfo, change: &Change) -> Hint {
        Hint::queue_if(match change {
            Change::NodeAdded(node) => self.would_fit(pod, node),
            Change::NodeChanged { old, new } => {
                self.would_fit(pod, new) && offers_more(&pod.spec.requests.total, old, new)
            }
            Change::Pending { new, .. } => new.uid() == pod.uid(),
            Change::AssignedChanged { old, new } => {
                let (wanted, old, new) = (
                    &pod.spec.requests.total,
                    &old.spec.requests.total,
                    &new.spec.requests.total,
                );
                more_of_what_is_wanted(wanted, new, old)
            }
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

impl NodeResourcesFit {
    /// Whether the pod would fit on the node if nothing else were there.
    fn would_fit(&self, pod: &PodInfo, node: &Arc<Node>) -> bool {
        let empty = NodeInfo::new(Arc::clone(node), []);
        self.filter(&CycleState::default(), pod, &empty).is_ok()
    }
}

/// Whether the node has come to offer more pods, or more of something that is wanted.
fn offers_more(wanted: &Resources, old: &Node, new: &Node) -> bool {
    let (old, new) = (&old.allocatable, &new.allocatable);
    new.pods > old.pods || more_of_what_is_wanted(wanted, old, new)
}

/// Whether `new` has more than `old` of something that is wanted.
fn more_of_what_is_wanted(wanted: &Resources, old: &Resources, new: &Resources) -> bool {
    (wanted.milli_cpu > 0 && new.milli_cpu > old.milli_cpu)
        || (wanted.memory > 0 && new.memory > old.memory)
        || (wanted.ephemeral_storage > 0 && new.ephemeral_storage > old.ephemeral_storage)
        || wanted
            .scalars
            .iter()
            .any(|(name, amount)| *amount > 0 && new.scalar(name) > old.scalar(name))
}

impl Filter for NodeResourcesFit {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        let wanted = &pod.spec.requests.total;
        let (used, all) = (&node.requested, &node.node.allocatable);
        let mut status = Status {
            code: Code::Unschedulable,
            ..Status::skip()
        };
        let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
        if pods.saturating_add(1) > all.pods {
            status.reasons.push("Too many pods".into());
        }
        let mut check =
            |reason: &dyn Fn() -> std::borrow::Cow<'static, str>, want, used: i64, all| {
                if want > 0 && want > i64::saturating_sub(all, used) {
                    status.reasons.push(reason());
                    if want > all {
                        status.code = Code::UnschedulableAndUnresolvable;
                    }
                }
            };
        check(
            &|| "Insufficient cpu".into(),
            wanted.milli_cpu,
            used.milli_cpu,
            all.milli_cpu,
        );
        check(
            &|| "Insufficient memory".into(),
            wanted.memory,
            used.memory,
            all.memory,
        );
        check(
            &|| "Insufficient ephemeral-storage".into(),
            wanted.ephemeral_storage,
            used.ephemeral_storage,
            all.ephemeral_storage,
        );
        for (name, amount) in &wanted.scalars {
            if self.ignores(name) {
                continue;
            }
            let reason = || format!("Insufficient {name}").into();
            check(&reason, *amount, used.scalar(name), all.scalar(name));
        }
        if status.reasons.is_empty() {
            Ok(())
        } else {
            Err(status)
        }
    }
}

impl Score for NodeResourcesFit {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo, _: &Snapshot) -> i64 {
        let wanted = &pod.spec.requests.scoring;
        let (mut sum, mut weights) = (0, 0);
        for ResourceSpec { name, weight } in &self.args.scoring_strategy.resources {
            let native = matches!(name.as_str(), "cpu" | "memory");
            let used = if native {
                &node.non_zero
            } else {
                &node.requested
            };
            let all = node.node.allocatable.get(name);
            let want = wanted.get(name);
            let scalar = !native && name != "ephemeral-storage";
            if all == 0 || (scalar && want == 0) {
                continue;
            }
            let requested = used.get(name).saturating_add(want);
            let score = self.curve.score(requested, all);
            // What scores nothing is left out of the average by this strategy alone.
            if score > 0 || !matches!(self.curve, Curve::Points(_)) {
                sum += score * weight;
                weights += weight;
            }
        }
        match &self.curve {
            _ if weights == 0 => 0,
            Curve::Points(_) => (sum as f64 / weights as f64).round() as i64,
            _ => sum / weights,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scheduler::plugins::testing::{asking, node, pod, sized};

    fn filter(pod: &PodInfo, node: &NodeInfo) -> Result<(), (Code, Vec<String>)> {
        NodeResourcesFit::default()
            .filter(&CycleState::default(), pod, node)
            .map_err(|s| (s.code, s.reasons.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn says_what_is_missing() {
        let full = sized("n", "4", "8Gi", &[asking("3", "1Gi")]);
        assert_eq!(filter(&asking("1", "7Gi"), &full), Ok(()));
        let reasons = |list: &[&str]| list.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            filter(&asking("1001m", "1"), &full),
            Err((Code::Unschedulable, reasons(&["Insufficient cpu"])))
        );
        assert_eq!(
            filter(&asking("2", "8Gi"), &full),
            Err((
                Code::Unschedulable,
                reasons(&["Insufficient cpu", "Insufficient memory"])
            ))
        );
        assert_eq!(
            filter(&asking("5", "1"), &full),
            Err((
                Code::UnschedulableAndUnresolvable,
                reasons(&["Insufficient cpu"])
            ))
        );
        let gpu =
            pod(json!({"containers":[{"name":"c","resources":{"requests":{"a.io/gpu":"1"}}}]}));
        assert_eq!(
            filter(&gpu, &full),
            Err((
                Code::UnschedulableAndUnresolvable,
                reasons(&["Insufficient a.io/gpu"])
            ))
        );
    }

    #[test]
    fn a_pod_without_requests_needs_only_a_place() {
        let nothing = pod(json!({"containers":[{"name":"c"}]}));
        let overfull = sized("n", "1", "1", &[asking("4", "4Gi")]);
        assert_eq!(filter(&nothing, &overfull), Ok(()));
        let no_place = node(json!({"metadata":{"name":"n"},"status":{"allocatable":{"pods":"0"}}}));
        let expected = (Code::Unschedulable, vec!["Too many pods".to_owned()]);
        assert_eq!(filter(&nothing, &no_place), Err(expected));
    }

    #[test]
    fn least_allocated() {
        let score = |pod: &PodInfo, node: &NodeInfo| {
            let plugin = NodeResourcesFit::default();
            plugin.score(&CycleState::default(), pod, node, &Snapshot::default())
        };
        // cpu (4000-3000)*100/4000 = 25, memory (10000-5000)*100/10000 = 50
        assert_eq!(
            score(&asking("3", "5000"), &sized("n", "4", "10000", &[])),
            37
        );
        // cpu: more than there is = 0; memory (10000-10000) = 0
        assert_eq!(
            score(&asking("5", "10000"), &sized("n", "4", "10000", &[])),
            0
        );
        // defaults of a pod without requests: 100m of 1 cpu, 200Mi of 400Mi
        let nothing = pod(json!({"containers":[{"name":"c"}]}));
        assert_eq!(score(&nothing, &sized("n", "1", "400Mi", &[])), 70);
        // and of those there already
        assert_eq!(
            score(
                &nothing,
                &sized("n", "1", "400Mi", std::slice::from_ref(&nothing))
            ),
            40
        );
        assert_eq!(score(&nothing, &node(json!({"metadata":{"name":"n"}}))), 0);
    }
}
