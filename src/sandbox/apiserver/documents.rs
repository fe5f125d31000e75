//! What is served beside resources: versions, health, discovery, OpenAPI.

use http::{Method, header, request::Parts};
use serde_json::json;

use super::accept::Accept;
use super::error::Error;
use super::path::Target;
use super::reply::Reply;
use super::server::Server;
use crate::sandbox::types::{
    OPENAPI_V2_PROTOBUF, aggregated_discovery, api_group, api_group_list, api_resource_list,
    api_versions, openapi_v2_document, openapi_v3_document, openapi_v3_index, table,
};

const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Answers for a path that names no resource.
pub(crate) fn serve(server: &Server, parts: &Parts, target: &Target) -> Result<Reply, Error> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(Error::method_not_allowed());
    }
    let accept = parts
        .headers
        .get(header::ACCEPT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let not_found = || Reply::text(404, "404 page not found\n");
    Ok(match target {
        Target::Health => Reply::text(200, "ok"),
        Target::Version => Reply::json(200, &version()),
        Target::CoreVersions | Target::Groups => {
            let core = *target == Target::CoreVersions;
            match Accept::negotiate(accept, false, true)? {
                Accept::Discovery { beta: false } => {
                    let document = aggregated_discovery(table(), core).to_string();
                    Reply::bytes(200, DISCOVERY, document.into())
                }
                _ if core => Reply::json(200, &api_versions()),
                _ => Reply::json(200, &api_group_list(table())),
            }
        }
        Target::Group(group) => match api_group(table(), group) {
            Some(document) => Reply::json(200, &document),
            None => not_found(),
        },
        Target::Resources(group, version) if server.registry.serves(group, version) => {
            match api_resource_list(table(), group, version) {
                Some(document) => Reply::json(200, &document),
                None => not_found(),
            }
        }
        // As protobuf or not at all: that is what clients ask for.
        Target::OpenApiV2 if accept.contains("proto-openapi.spec.v2") => {
            Reply::bytes(200, OPENAPI_V2_PROTOBUF, openapi_v2_document(table()))
        }
        Target::OpenApiV2 => return Err(Error::not_acceptable()),
        Target::OpenApiIndex => Reply::json(200, &openapi_v3_index(table())),
        Target::OpenApi(group, version) => match openapi_v3_document(table(), group, version) {
            Some(document) => Reply::json(200, &document),
            None => not_found(),
        },
        Target::Resources(..) | Target::Resource(_) | Target::Unknown => not_found(),
    })
}

fn version() -> serde_json::Value {
    let git = table().kubernetes_version();
    let mut numbers = git.trim_start_matches('v').split('.');
    let major = numbers.next().unwrap_or("1");
    let minor = numbers.next().unwrap_or("0");
    // A server is compatible with the version before its own.
    let before = minor
        .parse::<u32>()
        .map_or(0, |minor| minor.saturating_sub(1));
    json!({
        "major": major, "minor": minor,
        "emulationMajor": major, "emulationMinor": minor,
        "minCompatibilityMajor": major, "minCompatibilityMinor": before.to_string(),
        "gitVersion": git, "gitCommit": "", "gitTreeState": "clean", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": "linux/amd64",
    })
}
