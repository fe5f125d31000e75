//! The soft constraints (`plugins/podtopologyspread/scoring.go`).

use std::sync::Arc;

use super::PodTopologySpread;
use super::constraints::{Counter, has_all_keys, includes};
use super::log::ln;
use crate::cluster::{NodeInfo, PodInfo, Snapshot};
use crate::model::spread::SpreadConstraint;
use crate::model::topology::{Domain, DomainMap};
use crate::scheduler::framework::plugin::{MAX_SCORE, PreScore, Score};
use crate::scheduler::framework::{CycleState, Status};

struct Soft {
    constraints: Vec<SpreadConstraint>,
    /// Nodes without all labels are not scored.
    require_all: bool,
    /// Which of the feasible nodes these are, in their order.
    ignored: Vec<bool>,
    /// Per constraint, how many pods a domain holds. Hosts are counted where they stand.
    counts: Vec<DomainMap<i64>>,
    /// Per constraint: so that many small domains weigh like few large ones.
    weights: Vec<f64>,
}

impl Soft {
    fn ignores(&self, node: &NodeInfo) -> bool {
        self.require_all && !has_all_keys(node, &self.constraints)
    }
}

/// A node without the label counts as one with an empty value, as upstream.
fn domain_or_empty(constraint: &SpreadConstraint, empty: Domain, node: &NodeInfo) -> Domain {
    node.node
        .domains
        .get(constraint.topology_key)
        .unwrap_or(empty)
}

impl PreScore for PodTopologySpread {
    fn pre_score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &[Arc<NodeInfo>],
        snapshot: &Snapshot,
    ) -> Result<(), Status> {
        let constraints = self.constraints(pod, snapshot, false);
        if constraints.is_empty() {
            return Err(Status::skip());
        }
        let mut soft = Soft {
            require_all: !pod.spec.spread.is_empty() || !self.system_defaults,
            ignored: Vec::with_capacity(nodes.len()),
            counts: vec![DomainMap::default(); constraints.len()],
            weights: Vec::new(),
            constraints,
        };
        let empty: Vec<Domain> = soft
            .constraints
            .iter()
            .map(|c| c.topology_key.domain(""))
            .collect();
        for node in nodes {
            let ignored = soft.ignores(node);
            soft.ignored.push(ignored);
            if ignored {
                continue;
            }
            for (i, c) in soft.constraints.iter().enumerate() {
                if !c.is_hostname {
                    soft.counts[i]
                        .entry(domain_or_empty(c, empty[i], node))
                        .or_default();
                }
            }
        }
        let scored = soft.ignored.iter().filter(|ignored| !**ignored).count();
        for (c, counts) in soft.constraints.iter().zip(&soft.counts) {
            let size = if c.is_hostname { scored } else { counts.len() };
            soft.weights.push(ln((size + 2) as f64));
        }
        let mut counters: Vec<Counter> = empty.iter().map(|_| Counter::default()).collect();
        for node in &snapshot.nodes {
            if soft.ignores(node) {
                continue;
            }
            for (i, c) in soft.constraints.iter().enumerate() {
                // Only the domains of nodes that are feasible.
                if let Some(count) = soft.counts[i].get_mut(&domain_or_empty(c, empty[i], node))
                    && includes(c, pod, node)
                {
                    *count += counters[i].count(c, pod, node);
                }
            }
        }
        state.put(soft);
        Ok(())
    }
}

impl Score for PodTopologySpread {
    fn score(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo, _: &Snapshot) -> i64 {
        let Some(soft) = state.get::<Soft>() else {
            return 0;
        };
        if soft.ignores(node) {
            return 0;
        }
        let mut score = 0.0;
        for (i, c) in soft.constraints.iter().enumerate() {
            let Some(domain) = node.node.domains.get(c.topology_key) else {
                continue;
            };
            let count = if c.is_hostname {
                Counter::default().count(c, pod, node)
            } else {
                soft.counts[i].get(&domain).copied().unwrap_or(0)
            };
            score += count as f64 * soft.weights[i] + (c.max_skew - 1) as f64;
        }
        // Half away from zero, as Go's math.Round.
        score.round() as i64
    }

    fn normalize(&self, state: &CycleState, _: &PodInfo, scores: &mut [i64]) {
        let Some(soft) = state.get::<Soft>() else {
            return;
        };
        let scored = || scores.iter().zip(&soft.ignored).filter(|(_, i)| !**i);
        let max = scored().map(|(s, _)| *s).max().unwrap_or(0).max(0);
        let min = scored().map(|(s, _)| *s).min().unwrap_or(0);
        for (score, ignored) in scores.iter_mut().zip(&soft.ignored) {
            *score = match (ignored, max) {
                (true, _) => 0,
                (false, 0) => MAX_SCORE,
                (false, _) => MAX_SCORE * (max + min - *score) / max,
            };
        }
    }
}
