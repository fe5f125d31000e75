//! kube-scheduler's metrics, by its names, types, labels and buckets (`pkg/scheduler/metrics/metrics.go`,
//! v1.36 with default feature gates), and two of ours.
//!
//! Counters are exported with the suffix `_total`. Metrics of what is not done here (batching, claims of
//! devices) are there and stay empty, as they do in a kube-scheduler that has nothing of it to do.

mod family;
pub mod resources;
#[cfg(test)]
mod tests;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::framework::plugin::Hint;
use super::framework::{Code, Events, Point};
use super::queue::{HintTime, Pending};
use family::{Counters, Gauges, Histograms};

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

/// What the cache holds, as the metric `scheduler_cache_size` shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheSize {
    /// Nodes.
    pub nodes: usize,
    /// Pods on nodes.
    pub pods: usize,
    /// Pods that are assumed on a node and not yet seen there.
    pub assumed: usize,
}

/// How often one plugin is asked at one point.
#[derive(Debug, Clone)]
pub struct Evaluations(Counter);

impl Evaluations {
    /// So often more.
    pub fn add(&self, times: usize) {
        self.0.inc_by(u64::try_from(times).unwrap_or(u64::MAX));
    }
}

/// The scheduler's metrics. Clones share the values.
#[derive(Debug, Clone)]
pub struct Metrics {
    attempts: Counters<2>,
    attempt_duration: Histograms<2>,
    algorithm_duration: Histogram,
    event_duration: Histograms<1>,
    preemption_victims: Histogram,
    preemption_attempts: Counter,
    pending: Gauges<1>,
    inflight_events: Gauges<1>,
    goroutines: Gauges<1>,
    sli: Histograms<1>,
    pod_attempts: Histogram,
    after_flush: Counter,
    point_duration: Histograms<3>,
    plugin_duration: Histograms<3>,
    hint_duration: Histograms<3>,
    incoming: Counters<2>,
    permit_wait: Histograms<1>,
    cache_size: Gauges<1>,
    unschedulable: Gauges<2>,
    evaluations: Counters<3>,
    preemption_duration: Histograms<1>,
    preemption_executions: Counters<1>,
    held: Gauge,
    malformed: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let ours = Self::new();
        ours.register_stable(registry);
        ours.register_others(registry);
        family::register_empty(registry);
        registry.register(
            "wam_held_pods",
            "Pods left unbound for an action, or not decidable yet",
            ours.held.clone(),
        );
        registry.register(
            "wam_malformed_objects",
            "Pods and nodes that could not be understood and were left out, since the start",
            ours.malformed.clone(),
        );
        ours
    }

    fn new() -> Self {
        Self {
            attempts: Counters::new(["result", "profile"]),
            attempt_duration: Histograms::new(["result", "profile"], 0.001, 2.0, 15),
            algorithm_duration: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            event_duration: Histograms::new(["event"], 0.0001, 2.0, 12),
            preemption_victims: Histogram::new(exponential_buckets(1.0, 2.0, 7)),
            preemption_attempts: Counter::default(),
            pending: Gauges::new(["queue"]),
            inflight_events: Gauges::new(["event"]),
            goroutines: Gauges::new(["operation"]),
            sli: Histograms::new(["attempts"], 0.01, 2.0, 20),
            pod_attempts: Histogram::new(exponential_buckets(1.0, 2.0, 5)),
            after_flush: Counter::default(),
            point_duration: Histograms::new(
                ["extension_point", "status", "profile"],
                0.0001,
                2.0,
                12,
            ),
            plugin_duration: Histograms::new(
                ["plugin", "extension_point", "status"],
                0.00001,
                1.5,
                20,
            ),
            hint_duration: Histograms::new(["plugin", "event", "hint"], 0.00001, 1.5, 20),
            incoming: Counters::new(["queue", "event"]),
            permit_wait: Histograms::new(["result"], 0.001, 2.0, 15),
            cache_size: Gauges::new(["type"]),
            unschedulable: Gauges::new(["plugin", "profile"]),
            evaluations: Counters::new(["plugin", "extension_point", "profile"]),
            preemption_duration: Histograms::new(["result"], 0.01, 2.0, 20),
            preemption_executions: Counters::new(["result"]),
            held: Gauge::default(),
            malformed: Gauge::default(),
        }
    }

    fn register_stable(&self, registry: &mut Registry) {
        self.attempts.register(
            registry,
            "scheduler_schedule_attempts",
            "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be \
             scheduled, while 'error' means an internal scheduler problem",
        );
        self.attempt_duration.register(
            registry,
            "scheduler_scheduling_attempt_duration_seconds",
            "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
        );
        registry.register(
            "scheduler_preemption_victims",
            "Number of selected preemption victims",
            self.preemption_victims.clone(),
        );
        registry.register(
            "scheduler_preemption_attempts",
            "Total preemption attempts in the cluster till now",
            self.preemption_attempts.clone(),
        );
        self.pending.register(
            registry,
            "scheduler_pending_pods",
            "Number of pending pods, by the queue type: active, backoff, unschedulable (tried in vain), gated \
             (never tried because a plugin keeps them out)",
        );
        registry.register(
            "scheduler_pod_scheduling_attempts",
            "Number of attempts to successfully schedule a pod",
            self.pod_attempts.clone(),
        );
        self.point_duration.register(
            registry,
            "scheduler_framework_extension_point_duration_seconds",
            "Latency for running all plugins of a specific extension point",
        );
        self.incoming.register(
            registry,
            "scheduler_queue_incoming_pods",
            "Number of pods added to scheduling queues by event and queue type",
        );
    }

    fn register_others(&self, registry: &mut Registry) {
        self.sli.register(
            registry,
            "scheduler_pod_scheduling_sli_duration_seconds",
            "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and \
             might involve multiple scheduling attempts",
        );
        self.goroutines.register(
            registry,
            "scheduler_goroutines",
            "Number of running tasks split by the work they do such as binding",
        );
        self.unschedulable.register(
            registry,
            "scheduler_unschedulable_pods",
            "The number of unschedulable pods broken down by plugin name: a pod counts for every plugin that \
             rejected it",
        );
        self.evaluations.register(
            registry,
            "scheduler_plugin_evaluation",
            "Number of attempts to schedule pods by each plugin and the extension point (PreFilter, Filter, \
             PreScore, Score)",
        );
        self.permit_wait.register(
            registry,
            "scheduler_permit_wait_duration_seconds",
            "Duration of waiting on permit",
        );
        registry.register(
            "scheduler_scheduling_algorithm_duration_seconds",
            "Scheduling algorithm latency in seconds",
            self.algorithm_duration.clone(),
        );
        self.plugin_duration.register(
            registry,
            "scheduler_plugin_execution_duration_seconds",
            "Duration for running a plugin at a specific extension point; sampled",
        );
        self.event_duration.register(
            registry,
            "scheduler_event_handling_duration_seconds",
            "Event handling latency in seconds",
        );
        self.cache_size.register(
            registry,
            "scheduler_cache_size",
            "Number of nodes, pods, and assumed (bound) pods in the scheduler cache",
        );
        self.inflight_events.register(
            registry,
            "scheduler_inflight_events",
            "Number of events currently tracked in the scheduling queue",
        );
        self.hint_duration.register(
            registry,
            "scheduler_queueing_hint_execution_duration_seconds",
            "Duration for running a queueing hint function of a plugin",
        );
        registry.register(
            "scheduler_pod_scheduled_after_flush",
            "Number of pods that were successfully scheduled after being flushed from unschedulablePods due to \
             timeout: a hint may have been wrong",
            self.after_flush.clone(),
        );
        self.preemption_duration.register(
            registry,
            "scheduler_preemption_goroutines_duration_seconds",
            "Duration in seconds for running the calls of a preemption",
        );
        self.preemption_executions.register(
            registry,
            "scheduler_preemption_goroutines_execution",
            "Number of preemptions carried out",
        );
    }

    /// How many objects could not be understood so far.
    pub fn malformed(&self, count: u64) {
        self.malformed.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// An attempt has ended after so many seconds, binding included.
    pub fn attempted(&self, profile: &str, attempt: Attempt, seconds: f64) {
        let labels = [attempt.label(), profile];
        self.attempts.inc(labels, 1);
        self.attempt_duration.observe(labels, seconds);
    }

    /// A cycle has found a node, in so many seconds.
    pub fn algorithm(&self, seconds: f64) {
        self.algorithm_duration.observe(seconds);
    }

    /// A pod is bound, after so many attempts, so many seconds after it could first have been tried; whether
    /// it had been tried again only because it had waited for too long.
    pub fn bound(&self, attempts: u32, seconds: f64, flushed: bool) {
        self.pod_attempts.observe(f64::from(attempts));
        let capped = if attempts >= 15 {
            "15+".to_owned()
        } else {
            attempts.to_string()
        };
        self.sli.observe([&capped], seconds);
        if flushed {
            self.after_flush.inc();
        }
    }

    /// How many wait where, now.
    pub fn pending(&self, pending: Pending) {
        for (queue, count) in [
            ("active", pending.active),
            ("backoff", pending.backoff),
            ("unschedulable", pending.unschedulable),
            ("gated", pending.gated),
        ] {
            self.pending.set([queue], gauge(count));
        }
        self.held.set(gauge(pending.held));
    }

    /// How many pods each plugin keeps waiting, now.
    pub fn unschedulable<'a>(&self, blamed: impl Iterator<Item = (&'static str, &'a str, i64)>) {
        for (plugin, profile, count) in blamed {
            self.unschedulable.set([plugin, profile], count);
        }
    }

    /// The events kept for pods in flight, now.
    pub fn in_flight(&self, events: impl Iterator<Item = Events>) {
        self.inflight_events.clear();
        for event in events {
            self.inflight_events.add([event.label()], 1);
        }
    }

    /// How many bindings are under way, now.
    pub fn bindings(&self, count: usize) {
        self.goroutines.set(["binding"], gauge(count));
    }

    /// What the cache holds, now.
    pub fn cache(&self, size: CacheSize) {
        for (kind, count) in [
            ("nodes", size.nodes),
            ("pods", size.pods),
            ("assumed_pods", size.assumed),
        ] {
            self.cache_size.set([kind], gauge(count));
        }
    }

    /// Pods came into queues.
    pub fn incoming(&self, moves: &[(&'static str, &'static str)]) {
        for (queue, event) in moves {
            self.incoming.inc([queue, event], 1);
        }
    }

    /// Queueing hints were asked.
    pub fn hints(&self, times: &[HintTime]) {
        for time in times {
            let hint = match time.hint {
                Hint::Queue => "Queue",
                Hint::Skip => "QueueSkip",
            };
            let labels = [time.plugin, time.event, hint];
            self.hint_duration.observe(labels, time.seconds);
        }
    }

    /// An event was taken in, in so many seconds.
    pub fn event_handled(&self, event: Events, seconds: f64) {
        self.event_duration.observe([event.label()], seconds);
    }

    /// All plugins of a point have run, in so many seconds. `status`: `None` is success.
    pub fn point(&self, point: Point, status: Option<Code>, profile: &str, seconds: f64) {
        let labels = [point.label(), status_label(status), profile];
        self.point_duration.observe(labels, seconds);
    }

    /// A plugin has run, in so many seconds.
    pub fn plugin(&self, plugin: &str, point: Point, status: Option<Code>, seconds: f64) {
        let labels = [plugin, point.label(), status_label(status)];
        self.plugin_duration.observe(labels, seconds);
    }

    /// Counts how often a plugin is asked.
    #[must_use]
    pub fn evaluations(&self, plugin: &str, point: Point, profile: &str) -> Evaluations {
        let labels = [plugin, point.label(), profile];
        Evaluations(self.evaluations.one(labels))
    }

    /// A pod for which nothing fitted was given to PostFilter, which chose so many victims, if any.
    pub fn preempted(&self, victims: Option<usize>) {
        self.preemption_attempts.inc();
        if let Some(victims) = victims {
            // Exact below 2^53.
            #[allow(clippy::cast_precision_loss)]
            self.preemption_victims.observe(victims as f64);
        }
    }

    /// The calls of a preemption have ended, after so many seconds.
    pub fn preemption_done(&self, done: bool, seconds: f64) {
        let result = if done { "success" } else { "error" };
        self.preemption_executions.inc([result], 1);
        self.preemption_duration.observe([result], seconds);
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn status_label(status: Option<Code>) -> &'static str {
    match status {
        None => "Success",
        Some(Code::Error) => "Error",
        Some(Code::Unschedulable) => "Unschedulable",
        Some(Code::UnschedulableAndUnresolvable) => "UnschedulableAndUnresolvable",
        Some(Code::Wait) => "Wait",
        Some(Code::Skip) => "Skip",
        Some(Code::Pending) => "Pending",
    }
}
