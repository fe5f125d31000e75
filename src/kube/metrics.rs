//! What this module counts. The families are shared handles: cloning [`Metrics`] is cheap.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// `get`, `list`, `create`, `update`, `patch`, `bind`, `evict`.
    pub verb: &'static str,
    /// The HTTP status, `timeout`, or `error` where there was no answer.
    pub code: String,
}

/// The verb of a call that was repeated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VerbLabel {
    /// As in [`RequestLabels::verb`].
    pub verb: &'static str,
}

/// The kind of a watch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// For example `Pod`.
    pub kind: String,
}

/// The counters.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// `wam_kubernetes_requests_total{verb,code}`: each try counts.
    pub requests: Family<RequestLabels, Counter>,
    /// `wam_kubernetes_retries_total{verb}`: tries beyond the first.
    pub retries: Family<VerbLabel, Counter>,
    /// `wam_kubernetes_events_dropped_total`: events that nobody will see.
    pub events_dropped: Counter,
    /// `wam_kubernetes_watch_failures_total{kind}`: lists and watches that failed and were begun anew.
    pub watch_failures: Family<KindLabel, Counter>,
    /// `wam_kubernetes_malformed_objects_total{kind}`: objects of a watch that were skipped.
    pub malformed: Family<KindLabel, Counter>,
}

impl Metrics {
    /// Makes the counters known to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        // The encoder appends `_total` to counters.
        registry.register(
            "wam_kubernetes_requests",
            "Requests to the API server by verb and HTTP status",
            metrics.requests.clone(),
        );
        registry.register(
            "wam_kubernetes_retries",
            "Requests to the API server that were repeated",
            metrics.retries.clone(),
        );
        registry.register(
            "wam_kubernetes_events_dropped",
            "Events dropped because the queue was full or the API server refused them",
            metrics.events_dropped.clone(),
        );
        registry.register(
            "wam_kubernetes_watch_failures",
            "Lists and watches that failed and were begun anew",
            metrics.watch_failures.clone(),
        );
        registry.register(
            "wam_kubernetes_malformed_objects",
            "Objects skipped because they could not be understood",
            metrics.malformed.clone(),
        );
        metrics
    }

    pub(crate) fn request(&self, verb: &'static str, code: String) {
        self.requests
            .get_or_create(&RequestLabels { verb, code })
            .inc();
    }

    pub(crate) fn retry(&self, verb: &'static str) {
        self.retries.get_or_create(&VerbLabel { verb }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_documented() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.request("bind", "201".into());
        metrics.events_dropped.inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("wam_kubernetes_requests_total{verb=\"bind\",code=\"201\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("wam_kubernetes_events_dropped_total 1"),
            "{text}"
        );
    }
}
