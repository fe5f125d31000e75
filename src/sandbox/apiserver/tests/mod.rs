//! The server as clients see it.
//!
//! What is expected here was seen on kube-apiserver v1.36.3.

mod changes;
mod deletion;
mod eviction;
mod hostile;
mod pods;
mod reading;
mod serving;

use ::kube::Client;
use ::kube::api::{Api, PostParams};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A server whose `default` namespace has its service account.
async fn server() -> (ApiServer, Client) {
    server_with(Options::default()).await
}

async fn server_with(options: Options) -> (ApiServer, Client) {
    let server = ApiServer::new(options);
    let client = server.client();
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    let account = from(json!({"metadata": {"name": "default"}}));
    accounts
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    (server, client)
}

/// Sends a raw request and answers code and body (JSON, or a string).
async fn raw(
    server: &ApiServer,
    method: Method,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .body(axum::body::Body::from(body.to_vec()))
        .unwrap();
    let response = server.service().oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (
        code,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

async fn get(server: &ApiServer, path: &str) -> (u16, Value) {
    raw(server, Method::GET, path, "application/json", b"").await
}

async fn post(server: &ApiServer, path: &str, body: Value) -> (u16, Value) {
    raw(
        server,
        Method::POST,
        path,
        "application/json",
        body.to_string().as_bytes(),
    )
    .await
}

async fn put(server: &ApiServer, path: &str, body: Value) -> (u16, Value) {
    raw(
        server,
        Method::PUT,
        path,
        "application/json",
        body.to_string().as_bytes(),
    )
    .await
}

async fn merge(server: &ApiServer, path: &str, body: Value) -> (u16, Value) {
    let body = body.to_string();
    raw(
        server,
        Method::PATCH,
        path,
        "application/merge-patch+json",
        body.as_bytes(),
    )
    .await
}

async fn delete(server: &ApiServer, path: &str, options: Value) -> (u16, Value) {
    let body = if options.is_null() {
        String::new()
    } else {
        options.to_string()
    };
    raw(
        server,
        Method::DELETE,
        path,
        "application/json",
        body.as_bytes(),
    )
    .await
}

fn message(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["message"].as_str().unwrap_or_default())
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    })
}

fn config_map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": name}}, "data": {"key": value}})
}

fn deployment(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        },
    })
}
