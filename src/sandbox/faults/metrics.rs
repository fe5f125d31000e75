//! How many faults there were, for `/metrics`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::rule::Fault;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    fault: &'static str,
}

/// Counts by fault.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    injected: Family<Label, Counter>,
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "wam_sandbox_faults_injected",
            "Faults that the sandbox's API server injected on demand",
            self.injected.clone(),
        );
    }

    pub(super) fn count(&self, fault: &Fault) {
        let label = Label {
            fault: fault.name(),
        };
        self.injected.get_or_create(&label).inc();
    }
}
