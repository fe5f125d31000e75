//! The layer as clients see it.

mod answers;
mod parsing;
mod plan;
mod socket;
mod watches;

use ::kube::Client;
use ::kube::api::{Api, PostParams};
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _};

use super::*;
use crate::sandbox::apiserver::{ApiServer, Options as ServerOptions};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server behind its faults.
struct Edge {
    server: ApiServer,
    faults: Faults,
    service: FaultService,
}

impl Edge {
    fn new(lines: &[&str]) -> Self {
        let server = ApiServer::new(ServerOptions::default());
        let faults = Faults::new(7);
        let layer = FaultLayer::new(faults.clone(), server.clone()).with_agent("test/1");
        let service = layer.layer(server.service());
        faults.set(rules(&lines.join("\n")).unwrap());
        Self {
            server,
            faults,
            service,
        }
    }

    fn client(&self) -> Client {
        Client::new(self.service.clone(), "default")
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::default_namespaced(self.client())
    }

    /// Creates a map past the faults.
    async fn put(&self, name: &str) {
        let maps: Api<ConfigMap> = Api::default_namespaced(self.server.client());
        maps.create(&PostParams::default(), &map(name))
            .await
            .unwrap();
    }

    /// Code, headers and body of an answer; an error if there is none.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<(http::response::Parts, String), std::io::Error> {
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = self.service.clone().oneshot(request).await?;
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(std::io::Error::other)?
            .to_bytes();
        Ok((parts, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let (parts, body) = self.ask(Method::GET, path, "").await.unwrap();
        let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
        (parts.status.as_u16(), body)
    }

    fn injected(&self) -> Vec<u64> {
        self.faults.report().iter().map(|c| c.injected).collect()
    }
}

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}
