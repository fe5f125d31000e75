//! Pods: what a new one is given, and its other subresources.

use serde_json::{Value, json};

use crate::case::{Case, MERGE, STRATEGIC};
use crate::things::*;

cases![defaults, quality_of_service, resize, ephemeral_containers, status, tolerations, accounts, trials];

async fn defaults(t: &mut Case) {
    t.with_account().await;
    t.post(PODS, json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})).await;
    t.note("a busy one");
    t.post(PODS, json!({"metadata": {"name": "b"}, "spec": {
        "hostNetwork": true,
        "initContainers": [{"name": "init", "image": "i:latest"}],
        "containers": [{"name": "c", "image": "i:1", "ports": [{"containerPort": 80, "name": "web"}],
            "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"cpu": 1, "memory": "1.5Gi"}}}],
        "volumes": [{"name": "v", "configMap": {"name": "x"}}, {"name": "w", "emptyDir": {}}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"}],
    }})).await;
}

async fn quality_of_service(t: &mut Case) {
    t.with_account().await;
    let path = format!("{PODS}?dryRun=All");
    for resources in [
        json!({}), json!({"requests": {"cpu": "1"}}), json!({"limits": {"cpu": "1"}}),
        json!({"limits": {"cpu": "1", "memory": "1Gi"}}),
        json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}),
        json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0", "memory": "1Gi"}}),
        json!({"requests": {"cpu": "0"}}), json!({"limits": {"ephemeral-storage": "1Gi"}}),
    ] {
        let mut asking = pod("p");
        asking["spec"]["containers"][0]["resources"] = resources.clone();
        let answer = t.make(&path, asking).await;
        t.found(&resources.to_string(), &json!([answer.body["status"]["qosClass"], answer.body["spec"]["containers"][0]["resources"]]));
    }
}

async fn resize(t: &mut Case) {
    t.with_account().await;
    let mut sized = pod("p");
    sized["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}});
    t.make(PODS, sized).await;
    let path = format!("{PODS}/p/resize");
    let to = |resources: Value| json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
    for patch in [
        to(json!({"requests": {"cpu": "150m"}})),
        to(json!({"requests": {"cpu": "300m"}})),
        to(json!({"limits": {"cpu": "400m"}, "requests": {"cpu": "400m"}})),
        to(json!({"limits": {"nonsense": "1"}})),
        json!({"spec": {"containers": [{"name": "c", "image": "j"}]}}),
        json!({"metadata": {"labels": {"x": "y"}}}),
    ] {
        let answer = t.quietly(http::Method::PATCH, &path, &[("content-type", STRATEGIC)], patch.to_string()).await;
        let message = answer.text("/message").lines().next().unwrap_or_default().to_owned();
        t.found(&patch.to_string(), &json!([answer.code, message, answer.body["spec"]["containers"][0]["resources"],
            answer.body["metadata"]["generation"]]));
    }
    t.get(&format!("{PODS}/none/resize")).await;
}

async fn ephemeral_containers(t: &mut Case) {
    t.with_account().await;
    t.make(PODS, pod("p")).await;
    let path = format!("{PODS}/p/ephemeralcontainers");
    let add = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "d"}]}});
    let answer = t.quietly(http::Method::PATCH, &path, &[("content-type", STRATEGIC)], add.to_string()).await;
    t.found("added", &json!([answer.code, answer.body["spec"]["ephemeralContainers"], answer.body["metadata"]["generation"]]));
    t.note("not by the pod itself");
    let refused = t.quietly(http::Method::PATCH, &format!("{PODS}/p"), &[("content-type", STRATEGIC)],
        json!({"spec": {"ephemeralContainers": [{"name": "more", "image": "d"}]}}).to_string()).await;
    t.found("code", &json!([refused.code, refused.text("/reason")]));
}

async fn status(t: &mut Case) {
    t.with_account().await;
    t.make(PODS, pod("p")).await;
    t.names.ignored = vec!["spec"];
    let path = format!("{PODS}/p/status");
    t.patch(&path, STRATEGIC, json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})).await;
    t.patch(&path, STRATEGIC, json!({"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Initialized", "status": "True"}]}})).await;
    t.note("owners and quality of service stay");
    t.patch(&path, MERGE, json!({"metadata": {"labels": {"l": "1"}, "annotations": {"a": "1"}}, "spec": {"nodeName": "x"},
        "status": {"qosClass": "Guaranteed"}})).await;
    t.patch(&path, MERGE, json!({"metadata": {"labels": {"l": "1"}, "annotations": {"a": "1"}}, "spec": {"nodeName": "x"}})).await;
}

async fn tolerations(t: &mut Case) {
    t.with_account().await;
    let path = format!("{PODS}?dryRun=All");
    for given in [
        json!([]),
        json!([{"operator": "Exists"}]),
        json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]),
        json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]),
        json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoSchedule"}]),
    ] {
        let mut tolerant = pod("p");
        tolerant["spec"]["tolerations"] = given.clone();
        let answer = t.make(&path, tolerant).await;
        t.found(&given.to_string(), &answer.body["spec"]["tolerations"]);
    }
}

async fn accounts(t: &mut Case) {
    t.with_account().await;
    const ACCOUNTS: &str = "/api/v1/namespaces/{ns}/serviceaccounts";
    t.post(ACCOUNTS, json!({"metadata": {"name": "quiet"}, "automountServiceAccountToken": false})).await;
    let mut quiet = pod("q");
    quiet["spec"]["serviceAccountName"] = json!("quiet");
    let made = t.make(PODS, quiet).await;
    t.found("volumes", &made.body["spec"]["volumes"]);
    t.note("tokens");
    let path = format!("{ACCOUNTS}/quiet/token");
    let answer = t.quietly(http::Method::POST, &path, &[("content-type", "application/json")], json!({"spec": {"expirationSeconds": 3600}}).to_string()).await;
    t.found("token", &json!([answer.code, answer.text("/kind"), answer.body["spec"]["expirationSeconds"], answer.text("/status/token").split('.').count()]));
    t.post(&path, json!({"spec": {"expirationSeconds": 5}})).await;
    t.post(&format!("{ACCOUNTS}/none/token"), json!({})).await;
    t.note("questions");
    const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = t.quietly(http::Method::POST, REVIEWS, &[("content-type", "application/json")],
        json!({"spec": {"resourceAttributes": {"namespace": "default", "verb": "create", "resource": "pods"}}}).to_string()).await;
    t.found("may I", &json!([asked.code, asked.body["status"]["allowed"]]));
    t.get(REVIEWS).await;
}

async fn trials(t: &mut Case) {
    t.with_account().await;
    let start = t.make(SECRETS, secret("a", json!({}))).await.version();
    t.make(PODS, pod("p")).await;
    t.names.ignored = vec!["spec", "status"];
    t.post(&format!("{PODS}?dryRun=All"), pod("q")).await;
    t.get(&format!("{PODS}/q")).await;
    t.put(&format!("{SECRETS}/a?dryRun=All"), secret("a", json!({"l": "1"}))).await;
    t.patch(&format!("{SECRETS}/a?dryRun=All"), MERGE, json!({"metadata": {"labels": {"l": "1"}}})).await;
    t.patch(&format!("{PODS}/p/status?dryRun=All"), MERGE, json!({"status": {"phase": "Failed"}})).await;
    t.post(&format!("{PODS}/p/binding?dryRun=All"), json!({"metadata": {"name": "p"}, "target": {"name": "n-1"}})).await;
    t.put(&format!("{LEASES}/l?dryRun=All"), json!({"metadata": {"name": "l"}})).await;
    t.get(&format!("{LEASES}/l")).await;
    let now = t.look(&format!("{SECRETS}/a")).await;
    assert_eq!(now.version(), start);
    t.get(&format!("{PODS}/p")).await;
}
