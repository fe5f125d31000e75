//! Server-side apply: ownership, conflicts, what disappears.

use http::Method;
use serde_json::{Value, json};

use crate::case::{APPLY, Answer, Case, MERGE};
use crate::things::*;

cases![creation, conflicts, what_is_no_longer_applied, lists, refusals, shared, a_status];

async fn apply(t: &mut Case, path: &str, query: &str, body: Value) -> Answer {
    let body = body.to_string().replace("{ns}", &t.namespace);
    let path = format!("{path}?{query}");
    t.send(Method::PATCH, &path, &[("content-type", APPLY)], body).await
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

async fn creation(t: &mut Case) {
    t.names.managed_fields = true;
    let path = format!("{CONFIG_MAPS}/a");
    apply(t, &path, "fieldManager=one", map(json!({"k": "1"}))).await;
    let again = apply(t, &path, "fieldManager=one", map(json!({"k": "1"}))).await;
    let seen = t.look(&path).await;
    assert_eq!(again.version(), seen.version());
    t.note("in YAML");
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\ndata:\n  k: \"1\"\n";
    let path = format!("{CONFIG_MAPS}/b?fieldManager=one");
    t.send(Method::PATCH, &path, &[("content-type", APPLY)], yaml).await;
    t.note("as a trial");
    apply(t, &format!("{CONFIG_MAPS}/c"), "fieldManager=one&dryRun=All",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})).await;
    t.get(&format!("{CONFIG_MAPS}/c")).await;
}

async fn conflicts(t: &mut Case) {
    t.names.managed_fields = true;
    let path = format!("{CONFIG_MAPS}/a");
    apply(t, &path, "fieldManager=one", map(json!({"k": "1", "l": "1"}))).await;
    t.note("another's fields");
    apply(t, &path, "fieldManager=two", map(json!({"k": "2"}))).await;
    apply(t, &path, "fieldManager=two", map(json!({"k": "2", "l": "2"}))).await;
    apply(t, &path, "fieldManager=two&force=false", map(json!({"k": "2"}))).await;
    t.note("taken by force");
    apply(t, &path, "fieldManager=two&force=true", map(json!({"k": "2"}))).await;
    t.note("now it is the first who conflicts");
    apply(t, &path, "fieldManager=one", map(json!({"k": "1", "l": "1"}))).await;
    t.note("with one who updates");
    t.patch(&format!("{path}?fieldManager=three"), MERGE, json!({"data": {"l": "3"}})).await;
    apply(t, &path, "fieldManager=one", map(json!({"k": "2", "l": "1"}))).await;
}

async fn what_is_no_longer_applied(t: &mut Case) {
    t.names.managed_fields = true;
    let path = format!("{CONFIG_MAPS}/a");
    apply(t, &path, "fieldManager=one", map(json!({"k": "1", "l": "1", "m": "1"}))).await;
    apply(t, &path, "fieldManager=two", map(json!({"l": "1"}))).await;
    t.note("goes, unless somebody else has it");
    apply(t, &path, "fieldManager=one", map(json!({"k": "1"}))).await;
    apply(t, &path, "fieldManager=two", map(json!({}))).await;
    t.note("a manager without fields is none");
    let mut nothing = map(json!(null));
    nothing["data"] = Value::Null;
    apply(t, &path, "fieldManager=two", nothing).await;
}

async fn shared(t: &mut Case) {
    t.names.managed_fields = true;
    let path = format!("{CONFIG_MAPS}/a");
    apply(t, &path, "fieldManager=one", map(json!({"k": "1"}))).await;
    t.note("the same value is shared");
    apply(t, &path, "fieldManager=two", map(json!({"k": "1"}))).await;
    apply(t, &path, "fieldManager=two", map(json!({"k": "2"}))).await;
    t.note("let go by one, it is the other's to change");
    apply(t, &path, "fieldManager=one", map(json!({}))).await;
    apply(t, &path, "fieldManager=two", map(json!({"k": "2"}))).await;
}

async fn lists(t: &mut Case) {
    t.names.ignored = vec!["status", "annotations"];
    let path = format!("{DEPLOYMENTS}/d");
    let with = |containers: Value| {
        let mut object = deployment("d", 0);
        object["apiVersion"] = json!("apps/v1");
        object["kind"] = json!("Deployment");
        object["spec"]["template"]["spec"]["containers"] = containers;
        object
    };
    apply(t, &path, "fieldManager=one", with(json!([{"name": "a", "image": "1", "ports": [{"containerPort": 80}]},
        {"name": "b", "image": "1"}]))).await;
    t.note("keys merge");
    let partial = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec":
        {"containers": [{"name": "b", "env": [{"name": "X", "value": "1"}]}, {"name": "c", "image": "1"}]}}}});
    apply(t, &path, "fieldManager=two", partial).await;
    t.note("an element goes with its last owner");
    apply(t, &path, "fieldManager=one", with(json!([{"name": "a", "image": "2"}]))).await;
    t.note("an image somebody else owns");
    let other = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec":
        {"containers": [{"name": "a", "image": "3"}]}}}});
    apply(t, &path, "fieldManager=two", other).await;
}

async fn refusals(t: &mut Case) {
    let path = format!("{CONFIG_MAPS}/a");
    apply(t, &path, "", map(json!({}))).await;
    apply(t, &path, "fieldManager=one", json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})).await;
    apply(t, &path, "fieldManager=one", json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}})).await;
    apply(t, &path, "fieldManager=one", json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "other"}})).await;
    apply(t, &path, "fieldManager=one", json!({"metadata": {"name": "a"}})).await;
    apply(t, &path, "fieldManager=one", json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "managedFields": [{"manager": "x"}]}})).await;
    apply(t, &path, "fieldManager=one", json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "uid": "00000000-0000-0000-0000-000000000000"}})).await;
    apply(t, &path, "fieldManager=one", json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a"}, "nope": 1})).await;
    let headers = [("content-type", APPLY)];
    let path = format!("{path}?fieldManager=one");
    for body in ["", "[]", "- a", "a: b: c", "\t", "x"] {
        let answer = t.quietly(Method::PATCH, &path, &headers, body).await;
        t.found(&format!("{body:?}"), &json!([answer.code, answer.text("/reason")]));
    }
}

async fn a_status(t: &mut Case) {
    t.names.managed_fields = true;
    t.with_account().await;
    t.make(PODS, pod("p")).await;
    let said = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"conditions": [
        {"type": "example.com/mine", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2020-01-01T00:00:00Z"}]}});
    t.names.ignored = vec!["spec"];
    let path = format!("{PODS}/p/status");
    apply(t, &path, "fieldManager=one", said.clone()).await;
    let mut other = said;
    other["status"]["conditions"][0]["status"] = json!("False");
    apply(t, &path, "fieldManager=two", other).await;
    t.note("one that is not there");
    let gone = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "q"}, "status": {}});
    apply(t, &format!("{PODS}/q/status"), "fieldManager=one", gone).await;
}
