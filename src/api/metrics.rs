//! The metrics of the API, and `/metrics`.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// OpenMetrics, as Prometheus asks for it.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds; a submission is some reads of the cluster and one write of the store.
const BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The text of a registry.
///
/// # Errors
/// A collector could not write itself.
pub(super) fn expose(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    text::encode(&mut out, registry)?;
    Ok(out)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    method: &'static str,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

/// The metrics of the API. Clones count together.
#[derive(Debug, Clone)]
pub struct ApiMetrics {
    requests: Family<RpcLabels, Counter>,
    duration: Family<MethodLabel, Histogram, fn() -> Histogram>,
    event_clients: Gauge,
}

impl ApiMetrics {
    /// Registers them: `wam_rpc_requests_total{method,code}` (`code`: `ok`, `error` for a method's own
    /// error, else the HTTP status), `wam_rpc_request_duration_seconds{method}`, `wam_event_clients`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            event_clients: Gauge::default(),
        };
        registry.register(
            "wam_rpc_requests",
            "Requests to /rpc by method and answer",
            metrics.requests.clone(),
        );
        registry.register(
            "wam_rpc_request_duration_seconds",
            "Time from a request's head to its answer, in seconds",
            metrics.duration.clone(),
        );
        registry.register(
            "wam_event_clients",
            "Open streams of /events",
            metrics.event_clients.clone(),
        );
        metrics
    }

    pub(super) fn observe_rpc(&self, method: &'static str, code: &str, elapsed: Duration) {
        let code = code.to_owned();
        self.requests
            .get_or_create(&RpcLabels { method, code })
            .inc();
        self.duration
            .get_or_create(&MethodLabel { method })
            .observe(elapsed.as_secs_f64());
    }

    /// Counts an event stream for as long as the guard lives.
    pub(super) fn event_client(&self) -> EventClient {
        self.event_clients.inc();
        EventClient(self.event_clients.clone())
    }
}

/// An open event stream.
#[derive(Debug)]
pub(super) struct EventClient(Gauge);

impl Drop for EventClient {
    fn drop(&mut self) {
        self.0.dec();
    }
}
