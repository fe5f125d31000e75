//! What can be set about each plugin: the args types of `kubescheduler.config.k8s.io/v1`
//! (`staging/src/k8s.io/kube-scheduler/config/v1/types_pluginargs.go`) and their defaults
//! (`pkg/scheduler/apis/config/v1/defaults.go`, v1.36 with default feature gates).
//!
//! Values here are complete: what a file leaves out has its default. Plugins get theirs when they are made.

use k8s_openapi::api::core::v1 as api;
use serde::Serialize;

use super::duration::GoDuration;

/// The args of every plugin that takes any, for one profile.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PluginArgs {
    /// Of DefaultPreemption.
    pub default_preemption: DefaultPreemptionArgs,
    /// Of DynamicResources.
    pub dynamic_resources: DynamicResourcesArgs,
    /// Of InterPodAffinity.
    pub inter_pod_affinity: InterPodAffinityArgs,
    /// Of NodeAffinity.
    pub node_affinity: NodeAffinityArgs,
    /// Of NodeResourcesBalancedAllocation.
    pub balanced_allocation: NodeResourcesBalancedAllocationArgs,
    /// Of NodeResourcesFit.
    pub resources_fit: NodeResourcesFitArgs,
    /// Of PodTopologySpread.
    pub topology_spread: PodTopologySpreadArgs,
    /// Of VolumeBinding.
    pub volume_binding: VolumeBindingArgs,
}

/// How many nodes preemption considers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DefaultPreemptionArgs {
    /// At least this share of the nodes, in percent (10).
    pub min_candidate_nodes_percentage: i32,
    /// And at least so many (100).
    pub min_candidate_nodes_absolute: i32,
}

impl Default for DefaultPreemptionArgs {
    fn default() -> Self {
        Self {
            min_candidate_nodes_percentage: 10,
            min_candidate_nodes_absolute: 100,
        }
    }
}

/// Deadlines of DynamicResources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DynamicResourcesArgs {
    /// For filtering one node (10 s); 0 is none.
    pub filter_timeout: GoDuration,
    /// For devices to become ready before binding (10 min).
    pub binding_timeout: GoDuration,
}

impl Default for DynamicResourcesArgs {
    fn default() -> Self {
        Self {
            filter_timeout: GoDuration::from_secs(10),
            binding_timeout: GoDuration::from_secs(600),
        }
    }
}

/// Weights of InterPodAffinity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterPodAffinityArgs {
    /// What a required term of a pod already placed counts for when it matches the incoming one (1).
    pub hard_pod_affinity_weight: i32,
    /// Whether to leave the preferred terms of pods already placed out, unless the incoming pod has
    /// terms of its own.
    pub ignore_preferred_terms_of_existing_pods: bool,
}

impl Default for InterPodAffinityArgs {
    fn default() -> Self {
        Self {
            hard_pod_affinity_weight: 1,
            ignore_preferred_terms_of_existing_pods: false,
        }
    }
}

/// What NodeAffinity adds to every pod of the profile.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeAffinityArgs {
    /// Holds besides the pod's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added_affinity: Option<api::NodeAffinity>,
}

/// A resource and what it weighs in a score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceSpec {
    /// For example `cpu`.
    pub name: String,
    /// 1 to 100.
    pub weight: i64,
}

/// cpu and memory, alike.
#[must_use]
pub fn default_resources() -> Vec<ResourceSpec> {
    ["cpu", "memory"]
        .map(|name| ResourceSpec {
            name: name.to_owned(),
            weight: 1,
        })
        .into()
}

/// Which resources should be used evenly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeResourcesBalancedAllocationArgs {
    /// Their weights are all 1.
    pub resources: Vec<ResourceSpec>,
}

impl Default for NodeResourcesBalancedAllocationArgs {
    fn default() -> Self {
        Self {
            resources: default_resources(),
        }
    }
}

/// What NodeResourcesFit looks at and how it ranks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeResourcesFitArgs {
    /// Extended resources that its Filter does not look at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored_resources: Vec<String>,
    /// Groups (the part before the `/`) of such resources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored_resource_groups: Vec<String>,
    /// How it scores.
    pub scoring_strategy: ScoringStrategy,
}

/// How NodeResourcesFit scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScoringStrategy {
    /// Which formula.
    #[serde(rename = "type")]
    pub kind: StrategyType,
    /// Over which resources.
    pub resources: Vec<ResourceSpec>,
    /// Of [`StrategyType::RequestedToCapacityRatio`] alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_to_capacity_ratio: Option<RequestedToCapacityRatio>,
}

impl Default for ScoringStrategy {
    fn default() -> Self {
        Self {
            kind: StrategyType::LeastAllocated,
            resources: default_resources(),
            requested_to_capacity_ratio: None,
        }
    }
}

/// The formulas of [`ScoringStrategy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum StrategyType {
    /// The emptier the better.
    LeastAllocated,
    /// The fuller the better.
    MostAllocated,
    /// By a function of the utilisation.
    RequestedToCapacityRatio,
}

/// The function of [`StrategyType::RequestedToCapacityRatio`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestedToCapacityRatio {
    /// Piecewise linear through these points, in order of their utilisation.
    pub shape: Vec<ShapePoint>,
}

/// A point of a function from utilisation to score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ShapePoint {
    /// In percent, 0 to 100.
    pub utilization: i32,
    /// 0 to 10.
    pub score: i32,
}

/// The constraints of pods that have none.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodTopologySpreadArgs {
    /// With [`Defaulting::List`]: these. Without a labelSelector: that is found for each pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_constraints: Vec<api::TopologySpreadConstraint>,
    /// Where they come from.
    pub defaulting_type: Defaulting,
}

/// Where PodTopologySpread takes its default constraints from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Defaulting {
    /// kube-scheduler's: softly over hosts (maxSkew 3) and zones (maxSkew 5).
    #[default]
    System,
    /// `defaultConstraints`, maybe none.
    List,
}

/// Deadlines and scores of VolumeBinding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeBindingArgs {
    /// How long volumes may take to be bound (600); 0 is not at all.
    pub bind_timeout_seconds: i64,
}

impl Default for VolumeBindingArgs {
    fn default() -> Self {
        Self {
            bind_timeout_seconds: 600,
        }
    }
}
