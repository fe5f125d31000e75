//! InterPodAffinity: pods that must, or must not, or would like to be beside others; both ways: what the
//! incoming pod wants of those there, and what those there want of it.
//!
//! Terms are compared with classes of pods, once each; per node only numbers are added.

mod filter;
mod namespaces;
mod score;

use crate::cluster::{Change, PodInfo};
use crate::model::pod_affinity::PodAffinityTerm;
use crate::scheduler::config::args::InterPodAffinityArgs;
use crate::scheduler::framework::Events;
use crate::scheduler::framework::plugin::{Filter, Hint, Plugin, PreFilter, PreScore, Score};

/// See the module.
#[derive(Debug, Default)]
pub struct InterPodAffinity {
    args: InterPodAffinityArgs,
}

impl InterPodAffinity {
    /// With the args of a profile.
    #[must_use]
    pub fn new(args: &InterPodAffinityArgs) -> Self {
        Self { args: args.clone() }
    }
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD
            | Events::NODE_LABEL
            | Events::POD_ASSIGNED
            | Events::POD_LABEL
            | Events::POD_GONE
            | Events::SELF_LABEL
    }
    fn hint(&self, _: Events, pod: &PodInfo, change: &Change) -> Hint {
        // The labels of namespaces are not at hand: a term that asks for them may mean any.
        let means = |term: &PodAffinityTerm, other: &PodInfo| {
            let there = term.namespaces.contains(&other.class.namespace)
                || term.namespace_selector.is_some();
            let selector = term.selector.as_ref();
            there && selector.is_some_and(|s| s.matches(&other.class.labels))
        };
        let own = &pod.class.affinity;
        let wanted = |other: &PodInfo| {
            !own.required.is_empty() && own.required.iter().all(|t| means(t, other))
        };
        let unwanted = |other: &PodInfo| own.anti_required.iter().any(|t| means(t, other));
        let repels = |other: &PodInfo| !other.class.affinity.anti_required.is_empty();
        Hint::queue_if(match change {
            Change::Assigned(other) => wanted(other),
            // The last of its kind lets the first of the next in.
            Change::AssignedGone(other) => unwanted(other) || repels(other) || wanted(other),
            Change::AssignedChanged { old, new } => {
                (!wanted(old) && wanted(new)) || (unwanted(old) && !unwanted(new))
            }
            Change::NodeAdded(node) | Change::NodeChanged { new: node, .. } => {
                let has = |t: &PodAffinityTerm| node.domains.get(t.topology_key).is_some();
                own.required.iter().all(has)
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
    fn as_pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;
