//! From an HTTP request to an answer: the one path that socket and in-process requests take.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Request, Response, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio_util::sync::CancellationToken;

use super::accept::Accept;
use super::call::Call;
use super::documents;
use super::error::Error;
use super::path::{ResourcePath, Target, parse};
use super::query::Query;
use super::registry::Resource;
use super::reply::Reply;
use super::server::Server;
use super::subresources::{binding, eviction, reviews, scale, token};
use super::verbs::{create, delete, get, list, patch, update, watch};
use crate::clock;
use crate::sandbox::types::ResourceFacts;

/// The real server's limit for a request's body.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// How long a read waits for a revision from the future (`blockTimeout` of the watch cache).
const FUTURE_WAIT: Duration = Duration::from_secs(3);

/// Answers one request. Never fails: what goes wrong is a `Status`.
pub(crate) async fn handle<B>(
    server: Arc<Server>,
    shutdown: CancellationToken,
    request: Request<B>,
) -> Response<Body>
where
    B: HttpBody + Send,
    B::Data: Buf + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Reply::error(&Error::too_large(&format!("limit is {MAX_BODY}")))
                .into_response(&[], None);
        }
        Err(error) => {
            let error = Error::bad_request(format!("unable to read the body: {error}"));
            return Reply::error(&error).into_response(&[], None);
        }
    };
    let (result, warnings) = dispatch(server, shutdown, &parts, body).await;
    match result {
        Ok(reply) => reply.into_response(&warnings, None),
        Err(error) => Reply::error(&error).into_response(&warnings, error.retry_after()),
    }
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> String {
    // Several Accept headers are one list.
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    values.join(",")
}

async fn dispatch(
    server: Arc<Server>,
    shutdown: CancellationToken,
    parts: &Parts,
    body: Bytes,
) -> (Result<Reply, Error>, Vec<String>) {
    match parse(parts.uri.path()) {
        Target::Resource(path) => resource(server, shutdown, parts, path, body).await,
        target => (documents::serve(&server, parts, &target), Vec::new()),
    }
}

async fn resource(
    server: Arc<Server>,
    shutdown: CancellationToken,
    parts: &Parts,
    path: ResourcePath,
    body: Bytes,
) -> (Result<Reply, Error>, Vec<String>) {
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let found = server
        .registry
        .resource(&path.group, &path.version, &path.resource)
        .cloned();
    let resource = match found {
        Some(resource) => resource,
        // Groups that are not served at all are not found as paths are not found.
        None if !server.registry.serves_group(&path.group) => {
            return (Ok(Reply::text(404, "404 page not found\n")), Vec::new());
        }
        None => return (Err(Error::unknown_resource()), Vec::new()),
    };
    let verb = match verb(&parts.method, &resource, &path, &query) {
        Ok(verb) => verb,
        Err(error) => return (Err(error), Vec::new()),
    };
    let accept = header_text(&parts.headers, header::ACCEPT);
    let accept = match Accept::negotiate(&accept, true, false) {
        Ok(accept) => accept,
        Err(error) => return (Err(error), Vec::new()),
    };
    // A plain watch simply begins in the future; one that lists first has to wait for it.
    let waits = match verb {
        Verb::Get | Verb::List => true,
        Verb::Watch => query.flag("sendInitialEvents") == Some(true),
        _ => false,
    };
    if waits && let Err(error) = await_revision(&server, &query).await {
        if verb == Verb::Watch && error.code() == 504 {
            return (Ok(watch::failed(&error)), Vec::new());
        }
        return (Err(error), Vec::new());
    }
    let content_type = header_text(&parts.headers, header::CONTENT_TYPE);
    let content_type = content_type.split(';').next().unwrap_or_default().trim();
    let call = Call {
        server,
        resource,
        path,
        query,
        accept,
        content_type: if content_type.is_empty() {
            "application/json"
        } else {
            content_type
        }
        .to_ascii_lowercase(),
        user_agent: header_text(&parts.headers, header::USER_AGENT),
        body,
        is_patch: parts.method == Method::PATCH,
        now: clock::now(),
        warnings: RefCell::new(Vec::new()),
    };
    let mut warnings: Vec<String> = deprecated(call.resource.facts)
        .map(str::to_owned)
        .into_iter()
        .collect();
    if matches!(verb, Verb::Watch) {
        return (watch::watch(call, shutdown), warnings);
    }
    let result = run(&call, verb, &parts.method);
    warnings.extend(call.warnings.into_inner());
    (result, warnings)
}

/// What the real server says of kinds whose days are over, on each request (`deprecation.WarningMessage`).
fn deprecated(facts: &ResourceFacts) -> Option<&'static str> {
    match (facts.group.as_str(), facts.kind.as_str()) {
        ("", "Endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        ("", "ComponentStatus") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// What method and path ask for, if the resource does it.
fn verb(
    method: &Method,
    resource: &Resource,
    path: &ResourcePath,
    query: &Query,
) -> Result<Verb, Error> {
    let facts = resource.facts;
    // A namespaced collection has a cluster-wide view; nothing else crosses scopes.
    let misplaced = if facts.namespaced {
        path.namespace.is_empty() && !path.name.is_empty()
    } else {
        !path.namespace.is_empty()
    };
    if misplaced {
        return Err(Error::unknown_resource());
    }
    let watching = path.watch || query.flag("watch").unwrap_or(false);
    let verb = match (method.as_str(), path.name.is_empty()) {
        ("GET" | "HEAD", true) if watching => Verb::Watch,
        ("GET" | "HEAD", false) if path.watch => Verb::Watch,
        ("GET" | "HEAD", true) => Verb::List,
        ("GET" | "HEAD", false) => Verb::Get,
        ("POST", _) => Verb::Create,
        ("PUT", false) => Verb::Update,
        ("PATCH", false) => Verb::Patch,
        ("DELETE", true) => Verb::DeleteCollection,
        ("DELETE", false) => Verb::Delete,
        _ => return Err(Error::method_not_allowed()),
    };
    let verbs = if path.subresource.is_empty() {
        if verb == Verb::Create && !path.name.is_empty() {
            return Err(Error::method_not_allowed());
        }
        &facts.verbs
    } else {
        let sub = facts
            .subresource(&path.subresource)
            .ok_or_else(Error::unknown_resource)?;
        &sub.verbs
    };
    if !verbs.iter().any(|v| v == verb.name()) {
        return Err(Error::method_not_allowed());
    }
    // Across namespaces one can only look.
    if matches!(verb, Verb::Create | Verb::DeleteCollection)
        && facts.namespaced
        && path.namespace.is_empty()
    {
        return Err(Error::method_not_allowed());
    }
    Ok(verb)
}

fn run(call: &Call, verb: Verb, method: &Method) -> Result<Reply, Error> {
    let facts = call.resource.facts;
    match call.path.subresource.as_str() {
        "" => {}
        "scale" => return scale::scale(call, method),
        "binding" => return binding::bind(call),
        "eviction" => return eviction::evict(call),
        "token" => return token::create(call),
        "status" | "finalize" | "ephemeralcontainers" | "resize" | "approval" => {
            return match verb {
                Verb::Get => get::get(call),
                Verb::Update => update::update(call),
                Verb::Patch => patch::patch(call),
                _ => Err(Error::method_not_allowed()),
            };
        }
        // Logs, exec and proxies lead to kubelets that run no processes.
        _ => {
            call.live()?;
            return Err(Error::not_implemented(&call.path.subresource));
        }
    }
    match verb {
        Verb::Get => get::get(call),
        Verb::List => list::list(call),
        Verb::Create if facts.group.is_empty() && facts.name == "bindings" => binding::bind(call),
        Verb::Create => match reviews::review(call) {
            Some(answer) => answer,
            None => create::create(call),
        },
        Verb::Update => update::update(call),
        Verb::Patch => patch::patch(call),
        Verb::Delete => delete::delete(call),
        Verb::DeleteCollection => delete::delete_collection(call),
        // Needs the whole call; the caller took it.
        Verb::Watch => Err(Error::method_not_allowed()),
    }
}

/// Waits until the asked revision exists.
async fn await_revision(server: &Server, query: &Query) -> Result<(), Error> {
    // What is no revision is complained of where it is used.
    let Ok(Some(asked)) = list::revision(query) else {
        return Ok(());
    };
    let deadline = clock::instant() + FUTURE_WAIT;
    loop {
        let current = server.store.revision();
        if asked <= current {
            return Ok(());
        }
        if clock::instant() >= deadline {
            return Err(Error::too_large_resource_version(asked, current));
        }
        clock::sleep(Duration::from_millis(50)).await;
    }
}
