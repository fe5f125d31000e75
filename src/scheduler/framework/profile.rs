//! Profiles: which plugins run where, in the words of KubeSchedulerConfiguration.

use std::collections::BTreeMap;

use crate::scheduler::config::PluginArgs;

/// The extension points that a profile can list plugins for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// preEnqueue
    PreEnqueue,
    /// queueSort
    QueueSort,
    /// preFilter
    PreFilter,
    /// filter
    Filter,
    /// postFilter
    PostFilter,
    /// preScore
    PreScore,
    /// score
    Score,
    /// reserve
    Reserve,
    /// permit
    Permit,
    /// preBind
    PreBind,
    /// bind
    Bind,
    /// postBind
    PostBind,
}

impl Point {
    /// How the metrics spell it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::PreEnqueue => "PreEnqueue",
            Self::QueueSort => "QueueSort",
            Self::PreFilter => "PreFilter",
            Self::Filter => "Filter",
            Self::PostFilter => "PostFilter",
            Self::PreScore => "PreScore",
            Self::Score => "Score",
            Self::Reserve => "Reserve",
            Self::Permit => "Permit",
            Self::PreBind => "PreBind",
            Self::Bind => "Bind",
            Self::PostBind => "PostBind",
        }
    }
}

/// What a profile says about one extension point.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginSet {
    /// Names with weights (0 is 1), in order.
    pub enabled: Vec<(String, i64)>,
    /// Names; `*` for all.
    pub disabled: Vec<String>,
}

/// A profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The pods it is for.
    pub scheduler_name: String,
    /// `percentageOfNodesToScore`; 0 lets the size of the cluster decide.
    pub percentage_of_nodes_to_score: u32,
    /// `multiPoint`.
    pub multi_point: PluginSet,
    /// The specific lists.
    pub points: BTreeMap<Point, PluginSet>,
    /// `pluginConfig`, complete.
    pub args: PluginArgs,
}

/// Ours: no file of kube-scheduler's names it, and no `*` means it.
pub const ACTION_INTENT: &str = "ActionIntent";

/// kube-scheduler's default list in its order, with weights (`pkg/scheduler/apis/config/v1/default_plugins.go`,
/// v1.36 with default feature gates), and ActionIntent before the filters.
pub const DEFAULT_PLUGINS: [(&str, i64); 21] = [
    ("SchedulingGates", 0),
    ("PrioritySort", 0),
    (ACTION_INTENT, 0),
    ("NodeUnschedulable", 0),
    ("NodeName", 0),
    ("TaintToleration", 3),
    ("NodeAffinity", 2),
    ("NodePorts", 0),
    ("NodeResourcesFit", 1),
    ("VolumeRestrictions", 0),
    ("NodeVolumeLimits", 0),
    ("VolumeBinding", 0),
    ("VolumeZone", 0),
    ("PodTopologySpread", 2),
    ("InterPodAffinity", 2),
    ("DynamicResources", 2),
    ("DefaultPreemption", 0),
    ("NodeResourcesBalancedAllocation", 1),
    ("ImageLocality", 1),
    ("DefaultBinder", 0),
    ("NodeDeclaredFeatures", 0),
];

impl Profile {
    /// The default plugins for the pods of this scheduler name.
    #[must_use]
    pub fn new(scheduler_name: impl Into<String>) -> Self {
        let enabled = DEFAULT_PLUGINS
            .iter()
            .map(|(name, weight)| ((*name).to_owned(), *weight));
        Self {
            scheduler_name: scheduler_name.into(),
            percentage_of_nodes_to_score: 0,
            multi_point: PluginSet {
                enabled: enabled.collect(),
                disabled: Vec::new(),
            },
            points: BTreeMap::new(),
            args: PluginArgs::default(),
        }
    }

    /// The plugins of one point in the order in which they run, with their weights: those of the specific
    /// list that override a multi-point one, the multi-point ones, the rest of the specific list
    /// (`expandMultiPointPlugins`). `has` says whether a plugin implements the point. A `*` among the
    /// disabled of the specific list leaves only that list (and ActionIntent).
    #[must_use]
    pub fn expand(&self, point: Point, has: &dyn Fn(&str) -> bool) -> Vec<(String, i64)> {
        let none = PluginSet::default();
        let specific = self.points.get(&point).unwrap_or(&none);
        let multi = |name: &str| self.multi_point.enabled.iter().any(|(n, _)| n == name);
        let is_disabled = |set: &PluginSet, name: &str| {
            let all = |d: &str| d == "*" && name != ACTION_INTENT;
            set.disabled.iter().any(|d| all(d) || d == name)
        };
        let (overriding, rest): (Vec<_>, Vec<_>) = specific
            .enabled
            .iter()
            .cloned()
            .partition(|(name, _)| multi(name));
        let expanded = self.multi_point.enabled.iter().filter(|(name, _)| {
            has(name)
                && !is_disabled(specific, name)
                && !self.multi_point.disabled.contains(name)
                && !overriding.iter().any(|(n, _)| n == name)
        });
        let mut all = overriding.clone();
        all.extend(expanded.cloned());
        all.extend(rest);
        for (_, weight) in &mut all {
            *weight = (*weight).max(1);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(enabled: &[(&str, i64)], disabled: &[&str]) -> PluginSet {
        PluginSet {
            enabled: enabled.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect(),
            disabled: disabled.iter().map(|n| (*n).to_owned()).collect(),
        }
    }

    fn expand(multi: PluginSet, specific: PluginSet) -> Vec<(String, i64)> {
        let mut profile = Profile::new("x");
        profile.multi_point = multi;
        profile.points.insert(Point::Score, specific);
        profile.expand(Point::Score, &|name| name != "NoScore")
    }

    #[test]
    fn specific_overrides_come_first_and_others_last() {
        let all = expand(
            set(&[("A", 0), ("NoScore", 0), ("B", 2), ("C", 3)], &[]),
            set(&[("Z", 9), ("C", 7)], &["B"]),
        );
        let expected = [("C", 7), ("A", 1), ("Z", 9)];
        assert_eq!(all, expected.map(|(n, w)| (n.to_owned(), w)));
    }

    #[test]
    fn a_star_leaves_only_the_specific_list() {
        let all = expand(set(&[("A", 0), ("B", 0)], &[]), set(&[("B", 4)], &["*"]));
        assert_eq!(all, [("B".to_owned(), 4)]);
    }
}
