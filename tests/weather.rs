//! Bad weather: Redis away or holding garbage, the API server silent, pods that never become Ready, nodes
//! without room. Each action is carried out within its deadline or put back, and says which.
#![allow(clippy::disallowed_methods, missing_docs)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::kubectl::kubectl;
use support::rpc::Caller;
use support::scene::{Scene, create, node, pod};

const QUICK: [&str; 8] = [
    "--executor-lease-duration",
    "2s",
    "--leader-elect-lease-duration",
    "3s",
    "--leader-elect-renew-deadline",
    "2s",
    "--leader-elect-retry-period",
    "200ms",
];

/// A scene with one pod of `test-a` on node 1 and a server; the pod's name.
macro_rules! scene {
    ($suite:expr, $latency:expr) => {{
        let args = ["--start-latency", $latency, "--stop-latency", "50ms"];
        let Some(scene) = support::require($suite, Scene::start(&args)) else {
            return;
        };
        let (server, caller) = scene.serve(&QUICK);
        caller.until_ready().await;
        caller.done("action.Create", create("test-a", "1")).await;
        let name = only_pod(&scene, "test-a").await;
        (server, scene, caller, name)
    }};
}

async fn only_pod(scene: &Scene, of: &str) -> String {
    let seen = scene.settled(of).await;
    assert_eq!(seen.pods.len(), 1, "{seen:?}");
    seen.pods.values().next().expect("a pod").1.clone()
}

/// Waits until a step of that name has begun.
async fn until_begun(caller: &Caller, id: &str, name: &str) {
    for _ in 0..6000 {
        let action = caller.get(id).await.expect("the action");
        let begun = action["steps"].as_array().is_some_and(|steps| {
            steps
                .iter()
                .any(|step| step["name"] == name && step["state"] != "Pending")
        });
        if begun {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "{name} does not begin: {:#}",
        caller.get(id).await.expect("the action")
    );
}

async fn until_ready_is(caller: &Caller, wanted: bool) {
    let begun = Instant::now();
    while caller.ready().await != wanted {
        assert!(
            begun.elapsed() < Duration::from_secs(240),
            "/readyz does not become {wanted}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_away_in_the_middle_of_an_action() {
    let (_server, mut scene, caller, name) = scene!("weather: Redis away", "1s");
    let id = caller
        .submit("action.Move", json!({"pod": pod(&name), "node": node("2")}))
        .await;
    until_begun(&caller, &id, "await new pod Ready").await;
    scene.redis.stop();
    until_ready_is(&caller, false).await;
    tokio::time::sleep(Duration::from_secs(4)).await; // Longer than the lease of the action.
    scene.redis.resume();
    let action = caller.ended(&id).await;
    assert_eq!(action["state"], "Succeeded", "{action:#}");
    assert_eq!(scene.settled("test-a").await.nodes(), ["2"]);
    until_ready_is(&caller, true).await;
    assert!(
        scene.leftovers().await.is_empty(),
        "{:?}",
        scene.leftovers().await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_silent_in_the_middle_of_an_action() {
    let (_server, scene, caller, name) = scene!("weather: Redis silent", "1s");
    let id = caller
        .submit("action.Move", json!({"pod": pod(&name), "node": node("2")}))
        .await;
    until_begun(&caller, &id, "await new pod Ready").await;
    scene.redis.freeze();
    tokio::time::sleep(Duration::from_secs(5)).await; // Longer than the lease of the action.
    scene.redis.thaw();
    let action = caller.ended(&id).await;
    assert_eq!(action["state"], "Succeeded", "{action:#}");
    assert_eq!(scene.settled("test-a").await.nodes(), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_under_our_keys_stands_in_nobodys_way() {
    let (_server, scene, caller, name) = scene!("weather: garbage in Redis", "50ms");
    let moving = json!({"pod": pod(&name), "node": node("2"),
        "options": {"idempotencyKey": "garbage"}});
    let done = caller.done("action.Move", moving).await;
    let id = done["actionId"].as_str().expect("an id").to_owned();
    let key = format!("wam:{{wam}}:action:{id}");
    let mut redis = scene.store().await;
    for garbage in ["", "{\"id\":", "\u{1}\u{2}"] {
        let _: i64 = redis::cmd("HSET")
            .arg(&key)
            .arg("record")
            .arg(garbage)
            .query_async(&mut redis)
            .await
            .expect("written");
        let error = caller.refused("action.Get", json!({"actionId": id})).await;
        assert!(error.contains(&key), "{error}");
        let list = caller.call("action.List", json!({})).await.expect("a list");
        assert_eq!(
            list["result"]["actions"].as_array().map(Vec::len),
            Some(1),
            "{list}"
        );
    }
    // One in the queue that cannot be read, and an intent that is none.
    let (stranger, text) = (
        "00000000000000000000000000000001",
        "wam:{wam}:intent:stranger",
    );
    for command in [
        vec!["ZADD", "wam:{wam}:queue", "0", stranger],
        vec!["SET", text, "garbage"],
        vec!["ZADD", "wam:{wam}:intents", "1", "stranger"],
    ] {
        let _: redis::Value = redis::cmd(command[0])
            .arg(&command[1..])
            .query_async(&mut redis)
            .await
            .expect("written");
    }
    let name = only_pod(&scene, "test-a").await;
    caller
        .done("action.Move", json!({"pod": pod(&name), "node": node("3")}))
        .await;
    assert_eq!(scene.settled("test-a").await.nodes(), ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_silent_for_some_seconds() {
    let (_server, scene, caller, name) = scene!("weather: API server silent", "6s");
    let id = caller
        .submit("action.Move", json!({"pod": pod(&name), "node": node("2")}))
        .await;
    until_begun(&caller, &id, "await new pod Ready").await;
    scene.sandbox.freeze();
    until_ready_is(&caller, false).await;
    // Longer than a call may take.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let live = caller.get(&id).await.expect("the server answers");
    assert_eq!(live["state"], "Running");
    scene.sandbox.thaw();
    let action = caller.ended(&id).await;
    assert_eq!(action["state"], "Succeeded", "{action:#}");
    assert_eq!(scene.settled("test-a").await.nodes(), ["2"]);
    until_ready_is(&caller, true).await;
}

/// A stop does not wait for an API server that is silent, and whoever goes on finds all that was done on record.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_while_the_api_server_is_silent() {
    let suite = "weather: stopped in the silence";
    let latencies = ["--start-latency", "3s", "--stop-latency", "50ms"];
    let Some(scene) = support::require(suite, Scene::start(&latencies)) else {
        return;
    };
    // A lease so long that waiting for it to run out would be seen.
    let patient = ["--executor-lease-duration", "600s"];
    let (server, caller) = scene.serve(&patient);
    caller.until_ready().await;
    caller.done("action.Create", create("test-a", "1")).await;
    let name = only_pod(&scene, "test-a").await;
    let id = caller
        .submit("action.Move", json!({"pod": pod(&name), "node": node("2")}))
        .await;
    until_begun(&caller, &id, "await new pod Ready").await;
    scene.sandbox.freeze();
    until_ready_is(&caller, false).await;
    let stopping = Instant::now();
    assert!(server.stop(), "it shuts down cleanly");
    let stopped = stopping.elapsed();
    println!("stopped in {stopped:.1?}");
    scene.sandbox.thaw();
    let (_server, caller) = scene.serve(&[]);
    let action = caller.ended(&id).await;
    assert_eq!(action["state"], "Succeeded", "{action:#}");
    assert_eq!(scene.settled("test-a").await.nodes(), ["2"]);
    // Nine seconds by the program's own clock; the rest is a slow machine's.
    assert!(stopped < Duration::from_secs(18), "{stopped:?}");
}

/// The deadline passes while the API server is silent: what a call without an answer has done is found out
/// before anything is put back.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_in_the_silence() {
    let (_server, scene, caller, _) = scene!("weather: deadline in the silence", "50ms");
    // Frozen at different moments of the action.
    for pause in [5, 15, 30, 60, 90, 120, 180] {
        let before = scene.settled("test-a").await;
        let (uid, (on, name)) = before.pods.iter().next().expect("a pod");
        let to = if on == "2" { "3" } else { "2" };
        let moving = json!({"pod": pod(name), "node": node(to), "options": {"deadlineSeconds": 2}});
        let id = caller.submit("action.Move", moving).await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        scene.sandbox.freeze();
        tokio::time::sleep(Duration::from_millis(2500)).await;
        scene.sandbox.thaw();
        let action = caller.ended(&id).await;
        let after = scene.settled("test-a").await;
        let story = format!("frozen after {pause} ms: {action:#}\n{before:?}\n{after:?}");
        println!("{pause} ms: {} {}", action["state"], action["message"]);
        assert_eq!(after.replicas, 1, "{story}");
        match action["state"].as_str() {
            Some("Succeeded") => assert_eq!(after.nodes(), [to], "{story}"),
            Some("Failed" | "Compensated") => {
                let told = action["message"].as_str().unwrap_or_default();
                let stayed = after.pods.contains_key(uid);
                assert!(stayed || told.contains("has left"), "{story}");
            }
            _ => panic!("{story}"),
        }
        assert!(scene.leftovers().await.is_empty(), "{story}");
    }
}

/// A Deployment of one pod that runs and is never Ready.
const STUCK: &str = r#"{"apiVersion": "apps/v1", "kind": "Deployment",
  "metadata": {"name": "stuck", "namespace": "default"},
  "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "stuck"}},
    "template": {"metadata": {"labels": {"app": "stuck", "aces-eu.github.io/wam-sandbox": "never-ready"}},
      "spec": {"schedulerName": "wam-scheduler",
        "containers": [{"name": "pause", "image": "registry.k8s.io/pause:3.10"}]}}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pod_that_never_becomes_ready_is_taken_back() {
    let (_server, scene, caller, _) = scene!("weather: never ready", "50ms");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stuck.json");
    std::fs::write(&file, STUCK).expect("written");
    scene.kubectl(&["apply", "-f", file.to_str().expect("text")]);
    let before = scene.unready("stuck").await;
    let (on, name) = before.pods.values().next().expect("a pod");
    let to = if on == "2" { "3" } else { "2" };
    let moving = json!({"pod": pod(name), "node": node(to),
        "options": {"deadlineSeconds": 15, "idempotencyKey": "stuck"}});
    let id = caller.submit("action.Move", moving.clone()).await;
    let action = caller.ended(&id).await;
    assert_eq!(action["state"], "Compensated", "{action:#}");
    assert_eq!(action["reason"], "DeadlineExceeded", "{action:#}");
    assert_eq!(scene.unready("stuck").await, before, "{action:#}");
    assert!(
        scene.leftovers().await.is_empty(),
        "{:?}",
        scene.leftovers().await
    );
    // The same request again is the same action, also when it is over.
    assert_eq!(caller.submit("action.Move", moving).await, id);
    let again: Value = caller.get(&id).await.expect("the action");
    assert_eq!(again["finishedAt"], action["finishedAt"]);
}

/// A Deployment of which a node holds one pod.
const BIG: &str = r#"{"apiVersion": "apps/v1", "kind": "Deployment",
  "metadata": {"name": "big", "namespace": "default"},
  "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "big"}},
    "template": {"metadata": {"labels": {"app": "big"}},
      "spec": {"schedulerName": "wam-scheduler",
        "containers": [{"name": "pause", "image": "registry.k8s.io/pause:3.10",
          "resources": {"requests": {"cpu": "3"}}}]}}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn no_room_means_failed_and_nothing_scaled() {
    let (_server, scene, caller, _) = scene!("weather: no room", "50ms");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("big.json");
    std::fs::write(&file, BIG).expect("written");
    scene.kubectl(&["apply", "-f", file.to_str().expect("text")]);
    caller.done("action.Create", create("big", "2")).await;
    caller.done("action.Create", create("big", "3")).await;
    let before = scene.settled("big").await;
    let generation = scene.deployment("big")["metadata"]["generation"].clone();
    let (_, name) = before.pods.values().find(|(on, _)| on == "3").expect("it");
    for (method, argument) in [
        ("action.Create", create("big", "2")),
        ("action.Move", json!({"pod": pod(name), "node": node("2")})),
    ] {
        let id = caller.submit(method, argument).await;
        let action = caller.ended(&id).await;
        assert_eq!(action["state"], "Failed", "{action:#}");
        assert_eq!(action["reason"], "Infeasible", "{action:#}");
        let told = action["message"].as_str().expect("a message");
        assert!(
            told.contains("NodeResourcesFit: Insufficient cpu"),
            "{told}"
        );
        assert_eq!(scene.settled("big").await, before);
        assert_eq!(
            scene.deployment("big")["metadata"]["generation"],
            generation
        );
    }
    scene.kubectl(&["cordon", "k3d-aces-agent-2"]);
    let error = caller.refused("action.Create", create("test-a", "2")).await;
    assert!(error.contains("cordoned"), "{error}");
    kubectl(&scene.kubeconfig, &["uncordon", "k3d-aces-agent-2"]).expect("uncordoned");
}

/// Accepted by a server that carries nothing out, begun by another when the node is cordoned.
#[tokio::test(flavor = "multi_thread")]
async fn cordoned_after_the_acceptance_means_failed_and_nothing_scaled() {
    let (server, scene, caller, _) = scene!("weather: cordoned", "50ms");
    let before = scene.settled("test-a").await;
    assert!(server.stop(), "it shuts down cleanly");
    drop(caller);
    let (accepting, caller) = scene.serve(&["--no-executor", "--no-scheduler"]);
    caller.until_ready().await;
    let id = caller.submit("action.Create", create("test-a", "2")).await;
    scene.kubectl(&["cordon", "k3d-aces-agent-2"]);
    assert_eq!(
        caller.get(&id).await.expect("the action")["state"],
        "Pending"
    );
    assert!(accepting.stop(), "it shuts down cleanly");
    let (_server, caller) = scene.serve(&QUICK);
    let action = caller.ended(&id).await;
    assert_eq!(action["state"], "Failed", "{action:#}");
    assert_eq!(action["reason"], "Infeasible", "{action:#}");
    assert_eq!(scene.settled("test-a").await, before);
    assert!(
        scene.leftovers().await.is_empty(),
        "{:?}",
        scene.leftovers().await
    );
}
