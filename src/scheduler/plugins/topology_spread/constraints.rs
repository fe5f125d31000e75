//! Which constraints hold for a pod, and which nodes and pods count.

use super::PodTopologySpread;
use crate::cluster::class::{ClassCount, Memo};
use crate::cluster::objects::Selectors;
use crate::cluster::{NodeInfo, PodInfo, Snapshot};
use crate::model::NamespacedName;
use crate::model::selector::{LabelSelector, Labels};
use crate::model::spread::{HOSTNAME, SpreadConstraint};
use crate::model::topology::TopologyKey;

/// kube-scheduler's defaults (`plugins/podtopologyspread/plugin.go`, `systemDefaultConstraints`).
pub(super) fn system_defaults() -> Vec<SpreadConstraint> {
    let soft = |key: &str, max_skew| SpreadConstraint {
        hard: false,
        max_skew,
        topology_key: TopologyKey::of(key),
        is_hostname: key == HOSTNAME,
        selector: None,
        min_domains: 1,
        honor_affinity: true,
        honor_taints: false,
    };
    vec![soft(HOSTNAME, 3), soft("topology.kubernetes.io/zone", 5)]
}

impl PodTopologySpread {
    /// The hard or the soft constraints of a pod: its own, or if it has none at all the defaults.
    pub(super) fn constraints(
        &self,
        pod: &PodInfo,
        snapshot: &Snapshot,
        hard: bool,
    ) -> Vec<SpreadConstraint> {
        let of = |all: &[SpreadConstraint]| -> Vec<SpreadConstraint> {
            all.iter().filter(|c| c.hard == hard).cloned().collect()
        };
        if !pod.spec.spread.is_empty() {
            return of(&pod.spec.spread);
        }
        let mut defaults = of(&self.defaults);
        if defaults.is_empty() {
            return defaults;
        }
        let Some(selector) = default_selector(pod, &snapshot.objects.selectors) else {
            return Vec::new();
        };
        for constraint in &mut defaults {
            constraint.selector = Some(selector.clone());
        }
        defaults
    }
}

/// What the Services that select the pod and its controller select, together; none if that is everything
/// (`plugins/helper/spread.go`).
fn default_selector(pod: &PodInfo, selectors: &Selectors) -> Option<LabelSelector> {
    let key = &pod.pod.key;
    let services = selectors
        .services
        .range(NamespacedName::new(&key.namespace, "")..)
        .take_while(|(k, _)| k.namespace == key.namespace);
    let selecting = services.filter_map(|(_, selector)| {
        let wanted = selector.as_deref()?;
        let has = |(k, v): (&String, &String)| pod.pod.labels.get(k) == Some(v);
        wanted.iter().all(has).then_some(wanted)
    });
    let mut merged = Labels::new();
    for labels in selecting {
        merged.extend(labels.clone());
    }
    let mut others = None;
    if let Some(owner) = &pod.pod.controller {
        let owner_key = NamespacedName::new(&key.namespace, &owner.name);
        match (owner.api_version.as_str(), owner.kind.as_str()) {
            ("v1", "ReplicationController") => {
                if let Some(labels) = selectors.replication_controllers.get(&owner_key) {
                    merged.extend((**labels).clone());
                }
            }
            ("apps/v1", "ReplicaSet") => others = selectors.replica_sets.get(&owner_key),
            ("apps/v1", "StatefulSet") => others = selectors.stateful_sets.get(&owner_key),
            _ => {}
        }
    }
    let mut selector = LabelSelector::of(&merged);
    if let Some(other) = others {
        selector.and(other);
    }
    (!selector.is_empty()).then_some(selector)
}

/// Whether a node has the labels of all constraints.
pub(super) fn has_all_keys(node: &NodeInfo, constraints: &[SpreadConstraint]) -> bool {
    let domains = &node.node.domains;
    constraints
        .iter()
        .all(|c| domains.get(c.topology_key).is_some())
}

/// Whether the pods of a node count for a constraint of `pod` (`matchNodeInclusionPolicies`).
pub(super) fn includes(constraint: &SpreadConstraint, pod: &PodInfo, node: &NodeInfo) -> bool {
    let spec = &pod.spec;
    if constraint.honor_affinity && !spec.node_affinity.matches(node.name(), &node.node.labels) {
        return false;
    }
    let tolerated = |taint| spec.tolerations.iter().any(|t| t.tolerates(taint));
    !constraint.honor_taints
        || node
            .node
            .taints
            .iter()
            .all(|t| !t.effect.repels() || tolerated(t))
}

/// Counts pods that a constraint selects. Each class of pods is asked about once.
#[derive(Default)]
pub(super) struct Counter(Memo<bool>);

impl Counter {
    /// How many of the node's pods are selected: of the pod's namespace and not terminating.
    pub(super) fn count(
        &mut self,
        constraint: &SpreadConstraint,
        pod: &PodInfo,
        node: &NodeInfo,
    ) -> i64 {
        let Some(selector) = constraint.selector.as_ref().filter(|s| !s.is_empty()) else {
            return 0;
        };
        let mut selected = |count: &&ClassCount| {
            *self.0.get(&count.class, |class| {
                class.namespace == pod.class.namespace && selector.matches(&class.labels)
            })
        };
        let counts = node.classes.iter().filter(|c| c.live > 0 && selected(c));
        counts.map(|c| i64::from(c.live)).sum()
    }
}
