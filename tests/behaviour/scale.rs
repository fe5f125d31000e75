//! The `scale` subresource.

use serde_json::{Value, json};

use crate::case::{Case, JSON_PATCH, MERGE};
use crate::things::*;

cases![what_it_shows, puts, patches, refusals, other_kinds];

async fn what_it_shows(t: &mut Case) {
    let mut made = deployment("d", 2);
    made["spec"]["selector"]["matchExpressions"] =
        json!([{"key": "app", "operator": "In", "values": ["d", "c"]}, {"key": "x", "operator": "DoesNotExist"}]);
    t.make(DEPLOYMENTS, made).await;
    t.until("its replicas", &format!("{DEPLOYMENTS}/d/scale"), |a| a.body["status"]["replicas"] == 2).await;
    t.get(&format!("{DEPLOYMENTS}/d/scale")).await;
    t.get(&format!("{DEPLOYMENTS}/none/scale")).await;
    t.make(DEPLOYMENTS, deployment("zero", 0)).await;
    t.get(&format!("{DEPLOYMENTS}/zero/scale")).await;
}

async fn puts(t: &mut Case) {
    t.make(REPLICA_SETS, replica_set("r", 0)).await;
    let settled = t.until("its status", &format!("{REPLICA_SETS}/r"), |a| a.body["status"]["observedGeneration"] == 1).await;
    let path = format!("{REPLICA_SETS}/r/scale");
    t.names.ignored = vec!["status"];
    let now = t.look(&path).await;
    let mut scale = now.body.clone();
    scale["spec"] = json!({"replicas": 1});
    t.note("with the version that was read");
    t.put(&path, scale.clone()).await;
    t.note("again, with the same");
    scale["spec"] = json!({"replicas": 2});
    t.put(&path, scale.clone()).await;
    t.note("without a version");
    scale["metadata"] = json!({"name": "r"});
    t.put(&path, scale.clone()).await;
    t.note("for another object");
    scale["metadata"] = json!({"name": "r", "uid": "00000000-0000-0000-0000-000000000000"});
    t.put(&path, scale.clone()).await;
    scale["metadata"] = json!({"name": "other"});
    t.put(&path, scale.clone()).await;
    scale["metadata"] = json!({});
    t.put(&path, scale.clone()).await;
    scale["metadata"] = json!({"name": "r"});
    t.note("negative, too much, nothing");
    for replicas in [json!(-1), json!(2_147_483_648_i64), json!(null), json!("3")] {
        scale["spec"]["replicas"] = replicas;
        t.put(&path, scale.clone()).await;
    }
    t.put(&path, json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "r"}})).await;
    t.note("as a trial");
    t.put(&format!("{path}?dryRun=All"), json!({"metadata": {"name": "r"}, "spec": {"replicas": 9}})).await;
    let left = t.look(&format!("{REPLICA_SETS}/r")).await;
    t.found("replicas", &left.body["spec"]["replicas"]);
    assert_eq!(left.uid(), settled.uid());
    t.put(&format!("{REPLICA_SETS}/none/scale"), json!({"metadata": {"name": "none"}, "spec": {"replicas": 1}})).await;
}

async fn patches(t: &mut Case) {
    t.make(DEPLOYMENTS, deployment("d", 0)).await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    t.names.ignored = vec!["status"];
    t.patch(&path, MERGE, json!({"spec": {"replicas": 1}})).await;
    t.patch(&path, JSON_PATCH, json!([{"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 0}])).await;
    t.patch(&path, JSON_PATCH, json!([{"op": "test", "path": "/spec/replicas", "value": 1}])).await;
    t.patch(&path, MERGE, json!({"spec": {"replicas": -3}})).await;
    t.patch(&path, MERGE, json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}})).await;
    t.patch(&path, MERGE, json!({"spec": {"replicas": "many"}})).await;
    t.note("only its replicas are taken");
    t.patch(&path, MERGE, json!({"metadata": {"labels": {"x": "y"}}, "status": {"replicas": 99}})).await;
    let seen = t.look(&format!("{DEPLOYMENTS}/d")).await;
    t.found("labels", &seen.body["metadata"]["labels"]);
    t.note("who did it");
    t.names.managed_fields = true;
    t.make(DEPLOYMENTS, deployment("e", 1)).await;
    t.patch(&format!("{DEPLOYMENTS}/e/scale?fieldManager=me"), MERGE, json!({"spec": {"replicas": 2}})).await;
    let seen = t.look(&format!("{DEPLOYMENTS}/e")).await;
    let entries = seen.body["metadata"]["managedFields"].as_array().unwrap();
    let mine: Vec<Value> = entries
        .iter()
        .filter(|e| e["manager"] == "me")
        .map(|e| json!([e["operation"], e["subresource"], e["fieldsV1"]]))
        .collect();
    t.found("managers", &json!(mine));
}

async fn refusals(t: &mut Case) {
    t.make(DEPLOYMENTS, deployment("d", 0)).await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    t.post(&path, json!({})).await;
    t.delete(&path, Value::Null).await;
    t.get(&format!("{CONFIG_MAPS}/a/scale")).await;
    t.get("/apis/apps/v1/namespaces/{ns}/daemonsets/a/scale").await;
}

async fn other_kinds(t: &mut Case) {
    const SETS: &str = "/apis/apps/v1/namespaces/{ns}/statefulsets";
    const CONTROLLERS: &str = "/api/v1/namespaces/{ns}/replicationcontrollers";
    let mut set = deployment("s", 0);
    set["spec"]["serviceName"] = json!("s");
    t.make(SETS, set).await;
    t.names.ignored = vec!["status"];
    t.patch(&format!("{SETS}/s/scale"), MERGE, json!({"spec": {"replicas": 3}})).await;
    t.make(CONTROLLERS, json!({"metadata": {"name": "c"}, "spec": {"replicas": 0, "selector": {"b": "2", "a": "1"},
        "template": {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})).await;
    let shown = t.get(&format!("{CONTROLLERS}/c/scale")).await;
    t.found("selector", &shown.body["status"]["selector"]);
}
