//! The plugins that kube-scheduler v1.36 has in its tree (`framework/plugins/registry.go`), with their
//! extension points, so that a file is judged by what it would mean there, whatever is built here.

use crate::scheduler::framework::Point;
use crate::scheduler::framework::profile::ACTION_INTENT;

use Point::{
    Bind, Filter, Permit, PostFilter, PreBind, PreEnqueue, PreFilter, PreScore, QueueSort, Reserve,
    Score,
};

/// A plugin's name and its points.
pub(super) type Known = (&'static str, &'static [Point]);

/// All of them, and ours.
pub(super) const PLUGINS: &[Known] = &[
    (ACTION_INTENT, &[PreFilter, Reserve, PreBind]),
    ("SchedulingGates", &[PreEnqueue]),
    ("PrioritySort", &[QueueSort]),
    ("NodeUnschedulable", &[Filter]),
    ("NodeName", &[Filter]),
    ("TaintToleration", &[Filter, PreScore, Score]),
    ("NodeAffinity", &[PreFilter, Filter, PreScore, Score]),
    ("NodePorts", &[PreFilter, Filter]),
    ("NodeResourcesFit", &[PreFilter, Filter, PreScore, Score]),
    ("VolumeRestrictions", &[PreFilter, Filter]),
    ("NodeVolumeLimits", &[PreFilter, Filter]),
    (
        "VolumeBinding",
        &[PreFilter, Filter, Reserve, PreBind, PreScore, Score],
    ),
    ("VolumeZone", &[PreFilter, Filter]),
    ("PodTopologySpread", &[PreFilter, Filter, PreScore, Score]),
    ("InterPodAffinity", &[PreFilter, Filter, PreScore, Score]),
    (
        "DynamicResources",
        &[
            PreEnqueue, PreFilter, Filter, PostFilter, Score, Reserve, PreBind,
        ],
    ),
    ("DefaultPreemption", &[PostFilter, PreEnqueue]),
    ("NodeResourcesBalancedAllocation", &[PreScore, Score]),
    ("ImageLocality", &[Score]),
    ("DefaultBinder", &[Bind]),
    ("NodeDeclaredFeatures", &[PreFilter, Filter]),
    // In the tree, but only with a gate that is off by default.
    ("GangScheduling", &[PreEnqueue, Permit]),
];

/// Gone since v1 (`invalidPluginsByVersion`).
pub(super) const REMOVED: [&str; 4] = [
    "AzureDiskLimits",
    "CinderLimits",
    "EBSLimits",
    "GCEPDLimits",
];

/// The points as a file names them.
pub(super) const POINTS: [(&str, Point); 12] = [
    ("preEnqueue", PreEnqueue),
    ("queueSort", QueueSort),
    ("preFilter", PreFilter),
    ("filter", Filter),
    ("postFilter", PostFilter),
    ("preScore", PreScore),
    ("score", Score),
    ("reserve", Reserve),
    ("permit", Permit),
    ("preBind", PreBind),
    ("bind", Bind),
    ("postBind", Point::PostBind),
];

/// The points of a plugin, if there is such a plugin.
pub(super) fn points_of(name: &str) -> Option<&'static [Point]> {
    PLUGINS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, points)| *points)
}
