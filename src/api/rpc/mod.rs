//! `POST /rpc` in the dialect of the original: JSON-RPC 1.0 as `gorilla/rpc` with its `json` codec
//! speaks it, byte for byte where a caller could tell, but for the added `actionId`.
//!
//! The order of the checks is gorilla's (server.go, `ServeHTTP`): verb, content type, body, method,
//! params; each failure is a plain text with an HTTP status and never carries an id. Then the method
//! runs, and whatever it answers has status 200; without an id the answer is empty.
//!
//! A call that has begun is finished also when the caller hangs up: what was acknowledged to nobody
//! would else be half done.

mod answer;
mod args;
mod decode;
mod encode;
mod quote;
mod scan;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::Serialize;

use self::args::{Call, Envelope, Method};
use super::{ApiState, NOSNIFF, plain_text};
use crate::actions::{Facade, SubmitError};
use crate::clock;
use crate::store::ActionId;

/// The largest body taken, in bytes.
pub const BODY_LIMIT: usize = 1 << 20;
/// How much of a larger body is read, and thrown away, so that its sender gets our answer.
const DRAIN_LIMIT: usize = 16 << 20;
/// How long a caller may take to send a body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Serves one request.
pub(super) async fn serve(State(state): State<ApiState>, request: Request<Body>) -> Response {
    let begin = clock::instant();
    let (method, outcome) = match prepare(request).await {
        Ok((call, method, id)) => (method.name(), execute(&state.facade, call, id).await),
        Err(refusal) => (
            refusal.method.map_or("unknown", Method::name),
            Outcome {
                code: refusal.status.as_str().to_owned(),
                response: plain_text(refusal.status, refusal.text),
            },
        ),
    };
    let elapsed = clock::instant().duration_since(begin);
    tracing::debug!(method, code = outcome.code, ?elapsed, "rpc");
    state.metrics.observe_rpc(method, &outcome.code, elapsed);
    outcome.response
}

/// An answer, and what the metrics call it.
struct Outcome {
    code: String,
    response: Response,
}

/// A protocol error.
struct Refusal {
    status: StatusCode,
    text: Vec<u8>,
    method: Option<Method>,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            text: text.into(),
            method: None,
        }
    }

    fn bad(method: Option<Method>, text: impl Into<Vec<u8>>) -> Self {
        Self {
            method,
            ..Self::new(StatusCode::BAD_REQUEST, text)
        }
    }
}

/// A call or the method's own refusal of its arguments; the id as it arrived.
type Prepared = (Result<Call, String>, Method, Option<Vec<u8>>);

async fn prepare(request: Request<Body>) -> Result<Prepared, Refusal> {
    let (head, body) = request.into_parts();
    if head.method != axum::http::Method::POST {
        return Err(Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("rpc: POST method required, received {}", head.method),
        ));
    }
    check_content_type(&head.headers)?;
    let body = read_body(&head.headers, body).await?;
    let value = scan::first_value(&body).map_err(|error| Refusal::bad(None, error.to_string()))?;
    let mut envelope = Envelope::default();
    decode::decode(value, &mut envelope).map_err(|error| Refusal::bad(None, error.to_string()))?;
    let method = Method::find(&envelope.method).map_err(|text| Refusal::bad(None, text))?;
    let Some(params) = envelope.params.0 else {
        let text = "rpc: method request ill-formed: missing params field";
        return Err(Refusal::bad(Some(method), text));
    };
    let call = args::read(method, &params)
        .map_err(|error| Refusal::bad(Some(method), error.to_string()))?;
    Ok((call, method, envelope.id.0))
}

/// As gorilla/rpc: up to the first `;`, lower-cased, not trimmed; absent is accepted.
fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let kind = value.split(|&byte| byte == b';').next().unwrap_or(value);
    if kind.is_empty() || kind.eq_ignore_ascii_case(b"application/json") {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        [b"rpc: unrecognized Content-Type: ", kind].concat(),
    ))
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    let too_large = || {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request body is larger than {BODY_LIMIT} bytes"),
        )
    };
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    // A caller that waits for our consent has sent nothing yet: refuse before it does.
    if headers.contains_key(header::EXPECT) && declared.is_some_and(|size| size > BODY_LIMIT) {
        return Err(too_large());
    }
    match clock::timeout(BODY_PATIENCE, collect(body)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(error)) => Err(Refusal::bad(None, format!("reading the body: {error}"))),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {BODY_PATIENCE:?}"),
        )),
    }
}

/// The whole body; `None` if it is larger than [`BODY_LIMIT`]. A body somewhat larger is read to its end
/// all the same: a connection closed upon a caller that still sends is reset, and the answer is lost.
async fn collect(mut body: Body) -> Result<Option<Bytes>, axum::Error> {
    let mut kept = Vec::new();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        size += data.len();
        if size <= BODY_LIMIT {
            kept.extend_from_slice(&data);
        } else if size > DRAIN_LIMIT {
            return Ok(None);
        } else {
            kept = Vec::new();
        }
    }
    Ok((size <= BODY_LIMIT).then(|| Bytes::from(kept)))
}

/// Carries out a call on a task of its own, and writes the answer.
async fn execute(
    facade: &Arc<dyn Facade>,
    call: Result<Call, String>,
    id: Option<Vec<u8>>,
) -> Outcome {
    let answer = match call {
        Ok(call) => {
            let facade = Arc::clone(facade);
            match tokio::spawn(async move { perform(facade.as_ref(), call).await }).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::error!(%error, "a call did not come to its end");
                    return Outcome {
                        code: StatusCode::INTERNAL_SERVER_ERROR.as_str().to_owned(),
                        response: plain_text(
                            StatusCode::INTERNAL_SERVER_ERROR,
                            "internal error: the call did not come to its end",
                        ),
                    };
                }
            }
        }
        Err(error) => Err(error),
    };
    let code = if answer.is_ok() { "ok" } else { "error" }.to_owned();
    let response = match id {
        None => (NOSNIFF, Body::empty()).into_response(),
        Some(id) => {
            let body = match answer {
                Ok(result) => encode::success(&result, &id),
                Err(error) => encode::failure(&error, &id),
            };
            let json = (header::CONTENT_TYPE, "application/json; charset=utf-8");
            ([json], NOSNIFF, Body::from(body)).into_response()
        }
    };
    Outcome { code, response }
}

/// Carries out a call; the answer is the result's JSON or the error's text.
async fn perform(facade: &dyn Facade, call: Call) -> Result<Vec<u8>, String> {
    match call {
        Call::Submit(request) => {
            let accepted = facade.submit(request).await.map_err(text)?;
            json(&answer::Submission::from(accepted))
        }
        Call::Get(id) => {
            let not_found = || format!("action {} not found", shown(&id));
            let parsed: ActionId = id.parse().map_err(|_| not_found())?;
            let record = facade.get(parsed).await.map_err(text)?;
            json(&answer::Action::from(record.ok_or_else(not_found)?))
        }
        Call::List { limit, from } => {
            let page = facade.list(limit, from.as_deref()).await.map_err(text)?;
            json(&answer::Page::from(page))
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: SubmitError) -> String {
    error.to_string()
}

fn json(result: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(result).map_err(|error| format!("the result cannot be written: {error}"))
}

/// A caller's text, short enough to repeat.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
