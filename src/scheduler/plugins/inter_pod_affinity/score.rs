//! The preferred terms (`plugins/interpodaffinity/scoring.go`).

use std::sync::Arc;

use super::InterPodAffinity;
use super::namespaces::Namespaces;
use crate::cluster::class::Memo;
use crate::cluster::{NodeInfo, PodClass, PodInfo, Snapshot};
use crate::model::topology::{DomainMap, TopologyKey};
use crate::scheduler::framework::plugin::{MAX_SCORE, PreScore, Score};
use crate::scheduler::framework::{CycleState, Status};

/// What it is worth to be in a domain.
struct Preferred {
    keys: Vec<TopologyKey>,
    worth: DomainMap<i64>,
}

impl InterPodAffinity {
    /// What one pod of a class is worth to the incoming one, for the domains of the pod's node.
    fn worth(
        &self,
        there: &PodClass,
        incoming: &PodClass,
        namespaces: &Namespaces,
    ) -> Vec<(TopologyKey, i64)> {
        let mut worth = Vec::new();
        let (own, theirs) = (&incoming.affinity, &there.affinity);
        for (terms, sign) in [(&own.preferred, 1), (&own.anti_preferred, -1)] {
            let matching = terms.iter().filter(|(_, t)| namespaces.incoming(t, there));
            worth.extend(matching.map(|(weight, t)| (t.topology_key, sign * weight)));
        }
        let hard = i64::from(self.args.hard_pod_affinity_weight);
        if hard > 0 {
            let matching = theirs
                .required
                .iter()
                .filter(|t| namespaces.existing(t, incoming));
            worth.extend(matching.map(|t| (t.topology_key, hard)));
        }
        for (terms, sign) in [(&theirs.preferred, 1), (&theirs.anti_preferred, -1)] {
            let matching = terms
                .iter()
                .filter(|(_, t)| namespaces.existing(t, incoming));
            worth.extend(matching.map(|(weight, t)| (t.topology_key, sign * weight)));
        }
        worth
    }
}

impl PreScore for InterPodAffinity {
    fn pre_score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        _: &[Arc<NodeInfo>],
        snapshot: &Snapshot,
    ) -> Result<(), Status> {
        let prefers = pod.class.affinity.prefers();
        if self.args.ignore_preferred_terms_of_existing_pods && !prefers {
            return Err(Status::skip());
        }
        let namespaces = Namespaces(snapshot.objects.namespaces.clone());
        let mut memo: Memo<Vec<(TopologyKey, i64)>> = Memo::default();
        let mut preferred = Preferred {
            keys: Vec::new(),
            worth: DomainMap::default(),
        };
        for node in &snapshot.nodes {
            if !prefers && !node.cares {
                continue;
            }
            for there in &node.classes {
                let ask = |class: &PodClass| self.worth(class, &pod.class, &namespaces);
                for (key, weight) in memo.get(&there.class, ask) {
                    if let Some(domain) = node.node.domains.get(*key) {
                        if !preferred.keys.contains(key) {
                            preferred.keys.push(*key);
                        }
                        *preferred.worth.entry(domain).or_default() +=
                            weight * i64::from(there.all);
                    }
                }
            }
        }
        if preferred.keys.is_empty() {
            return Err(Status::skip());
        }
        state.put(preferred);
        Ok(())
    }
}

impl Score for InterPodAffinity {
    fn score(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo, _: &Snapshot) -> i64 {
        let Some(preferred) = state.get::<Preferred>() else {
            return 0;
        };
        let domains = preferred
            .keys
            .iter()
            .filter_map(|key| node.node.domains.get(*key));
        domains.filter_map(|d| preferred.worth.get(&d)).sum()
    }

    fn normalize(&self, _: &CycleState, _: &PodInfo, scores: &mut [i64]) {
        let max = scores.iter().copied().max().unwrap_or(0);
        let min = scores.iter().copied().min().unwrap_or(0);
        for score in scores {
            *score = if max > min {
                // In this order, as upstream: the fraction is not exact.
                (MAX_SCORE as f64 * ((*score - min) as f64 / (max - min) as f64)) as i64
            } else {
                0
            };
        }
    }
}
