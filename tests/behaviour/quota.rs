//! `ResourceQuota`: what a namespace may use.

use serde_json::{Value, json};

use crate::case::{Answer, Case};
use crate::things::*;

cases![pods_are_counted, requests_are_counted, scopes];

const QUOTAS: &str = "/api/v1/namespaces/{ns}/resourcequotas";

fn asking(name: &str, resources: Value) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["resources"] = resources;
    pod
}

/// A quota, once the controller has seen it.
async fn quota(t: &mut Case, spec: Value) {
    let hard = spec["hard"].clone();
    t.make(QUOTAS, json!({"metadata": {"name": "q"}, "spec": spec})).await;
    t.until("the quota's status", &format!("{QUOTAS}/q"), |a| {
        a.body["status"]["hard"] == hard && a.body["status"]["used"].is_object()
    })
    .await;
}

async fn outcome(t: &mut Case, what: &str, answer: &Answer) {
    t.found(what, &json!([answer.code, answer.text("/reason"), answer.text("/message")]));
}

async fn create(t: &mut Case, what: &str, pod: Value) -> Answer {
    let headers = [("content-type", "application/json")];
    let answer = t.quietly(http::Method::POST, PODS, &headers, pod.to_string()).await;
    outcome(t, what, &answer).await;
    answer
}

async fn pods_are_counted(t: &mut Case) {
    t.with_account().await;
    quota(t, json!({"hard": {"pods": "1"}})).await;
    create(t, "the first", pod("a")).await;
    create(t, "the second", pod("b")).await;
    let seen = t.until("its use", &format!("{QUOTAS}/q"), |a| a.body["status"]["used"]["pods"] == "1").await;
    t.found("status", &seen.body["status"]);
    t.note("a trial does not count, and is refused");
    let trial = t.quietly(http::Method::POST, &format!("{PODS}?dryRun=All"), &[("content-type", "application/json")], pod("c").to_string()).await;
    outcome(t, "trial", &trial).await;
    t.quietly(http::Method::DELETE, &format!("{PODS}/a"), &[], "").await;
    t.until("room", &format!("{QUOTAS}/q"), |a| a.body["status"]["used"]["pods"] == "0").await;
    create(t, "after one went", pod("b")).await;
}

async fn requests_are_counted(t: &mut Case) {
    t.with_account().await;
    quota(t, json!({"hard": {"requests.cpu": "1", "limits.memory": "1Gi"}})).await;
    create(t, "asks for nothing", pod("a")).await;
    create(t, "asks for half", asking("a", json!({"requests": {"cpu": "500m"}}))).await;
    let both = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu}, "limits": {"memory": memory}});
    create(t, "fits", asking("a", both("700m", "512Mi"))).await;
    create(t, "too much cpu", asking("b", both("400m", "1Mi"))).await;
    create(t, "too much of both", asking("b", both("400m", "1Gi"))).await;
    create(t, "the rest", asking("b", both("300m", "512Mi"))).await;
    let seen = t.until("its use", &format!("{QUOTAS}/q"), |a| a.body["status"]["used"]["requests.cpu"] == "1").await;
    t.found("status", &seen.body["status"]);
}

async fn scopes(t: &mut Case) {
    t.with_account().await;
    quota(t, json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]})).await;
    create(t, "one without requests", pod("a")).await;
    create(t, "another", pod("b")).await;
    create(t, "one with", asking("c", json!({"requests": {"cpu": "1"}}))).await;
    let seen = t.until("its use", &format!("{QUOTAS}/q"), |a| a.body["status"]["used"]["pods"] == "1").await;
    t.found("used", &seen.body["status"]["used"]);
    t.note("by priority class");
    t.make(QUOTAS, json!({"metadata": {"name": "p"}, "spec": {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [
        {"scopeName": "PriorityClass", "operator": "In", "values": ["system-cluster-critical"]}]}}})).await;
    t.until("its status", &format!("{QUOTAS}/p"), |a| a.body["status"]["used"].is_object()).await;
    let mut system = asking("d", json!({"requests": {"cpu": "1"}}));
    create(t, "an ordinary one", system.clone()).await;
    system["metadata"]["name"] = json!("e");
    system["spec"]["priorityClassName"] = json!("system-cluster-critical");
    create(t, "a critical one", system).await;
}
