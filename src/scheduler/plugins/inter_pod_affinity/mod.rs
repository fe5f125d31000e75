//! InterPodAffinity: pods that must, or must not, or would like to be beside others; both ways: what the
//! incoming pod wants of those there, and what those there want of it.
//!
//! Terms are compared with classes of pods, once each; per node only numbers are added.

mod filter;
mod namespaces;
mod score;

use crate::scheduler::config::args::InterPodAffinityArgs;
use crate::scheduler::framework::Events;
use crate::scheduler::framework::plugin::{Filter, Plugin, PreFilter, PreScore, Score};

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
