//! kube-scheduler's metrics, as far as they make sense here (`pkg/scheduler/metrics/metrics.go`).
//! Counters are exported with the suffix `_total`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::queue::Pending;

type Labels = Vec<(&'static str, String)>;

/// Makes histograms with exponential buckets.
#[derive(Debug, Clone)]
struct Buckets {
    start: f64,
    count: u16,
}

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(self.start, 2.0, self.count))
    }
}

/// How an attempt to schedule a pod ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// On a node.
    Scheduled,
    /// No node fits.
    Unschedulable,
    /// Something went wrong.
    Error,
}

impl Attempt {
    fn label(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Unschedulable => "unschedulable",
            Self::Error => "error",
        }
    }
}

/// The scheduler's metrics. Clones share the values.
#[derive(Debug, Clone)]
pub struct Metrics {
    attempts: Family<Labels, Counter>,
    duration: Family<Labels, Histogram, Buckets>,
    pending: Family<Labels, Gauge>,
    pod_attempts: Histogram,
    sli: Family<Labels, Histogram, Buckets>,
    incoming: Family<Labels, Counter>,
    malformed: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            attempts: Family::default(),
            duration: Family::new_with_constructor(Buckets {
                start: 0.001,
                count: 15,
            }),
            pending: Family::default(),
            pod_attempts: Histogram::new(exponential_buckets(1.0, 2.0, 5)),
            sli: Family::new_with_constructor(Buckets {
                start: 0.01,
                count: 20,
            }),
            incoming: Family::default(),
            malformed: Gauge::default(),
        };
        registry.register(
            "scheduler_schedule_attempts",
            "Attempts to schedule pods, by result",
            metrics.attempts.clone(),
        );
        registry.register(
            "scheduler_scheduling_attempt_duration_seconds",
            "How long an attempt took, binding included",
            metrics.duration.clone(),
        );
        registry.register(
            "scheduler_pending_pods",
            "Pending pods, by queue; held are those withheld by an action or not decidable yet",
            metrics.pending.clone(),
        );
        registry.register(
            "scheduler_pod_scheduling_attempts",
            "Attempts it took to schedule a pod",
            metrics.pod_attempts.clone(),
        );
        registry.register(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "From a pod's first attempt to its binding",
            metrics.sli.clone(),
        );
        registry.register(
            "scheduler_queue_incoming_pods",
            "Pods that came into a queue, by what brought them",
            metrics.incoming.clone(),
        );
        registry.register(
            "wam_malformed_objects",
            "Pods and nodes that could not be understood and were left out, since the start",
            metrics.malformed.clone(),
        );
        metrics
    }

    /// How many objects could not be understood so far.
    pub fn malformed(&self, count: u64) {
        self.malformed.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// An attempt has ended after so many seconds.
    pub fn attempted(&self, profile: &str, attempt: Attempt, seconds: f64) {
        let labels = vec![
            ("result", attempt.label().to_owned()),
            ("profile", profile.to_owned()),
        ];
        self.attempts.get_or_create(&labels).inc();
        self.duration.get_or_create(&labels).observe(seconds);
    }

    /// A pod is bound, after so many attempts and seconds.
    pub fn bound(&self, attempts: u32, seconds: f64) {
        self.pod_attempts.observe(f64::from(attempts));
        let capped = if attempts >= 15 {
            "15+".to_owned()
        } else {
            attempts.to_string()
        };
        self.sli
            .get_or_create(&vec![("attempts", capped)])
            .observe(seconds);
    }

    /// How many wait where, now.
    pub fn pending(&self, pending: Pending) {
        for (queue, count) in [
            ("active", pending.active),
            ("backoff", pending.backoff),
            ("unschedulable", pending.unschedulable),
            ("gated", pending.gated),
            ("held", pending.held),
        ] {
            let gauge = self
                .pending
                .get_or_create(&vec![("queue", queue.to_owned())])
                .clone();
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Pods came into queues.
    pub fn incoming(&self, moves: &[(&'static str, &'static str)]) {
        for (queue, event) in moves {
            let labels = vec![
                ("queue", (*queue).to_owned()),
                ("event", (*event).to_owned()),
            ];
            self.incoming.get_or_create(&labels).inc();
        }
    }
}
