//! The plugins, one file each, under kube-scheduler's names.
//!
//! Invariant: pure functions of pod, node and cycle state (see [`crate::scheduler::framework::plugin`]).
//! Texts, codes and formulas are those of kube-scheduler v1.36.

pub mod action_intent;
pub mod balanced_allocation;
pub mod default_binder;
#[cfg(test)]
mod hint_tests;
pub mod image_locality;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_unschedulable;
pub mod priority_sort;
pub mod resources_fit;
pub mod scheduling_gates;
pub mod taint_toleration;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

use super::config::PluginArgs;
use super::config::args::ResourceSpec;
use super::framework::Plugin;
use super::framework::plugin::MAX_SCORE;
use super::intents::IntentBook;

/// All plugins there are, with the default args.
#[must_use]
pub fn registry(intents: Arc<IntentBook>) -> Vec<Arc<dyn Plugin>> {
    registry_with(intents, &PluginArgs::default())
}

/// All plugins there are, with the args of a profile.
#[must_use]
pub fn registry_with(intents: Arc<IntentBook>, args: &PluginArgs) -> Vec<Arc<dyn Plugin>> {
    let weighted = |resources: &[ResourceSpec]| -> Vec<(String, i64)> {
        let pairs = resources.iter().map(|r| (r.name.clone(), r.weight));
        pairs.collect()
    };
    vec![
        Arc::new(scheduling_gates::SchedulingGates),
        Arc::new(priority_sort::PrioritySort),
        Arc::new(action_intent::ActionIntent::new(intents)),
        Arc::new(node_unschedulable::NodeUnschedulable),
        Arc::new(node_name::NodeName),
        Arc::new(taint_toleration::TaintToleration),
        Arc::new(node_affinity::NodeAffinity),
        Arc::new(node_ports::NodePorts),
        Arc::new(resources_fit::NodeResourcesFit {
            resources: weighted(&args.resources_fit.scoring_strategy.resources),
        }),
        Arc::new(balanced_allocation::NodeResourcesBalancedAllocation {
            resources: args
                .balanced_allocation
                .resources
                .iter()
                .map(|r| r.name.clone())
                .collect(),
        }),
        Arc::new(image_locality::ImageLocality),
        Arc::new(default_binder::DefaultBinder),
    ]
}

/// Scales scores so that the largest is [`MAX_SCORE`]; reversed, it becomes 0
/// (`plugins/helper/normalize_score.go`).
pub(crate) fn default_normalize(scores: &mut [i64], reverse: bool) {
    let max = scores.iter().copied().max().unwrap_or(0);
    if max == 0 {
        if reverse {
            scores.fill(MAX_SCORE);
        }
        return;
    }
    for score in scores {
        let scaled = MAX_SCORE * *score / max;
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}
