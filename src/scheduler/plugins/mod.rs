//! The plugins, one file each, under kube-scheduler's names.
//!
//! Invariant: pure functions of pod, node and cycle state (see [`crate::scheduler::framework::plugin`]).
//! Texts, codes and formulas are those of kube-scheduler v1.36.

pub mod action_intent;
pub mod balanced_allocation;
pub mod default_binder;
pub mod default_preemption;
pub mod dynamic_resources;
#[cfg(test)]
mod hint_tests;
pub mod image_locality;
pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_declared_features;
pub mod node_name;
pub mod node_ports;
pub mod node_unschedulable;
pub mod priority_sort;
#[cfg(test)]
pub(crate) mod random;
pub mod resources_fit;
pub mod scheduling_gates;
pub mod taint_toleration;
#[cfg(test)]
pub(crate) mod testing;
pub mod topology_spread;
mod utilisation;
pub mod volume_binding;
pub mod volume_limits;
pub mod volume_restrictions;
pub mod volume_zone;

use std::sync::Arc;

use super::config::PluginArgs;
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
    vec![
        Arc::new(scheduling_gates::SchedulingGates),
        Arc::new(priority_sort::PrioritySort),
        Arc::new(action_intent::ActionIntent::new(intents)),
        Arc::new(node_unschedulable::NodeUnschedulable),
        Arc::new(node_name::NodeName),
        Arc::new(taint_toleration::TaintToleration),
        Arc::new(node_affinity::NodeAffinity::new(&args.node_affinity)),
        Arc::new(node_ports::NodePorts),
        Arc::new(resources_fit::NodeResourcesFit::new(&args.resources_fit)),
        Arc::new(volume_restrictions::VolumeRestrictions),
        Arc::new(volume_limits::NodeVolumeLimits),
        Arc::new(volume_binding::VolumeBinding {
            timeout_seconds: args.volume_binding.bind_timeout_seconds,
        }),
        Arc::new(volume_zone::VolumeZone),
        Arc::new(topology_spread::PodTopologySpread::new(
            &args.topology_spread,
        )),
        Arc::new(inter_pod_affinity::InterPodAffinity::new(
            &args.inter_pod_affinity,
        )),
        Arc::new(dynamic_resources::DynamicResources),
        Arc::new(default_preemption::DefaultPreemption::new(
            &args.default_preemption,
        )),
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
        Arc::new(node_declared_features::NodeDeclaredFeatures),
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
