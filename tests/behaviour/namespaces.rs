//! Namespaces: their beginning, and their end with all that is in them.

use serde_json::{Value, json};

use crate::case::Case;
use crate::things::*;

cases![creation, the_end, what_is_held, finalize, empty_ones];

const OTHER: &str = "/api/v1/namespaces/other-{id}";

async fn other(t: &mut Case) {
    t.make("/api/v1/namespaces", json!({"metadata": {"name": "other-{id}"}})).await;
}

async fn creation(t: &mut Case) {
    t.post("/api/v1/namespaces", json!({"metadata": {"name": "other-{id}", "labels": {"a": "b"}}})).await;
    t.until("its account", &format!("{OTHER}/serviceaccounts/default"), |a| a.code == 200).await;
    t.note("its own label cannot be changed");
    t.patch(OTHER, crate::case::MERGE, json!({"metadata": {"labels": {"kubernetes.io/metadata.name": "x"}}})).await;
    t.delete(OTHER, Value::Null).await;
}

async fn the_end(t: &mut Case) {
    other(t).await;
    t.until("its account", &format!("{OTHER}/serviceaccounts/default"), |a| a.code == 200).await;
    t.make(&format!("{OTHER}/secrets"), secret("s", json!({}))).await;
    t.make(&format!("{OTHER}/pods"), pod("p")).await;
    t.make("/apis/apps/v1/namespaces/other-{id}/deployments", deployment("d", 1)).await;
    t.names.ignored = vec!["conditions"];
    t.delete(OTHER, Value::Null).await;
    t.until("its end", OTHER, |a| a.code == 404).await;
    t.get(&format!("{OTHER}/secrets/s")).await;
    let left = t.look("/apis/apps/v1/namespaces/other-{id}/deployments").await;
    t.found("deployments", &json!(left.names()));
}

async fn what_is_held(t: &mut Case) {
    other(t).await;
    t.make(&format!("{OTHER}/secrets"), json!({"metadata": {"name": "s", "finalizers": ["example.com/hold"]}})).await;
    t.names.ignored = vec!["conditions", "spec"];
    t.delete(OTHER, Value::Null).await;
    t.until("its Terminating", OTHER, |a| a.body["status"]["phase"] == "Terminating").await;
    t.note("nothing new is made there");
    t.post(&format!("{OTHER}/configmaps"), config_map("a", "1")).await;
    t.post(&format!("{OTHER}/pods"), pod("p")).await;
    t.note("deleted again");
    t.delete(OTHER, Value::Null).await;
    let path = format!("{OTHER}/secrets/s");
    t.until("the secret's deletion", &path, |a| !a.text("/metadata/deletionTimestamp").is_empty()).await;
    let waits = t.until("why it waits", OTHER, |a| {
        let conditions = a.body["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|c| c["type"] == "NamespaceFinalizersRemaining" && c["status"] == "True")
    }).await;
    let conditions = waits.body["status"]["conditions"].as_array().cloned().unwrap_or_default();
    for kind in ["NamespaceContentRemaining", "NamespaceFinalizersRemaining"] {
        let found = conditions.iter().find(|c| c["type"] == kind).cloned().unwrap_or_default();
        t.found(kind, &json!([found["status"], found["reason"], found["message"]]));
    }
    t.change(&path, json!({"metadata": {"finalizers": null}})).await;
    t.until("its end", OTHER, |a| a.code == 404).await;
}

async fn finalize(t: &mut Case) {
    t.make("/api/v1/namespaces", json!({"metadata": {"name": "other-{id}"}, "spec": {"finalizers": ["example.com/mine"]}})).await;
    let seen = t.look(OTHER).await;
    t.found("finalizers", &seen.body["spec"]["finalizers"]);
    t.delete(OTHER, Value::Null).await;
    t.until("only ours", OTHER, |a| a.body["spec"]["finalizers"] == json!(["example.com/mine"])).await;
    t.put(&format!("{OTHER}/finalize"), json!({"metadata": {"name": "other-{id}"}, "spec": {"finalizers": []}})).await;
    t.until("its end", OTHER, |a| a.code == 404).await;
}

async fn empty_ones(t: &mut Case) {
    other(t).await;
    t.delete(&format!("{OTHER}?dryRun=All"), Value::Null).await;
    t.delete(OTHER, json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}})).await;
    t.delete(OTHER, json!({"propagationPolicy": "Foreground"})).await;
    t.until("its end", OTHER, |a| a.code == 404).await;
    t.note("and it can be made again");
    other(t).await;
    t.quietly(http::Method::DELETE, OTHER, &[], "").await;
}
