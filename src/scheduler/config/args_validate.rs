//! What must hold of plugin args (`validation_pluginargs.go`). Texts as upstream.
//!
//! Paths name the plugin (`pluginConfig[NodeResourcesFit].args`): the args have left their place in the file's
//! list; [`super::load()`] finds it again.

use k8s_openapi::api::core::v1 as api;

use super::args::{
    DefaultPreemptionArgs, Defaulting, NodeResourcesFitArgs, PluginArgs, PodTopologySpreadArgs,
    ShapePoint, StrategyType,
};
use super::validate::{Finding, invalid, not_qualified};
use crate::model::selector::NodeSelectorTerm;

/// All mistakes. Args of which a file says nothing have their defaults and none.
pub(super) fn findings(args: &PluginArgs, path: &str, found: &mut Vec<Finding>) {
    let mut find = |plugin: &str, field: &str, text: String| {
        found.push((format!("{path}.pluginConfig[{plugin}].args.{field}"), text));
    };
    default_preemption(&args.default_preemption, &mut |f, t| {
        find("DefaultPreemption", f, t)
    });
    let weight = args.inter_pod_affinity.hard_pod_affinity_weight;
    if !(0..=100).contains(&weight) {
        let text = invalid(weight, "not in valid range [0, 100]");
        find("InterPodAffinity", "hardPodAffinityWeight", text);
    }
    node_affinity(args.node_affinity.added_affinity.as_ref(), &mut |f, t| {
        find("NodeAffinity", f, t);
    });
    let balanced = &args.balanced_allocation.resources;
    for (i, resource) in balanced.iter().enumerate() {
        if balanced[..i]
            .iter()
            .any(|former| former.name == resource.name)
        {
            let text = format!("Duplicate value: {:?}", resource.name);
            find(
                "NodeResourcesBalancedAllocation",
                &format!("resources[{i}].name"),
                text,
            );
        }
        if resource.weight != 1 {
            let text = invalid(resource.weight, "must be 1");
            find(
                "NodeResourcesBalancedAllocation",
                &format!("resources[{i}].weight"),
                text,
            );
        }
    }
    resources_fit(&args.resources_fit, &mut |f, t| {
        find("NodeResourcesFit", f, t)
    });
    topology_spread(&args.topology_spread, &mut |f, t| {
        find("PodTopologySpread", f, t)
    });
    let timeout = args.volume_binding.bind_timeout_seconds;
    if timeout < 0 {
        let why = "invalid BindTimeoutSeconds, should not be a negative value";
        find("VolumeBinding", "bindTimeoutSeconds", invalid(timeout, why));
    }
    let (filter, binding) = (
        args.dynamic_resources.filter_timeout,
        args.dynamic_resources.binding_timeout,
    );
    if filter.to_std().is_none() {
        let text = invalid(filter, "must be zero or positive");
        find("DynamicResources", "filterTimeout", text);
    }
    if binding < super::duration::GoDuration::from_secs(1) {
        let text = invalid(binding, "must be at least 1 second");
        find("DynamicResources", "bindingTimeout", text);
    }
}

type Find<'a> = &'a mut dyn FnMut(&str, String);

fn default_preemption(args: &DefaultPreemptionArgs, find: Find<'_>) {
    let (percentage, absolute) = (
        args.min_candidate_nodes_percentage,
        args.min_candidate_nodes_absolute,
    );
    let (percentage_path, absolute_path) =
        ("minCandidateNodesPercentage", "minCandidateNodesAbsolute");
    if !(0..=100).contains(&percentage) {
        find(
            percentage_path,
            invalid(percentage, "not in valid range [0, 100]"),
        );
    }
    if absolute < 0 {
        find(
            absolute_path,
            invalid(absolute, "not in valid range [0, inf)"),
        );
    }
    if percentage == 0 && absolute == 0 {
        let why = "cannot be zero at the same time as minCandidateNodesAbsolute";
        find(percentage_path, invalid(0, why));
        let why = "cannot be zero at the same time as minCandidateNodesPercentage";
        find(absolute_path, invalid(0, why));
    }
}

fn node_affinity(added: Option<&api::NodeAffinity>, find: Find<'_>) {
    let Some(added) = added else {
        return;
    };
    let required = added
        .required_during_scheduling_ignored_during_execution
        .as_ref();
    let terms = required
        .iter()
        .flat_map(|r| &r.node_selector_terms)
        .enumerate();
    for (i, term) in terms {
        if let Err((field, problem)) = NodeSelectorTerm::from_api(term) {
            let base = "addedAffinity.requiredDuringSchedulingIgnoredDuringExecution";
            find(&format!("{base}.nodeSelectorTerms[{i}]{field}"), problem);
        }
    }
    let preferred = added
        .preferred_during_scheduling_ignored_during_execution
        .iter();
    for (i, term) in preferred.flatten().enumerate() {
        if let Err((field, problem)) = NodeSelectorTerm::from_api(&term.preference) {
            let base = "addedAffinity.preferredDuringSchedulingIgnoredDuringExecution";
            find(&format!("{base}[{i}].preference{field}"), problem);
        }
    }
}

fn resources_fit(args: &NodeResourcesFitArgs, find: Find<'_>) {
    for (i, name) in args.ignored_resources.iter().enumerate() {
        if let Some(why) = not_qualified(name) {
            find(
                &format!("ignoredResources[{i}]"),
                invalid(format_args!("{name:?}"), why),
            );
        }
    }
    for (i, group) in args.ignored_resource_groups.iter().enumerate() {
        let path = format!("ignoredResourceGroups[{i}]");
        let quoted = format!("{group:?}");
        if group.contains('/') {
            find(
                &path,
                invalid(&quoted, "resource group name can't contain '/'"),
            );
        }
        if let Some(why) = not_qualified(group) {
            find(&path, invalid(&quoted, why));
        }
    }
    let strategy = &args.scoring_strategy;
    for (i, resource) in strategy.resources.iter().enumerate() {
        if !(1..=100).contains(&resource.weight) {
            let why = format!(
                "resource weight of {} not in valid range (0, 100]",
                resource.name
            );
            find(
                &format!("scoringStrategy.resources[{i}].weight"),
                invalid(resource.weight, &why),
            );
        }
    }
    let path = "scoringStrategy.requestedToCapacityRatio";
    match (strategy.kind, &strategy.requested_to_capacity_ratio) {
        (StrategyType::RequestedToCapacityRatio, Some(ratio)) => shape(&ratio.shape, path, find),
        (StrategyType::RequestedToCapacityRatio, None) => find(
            path,
            "Required value: must be specified when type is RequestedToCapacityRatio".to_owned(),
        ),
        (_, Some(_)) => find(
            path,
            "Forbidden: must be nil when type is not RequestedToCapacityRatio".to_owned(),
        ),
        (_, None) => {}
    }
}

fn shape(shape: &[ShapePoint], path: &str, find: Find<'_>) {
    if shape.is_empty() {
        let text = "Required value: at least one point must be specified".to_owned();
        return find(&format!("{path}.shape"), text);
    }
    let disorder = shape
        .windows(2)
        .position(|two| two[0].utilization >= two[1].utilization);
    if let Some(at) = disorder {
        find(
            &format!("{path}.shape[{}].utilization", at + 1),
            invalid(
                shape[at + 1].utilization,
                "values must be sorted in increasing order",
            ),
        );
    }
    for (i, point) in shape.iter().enumerate() {
        if !(0..=100).contains(&point.utilization) {
            find(
                &format!("{path}.shape[{i}].utilization"),
                invalid(point.utilization, "not in valid range [0, 100]"),
            );
        }
        if !(0..=10).contains(&point.score) {
            find(
                &format!("{path}.shape[{i}].score"),
                invalid(point.score, "not in valid range [0, 10]"),
            );
        }
    }
}

fn topology_spread(args: &PodTopologySpreadArgs, find: Find<'_>) {
    let constraints = &args.default_constraints;
    if args.defaulting_type == Defaulting::System && !constraints.is_empty() {
        let text = invalid("\"System\"", "when .defaultConstraints are not empty");
        find("defaultingType", text);
    }
    for (i, constraint) in constraints.iter().enumerate() {
        let path = format!("defaultConstraints[{i}]");
        let key = &constraint.topology_key;
        if constraint.max_skew <= 0 {
            let text = invalid(constraint.max_skew, "not in valid range (0, inf)");
            find(&format!("{path}.maxSkew"), text);
        }
        if key.is_empty() {
            let text = "Required value: can not be empty".to_owned();
            find(&format!("{path}.topologyKey"), text);
        } else if let Some(why) = not_qualified(key) {
            find(
                &format!("{path}.topologyKey"),
                invalid(format_args!("{key:?}"), why),
            );
        }
        let action = constraint.when_unsatisfiable.as_str();
        let action_path = format!("{path}.whenUnsatisfiable");
        match action {
            "DoNotSchedule" | "ScheduleAnyway" => {}
            "" => find(&action_path, "Required value: can not be empty".to_owned()),
            other => {
                let supported = "supported values: \"DoNotSchedule\", \"ScheduleAnyway\"";
                find(
                    &action_path,
                    format!("Unsupported value: {other:?}: {supported}"),
                );
            }
        }
        let repeated = |former: &&api::TopologySpreadConstraint| {
            former.topology_key == *key && former.when_unsatisfiable == action
        };
        if constraints[..i].iter().find(repeated).is_some() {
            find(&path, format!("Duplicate value: \"{{{key}, {action}}}\""));
        }
    }
}
