//! Bad input: each gets an answer, and the server goes on.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::case::{Case, JSON_PATCH, MERGE};
use crate::things::*;

cases![bodies, content_types, paths, methods, too_large, deep, many_watchers, aborted_requests];

async fn bodies(t: &mut Case) {
    let headers = [("content-type", "application/json")];
    for body in [
        "", "{", "[]", "null", "1", "\"x\"", "{}", "{\"metadata\":1}", "{\"metadata\":[]}", "not json", "{} x",
        "{\"metadata\":{\"name\":1}}", "{\"metadata\":{\"name\":\"a\",\"labels\":[1]}}",
        "{\"metadata\":{\"name\":\"a\",\"labels\":{\"a\":1}}}", "{\"data\":\"x\"}", "{\"data\":{\"a\":{}}}",
        "{\"kind\":5}", "{\"apiVersion\":[]}", "{\"kind\":\"Status\"}", "{\"metadata\":{\"creationTimestamp\":\"x\"}}",
        "{\"metadata\":{\"finalizers\":[1]}}", "{\"metadata\":{\"generation\":\"x\"}}", "{\"immutable\":\"yes\"}",
    ] {
        t.send(Method::POST, CONFIG_MAPS, &headers, body).await;
    }
    t.send(Method::POST, DEPLOYMENTS, &headers, "{\"spec\":{\"replicas\":99999999999}}").await;
    t.send(Method::POST, DEPLOYMENTS, &headers, "{\"spec\":{\"replicas\":\"2\"}}").await;
    t.send(Method::POST, DEPLOYMENTS, &headers, "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"ports\":[{\"containerPort\":\"80\"}]}]}}}}").await;
}

async fn content_types(t: &mut Case) {
    let body = config_map("a", "1").to_string();
    for kind in ["text/plain", "application/xml", "application/json; charset=utf-8", "APPLICATION/JSON", "application/merge-patch+json"] {
        t.send(Method::POST, &format!("{CONFIG_MAPS}?dryRun=All"), &[("content-type", kind)], body.clone()).await;
    }
    t.send(Method::POST, &format!("{CONFIG_MAPS}?dryRun=All"), &[], body.clone()).await;
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    t.send(Method::PUT, &path, &[("content-type", "text/plain")], body.clone()).await;
    t.send(Method::PATCH, &path, &[("content-type", "text/plain")], "{}").await;
    t.send(Method::PATCH, &path, &[], "{}").await;
    t.note("garbage that says it is protobuf");
    t.send(Method::POST, CONFIG_MAPS, &[("content-type", "application/vnd.kubernetes.protobuf")], "garbage").await;
}

async fn paths(t: &mut Case) {
    for path in [
        "/nope", "/apis/nope/v1/foos", "/apis/apps/v9/deployments", "/api/v1/nope", "/api/v1/namespaces/{ns}/nodes",
        "/api/v1/namespaces/{ns}/pods/a/nope", "/api/v2/pods",
    ] {
        t.get(path).await;
    }
    t.get(&format!("{CONFIG_MAPS}/A%20B")).await;
    t.get(&format!("{CONFIG_MAPS}/a%2Fb")).await;
}

async fn methods(t: &mut Case) {
    for (method, path) in [
        (Method::PUT, CONFIG_MAPS), (Method::PATCH, CONFIG_MAPS), (Method::POST, "/api/v1/configmaps"),
        (Method::OPTIONS, CONFIG_MAPS), (Method::DELETE, "/version"),
    ] {
        let answer = t.quietly(method.clone(), path, &[("content-type", "application/json")], "").await;
        t.found(&format!("{method} {path}"), &json!([answer.code, answer.text("/reason")]));
    }
}

async fn too_large(t: &mut Case) {
    let value = "x".repeat(3 * 1024 * 1024);
    t.post(CONFIG_MAPS, config_map("a", &value)).await;
    t.note("what fits a request and no ConfigMap");
    let value = "x".repeat(1024 * 1024 + 1);
    t.post(CONFIG_MAPS, config_map("a", &value)).await;
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    t.note("a patch");
    let value = "x".repeat(3 * 1024 * 1024);
    t.patch(&path, MERGE, json!({"data": {"key": value}})).await;
    t.get(&path).await;
}

async fn deep(t: &mut Case) {
    let nested = format!("{}1{}", "{\"a\":".repeat(20_000), "}".repeat(20_000));
    let lists = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    t.make(CONFIG_MAPS, config_map("a", "1")).await;
    for (method, path, kind) in [
        (Method::POST, CONFIG_MAPS.to_owned(), "application/json"),
        (Method::PUT, format!("{CONFIG_MAPS}/a"), "application/json"),
        (Method::PATCH, format!("{CONFIG_MAPS}/a"), MERGE),
        (Method::PATCH, format!("{CONFIG_MAPS}/a"), JSON_PATCH),
    ] {
        for body in [&nested, &lists] {
            let answer = t.quietly(method.clone(), &path, &[("content-type", kind)], body.clone()).await;
            assert!((400..500).contains(&answer.code), "{method} {path} {kind}: {}", answer.body);
        }
    }
    t.get(&format!("{CONFIG_MAPS}/a")).await;
}

async fn many_watchers(t: &mut Case) {
    let start = t.make(SECRETS, secret("a", json!({}))).await.version();
    let path = format!("{SECRETS}?watch=true&resourceVersion={start}");
    let mut watches = Vec::new();
    for _ in 0..200 {
        watches.push(t.quiet_watch(&path).await);
    }
    t.make(SECRETS, secret("b", json!({}))).await;
    for watch in &mut watches {
        let event = watch.next().await.unwrap();
        assert_eq!(event["object"]["metadata"]["name"], "b");
    }
    t.found("watchers told", &json!(watches.len()));
    drop(watches);
    t.get(&format!("{SECRETS}/b")).await;
}

async fn aborted_requests(t: &mut Case) {
    // Given up before the answer: dropped with its connection.
    for i in 0..20 {
        let name = format!("gone-{i}");
        let body = secret(&name, json!({})).to_string();
        let headers = [("content-type", "application/json")];
        let asking = t.quietly(Method::POST, SECRETS, &headers, body);
        let _given_up = wam::clock::timeout(Duration::from_micros(50 * i), asking).await;
    }
    t.make(SECRETS, secret("after", json!({}))).await;
    t.get(&format!("{SECRETS}/after")).await;
}
