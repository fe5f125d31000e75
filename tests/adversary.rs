//! The certain victim against an adversary, over the sandbox and over a real control plane: whatever another
//! hand does in the middle of an action, no pod goes that nobody chose, and each outcome is true.
//!
//! The witness knows pods by uid. A pod that vanished is one that the action named, one that the adversary
//! took, or one that a rollout replaced; the replica count is what the outcome says.
//!
//! `ADVERSARY_ONLY` plays the scenes alone whose name contains it, `ADVERSARY_SEED` (a number) throws other
//! moments.
#![allow(clippy::disallowed_methods, missing_docs)]

mod adversary_support;
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use adversary_support::{BAD, Ground, Outcome, Stage, until};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use support::redis::Redis;
use support::testbed::{Options, Testbed, kubectl_binary, missing};

/// Replicas of every stage.
const N: usize = 3;
/// A deadline in seconds that is not meant to pass, however slow the machine.
const PATIENT: u64 = 180;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Delete,
    Move,
}

fn only(uid: &str) -> BTreeSet<String> {
    BTreeSet::from([uid.to_owned()])
}

fn options(seconds: u64, strategy: &str) -> Value {
    json!({"deadlineSeconds": seconds, "strategy": strategy})
}

/// Decides at which moments a scene's adversary acts.
fn dice(scene: u64) -> StdRng {
    let seed = std::env::var("ADVERSARY_SEED").ok();
    let seed: u64 = seed.map_or(0, |seed| seed.parse().expect("a number"));
    StdRng::seed_from_u64(seed * 100 + scene)
}

fn plus(count: usize, by: i32) -> usize {
    usize::try_from(i32::try_from(count).expect("few") + by).expect("not negative")
}

async fn after(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

async fn delete_by_hand(stage: &Stage<'_>, name: &str) {
    let pods: Api<Pod> = Api::namespaced(stage.ground.client.clone(), &stage.namespace);
    let deleted = pods.delete(name, &DeleteParams::default()).await;
    if let Err(error) = deleted {
        assert!(error.to_string().contains("not found"), "{error}");
    }
}

/// One action, while `other` does its work beside it.
async fn beside(
    stage: &Stage<'_>,
    verb: Verb,
    number: usize,
    options: Value,
    other: impl AsyncFnOnce(&str),
) -> (String, Outcome) {
    let pod = stage.pick(number);
    let submit = async {
        match verb {
            Verb::Delete => stage.delete(&pod, options).await,
            Verb::Move => {
                let node = Stage::elsewhere(&pod, number);
                stage.shift(&pod, &node, options).await
            }
        }
    };
    let id = submit.await;
    other(&pod.name).await;
    (pod.uid.clone(), stage.outcome(&id).await)
}

/// The named pod is gone before the call: the call is refused.
async fn deleted_before_submission(ground: &Ground) {
    let stage = Stage::set(ground, "deleted-before", N).await;
    let pod = stage.pick(0);
    delete_by_hand(&stage, &pod.name).await;
    let caller = &ground.caller;
    let named = json!({"pod": stage.pod(&pod)});
    let error = caller.refused("action.Delete", named).await;
    assert!(error.contains(&pod.name), "{error}");
    let named = json!({"pod": stage.pod(&pod), "node": {"name": Stage::elsewhere(&pod, 0)}});
    let error = caller.refused("action.Move", named).await;
    assert!(error.contains(&pod.name), "{error}");
    // Another pod's uid under this name is another pod.
    let other = stage.pick(0);
    let wrong = json!({"pod": {"namespace": stage.namespace, "name": other.name, "uid": pod.uid}});
    let error = caller.refused("action.Delete", wrong).await;
    assert!(error.contains("uid"), "{error}");
    stage.settled(N).await;
}

/// The named pod is deleted by another hand just after the call, before or while the action acts.
async fn deleted_after_submission(ground: &Ground, verb: Verb) {
    let name = format!("deleted-after-{verb:?}").to_lowercase();
    let stage = Stage::set(ground, &name, N).await;
    for (number, offset) in [0, 0, 3, 6, 10, 15, 25, 40, 80, 160]
        .into_iter()
        .enumerate()
    {
        let before = stage.witness.uids();
        let strategy = ["Auto", "Surge", "Recreate"][number % 3];
        let work = options(PATIENT, strategy);
        let (uid, outcome) = beside(&stage, verb, number, work, async |name| {
            after(offset).await;
            delete_by_hand(&stage, name).await;
        })
        .await;
        outcome.is(&["Succeeded", "Failed", "Compensated"]);
        if !outcome.succeeded() {
            assert_eq!(outcome.reason, "PodGone", "{:#}", outcome.action);
        }
        stage.settled(plus(N, outcome.change())).await;
        assert_eq!(stage.vanished(&before), only(&uid), "offset {offset}");
        stage.reset(N).await;
    }
}

/// A rollout begins just after the call.
async fn rollout(ground: &Ground, verb: Verb, strategy: &str, scene: u64) {
    let name = format!("rollout-{verb:?}-{strategy}").to_lowercase();
    let stage = Stage::set(ground, &name, N).await;
    let mut dice = dice(scene);
    for number in 0..10 {
        let offset = dice.random_range(0..300);
        stage.witness.begin();
        let work = options(30, strategy);
        let tag = format!("{}", number + 2);
        let (_, outcome) = beside(&stage, verb, number, work, async |_| {
            after(offset).await;
            stage.set_image(&tag).await;
        })
        .await;
        outcome.is(&["Succeeded", "Failed", "Compensated"]);
        stage.settled(plus(N, outcome.change())).await;
        // All pods are new; that none was lost on the way is seen by how many were available. The action
        // takes one pod alone: the named one, or the one that came for it when a surge is undone (the
        // rollout's controller, that has not seen the eviction yet, may take one at the same moment).
        // Where a new one came first and stayed, not even that.
        let surged = (verb, strategy) == (Verb::Move, "Surge") && outcome.succeeded();
        let least = if surged { N } else { N - 1 };
        let lowest = stage.witness.lowest();
        assert!(
            lowest >= least,
            "{lowest} of {N} pods available, rollout {offset} ms after: {:#}",
            outcome.action
        );
        stage.reset(N).await;
    }
}

/// The namespace's quota has no room for one pod more.
async fn full_quota(ground: &Ground) {
    let stage = Stage::set(ground, "full-quota", N).await;
    let quota = async |pods: usize| {
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "pods", "namespace": stage.namespace},
            "spec": {"hard": {"pods": pods.to_string()}},
        });
        stage.apply(&manifest).await;
        let pods = pods.to_string();
        until("the quota counts", async || {
            let path = "jsonpath={.status.hard.pods} {.status.used.pods}";
            let seen = stage
                .kubectl_ok(&["get", "quota", "pods", "-o", path])
                .await;
            seen == format!("{pods} {pods}")
        })
        .await;
    };
    quota(N).await;
    let before = stage.witness.uids();
    let (uid, outcome) = beside(
        &stage,
        Verb::Delete,
        1,
        options(PATIENT, "Auto"),
        async |_| {},
    )
    .await;
    outcome.is(&["Succeeded"]);
    stage.settled(N - 1).await;
    assert_eq!(stage.vanished(&before), only(&uid));

    quota(N - 1).await;
    for strategy in ["Surge", "Auto", "Recreate"] {
        let before = stage.witness.uids();
        let work = options(PATIENT, strategy);
        let (uid, outcome) = beside(&stage, Verb::Move, 0, work, async |_| {}).await;
        stage.settled(N - 1).await;
        let vanished = stage.vanished(&before);
        match strategy {
            "Surge" => outcome.is(&["Compensated"]),
            // `Auto` recreates where it may not surge.
            _ => outcome.is(&["Succeeded"]),
        }
        if outcome.succeeded() {
            assert_eq!(vanished, only(&uid), "{strategy}");
        } else {
            assert_eq!(vanished, BTreeSet::new(), "{strategy}");
        }
    }
}

/// A surge is undone while a sibling is not Ready: a bare -1 would take the sibling.
async fn unready_sibling(ground: &Ground) {
    let spec = json!({
        "nodeSelector": {"stage": "unready-sibling"},
        "tolerations": [{"key": "bad", "operator": "Exists"}],
    });
    let good = "k3d-aces-agent-1";
    let label = async |node: &str, label: &str| {
        let kubectl = ground.kubectl();
        kubectl
            .ok(&["label", "node", node, label, "--overwrite"])
            .await;
    };
    label(BAD, "stage=unready-sibling").await;
    let stage = Stage::with(ground, "unready-sibling", 1, &spec).await;
    let on = |node: &str| {
        let alive = stage.witness.alive();
        alive
            .iter()
            .filter(|pod| pod.node.as_deref() == Some(node))
            .count()
    };
    until("the first pod is on the bad node", async || on(BAD) == 1).await;
    label(BAD, "stage-").await;
    label(good, "stage=unready-sibling").await;
    let count = format!("--replicas={N}");
    stage.kubectl_ok(&["scale", "deploy/web", &count]).await;
    until("the others are Ready on the good node", async || {
        let alive = stage.witness.alive();
        alive.len() == N && alive.iter().filter(|pod| pod.ready).count() == N - 1
    })
    .await;
    label(BAD, "stage=unready-sibling").await;
    let before = stage.witness.uids();
    for strategy in ["Surge", "Auto"] {
        let alive = stage.witness.alive();
        let pod = alive.iter().find(|pod| pod.ready).expect("a Ready one");
        // Long enough for a slow machine to have scaled up by then.
        let id = stage.shift(pod, BAD, options(15, strategy)).await;
        let outcome = stage.outcome(&id).await;
        outcome.is(&["Compensated"]);
        assert_eq!(outcome.reason, "DeadlineExceeded");
        until("the surge pod is gone", async || {
            stage.witness.uids() == before
        })
        .await;
        assert_eq!(stage.replicas().await, N);
    }
    // And that is how it stays.
    after(500).await;
    assert_eq!(stage.witness.uids(), before);
    label(BAD, "stage-").await;
    label(good, "stage-").await;
}

/// Another hand scales in the middle.
async fn scaled_by_another(ground: &Ground, verb: Verb, by: i32, scene: u64) {
    let name = format!("scaled-{verb:?}-{}", if by > 0 { "up" } else { "down" }).to_lowercase();
    let stage = Stage::set(ground, &name, N + 1).await;
    let mut dice = dice(scene);
    for number in 0..6 {
        let offset = dice.random_range(0..200);
        let before = stage.witness.uids();
        let (uid, outcome) = beside(&stage, verb, number, options(5, "Auto"), async |_| {
            after(offset).await;
            stage.scale_by(by).await;
        })
        .await;
        outcome.is(&["Succeeded", "Failed", "Compensated"]);
        stage.settled(plus(N + 1, by + outcome.change())).await;
        let vanished = stage.vanished(&before);
        let others = vanished.iter().filter(|gone| **gone != uid).count();
        // A bare -1 takes whom it takes; that is the adversary's pod.
        assert!(
            others <= usize::from(by < 0),
            "{vanished:?} went, {uid} was named, {offset} ms: {:#}",
            outcome.action
        );
        stage.reset(N + 1).await;
    }
}

/// A PodDisruptionBudget forbids the eviction.
async fn budget(ground: &Ground) {
    let stage = Stage::set(ground, "budget", N).await;
    let manifest = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "all", "namespace": stage.namespace},
        "spec": {"minAvailable": N, "selector": {"matchLabels": {"app": "web"}}},
    });
    stage.apply(&manifest).await;
    until("the budget is counted", async || {
        let path = "jsonpath={.status.currentHealthy} {.status.disruptionsAllowed}";
        stage.kubectl_ok(&["get", "pdb", "all", "-o", path]).await == format!("{N} 0")
    })
    .await;
    let before = stage.witness.uids();
    // Long enough for a slow machine to have asked for the eviction by then.
    let (_, outcome) = beside(&stage, Verb::Delete, 0, options(15, "Auto"), async |_| {}).await;
    outcome.is(&["Failed"]);
    assert_eq!(outcome.reason, "DisruptionBudget");
    assert_eq!(stage.witness.uids(), before);
    stage.settled(N).await;

    // Where a new pod comes first, the budget is respected and the pod can go.
    let (uid, outcome) = beside(
        &stage,
        Verb::Move,
        0,
        options(PATIENT, "Surge"),
        async |_| {},
    )
    .await;
    outcome.is(&["Succeeded"]);
    assert_eq!(stage.vanished(&before), only(&uid));
    stage.settled(N).await;

    let before = stage.witness.uids();
    let (uid, outcome) = beside(
        &stage,
        Verb::Delete,
        1,
        options(PATIENT, "Auto"),
        async |_| {
            after(700).await;
            assert_eq!(stage.witness.uids(), before, "not before it is allowed");
            stage.kubectl_ok(&["delete", "pdb", "all"]).await;
        },
    )
    .await;
    outcome.is(&["Succeeded"]);
    assert_eq!(stage.vanished(&before), only(&uid));
    stage.settled(N - 1).await;
}

/// Somebody deletes the pods that are held unbound, as soon as they show.
async fn held_pods_deleted(ground: &Ground, verb: Verb) {
    let name = format!("held-deleted-{verb:?}").to_lowercase();
    let stage = Stage::set(ground, &name, N).await;
    for number in 0..4 {
        let before = stage.witness.uids();
        let (uid, outcome) = beside(&stage, verb, number, options(20, "Surge"), async |_| {
            let mut taken = BTreeSet::new();
            for _ in 0..500 {
                let alive = stage.witness.alive();
                for pod in alive.iter().filter(|pod| pod.node.is_none()) {
                    if taken.len() < 3 && taken.insert(pod.name.clone()) {
                        delete_by_hand(&stage, &pod.name).await;
                    }
                }
                after(2).await;
            }
            println!("{}: {} unbound pods deleted", stage.namespace, taken.len());
        })
        .await;
        outcome.is(&["Succeeded", "Failed", "Compensated"]);
        stage.settled(plus(N, outcome.change())).await;
        let vanished = stage.vanished(&before);
        assert!(vanished.is_subset(&only(&uid)), "{vanished:?}");
        stage.reset(N).await;
    }
}

/// Two actions on one pod at once.
async fn two_at_once(ground: &Ground) {
    let stage = Stage::set(ground, "two-at-once", N).await;
    for number in 0..4 {
        let before = stage.witness.uids();
        let pod = stage.pick(number);
        let node = Stage::elsewhere(&pod, number);
        let on = json!({"pod": stage.pod(&pod), "options": options(PATIENT, "Auto")});
        let mut to = on.clone();
        to["node"] = json!({"name": node});
        let delete = stage.try_submit("action.Delete", on);
        let shift = stage.try_submit("action.Move", to);
        let (delete, shift) = if number % 2 == 0 {
            futures::join!(delete, shift)
        } else {
            let (shift, delete) = futures::join!(shift, delete);
            (delete, shift)
        };
        // The second may come so late that the pod is terminating already: then it is refused.
        let mut outcomes = Vec::new();
        for id in [delete, shift].into_iter().flatten() {
            outcomes.push(stage.outcome(&id).await);
        }
        let succeeded = outcomes.iter().filter(|one| one.succeeded()).count();
        assert_eq!(succeeded, 1, "one of them");
        for other in outcomes.iter().filter(|one| !one.succeeded()) {
            other.is(&["Failed"]);
            assert_eq!(other.reason, "PodGone");
        }
        let change = outcomes.iter().map(|one| one.change()).sum();
        stage.settled(plus(N, change)).await;
        assert_eq!(stage.vanished(&before), only(&pod.uid));
        stage.reset(N).await;
    }
}

/// All of it, each on a stage of its own, side by side. One that fails does not stop the others.
async fn everything(ground: &Ground) {
    let only = std::env::var("ADVERSARY_ONLY").unwrap_or_default();
    let mut scenes: Vec<(&str, LocalBoxFuture<'_, ()>)> = vec![
        (
            "deleted before",
            deleted_before_submission(ground).boxed_local(),
        ),
        (
            "deleted, Delete",
            deleted_after_submission(ground, Verb::Delete).boxed_local(),
        ),
        (
            "deleted, Move",
            deleted_after_submission(ground, Verb::Move).boxed_local(),
        ),
        (
            "rollout, Delete",
            rollout(ground, Verb::Delete, "Auto", 1).boxed_local(),
        ),
        (
            "rollout, Move",
            rollout(ground, Verb::Move, "Surge", 2).boxed_local(),
        ),
        (
            "rollout, Recreate",
            rollout(ground, Verb::Move, "Recreate", 3).boxed_local(),
        ),
        ("unready sibling", unready_sibling(ground).boxed_local()),
        (
            "scaled, Delete up",
            scaled_by_another(ground, Verb::Delete, 1, 4).boxed_local(),
        ),
        (
            "scaled, Delete down",
            scaled_by_another(ground, Verb::Delete, -1, 5).boxed_local(),
        ),
        (
            "scaled, Move up",
            scaled_by_another(ground, Verb::Move, 1, 6).boxed_local(),
        ),
        (
            "scaled, Move down",
            scaled_by_another(ground, Verb::Move, -1, 7).boxed_local(),
        ),
        ("budget", budget(ground).boxed_local()),
        (
            "held pods, Delete",
            held_pods_deleted(ground, Verb::Delete).boxed_local(),
        ),
        (
            "held pods, Move",
            held_pods_deleted(ground, Verb::Move).boxed_local(),
        ),
        ("two at once", two_at_once(ground).boxed_local()),
    ];
    if ground.real {
        // The sandbox has no quota controller.
        scenes.push(("full quota", full_quota(ground).boxed_local()));
    }
    let scenes = scenes
        .into_iter()
        .filter(|(name, _)| name.contains(&only))
        .map(|(name, scene)| async move {
            let ended = std::panic::AssertUnwindSafe(scene).catch_unwind().await;
            println!(
                "scene {name:?}: {}",
                if ended.is_ok() { "ok" } else { "FAILED" }
            );
            ended.is_err().then_some(name)
        });
    let failed: Vec<&str> = futures::future::join_all(scenes)
        .await
        .into_iter()
        .flatten()
        .collect();
    assert!(
        failed.is_empty(),
        "scenes failed: {failed:?}; each said why above"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_sandbox() {
    if missing("adversary on the sandbox (kubectl)", kubectl_binary().err()) {
        return;
    }
    let ground = Ground::sandbox().await;
    everything(&ground).await;
    ground.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_control_plane() {
    let options = Options {
        audit: true,
        ..Options::default()
    };
    let testbed = match Testbed::start_with(&options) {
        Ok(testbed) => testbed,
        Err(reason) => {
            missing("adversary on the testbed", Some(reason));
            return;
        }
    };
    let redis = match Redis::start() {
        Ok(redis) => redis,
        Err(reason) => {
            missing("adversary on the testbed (redis-server)", Some(reason));
            return;
        }
    };
    let ground = Ground::real(testbed, redis).await;
    everything(&ground).await;
    ground.stop();
}
