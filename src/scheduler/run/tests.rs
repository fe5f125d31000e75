//! The whole scheduler against a world in memory, on virtual time.

mod world;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::model::NamespacedName;
use crate::model::names::ACTION_ANNOTATION;
use crate::scheduler::ports::CallError;
use crate::store::Store;
use world::{World, intent};

const SOON: Duration = Duration::from_secs(30);

/// Virtual time passes; nothing real is waited for.
async fn pass(seconds: u64) {
    clock::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn places_confirms_and_tells() {
    let world = World::start().await;
    world.node("n1", "2");
    world.node("n2", "4");
    world.pod("a", "1", None);
    world
        .until("a is bound", |w| w.node_of("a").is_some())
        .await;
    assert_eq!(world.node_of("a").as_deref(), Some("n2"), "the emptier");
    let scheduled = world.events_of("a", "Scheduled").await;
    assert_eq!(scheduled, ["Successfully assigned d/a to n2"]);
    assert_eq!(world.binding("a").annotations.len(), 0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_fits_nowhere_says_why_once_and_goes_when_there_is_room() {
    let world = World::start().await;
    world.node("n1", "1");
    world.pod("a", "2", None);
    let why = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: \
               0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    world
        .until("the condition is set", |w| w.conditions("a").len() == 1)
        .await;
    assert_eq!(world.conditions("a"), [format!("Unschedulable: {why}")]);
    assert_eq!(world.events_of("a", "FailedScheduling").await, [why]);
    pass(100).await;
    assert_eq!(
        world.events_of("a", "FailedScheduling").await.len(),
        1,
        "nothing happened since"
    );
    world.node("n2", "2");
    world
        .until("a is bound", |w| w.node_of("a").is_some())
        .await;
    assert_eq!(world.conditions("a").len(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn other_schedulers_pods_and_gated_ones_are_left_alone() {
    let world = World::start().await;
    world.node("n1", "4");
    world.pod_json("other", json!({"schedulerName":"default-scheduler"}), None);
    world.pod_json("gated", json!({"schedulingGates":[{"name":"wait"}]}), None);
    pass(60).await;
    assert!(world.node_of("other").is_none() && world.node_of("gated").is_none());
    world.pod_json("gated", json!({}), None);
    world
        .until("the gate is open", |w| w.node_of("gated").is_some())
        .await;
    assert!(world.node_of("other").is_none());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_pod_of_an_intent_goes_to_its_node_with_claim_and_mark() {
    let world = World::start().await;
    world.node("small", "2");
    world.node("large", "64");
    world.replica_set("rs", Some("web"));
    let intent = intent("i1", "web", Some("small"));
    world.store.put_intent(&intent).await.unwrap();
    for name in ["a", "b", "c"] {
        world.pod(name, "100m", Some("rs"));
    }
    world.until("all are bound", |w| w.bound() == 3).await;
    let there: Vec<_> = ["a", "b", "c"]
        .into_iter()
        .filter(|name| world.node_of(name).as_deref() == Some("small"))
        .collect();
    let [one] = there[..] else {
        panic!("one pod takes one intent: {there:?}");
    };
    let claim = world
        .store
        .intent("i1")
        .await
        .unwrap()
        .unwrap()
        .claim
        .unwrap();
    assert_eq!((claim.name.as_str(), claim.held), (one, false));
    let mark = world
        .binding(one)
        .annotations
        .get(ACTION_ANNOTATION)
        .cloned();
    assert_eq!(mark, Some(intent.action.to_string()));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_cannot_be_met_is_refused_with_the_reason_and_no_condition() {
    let world = World::start().await;
    world.node("full", "1");
    world.node("empty", "8");
    world.replica_set("rs", Some("web"));
    world
        .store
        .put_intent(&intent("i1", "web", Some("full")))
        .await
        .unwrap();
    world.pod("a", "2", Some("rs"));
    world
        .until("the event is there", |w| w.count("FailedScheduling") == 1)
        .await;
    pass(5).await;
    let refusal = world
        .store
        .intent("i1")
        .await
        .unwrap()
        .unwrap()
        .refusal
        .unwrap();
    assert_eq!(
        (refusal.plugin.as_str(), refusal.message.as_str()),
        ("NodeResourcesFit", "Insufficient cpu")
    );
    assert_eq!(refusal.pod_uid, "a");
    assert!(world.conditions("a").is_empty(), "nobody buys nodes for it");
    assert!(world.node_of("a").is_none());
    world.store.withdraw_intent("i1").await.unwrap();
    world
        .until("ordinary scheduling", |w| {
            w.node_of("a").as_deref() == Some("empty")
        })
        .await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_withheld_pod_stays_unbound_until_it_is_sent_somewhere_or_let_go() {
    let world = World::start().await;
    world.node("n1", "8");
    world.node("n2", "1");
    world.replica_set("rs", Some("web"));
    for id in ["i1", "i2"] {
        world
            .store
            .put_intent(&intent(id, "web", None))
            .await
            .unwrap();
    }
    world.pod("a", "100m", Some("rs"));
    world.pod("b", "100m", Some("rs"));
    world
        .until("both are withheld", |w| w.count("Withheld") == 2)
        .await;
    pass(400).await;
    assert_eq!(world.bound(), 0);
    assert!(world.conditions("a").is_empty() && world.conditions("b").is_empty());
    let claimant = |id: &'static str| {
        let store = world.store.clone();
        async move { store.intent(id).await.unwrap().unwrap().claim.unwrap() }
    };
    let (first, second) = (claimant("i1").await, claimant("i2").await);
    assert!(first.held && second.held && first.uid != second.uid);
    world
        .store
        .redirect_intent("i1", Some("n2"), false)
        .await
        .unwrap();
    world
        .until("the first goes where it is sent", |w| {
            w.node_of(&first.name).is_some()
        })
        .await;
    assert_eq!(world.node_of(&first.name).as_deref(), Some("n2"));
    assert!(world.node_of(&second.name).is_none());
    world.store.withdraw_intent("i2").await.unwrap();
    world
        .until("the second is let go", |w| {
            w.node_of(&second.name).as_deref() == Some("n1")
        })
        .await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_withhold_of_a_pod_that_is_gone_takes_the_next_one() {
    let world = World::start().await;
    world.node("n1", "8");
    world.replica_set("rs", Some("web"));
    world
        .store
        .put_intent(&intent("i1", "web", None))
        .await
        .unwrap();
    world.pod("a", "100m", Some("rs"));
    world
        .until("a is withheld", |w| w.count("Withheld") == 1)
        .await;
    pass(1).await;
    world.gone("a");
    world.pod("b", "100m", Some("rs"));
    world
        .until("b is withheld", |w| w.count("Withheld") == 2)
        .await;
    pass(1).await;
    let left = world.store.intent("i1").await.unwrap().unwrap();
    assert_eq!((left.claim.unwrap().uid.as_str(), left.claims), ("b", 2));
    assert_eq!(world.bound(), 0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_an_unknown_owner_is_held_until_the_owner_is_known() {
    let world = World::start().await;
    world.node("n1", "8");
    world.node("n2", "8");
    world
        .store
        .put_intent(&intent("i1", "web", Some("n2")))
        .await
        .unwrap();
    world.pod("a", "100m", Some("rs"));
    tokio::task::yield_now().await;
    clock::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.bound(), 0);
    world.replica_set("rs", Some("web"));
    world
        .until("a is bound", |w| w.node_of("a").as_deref() == Some("n2"))
        .await;
    // Another one that no watch brings: the API server is asked.
    world
        .store
        .put_intent(&intent("i2", "db", Some("n2")))
        .await
        .unwrap();
    world.owner("rs-db", Some("db"));
    world.pod("b", "100m", Some("rs-db"));
    world
        .until("b is bound", |w| w.node_of("b").as_deref() == Some("n2"))
        .await;
    let claim = world.store.intent("i2").await.unwrap().unwrap().claim;
    assert_eq!(claim.unwrap().uid, "b");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_store_pods_of_workloads_wait_and_others_go_on() {
    let world = World::start().await;
    world.node("n1", "8");
    world.node("n2", "8");
    world.replica_set("rs", Some("web"));
    world
        .store
        .put_intent(&intent("i1", "web", Some("n2")))
        .await
        .unwrap();
    world.store.break_it(true);
    world.pod("a", "100m", Some("rs"));
    world.pod("free", "100m", None);
    world
        .until("the free one is bound", |w| w.node_of("free").is_some())
        .await;
    pass(60).await;
    assert!(world.node_of("a").is_none());
    assert!(world.conditions("a").is_empty());
    assert_eq!(world.count("FailedScheduling"), 1);
    world.store.break_it(false);
    world
        .until("a is bound", |w| w.node_of("a").as_deref() == Some("n2"))
        .await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_binds() {
    let world = World::start().await;
    world.lead(false);
    world.node("n1", "8");
    world.pod("a", "100m", None);
    pass(60).await;
    assert_eq!(world.bound(), 0);
    world.lead(true);
    world.until("a is bound", |w| w.bound() == 1).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_fails_gives_the_room_back_and_is_tried_again() {
    let world = World::start().await;
    world.node("n1", "1");
    world.fail_binds([
        CallError::Conflict("changed".into()),
        CallError::Unavailable("overloaded".into()),
        CallError::Refused("forbidden".into()),
    ]);
    world.pod("a", "1", None);
    world.until("a is bound", |w| w.bound() == 1).await;
    assert_eq!(
        world.conditions("a"),
        ["SchedulerError: binding rejected: forbidden"]
    );
    world.fail_binds([CallError::Gone("not found".into())]);
    world.node("n2", "1");
    world.pod("b", "1", None);
    world.until("b was tried", |w| w.binds_to_fail() == 0).await;
    world.gone("b");
    world.pod("c", "1", None);
    world
        .until("c has b's room", |w| {
            w.node_of("c").as_deref() == Some("n2")
        })
        .await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_missing_plugin_is_left_alone_and_named() {
    let world = World::start().await;
    world.node("n1", "8");
    world.pod_json("a", json!({"resourceClaims":[{"name":"gpu"}]}), None);
    world
        .until("the event is there", |w| w.count("FailedScheduling") == 1)
        .await;
    let notes = world.events_of("a", "FailedScheduling").await;
    assert!(
        notes[0].contains("resourceClaims") && notes[0].contains("DynamicResources"),
        "{notes:?}"
    );
    pass(60).await;
    assert!(world.node_of("a").is_none() && world.conditions("a").is_empty());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_higher_priority_displaces_the_least_important() {
    let world = World::start().await;
    world.node("n1", "2");
    world.pod_json("low", json!({"priority":1,"containers":[asks("1")]}), None);
    world.pod_json("high", json!({"priority":9,"containers":[asks("1")]}), None);
    world.until("both run", |w| w.bound() == 2).await;
    world.pod_json(
        "higher",
        json!({"priority":10,"containers":[asks("1")]}),
        None,
    );
    world
        .until("there is room", |w| w.node_of("higher").is_some())
        .await;
    let displaced = world.displaced();
    assert_eq!(displaced.len(), 1, "{displaced:?}");
    assert_eq!(displaced[0].0, "low");
    assert_eq!(
        displaced[0].1,
        "wam-scheduler: preempting to accommodate a higher priority pod"
    );
    let told = world.events_of("low", "Preempted").await;
    assert_eq!(told, ["Preempted by pod higher on node n1"]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_preempts_waits() {
    let world = World::start().await;
    world.node("n1", "1");
    world.pod_json("low", json!({"priority":1,"containers":[asks("1")]}), None);
    world.until("it runs", |w| w.bound() == 1).await;
    let polite = json!({"priority":9,"preemptionPolicy":"Never","containers":[asks("1")]});
    world.pod_json("polite", polite, None);
    world
        .until("it is told", |w| w.conditions("polite").len() == 1)
        .await;
    let said = &world.conditions("polite")[0];
    assert!(
        said.ends_with("preemption: not eligible due to preemptionPolicy=Never."),
        "{said}"
    );
    assert!(world.displaced().is_empty());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_gets_its_volume_before_the_pod_is_bound() {
    let world = World::start().await;
    world.node("n1", "4");
    world.object(
        json!({"kind":"StorageClass","metadata":{"name":"c"},"provisioner":"csi.example.com",
        "volumeBindingMode":"WaitForFirstConsumer"}),
    );
    let claim = |name: &str| {
        json!({"kind":"PersistentVolumeClaim","metadata":{"namespace":"d","name":name,"uid":name,
            "resourceVersion":"1"},"spec":{"storageClassName":"c","accessModes":["ReadWriteOnce"],
            "resources":{"requests":{"storage":"1Gi"}}}})
    };
    world.object(json!({"kind":"PersistentVolume","metadata":{"name":"v","resourceVersion":"1"},
        "spec":{"storageClassName":"c","accessModes":["ReadWriteOnce"],"capacity":{"storage":"2Gi"}},
        "status":{"phase":"Available"}}));
    for (pod, name) in [("first", "a"), ("second", "b")] {
        world.object(claim(name));
        let spec = json!({"containers":[asks("1")],
            "volumes":[{"name":"v","persistentVolumeClaim":{"claimName":name}}]});
        world.pod_json(pod, spec, None);
        world
            .until("it is bound", |w| w.node_of(pod).is_some())
            .await;
    }
    let storage = world.storage();
    let volume_of = |name: &str| {
        storage.claims[&NamespacedName::new("d", name)]
            .volume
            .clone()
    };
    assert_eq!(
        (volume_of("a"), volume_of("b")),
        ("v".into(), "made".into())
    );
    world.stop().await;
}

/// A container that asks for so much cpu.
fn asks(cpu: &str) -> Value {
    json!({"name":"c","resources":{"requests":{"cpu":cpu}}})
}

#[tokio::test(start_paused = true)]
async fn a_malformed_pod_is_held_with_an_event_and_the_rest_goes_on() {
    let world = World::start().await;
    world.node("n1", "8");
    world.pod("bad", "lots", None);
    world.pod("good", "1", None);
    world
        .until("the good one is bound", |w| w.node_of("good").is_some())
        .await;
    let notes = world.events_of("bad", "FailedScheduling").await;
    assert!(
        notes[0].contains("spec.containers[0].resources.requests[cpu]"),
        "{notes:?}"
    );
    world.pod("bad", "1", None);
    world.until("mended", |w| w.node_of("bad").is_some()).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_node_takes_the_next_pod_when_one_leaves() {
    let world = World::start().await;
    world.node("n1", "1");
    world.pod("a", "1", None);
    world.until("a is bound", |w| w.bound() == 1).await;
    world.pod("b", "1", None);
    world
        .until("b fits nowhere", |w| w.conditions("b").len() == 1)
        .await;
    world.gone("a");
    world
        .until("b has the room", |w| w.node_of("b").is_some())
        .await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_bindings_under_way() {
    let world = World::start().await;
    world.node("n1", "8");
    world.slow_binds(Duration::from_secs(20));
    world.pod("a", "1", None);
    world
        .until("the binding is under way", |w| w.binds_begun() == 1)
        .await;
    world.stop().await;
    assert_eq!(world.bound(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_pods_on_five_hundred_nodes() {
    let world = World::start().await;
    world.replica_set("rs", Some("web"));
    for i in 0..500 {
        world.node(&format!("n{i}"), "2");
    }
    world
        .store
        .put_intent(&intent("i1", "web", Some("n77")))
        .await
        .unwrap();
    for i in 0..1000 {
        world.pod(&format!("p{i}"), "1", Some("rs"));
    }
    world.until("all are bound", |w| w.bound() == 1000).await;
    for i in 0..500 {
        assert_eq!(
            world.on(&format!("n{i}")),
            2,
            "two of one cpu on each of two"
        );
    }
    world.stop().await;
}

/// A day in a rough world: whatever happens in between, in the end every pod that may run has a node, no
/// node is overfull, what is withheld is unbound, and what an intent names is where it says.
#[tokio::test(start_paused = true)]
async fn in_the_end_all_is_as_it_should_be() {
    use rand::RngExt;
    for seed in 0..30 {
        let mut rng = StdRng::seed_from_u64(seed);
        let world = World::start().await;
        for set in ["rs0", "rs1"] {
            world.replica_set(set, Some(&set.replace("rs", "web")));
        }
        for i in 0..6 {
            world.node(&format!("n{i}"), "4");
        }
        world.slow_binds(Duration::from_millis(30));
        let (mut pods, mut intents) = (0, Vec::new());
        for _ in 0..120 {
            match rng.random_range(0..10) {
                0..4 if pods < 40 => {
                    let owner = [None, Some("rs0"), Some("rs1")][rng.random_range(0..3)];
                    world.pod(&format!("p{pods}"), "500m", owner);
                    pods += 1;
                }
                4 if pods > 0 => world.gone(&format!("p{}", rng.random_range(0..pods))),
                5 if intents.len() < 12 => {
                    let id = format!("i{}", intents.len());
                    let node = format!("n{}", rng.random_range(0..6));
                    let node = rng.random_bool(0.7).then_some(node.as_str());
                    let workload = ["web0", "web1"][rng.random_range(0..2)];
                    world
                        .store
                        .put_intent(&intent(&id, workload, node))
                        .await
                        .unwrap();
                    intents.push(id);
                }
                6 if !intents.is_empty() => {
                    let id = &intents[rng.random_range(0..intents.len())];
                    let hold = rng.random_bool(0.5);
                    let node = format!("n{}", rng.random_range(0..6));
                    world
                        .store
                        .redirect_intent(id, Some(&node), hold)
                        .await
                        .unwrap();
                }
                7 => world.fail_binds([CallError::Conflict("changed".into())]),
                8 => world.lead(rng.random_bool(0.5)),
                _ => {
                    world.store.break_it(rng.random_bool(0.2));
                    clock::sleep(Duration::from_millis(rng.random_range(0..400))).await;
                    world.store.break_it(false);
                }
            }
        }
        world.lead(true);
        pass(60).await;
        let mut withheld = Vec::new();
        let mut claimants = std::collections::BTreeSet::new();
        for id in &intents {
            let intent = world.store.intent(id).await.unwrap().unwrap();
            let Some(claim) = intent
                .claim
                .filter(|c| world.cache().pod_by_uid(&c.uid).is_some())
            else {
                continue;
            };
            assert!(
                claimants.insert(claim.uid.clone()),
                "seed {seed}: one intent per pod"
            );
            let bound = world.node_of(&claim.uid);
            if claim.held {
                assert_eq!(bound, None, "seed {seed}: {id} is withheld");
                withheld.push(claim.uid);
            } else {
                assert!(bound.is_some(), "seed {seed}: {id} was claimed to be bound");
            }
        }
        withheld.sort();
        let (loads, pending) = world.loads();
        assert_eq!(
            pending, withheld,
            "seed {seed}: only the withheld are unbound"
        );
        assert!(
            loads.values().all(|cpu| *cpu <= 4000),
            "seed {seed}: {loads:?}"
        );
        for node in &world.cache().snapshot().nodes {
            let load = loads.get(&**node.name()).copied().unwrap_or_default();
            assert_eq!(
                node.requested.milli_cpu, load,
                "seed {seed}: nothing is left assumed"
            );
        }
        world.stop().await;
    }
}
