//! PodTopologySpread: pods of a kind are spread evenly over the domains of a label: by force
//! (`DoNotSchedule`) or by preference (`ScheduleAnyway`, and kube-scheduler's default for pods that a
//! Service, ReplicaSet, StatefulSet or ReplicationController selects).

mod constraints;
mod filter;
mod log;
mod score;

use std::sync::Arc;

use crate::cluster::{Change, PodInfo};
use crate::model::Node;
use crate::model::selector::Labels;
use crate::model::spread::SpreadConstraint;
use crate::scheduler::config::args::{Defaulting, PodTopologySpreadArgs};
use crate::scheduler::framework::Events;
use crate::scheduler::framework::plugin::{Filter, Hint, Plugin, PreFilter, PreScore, Score};

/// See the module.
#[derive(Debug)]
pub struct PodTopologySpread {
    /// For pods without constraints of their own; their selectors are found per pod.
    defaults: Arc<[SpreadConstraint]>,
    /// Whether those are kube-scheduler's own: a node without the label may then be scored.
    system_defaults: bool,
}

impl PodTopologySpread {
    /// With the args of a profile. A default constraint that makes no sense is left out (reading the file
    /// has refused it).
    #[must_use]
    pub fn new(args: &PodTopologySpreadArgs) -> Self {
        let system_defaults = args.defaulting_type == Defaulting::System;
        let defaults = if system_defaults {
            constraints::system_defaults()
        } else {
            let listed = args.default_constraints.iter();
            let read = listed.map(|c| SpreadConstraint::from_api(c, &Labels::default()));
            read.filter_map(Result::ok).collect()
        };
        Self {
            defaults: defaults.into(),
            system_defaults,
        }
    }
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD
            | Events::NODE_DELETE
            | Events::NODE_LABEL
            | Events::NODE_TAINT
            | Events::POD_ASSIGNED
            | Events::POD_LABEL
            | Events::POD_GONE
            | Events::SELF_LABEL
            | Events::SELF_TOLERATION
    }
    fn hint(&self, _: Events, pod: &PodInfo, change: &Change) -> Hint {
        let counted = |other: &PodInfo| {
            other.class.namespace == pod.class.namespace
                && pod.spec.spread.iter().any(|c| {
                    let selector = c.selector.as_ref();
                    selector.is_some_and(|s| s.matches(&other.class.labels))
                })
        };
        let concerns = |node: &Node| {
            let has = |c: &SpreadConstraint| node.domains.get(c.topology_key).is_some();
            pod.spec.spread.iter().filter(|c| c.hard).all(has)
        };
        // Default constraints that bind are rare: whom they count is not asked here.
        if pod.spec.spread.is_empty() {
            return Hint::Queue;
        }
        Hint::queue_if(match change {
            Change::Assigned(other) | Change::AssignedGone(other) => counted(other),
            Change::AssignedChanged { old, new } => counted(old) != counted(new),
            Change::NodeAdded(node) | Change::NodeGone(node) => concerns(node),
            Change::NodeChanged { old, new } => concerns(old) || concerns(new),
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
