//! `get` and `update`: conflicts, what cannot change, and updates that create.

use serde_json::{Value, json};

use crate::case::Case;
use crate::things::*;

cases![
    conflicts,
    identity,
    what_the_server_owns,
    unconditional,
    creation_by_update,
    immutable_fields,
    immutable_data,
    generations,
    status,
    finalizers,
    nothing_changed,
];

async fn conflicts(t: &mut Case) {
    let made = t.make(CONFIG_MAPS, config_map("a", "1")).await;
    let mut object = made.body.clone();
    object["data"]["key"] = json!("2");
    let path = format!("{CONFIG_MAPS}/a");
    let updated = t.put(&path, object.clone()).await;
    assert_ne!(updated.version(), made.version());
    object["data"]["key"] = json!("3");
    t.note("the version from before");
    t.put(&path, object.clone()).await;
    t.note("another object's UID");
    object["metadata"]["resourceVersion"] = json!(updated.version());
    object["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    t.put(&path, object.clone()).await;
    t.note("no version that could be");
    object["metadata"]["uid"] = json!(made.uid());
    object["metadata"]["resourceVersion"] = json!("x");
    t.put(&path, object.clone()).await;
    t.put(&format!("{CONFIG_MAPS}/missing"), config_map("missing", "1")).await;
}

async fn identity(t: &mut Case) {
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    t.put(&path, config_map("b", "1")).await;
    t.put(&path, json!({"data": {}})).await;
    t.put(&path, json!({"metadata": {"name": "a", "namespace": "other"}})).await;
    t.put(&path, json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}})).await;
    t.put(CONFIG_MAPS, config_map("a", "1")).await;
    t.put("/api/v1/configmaps/a", config_map("a", "1")).await;
}

async fn what_the_server_owns(t: &mut Case) {
    t.make(SECRETS, json!({"metadata": {"generateName": "a-", "name": "a"}})).await;
    t.put(&format!("{SECRETS}/a"), json!({"metadata": {"name": "a", "generation": 5,
        "creationTimestamp": "2001-01-01T00:00:00Z", "deletionTimestamp": "2001-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 3, "generateName": "b-", "labels": {"x": "y"}}}))
        .await;
}

async fn unconditional(t: &mut Case) {
    t.note("allowed for most kinds");
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    t.put(&format!("{CONFIG_MAPS}/a"), config_map("a", "2")).await;
    t.note("not for budgets");
    t.make(BUDGETS, budget("b", json!({"minAvailable": 1}))).await;
    t.put(&format!("{BUDGETS}/b"), budget("b", json!({"minAvailable": 2}))).await;
    t.put(&format!("{BUDGETS}/none"), budget("none", json!({"minAvailable": 2}))).await;
    t.note("nor for leases");
    t.make(LEASES, json!({"metadata": {"name": "l"}})).await;
    t.put(&format!("{LEASES}/l"), json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "x"}}))
        .await;
}

async fn creation_by_update(t: &mut Case) {
    t.put(&format!("{LEASES}/l"), json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "x"}}))
        .await;
    t.put("/api/v1/namespaces/{ns}/limitranges/l", json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]}}))
        .await;
    t.put(&format!("{CONFIG_MAPS}/c"), config_map("c", "1")).await;
    t.note("a UID or a version means an object that is there");
    t.put(&format!("{LEASES}/m"), json!({"metadata": {"name": "m", "resourceVersion": "5"}})).await;
    t.put(&format!("{LEASES}/n"), json!({"metadata": {"name": "n", "uid": "00000000-0000-0000-0000-000000000000"}}))
        .await;
}

async fn immutable_fields(t: &mut Case) {
    t.make(DEPLOYMENTS, deployment("d", 0)).await;
    let mut other = deployment("d", 0);
    other["spec"]["selector"]["matchLabels"]["more"] = json!("x");
    other["spec"]["template"]["metadata"]["labels"]["more"] = json!("x");
    t.put(&format!("{DEPLOYMENTS}/d"), other.clone()).await;
    t.make(REPLICA_SETS, replica_set("r", 0)).await;
    other["metadata"]["name"] = json!("r");
    t.put(&format!("{REPLICA_SETS}/r"), other).await;
    t.note("a StatefulSet's");
    const SETS: &str = "/apis/apps/v1/namespaces/{ns}/statefulsets";
    let mut set = deployment("s", 0);
    set["spec"]["serviceName"] = json!("a");
    t.make(SETS, set.clone()).await;
    set["spec"]["serviceName"] = json!("b");
    t.put(&format!("{SETS}/s"), set).await;
    t.note("a Job's");
    const JOBS: &str = "/apis/batch/v1/namespaces/{ns}/jobs";
    let job = json!({"metadata": {"name": "j"}, "spec": {"suspend": true, "template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    t.make(JOBS, job).await;
    t.patch(&format!("{JOBS}/j"), crate::case::MERGE, json!({"spec": {"completions": 2}})).await;
    t.note("a PriorityClass's");
    const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
    t.make(CLASSES, json!({"metadata": {"name": "c-{id}"}, "value": 5})).await;
    t.put(&format!("{CLASSES}/c-{{id}}"), json!({"metadata": {"name": "c-{id}"}, "value": 6})).await;
    t.put(&format!("{CLASSES}/c-{{id}}"), json!({"metadata": {"name": "c-{id}"}, "value": 5, "description": "x"}))
        .await;
    t.delete(&format!("{CLASSES}/c-{{id}}"), Value::Null).await;
    t.note("a Namespace's finalizers, a Service's address");
    t.put("/api/v1/namespaces/{ns}", json!({"metadata": {"name": "{ns}", "labels": {"x": "y"}}, "spec": {"finalizers": []}}))
        .await;
    const SERVICES: &str = "/api/v1/namespaces/{ns}/services";
    let made = t.make(SERVICES, json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})).await;
    let mut other = made.body.clone();
    other["spec"]["clusterIP"] = json!("10.0.0.250");
    t.names.mask(&made.text("/spec/clusterIP"), "{ip}");
    t.put(&format!("{SERVICES}/s"), other).await;
}

async fn immutable_data(t: &mut Case) {
    let path = format!("{CONFIG_MAPS}/a");
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    t.change(&path, json!({"immutable": true})).await;
    t.put(&path, json!({"metadata": {"name": "a"}, "data": {"key": "2"}, "immutable": true})).await;
    t.put(&path, json!({"metadata": {"name": "a"}, "data": {"key": "1"}})).await;
    t.put(&path, json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"key": "1"}, "immutable": true}))
        .await;
    t.note("a Secret's type");
    t.make(SECRETS, json!({"metadata": {"name": "s"}, "type": "a/b", "data": {"k": "eA=="}})).await;
    t.put(&format!("{SECRETS}/s"), json!({"metadata": {"name": "s"}, "type": "c/d"})).await;
    t.make(SECRETS, json!({"metadata": {"name": "i"}, "immutable": true, "data": {"k": "eA=="}})).await;
    t.put(&format!("{SECRETS}/i"), json!({"metadata": {"name": "i"}, "immutable": true, "data": {"k": "eQ=="}}))
        .await;
    t.note("stringData");
    t.post(SECRETS, json!({"metadata": {"name": "t"}, "stringData": {"a": "x"}, "data": {"a": "eQ==", "b": "eQ=="}}))
        .await;
    t.post(SECRETS, json!({"metadata": {"name": "u"}, "data": {"a": "no base64"}})).await;
    t.post(SECRETS, json!({"metadata": {"name": "u"}, "data": {"a b": "eQ=="}})).await;
    t.post(CONFIG_MAPS, json!({"metadata": {"name": "u"}, "data": {"a b": "x"}})).await;
    t.post(CONFIG_MAPS, json!({"metadata": {"name": "u"}, "data": {"a": "x"}, "binaryData": {"a": "eQ=="}})).await;
}

async fn generations(t: &mut Case) {
    let made = t.make(DEPLOYMENTS, deployment("d", 0)).await;
    t.found("created", &made.body["metadata"]["generation"]);
    for (what, change) in [
        ("a label", json!({"metadata": {"labels": {"x": "y"}}})),
        ("an annotation", json!({"metadata": {"annotations": {"x": "y"}}})),
        ("its spec", json!({"spec": {"minReadySeconds": 1}})),
        ("the same", json!({"spec": {"minReadySeconds": 1}})),
        ("its status", json!({"status": {"replicas": 7}})),
    ] {
        let changed = t.change(&format!("{DEPLOYMENTS}/d"), change).await;
        t.found(what, &changed.body["metadata"]["generation"]);
    }
    t.with_account().await;
    t.make(PODS, pod("p")).await;
    for (what, change) in [
        ("a pod's label", json!({"metadata": {"labels": {"x": "y"}}})),
        ("its image", json!({"spec": {"containers": [{"name": "c", "image": "j"}]}})),
    ] {
        let body = change.to_string();
        let kind = [("content-type", crate::case::STRATEGIC)];
        let changed = t.quietly(http::Method::PATCH, &format!("{PODS}/p"), &kind, body).await;
        t.found(what, &changed.body["metadata"]["generation"]);
    }
}

async fn status(t: &mut Case) {
    t.make(REPLICA_SETS, {
        let mut set = replica_set("r", 0);
        set["status"] = json!({"replicas": 9});
        set
    })
    .await;
    let path = format!("{REPLICA_SETS}/r");
    let settled = t
        .until("its status", &path, |a| a.body["status"]["observedGeneration"] == 1)
        .await;
    t.note("an update of the object leaves its status alone");
    let mut object = settled.body.clone();
    object["status"]["replicas"] = json!(7);
    object["metadata"]["labels"] = json!({"l": "1"});
    t.put(&path, object.clone()).await;
    t.note("an update of the status leaves the object alone");
    let now = t.look(&path).await.version();
    object["metadata"]["resourceVersion"] = json!(now);
    object["spec"]["replicas"] = json!(3);
    object["metadata"]["labels"] = json!({"l": "2"});
    object["status"]["conditions"] = json!([{"type": "Mine", "status": "True"}]);
    t.put(&format!("{path}/status"), object).await;
    t.note("kinds without one");
    t.make(SECRETS, secret("s", json!({}))).await;
    t.get(&format!("{SECRETS}/s/status")).await;
    t.put(&format!("{SECRETS}/s/status"), secret("s", json!({}))).await;
    t.post(&format!("{path}/status"), json!({})).await;
    t.delete(&format!("{path}/status"), Value::Null).await;
}

async fn finalizers(t: &mut Case) {
    t.make(SECRETS, json!({"metadata": {"name": "a", "finalizers": ["example.com/hold", "example.com/also"]}}))
        .await;
    let path = format!("{SECRETS}/a");
    t.delete(&path, Value::Null).await;
    t.note("none can be added any more");
    t.patch(&path, crate::case::MERGE, json!({"metadata": {"finalizers": ["example.com/hold", "example.com/new"]}}))
        .await;
    t.note("other changes go on");
    t.patch(&path, crate::case::MERGE, json!({"metadata": {"labels": {"x": "y"}}})).await;
    t.patch(&path, crate::case::MERGE, json!({"metadata": {"finalizers": ["example.com/also"]}})).await;
    t.note("deleted again");
    t.delete(&path, Value::Null).await;
    t.note("the last one goes, and the object with it");
    t.patch(&path, crate::case::MERGE, json!({"metadata": {"finalizers": null}})).await;
    t.get(&path).await;
}

async fn nothing_changed(t: &mut Case) {
    let made = t.make(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    let again = t.put(&path, made.body.clone()).await;
    assert_eq!(again.version(), made.version());
    let patched = t.patch(&path, crate::case::MERGE, json!({"data": {"key": "1"}})).await;
    assert_eq!(patched.version(), made.version());
    let empty = t.patch(&path, crate::case::MERGE, json!({})).await;
    assert_eq!(empty.version(), made.version());
}
