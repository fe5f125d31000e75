//! What callers touch: JSON-RPC, the event stream, health, metrics.
//!
//! This module decodes, validates what needs no cluster, and encodes; it keeps nothing. Actions belong
//! to [`crate::actions`], events to [`crate::store`].
//!
//! | path | what |
//! |---|---|
//! | `POST /rpc` | actions: JSON-RPC 1.0 as the original speaks it ([`rpc`]) |
//! | `GET /events` | how actions go, as server-sent events ([`events`]) |
//! | `GET /livez`, `/readyz`, `/healthz` | health ([`health`]) |
//! | `GET /metrics` | OpenMetrics ([`metrics`]) |
//! | `GET /metrics/resources`, `/configz` | what kube-scheduler shows of itself ([`SchedulerPages`]) |
//! | `GET /` | this list |

pub mod events;
pub mod health;
pub mod metrics;
pub mod rpc;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

pub use health::Check;
pub use metrics::ApiMetrics;

use crate::actions::Facade;
use crate::store::Store;

/// Set wherever the original sets it: a browser shall not guess the content's type.
const NOSNIFF: [(HeaderName, &str); 1] = [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    /// Takes the actions.
    pub facade: Arc<dyn Facade>,
    /// Read for `/events` alone.
    pub store: Arc<dyn Store>,
    /// What `/readyz` asks, in this order.
    pub readiness: Arc<[Check]>,
    /// What `/metrics` shows. Register [`ApiMetrics`] and all other metrics before it is shared.
    pub registry: Arc<Registry>,
    /// The scheduler's own pages, if it runs here.
    pub scheduler: Option<Arc<dyn SchedulerPages>>,
    /// Counted by the handlers.
    pub metrics: ApiMetrics,
    /// Ends the event streams, so that a graceful shutdown need not wait for their readers.
    pub shutdown: CancellationToken,
}

/// What `/livez`, `/readyz` and `/metrics` work with, in the API and without it.
#[derive(Clone)]
pub struct HealthState {
    /// What `/readyz` asks, in this order.
    pub readiness: Arc<[Check]>,
    /// What `/metrics` shows.
    pub registry: Arc<Registry>,
    /// The scheduler's own pages, if it runs here.
    pub scheduler: Option<Arc<dyn SchedulerPages>>,
}

/// What kube-scheduler shows of itself besides metrics.
pub trait SchedulerPages: Send + Sync {
    /// `/configz`: its configuration, with everything that was left out.
    fn configz(&self) -> serde_json::Value;

    /// `/metrics/resources`: what pods ask for. Empty where the scheduler does not lead: one tells it.
    fn resources(&self) -> String;
}

impl FromRef<ApiState> for HealthState {
    fn from_ref(state: &ApiState) -> Self {
        Self {
            readiness: Arc::clone(&state.readiness),
            registry: Arc::clone(&state.registry),
            scheduler: state.scheduler.clone(),
        }
    }
}

/// Health and metrics alone: for probes, and for a process that serves no API.
pub fn health_router(state: HealthState) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(expose_metrics))
        .route("/metrics/resources", get(expose_resources))
        .route("/configz", get(configz))
        .fallback(not_found)
        .with_state(state)
}

/// All paths.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/rpc", any(rpc::serve))
        .route("/events", get(events::serve))
        .route("/livez", get(health::live))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(expose_metrics))
        .route("/metrics/resources", get(expose_resources))
        .route("/configz", get(configz))
        .route("/", get(index))
        .fallback(not_found)
        .with_state(state)
}

async fn expose_metrics(State(state): State<HealthState>) -> Response {
    match metrics::expose(&state.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => plain_text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Prometheus' text format, as kube-scheduler has it there.
async fn expose_resources(State(state): State<HealthState>) -> Response {
    let Some(scheduler) = state.scheduler else {
        return not_found().await;
    };
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], scheduler.resources()).into_response()
}

/// Under the name that kube-scheduler gives it.
async fn configz(State(state): State<HealthState>) -> Response {
    match state.scheduler {
        Some(scheduler) => {
            axum::Json(serde_json::json!({"componentconfig": scheduler.configz()})).into_response()
        }
        None => not_found().await,
    }
}

async fn index() -> Response {
    let text = concat!(
        "wam ",
        env!("CARGO_PKG_VERSION"),
        "\n\n\
         POST /rpc      JSON-RPC: action.Create, action.Delete, action.Move, action.Swap, action.Get, action.List\n\
         GET  /events   how actions go, as server-sent events (?actionId=ID, Last-Event-ID)\n\
         GET  /livez    whether this process answers\n\
         GET  /readyz   whether it can do its work (?verbose)\n\
         GET  /metrics  OpenMetrics\n\
         GET  /metrics/resources  what pods ask for, from the scheduler that leads\n\
         GET  /configz  the scheduler's configuration\n"
    );
    plain_text(StatusCode::OK, text)
}

/// As Go's `http.NotFound`, which callers of the original see.
async fn not_found() -> Response {
    let text = plain_text(StatusCode::NOT_FOUND, "404 page not found\n");
    (NOSNIFF, text).into_response()
}

/// A plain text, with the content type that Go's `net/http` gives it.
fn plain_text(status: StatusCode, text: impl Into<Body>) -> Response {
    let kind = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
    (status, [kind], text.into()).into_response()
}
