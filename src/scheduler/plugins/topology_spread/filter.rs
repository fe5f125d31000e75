//! The hard constraints (`plugins/podtopologyspread/filtering.go`).

use std::sync::Arc;

use super::PodTopologySpread;
use super::constraints::{Counter, has_all_keys, includes};
use crate::cluster::{NodeInfo, PodInfo, Snapshot};
use crate::model::spread::SpreadConstraint;
use crate::model::topology::DomainMap;
use crate::scheduler::framework::plugin::{Filter, NodeNames, PreFilter};
use crate::scheduler::framework::{CycleState, Status};

const TOO_SKEWED: &str = "node(s) didn't match pod topology spread constraints";
const NO_LABEL: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";

/// How many pods each domain holds.
#[derive(Debug, Clone)]
struct Counts {
    constraints: Arc<[SpreadConstraint]>,
    /// Per constraint, its domains.
    counts: Vec<DomainMap<i64>>,
    /// Per constraint, the fewest pods in any of its domains.
    least: Vec<i64>,
}

impl Counts {
    /// The fewest of a constraint: nothing, while there are fewer domains than it wants.
    fn find_least(&mut self, i: usize) {
        let counts = &self.counts[i];
        let enough = counts.len() >= self.constraints[i].min_domains;
        let least = counts.values().copied().min();
        self.least[i] = least.filter(|_| enough).unwrap_or(0);
    }

    fn update(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, by: i64) {
        // Counted although it may be terminating: it is (or was) counted as it is taken away or put there.
        if other.class.namespace != pod.class.namespace || !has_all_keys(node, &self.constraints) {
            return;
        }
        for i in 0..self.counts.len() {
            let constraint = &self.constraints[i];
            let selected = constraint
                .selector
                .as_ref()
                .is_some_and(|s| s.matches(&other.class.labels));
            if selected
                && includes(constraint, pod, node)
                && let Some(domain) = node.node.domains.get(constraint.topology_key)
            {
                *self.counts[i].entry(domain).or_default() += by;
                self.find_least(i);
            }
        }
    }
}

impl PreFilter for PodTopologySpread {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<NodeNames, Status> {
        let constraints = self.constraints(pod, snapshot, true);
        if constraints.is_empty() {
            return Err(Status::skip());
        }
        let mut counts = vec![DomainMap::default(); constraints.len()];
        let mut counters: Vec<Counter> = constraints.iter().map(|_| Counter::default()).collect();
        for node in &snapshot.nodes {
            if !has_all_keys(node, &constraints) {
                continue;
            }
            for (i, constraint) in constraints.iter().enumerate() {
                if let Some(domain) = node.node.domains.get(constraint.topology_key)
                    && includes(constraint, pod, node)
                {
                    let count = counters[i].count(constraint, pod, node);
                    *counts[i].entry(domain).or_default() += count;
                }
            }
        }
        let mut state_of_it = Counts {
            least: vec![0; constraints.len()],
            constraints: constraints.into(),
            counts,
        };
        for i in 0..state_of_it.counts.len() {
            state_of_it.find_least(i);
        }
        state.put(state_of_it);
        Ok(None)
    }

    fn add_pod(&self, state: &mut CycleState, pod: &PodInfo, added: &PodInfo, node: &NodeInfo) {
        state.update(|counts: &mut Counts| counts.update(pod, added, node, 1));
    }

    fn remove_pod(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        removed: &PodInfo,
        node: &NodeInfo,
    ) {
        state.update(|counts: &mut Counts| counts.update(pod, removed, node, -1));
    }
}

impl Filter for PodTopologySpread {
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        let Some(counts) = state.get::<Counts>() else {
            return Ok(());
        };
        for (i, constraint) in counts.constraints.iter().enumerate() {
            let Some(domain) = node.node.domains.get(constraint.topology_key) else {
                return Err(Status::unresolvable(NO_LABEL));
            };
            let selector = constraint.selector.as_ref();
            let itself = selector.is_some_and(|s| s.matches(&pod.class.labels));
            let there = counts.counts[i].get(&domain).copied().unwrap_or(0);
            if there + i64::from(itself) - counts.least[i] > constraint.max_skew {
                return Err(Status::unschedulable(TOO_SKEWED));
            }
        }
        Ok(())
    }
}
