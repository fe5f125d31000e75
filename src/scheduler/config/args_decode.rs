//! The args of each plugin, from the tree.

use k8s_openapi::api::core::v1 as api;

use super::args::{
    Defaulting, PluginArgs, RequestedToCapacityRatio, ResourceSpec, ShapePoint, StrategyType,
    default_resources,
};
use super::reader::{Fields, Reader};
use super::types::API_VERSION;
use super::yaml::Node;

type Field<'a> = Option<(&'a Node, String)>;

/// Reads the args of one plugin into their place. Args of plugins that take none are not looked at, as
/// upstream.
pub(super) fn args(reader: &mut Reader, plugin: &str, field: Field<'_>, all: &mut PluginArgs) {
    let Some((node, path)) = field else {
        return;
    };
    let read: fn(&mut Reader, &mut Fields<'_>, &mut PluginArgs) = match plugin {
        "DefaultPreemption" => default_preemption,
        "DynamicResources" => dynamic_resources,
        "InterPodAffinity" => inter_pod_affinity,
        "NodeAffinity" => node_affinity,
        "NodeResourcesBalancedAllocation" => balanced_allocation,
        "NodeResourcesFit" => resources_fit,
        "PodTopologySpread" => topology_spread,
        "VolumeBinding" => volume_binding,
        _ => return,
    };
    reader.object(node, &path, |reader, fields| {
        for (name, wanted) in [
            ("apiVersion", API_VERSION.to_owned()),
            ("kind", format!("{plugin}Args")),
        ] {
            let Some((node, path)) = fields.take(name) else {
                continue;
            };
            if reader
                .text_at(node, &path)
                .is_some_and(|found| found != wanted)
            {
                let text = format!("must be {wanted:?} (args for plugin {plugin})");
                reader.problem(node.at, &path, text);
            }
        }
        read(reader, fields, all);
    });
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn default_preemption(reader: &mut Reader, fields: &mut Fields<'_>, all: &mut PluginArgs) {
    let args = &mut all.default_preemption;
    let percentage = reader.integer(fields.take("minCandidateNodesPercentage"));
    set(&mut args.min_candidate_nodes_percentage, percentage);
    let absolute = reader.integer(fields.take("minCandidateNodesAbsolute"));
    set(&mut args.min_candidate_nodes_absolute, absolute);
}

fn dynamic_resources(reader: &mut Reader, fields: &mut Fields<'_>, all: &mut PluginArgs) {
    let args = &mut all.dynamic_resources;
    set(
        &mut args.filter_timeout,
        reader.duration(fields.take("filterTimeout")),
    );
    set(
        &mut args.binding_timeout,
        reader.duration(fields.take("bindingTimeout")),
    );
}

fn inter_pod_affinity(reader: &mut Reader, fields: &mut Fields<'_>, all: &mut PluginArgs) {
    let args = &mut all.inter_pod_affinity;
    let weight = reader.integer(fields.take("hardPodAffinityWeight"));
    set(&mut args.hard_pod_affinity_weight, weight);
    let ignore = reader.boolean(fields.take("ignorePreferredTermsOfExistingPods"));
    set(&mut args.ignore_preferred_terms_of_existing_pods, ignore);
}

fn balanced_allocation(reader: &mut Reader, fields: &mut Fields<'_>, all: &mut PluginArgs) {
    let resources = resources(reader, fields.take("resources"));
    set(&mut all.balanced_allocation.resources, resources);
}

fn resources_fit(reader: &mut Reader, fields: &mut Fields<'_>, all: &mut PluginArgs) {
    let args = &mut all.resources_fit;
    set(
        &mut args.ignored_resources,
        reader.texts(fields.take("ignoredResources")),
    );
    let groups = reader.texts(fields.take("ignoredResourceGroups"));
    set(&mut args.ignored_resource_groups, groups);
    let Some((node, path)) = fields.take("scoringStrategy") else {
        return;
    };
    let strategy = &mut args.scoring_strategy;
    reader.object(node, &path, |reader, fields| {
        let field = fields.take("type");
        if field.is_none() {
            // There is no default within a strategy that is given.
            let text = "Unsupported value: \"\": supported values: \"LeastAllocated\", \
                        \"MostAllocated\", \"RequestedToCapacityRatio\"";
            reader.problem(node.at, &fields.path("type"), text);
        }
        let kind = reader.word(
            field,
            &[
                ("LeastAllocated", StrategyType::LeastAllocated),
                ("MostAllocated", StrategyType::MostAllocated),
                (
                    "RequestedToCapacityRatio",
                    StrategyType::RequestedToCapacityRatio,
                ),
            ],
        );
        set(&mut strategy.kind, kind);
        set(
            &mut strategy.resources,
            resources(reader, fields.take("resources")),
        );
        if let Some((node, path)) = fields.take("requestedToCapacityRatio") {
            strategy.requested_to_capacity_ratio = reader.object(node, &path, |reader, fields| {
                let shape = shape(reader, fields.take("shape")).unwrap_or_default();
                RequestedToCapacityRatio { shape }
            });
        }
    });
}

/// An empty list is none; a weight of 0 is 1.
fn resources(reader: &mut Reader, field: Field<'_>) -> Option<Vec<ResourceSpec>> {
    let resources = reader.list(field, |reader, node, path| {
        reader.object(node, path, |reader, fields| {
            let weight = reader.integer(fields.take("weight")).unwrap_or(0);
            ResourceSpec {
                name: reader.text(fields.take("name")).unwrap_or_default(),
                weight: if weight == 0 { 1 } else { weight },
            }
        })
    })?;
    Some(if resources.is_empty() {
        default_resources()
    } else {
        resources
    })
}

fn shape(reader: &mut Reader, field: Field<'_>) -> Option<Vec<ShapePoint>> {
    reader.list(field, |reader, node, path| {
        reader.object(node, path, |reader, fields| ShapePoint {
            utilization: reader.integer(fields.take("utilization")).unwrap_or(0),
            score: reader.integer(fields.take("score")).unwrap_or(0),
        })
    })
}

fn volume_binding(reader: &mut Reader, fields: &mut Fields<'_>, all: &mut PluginArgs) {
    let timeout = reader.integer(fields.take("bindTimeoutSeconds"));
    set(&mut all.volume_binding.bind_timeout_seconds, timeout);
    if let Some((node, path)) = fields.take("shape") {
        let text =
            "unexpected field `shape`, remove it: the feature gate StorageCapacityScoring is off";
        reader.problem(node.at, &path, text);
    }
}

fn topology_spread(reader: &mut Reader, fields: &mut Fields<'_>, all: &mut PluginArgs) {
    let args = &mut all.topology_spread;
    let words = [("System", Defaulting::System), ("List", Defaulting::List)];
    set(
        &mut args.defaulting_type,
        reader.word(fields.take("defaultingType"), &words),
    );
    let constraints = fields.take("defaultConstraints");
    let constraints = reader.list(constraints, |reader, node, path| {
        reader.object(node, path, spread_constraint)
    });
    set(&mut args.default_constraints, constraints);
}

fn spread_constraint(
    reader: &mut Reader,
    fields: &mut Fields<'_>,
) -> api::TopologySpreadConstraint {
    if let Some((node, path)) = fields.take("labelSelector") {
        let text = "Forbidden: constraint must not define a selector, as they deduced for each pod";
        reader.problem(node.at, &path, text);
    }
    api::TopologySpreadConstraint {
        label_selector: None,
        match_label_keys: reader.texts(fields.take("matchLabelKeys")),
        max_skew: reader.integer(fields.take("maxSkew")).unwrap_or(0),
        min_domains: reader.integer(fields.take("minDomains")),
        node_affinity_policy: reader.text(fields.take("nodeAffinityPolicy")),
        node_taints_policy: reader.text(fields.take("nodeTaintsPolicy")),
        topology_key: reader.text(fields.take("topologyKey")).unwrap_or_default(),
        when_unsatisfiable: reader
            .text(fields.take("whenUnsatisfiable"))
            .unwrap_or_default(),
    }
}

fn node_affinity(reader: &mut Reader, fields: &mut Fields<'_>, all: &mut PluginArgs) {
    let Some((node, path)) = fields.take("addedAffinity") else {
        return;
    };
    all.node_affinity.added_affinity = reader.object(node, &path, |reader, fields| {
        let required = fields.take("requiredDuringSchedulingIgnoredDuringExecution");
        let required = required.and_then(|(node, path)| {
            reader.object(node, &path, |reader, fields| {
                let terms = fields.take("nodeSelectorTerms");
                let terms = reader.list(terms, |reader, node, path| {
                    reader.object(node, path, selector_term)
                });
                api::NodeSelector {
                    node_selector_terms: terms.unwrap_or_default(),
                }
            })
        });
        let preferred = fields.take("preferredDuringSchedulingIgnoredDuringExecution");
        let preferred = reader.list(preferred, |reader, node, path| {
            reader.object(node, path, |reader, fields| {
                let preference = fields
                    .take("preference")
                    .and_then(|(node, path)| reader.object(node, &path, selector_term));
                api::PreferredSchedulingTerm {
                    preference: preference.unwrap_or_default(),
                    weight: reader.integer(fields.take("weight")).unwrap_or(0),
                }
            })
        });
        api::NodeAffinity {
            required_during_scheduling_ignored_during_execution: required,
            preferred_during_scheduling_ignored_during_execution: preferred,
        }
    });
}

fn selector_term(reader: &mut Reader, fields: &mut Fields<'_>) -> api::NodeSelectorTerm {
    let mut requirements = |reader: &mut Reader, name| {
        reader.list(fields.take(name), |reader, node, path| {
            reader.object(node, path, |reader, fields| api::NodeSelectorRequirement {
                key: reader.text(fields.take("key")).unwrap_or_default(),
                operator: reader.text(fields.take("operator")).unwrap_or_default(),
                values: reader.texts(fields.take("values")),
            })
        })
    };
    api::NodeSelectorTerm {
        match_expressions: requirements(reader, "matchExpressions"),
        match_fields: requirements(reader, "matchFields"),
    }
}
