//! What the executor counts. Clones count together.

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::line::op_of;
use crate::store::ActionRecord;

/// Makes histograms with buckets that double.
#[derive(Debug, Clone)]
struct Doubling {
    /// The first bound, in seconds.
    first: f64,
    count: u16,
}

impl MetricConstructor<Histogram> for Doubling {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(self.first, 2.0, self.count))
    }
}

/// From 50 ms to about seven minutes: an action has five unless it says otherwise.
const ACTION: Doubling = Doubling {
    first: 0.05,
    count: 14,
};
/// From 4 ms (one write) to about two minutes.
const STEP: Doubling = Doubling {
    first: 0.004,
    count: 16,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    method: String,
    state: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    method: String,
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stepped {
    step: &'static str,
    state: String,
}

/// The metrics of the actions. By default they are known to no registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    ended: Family<Outcome, Counter>,
    in_flight: Gauge,
    duration: Family<Ended, Histogram, Doubling>,
    waited: Histogram,
    steps: Family<Stepped, Histogram, Doubling>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            ended: Family::default(),
            in_flight: Gauge::default(),
            duration: Family::new_with_constructor(ACTION),
            waited: STEP.new_metric(),
            steps: Family::new_with_constructor(STEP),
        }
    }
}

impl Metrics {
    /// Registers them:
    /// - `wam_actions_total{method,state,reason}`: actions ended; `reason` is empty for those that succeeded,
    /// - `wam_actions_in_flight`: actions that this process holds,
    /// - `wam_action_duration_seconds{method,state}`: from acceptance to outcome,
    /// - `wam_action_queue_duration_seconds`: from acceptance until an executor began,
    /// - `wam_action_step_duration_seconds{step,state}`: of each step, by its primitive and how it ended.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        // The encoder appends `_total` to counters.
        registry.register(
            "wam_actions",
            "Actions ended, by method, final state and reason",
            metrics.ended.clone(),
        );
        registry.register(
            "wam_actions_in_flight",
            "Actions that this process carries out at the moment",
            metrics.in_flight.clone(),
        );
        registry.register(
            "wam_action_duration_seconds",
            "Time from an action's acceptance to its outcome, in seconds",
            metrics.duration.clone(),
        );
        registry.register(
            "wam_action_queue_duration_seconds",
            "Time from an action's acceptance until an executor began it, in seconds",
            metrics.waited.clone(),
        );
        registry.register(
            "wam_action_step_duration_seconds",
            "Time that a step of an action took, by its primitive and how it ended, in seconds",
            metrics.steps.clone(),
        );
        metrics
    }

    /// So many actions are held now.
    pub(super) fn holds(&self, actions: usize) {
        self.in_flight
            .set(i64::try_from(actions).unwrap_or(i64::MAX));
    }

    /// An action was begun for the first time.
    pub(super) fn begun(&self, record: &ActionRecord) {
        self.waited
            .observe(seconds(Some(record.created_at), record.started_at));
    }

    /// An action has its outcome.
    pub(super) fn ended(&self, record: &ActionRecord) {
        let (method, state) = (record.method.clone(), format!("{:?}", record.state));
        self.duration
            .get_or_create(&Ended {
                method: method.clone(),
                state: state.clone(),
            })
            .observe(seconds(Some(record.created_at), record.finished_at));
        self.ended
            .get_or_create(&Outcome {
                method,
                state,
                reason: record.reason.clone(),
            })
            .inc();
    }

    /// A step has ended.
    pub(super) fn stepped(&self, record: &ActionRecord, index: usize) {
        let (Some(op), Some(step)) = (op_of(record, index), record.steps.get(index)) else {
            return;
        };
        self.steps
            .get_or_create(&Stepped {
                step: op.kind(),
                state: format!("{:?}", step.state),
            })
            .observe(seconds(step.started_at, step.finished_at));
    }
}

/// The time between, by the wall clocks of whoever noted it: never negative.
fn seconds(from: Option<Timestamp>, to: Option<Timestamp>) -> f64 {
    match (from, to) {
        (Some(from), Some(to)) => to.duration_since(from).as_secs_f64().max(0.0),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus_client::encoding::text::encode;
    use serde_json::json;

    use super::*;
    use crate::actions::fake::{Fake, taken};
    use crate::actions::runner;
    use crate::store::StepState;

    #[tokio::test]
    async fn an_action_is_counted_with_its_steps_and_every_metric_is_documented() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let cluster = Fake::new();
        // No pod is to come: the last step fails, and the scale-up is found to be taken back by another hand.
        cluster.add_pod("web-1", None);
        cluster.add_pod("web-2", None);
        cluster.counts(2, 2);
        let mut context = taken(&cluster, |record| {
            record.steps[1].state = StepState::Done;
            record.steps[1].memo = json!({"ledger": "older", "generation": 4, "replicas": 3});
        })
        .await;
        Arc::get_mut(&mut context).unwrap().metrics = metrics.clone();
        metrics.holds(1);
        context.journal.read(|record| metrics.begun(record)).await;
        runner::run(context).await;
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"wam_actions_total{method="action.Create",state="Compensated",reason="ScaledByAnother"} 1"#,
            r#"wam_action_duration_seconds_count{method="action.Create",state="Compensated"} 1"#,
            r#"wam_action_step_duration_seconds_count{step="Intend",state="Done"} 1"#,
            r#"wam_action_step_duration_seconds_count{step="AwaitReady",state="Failed"} 1"#,
            "wam_action_queue_duration_seconds_count 1",
            "wam_actions_in_flight 1",
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
        let documented = include_str!("../../docs/metrics.md");
        for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            let mut words = line.split(' ').skip(2);
            let name = words.next().unwrap();
            let total = if words.next() == Some("counter") {
                "_total"
            } else {
                ""
            };
            let name = format!("`{name}{total}`");
            assert!(documented.contains(&name), "{name} is not documented");
        }
    }
}
