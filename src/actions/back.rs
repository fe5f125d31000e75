//! Running a plan back: the steps that put the cluster where it was, compiled from what was done.
//!
//! They are appended to the plan, stored before they are acted on, and carried out by the same engine. What
//! needs no step (an intent that nobody took) is taken back when the action ends.

use super::op::{Op, Who};
use super::plan::Plan;
use crate::model::WorkloadRef;
use crate::store::{StepRecord, StepState};

/// What has to be undone, and what is said about the rest.
#[derive(Debug, Default)]
pub struct Back {
    /// The steps, to be appended.
    pub steps: Vec<StepRecord>,
    /// What stays as it is although it was not asked for: said in the outcome.
    pub remarks: Vec<String>,
    /// Whether anything in the cluster was changed at all.
    pub touched: bool,
    /// Whether the steps put everything where it was.
    pub restores: bool,
}

/// One workload's share in a plan: pods that came, pods that went.
#[derive(Debug, Default)]
struct Share {
    /// Surges that raised the count: the steps of their intents.
    ups: Vec<usize>,
    /// Removals: how far each got.
    removals: Vec<Removed>,
}

#[derive(Debug)]
struct Removed {
    /// The step of the withhold.
    intent: usize,
    pod: super::order::Target,
    evicted: bool,
    scaled: bool,
}

/// Compiles the way back from the steps as they stand, those before `from` left out: they are of an attempt that
/// was put back already. All steps have ended.
#[must_use]
pub fn compile(steps: &[StepRecord], from: usize) -> Back {
    let ops: Vec<Option<Op>> = steps
        .iter()
        .map(|step| serde_json::from_value(step.op.clone()).ok())
        .collect();
    let done = |index: usize| steps.get(index).is_some_and(|s| s.state == StepState::Done);
    let mut shares: Vec<(WorkloadRef, Share)> = Vec::new();
    let mut recreated: Vec<(usize, super::order::Target)> = Vec::new();
    let mut back = Back {
        restores: true,
        ..Back::default()
    };
    for (index, op) in ops.iter().enumerate().skip(from) {
        match op {
            Some(Op::ScaleUp { workload }) if done(index) => {
                back.touched = true;
                if let Some(intent) = intent_of(steps, &ops, index) {
                    share(&mut shares, workload).ups.push(intent);
                }
            }
            Some(Op::Evict {
                who: Who::Named(pod),
            }) => {
                let evicted = done(index);
                back.touched |= evicted;
                let Some(intent) = intent_of(steps, &ops, index) else {
                    continue;
                };
                match ops.get(intent) {
                    // A withhold: the pod was to leave for good.
                    Some(Some(Op::Intend { node: None, .. })) => {
                        let scaled = ops.iter().enumerate().any(|(at, op)| {
                            matches!(op, Some(Op::ScaleDown { intent: i, .. }) if *i == intent)
                                && done(at)
                        });
                        share(&mut shares, &pod.workload).removals.push(Removed {
                            intent,
                            pod: pod.clone(),
                            evicted,
                            scaled,
                        });
                    }
                    // An intent with a place: the pod's replacement goes back where the pod was.
                    _ if evicted => recreated.push((intent, pod.clone())),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    let mut plan = Plan::following(steps.len());
    let mut last: Vec<usize> = Vec::new();
    // What stands where others must come back to leaves first; its replacement is held meanwhile.
    for (intent, pod) in &recreated {
        last = vec![hold(&mut plan, &pod.workload, *intent, &last)];
    }
    for (workload, share) in &shares {
        undo(&mut plan, &mut last, &mut back, workload, share);
    }
    for (intent, pod) in recreated {
        let op = Op::Redirect {
            intent,
            node: Some(pod.node.clone()),
            hold: false,
        };
        let directed = plan.add(op, &last);
        last = vec![plan.add(Op::AwaitReady { intent }, &[directed])];
        back.remarks.push(format!(
            "pod {} was replaced by a new one on {}",
            pod.pod, pod.node
        ));
    }
    back.steps = plan.steps();
    back
}

/// The intent that a step acts under: the one it needs.
fn intent_of(steps: &[StepRecord], ops: &[Option<Op>], index: usize) -> Option<usize> {
    let intends = |need: &&usize| matches!(ops.get(**need), Some(Some(Op::Intend { .. })));
    steps.get(index)?.needs.iter().find(intends).copied()
}

fn share<'a>(shares: &'a mut Vec<(WorkloadRef, Share)>, workload: &WorkloadRef) -> &'a mut Share {
    let at = shares
        .iter()
        .position(|(known, _)| known.uid == workload.uid)
        .unwrap_or_else(|| {
            shares.push((workload.clone(), Share::default()));
            shares.len() - 1
        });
    &mut shares[at].1
}

fn undo(
    plan: &mut Plan,
    last: &mut Vec<usize>,
    back: &mut Back,
    workload: &WorkloadRef,
    share: &Share,
) {
    // New pods of one workload are fungible: the first ones stand for the pods that have left.
    let left = share
        .removals
        .iter()
        .filter(|removal| removal.evicted)
        .count();
    let (settled, surplus) = share.ups.split_at(left.min(share.ups.len()));
    for intent in surplus.iter().rev() {
        *last = vec![withdraw_surge(plan, workload, *intent, last)];
    }
    let mut came = settled.iter();
    for removal in share.removals.iter().filter(|removal| removal.evicted) {
        let pod = &removal.pod;
        let remark = match (came.next(), removal.scaled) {
            // It left, and its successor is elsewhere: a new pod goes where it was, the successor leaves.
            (Some(intent), true) => {
                let (_, ready) = plan.surge(workload, &pod.node, last);
                *last = vec![withdraw_surge(plan, workload, *intent, &[ready])];
                format!("pod {} was replaced by a new one on {}", pod.pod, pod.node)
            }
            // It left, and nothing was scaled: its own replacement goes where it was (or wherever a rollout
            // puts it), and the successor leaves.
            (Some(intent), false) => {
                let home = Op::Redirect {
                    intent: removal.intent,
                    node: Some(pod.node.clone()),
                    hold: false,
                };
                let directed = plan.add(home, last);
                *last = vec![withdraw_surge(plan, workload, *intent, &[directed])];
                format!(
                    "pod {} has left; its replacement was sent to {}, or where a rollout or ordinary \
                     scheduling put it",
                    pod.pod, pod.node
                )
            }
            (None, true) => {
                back.restores = false;
                format!(
                    "pod {} has left, and {workload} was scaled down by one",
                    pod.pod
                )
            }
            (None, false) => {
                back.restores = false;
                format!(
                    "pod {} has left, but {workload} was not scaled down: its replacement was released to \
                     ordinary scheduling",
                    pod.pod
                )
            }
        };
        back.remarks.push(remark);
    }
}

/// The pod that took an intent (if any) leaves its node, and its replacement is held unbound.
fn hold(plan: &mut Plan, workload: &WorkloadRef, intent: usize, needs: &[usize]) -> usize {
    let op = Op::Redirect {
        intent,
        node: None,
        hold: true,
    };
    let held = plan.add(op, needs);
    let who = Who::Claimant(intent);
    let evict = plan.add(Op::Evict { who }, &[held]);
    let workload = workload.clone();
    plan.add(Op::AwaitHeld { intent, workload }, &[evict])
}

/// Undoes a +1: the pod that came for it (if any) is evicted, its replacement held, and the count lowered;
/// a pod that is not bound yet is held itself. A bare -1 would take an unready sibling first.
fn withdraw_surge(
    plan: &mut Plan,
    workload: &WorkloadRef,
    intent: usize,
    needs: &[usize],
) -> usize {
    let held = hold(plan, workload, intent, needs);
    let workload = workload.clone();
    let down = Op::ScaleDown {
        workload: workload.clone(),
        intent,
    };
    let down = plan.add(down, &[held]);
    plan.add(Op::AwaitHeldGone { intent, workload }, &[down])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::options::Strategy;
    use crate::actions::order::{Order, Target, Verb};
    use crate::actions::plan::{self, Shape};
    use crate::model::NamespacedName;

    fn target(name: &str, of: &str, node: &str) -> Target {
        Target {
            pod: NamespacedName::new("default", name),
            uid: format!("uid-{name}"),
            node: node.into(),
            replica_set: format!("rs-{of}"),
            replica_set_name: format!("rs-{of}"),
            workload: WorkloadRef {
                api_version: "apps/v1".into(),
                kind: "Deployment".into(),
                namespace: "default".into(),
                name: of.into(),
                uid: format!("uid-{of}"),
            },
        }
    }

    fn forward(verb: Verb, shape: Shape, done: impl Fn(&Op) -> bool) -> Vec<StepRecord> {
        let order = Order {
            verb,
            strategy: Strategy::Auto,
            caller: String::new(),
        };
        let mut steps = plan::compile(&order, shape, 0).steps();
        for step in &mut steps {
            let op: Op = serde_json::from_value(step.op.clone()).unwrap();
            step.state = if done(&op) {
                StepState::Done
            } else {
                StepState::Skipped
            };
        }
        steps
    }

    fn ops(back: &Back) -> Vec<Op> {
        back.steps
            .iter()
            .map(|s| serde_json::from_value(s.op.clone()).unwrap())
            .collect()
    }

    fn moving() -> Verb {
        Verb::Move {
            pod: target("a1", "a", "n1"),
            node: "n2".into(),
        }
    }

    #[test]
    fn nothing_done_nothing_to_undo() {
        let back = compile(&forward(moving(), Shape::Surge, |_| false), 0);
        assert!(back.steps.is_empty() && !back.touched && back.remarks.is_empty());
    }

    #[test]
    fn an_intent_alone_touched_nothing() {
        let steps = forward(moving(), Shape::Surge, |op| matches!(op, Op::Intend { .. }));
        assert!(!compile(&steps, 0).touched);
    }

    #[test]
    fn a_surge_is_undone_by_holding_its_own_pod_never_by_a_bare_scale_down() {
        let steps = forward(moving(), Shape::Surge, |op| {
            matches!(op, Op::Intend { node: Some(_), .. } | Op::ScaleUp { .. })
        });
        let back = compile(&steps, 0);
        let ops = ops(&back);
        assert!(back.touched);
        assert!(matches!(
            ops[0],
            Op::Redirect {
                intent: 0,
                hold: true,
                ..
            }
        ));
        assert!(matches!(
            ops[1],
            Op::Evict {
                who: Who::Claimant(0)
            }
        ));
        assert!(matches!(ops[2], Op::AwaitHeld { intent: 0, .. }));
        assert!(matches!(ops[3], Op::ScaleDown { intent: 0, .. }));
        assert_eq!(back.steps[0].needs, Vec::<usize>::new());
        assert_eq!(back.steps[1].needs, vec![steps.len()]);
    }

    #[test]
    fn a_recreated_pod_goes_back_to_its_node() {
        let steps = forward(moving(), Shape::Recreate, |op| {
            matches!(op, Op::Intend { .. } | Op::Evict { .. })
        });
        let ops = ops(&compile(&steps, 0));
        assert!(matches!(
            ops[0],
            Op::Redirect {
                intent: 0,
                hold: true,
                ..
            }
        ));
        assert!(matches!(
            ops[1],
            Op::Evict {
                who: Who::Claimant(0)
            }
        ));
        assert!(matches!(ops[2], Op::AwaitHeld { intent: 0, .. }));
        assert!(
            matches!(&ops[3], Op::Redirect { intent: 0, node: Some(n), hold: false } if n == "n1")
        );
        assert!(matches!(ops[4], Op::AwaitReady { intent: 0 }));
    }

    #[test]
    fn a_half_done_swap_goes_all_the_way_back() {
        let verb = Verb::Swap {
            x: target("a1", "a", "n7"),
            y: vec![target("b1", "b", "n4"), target("b2", "b", "n4")],
        };
        // x is held, both b surged to n7, b1 has left, b2 did not.
        let steps = forward(verb, Shape::XFirst, |op| match op {
            Op::Intend { .. } | Op::ScaleUp { .. } => true,
            Op::Evict {
                who: Who::Named(pod),
            } => pod.uid != "uid-b2",
            Op::ScaleDown { intent, .. } | Op::AwaitHeld { intent, .. } => *intent < 14,
            _ => false,
        });
        let back = compile(&steps, 0);
        let ops = ops(&back);
        let downs = ops
            .iter()
            .filter(|op| matches!(op, Op::ScaleDown { .. }))
            .count();
        let ups = ops
            .iter()
            .filter(|op| matches!(op, Op::ScaleUp { .. }))
            .count();
        // One surge too many is withdrawn; the pod that left comes back and its successor leaves.
        assert_eq!((ups, downs), (1, 2));
        let last = &ops[ops.len() - 2..];
        assert!(matches!(&last[0], Op::Redirect { node: Some(n), hold: false, .. } if n == "n7"));
        assert!(matches!(last[1], Op::AwaitReady { .. }));
    }

    #[test]
    fn a_move_that_cannot_scale_down_keeps_no_surplus() {
        let verb = Verb::Move {
            pod: target("a1", "a", "n1"),
            node: "n2".into(),
        };
        let steps = forward(verb, Shape::Surge, |op| {
            !matches!(op, Op::ScaleDown { .. } | Op::AwaitHeldGone { .. })
        });
        let back = compile(&steps, 0);
        let ops = ops(&back);
        // Its own replacement goes home, the successor is the certain victim.
        assert!(
            matches!(&ops[0], Op::Redirect { node: Some(n), hold: false, intent: 3 } if n == "n1")
        );
        assert!(ops.contains(&Op::Evict {
            who: Who::Claimant(0)
        }));
        let down = |op: &&Op| matches!(op, Op::ScaleDown { intent: 0, .. });
        assert_eq!(ops.iter().filter(down).count(), 1);
        assert!(back.restores);
    }

    #[test]
    fn a_delete_that_got_stuck_says_what_became_of_the_pod() {
        let verb = Verb::Delete {
            pod: target("a1", "a", "n1"),
        };
        let steps = forward(verb, Shape::Surge, |op| {
            matches!(op, Op::Intend { .. } | Op::Evict { .. })
        });
        let back = compile(&steps, 0);
        assert!(back.steps.is_empty() && back.touched);
        assert!(back.remarks[0].contains("released to ordinary scheduling"));
    }
}
