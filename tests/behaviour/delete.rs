//! `delete` and `deletecollection`: grace, preconditions, propagation, finalizers.

use http::Method;
use serde_json::{Value, json};

use crate::case::Case;
use crate::things::*;

cases![
    what_is_answered, preconditions, bad_options, grace, finalizers, a_collection, trials,
    background, foreground, orphans, adopted_by_nobody, blocked_owners,
];

async fn what_is_answered(t: &mut Case) {
    t.with_account().await;
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    t.delete(&format!("{CONFIG_MAPS}/a"), Value::Null).await;
    t.delete(&format!("{CONFIG_MAPS}/a"), Value::Null).await;
    t.make(SECRETS, secret("s", json!({}))).await;
    t.delete(&format!("{SECRETS}/s"), json!({"kind": "DeleteOptions", "apiVersion": "v1"})).await;
    t.note("pods and services answer with themselves");
    t.names.ignored = vec!["spec", "loadBalancer"];
    t.make(PODS, pod("p")).await;
    t.delete(&format!("{PODS}/p"), Value::Null).await;
    t.make("/api/v1/namespaces/{ns}/services", json!({"metadata": {"name": "v"}, "spec": {"ports": [{"port": 80}]}})).await;
    t.delete("/api/v1/namespaces/{ns}/services/v", Value::Null).await;
    t.make(LEASES, json!({"metadata": {"name": "l"}})).await;
    t.delete(&format!("{LEASES}/l"), Value::Null).await;
    t.note("not across namespaces, not the system's");
    t.delete("/api/v1/configmaps", Value::Null).await;
    t.delete("/api/v1/namespaces/default", Value::Null).await;
    t.delete("/api/v1/namespaces/kube-system", Value::Null).await;
    t.delete("/api/v1/namespaces", Value::Null).await;
}

async fn preconditions(t: &mut Case) {
    let made = t.make(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    t.delete(&path, json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}})).await;
    t.delete(&path, json!({"preconditions": {"resourceVersion": "1"}})).await;
    t.delete(&path, json!({"preconditions": {"uid": made.uid(), "resourceVersion": made.version()}})).await;
}

async fn bad_options(t: &mut Case) {
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    for options in [
        json!({"propagationPolicy": "Nonsense"}),
        json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
        json!({"dryRun": ["Some"]}),
        json!({"gracePeriodSeconds": "x"}),
        json!({"kind": "Pod", "apiVersion": "v1"}),
        json!([]),
    ] {
        t.delete(&path, options).await;
    }
    for query in ["gracePeriodSeconds=x", "propagationPolicy=Nonsense", "dryRun=Some"] {
        t.delete(&format!("{path}?{query}"), Value::Null).await;
    }
    t.send(Method::DELETE, &path, &[("content-type", "application/json")], "{").await;
    t.send(Method::DELETE, &path, &[("content-type", "text/plain")], "{}").await;
}

async fn grace(t: &mut Case) {
    t.with_account().await;
    let graceful = |name: &str, node: &str| {
        let mut pod = pod(name);
        pod["spec"]["terminationGracePeriodSeconds"] = json!(60);
        if !node.is_empty() {
            pod["spec"]["nodeName"] = json!(node);
        }
        pod
    };
    t.names.ignored = vec!["spec", "containerStatuses", "conditions", "startTime"];
    t.note("an unassigned pod goes at once");
    t.make(PODS, graceful("unassigned", "")).await;
    t.delete(&format!("{PODS}/unassigned"), Value::Null).await;
    t.get(&format!("{PODS}/unassigned")).await;
    t.note("an assigned one waits");
    t.make(PODS, graceful("a", "n-1")).await;
    let path = format!("{PODS}/a");
    t.delete(&path, Value::Null).await;
    t.note("longer is not shorter");
    t.delete(&path, json!({"gracePeriodSeconds": 100})).await;
    t.note("shorter is");
    t.delete(&path, json!({"gracePeriodSeconds": 10})).await;
    let seen = t.look(&path).await;
    t.found("grace", &seen.body["metadata"]["deletionGracePeriodSeconds"]);
    t.note("now");
    t.delete(&path, json!({"gracePeriodSeconds": 0})).await;
    t.get(&path).await;
    t.note("negative is a second");
    t.make(PODS, graceful("b", "n-1")).await;
    t.delete(&format!("{PODS}/b?gracePeriodSeconds=-1"), Value::Null).await;
    t.note("a finished one does not wait");
    t.make(PODS, graceful("c", "n-1")).await;
    t.kubelet_says("c", json!({"phase": "Succeeded"})).await;
    t.delete(&format!("{PODS}/c"), Value::Null).await;
    t.get(&format!("{PODS}/c")).await;
}

async fn finalizers(t: &mut Case) {
    t.with_account().await;
    let mut held = pod("p");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    t.make(PODS, held).await;
    t.names.ignored = vec!["spec", "conditions"];
    let path = format!("{PODS}/p");
    t.delete(&path, Value::Null).await;
    t.note("a name that is taken is taken");
    t.post(PODS, pod("p")).await;
    t.delete(&path, Value::Null).await;
    t.patch(&path, crate::case::MERGE, json!({"metadata": {"finalizers": []}})).await;
    t.get(&path).await;
    t.note("a Secret");
    t.make(SECRETS, json!({"metadata": {"name": "s", "finalizers": ["example.com/hold"]}})).await;
    t.delete(&format!("{SECRETS}/s"), json!({"gracePeriodSeconds": 5})).await;
    t.put(&format!("{SECRETS}/s"), json!({"metadata": {"name": "s"}})).await;
    t.get(&format!("{SECRETS}/s")).await;
}

async fn a_collection(t: &mut Case) {
    for (name, app) in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"), ("e", "z")] {
        t.make(SECRETS, secret(name, json!({"app": app}))).await;
    }
    t.delete(&format!("{SECRETS}?labelSelector=app%3Dx"), Value::Null).await;
    t.delete(&format!("{SECRETS}?fieldSelector=metadata.name%3Dc"), Value::Null).await;
    t.delete(&format!("{SECRETS}?labelSelector=app%3Dnone"), Value::Null).await;
    t.delete(&format!("{SECRETS}?labelSelector=a+b"), Value::Null).await;
    t.delete(&format!("{SECRETS}?dryRun=All"), Value::Null).await;
    let left = t.get(SECRETS).await;
    assert_eq!(left.names(), ["d", "e"]);
    t.delete(SECRETS, Value::Null).await;
    t.get(SECRETS).await;
}

async fn trials(t: &mut Case) {
    t.make(SECRETS, secret("a", json!({}))).await;
    let path = format!("{SECRETS}/a");
    t.delete(&format!("{path}?dryRun=All"), Value::Null).await;
    t.delete(&path, json!({"dryRun": ["All"]})).await;
    t.get(&path).await;
}

fn owned(name: &str, owner: &crate::case::Answer, blocks: bool) -> Value {
    json!({"metadata": {"name": name, "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap",
        "name": owner.text("/metadata/name"), "uid": owner.uid(), "blockOwnerDeletion": blocks}]}})
}

async fn background(t: &mut Case) {
    let owner = t.make(CONFIG_MAPS, config_map("owner", "1")).await;
    t.make(SECRETS, owned("a", &owner, false)).await;
    let second = t.make(CONFIG_MAPS, config_map("second", "1")).await;
    let mut both = owned("both", &owner, false);
    let reference = owned("x", &second, false)["metadata"]["ownerReferences"][0].clone();
    both["metadata"]["ownerReferences"].as_array_mut().unwrap().push(reference);
    t.make(SECRETS, both).await;
    t.delete(&format!("{CONFIG_MAPS}/owner"), json!({"propagationPolicy": "Background"})).await;
    t.until("the dependent's end", &format!("{SECRETS}/a"), |a| a.code == 404).await;
    t.note("one with another owner stays, without the reference");
    let path = format!("{SECRETS}/both");
    t.until("one reference", &path, |a| a.body["metadata"]["ownerReferences"].as_array().is_some_and(|o| o.len() == 1)).await;
    t.get(&path).await;
}

async fn foreground(t: &mut Case) {
    let owner = t.make(CONFIG_MAPS, config_map("owner", "1")).await;
    let mut held = owned("a", &owner, true);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    t.make(SECRETS, held).await;
    t.make(SECRETS, owned("b", &owner, true)).await;
    t.delete(&format!("{CONFIG_MAPS}/owner"), json!({"propagationPolicy": "Foreground"})).await;
    t.until("the dependent's end", &format!("{SECRETS}/b"), |a| a.code == 404).await;
    t.until("the other's deletion", &format!("{SECRETS}/a"), |a| !a.text("/metadata/deletionTimestamp").is_empty()).await;
    t.note("the owner waits for the one that is held");
    t.get(&format!("{CONFIG_MAPS}/owner")).await;
    t.change(&format!("{SECRETS}/a"), json!({"metadata": {"finalizers": null}})).await;
    t.until("the owner's end", &format!("{CONFIG_MAPS}/owner"), |a| a.code == 404).await;
    t.get(&format!("{SECRETS}/a")).await;
}

async fn orphans(t: &mut Case) {
    let owner = t.make(CONFIG_MAPS, config_map("owner", "1")).await;
    t.make(SECRETS, owned("a", &owner, false)).await;
    t.delete(&format!("{CONFIG_MAPS}/owner"), json!({"propagationPolicy": "Orphan"})).await;
    t.until("the owner's end", &format!("{CONFIG_MAPS}/owner"), |a| a.code == 404).await;
    t.get(&format!("{SECRETS}/a")).await;
    t.note("said the old way");
    let owner = t.make(CONFIG_MAPS, config_map("old", "1")).await;
    t.make(SECRETS, owned("b", &owner, false)).await;
    t.delete(&format!("{CONFIG_MAPS}/old"), json!({"orphanDependents": true})).await;
    t.until("the owner's end", &format!("{CONFIG_MAPS}/old"), |a| a.code == 404).await;
    t.get(&format!("{SECRETS}/b")).await;
}

async fn adopted_by_nobody(t: &mut Case) {
    let mut object = json!({"metadata": {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap",
        "name": "never", "uid": "00000000-0000-4000-8000-000000000000"}]}});
    t.make(SECRETS, object.clone()).await;
    t.until("the end of what never had an owner", &format!("{SECRETS}/a"), |a| a.code == 404).await;
    t.note("an owner of the same name and another UID is another owner");
    t.make(CONFIG_MAPS, config_map("never", "1")).await;
    object["metadata"]["name"] = json!("b");
    t.make(SECRETS, object).await;
    t.until("its end", &format!("{SECRETS}/b"), |a| a.code == 404).await;
    t.get(&format!("{SECRETS}/b")).await;
}

async fn blocked_owners(t: &mut Case) {
    let owner = t.make(CONFIG_MAPS, config_map("owner", "1")).await;
    let mut held = owned("a", &owner, false);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    t.make(SECRETS, held).await;
    t.note("who does not block is not waited for");
    t.delete(&format!("{CONFIG_MAPS}/owner"), json!({"propagationPolicy": "Foreground"})).await;
    t.until("the owner's end", &format!("{CONFIG_MAPS}/owner"), |a| a.code == 404).await;
    let left = t.until("the dependent's deletion", &format!("{SECRETS}/a"), |a| !a.text("/metadata/deletionTimestamp").is_empty()).await;
    t.found("held by", &left.body["metadata"]["finalizers"]);
    t.change(&format!("{SECRETS}/a"), json!({"metadata": {"finalizers": null}})).await;
}
