//! Changing the weather while it lasts: `/sandbox/faults` of the sandbox's API server, which no real one has.
//!
//! `GET` answers the rules with their counts. `PUT` with lines, YAML or JSON (what `GET` answers, too)
//! replaces them, `POST` adds to them, `DELETE` ends them; each answers what holds then.

use axum::body::{Body, HttpBody};
use bytes::Buf;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};

use super::parse::rules;
use super::plan::Faults;

/// The path.
pub const PATH: &str = "/sandbox/faults";

const LIMIT: usize = 1024 * 1024;

pub(super) async fn answer<B>(faults: &Faults, method: &Method, body: B) -> Response<Body>
where
    B: HttpBody + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match *method {
        Method::GET | Method::HEAD => {}
        Method::DELETE => faults.clear(),
        Method::PUT | Method::POST => {
            let text = match Limited::new(body, LIMIT).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) => return failure(400, "BadRequest", &error.to_string()),
            };
            let read = std::str::from_utf8(&text)
                .map_err(|error| error.to_string())
                .and_then(|text| rules(text).map_err(|error| error.to_string()));
            match read {
                Ok(rules) if *method == Method::PUT => faults.set(rules),
                Ok(rules) => rules.into_iter().for_each(|rule| faults.add(rule)),
                Err(problem) => return failure(400, "BadRequest", &problem),
            }
        }
        _ => {
            let message = "faults are read with GET and changed with PUT, POST and DELETE";
            return failure(405, "MethodNotAllowed", message);
        }
    }
    let rules: Vec<Value> = faults
        .report()
        .iter()
        .map(|counted| {
            json!({
                "fault": counted.rule.to_string(),
                "matched": counted.matched, "injected": counted.injected,
            })
        })
        .collect();
    let body = json!({"seed": faults.seed(), "injected": faults.injected(), "faults": rules});
    say(200, &body)
}

fn failure(code: u16, reason: &str, message: &str) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    say(code, &status)
}

fn say(code: u16, body: &Value) -> Response<Body> {
    // For people with curl: many lines.
    let mut response = Response::new(Body::from(format!("{body:#}\n")));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
