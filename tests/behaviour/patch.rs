//! `patch`: JSON, merge and strategic merge patches.

use http::Method;
use serde_json::{Value, json};

use crate::case::{APPLY, Case, JSON_PATCH, MERGE, STRATEGIC};
use crate::things::*;

cases![
    json_patches,
    bad_json_patches,
    merge_patches,
    bad_merge_patches,
    strategic_patches,
    bad_strategic_patches,
    identity,
    wrong_types,
    who_changed_what,
    what_a_pod_may_change,
    gates,
    ledgers,
];

async fn json_patches(t: &mut Case) {
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    t.patch(&path, JSON_PATCH, json!([
        {"op": "test", "path": "/data/key", "value": "1"},
        {"op": "replace", "path": "/data/key", "value": "2"},
        {"op": "add", "path": "/data/x~1y", "value": "slash"},
        {"op": "copy", "from": "/data/key", "path": "/data/copy"},
        {"op": "move", "from": "/data/copy", "path": "/data/moved"},
        {"op": "add", "path": "/metadata/labels/new", "value": "l"},
        {"op": "remove", "path": "/metadata/labels/app"},
    ]))
    .await;
    t.patch(&path, JSON_PATCH, json!([])).await;
    t.note("lists");
    t.make(SECRETS, json!({"metadata": {"name": "f", "finalizers": ["a/a", "b/b"]}})).await;
    let path = format!("{SECRETS}/f");
    t.patch(&path, JSON_PATCH, json!([{"op": "add", "path": "/metadata/finalizers/-", "value": "c/c"}])).await;
    t.patch(&path, JSON_PATCH, json!([{"op": "add", "path": "/metadata/finalizers/0", "value": "d/d"}])).await;
    t.patch(&path, JSON_PATCH, json!([{"op": "remove", "path": "/metadata/finalizers/1"}])).await;
    t.patch(&path, JSON_PATCH, json!([{"op": "remove", "path": "/metadata/finalizers"}])).await;
}

async fn bad_json_patches(t: &mut Case) {
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    for patch in [
        json!([{"op": "test", "path": "/data/key", "value": "9"}]),
        json!([{"op": "test", "path": "/data/none", "value": "9"}]),
        json!([{"op": "remove", "path": "/data/none"}]),
        json!([{"op": "replace", "path": "/data/none", "value": "1"}]),
        json!([{"op": "add", "path": "/none/none", "value": "1"}]),
        json!([{"op": "copy", "from": "/none", "path": "/data/x"}]),
        json!([{"op": "move", "from": "/none", "path": "/data/x"}]),
        json!([{"op": "nonsense", "path": "/data/x"}]),
        json!([{"op": "add", "path": "/data/x"}]),
        json!([{"op": "add", "value": "x"}]),
        json!([{"path": "/data/x", "value": "x"}]),
        json!([{"op": "add", "path": "data", "value": "x"}]),
        json!({"op": "add"}),
        json!("x"),
        json!(null),
        json!([1]),
        json!([{"op": "replace", "path": "/data", "value": 5}]),
        json!([{"op": "replace", "path": "/data/key", "value": 5}]),
    ] {
        t.patch(&path, JSON_PATCH, patch).await;
    }
    let headers = [("content-type", JSON_PATCH)];
    t.send(Method::PATCH, &path, &headers, "[{").await;
    t.send(Method::PATCH, &path, &headers, "").await;
    t.note("too many operations");
    let many = vec![json!({"op": "test", "path": "/data/key", "value": "1"}); 10_001];
    t.patch(&path, JSON_PATCH, Value::Array(many)).await;
    t.note("nothing was changed by any of them");
    t.get(&path).await;
    t.patch(&format!("{CONFIG_MAPS}/none"), JSON_PATCH, json!([])).await;
}

async fn merge_patches(t: &mut Case) {
    t.make(CONFIG_MAPS, json!({"metadata": {"name": "a", "labels": {"x": "1", "y": "2"}}, "data": {"k": "1", "l": "2"}}))
        .await;
    let path = format!("{CONFIG_MAPS}/a");
    t.patch(&path, MERGE, json!({"data": {"k": null, "m": "3"}, "metadata": {"labels": {"x": null}}})).await;
    t.patch(&path, MERGE, json!({"data": null})).await;
    t.patch(&path, MERGE, json!({"metadata": {"labels": null}})).await;
    t.note("lists are replaced");
    t.make(DEPLOYMENTS, deployment("d", 0)).await;
    t.names.ignored = vec!["status", "annotations"];
    t.patch(&format!("{DEPLOYMENTS}/d"), MERGE, json!({"spec": {"template": {"spec": {"containers": [
        {"name": "other", "image": "j"}]}}}}))
        .await;
    t.note("with a version");
    let patched = t.patch(&path, MERGE, json!({"metadata": {"resourceVersion": "1", "labels": {"z": "1"}}})).await;
    assert_eq!(patched.code, 409);
    let now = t.look(&path).await;
    let body = json!({"metadata": {"resourceVersion": now.version(), "labels": {"z": "1"}}});
    t.patch(&path, MERGE, body.clone()).await;
    t.patch(&path, MERGE, json!({"metadata": {"resourceVersion": now.version(), "labels": {"z": "2"}}})).await;
}

async fn bad_merge_patches(t: &mut Case) {
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    let headers = [("content-type", MERGE)];
    for body in ["", "{", "[]", "null", "1", "\"x\"", "{\"a\":}", "not json", "{\"data\":5}", "{\"data\":{\"key\":5}}",
        "{\"metadata\":null}", "{\"metadata\":[]}", "{\"kind\":null}", "{\"data\":[]}"]
    {
        t.send(Method::PATCH, &path, &headers, body).await;
    }
    t.note("unknown fields");
    t.patch(&path, MERGE, json!({"nope": 1})).await;
    t.patch(&format!("{path}?fieldValidation=Strict"), MERGE, json!({"nope": 1})).await;
    t.patch(&format!("{path}?fieldValidation=Ignore"), MERGE, json!({"nope": 1})).await;
    t.patch(&format!("{path}?force=true"), MERGE, json!({})).await;
    t.patch(&format!("{path}?fieldValidation=x&dryRun=y"), MERGE, json!({})).await;
    t.patch(&path, MERGE, json!({"metadata": {"labels": {"a b": "c"}}})).await;
    t.note("kinds of patches that there are not");
    for kind in ["application/json", "text/plain", "application/yaml", ""] {
        t.send(Method::PATCH, &path, &[("content-type", kind)], "{}").await;
    }
}

fn three_containers() -> Value {
    let mut object = deployment("d", 0);
    object["spec"]["template"]["spec"]["containers"] = json!([
        {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
            "ports": [{"containerPort": 80}]},
        {"name": "b", "image": "1"},
        {"name": "c", "image": "1"},
    ]);
    object["spec"]["template"]["spec"]["tolerations"] = json!([{"key": "t", "operator": "Exists"}]);
    object["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "1", "b": "2"});
    object["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
    object
}

async fn strategic_patches(t: &mut Case) {
    t.make(DEPLOYMENTS, three_containers()).await;
    t.names.ignored = vec!["status", "annotations", "generation"];
    let path = format!("{DEPLOYMENTS}/d");
    let template = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    for patch in [
        template(json!({"containers": [{"name": "b", "image": "2"}]})),
        template(json!({"containers": [{"name": "d", "image": "1"}]})),
        template(json!({"containers": [{"name": "d", "$patch": "delete"}]})),
        template(json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "9"}, {"name": "Z", "value": "3"}]}]})),
        template(json!({"containers": [{"name": "a", "env": [{"name": "X", "$patch": "delete"}]}]})),
        template(json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}],
            "containers": [{"name": "c", "image": "3"}]})),
        template(json!({"tolerations": [{"key": "u", "operator": "Exists"}]})),
        template(json!({"nodeSelector": {"$patch": "replace", "c": "3"}})),
        template(json!({"nodeSelector": {"c": null, "d": "4"}})),
        template(json!({"$retainKeys": ["containers"], "containers": [{"name": "a"}]})),
        json!({"metadata": {"finalizers": ["example.com/c"]}}),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        template(json!({"containers": [{"$patch": "replace"}, {"name": "only", "image": "1"}]})),
    ] {
        t.patch(&path, STRATEGIC, patch).await;
    }
    t.patch(&path, MERGE, json!({"metadata": {"finalizers": null}})).await;
}

async fn bad_strategic_patches(t: &mut Case) {
    t.make(DEPLOYMENTS, deployment("d", 0)).await;
    t.names.ignored = vec!["status", "annotations"];
    let path = format!("{DEPLOYMENTS}/d");
    let headers = [("content-type", STRATEGIC)];
    for body in ["", "{", "[]", "null", "1", "{\"spec\":5}", "{\"spec\":{\"replicas\":\"two\"}}",
        "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"x\"}]}}}}",
        "{\"spec\":{\"template\":{\"spec\":{\"containers\":{}}}}}",
        "{\"spec\":{\"$patch\":\"nonsense\"}}",
        "{\"nope\":1}"]
    {
        t.send(Method::PATCH, &path, &headers, body).await;
    }
    t.patch(&format!("{path}?fieldValidation=Strict"), STRATEGIC, json!({"spec": {"nope": 1}})).await;
    t.patch(&path, STRATEGIC, json!({"spec": {"replicas": -1}})).await;
    t.patch(&path, STRATEGIC, json!({"spec": {"selector": {"matchLabels": {"x": "y"}}}})).await;
}

async fn identity(t: &mut Case) {
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    for patch in [
        json!({"metadata": {"name": "b"}}),
        json!({"metadata": {"namespace": "b"}}),
        json!({"metadata": {"uid": "b"}}),
        json!({"apiVersion": "v2"}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment"}),
        json!({"metadata": {"creationTimestamp": null}}),
        json!({"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z"}}),
        json!({"metadata": {"deletionTimestamp": "2001-01-01T00:00:00Z"}}),
        json!({"metadata": {"generateName": "x-"}}),
        json!({"metadata": {"resourceVersion": ""}}),
    ] {
        t.patch(&path, MERGE, patch).await;
    }
}

async fn wrong_types(t: &mut Case) {
    t.make(DEPLOYMENTS, deployment("d", 0)).await;
    t.names.ignored = vec!["status", "annotations"];
    let path = format!("{DEPLOYMENTS}/d");
    for patch in [
        json!({"spec": {"replicas": "two"}}),
        json!({"spec": {"replicas": 1.5}}),
        json!({"spec": {"paused": "yes"}}),
        json!({"spec": {"template": {"spec": {"containers": "x"}}}}),
        json!({"metadata": {"labels": {"a": 1}}}),
        json!({"metadata": {"creationTimestamp": "yesterday"}}),
    ] {
        // The real server shows the whole object in these; the start and the end are what is told.
        let body = patch.to_string();
        let answer = t.quietly(Method::PATCH, &path, &[("content-type", MERGE)], body).await;
        let message = answer.text("/message");
        let start: String = message.chars().take(40).collect();
        let end: String = message.rsplit("}: ").next().unwrap_or_default().to_owned();
        t.found(&patch.to_string(), &json!([answer.code, answer.text("/reason"), start, end]));
    }
}

async fn who_changed_what(t: &mut Case) {
    t.names.managed_fields = true;
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a?fieldManager=");
    t.patch(&format!("{path}one"), MERGE, json!({"data": {"key": "2"}})).await;
    t.patch(&format!("{path}two"), STRATEGIC, json!({"data": {"more": "1"}})).await;
    t.patch(&format!("{path}two"), JSON_PATCH, json!([{"op": "remove", "path": "/data/key"}])).await;
    t.patch(&format!("{path}three"), MERGE, json!({"metadata": {"annotations": {"x": "y"}, "labels": {"app": null}}}))
        .await;
    t.note("wiped by an empty list");
    t.patch(&path, MERGE, json!({"metadata": {"managedFields": [{}]}})).await;
    t.note("a status has its own");
    t.with_account().await;
    t.make(PODS, pod("p")).await;
    let headers = [("content-type", STRATEGIC), ("user-agent", "kubelet/v1")];
    let said = t
        .quietly(Method::PATCH, &format!("{PODS}/p/status"), &headers,
            json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}).to_string())
        .await;
    t.found("managers", &said.body["metadata"]["managedFields"]);
    let binding = json!({"metadata": {"name": "p", "annotations": {"x": "y"}}, "target": {"name": "n-1"}});
    t.make(&format!("{PODS}/p/binding"), binding).await;
    let bound = t.look(&format!("{PODS}/p")).await;
    t.found("bound", &bound.body["metadata"]["managedFields"]);
    t.send(Method::PATCH, &format!("{CONFIG_MAPS}/a"), &[("content-type", APPLY)], "{}").await;
}

async fn what_a_pod_may_change(t: &mut Case) {
    t.with_account().await;
    t.names.ignored = vec!["spec", "status"];
    t.make(PODS, pod("p")).await;
    let path = format!("{PODS}/p");
    for patch in [
        json!({"spec": {"containers": [{"name": "c", "image": "j"}]}}),
        json!({"spec": {"containers": [{"name": "c", "image": ""}]}}),
        json!({"spec": {"containers": [{"name": "d", "image": "j"}]}}),
        json!({"spec": {"activeDeadlineSeconds": 100}}),
        json!({"spec": {"activeDeadlineSeconds": 50}}),
        json!({"spec": {"activeDeadlineSeconds": 200}}),
        json!({"spec": {"activeDeadlineSeconds": null}}),
        json!({"spec": {"activeDeadlineSeconds": -1}}),
        json!({"spec": {"tolerations": [{"key": "x", "operator": "Exists"}]}}),
        json!({"metadata": {"labels": {"new": "l"}}}),
    ] {
        let body = patch.to_string();
        let answer = t.quietly(Method::PATCH, &path, &[("content-type", STRATEGIC)], body).await;
        let message: String = answer.text("/message").lines().next().unwrap_or_default().to_owned();
        t.found(&patch.to_string(), &json!([answer.code, message]));
    }
    for patch in [
        json!({"spec": {"nodeName": "n-1"}}),
        json!({"spec": {"schedulerName": "x"}}),
        json!({"spec": {"priority": 5}}),
        json!({"spec": {"terminationGracePeriodSeconds": 5}}),
        json!({"spec": {"tolerations": []}}),
        json!({"spec": {"nodeSelector": {"a": "b"}}}),
        json!({"spec": {"schedulingGates": [{"name": "g"}]}}),
        json!({"spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]}}),
        json!({"spec": {"restartPolicy": "Never"}}),
    ] {
        let body = patch.to_string();
        let answer = t.quietly(Method::PATCH, &path, &[("content-type", MERGE)], body).await;
        let message: String = answer.text("/message").lines().next().unwrap_or_default().to_owned();
        let causes = answer.body["details"]["causes"].as_array().cloned().unwrap_or_default();
        let fields: Vec<&Value> = causes.iter().map(|c| &c["field"]).collect();
        t.found(&patch.to_string(), &json!([answer.code, message, fields]));
    }
}

async fn gates(t: &mut Case) {
    t.with_account().await;
    let mut gated = pod("p");
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/a"}, {"name": "example.com/b"}]);
    gated["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    t.post(PODS, gated).await;
    let path = format!("{PODS}/p");
    t.names.ignored = vec!["containers", "volumes", "tolerations"];
    t.note("a gated pod cannot be bound");
    t.post(&format!("{path}/binding"), json!({"metadata": {"name": "p"}, "target": {"name": "n-1"}})).await;
    for patch in [
        json!({"spec": {"schedulingGates": [{"name": "example.com/a"}, {"name": "example.com/c"}]}}),
        json!({"spec": {"nodeSelector": {"disk": "hdd"}}}),
        json!({"spec": {"nodeSelector": {"zone": "z"}}}),
        json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}}}}),
        json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [{"key": "b", "operator": "Exists"}]}]}}}}}),
        json!({"spec": {"schedulingGates": [{"name": "example.com/b"}]}}),
        json!({"spec": {"schedulingGates": []}}),
        json!({"spec": {"schedulingGates": [{"name": "example.com/b"}]}}),
        json!({"spec": {"nodeSelector": {"more": "x"}}}),
    ] {
        let body = patch.to_string();
        let answer = t.quietly(Method::PATCH, &path, &[("content-type", MERGE)], body).await;
        let message: String = answer.text("/message").lines().next().unwrap_or_default().to_owned();
        let spec = &answer.body["spec"];
        let seen = json!([answer.code, message, spec["schedulingGates"], spec["nodeSelector"],
            answer.body["status"]["conditions"]]);
        t.found(&patch.to_string(), &seen);
    }
    t.note("bad gates");
    for gates in [json!([{"name": "no/such/thing"}]), json!([{"name": "a/a"}, {"name": "a/a"}]), json!([{}])] {
        let mut bad = pod("q");
        bad["spec"]["schedulingGates"] = gates;
        t.post(PODS, bad).await;
    }
    let mut bound = pod("q");
    bound["spec"]["schedulingGates"] = json!([{"name": "a/a"}]);
    bound["spec"]["nodeName"] = json!("n-1");
    t.post(PODS, bound).await;
}

/// The patch with which replicas are counted and marked in one.
async fn ledgers(t: &mut Case) {
    t.names.ignored = vec!["status", "annotations", "template"];
    let made = t.make(DEPLOYMENTS, deployment("d", 0)).await;
    let path = format!("{DEPLOYMENTS}/d");
    let settled = t
        .until("its status", &path, |a| a.body["status"]["observedGeneration"] == 1)
        .await;
    let step = |uid: &str, generation: i64, from: i64, to: i64, mark: &str| {
        json!([
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/metadata/generation", "value": generation},
            {"op": "test", "path": "/spec/replicas", "value": from},
            {"op": "replace", "path": "/spec/replicas", "value": to},
            {"op": "add", "path": "/metadata/labels", "value": {"ledger": mark}},
        ])
    };
    assert_eq!(settled.uid(), made.uid());
    t.patch(&path, JSON_PATCH, step(&made.uid(), 1, 0, 0, "a.0.1")).await;
    t.patch(&path, JSON_PATCH, step(&made.uid(), 2, 0, 1, "a.1.1")).await;
    t.patch(&path, JSON_PATCH, step("other", 1, 0, 1, "a.1.1")).await;
    let counted = t.patch(&path, JSON_PATCH, step(&made.uid(), 1, 0, 1, "a.1.1")).await;
    assert_eq!(counted.body["metadata"]["generation"], 2);
    t.patch(&path, JSON_PATCH, step(&made.uid(), 1, 0, 1, "a.1.1")).await;
}
