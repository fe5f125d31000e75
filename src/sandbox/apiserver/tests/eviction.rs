//! Evictions and budgets.

use super::*;

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

async fn running_pod(server: &ApiServer, name: &str, ready: &str) {
    let mut body = pod(name);
    body["spec"]["nodeName"] = json!("n");
    assert_eq!(post(server, PODS, body).await.0, 201);
    let status = json!({"status": {"phase": "Running",
        "conditions": [{"type": "Ready", "status": ready}]}});
    assert_eq!(
        merge(server, &format!("{PODS}/{name}/status"), status)
            .await
            .0,
        200
    );
}

async fn budget(server: &ApiServer, name: &str, status: Value) {
    let body = json!({"metadata": {"name": name},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    if get(server, &format!("{BUDGETS}/{name}")).await.0 == 404 {
        assert_eq!(post(server, BUDGETS, body).await.0, 201);
    }
    let path = format!("{BUDGETS}/{name}/status");
    assert_eq!(merge(server, &path, json!({"status": status})).await.0, 200);
}

async fn evict(server: &ApiServer, name: &str, options: Value) -> (u16, Value) {
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name}, "deleteOptions": options});
    post(server, &format!("{PODS}/{name}/eviction"), body).await
}

#[tokio::test]
async fn budgets_refuse_and_are_spent() {
    let (server, _) = server().await;
    running_pod(&server, "a", "True").await;
    running_pod(&server, "b", "True").await;
    budget(&server, "p", json!({"observedGeneration": 0})).await;
    let lagging = evict(&server, "a", json!({})).await;
    assert_eq!(
        message(&lagging),
        (
            429,
            "Cannot evict pod as it would violate the pod's disruption budget."
        )
    );
    assert_eq!(lagging.1["details"]["retryAfterSeconds"], 10);
    let status = json!({"observedGeneration": 1, "disruptionsAllowed": 0,
        "currentHealthy": 2, "desiredHealthy": 2, "expectedPods": 2});
    budget(&server, "p", status).await;
    let refused = evict(&server, "a", json!({})).await;
    assert_eq!(refused.0, 429);
    assert_eq!(
        refused.1["details"]["causes"],
        json!([{"reason": "DisruptionBudget",
            "message": "The disruption budget p needs 2 healthy pods and has 2 currently"}])
    );
    assert!(refused.1["details"].get("retryAfterSeconds").is_none());
    budget(&server, "p", json!({"disruptionsAllowed": 1})).await;
    assert_eq!(evict(&server, "a", json!({"dryRun": ["All"]})).await.0, 201);
    // An eviction that fails its precondition has spent the budget all the same.
    let stale = evict(
        &server,
        "a",
        json!({"preconditions": {"resourceVersion": "1"}}),
    )
    .await;
    assert_eq!(stale.0, 409);
    let (_, spent) = get(&server, &format!("{BUDGETS}/p")).await;
    assert_eq!(spent["status"]["disruptionsAllowed"], 0);
    assert!(spent["status"]["disruptedPods"]["a"].is_string());
    assert_eq!(evict(&server, "a", json!({})).await.0, 429);
    budget(&server, "p", json!({"disruptionsAllowed": 1})).await;
    let (_, a) = get(&server, &format!("{PODS}/a")).await;
    let preconditions = json!({"uid": a["metadata"]["uid"],
        "resourceVersion": a["metadata"]["resourceVersion"]});
    assert_eq!(
        evict(&server, "a", json!({"preconditions": preconditions}))
            .await
            .0,
        201
    );
    let (_, going) = get(&server, &format!("{PODS}/a")).await;
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    let target = going["status"]["conditions"].as_array().unwrap();
    let target = target
        .iter()
        .find(|c| c["type"] == "DisruptionTarget")
        .unwrap();
    assert_eq!(target["reason"], "EvictionByEvictionAPI");
    // Evicting what is already going succeeds and spends nothing.
    assert_eq!(evict(&server, "a", json!({})).await.0, 201);
    assert_eq!(evict(&server, "b", json!({})).await.0, 429);
    assert_eq!(evict(&server, "zz", json!({})).await.0, 404);
}

#[tokio::test]
async fn unhealthy_and_pending_pods_go_more_easily() {
    let (server, _) = server().await;
    running_pod(&server, "sick", "False").await;
    budget(
        &server,
        "p",
        json!({"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 1}),
    )
    .await;
    assert_eq!(evict(&server, "sick", json!({})).await.0, 429);
    budget(&server, "p", json!({"currentHealthy": 1})).await;
    assert_eq!(evict(&server, "sick", json!({})).await.0, 201);
    budget(&server, "p", json!({"currentHealthy": 0})).await;
    post(&server, PODS, pod("pending")).await;
    assert_eq!(evict(&server, "pending", json!({})).await.0, 201);
    assert_eq!(get(&server, &format!("{PODS}/pending")).await.0, 404);
}

#[tokio::test]
async fn two_budgets_on_one_pod_are_too_many() {
    let (server, _) = server().await;
    running_pod(&server, "a", "True").await;
    budget(&server, "p", json!({})).await;
    budget(&server, "q", json!({})).await;
    let answer = evict(&server, "a", json!({})).await;
    assert_eq!(
        message(&answer),
        (
            500,
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    );
}
