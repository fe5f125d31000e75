//! What a real API server answers in bad weather: code, headers, body.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::asked::Asked;
use crate::sandbox::apiserver::error::{Error, GroupResource};

fn answer(code: u16, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

fn status(code: u16, reason: &str, message: &str, details: Option<Value>) -> Response<Body> {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "code": code,
    });
    if !reason.is_empty() {
        status["reason"] = json!(reason);
    }
    if let Some(details) = details {
        status["details"] = details;
    }
    answer(code, "application/json", status.to_string())
}

fn retry_after(mut response: Response<Body>, seconds: u64) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Optimistic locking that failed (`NewConflict` of apimachinery, with the text of `genericregistry`).
pub(super) fn conflict(asked: &Asked) -> Response<Body> {
    let (group, resource, name) = asked.resource.as_ref().map_or(("", "", ""), |path| {
        (
            path.group.as_str(),
            path.resource.as_str(),
            path.name.as_str(),
        )
    });
    let error = Error::modified(GroupResource { group, resource }, name);
    answer(409, "application/json", error.status().to_string())
}

/// Shed load: bare text of priority and fairness (`pkg/server/filters/priority-and-fairness.go`), or the
/// Status of a watch cache that is not ready (`pkg/storage/cacher/cacher.go`).
pub(super) fn overload(seconds: u64, as_status: bool) -> Response<Body> {
    let response = if as_status {
        let details = json!({"retryAfterSeconds": seconds});
        status(
            429,
            "TooManyRequests",
            "storage is (re)initializing",
            Some(details),
        )
    } else {
        let text = "Too many requests, please try again later.\n".to_owned();
        let mut response = answer(429, "text/plain; charset=utf-8", text);
        let nosniff = HeaderValue::from_static("nosniff");
        response
            .headers_mut()
            .insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        response
    };
    retry_after(response, seconds)
}

/// etcd has no leader (an error that is no Status: `ErrorToAPIStatus`), the server shuts down
/// (`pkg/server/filters/waitgroup.go`), the request took too long (`…/timeout.go`).
pub(super) fn trouble(code: u16, done: bool, seconds: u64) -> Response<Body> {
    match code {
        503 => {
            let message = "apiserver is shutting down";
            retry_after(status(503, "ServiceUnavailable", message, None), seconds)
        }
        504 => {
            let message = "Timeout: request did not complete within the allotted timeout";
            status(504, "Timeout", message, Some(json!({})))
        }
        _ if done => status(500, "", "etcdserver: request timed out", None),
        _ => status(500, "", "etcdserver: leader changed", None),
    }
}

/// A version that the log does not reach any more (`NewResourceExpired`).
pub(super) fn expired() -> Response<Body> {
    let message = "The resourceVersion for the provided list is too old.";
    status(410, "Expired", message, None)
}

/// The same as the last event of a watch (`pkg/storage/cacher/watch_cache.go`).
pub(super) fn expired_event(asked: &Asked, current: u64) -> String {
    let version = match asked.query.get("resourceVersion") {
        "" => "0",
        version => version,
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("too old resource version: {version} ({current})"),
        "reason": "Expired", "code": 410,
    });
    format!("{}\n", json!({"type": "ERROR", "object": status}))
}
