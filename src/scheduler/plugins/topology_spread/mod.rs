//! PodTopologySpread: pods of a kind are spread evenly over the domains of a label: by force
//! (`DoNotSchedule`) or by preference (`ScheduleAnyway`, and kube-scheduler's default for pods that a
//! Service, ReplicaSet, StatefulSet or ReplicationController selects).

mod constraints;
mod filter;
mod log;
mod score;

use std::sync::Arc;

use crate::model::selector::Labels;
use crate::model::spread::SpreadConstraint;
use crate::scheduler::config::args::{Defaulting, PodTopologySpreadArgs};
use crate::scheduler::framework::plugin::{Filter, Plugin, PreFilter, PreScore, Score};
use crate::scheduler::framework::Events;

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
            | Events::NODE_LABEL
            | Events::NODE_TAINT
            | Events::POD_ASSIGNED
            | Events::POD_CHANGED
            | Events::POD_GONE
            | Events::SELF_CHANGED
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
