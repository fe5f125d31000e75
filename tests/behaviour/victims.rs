//! Which pod a ReplicaSet gives up when it shrinks, rule by rule (`ActivePodsWithRanks.Less`).

use serde_json::{Value, json};

use crate::case::Case;
use crate::things::*;

cases![unassigned, pending, not_ready, cheaper, more_on_a_node, withheld];

/// A ReplicaSet with `count` pods, their names in the order of their creation.
async fn pods(t: &mut Case, count: usize) -> Vec<String> {
    t.with_account().await;
    t.make(REPLICA_SETS, replica_set("web", i64::try_from(count).unwrap())).await;
    let listed = t.until("the pods", PODS, |a| a.names().len() == count).await;
    t.until("their count", &format!("{REPLICA_SETS}/web"), |a| a.body["status"]["replicas"] == count).await;
    listed.names()
}

async fn bind(t: &mut Case, name: &str, node: &str) {
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
    t.make(&format!("{PODS}/{name}/binding"), binding).await;
}

async fn ready(t: &mut Case, name: &str, ready: &str) {
    let since = "2026-01-01T00:00:00Z";
    t.kubelet_says(name, json!({"phase": "Running", "conditions": [
        {"type": "Ready", "status": ready, "lastTransitionTime": since}]})).await;
}

/// Shrinks by one and tells which of `names` went.
async fn shrink(t: &mut Case, names: &[String], expected: &str) {
    // The controller must have seen what the pods have become.
    let running = names.len();
    t.until("a settled count", &format!("{REPLICA_SETS}/web"), |a| {
        a.body["status"]["replicas"] == running && a.body["status"]["observedGeneration"] == a.body["metadata"]["generation"]
    }).await;
    t.change(&format!("{REPLICA_SETS}/web/scale"), json!({"spec": {"replicas": running - 1}})).await;
    let left = t.until("one pod fewer", PODS, |a| {
        let items = a.body["items"].as_array().cloned().unwrap_or_default();
        items.iter().filter(|p| p["metadata"]["deletionTimestamp"].is_null()).count() == running - 1
    }).await;
    let items = left.body["items"].as_array().cloned().unwrap_or_default();
    let alive = |name: &String| items.iter().any(|p| p["metadata"]["name"] == *name && p["metadata"]["deletionTimestamp"].is_null());
    let gone: Vec<&String> = names.iter().filter(|name| !alive(name)).collect();
    assert_eq!(gone, [expected]);
    t.found("gone", &json!(gone.len()));
}

/// Waits until the ReplicaSet's status counts this many ready pods.
async fn ready_count(t: &mut Case, count: i64) {
    t.until("the ready ones", &format!("{REPLICA_SETS}/web"), |a| {
        a.body["status"]["readyReplicas"].as_i64().unwrap_or(0) == count
    }).await;
}

async fn unassigned(t: &mut Case) {
    let names = pods(t, 3).await;
    // Seen before the pod is seen ready, and of no avail.
    t.change(&format!("{PODS}/{}", names[0]), json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-100"}}})).await;
    for name in &names[..2] {
        bind(t, name, "n-1").await;
        ready(t, name, "True").await;
    }
    ready_count(t, 2).await;
    shrink(t, &names, &names[2]).await;
}

async fn pending(t: &mut Case) {
    let names = pods(t, 3).await;
    for name in &names {
        bind(t, name, "n-1").await;
    }
    for name in [&names[0], &names[2]] {
        ready(t, name, "True").await;
    }
    ready_count(t, 2).await;
    shrink(t, &names, &names[1]).await;
}

async fn not_ready(t: &mut Case) {
    let names = pods(t, 3).await;
    t.change(&format!("{PODS}/{}", names[0]), json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-100"}}})).await;
    for (name, is) in names.iter().zip(["True", "True", "False"]) {
        bind(t, name, "n-1").await;
        ready(t, name, is).await;
    }
    ready_count(t, 2).await;
    shrink(t, &names, &names[2]).await;
}

async fn cheaper(t: &mut Case) {
    let names = pods(t, 3).await;
    // Three on one node would outrank; the cost is looked at before.
    for (name, node) in names.iter().zip(["n-1", "n-1", "n-2"]) {
        t.change(&format!("{PODS}/{name}"), json!({"metadata": {"annotations": {
            "controller.kubernetes.io/pod-deletion-cost": if node == "n-2" { "-1" } else { "5" }}}})).await;
        bind(t, name, node).await;
        ready(t, name, "True").await;
    }
    ready_count(t, 3).await;
    shrink(t, &names, &names[2]).await;
}

async fn more_on_a_node(t: &mut Case) {
    let names = pods(t, 3).await;
    for (name, node) in names.iter().zip(["n-1", "n-2", "n-2"]) {
        bind(t, name, node).await;
    }
    // Of the two on one node the one that is ready for a shorter time.
    for (name, since) in names.iter().zip(["2026-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "2026-11-01T00:00:00Z"]) {
        t.kubelet_says(name, json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]})).await;
    }
    ready_count(t, 3).await;
    shrink(t, &names, &names[2]).await;
}

/// What a Delete or a Move is built on: evict the named pod, hold its replacement, then shrink.
async fn withheld(t: &mut Case) {
    let names = pods(t, 2).await;
    for name in &names {
        bind(t, name, "n-1").await;
        ready(t, name, "True").await;
    }
    ready_count(t, 2).await;
    let eviction = json!({"metadata": {"name": names[0]}});
    t.make(&format!("{PODS}/{}/eviction", names[0]), eviction).await;
    let with = t.until("the replacement", PODS, |a| {
        let now = a.names();
        now.len() == 2 && !now.contains(&names[0])
    }).await.names();
    let held = with.iter().find(|name| **name != names[1]).unwrap().clone();
    shrink(t, &with, &held).await;
    let left: Value = json!(t.look(PODS).await.names() == [names[1].clone()]);
    t.found("the other is left", &left);
}
