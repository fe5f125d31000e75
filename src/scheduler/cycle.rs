//! One scheduling cycle's decision: PreFilter, Filter, Score, and the choice. Pure: a snapshot goes in, a
//! node comes out (`schedule_one.go`).

use std::collections::HashMap;
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;

use super::diagnosis::{FitError, Nominate};
use super::framework::plugin::PostFilterContext;
use super::framework::runtime::not_satisfied;
use super::framework::{Code, CycleState, Framework, Point, Status};
use super::plugins::action_intent::Target;
use crate::cluster::{NodeInfo, PodInfo, Snapshot};

/// What carries over from one cycle to the next.
#[derive(Debug)]
pub struct Search {
    /// Where the next search over the nodes begins, so that all get their turn when not all are looked at.
    pub next_start: usize,
    /// Decides between nodes of equal score.
    pub rng: StdRng,
}

/// The node chosen.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The node.
    pub node: Arc<NodeInfo>,
    /// How many nodes were filtered.
    pub evaluated: usize,
    /// How many passed.
    pub feasible: usize,
}

/// Why there is none.
#[derive(Debug)]
pub enum Failure {
    /// There are no nodes at all.
    NoNodes,
    /// No node fits.
    Fit(Box<FitError>),
    /// A plugin failed.
    Error(Status),
}

/// How many nodes that fit are enough, of `nodes` (`numFeasibleNodesToFind`).
#[must_use]
pub fn nodes_to_find(nodes: usize, percentage: u32) -> usize {
    const ENOUGH: usize = 100;
    if nodes < ENOUGH {
        return nodes;
    }
    let percentage = match percentage {
        0 => 50_usize.saturating_sub(nodes / 125).max(5),
        given => given.min(100) as usize,
    };
    (nodes * percentage / 100).max(ENOUGH)
}

/// Finds the node for a pod.
///
/// # Errors
/// See [`Failure`].
pub fn schedule(
    framework: &Framework,
    search: &mut Search,
    state: &mut CycleState,
    pod: &PodInfo,
    snapshot: &Snapshot,
) -> Result<Choice, Failure> {
    if snapshot.nodes.is_empty() {
        return Err(Failure::NoNodes);
    }
    let looking = Looking {
        all_feasible: false,
        promised: true,
    };
    let found = find(framework, search, state, pod, snapshot, looking)?;
    choose(
        framework,
        search,
        state,
        pod,
        snapshot,
        found,
        &HashMap::new(),
    )
}

/// Chooses among the nodes found; `added` (by extenders) counts on top of the plugins' scores.
///
/// # Errors
/// See [`Failure`].
pub(super) fn choose(
    framework: &Framework,
    search: &mut Search,
    state: &mut CycleState,
    pod: &PodInfo,
    snapshot: &Snapshot,
    found: Found,
    added: &HashMap<String, i64>,
) -> Result<Choice, Failure> {
    let (mut feasible, error) = found;
    let evaluated = feasible.len() + error.rejected.len();
    let count = feasible.len();
    let node = match count {
        0 => {
            // A pod whose place an action has chosen displaces nobody.
            if state.get::<Target>().is_some() {
                return Err(Failure::Fit(Box::new(error)));
            }
            let random = search.rng.random();
            let error = after_filter(framework, state, pod, snapshot, error, random);
            return Err(Failure::Fit(Box::new(error)));
        }
        1 => feasible.remove(0),
        _ => {
            let mut totals = framework
                .score(state, pod, &feasible, snapshot)
                .map_err(Failure::Error)?;
            if !added.is_empty() {
                for (total, node) in totals.iter_mut().zip(&feasible) {
                    *total += added.get(&**node.name()).copied().unwrap_or_default();
                }
            }
            let best = totals.iter().copied().max().unwrap_or_default();
            let ties: Vec<usize> = (0..count).filter(|i| totals[*i] == best).collect();
            let at = ties[search.rng.random_range(0..ties.len())];
            feasible.swap_remove(at)
        }
    };
    Ok(Choice {
        node,
        evaluated,
        feasible: count,
    })
}

/// PostFilter, for a pod that fits nowhere.
pub(super) fn after_filter(
    framework: &Framework,
    state: &CycleState,
    pod: &PodInfo,
    snapshot: &Snapshot,
    mut error: FitError,
    random: u32,
) -> FitError {
    let context = PostFilterContext {
        framework,
        state,
        pod,
        snapshot,
        error: &error,
        random,
    };
    let started = framework.start();
    let helped = framework.post_filter(&context);
    let none = Status::unschedulable("");
    framework.ran(
        Point::PostFilter,
        helped.as_ref().err().map(|_| &none),
        started,
    );
    match helped {
        Ok(nomination) => error.nomination = Nominate::Node(nomination),
        Err((reasons, clear)) => {
            error.post_filter = reasons.join(", ");
            if clear {
                error.nomination = Nominate::Clear;
            }
        }
    }
    error
}

/// The nodes that pass the filters, and why the others do not.
pub(super) type Found = (Vec<Arc<NodeInfo>>, FitError);

/// How to look for nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looking {
    /// One is not enough even where nobody scores: extenders have to filter yet.
    pub(super) all_feasible: bool,
    /// A node promised earlier is taken without looking further.
    pub(super) promised: bool,
}

/// PreFilter and Filter.
///
/// # Errors
/// A plugin failed.
pub(super) fn find(
    framework: &Framework,
    search: &mut Search,
    state: &mut CycleState,
    pod: &PodInfo,
    snapshot: &Snapshot,
    looking: Looking,
) -> Result<Found, Failure> {
    let mut error = FitError {
        nodes: snapshot.nodes.len(),
        ..FitError::default()
    };
    framework.asked_all(Point::PreFilter);
    let narrowed = framework.timed(Point::PreFilter, || {
        framework.pre_filter(state, pod, snapshot)
    });
    let (names, narrowing) = match narrowed {
        Ok(narrowed) => narrowed,
        Err(status) if status.is_rejection() => {
            error.pre_filter = Some(status.message());
            error.rejectors.insert(status.plugin);
            error.absent = Some(status);
            return Ok((Vec::new(), error));
        }
        Err(status) => return Err(Failure::Error(status)),
    };
    let mut reject = |node: &NodeInfo, status: Status| {
        if status.code == Code::Error {
            return Err(Failure::Error(status));
        }
        error.rejectors.insert(status.plugin);
        error.rejected.insert(node.name().clone(), status);
        Ok(())
    };
    // A node promised earlier (by preemption) is taken if it fits, without comparing.
    if let Some(node) = pod
        .spec
        .nominated_node
        .as_ref()
        .filter(|_| looking.promised)
        .and_then(|n| snapshot.node(n))
        && names
            .as_ref()
            .is_none_or(|names| names.contains(node.name()))
        && framework
            .filter_beside_nominated(state, pod, node, snapshot)
            .is_ok()
    {
        return Ok((vec![node.clone()], error));
    }
    let mut feasible = Vec::new();
    let started = framework.start();
    match &names {
        Some(names) => {
            for node in names.iter().filter_map(|name| snapshot.node(name)) {
                match framework.filter_beside_nominated(state, pod, node, snapshot) {
                    Ok(()) => feasible.push(node.clone()),
                    Err(status) => reject(node, status)?,
                }
            }
            let left_out = Status::unresolvable(not_satisfied(&narrowing, false));
            error.absent = Some(left_out);
            error.rejectors.extend(narrowing);
        }
        None => {
            let all = snapshot.nodes.len();
            let enough = if framework.scores() || looking.all_feasible {
                nodes_to_find(all, framework.percentage_of_nodes_to_score)
            } else {
                1
            };
            let start = search.next_start % all;
            let mut looked_at = 0;
            for i in 0..all {
                if feasible.len() == enough {
                    break;
                }
                let node = &snapshot.nodes[(start + i) % all];
                match framework.filter_beside_nominated(state, pod, node, snapshot) {
                    Ok(()) => feasible.push(node.clone()),
                    Err(status) => reject(node, status)?,
                }
                looked_at = i + 1;
            }
            search.next_start = (start + looked_at) % all;
        }
    }
    framework.ran(Point::Filter, None, started);
    framework.asked_filters(feasible.len(), &error);
    Ok((feasible, error))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use serde_json::json;

    use super::*;
    use crate::scheduler::framework::Profile;
    use crate::scheduler::intents::IntentBook;
    use crate::scheduler::plugins::{registry, testing};

    fn framework() -> Framework {
        let registry = registry(Arc::new(IntentBook::default()));
        Framework::new(&Profile::new("s"), &registry).unwrap()
    }

    fn search() -> Search {
        Search {
            next_start: 0,
            rng: StdRng::seed_from_u64(1),
        }
    }

    fn nodes(count: usize) -> Arc<Snapshot> {
        let node = |i| {
            json!({"metadata":{"name":format!("n{i}")},
                "status":{"allocatable":{"cpu":format!("{}", 1 + i % 3),"memory":"4Gi","pods":"10"}}})
        };
        testing::snapshot(&(0..count).map(node).collect::<Vec<_>>())
    }

    #[test]
    fn how_many_nodes_are_enough() {
        let expected = [
            (50, 50),
            (99, 99),
            (100, 100),
            (500, 230),
            (1000, 420),
            (5000, 500),
            (6000, 300),
            (10_000, 500),
            (30_000, 1500),
        ];
        for (nodes, enough) in expected {
            assert_eq!(nodes_to_find(nodes, 0), enough, "{nodes}");
        }
        assert_eq!(
            (nodes_to_find(1000, 30), nodes_to_find(1000, 100)),
            (300, 1000)
        );
    }

    #[test]
    fn chooses_among_the_best() {
        let pod = testing::asking("500m", "1Gi");
        let mut state = CycleState::default();
        let choice = schedule(&framework(), &mut search(), &mut state, &pod, &nodes(9)).unwrap();
        assert_eq!((choice.feasible, choice.evaluated), (9, 9));
        assert_eq!(choice.node.node.allocatable.milli_cpu, 3000, "the emptiest");
    }

    #[test]
    fn says_why_none_fits() {
        let pod = testing::asking("2500m", "5Gi");
        let failure = schedule(
            &framework(),
            &mut search(),
            &mut CycleState::default(),
            &pod,
            &nodes(3),
        );
        let Err(Failure::Fit(error)) = failure else {
            panic!("{failure:?}");
        };
        assert_eq!(
            error.message(),
            "0/3 nodes are available: 2 Insufficient cpu, 3 Insufficient memory. \
             no new claims to deallocate, preemption: \
             0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        );
        assert!(error.rejectors.contains("NodeResourcesFit"));
    }

    #[test]
    fn an_intent_narrows_to_its_node_and_filters_still_apply() {
        let target = |node: &str| Target {
            intent: "a.1".into(),
            action: "a".into(),
            node: node.into(),
            instead_of: None,
        };
        let run = |node: &str, cpu: &str| {
            let mut state = CycleState::default();
            state.put(target(node));
            let pod = testing::asking(cpu, "1Gi");
            schedule(&framework(), &mut search(), &mut state, &pod, &nodes(3))
        };
        assert_eq!(&**run("n0", "1").unwrap().node.name(), "n0");
        let Err(Failure::Fit(error)) = run("n0", "2") else {
            panic!("n0 has one cpu");
        };
        assert_eq!(
            error.message(),
            "0/3 nodes are available: 1 Insufficient cpu, \
             2 node(s) didn't satisfy plugin(s) [ActionIntent]."
        );
        let Err(Failure::Fit(error)) = run("elsewhere", "1") else {
            panic!("there is no such node");
        };
        assert!(error.pre_filter.is_some() && error.rejectors.contains("ActionIntent"));
    }

    #[test]
    fn searches_go_round() {
        let (framework, mut search) = (framework(), search());
        let snapshot = nodes(300);
        let enough = nodes_to_find(300, 0);
        for round in 1..4 {
            let pod = testing::asking("100m", "1");
            let choice = schedule(
                &framework,
                &mut search,
                &mut CycleState::default(),
                &pod,
                &snapshot,
            );
            assert_eq!(choice.unwrap().feasible, enough);
            assert_eq!(search.next_start, round * enough % 300);
        }
    }
}
