//! `pods/binding`: a scheduler's decision.

use serde_json::{Value, json};

use crate::case::Case;
use crate::things::*;

cases![once, what_it_brings, conditions, refusals, deleted_pods, the_old_way, topology];

fn to(pod: &str, node: &str) -> Value {
    json!({"metadata": {"name": pod}, "target": {"kind": "Node", "name": node}})
}

async fn once(t: &mut Case) {
    t.with_account().await;
    let made = t.make(PODS, pod("p")).await;
    let path = format!("{PODS}/p/binding");
    t.note("a foreign UID");
    let mut foreign = to("p", "n-1");
    foreign["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    t.post(&path, foreign).await;
    t.note("a foreign version");
    let mut stale = to("p", "n-1");
    stale["metadata"]["resourceVersion"] = json!("1");
    t.post(&path, stale).await;
    t.note("a node that nobody knows is a node");
    let mut mine = to("p", "no-such-node");
    mine["metadata"]["uid"] = json!(made.uid());
    t.post(&path, mine.clone()).await;
    t.note("the same again, another, another's");
    t.post(&path, mine).await;
    t.post(&path, to("p", "n-2")).await;
    let seen = t.look(&format!("{PODS}/p")).await;
    t.found("node", &seen.body["spec"]["nodeName"]);
}

async fn what_it_brings(t: &mut Case) {
    t.with_account().await;
    let mut annotated = pod("p");
    annotated["metadata"]["annotations"] = json!({"a": "old", "b": "kept"});
    t.make(PODS, annotated).await;
    let mut binding = to("p", "n-1");
    binding["metadata"]["annotations"] = json!({"a": "new", "c": "more"});
    binding["metadata"]["labels"] = json!({"app": "changed", "extra": "l"});
    t.post(&format!("{PODS}/p/binding"), binding).await;
    t.names.ignored = vec!["containers", "volumes", "tolerations"];
    t.get(&format!("{PODS}/p")).await;
}

async fn conditions(t: &mut Case) {
    t.with_account().await;
    t.make(PODS, pod("p")).await;
    t.kubelet_says("p", json!({"nominatedNodeName": "n-9", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "none"}]})).await;
    t.post(&format!("{PODS}/p/binding"), to("p", "n-1")).await;
    let seen = t.look(&format!("{PODS}/p")).await;
    t.found("status", &seen.body["status"]);
    t.found("generation", &seen.body["metadata"]["generation"]);
}

async fn refusals(t: &mut Case) {
    t.with_account().await;
    t.make(PODS, pod("p")).await;
    let path = format!("{PODS}/p/binding");
    t.post(&format!("{PODS}/none/binding"), to("none", "n-1")).await;
    t.post(&path, to("other", "n-1")).await;
    t.post(&path, to("p", "")).await;
    t.post(&path, json!({"metadata": {"name": "p"}})).await;
    t.post(&path, json!({"metadata": {"name": "p"}, "target": {"kind": "Pod", "name": "x"}})).await;
    t.post(&path, json!({"metadata": {"name": "p", "namespace": "other"}, "target": {"name": "n-1"}})).await;
    t.post(&path, json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}})).await;
    t.post(&path, json!([])).await;
    t.post(&path, json!({"target": 5})).await;
    t.get(&path).await;
    t.put(&path, to("p", "n-1")).await;
    t.note("as a trial");
    t.post(&format!("{path}?dryRun=All"), to("p", "n-1")).await;
    let seen = t.look(&format!("{PODS}/p")).await;
    t.found("node", &seen.body["spec"]["nodeName"]);
}

async fn deleted_pods(t: &mut Case) {
    t.with_account().await;
    let mut held = pod("p");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    t.make(PODS, held).await;
    t.quietly(http::Method::DELETE, &format!("{PODS}/p"), &[], "").await;
    t.post(&format!("{PODS}/p/binding"), to("p", "n-1")).await;
    t.change(&format!("{PODS}/p"), json!({"metadata": {"finalizers": null}})).await;
}

async fn the_old_way(t: &mut Case) {
    t.with_account().await;
    t.make(PODS, pod("p")).await;
    const BINDINGS: &str = "/api/v1/namespaces/{ns}/bindings";
    t.post(BINDINGS, to("p", "n-1")).await;
    t.post(BINDINGS, to("p", "n-1")).await;
    t.post(BINDINGS, to("none", "n-1")).await;
    t.get(BINDINGS).await;
}

async fn topology(t: &mut Case) {
    t.with_account().await;
    t.make(NODES, json!({"metadata": {"name": "n-{id}", "labels": {"topology.kubernetes.io/zone": "z", "other": "x"}}})).await;
    t.make(PODS, pod("p")).await;
    t.make(&format!("{PODS}/p/binding"), to("p", "n-{id}")).await;
    let seen = t.look(&format!("{PODS}/p")).await;
    t.found("labels", &seen.body["metadata"]["labels"]);
    let mut placed = pod("q");
    placed["spec"]["nodeName"] = json!("n-{id}");
    let seen = t.make(PODS, placed).await;
    t.found("labels", &seen.body["metadata"]["labels"]);
    t.quietly(http::Method::DELETE, &format!("{NODES}/n-{{id}}"), &[], "").await;
}
