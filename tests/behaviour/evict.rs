//! `pods/eviction` and the budgets that decide it.

use serde_json::{Value, json};

use crate::case::{Answer, Case};
use crate::things::*;

cases![
    without_a_budget, budgets, spent, a_failed_precondition_spends, several_budgets, unhealthy_if_budget_is_healthy,
    unhealthy_always, pods_that_do_not_run, trials, refusals, budgets_are_counted, selectors,
];

async fn evict(t: &mut Case, name: &str, options: Value) -> Answer {
    let mut body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    if !options.is_null() {
        body["deleteOptions"] = options;
    }
    t.post(&format!("{PODS}/{name}/eviction"), body).await
}

/// A budget, once the disruption controller has counted.
async fn settled_budget(t: &mut Case, name: &str, spec: Value, healthy: i64) {
    t.make(BUDGETS, budget(name, spec)).await;
    counted(t, name, healthy).await;
}

async fn counted(t: &mut Case, name: &str, healthy: i64) {
    t.until("the budget's status", &format!("{BUDGETS}/{name}"), |a| {
        let status = &a.body["status"];
        status["observedGeneration"] == a.body["metadata"]["generation"] && status["currentHealthy"] == healthy
    })
    .await;
}

async fn exists(t: &mut Case, name: &str) {
    let seen = t.look(&format!("{PODS}/{name}")).await;
    t.found(&format!("{name} is there"), &json!(seen.code == 200 && seen.text("/metadata/deletionTimestamp").is_empty()));
}

async fn without_a_budget(t: &mut Case) {
    t.with_account().await;
    t.running_pod("a", true).await;
    evict(t, "a", Value::Null).await;
    exists(t, "a").await;
    t.note("what an evicted pod says while it goes");
    let mut slow = pod("b");
    slow["spec"]["terminationGracePeriodSeconds"] = json!(60);
    slow["spec"]["nodeName"] = json!("n-1");
    t.make(PODS, slow).await;
    t.kubelet_says("b", json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})).await;
    evict(t, "b", Value::Null).await;
    let seen = t.look(&format!("{PODS}/b")).await;
    t.found("conditions", &seen.body["status"]["conditions"]);
    t.found("grace", &seen.body["metadata"]["deletionGracePeriodSeconds"]);
    t.note("again");
    evict(t, "b", Value::Null).await;
    evict(t, "b", json!({"gracePeriodSeconds": 0})).await;
    exists(t, "b").await;
}

async fn budgets(t: &mut Case) {
    t.with_account().await;
    for name in ["a", "b"] {
        t.running_pod(name, true).await;
    }
    settled_budget(t, "pdb", json!({"minAvailable": 1}), 2).await;
    evict(t, "a", Value::Null).await;
    counted(t, "pdb", 1).await;
    evict(t, "b", Value::Null).await;
    exists(t, "b").await;
    let status = t.look(&format!("{BUDGETS}/pdb")).await;
    t.found("status", &status.body["status"]);
}

async fn spent(t: &mut Case) {
    t.with_account().await;
    for name in ["a", "b", "c"] {
        let mut slow = pod(name);
        slow["spec"]["terminationGracePeriodSeconds"] = json!(60);
        slow["spec"]["nodeName"] = json!("n-1");
        t.make(PODS, slow).await;
        t.kubelet_says(name, json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})).await;
    }
    settled_budget(t, "pdb", json!({"maxUnavailable": "34%"}), 3).await;
    let before = t.look(&format!("{BUDGETS}/pdb")).await;
    t.found("allowed", &before.body["status"]["disruptionsAllowed"]);
    evict(t, "a", Value::Null).await;
    evict(t, "b", Value::Null).await;
    evict(t, "c", Value::Null).await;
}

/// The budget is decremented before the pod is deleted; a deletion that is refused leaves it so.
async fn a_failed_precondition_spends(t: &mut Case) {
    t.with_account().await;
    for name in ["a", "b"] {
        t.running_pod(name, true).await;
    }
    settled_budget(t, "pdb", json!({"minAvailable": 1}), 2).await;
    let pod = t.look(&format!("{PODS}/a")).await;
    evict(t, "a", json!({"preconditions": {"resourceVersion": "1"}})).await;
    let after = t.look(&format!("{BUDGETS}/pdb")).await;
    t.found("allowed", &after.body["status"]["disruptionsAllowed"]);
    let disrupted = after.body["status"]["disruptedPods"].as_object().map(|pods| pods.keys().cloned().collect::<Vec<_>>());
    t.found("disrupted", &json!(disrupted));
    // The controller takes the pod for gone.
    counted(t, "pdb", 1).await;
    t.note("now the right one is refused, and so is the other pod");
    evict(t, "a", json!({"preconditions": {"uid": pod.uid(), "resourceVersion": pod.version()}})).await;
    evict(t, "b", Value::Null).await;
    exists(t, "a").await;
}

async fn several_budgets(t: &mut Case) {
    t.with_account().await;
    t.running_pod("a", true).await;
    settled_budget(t, "one", json!({"minAvailable": 0}), 1).await;
    settled_budget(t, "two", json!({"minAvailable": 0}), 1).await;
    evict(t, "a", Value::Null).await;
    exists(t, "a").await;
}

async fn unhealthy_if_budget_is_healthy(t: &mut Case) {
    t.with_account().await;
    t.running_pod("a", true).await;
    t.running_pod("b", false).await;
    settled_budget(t, "pdb", json!({"minAvailable": 1}), 1).await;
    t.note("not ready, and enough others are");
    evict(t, "b", Value::Null).await;
    exists(t, "b").await;
    t.note("not ready, and the budget has too few");
    t.running_pod("c", false).await;
    t.kubelet_says("a", json!({"conditions": [{"type": "Ready", "status": "False"}]})).await;
    counted(t, "pdb", 0).await;
    evict(t, "c", Value::Null).await;
    exists(t, "c").await;
}

async fn unhealthy_always(t: &mut Case) {
    t.with_account().await;
    t.running_pod("a", false).await;
    settled_budget(t, "pdb", json!({"minAvailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"}), 0).await;
    evict(t, "a", Value::Null).await;
    exists(t, "a").await;
    t.note("a healthy one has no such right");
    t.running_pod("b", true).await;
    counted(t, "pdb", 1).await;
    evict(t, "b", Value::Null).await;
}

async fn pods_that_do_not_run(t: &mut Case) {
    t.with_account().await;
    t.running_pod("keeps", true).await;
    settled_budget(t, "pdb", json!({"maxUnavailable": 0}), 1).await;
    t.make(PODS, pod("pending")).await;
    evict(t, "pending", Value::Null).await;
    t.bound_pod("assigned", "n-1").await;
    evict(t, "assigned", Value::Null).await;
    t.bound_pod("done", "n-1").await;
    t.kubelet_says("done", json!({"phase": "Succeeded"})).await;
    evict(t, "done", Value::Null).await;
    evict(t, "keeps", Value::Null).await;
}

async fn trials(t: &mut Case) {
    t.with_account().await;
    t.running_pod("a", true).await;
    evict(t, "a", json!({"dryRun": ["All"]})).await;
    exists(t, "a").await;
    settled_budget(t, "pdb", json!({"minAvailable": 1}), 1).await;
    evict(t, "a", json!({"dryRun": ["All"]})).await;
    t.change(&format!("{BUDGETS}/pdb"), json!({"spec": {"minAvailable": 0}})).await;
    t.until("room", &format!("{BUDGETS}/pdb"), |a| a.body["status"]["disruptionsAllowed"] == 1).await;
    evict(t, "a", json!({"dryRun": ["All"]})).await;
    let after = t.look(&format!("{BUDGETS}/pdb")).await;
    t.found("allowed", &after.body["status"]["disruptionsAllowed"]);
    t.post(&format!("{PODS}/a/eviction?dryRun=All"), json!({"metadata": {"name": "a"}})).await;
    exists(t, "a").await;
}

async fn refusals(t: &mut Case) {
    t.with_account().await;
    t.running_pod("a", true).await;
    evict(t, "none", Value::Null).await;
    let path = format!("{PODS}/a/eviction");
    t.post(&path, json!({"metadata": {"name": "b"}})).await;
    t.post(&path, json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}})).await;
    t.post(&path, json!({"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "a"}, "deleteOptions": {"dryRun": ["All"]}})).await;
    t.post(&path, json!("x")).await;
    evict(t, "a", json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}})).await;
    evict(t, "a", json!({"preconditions": {"resourceVersion": "1"}})).await;
    evict(t, "a", json!({"propagationPolicy": "Nonsense"})).await;
    evict(t, "a", json!({"dryRun": ["Nonsense"]})).await;
    t.get(&path).await;
    exists(t, "a").await;
}

async fn budgets_are_counted(t: &mut Case) {
    t.with_account().await;
    settled_budget(t, "min", json!({"minAvailable": 1}), 0).await;
    let seen = t.look(&format!("{BUDGETS}/min")).await;
    t.found("nothing there", &seen.body["status"]);
    for name in ["a", "b", "c"] {
        t.running_pod(name, true).await;
    }
    counted(t, "min", 3).await;
    let seen = t.look(&format!("{BUDGETS}/min")).await;
    t.found("three", &seen.body["status"]);
    t.kubelet_says("b", json!({"conditions": [{"type": "Ready", "status": "False"}]})).await;
    counted(t, "min", 2).await;
    let seen = t.look(&format!("{BUDGETS}/min")).await;
    t.found("two", &seen.body["status"]);
}

async fn selectors(t: &mut Case) {
    t.with_account().await;
    t.running_pod("a", true).await;
    t.note("an empty selector selects all, none selects nothing");
    t.make(BUDGETS, json!({"metadata": {"name": "none"}, "spec": {"minAvailable": 1}})).await;
    t.make(BUDGETS, json!({"metadata": {"name": "all"}, "spec": {"minAvailable": 1, "selector": {}}})).await;
    counted(t, "all", 1).await;
    evict(t, "a", Value::Null).await;
    exists(t, "a").await;
}
