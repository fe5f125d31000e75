//! A cycle's decision with extenders: as without, and they have their say after the filters, beside the scores
//! and before a preemption.

use super::{EXTENDER, Extenders};
use crate::cluster::{PodInfo, Snapshot};
use crate::scheduler::cycle::{self, Choice, Failure, Looking, Search};
use crate::scheduler::diagnosis::Nominate;
use crate::scheduler::framework::plugin::Nomination;
use crate::scheduler::framework::{CycleState, Framework};
use crate::scheduler::preemption;

/// Finds the node for a pod.
///
/// # Errors
/// See [`Failure`]; an extender that does not answer and may not be ignored is one.
pub async fn schedule(
    extenders: &Extenders,
    framework: &Framework,
    search: &mut Search,
    state: &mut CycleState,
    pod: &PodInfo,
    snapshot: &Snapshot,
) -> Result<Choice, Failure> {
    if snapshot.nodes.is_empty() {
        return Err(Failure::NoNodes);
    }
    let mut looking = Looking {
        all_feasible: extenders.filters(),
        promised: true,
    };
    let (mut feasible, mut error) = cycle::find(framework, search, state, pod, snapshot, looking)?;
    let promised = match feasible.as_slice() {
        [only] => pod.spec.nominated_node.as_deref() == Some(only.name()),
        _ => false,
    };
    let mut agreed = extenders
        .filter(pod, feasible, &mut error)
        .await
        .map_err(Failure::Error)?;
    if agreed.is_empty() && promised {
        // They do not let it onto the node it was promised: all others are left.
        looking.promised = false;
        *state = without_filter_state(state);
        (feasible, error) = cycle::find(framework, search, state, pod, snapshot, looking)?;
        agreed = extenders
            .filter(pod, feasible, &mut error)
            .await
            .map_err(Failure::Error)?;
    }
    let added = if agreed.len() > 1 {
        extenders.scores(pod, &agreed).await
    } else {
        std::collections::HashMap::new()
    };
    let decided = cycle::choose(
        framework,
        search,
        state,
        pod,
        snapshot,
        (agreed, error),
        &added,
    );
    match decided {
        Err(Failure::Fit(mut error)) => {
            if let Nominate::Node(nomination) = std::mem::take(&mut error.nomination) {
                let asked = extenders
                    .preempt(pod, nomination.candidates, snapshot)
                    .await;
                let candidates = asked.map_err(Failure::Error)?;
                match preemption::best(&candidates).first() {
                    Some(best) => {
                        error.nomination = Nominate::Node(Nomination {
                            node: best.node.clone(),
                            victims: best.victims.clone(),
                            candidates: Vec::new(),
                        });
                    }
                    None => {
                        "preemption: no candidate node for preemption"
                            .clone_into(&mut error.post_filter);
                        error.nomination = Nominate::Clear;
                        error.rejectors.insert(EXTENDER);
                    }
                }
            }
            Err(Failure::Fit(error))
        }
        other => other,
    }
}

/// The state as it was before PreFilter: only what an intent has put there.
fn without_filter_state(state: &CycleState) -> CycleState {
    use crate::scheduler::plugins::action_intent::Target;
    let mut fresh = CycleState::default();
    if let Some(target) = state.get::<Target>() {
        fresh.put(target.clone());
    }
    fresh
}
