//! NodeAffinity: node selectors, required and preferred node affinity.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;

use super::default_normalize;
use crate::cluster::{Change, NodeInfo, PodInfo, Snapshot};
use crate::model::Node;
use crate::model::affinity as model;
use crate::model::resources::intern;
use crate::scheduler::config::args::NodeAffinityArgs;
use crate::scheduler::framework::plugin::{
    Filter, Hint, NodeNames, Plugin, PreFilter, PreScore, Score,
};
use crate::scheduler::framework::{CycleState, Events, Status};

/// See the module.
#[derive(Debug, Default)]
pub struct NodeAffinity {
    /// What the profile demands besides the pod.
    added: Option<model::NodeAffinity>,
}

impl NodeAffinity {
    /// With the args of a profile. An added affinity that makes no sense is left out (reading the file has
    /// refused it).
    #[must_use]
    pub fn new(args: &NodeAffinityArgs) -> Self {
        let added = args.added_affinity.clone().and_then(|affinity| {
            let spec = api::PodSpec {
                affinity: Some(api::Affinity {
                    node_affinity: Some(affinity),
                    ..api::Affinity::default()
                }),
                ..api::PodSpec::default()
            };
            model::NodeAffinity::from_api(&spec, &|| "addedAffinity".to_owned()).ok()
        });
        Self { added }
    }

    fn demands(&self) -> Option<&model::NodeAffinity> {
        self.added.as_ref().filter(|a| a.required.is_some())
    }

    fn prefers(&self) -> Option<&model::NodeAffinity> {
        self.added.as_ref().filter(|a| a.prefers)
    }
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD | Events::NODE_LABEL
    }
    fn hint(&self, _: Events, pod: &PodInfo, change: &Change) -> Hint {
        let wanted = |node: &Node| pod.spec.node_affinity.matches(&node.name, &node.labels);
        Hint::queue_if(match change {
            Change::NodeAdded(node) => wanted(node),
            Change::NodeChanged { old, new } => !wanted(old) && wanted(new),
            _ => true,
        })
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl PreFilter for NodeAffinity {
    fn pre_filter(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
    ) -> Result<NodeNames, Status> {
        let affinity = &pod.spec.node_affinity;
        if !affinity.requires_something() && self.demands().is_none() {
            return Err(Status::skip());
        }
        // Only when every term names its nodes is the search narrowed.
        let mut all = BTreeSet::new();
        for term in affinity.required.iter().flatten() {
            match term.names() {
                None => return Ok(None),
                Some(names) => all.extend(names.into_iter().map(intern)),
            }
        }
        if affinity.required.as_ref().is_none_or(Vec::is_empty) {
            return Ok(None);
        }
        if all.is_empty() {
            return Err(Status::unresolvable("pod affinity terms conflict"));
        }
        Ok(Some(all))
    }
}

impl Filter for NodeAffinity {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        if let Some(added) = self.demands()
            && !added.matches(node.name(), &node.node.labels)
        {
            return Err(Status::unresolvable(
                "node(s) didn't match scheduler-enforced node affinity",
            ));
        }
        if pod
            .spec
            .node_affinity
            .matches(node.name(), &node.node.labels)
        {
            return Ok(());
        }
        Err(Status::unresolvable(
            "node(s) didn't match Pod's node affinity/selector",
        ))
    }
}

impl PreScore for NodeAffinity {
    fn pre_score(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &[Arc<NodeInfo>],
        _: &Snapshot,
    ) -> Result<(), Status> {
        if !pod.spec.node_affinity.prefers && self.prefers().is_none() {
            return Err(Status::skip());
        }
        Ok(())
    }
}

impl Score for NodeAffinity {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo, _: &Snapshot) -> i64 {
        let added = self.prefers();
        let added = added.map_or(0, |a| a.preference(node.name(), &node.node.labels));
        let own = &pod.spec.node_affinity;
        added + own.preference(node.name(), &node.node.labels)
    }

    fn normalize(&self, _: &CycleState, _: &PodInfo, scores: &mut [i64]) {
        default_normalize(scores, false);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::scheduler::framework::Code;
    use crate::scheduler::plugins::testing;

    fn requiring(terms: Value) -> PodInfo {
        testing::pod(json!({"containers":[],"affinity":{"nodeAffinity":{
            "requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":terms}}}}))
    }

    fn named(names: &[&str]) -> Value {
        let one = |n: &&str| json!({"key":"metadata.name","operator":"In","values":[n]});
        json!({"matchFields": names.iter().map(one).collect::<Vec<_>>()})
    }

    #[test]
    fn narrows_when_every_term_names_nodes() {
        let narrow = |pod: &PodInfo| {
            NodeAffinity::default().pre_filter(
                &mut CycleState::default(),
                pod,
                &Snapshot::default(),
            )
        };
        let names = |list: &[&str]| Some(list.iter().map(|n| intern(n)).collect());
        assert_eq!(
            narrow(&requiring(json!([named(&["a"]), named(&["b"])]))),
            Ok(names(&["a", "b"]))
        );
        let zone = json!({"matchExpressions":[{"key":"z","operator":"Exists"}]});
        assert_eq!(narrow(&requiring(json!([named(&["a"]), zone]))), Ok(None));
        let conflict = narrow(&requiring(json!([named(&["a", "b"])])));
        assert_eq!(
            conflict,
            Err(Status::unresolvable("pod affinity terms conflict"))
        );
        assert_eq!(
            narrow(&testing::asking("1", "1")).unwrap_err().code,
            Code::Skip
        );
    }

    #[test]
    fn filters_and_scores() {
        let state = CycleState::default();
        let node = |zone: &str| testing::node(json!({"metadata":{"name":"n","labels":{"z":zone}}}));
        let pod = testing::pod(json!({"containers":[],"nodeSelector":{"z":"a"}}));
        assert!(
            NodeAffinity::default()
                .filter(&state, &pod, &node("a"))
                .is_ok()
        );
        assert_eq!(
            NodeAffinity::default().filter(&state, &pod, &node("b")),
            Err(Status::unresolvable(
                "node(s) didn't match Pod's node affinity/selector"
            ))
        );
        let mut scores = [5, 0, 10];
        NodeAffinity::default().normalize(&state, &pod, &mut scores);
        assert_eq!(scores, [50, 0, 100]);
    }
}
