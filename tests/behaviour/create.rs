//! `create`: names, namespaces, and what is refused.

use http::Method;
use serde_json::{Value, json};

use crate::case::Case;
use crate::things::*;

cases![
    an_object,
    generated_names,
    names,
    fields_of_the_server,
    namespaces_that_are_not_there,
    field_validation,
    twice,
];

async fn an_object(t: &mut Case) {
    t.names.managed_fields = true;
    t.post(CONFIG_MAPS, config_map("a", "1")).await;
    t.get(&format!("{CONFIG_MAPS}/a")).await;
    t.get(&format!("{CONFIG_MAPS}/missing")).await;
    t.post(&format!("{CONFIG_MAPS}?fieldManager=me"), config_map("b", "1"))
        .await;
    let long = "x".repeat(129);
    t.post(&format!("{CONFIG_MAPS}?fieldManager={long}"), config_map("c", "1"))
        .await;
    t.post(&format!("{CONFIG_MAPS}?fieldManager=%07"), config_map("c", "1"))
        .await;
    t.post(&format!("{CONFIG_MAPS}?dryRun=Some"), config_map("c", "1"))
        .await;
    t.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("c", "1"))
        .await;
    t.get(&format!("{CONFIG_MAPS}/c")).await;
}

async fn generated_names(t: &mut Case) {
    let made = t
        .make(SECRETS, json!({"metadata": {"generateName": "made-"}}))
        .await;
    let name = made.text("/metadata/name");
    assert!(name.starts_with("made-") && name.len() == 10, "{name}");
    let letters = name.trim_start_matches("made-");
    assert!(
        letters.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b)),
        "{name}"
    );
    t.names.mask(&name, "made-{x}");
    t.get(&format!("{SECRETS}/{name}")).await;
    t.note("a long prefix is cut");
    let long = "y".repeat(200);
    let made = t
        .make(SECRETS, json!({"metadata": {"generateName": long}}))
        .await;
    t.found("length", &json!(made.text("/metadata/name").len()));
    t.note("a name wins over a prefix");
    t.post(SECRETS, json!({"metadata": {"name": "given", "generateName": "made-"}}))
        .await;
    t.note("neither");
    t.post(SECRETS, json!({"metadata": {}})).await;
    t.note("a prefix of which no name can be made");
    t.names.ignored = vec!["name"];
    let refused = t
        .quietly(Method::POST, SECRETS, &[("content-type", "application/json")],
            json!({"metadata": {"generateName": "A_"}}).to_string())
        .await;
    t.found("code", &json!([refused.code, refused.text("/reason"), refused.body.pointer("/details/causes/0/field")]));
}

async fn names(t: &mut Case) {
    let long = "x".repeat(254);
    for name in ["-a", "A", "a_b", "a..b", "a/b", "%41", ".", long.as_str()] {
        t.post(SECRETS, json!({"metadata": {"name": name}})).await;
    }
    t.note("namespaces and services are labels");
    for name in ["a.b", "1a", "A"] {
        let service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
        t.post("/api/v1/namespaces", json!({"metadata": {"name": format!("{name}.{{id}}")}}))
            .await;
        if name != "1a" {
            t.post("/api/v1/namespaces/{ns}/services", service).await;
        }
    }
    t.note("labels, annotations, owners, finalizers");
    let bad: [Value; 8] = [
        json!({"labels": {"a b": "c"}}),
        json!({"labels": {"a": "b c"}}),
        json!({"labels": {"a": "x".repeat(64)}}),
        json!({"annotations": {"a b": "c"}}),
        json!({"annotations": {"a": "x".repeat(262_145)}}),
        json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}),
        json!({"ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1", "controller": true},
            {"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "2", "controller": true}]}),
        json!({"finalizers": ["nodomain", "a/b", "x y/z"]}),
    ];
    for mut metadata in bad {
        metadata["name"] = json!("a");
        t.post(SECRETS, json!({"metadata": metadata})).await;
    }
}

async fn fields_of_the_server(t: &mut Case) {
    t.note("the server's fields are the server's");
    t.post(SECRETS, json!({"metadata": {"name": "a", "uid": "mine", "generation": 7,
        "creationTimestamp": "2001-01-01T00:00:00Z", "deletionTimestamp": "2001-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 9, "selfLink": "/x"}}))
        .await;
    t.post(SECRETS, json!({"metadata": {"name": "b", "resourceVersion": "1"}}))
        .await;
    t.note("another namespace, another kind, another version");
    t.post(SECRETS, json!({"metadata": {"name": "c", "namespace": "other"}}))
        .await;
    t.post(SECRETS, json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}}))
        .await;
    t.post(SECRETS, json!({"kind": "Secret", "apiVersion": "v2", "metadata": {"name": "c"}}))
        .await;
    t.post(SECRETS, json!({"kind": "Nonsense", "apiVersion": "v1", "metadata": {"name": "c"}}))
        .await;
    t.post(SECRETS, json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "c"}}))
        .await;
    t.post(SECRETS, json!({"kind": "Secret", "apiVersion": "apps/v1", "metadata": {"name": "c"}}))
        .await;
}

async fn namespaces_that_are_not_there(t: &mut Case) {
    t.post("/api/v1/namespaces/nowhere-{id}/secrets", json!({"metadata": {"name": "a"}}))
        .await;
    t.get("/api/v1/namespaces/nowhere-{id}/secrets").await;
    t.get("/api/v1/namespaces/nowhere-{id}/secrets/a").await;
    t.delete("/api/v1/namespaces/nowhere-{id}/secrets/a", Value::Null)
        .await;
    t.post("/api/v1/namespaces/nowhere-{id}/pods", pod("a")).await;
    t.post("/apis/apps/v1/namespaces/nowhere-{id}/deployments", deployment("a", 1))
        .await;
}

async fn field_validation(t: &mut Case) {
    let odd = r#"{"metadata": {"name": "NAME", "nope": 1}, "data": {"a": "1", "a": "2"}, "extra": {"b": 2}, "immutable": false}"#;
    let send = async |t: &mut Case, how: &str, name: &str| {
        let path = format!("{CONFIG_MAPS}{how}");
        let json = [("content-type", "application/json")];
        t.send(Method::POST, &path, &json, odd.replace("NAME", name)).await;
    };
    send(t, "", "a").await;
    send(t, "?fieldValidation=Ignore", "b").await;
    send(t, "?fieldValidation=Warn", "c").await;
    send(t, "?fieldValidation=Strict", "d").await;
    send(t, "?fieldValidation=Nonsense", "e").await;
    t.note("deep inside of a pod template");
    let mut odd = deployment("a", 0);
    odd["spec"]["template"]["spec"]["containers"][0]["imagee"] = json!("typo");
    odd["spec"]["template"]["spec"]["schedulername"] = json!("case");
    odd["spec"]["paused"] = json!(true);
    t.post(&format!("{DEPLOYMENTS}?fieldValidation=Strict"), odd.clone())
        .await;
    t.names.ignored = vec!["status"];
    t.post(DEPLOYMENTS, odd).await;
    t.note("YAML");
    let yaml = [("content-type", "application/yaml")];
    let text = "metadata:\n  name: y\ndata:\n  a: 'yes'\nnope: 1\n";
    t.send(Method::POST, &format!("{CONFIG_MAPS}?fieldValidation=Strict"), &yaml, text)
        .await;
    t.send(Method::POST, CONFIG_MAPS, &yaml, "metadata:\n  name: y\ndata:\n  a: 'yes'\n")
        .await;
}

async fn twice(t: &mut Case) {
    t.make(SECRETS, json!({"metadata": {"name": "a"}})).await;
    t.post(SECRETS, json!({"metadata": {"name": "a"}})).await;
    t.make(DEPLOYMENTS, json!({"metadata": {"name": "a"}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}))
        .await;
    t.post(DEPLOYMENTS, deployment("a", 0)).await;
    t.post("/api/v1/namespaces", json!({"metadata": {"name": "{ns}"}})).await;
    t.post(&format!("{SECRETS}/a"), json!({"metadata": {"name": "a"}})).await;
    t.post("/api/v1/secrets", json!({"metadata": {"name": "a"}})).await;
}
