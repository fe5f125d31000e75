//! Metrics with labels: a fixed list of label names, and one metric for each list of values.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Labels = Vec<(&'static str, String)>;

/// Makes histograms with exponential buckets.
#[derive(Debug, Clone)]
pub(super) struct Buckets {
    start: f64,
    factor: f64,
    count: u16,
}

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(self.start, self.factor, self.count))
    }
}

fn labels<const N: usize>(names: [&'static str; N], values: [&str; N]) -> Labels {
    let pairs = names.into_iter().zip(values);
    pairs
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

/// Counters.
#[derive(Debug, Clone)]
pub(super) struct Counters<const N: usize> {
    names: [&'static str; N],
    family: Family<Labels, Counter>,
}

impl<const N: usize> Counters<N> {
    pub(super) fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            family: Family::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.family.clone());
    }

    /// One of them, to be counted without a look at its labels.
    pub(super) fn one(&self, values: [&str; N]) -> Counter {
        self.family.get_or_create_owned(&labels(self.names, values))
    }

    pub(super) fn inc(&self, values: [&str; N], by: u64) {
        self.family
            .get_or_create(&labels(self.names, values))
            .inc_by(by);
    }
}

/// Gauges.
#[derive(Debug, Clone)]
pub(super) struct Gauges<const N: usize> {
    names: [&'static str; N],
    family: Family<Labels, Gauge>,
}

impl<const N: usize> Gauges<N> {
    pub(super) fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            family: Family::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.family.clone());
    }

    pub(super) fn set(&self, values: [&str; N], value: i64) {
        self.family
            .get_or_create(&labels(self.names, values))
            .set(value);
    }

    pub(super) fn add(&self, values: [&str; N], by: i64) {
        self.family
            .get_or_create(&labels(self.names, values))
            .inc_by(by);
    }

    pub(super) fn clear(&self) {
        self.family.clear();
    }
}

/// Histograms.
#[derive(Debug, Clone)]
pub(super) struct Histograms<const N: usize> {
    names: [&'static str; N],
    family: Family<Labels, Histogram, Buckets>,
}

impl<const N: usize> Histograms<N> {
    pub(super) fn new(names: [&'static str; N], start: f64, factor: f64, count: u16) -> Self {
        let buckets = Buckets {
            start,
            factor,
            count,
        };
        Self {
            names,
            family: Family::new_with_constructor(buckets),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.family.clone());
    }

    pub(super) fn observe(&self, values: [&str; N], value: f64) {
        self.family
            .get_or_create(&labels(self.names, values))
            .observe(value);
    }
}

/// What kube-scheduler registers for things that do not happen here.
pub(super) fn register_empty(registry: &mut Registry) {
    for (name, help) in [
        (
            "scheduler_batch_attempts",
            "Counts of results when we attempt to use batching",
        ),
        (
            "scheduler_batch_cache_flushed",
            "Counts of cache flushes by reason",
        ),
        (
            "scheduler_resourceclaim_creates",
            "Number of ResourceClaims creation requests within scheduler",
        ),
        (
            "scheduler_dra_bindingconditions_allocations",
            "Number of allocations using devices with BindingConditions",
        ),
    ] {
        Counters::new([]).register(registry, name, help);
    }
    for (name, help, start, count) in [
        (
            "scheduler_get_node_hint_duration_seconds",
            "Latency for getting a node hint",
            0.00001,
            12,
        ),
        (
            "scheduler_store_schedule_results_duration_seconds",
            "Latency for storing the results of a cycle",
            0.00001,
            12,
        ),
        (
            "scheduler_dra_bindingconditions_wait_duration_seconds",
            "Time in seconds spent waiting for BindingConditions to be satisfied during PreBind",
            0.1,
            14,
        ),
    ] {
        Histograms::new([], start, 2.0, count).register(registry, name, help);
    }
}
