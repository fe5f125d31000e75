use std::time::Duration;

use serde_json::json;

use super::*;
use crate::clock;
use crate::cluster::Change;
use crate::model::Node;
use crate::scheduler::framework::plugin::{Hint, QueueSort as _};
use crate::scheduler::plugins::priority_sort::PrioritySort;

/// `Room` is helped by pods that go, `Label` by labels of the node "good".
struct Rules;

impl Policy for Rules {
    fn less(&self, a: &QueuedPod, b: &QueuedPod) -> bool {
        PrioritySort.less(a, b)
    }
    fn gate(&self, pod: &PodInfo) -> Option<&'static str> {
        (!pod.spec.gates.is_empty()).then_some("Gates")
    }
    fn events_of(&self, _: &PodInfo, plugin: &str) -> Events {
        match plugin {
            "Room" => Events::POD_GONE,
            "Label" => Events::NODE_LABEL | Events::SELF_LABEL,
            "Gates" => Events::SELF_GATES,
            _ => Events::NONE,
        }
    }
    fn hint(&self, _: &PodInfo, plugin: &str, _: Events, change: &Change) -> Hint {
        Hint::queue_if(match change {
            Change::NodeChanged { new, .. } if plugin == "Label" => new.name.as_ref() == "good",
            _ => true,
        })
    }
    fn interests(&self) -> Events {
        Events::POD_GONE | Events::NODE_LABEL | Events::SELF_LABEL | Events::SELF_GATES
    }
}

fn queue() -> Queue {
    Queue::new(Arc::new(Rules), Backoff::default(), clock::instant())
}

fn described(uid: &str, priority: i32, gates: &[&str], label: &str) -> Arc<PodInfo> {
    let gates: Vec<_> = gates.iter().map(|gate| json!({"name":gate})).collect();
    let pod = json!({"metadata":{"namespace":"d","name":uid,"uid":uid,"labels":{"l":label}},
        "spec":{"priority":priority,"containers":[],"schedulingGates":gates}});
    Arc::new(PodInfo::from_api(&serde_json::from_value(pod).unwrap()).unwrap())
}

fn pod(uid: &str, priority: i32) -> Arc<PodInfo> {
    described(uid, priority, &[], "")
}

fn add(queue: &mut Queue, uid: &str, priority: i32) {
    queue.put(None, pod(uid, priority), clock::instant());
}

fn gone() -> Change {
    Change::AssignedGone(pod("gone", 0))
}

fn room(queue: &mut Queue) {
    queue.event(Events::POD_GONE, &gone(), clock::instant());
}

fn label(queue: &mut Queue, node: &str) {
    let node = json!({"metadata":{"name":node}});
    let node = Arc::new(Node::from_api(&serde_json::from_value(node).unwrap()).unwrap());
    let (old, new) = (Arc::clone(&node), node);
    queue.event(
        Events::NODE_LABEL,
        &Change::NodeChanged { old, new },
        clock::instant(),
    );
}

fn reject(queue: &mut Queue, pod: QueuedPod, by: &[&'static str]) {
    queue.reject(pod, by.to_vec(), Vec::new(), clock::instant());
}

fn popped(queue: &mut Queue) -> Vec<String> {
    queue.pop(10).iter().map(|p| p.uid().to_owned()).collect()
}

fn one(queue: &mut Queue) -> QueuedPod {
    queue.pop(1).pop().expect("a pod is there")
}

async fn pass(seconds: u64) -> Instant {
    clock::sleep(Duration::from_secs(seconds)).await;
    clock::instant()
}

fn at(unschedulable: usize, backoff: usize, active: usize) -> Pending {
    Pending {
        unschedulable,
        backoff,
        active,
        ..Pending::default()
    }
}

fn blamed(queue: &Queue) -> Vec<(&'static str, i64)> {
    let mut all: Vec<_> = queue
        .blamed()
        .filter(|(_, _, count)| *count != 0)
        .map(|(plugin, _, count)| (plugin, count))
        .collect();
    all.sort_unstable();
    all
}

#[tokio::test(start_paused = true)]
async fn by_priority_then_by_age() {
    let mut q = queue();
    for (uid, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
        add(&mut q, uid, priority);
    }
    assert_eq!(popped(&mut q), ["b", "d", "a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_pod_waits_for_what_helps_it_and_backs_off() {
    let mut q = queue();
    add(&mut q, "a", 0);
    let a = one(&mut q);
    reject(&mut q, a, &["Room"]);
    label(&mut q, "good");
    assert_eq!(q.pending(), at(1, 0, 0), "that does not help it");
    room(&mut q);
    assert_eq!(q.pending(), at(0, 1, 0));
    q.tick(pass(1).await);
    assert_eq!(q.pending(), at(0, 0, 1));
    for expected in [2, 4, 8, 10, 10] {
        let a = one(&mut q);
        let rejected = clock::instant();
        reject(&mut q, a, &["Room"]);
        room(&mut q);
        while q.pending().active == 0 {
            q.tick(pass(1).await);
        }
        assert_eq!(
            clock::instant().duration_since(rejected).as_secs(),
            expected
        );
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_hints_of_those_who_rejected_it_are_asked() {
    let mut q = queue();
    add(&mut q, "a", 0);
    let a = one(&mut q);
    reject(&mut q, a, &["Label"]);
    room(&mut q);
    label(&mut q, "bad");
    assert_eq!(q.pending(), at(1, 0, 0));
    let asked: Vec<_> = q.take_hint_times();
    let asked: Vec<_> = asked.iter().map(|t| (t.plugin, t.event, t.hint)).collect();
    assert_eq!(asked, [("Label", "NodeUpdateNodeLabel", Hint::Skip)]);
    label(&mut q, "good");
    assert_eq!(q.pending(), at(0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pending_plugin_brings_it_back_at_once() {
    let mut q = queue();
    add(&mut q, "a", 0);
    let a = one(&mut q);
    q.reject(a, vec!["Label"], vec!["Room"], clock::instant());
    assert_eq!(blamed(&q), [("Label", 1), ("Room", 1)]);
    room(&mut q);
    assert_eq!(q.pending(), at(0, 0, 1), "no backoff");
}

#[tokio::test(start_paused = true)]
async fn what_happens_in_flight_is_not_lost() {
    let mut q = queue();
    for uid in ["a", "b", "c"] {
        add(&mut q, uid, 0);
    }
    let (a, c) = (one(&mut q), one(&mut q));
    label(&mut q, "bad");
    room(&mut q);
    let b = one(&mut q);
    reject(&mut q, a, &["Room"]);
    assert_eq!(q.pending(), at(0, 1, 0), "it may fit now");
    reject(&mut q, b, &["Room"]);
    assert_eq!(q.pending(), at(1, 1, 0), "it was popped after that");
    reject(&mut q, c, &["Label"]);
    assert_eq!(
        q.pending(),
        at(2, 1, 0),
        "the hint was asked about what happened"
    );
    assert_eq!(q.flights.remembers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pod_deleted_or_changed_in_flight() {
    let mut q = queue();
    for uid in ["a", "b"] {
        add(&mut q, uid, 0);
    }
    let (a, b) = (one(&mut q), one(&mut q));
    q.remove("a");
    q.fail(a, clock::instant());
    let changed = described("b", 7, &[], "new");
    q.put(Some(&pod("b", 0)), changed, clock::instant());
    reject(&mut q, b, &["Label"]);
    assert_eq!(q.pending(), at(0, 1, 0));
    assert_eq!(one(&mut q).info.spec.priority, 7);
}

#[tokio::test(start_paused = true)]
async fn its_own_change_is_an_event_of_its_own() {
    let mut q = queue();
    for uid in ["a", "b"] {
        add(&mut q, uid, 0);
    }
    for plugin in ["Label", "Room"] {
        let pod = one(&mut q);
        reject(&mut q, pod, &[plugin]);
    }
    for uid in ["a", "b"] {
        // The status alone, then the labels.
        q.put(Some(&pod(uid, 0)), pod(uid, 0), clock::instant());
        assert_eq!(q.pending().unschedulable, if uid == "a" { 2 } else { 1 });
        q.put(
            Some(&pod(uid, 0)),
            described(uid, 0, &[], "x"),
            clock::instant(),
        );
    }
    assert_eq!(q.pending(), at(1, 1, 0), "labels matter to a alone");
}

#[tokio::test(start_paused = true)]
async fn idle_pops_take_from_backoff_but_not_after_errors() {
    let mut q = queue();
    for uid in ["a", "b", "c"] {
        add(&mut q, uid, 0);
    }
    let (a, b, c) = (one(&mut q), one(&mut q), one(&mut q));
    let now = clock::instant();
    reject(&mut q, a, &["Room"]);
    room(&mut q);
    q.fail(b, now);
    reject(&mut q, c, &[]);
    assert_eq!(
        q.pending(),
        at(0, 3, 0),
        "without a rejector it is an error"
    );
    assert_eq!(popped(&mut q), ["a"]);
    let moves = q.take_incoming();
    assert!(moves.contains(&("active", "PopFromBackoffQ")), "{moves:?}");
    assert!(q.is_idle());
    q.tick(pass(1).await);
    assert_eq!(popped(&mut q), ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn gated_pods_are_counted_apart_and_wait_for_their_gate() {
    let mut q = queue();
    let now = clock::instant();
    let gated = described("a", 0, &["g"], "");
    q.put(None, Arc::clone(&gated), now);
    assert_eq!(
        q.pending(),
        Pending {
            gated: 1,
            ..Pending::default()
        }
    );
    assert_eq!(blamed(&q), [("Gates", 1)]);
    room(&mut q);
    q.tick(pass(1000).await);
    assert_eq!(q.pending().gated, 1, "neither events nor time open a gate");
    q.put(Some(&gated), pod("a", 0), clock::instant());
    assert_eq!(q.pending(), at(0, 0, 1));
    assert_eq!(popped(&mut q), ["a"]);
    assert!(blamed(&q).is_empty());
    let moves = q.take_incoming();
    let expected = [
        ("unschedulable", "UnschedulablePodAdd"),
        (
            "active",
            "UnschedulablePodUpdatePodSchedulingGatesEliminated",
        ),
    ];
    assert_eq!(moves, expected);
}

#[tokio::test(start_paused = true)]
async fn held_pods_are_not_popped() {
    let mut q = queue();
    add(&mut q, "b", 0);
    let b = one(&mut q);
    q.hold(b, Held::Intent("i".into()));
    q.put(Some(&pod("b", 0)), pod("b", 0), clock::instant());
    room(&mut q);
    q.tick(pass(1000).await);
    assert_eq!(
        q.pending(),
        Pending {
            held: 1,
            ..Pending::default()
        }
    );
    let released = q.release(clock::instant(), |_, why| *why == Held::Intent("i".into()));
    assert_eq!((released, popped(&mut q).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_waited_too_long_is_tried_again() {
    let mut q = queue();
    add(&mut q, "a", 0);
    let a = one(&mut q);
    reject(&mut q, a, &["Room"]);
    q.tick(pass(299).await);
    assert_eq!(q.pending(), at(1, 0, 0));
    q.tick(pass(31).await);
    assert_eq!(q.pending(), at(0, 0, 1));
    assert!(one(&mut q).flushed);
}

#[tokio::test(start_paused = true)]
async fn a_removed_pod_is_nobodys_blame() {
    let mut q = queue();
    add(&mut q, "a", 0);
    let a = one(&mut q);
    reject(&mut q, a, &["Room"]);
    q.remove("a");
    assert!(blamed(&q).is_empty() && q.pending() == Pending::default());
}

proptest::proptest! {
    #[test]
    fn the_heap_is_a_sorted_list(ops in proptest::collection::vec((0..12_u8, 0..5_i32, 0..4_u8), 1..100)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut q = queue();
            let mut model: Vec<(i32, u8)> = Vec::new();
            for (uid, priority, op) in ops {
                if op == 0 {
                    q.remove(&uid.to_string());
                    model.retain(|(_, u)| *u != uid);
                } else if !model.iter().any(|(_, u)| *u == uid) {
                    add(&mut q, &uid.to_string(), priority);
                    model.push((priority, uid));
                }
            }
            model.sort_by_key(|(priority, _)| -priority);
            let got: Vec<String> = q.pop(100).iter().map(|p| p.uid().to_owned()).collect();
            let expected: Vec<String> = model.iter().map(|(_, u)| u.to_string()).collect();
            assert_eq!(got, expected);
        });
    }
}
