use serde_json::json;

use super::*;
use crate::clock;
use crate::scheduler::framework::plugin::QueueSort;
use crate::scheduler::plugins::priority_sort::PrioritySort;

fn queue() -> Queue {
    let order = Box::new(|a: &QueuedPod, b: &QueuedPod| PrioritySort.less(a, b));
    Queue::new(order, Backoff::default(), clock::instant())
}

fn pod(uid: &str, priority: i32) -> Arc<PodInfo> {
    let pod = json!({"metadata":{"namespace":"d","name":uid,"uid":uid},
        "spec":{"priority":priority,"containers":[]}});
    Arc::new(PodInfo::from_api(&serde_json::from_value(pod).unwrap()).unwrap())
}

fn popped(queue: &mut Queue) -> Vec<String> {
    let now = clock::instant();
    queue
        .pop(10, now)
        .iter()
        .map(|p| p.uid().to_owned())
        .collect()
}

fn one(queue: &mut Queue) -> QueuedPod {
    queue
        .pop(1, clock::instant())
        .pop()
        .expect("a pod is there")
}

async fn pass(seconds: u64) -> Instant {
    clock::sleep(Duration::from_secs(seconds)).await;
    clock::instant()
}

#[tokio::test(start_paused = true)]
async fn by_priority_then_by_age() {
    let mut q = queue();
    for (uid, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
        q.put(pod(uid, priority), false, clock::instant());
    }
    assert_eq!(popped(&mut q), ["b", "d", "a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_pod_waits_for_what_helps_it_and_backs_off() {
    let mut q = queue();
    q.put(pod("a", 0), false, clock::instant());
    let a = one(&mut q);
    q.reject(
        a,
        vec!["NodeResourcesFit"],
        Events::POD_GONE,
        clock::instant(),
    );
    assert_eq!(q.pending().unschedulable, 1);
    q.event(Events::NODE_LABEL, clock::instant());
    assert_eq!(q.pending().unschedulable, 1, "that does not help it");
    q.event(Events::POD_GONE, clock::instant());
    assert_eq!((q.pending().unschedulable, q.pending().backoff), (0, 1));
    q.tick(pass(1).await);
    assert_eq!(q.pending().active, 1);
    for expected in [2, 4, 8, 10, 10] {
        let a = one(&mut q);
        let rejected = clock::instant();
        q.reject(a, vec![], Events::POD_GONE, rejected);
        q.event(Events::POD_GONE, rejected);
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
async fn what_happens_in_flight_is_not_lost() {
    let mut q = queue();
    for uid in ["a", "b"] {
        q.put(pod(uid, 0), false, clock::instant());
    }
    let a = one(&mut q);
    q.event(Events::POD_GONE, clock::instant());
    let b = one(&mut q);
    q.reject(a, vec![], Events::POD_GONE, clock::instant());
    assert_eq!(q.pending().backoff, 1, "it may fit now");
    q.reject(b, vec![], Events::POD_GONE, clock::instant());
    assert_eq!(q.pending().unschedulable, 1, "b was popped after that");
    assert!(q.happened.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pod_deleted_or_changed_in_flight() {
    let mut q = queue();
    for uid in ["a", "b"] {
        q.put(pod(uid, 0), false, clock::instant());
    }
    let (a, b) = (one(&mut q), one(&mut q));
    q.remove("a");
    q.fail(a, clock::instant());
    q.put(pod("b", 7), false, clock::instant());
    q.reject(b, vec![], Events::SELF_CHANGED, clock::instant());
    assert_eq!(
        q.pending(),
        Pending {
            backoff: 1,
            ..Pending::default()
        }
    );
    assert_eq!(one(&mut q).info.spec.priority, 7);
}

#[tokio::test(start_paused = true)]
async fn idle_pops_take_from_backoff_but_not_after_errors() {
    let mut q = queue();
    for uid in ["a", "b"] {
        q.put(pod(uid, 0), false, clock::instant());
    }
    let (a, b) = (one(&mut q), one(&mut q));
    let now = clock::instant();
    q.reject(a, vec![], Events::POD_GONE, now);
    q.event(Events::POD_GONE, now);
    q.fail(b, now);
    assert_eq!(q.pending().backoff, 2);
    assert_eq!(popped(&mut q), ["a"]);
    assert!(q.is_idle());
    q.tick(pass(1).await);
    assert_eq!(popped(&mut q), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn gated_and_held_pods_are_not_popped() {
    let mut q = queue();
    q.put(pod("a", 0), true, clock::instant());
    q.put(pod("b", 0), false, clock::instant());
    let b = one(&mut q);
    q.hold(b, Held::Intent("i".into()));
    q.put(pod("b", 0), false, clock::instant());
    q.event(Events::POD_GONE | Events::TIMEOUT, clock::instant());
    q.tick(pass(1000).await);
    assert_eq!(
        q.pending(),
        Pending {
            gated: 1,
            held: 1,
            ..Pending::default()
        }
    );
    q.put(pod("a", 0), false, clock::instant());
    assert_eq!(q.release(|_, why| *why == Held::Intent("i".into())), 1);
    assert_eq!(popped(&mut q).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waited_too_long_is_tried_again() {
    let mut q = queue();
    q.put(pod("a", 0), false, clock::instant());
    let a = one(&mut q);
    q.reject(a, vec![], Events::NODE_ADD, clock::instant());
    q.tick(pass(299).await);
    assert_eq!(q.pending().unschedulable, 1);
    q.tick(pass(2).await);
    assert_eq!(q.pending().active, 1);
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
                    q.put(pod(&uid.to_string(), priority), false, clock::instant());
                    model.push((priority, uid));
                }
            }
            model.sort_by_key(|(priority, _)| -priority);
            let got: Vec<String> = q.pop(100, clock::instant()).iter().map(|p| p.uid().to_owned()).collect();
            let expected: Vec<String> = model.iter().map(|(_, u)| u.to_string()).collect();
            assert_eq!(got, expected);
        });
    }
}
