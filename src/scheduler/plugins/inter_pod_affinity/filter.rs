//! The required terms (`plugins/interpodaffinity/filtering.go`).

use super::InterPodAffinity;
use super::namespaces::Namespaces;
use crate::cluster::class::Memo;
use crate::cluster::{NodeInfo, PodClass, PodInfo, Snapshot};
use crate::model::pod_affinity::PodAffinityTerm;
use crate::model::topology::{DomainMap, TopologyKey};
use crate::scheduler::framework::plugin::{Filter, NodeNames, PreFilter};
use crate::scheduler::framework::{CycleState, Status};

const AFFINITY: &str = "node(s) didn't match pod affinity rules";
const ANTI_AFFINITY: &str = "node(s) didn't match pod anti-affinity rules";
const EXISTING: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

/// Per domain, how many terms (of pods) it has to do with. No entry is 0.
type Counts = DomainMap<i64>;

#[derive(Debug, Clone)]
struct Required {
    namespaces: Namespaces,
    /// Terms of pods there that repel the incoming one.
    existing: Counts,
    /// Pods that match all affinity terms of the incoming one.
    wanted: Counts,
    /// Pods that match its anti-affinity terms.
    unwanted: Counts,
}

/// What one pod of a class adds, each for the domain of the pod's node.
#[derive(Debug, Default)]
struct Adds {
    existing: Vec<TopologyKey>,
    wanted: Vec<TopologyKey>,
    unwanted: Vec<TopologyKey>,
}

impl Adds {
    fn of(there: &PodClass, incoming: &PodClass, namespaces: &Namespaces) -> Self {
        let own = &incoming.affinity;
        let keys = |terms: &[PodAffinityTerm]| terms.iter().map(|t| t.topology_key).collect();
        let repelling = there.affinity.anti_required.iter();
        let repelling = repelling.filter(|t| namespaces.existing(t, incoming));
        let unwanted = own.anti_required.iter();
        let unwanted = unwanted.filter(|t| namespaces.incoming(t, there));
        Self {
            existing: repelling.map(|t| t.topology_key).collect(),
            wanted: if matches_all(&own.required, there, namespaces) {
                keys(&own.required)
            } else {
                Vec::new()
            },
            unwanted: unwanted.map(|t| t.topology_key).collect(),
        }
    }
}

fn matches_all(terms: &[PodAffinityTerm], there: &PodClass, namespaces: &Namespaces) -> bool {
    !terms.is_empty() && terms.iter().all(|t| namespaces.incoming(t, there))
}

fn count(counts: &mut Counts, node: &NodeInfo, keys: &[TopologyKey], by: i64) {
    for domain in keys.iter().filter_map(|key| node.node.domains.get(*key)) {
        let entry = counts.entry(domain).or_default();
        *entry += by;
        if *entry == 0 {
            counts.remove(&domain);
        }
    }
}

impl Required {
    fn add(&mut self, adds: &Adds, node: &NodeInfo, pods: i64) {
        count(&mut self.existing, node, &adds.existing, pods);
        count(&mut self.wanted, node, &adds.wanted, pods);
        count(&mut self.unwanted, node, &adds.unwanted, pods);
    }

    fn update(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, by: i64) {
        let adds = Adds::of(&other.class, &pod.class, &self.namespaces);
        self.add(&adds, node, by);
    }

    fn affinity_holds(&self, pod: &PodClass, node: &NodeInfo) -> bool {
        let terms = &pod.affinity.required;
        let mut beside = true;
        for term in terms {
            match node.node.domains.get(term.topology_key) {
                None => return false,
                Some(domain) => beside &= self.wanted.get(&domain).is_some_and(|n| *n > 0),
            }
        }
        // The first of a group that wants to be together has nobody to join.
        beside || (self.wanted.is_empty() && matches_all(terms, pod, &self.namespaces))
    }

    fn anti_affinity_holds(&self, pod: &PodClass, node: &NodeInfo) -> bool {
        self.unwanted.is_empty()
            || pod.affinity.anti_required.iter().all(|term| {
                let domain = node.node.domains.get(term.topology_key);
                domain.is_none_or(|d| self.unwanted.get(&d).is_none_or(|n| *n <= 0))
            })
    }

    fn is_welcome(&self, node: &NodeInfo) -> bool {
        let repels = |domain| self.existing.get(&domain).is_some_and(|n| *n > 0);
        self.existing.is_empty() || !node.node.domains.iter().any(repels)
    }
}

impl PreFilter for InterPodAffinity {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<NodeNames, Status> {
        let own = &pod.class.affinity;
        let wants = !own.required.is_empty() || !own.anti_required.is_empty();
        let mut required = Required {
            namespaces: Namespaces(snapshot.objects.namespaces.clone()),
            existing: Counts::default(),
            wanted: Counts::default(),
            unwanted: Counts::default(),
        };
        let mut memo: Memo<Adds> = Memo::default();
        for node in &snapshot.nodes {
            if !wants && !node.repels {
                continue;
            }
            for there in &node.classes {
                let namespaces = &required.namespaces;
                let ask = |class: &PodClass| Adds::of(class, &pod.class, namespaces);
                let adds = memo.get(&there.class, ask);
                count(
                    &mut required.existing,
                    node,
                    &adds.existing,
                    i64::from(there.all),
                );
                count(
                    &mut required.wanted,
                    node,
                    &adds.wanted,
                    i64::from(there.all),
                );
                count(
                    &mut required.unwanted,
                    node,
                    &adds.unwanted,
                    i64::from(there.all),
                );
            }
        }
        if !wants && required.existing.is_empty() {
            return Err(Status::skip());
        }
        state.put(required);
        Ok(None)
    }

    fn add_pod(&self, state: &mut CycleState, pod: &PodInfo, added: &PodInfo, node: &NodeInfo) {
        state.update(|required: &mut Required| required.update(pod, added, node, 1));
    }

    fn remove_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        removed: &PodInfo,
        node: &NodeInfo,
    ) {
        state.update(|required: &mut Required| required.update(pod, removed, node, -1));
    }
}

impl Filter for InterPodAffinity {
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        let Some(required) = state.get::<Required>() else {
            return Ok(());
        };
        if !required.affinity_holds(&pod.class, node) {
            return Err(Status::unresolvable(AFFINITY));
        }
        if !required.anti_affinity_holds(&pod.class, node) {
            return Err(Status::unschedulable(ANTI_AFFINITY));
        }
        if !required.is_welcome(node) {
            return Err(Status::unschedulable(EXISTING));
        }
        Ok(())
    }
}
