//! Why a pod goes where it goes, or nowhere: one scheduling cycle of one pod, with everything that every
//! plugin says about every node. Nothing is sampled, nothing is changed.

mod answer;
mod case;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use answer::{Answer, NodeAnswer, Nominated, PluginScore, Preemption, Verdict, Victims};
pub use case::{Case, CaseError, framework_for, take_in_objects};

use super::cycle::after_filter;
use super::diagnosis::{FitError, Nominate};
use super::framework::plugin::PostFilterContext;
use super::framework::runtime::{Scored, not_satisfied};
use super::framework::{CycleState, Framework, Point, Status};
use super::preemption;
use super::unsupported::unsupported;
use crate::cluster::{NodeInfo, PodInfo, Snapshot};

/// The name of the plugin that preempts.
const PREEMPTION: &str = "DefaultPreemption";

/// Decides one pod and tells everything. The pod should not be on a node of the snapshot.
#[must_use]
pub fn explain(framework: &Framework, snapshot: &Snapshot, pod: &PodInfo) -> Answer {
    let mut answer = Answer::new(&pod.pod.key);
    if let Some(problem) = &pod.problem {
        return answer.failed(problem.to_string());
    }
    if let Some(status) = unsupported(framework, pod) {
        return answer.failed(status.message());
    }
    if snapshot.nodes.is_empty() {
        answer.message = "no nodes available to schedule pods".to_owned();
        return answer;
    }
    let mut state = CycleState::default();
    let mut error = FitError {
        nodes: snapshot.nodes.len(),
        ..FitError::default()
    };
    let mut feasible: Vec<Arc<NodeInfo>> = Vec::new();
    match framework.pre_filter(&mut state, pod, snapshot) {
        Err(status) if !status.is_rejection() => return answer.failed(failure(&status)),
        Err(status) => {
            answer.pre_filter = Some(Verdict::of(&status));
            error.pre_filter = Some(status.message());
            error.rejectors.insert(status.plugin);
            error.absent = Some(status);
        }
        Ok((names, narrowing)) => {
            for node in &snapshot.nodes {
                if names
                    .as_ref()
                    .is_some_and(|names| !names.contains(node.name()))
                {
                    continue;
                }
                match framework.filter_beside_nominated(&state, pod, node, snapshot) {
                    Ok(()) => feasible.push(node.clone()),
                    Err(status) if !status.is_rejection() => {
                        return answer.failed(failure(&status));
                    }
                    Err(status) => {
                        error.rejectors.insert(status.plugin);
                        error.rejected.insert(node.name().clone(), status);
                    }
                }
            }
            if let Some(names) = names {
                let left_out = not_satisfied(&narrowing, false);
                error.absent = Some(Status::unresolvable(left_out));
                error.rejectors.extend(narrowing);
                answer.pre_filter_nodes = Some(names.iter().map(ToString::to_string).collect());
            }
        }
    }
    let fits = |node: &NodeInfo| feasible.iter().any(|f| f.name() == node.name());
    answer.nodes = snapshot
        .nodes
        .iter()
        .map(|node| NodeAnswer {
            name: node.name().to_string(),
            filter: error
                .status(node.name())
                .filter(|_| !fits(node))
                .map(Verdict::of),
            ..NodeAnswer::default()
        })
        .collect();
    if feasible.is_empty() {
        unschedulable(framework, &state, pod, snapshot, error, &mut answer);
        return answer;
    }
    if let Err(status) = scores(framework, &mut state, pod, &feasible, snapshot, &mut answer) {
        return answer.failed(failure(&status));
    }
    let promised = pod.spec.nominated_node.as_ref();
    answer.choose(promised.filter(|name| feasible.iter().any(|f| **f.name() == ***name)));
    answer
}

fn failure(status: &Status) -> String {
    format!("running {} plugin: {}", status.plugin, status.message())
}

fn unschedulable(
    framework: &Framework,
    state: &CycleState,
    pod: &PodInfo,
    snapshot: &Snapshot,
    error: FitError,
    answer: &mut Answer,
) {
    let error = after_filter(framework, state, pod, snapshot, error, 0);
    answer.message = error.message();
    if !framework.runs_at(Point::PostFilter, PREEMPTION) {
        return;
    }
    let mut told = Preemption::default();
    if matches!(error.nomination, Nominate::Node(_)) {
        let context = PostFilterContext {
            framework,
            state,
            pod,
            snapshot,
            error: &error,
            random: 0,
        };
        let potential = preemption::potential_nodes(&context);
        let run = preemption::dry_run(&context, &potential, potential.len());
        let best = preemption::best(&run.candidates);
        told.nominated = Nominated::of(best.iter().map(|c| c.node.to_string()).collect());
        let order = |c: &preemption::Candidate| snapshot.index.get(&c.node).copied();
        let mut candidates = run.candidates.clone();
        candidates.sort_by_key(order);
        told.candidates = candidates.iter().map(Victims::of).collect();
    }
    answer.preemption = Some(told);
}

fn scores(
    framework: &Framework,
    state: &mut CycleState,
    pod: &PodInfo,
    feasible: &[Arc<NodeInfo>],
    snapshot: &Snapshot,
    answer: &mut Answer,
) -> Result<(), Status> {
    let mut told: Vec<BTreeMap<String, PluginScore>> = vec![BTreeMap::new(); feasible.len()];
    let mut seen = |scored: Scored<'_>| match scored {
        Scored::Raw(plugin, raw) => {
            for (scores, raw) in told.iter_mut().zip(raw) {
                scores.entry(plugin.to_owned()).or_default().raw = *raw;
            }
        }
        Scored::Normalized(plugin, weight, normalized) => {
            for (scores, normalized) in told.iter_mut().zip(normalized) {
                let score = scores.entry(plugin.to_owned()).or_default();
                score.normalized = *normalized;
                score.weighted = normalized * weight;
            }
        }
    };
    let totals = framework.score_seen(state, pod, feasible, snapshot, &mut seen)?;
    for ((node, scores), total) in feasible.iter().zip(told).zip(totals) {
        if let Some(at) = snapshot.index.get(node.name()) {
            answer.nodes[*at].scores = Some(scores);
            answer.nodes[*at].total = Some(total);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
