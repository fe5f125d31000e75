//! From an order to its plan: a DAG of few idempotent primitive steps.
//!
//! Invariant: a scale-down is never bare. Every `ScaleDown` needs an `AwaitHeld` of an intent that was
//! stored before the eviction whose replacement it holds (`design: the victim is certain`).

use petgraph::algo::toposort;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use serde_json::Value;

use super::op::{Op, Who};
use super::order::{Order, Target, Verb};
use crate::model::WorkloadRef;
use crate::store::{StepRecord, StepState};

/// How an order is to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The new pod first, the old pods go when it is Ready.
    Surge,
    /// The old pod first; its replacement is bound to the target.
    Recreate,
    /// Swap: `x` goes first, the `y` surge into the freed room, `x` is bound when they have left.
    XFirst,
    /// Swap: the `y` go first, `x` surges into the freed room, they are bound when it has left.
    YFirst,
}

/// A plan under construction. An edge `u -> v` says that v needs u.
#[derive(Debug, Default)]
pub struct Plan {
    graph: StableDiGraph<Op, ()>,
    /// The index of the first step: more than 0 when it continues another plan.
    offset: usize,
}

impl Plan {
    /// A plan whose steps follow `offset` others.
    #[must_use]
    pub fn following(offset: usize) -> Self {
        Self {
            graph: StableDiGraph::new(),
            offset,
        }
    }

    /// Adds a step that needs `needs`; answers its index.
    pub fn add(&mut self, op: Op, needs: &[usize]) -> usize {
        let node = self.graph.add_node(op);
        for need in needs.iter().filter(|need| **need >= self.offset) {
            self.graph
                .add_edge(NodeIndex::new(need - self.offset), node, ());
        }
        node.index() + self.offset
    }

    /// The steps, in an order that keeps every need before what needs it; that is their index order too.
    #[must_use]
    pub fn steps(&self) -> Vec<StepRecord> {
        debug_assert!(
            toposort(&self.graph, None).is_ok(),
            "steps only need earlier steps"
        );
        self.graph
            .node_indices()
            .map(|node| {
                let op = &self.graph[node];
                let mut needs: Vec<usize> = self
                    .graph
                    .edges_directed(node, petgraph::Direction::Incoming)
                    .map(|edge| edge.source().index() + self.offset)
                    .collect();
                needs.sort_unstable();
                StepRecord {
                    name: op.name(),
                    op: serde_json::to_value(op).unwrap_or(Value::Null),
                    needs,
                    state: StepState::Pending,
                    started_at: None,
                    finished_at: None,
                    detail: String::new(),
                    memo: Value::Null,
                }
            })
            .collect()
    }

    /// A new pod of the workload on the node, Ready: `(intent, ready)`.
    pub fn surge(&mut self, workload: &WorkloadRef, node: &str, needs: &[usize]) -> (usize, usize) {
        let intent = self.intend(workload, Some(node), false, None, needs);
        // One at a time: the ledger holds the mark of one step, and the next may overwrite it only when that
        // step is on record as done.
        let up = Op::ScaleUp {
            workload: workload.clone(),
        };
        let before = self
            .graph
            .node_indices()
            .rfind(|node| self.graph[*node] == up)
            .map(|node| node.index() + self.offset);
        let needs: Vec<usize> = std::iter::once(intent).chain(before).collect();
        let up = self.add(up, &needs);
        (intent, self.add(Op::AwaitReady { intent }, &[up]))
    }

    /// The pod goes and its workload shrinks by one: `(replacement gone, pod gone)`.
    pub fn remove(&mut self, who: Who, by: &Removal<'_>, needs: &[usize]) -> (usize, usize) {
        let Removal {
            workload,
            replica_set,
        } = *by;
        let intent = self.intend(workload, None, true, replica_set, needs);
        let evict = self.add(Op::Evict { who: who.clone() }, &[intent]);
        let held = self.add(
            Op::AwaitHeld {
                intent,
                workload: workload.clone(),
            },
            &[evict],
        );
        let down = self.add(
            Op::ScaleDown {
                workload: workload.clone(),
                intent,
            },
            &[held],
        );
        let replacement = self.add(
            Op::AwaitHeldGone {
                intent,
                workload: workload.clone(),
            },
            &[down],
        );
        let gone = match who {
            Who::Named(pod) => self.add(Op::AwaitGone { pod }, &[evict]),
            Who::Claimant(_) => replacement,
        };
        (replacement, gone)
    }

    fn intend(
        &mut self,
        workload: &WorkloadRef,
        node: Option<&str>,
        hold: bool,
        replica_set: Option<&str>,
        needs: &[usize],
    ) -> usize {
        let op = Op::Intend {
            workload: workload.clone(),
            node: node.map(str::to_owned),
            hold,
            replica_set: replica_set.map(str::to_owned),
        };
        self.add(op, needs)
    }

    /// Each pod's place is taken by a new one on `node`, new ones first. Pods of one workload surge
    /// together. Answers the intents and the last steps.
    fn surge_all(&mut self, pods: &[Target], node: &str, needs: &[usize]) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for pod in pods {
            let (intent, ready) = self.surge(&pod.workload, node, needs);
            arrivals.intents.push(intent);
            arrivals.ready.push(ready);
        }
        arrivals
    }

    /// The old pods leave; then the new ones must (still) be Ready.
    fn replace_all(&mut self, pods: &[Target], arrivals: &Arrivals) -> Vec<usize> {
        let gone = self.remove_all(pods, &arrivals.ready);
        for intent in &arrivals.intents {
            self.add(Op::AwaitReady { intent: *intent }, &gone);
        }
        gone
    }

    fn remove_all(&mut self, pods: &[Target], needs: &[usize]) -> Vec<usize> {
        let mut last: Vec<usize> = needs.to_vec();
        let mut all = Vec::new();
        for pod in pods {
            let by = Removal {
                workload: &pod.workload,
                replica_set: Some(&pod.replica_set),
            };
            let (replacement, gone) = self.remove(Who::Named(pod.clone()), &by, &last);
            last = vec![replacement];
            all.extend([replacement, gone]);
        }
        all
    }

    /// One side leaves and is held, the other surges into its room and leaves, the first is bound.
    fn evict_first(&mut self, first: &[Target], second: &[Target]) {
        let (Some(here), Some(there)) = (first.first(), second.first()) else {
            return;
        };
        let (here, there) = (here.node.clone(), there.node.clone());
        let mut intents = Vec::new();
        let mut left = Vec::new();
        let mut before: Vec<usize> = Vec::new();
        for pod in first {
            let intent = self.intend(&pod.workload, Some(&there), true, None, &before);
            let evict = self.add(
                Op::Evict {
                    who: Who::Named(pod.clone()),
                },
                &[intent],
            );
            left.push(self.add(Op::AwaitGone { pod: pod.clone() }, &[evict]));
            intents.push(intent);
            before = vec![evict];
        }
        let arrivals = self.surge_all(second, &here, &left);
        let gone = self.replace_all(second, &arrivals);
        for intent in intents {
            let lifted = self.add(
                Op::Redirect {
                    intent,
                    node: Some(there.clone()),
                    hold: false,
                },
                &gone,
            );
            self.add(Op::AwaitReady { intent }, &[lifted]);
        }
    }
}

/// New pods on their way: the steps of their intents, and those that wait until they are Ready.
#[derive(Debug, Default)]
struct Arrivals {
    intents: Vec<usize>,
    ready: Vec<usize>,
}

/// From which workload a pod is removed.
#[derive(Debug, Clone, Copy)]
pub struct Removal<'a> {
    /// The workload that shrinks.
    pub workload: &'a WorkloadRef,
    /// The ReplicaSet whose replacement is held, if known.
    pub replica_set: Option<&'a str>,
}

/// The plan of an order, its steps following `offset` others. Empty if there is nothing to do.
#[must_use]
pub fn compile(order: &Order, shape: Shape, offset: usize) -> Plan {
    let mut plan = Plan::following(offset);
    match &order.verb {
        Verb::Create { workload, node } => {
            plan.surge(workload, node, &[]);
        }
        Verb::Delete { pod } => {
            plan.remove_all(std::slice::from_ref(pod), &[]);
        }
        Verb::Move { pod, node } if pod.node == *node => {}
        Verb::Move { pod, node } => match shape {
            Shape::Recreate => {
                let intent = plan.intend(&pod.workload, Some(node), false, None, &[]);
                let evict = plan.add(
                    Op::Evict {
                        who: Who::Named(pod.clone()),
                    },
                    &[intent],
                );
                plan.add(Op::AwaitReady { intent }, &[evict]);
                plan.add(Op::AwaitGone { pod: pod.clone() }, &[evict]);
            }
            _ => {
                let pods = std::slice::from_ref(pod);
                let arrivals = plan.surge_all(pods, node, &[]);
                plan.replace_all(pods, &arrivals);
            }
        },
        Verb::Swap { x, y } => {
            let xs = std::slice::from_ref(x);
            match shape {
                Shape::XFirst => plan.evict_first(xs, y),
                Shape::YFirst => plan.evict_first(y, xs),
                _ => {
                    let there = y.first().map(|pod| pod.node.clone()).unwrap_or_default();
                    let mut arrivals = plan.surge_all(xs, &there, &[]);
                    let others = plan.surge_all(y, &x.node, &[]);
                    arrivals.intents.extend(others.intents);
                    arrivals.ready.extend(others.ready);
                    let all: Vec<Target> = xs.iter().chain(y).cloned().collect();
                    plan.replace_all(&all, &arrivals);
                }
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::options::Strategy;
    use crate::model::NamespacedName;

    fn workload(name: &str) -> WorkloadRef {
        WorkloadRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: "default".into(),
            name: name.into(),
            uid: format!("uid-{name}"),
        }
    }

    fn target(name: &str, of: &str, node: &str) -> Target {
        Target {
            pod: NamespacedName::new("default", name),
            uid: format!("uid-{name}"),
            node: node.into(),
            replica_set: format!("rs-{of}"),
            replica_set_name: format!("rs-{of}"),
            workload: workload(of),
        }
    }

    fn ops(verb: Verb, shape: Shape) -> Vec<(Op, Vec<usize>)> {
        let order = Order {
            verb,
            strategy: Strategy::Auto,
            caller: String::new(),
        };
        compile(&order, shape, 0)
            .steps()
            .into_iter()
            .map(|step| (serde_json::from_value(step.op).unwrap(), step.needs))
            .collect()
    }

    fn swap() -> Verb {
        Verb::Swap {
            x: target("a1", "a", "n7"),
            y: vec![target("b1", "b", "n4"), target("b2", "b", "n4")],
        }
    }

    /// All steps that must be done before `step`.
    fn ancestors(ops: &[(Op, Vec<usize>)], step: usize) -> Vec<usize> {
        let mut found = vec![];
        let mut open = ops[step].1.clone();
        while let Some(next) = open.pop() {
            if !found.contains(&next) {
                found.push(next);
                open.extend(&ops[next].1);
            }
        }
        found
    }

    #[test]
    fn no_scale_down_is_bare() {
        let moving = Verb::Move {
            pod: target("a1", "a", "n1"),
            node: "n2".into(),
        };
        let cases = [
            (
                Verb::Delete {
                    pod: target("a1", "a", "n1"),
                },
                Shape::Surge,
            ),
            (moving, Shape::Surge),
            (swap(), Shape::Surge),
            (swap(), Shape::XFirst),
            (swap(), Shape::YFirst),
        ];
        for (verb, shape) in cases {
            let ops = ops(verb, shape);
            let mut seen = 0;
            for (index, (op, _)) in ops.iter().enumerate() {
                let Op::ScaleDown { intent, .. } = op else {
                    continue;
                };
                seen += 1;
                let before = ancestors(&ops, index);
                assert!(before.contains(intent));
                assert!(
                    before.iter().any(
                        |b| matches!(&ops[*b].0, Op::AwaitHeld { intent: i, .. } if i == intent)
                    )
                );
                assert!(before.iter().any(|b| matches!(ops[*b].0, Op::Evict { .. })
                    && ancestors(&ops, *b).contains(intent)));
            }
            assert!(seen > 0);
        }
    }

    #[test]
    fn a_surge_move_evicts_only_after_the_new_pod_is_ready() {
        let verb = Verb::Move {
            pod: target("a1", "a", "n1"),
            node: "n2".into(),
        };
        let ops = ops(verb, Shape::Surge);
        let evict = ops
            .iter()
            .position(|(op, _)| matches!(op, Op::Evict { .. }))
            .unwrap();
        let ready = ops
            .iter()
            .position(|(op, _)| matches!(op, Op::AwaitReady { .. }))
            .unwrap();
        assert!(ancestors(&ops, evict).contains(&ready));
    }

    #[test]
    fn recreating_changes_no_scale() {
        let verb = Verb::Move {
            pod: target("a1", "a", "n1"),
            node: "n2".into(),
        };
        let ops = ops(verb, Shape::Recreate);
        assert!(
            !ops.iter()
                .any(|(op, _)| matches!(op, Op::ScaleUp { .. } | Op::ScaleDown { .. }))
        );
    }

    #[test]
    fn moving_where_it_is_already_needs_nothing() {
        let verb = Verb::Move {
            pod: target("a1", "a", "n1"),
            node: "n1".into(),
        };
        assert!(ops(verb, Shape::Surge).is_empty());
    }

    #[test]
    fn in_a_swap_one_side_is_always_there() {
        for (shape, second) in [(Shape::XFirst, "b"), (Shape::YFirst, "a")] {
            let ops = ops(swap(), shape);
            for (index, (op, _)) in ops.iter().enumerate() {
                let Op::Evict {
                    who: Who::Named(pod),
                } = op
                else {
                    continue;
                };
                if pod.workload.name == second {
                    // Its successors are all Ready before the first of this side goes.
                    let before = ancestors(&ops, index);
                    let ready = before
                        .iter()
                        .filter(|b| matches!(ops[**b].0, Op::AwaitReady { .. }))
                        .count();
                    assert_eq!(ready, if second == "b" { 2 } else { 1 });
                }
            }
        }
    }

    #[test]
    fn scale_ups_of_one_workload_follow_each_other() {
        let ops = ops(swap(), Shape::Surge);
        let ups: Vec<usize> = (0..ops.len())
            .filter(|i| matches!(&ops[*i].0, Op::ScaleUp { workload } if workload.name == "b"))
            .collect();
        assert_eq!(ups.len(), 2);
        assert!(ancestors(&ops, ups[1]).contains(&ups[0]));
    }

    #[test]
    fn needs_point_backwards_so_that_the_order_of_steps_is_a_topological_one() {
        for shape in [Shape::Surge, Shape::XFirst, Shape::YFirst] {
            for (index, (_, needs)) in ops(swap(), shape).iter().enumerate() {
                assert!(needs.iter().all(|need| *need < index));
            }
        }
    }
}
