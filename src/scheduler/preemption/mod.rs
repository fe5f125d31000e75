//! Which pods would have to go, and from which node, for a pod to fit (`framework/preemption`,
//! `plugins/defaultpreemption`). Pure: who goes is decided here, and made to go elsewhere.

mod budgets;
mod choose;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use choose::best;

use self::budgets::Budgets;
use super::config::args::DefaultPreemptionArgs;
use super::diagnosis::FitError;
use super::framework::plugin::PostFilterContext;
use super::framework::{Code, CycleState, Status};
use crate::cluster::{NodeInfo, PodInfo, Snapshot};

/// Why the pod may not preempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ineligible(pub &'static str);

/// A node, and who would have to go.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The node.
    pub node: Arc<str>,
    /// The victims, the most important first. Never empty.
    pub victims: Vec<Arc<PodInfo>>,
    /// How many of them a PodDisruptionBudget would keep.
    pub violations: usize,
}

/// What came of a dry run.
#[derive(Debug, Clone, Default)]
pub struct DryRun {
    /// Nodes that can be made to fit; those whose victims no budget keeps come first.
    pub candidates: Vec<Candidate>,
    /// Nodes that cannot, and why.
    pub not_helped: BTreeMap<Arc<str>, Status>,
}

impl DryRun {
    /// Why nothing helps, in kube-scheduler's words.
    #[must_use]
    pub fn message(&self, snapshot: &Snapshot) -> String {
        let not_tried = Status::unresolvable("Preemption is not helpful for scheduling");
        let error = FitError {
            nodes: snapshot.nodes.len(),
            rejected: self.not_helped.clone(),
            absent: Some(not_tried),
            ..FitError::default()
        };
        error.message()
    }
}

/// Whether the pod may preempt others at all, now.
///
/// # Errors
/// Why not.
pub fn eligible(context: &PostFilterContext<'_>) -> Result<(), Ineligible> {
    let spec = &context.pod.spec;
    if spec.never_preempts {
        return Err(Ineligible("not eligible due to preemptionPolicy=Never."));
    }
    let Some(nominated) = &spec.nominated_node else {
        return Ok(());
    };
    let status = context.error.status(nominated);
    if status.is_some_and(|s| s.code == Code::UnschedulableAndUnresolvable) {
        return Ok(());
    }
    let row = context.snapshot.node(nominated);
    let mut leaving = row
        .into_iter()
        .flat_map(|n| &n.pods)
        .filter(|p| p.spec.priority < spec.priority && p.spec.preempted && p.pod.deleted.is_some());
    match leaving.next() {
        Some(_) => Err(Ineligible(
            "not eligible due to a terminating pod on the nominated node.",
        )),
        None => Ok(()),
    }
}

/// The nodes where fewer pods might help.
#[must_use]
pub fn potential_nodes(context: &PostFilterContext<'_>) -> Vec<Arc<NodeInfo>> {
    let helped = |node: &&Arc<NodeInfo>| {
        let status = context.error.status(node.name());
        status.is_some_and(|s| s.code == Code::Unschedulable)
    };
    context
        .snapshot
        .nodes
        .iter()
        .filter(helped)
        .cloned()
        .collect()
}

/// How many candidates are enough, of so many nodes.
#[must_use]
pub fn wanted(args: &DefaultPreemptionArgs, nodes: usize) -> usize {
    let percentage = usize::try_from(args.min_candidate_nodes_percentage).unwrap_or(0);
    let least = usize::try_from(args.min_candidate_nodes_absolute).unwrap_or(0);
    (nodes * percentage / 100).max(least).min(nodes)
}

/// Tries node by node who would have to go, until there are enough candidates.
#[must_use]
pub fn dry_run(
    context: &PostFilterContext<'_>,
    potential: &[Arc<NodeInfo>],
    wanted: usize,
) -> DryRun {
    let mut run = DryRun::default();
    let mut violating = Vec::new();
    let offset = context.random as usize % potential.len().max(1);
    for i in 0..potential.len() {
        let node = &potential[(offset + i) % potential.len()];
        match victims_on(context, node) {
            Ok(candidate) if candidate.violations == 0 => run.candidates.push(candidate),
            Ok(candidate) => violating.push(candidate),
            Err(status) => {
                run.not_helped.insert(node.name().clone(), status);
            }
        }
        let harmless = run.candidates.len();
        if harmless > 0 && harmless + violating.len() >= wanted {
            break;
        }
    }
    run.candidates.append(&mut violating);
    run
}

/// The order of importance: higher priority, then longer running. A pod that has not started is the least.
fn importance(pod: &PodInfo) -> (Reverse<i32>, bool, Option<jiff::Timestamp>) {
    let started = pod.spec.started;
    (Reverse(pod.spec.priority), started.is_none(), started)
}

/// A what-if on one node.
struct WhatIf<'a> {
    context: &'a PostFilterContext<'a>,
    node: NodeInfo,
    state: CycleState,
}

impl WhatIf<'_> {
    fn remove(&mut self, pod: &PodInfo) {
        self.node.remove(pod.uid());
        let context = self.context;
        context
            .framework
            .remove_pod(&mut self.state, context.pod, pod, &self.node);
    }

    fn add(&mut self, pod: &Arc<PodInfo>) {
        self.node.add(pod.clone());
        let context = self.context;
        context
            .framework
            .add_pod(&mut self.state, context.pod, pod, &self.node);
    }

    fn fits(&self) -> Result<(), Status> {
        let PostFilterContext {
            framework,
            pod,
            snapshot,
            ..
        } = self.context;
        framework.filter_beside_nominated(&self.state, pod, &self.node, snapshot)
    }

    /// Puts a pod back if the incoming one fits all the same.
    fn reprieve(&mut self, pod: &Arc<PodInfo>) -> bool {
        self.add(pod);
        let fits = self.fits().is_ok();
        if !fits {
            self.remove(pod);
        }
        fits
    }
}

fn victims_on(context: &PostFilterContext<'_>, node: &NodeInfo) -> Result<Candidate, Status> {
    let lower = |p: &&Arc<PodInfo>| p.spec.priority < context.pod.spec.priority;
    let mut potential: Vec<Arc<PodInfo>> = node.pods.iter().filter(lower).cloned().collect();
    if potential.is_empty() {
        let reason = "No preemption victims found for incoming pod";
        return Err(Status::unresolvable(reason));
    }
    let mut what_if = WhatIf {
        context,
        node: node.clone(),
        state: context.state.clone(),
    };
    for pod in &potential {
        what_if.remove(pod);
    }
    what_if.fits()?;
    potential.sort_by_key(|p| importance(p));
    let mut budgets = Budgets::new(&context.snapshot.budgets);
    let (kept, free): (Vec<_>, Vec<_>) = potential.iter().partition(|p| budgets.violated_by(p));
    let mut victims: Vec<Arc<PodInfo>> = Vec::new();
    let mut violations = 0;
    for (pod, violates) in kept
        .iter()
        .map(|p| (p, 1))
        .chain(free.iter().map(|p| (p, 0)))
    {
        if !what_if.reprieve(pod) {
            victims.push(Arc::clone(pod));
            violations += violates;
        }
    }
    victims.sort_by_key(|p| importance(p));
    if victims.is_empty() {
        let reason = format!("expected at least one victim pod on node {:?}", node.name());
        return Err(Status::new(Code::Error, reason));
    }
    Ok(Candidate {
        node: node.name().clone(),
        victims,
        violations,
    })
}

#[cfg(test)]
mod tests;
