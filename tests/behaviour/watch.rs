//! `watch`: where it begins, what it tells, how it ends.

use http::Method;
use serde_json::{Value, json};

use crate::case::{Case, Watch};
use crate::things::*;

cases![
    what_happens,
    from_what_is_there,
    a_streaming_list,
    labels_that_come_and_go,
    fields_that_come_and_go,
    one_object,
    versions_from_the_past,
    versions_from_the_future,
    its_time_runs_out,
    metadata_only,
    tables,
    other_versions,
    pods_on_a_node,
];

async fn make(t: &mut Case, name: &str, labels: Value) -> String {
    t.make(SECRETS, secret(name, labels)).await.version()
}

async fn label(t: &mut Case, name: &str, value: Value) {
    t.change(&format!("{SECRETS}/{name}"), json!({"metadata": {"labels": {"l": value}}}))
        .await;
}

async fn remove(t: &mut Case, path: &str) {
    let gone = t.quietly(Method::DELETE, path, &[], "").await;
    assert_eq!(gone.code, 200, "{}", gone.body);
}

/// Takes this many events; they are written down.
async fn take(t: &mut Case, watch: &mut Watch, count: usize) {
    for _ in 0..count {
        t.event(watch).await.expect("the watch goes on");
    }
}

async fn what_happens(t: &mut Case) {
    let start = make(t, "a", json!({})).await;
    t.names.mask(&format!("={start}"), "={rv}");
    let mut watch = t.watch(&format!("{SECRETS}?watch=true&resourceVersion={start}"), &[]).await;
    make(t, "b", json!({})).await;
    label(t, "b", json!("1")).await;
    t.note("nothing is told of a change that changes nothing");
    label(t, "b", json!("1")).await;
    label(t, "a", json!("2")).await;
    remove(t, &format!("{SECRETS}/b")).await;
    take(t, &mut watch, 4).await;
    t.note("the deletion's version is its own");
    let now = t.look(SECRETS).await.version().parse::<u64>().unwrap();
    assert!(now > start.parse::<u64>().unwrap());
    t.note("begun later, the same is told");
    let mut later = t.watch(&format!("{SECRETS}?watch=1&resourceVersion={start}"), &[]).await;
    take(t, &mut later, 4).await;
    t.note("by the old path");
    let mut old = t
        .watch(&format!("/api/v1/watch/namespaces/{{ns}}/secrets?resourceVersion={start}"), &[])
        .await;
    take(t, &mut old, 1).await;
}

async fn from_what_is_there(t: &mut Case) {
    make(t, "a", json!({})).await;
    make(t, "b", json!({})).await;
    for query in ["watch=true", "watch=true&resourceVersion=0", "watch=true&resourceVersion="] {
        let mut watch = t.watch(&format!("{SECRETS}?{query}"), &[]).await;
        take(t, &mut watch, 2).await;
        label(t, "b", json!(query.len().to_string())).await;
        take(t, &mut watch, 1).await;
    }
}

async fn a_streaming_list(t: &mut Case) {
    make(t, "a", json!({})).await;
    make(t, "b", json!({})).await;
    let list = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = t.watch(&format!("{SECRETS}?{list}"), &[]).await;
    take(t, &mut watch, 3).await;
    let after = make(t, "c", json!({})).await;
    take(t, &mut watch, 1).await;
    t.note("at least as new as");
    t.names.mask(&format!("={after}"), "={rv}");
    let mut watch = t
        .watch(&format!("{SECRETS}?{list}&resourceVersion={after}"), &[])
        .await;
    take(t, &mut watch, 4).await;
    t.note("nothing there");
    let mut watch = t
        .watch(&format!("{SECRETS}?{list}&labelSelector=none%3Dnone"), &[])
        .await;
    take(t, &mut watch, 1).await;
    t.note("without bookmarks nothing tells the end");
    let quiet = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
    let mut watch = t.watch(&format!("{SECRETS}?{quiet}"), &[]).await;
    take(t, &mut watch, 3).await;
    assert_eq!(t.event(&mut watch).await, None);
    t.note("nothing first");
    let news = "watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = t.watch(&format!("{SECRETS}?{news}&resourceVersion={after}"), &[]).await;
    make(t, "d", json!({})).await;
    take(t, &mut watch, 1).await;
}

async fn labels_that_come_and_go(t: &mut Case) {
    let start = make(t, "a", json!({"l": "no"})).await;
    t.names.mask(&format!("={start}"), "={rv}");
    let mut watch = t
        .watch(
            &format!("{SECRETS}?watch=true&labelSelector=l%3Dyes&resourceVersion={start}"),
            &[],
        )
        .await;
    label(t, "a", json!("yes")).await;
    t.change(&format!("{SECRETS}/a"), json!({"data": {"k": "eA=="}})).await;
    label(t, "a", json!("no")).await;
    make(t, "b", json!({"l": "no"})).await;
    label(t, "a", json!("yes")).await;
    remove(t, &format!("{SECRETS}/a")).await;
    remove(t, &format!("{SECRETS}/b")).await;
    take(t, &mut watch, 5).await;
}

async fn fields_that_come_and_go(t: &mut Case) {
    t.with_account().await;
    let start = t.make(PODS, pod("a")).await.version();
    t.names.mask(&format!("={start}"), "={rv}");
    t.names.ignored = vec!["spec", "conditions"];
    let mut unbound = t
        .watch(&format!("{PODS}?watch=true&fieldSelector=spec.nodeName%3D&resourceVersion={start}"), &[])
        .await;
    let mut running = t
        .watch(
            &format!("{PODS}?watch=true&fieldSelector=status.phase%3DRunning&resourceVersion={start}"),
            &[],
        )
        .await;
    t.make(PODS, pod("b")).await;
    let binding = json!({"metadata": {"name": "a"}, "target": {"name": "n-1"}});
    t.make(&format!("{PODS}/a/binding"), binding).await;
    t.kubelet_says("a", json!({"phase": "Running"})).await;
    t.kubelet_says("a", json!({"phase": "Succeeded"})).await;
    take(t, &mut unbound, 2).await;
    t.note("running ones");
    take(t, &mut running, 2).await;
}

async fn one_object(t: &mut Case) {
    let start = make(t, "a", json!({})).await;
    t.names.mask(&format!("={start}"), "={rv}");
    let mut watch = t
        .watch(
            &format!("{SECRETS}?watch=true&fieldSelector=metadata.name%3Da&resourceVersion={start}"),
            &[],
        )
        .await;
    let mut path = t
        .watch(
            &format!("/api/v1/watch/namespaces/{{ns}}/secrets/a?resourceVersion={start}"),
            &[],
        )
        .await;
    make(t, "b", json!({})).await;
    label(t, "b", json!("1")).await;
    label(t, "a", json!("1")).await;
    take(t, &mut watch, 1).await;
    take(t, &mut path, 1).await;
}

/// A real server that began to look at a kind before anything was written has nothing too old of it; of the
/// kinds that it began with later it has.
async fn versions_from_the_past(t: &mut Case) {
    const KINDS: [&str; 12] = [
        "/api/v1/namespaces/{ns}/secrets",
        "/api/v1/namespaces/{ns}/configmaps",
        "/api/v1/namespaces/{ns}/limitranges",
        "/api/v1/namespaces/{ns}/podtemplates",
        "/api/v1/namespaces/{ns}/persistentvolumeclaims",
        "/apis/apps/v1/namespaces/{ns}/controllerrevisions",
        "/apis/apps/v1/namespaces/{ns}/statefulsets",
        "/apis/batch/v1/namespaces/{ns}/jobs",
        "/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses",
        "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets",
        "/apis/storage.k8s.io/v1/namespaces/{ns}/csistoragecapacities",
        "/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers",
    ];
    for kind in KINDS {
        let path = format!("{kind}?watch=true&resourceVersion=1&timeoutSeconds=1");
        let mut watch = t.quiet_watch(&path).await;
        let first = watch.next().await;
        if let Some(event) = first.filter(|event| event["type"] == "ERROR") {
            t.found("too old", &event);
            assert_eq!(watch.next().await, None, "that was the last word");
            return;
        }
    }
    t.unseen("this server knows all of its history");
}

async fn versions_from_the_future(t: &mut Case) {
    t.note("a plain watch waits");
    let path = format!("{SECRETS}?watch=true&resourceVersion=999999999&timeoutSeconds=1");
    let mut watch = t.watch(&path, &[]).await;
    make(t, "a", json!({})).await;
    assert_eq!(t.event(&mut watch).await, None);
    t.note("one that lists first does not wait long");
    let list = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = t
        .watch(&format!("{SECRETS}?{list}&resourceVersion=999999999"), &[])
        .await;
    t.event(&mut watch).await;
    assert_eq!(t.event(&mut watch).await, None);
}

async fn its_time_runs_out(t: &mut Case) {
    let start = make(t, "a", json!({})).await;
    t.names.mask(&format!("={start}"), "={rv}");
    let path = format!("{SECRETS}?watch=true&timeoutSeconds=1&resourceVersion={start}");
    let mut watch = t.watch(&path, &[]).await;
    assert_eq!(t.event(&mut watch).await, None);
    t.note("with a bookmark before");
    let mut last = Value::Null;
    // It is sent two seconds before the end, if the server finds the time.
    for seconds in 3..10 {
        let path = format!("{SECRETS}?watch=true&timeoutSeconds={seconds}&allowWatchBookmarks=true&resourceVersion={start}");
        let mut watch = t.quiet_watch(&path).await;
        while let Some(event) = watch.next().await {
            last = event;
        }
        if !last.is_null() {
            break;
        }
    }
    t.found("the last word", &last);
}

async fn metadata_only(t: &mut Case) {
    const PARTIAL: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let start = make(t, "a", json!({})).await;
    t.names.mask(&format!("={start}"), "={rv}");
    let path = format!("{SECRETS}?watch=true&resourceVersion={start}");
    let mut watch = t.watch(&path, &[("accept", PARTIAL)]).await;
    make(t, "b", json!({"l": "1"})).await;
    remove(t, &format!("{SECRETS}/b")).await;
    take(t, &mut watch, 2).await;
    let list = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = t
        .watch(&format!("{SECRETS}?{list}"), &[("accept", PARTIAL)])
        .await;
    take(t, &mut watch, 2).await;
}

async fn tables(t: &mut Case) {
    const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";
    t.names.ignored = vec!["cells", "columnDefinitions"];
    let start = make(t, "a", json!({})).await;
    t.names.mask(&format!("={start}"), "={rv}");
    let path = format!("{SECRETS}?watch=true&resourceVersion={start}");
    let mut watch = t.watch(&path, &[("accept", TABLE)]).await;
    make(t, "b", json!({})).await;
    label(t, "b", json!("1")).await;
    remove(t, &format!("{SECRETS}/b")).await;
    for columns in [true, false, false] {
        let event = t.event(&mut watch).await.unwrap();
        let sent = event["object"]["columnDefinitions"].as_array().is_some_and(|c| !c.is_empty());
        assert_eq!(sent, columns, "columns come with the first event only");
    }
}

async fn other_versions(t: &mut Case) {
    let scaler = json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"kind": "Deployment", "name": "none", "apiVersion": "apps/v1"}}});
    const OLD: &str = "/apis/autoscaling/v1/namespaces/{ns}/horizontalpodautoscalers";
    const NEW: &str = "/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers";
    let made = t.make(OLD, scaler).await;
    let start = made.version().parse::<u64>().unwrap() - 1;
    t.names.mask(&format!("={start}"), "={rv}");
    t.names.ignored = vec!["status", "annotations"];
    for path in [OLD, NEW] {
        let mut watch = t
            .watch(&format!("{path}?watch=true&resourceVersion={start}"), &[])
            .await;
        take(t, &mut watch, 1).await;
    }
}

async fn pods_on_a_node(t: &mut Case) {
    t.with_account().await;
    let start = t.look(PODS).await.version();
    t.names.mask(&format!("={start}"), "={rv}");
    t.names.ignored = vec!["spec", "status"];
    let path = format!("{PODS}?watch=true&fieldSelector=spec.nodeName%3Dn-{{id}}&resourceVersion={start}");
    let mut watch = t.watch(&path, &[]).await;
    t.bound_pod("a", "n-{id}").await;
    t.bound_pod("b", "other-{id}").await;
    let now = json!({"gracePeriodSeconds": 0}).to_string();
    for name in ["b", "a"] {
        let path = format!("{PODS}/{name}");
        t.quietly(Method::DELETE, &path, &[("content-type", "application/json")], now.clone()).await;
    }
    let mut deleted = false;
    while !deleted {
        let event = watch.next().await.unwrap();
        assert_eq!(event["object"]["metadata"]["name"], "a");
        deleted = event["type"] == "DELETED";
        if deleted || event["type"] == "ADDED" {
            t.found("seen", &event);
        }
    }
}
