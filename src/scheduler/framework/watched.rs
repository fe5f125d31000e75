//! A framework that is watched: how long its points take and how often its plugins are asked, for the metrics.
//!
//! What-ifs and explanations use frameworks that nobody watches: those do not even look at the clock.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::profile::Point;
use super::status::Status;
use crate::clock;
use crate::scheduler::diagnosis::FitError;
use crate::scheduler::metrics::{Evaluations, Metrics};

/// Who watches a framework.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) metrics: Metrics,
    /// Per point, in the order of its plugins.
    pub(super) evaluations: BTreeMap<Point, Vec<Evaluations>>,
}

impl super::Framework {
    /// From now on the metrics hear of it.
    #[must_use]
    pub fn watched_by(mut self, metrics: &Metrics) -> Self {
        let counted = [
            Point::PreFilter,
            Point::Filter,
            Point::PreScore,
            Point::Score,
        ];
        let evaluations = counted.into_iter().map(|point| {
            let plugins = self.names_at(point).into_iter();
            let each =
                plugins.map(|plugin| metrics.evaluations(plugin, point, &self.scheduler_name));
            (point, each.collect())
        });
        let evaluations = evaluations.collect();
        self.watcher = Some(Watcher {
            metrics: metrics.clone(),
            evaluations,
        });
        self
    }

    /// Runs a point, and tells how long it took.
    pub(crate) fn timed<T>(
        &self,
        point: Point,
        run: impl FnOnce() -> Result<T, Status>,
    ) -> Result<T, Status> {
        let started = self.start();
        let result = run();
        self.ran(point, result.as_ref().err(), started);
        result
    }

    /// The time, if anybody wants to know.
    pub(crate) fn start(&self) -> Option<Instant> {
        self.watcher.as_ref().map(|_| clock::instant())
    }

    /// A point has run since then.
    pub(crate) fn ran(&self, point: Point, status: Option<&Status>, started: Option<Instant>) {
        if let (Some(watcher), Some(started)) = (&self.watcher, started) {
            let seconds = clock::instant().duration_since(started).as_secs_f64();
            let code = status.map(|status| status.code);
            watcher
                .metrics
                .point(point, code, &self.scheduler_name, seconds);
        }
    }

    /// All plugins of a point were asked once.
    pub(crate) fn asked_all(&self, point: Point) {
        let watcher = self.watcher.as_ref();
        for counter in watcher
            .and_then(|w| w.evaluations.get(&point))
            .into_iter()
            .flatten()
        {
            counter.add(1);
        }
    }

    /// The nodes were filtered: each plugin was asked about those that none before it had rejected.
    pub(crate) fn asked_filters(&self, feasible: usize, error: &FitError) {
        let Some(watcher) = &self.watcher else {
            return;
        };
        let mut left = feasible + error.rejected.len();
        let mut rejected: BTreeMap<&str, usize> = BTreeMap::new();
        for status in error.rejected.values() {
            *rejected.entry(status.plugin).or_default() += 1;
        }
        let counters = watcher
            .evaluations
            .get(&Point::Filter)
            .into_iter()
            .flatten();
        for (counter, plugin) in counters.zip(self.names_at(Point::Filter)) {
            counter.add(left);
            left -= rejected.get(plugin).copied().unwrap_or_default().min(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::scheduler::framework::{Framework, Profile};
    use crate::scheduler::intents::IntentBook;
    use crate::scheduler::plugins::registry;

    #[test]
    fn a_plugin_is_asked_about_what_those_before_it_let_pass() {
        let mut metrics = Registry::default();
        let built = registry(Arc::new(IntentBook::default()));
        let framework = Framework::new(&Profile::new("p"), &built).unwrap();
        let framework = framework.watched_by(&Metrics::register(&mut metrics));
        let mut error = FitError::default();
        for (i, plugin) in ["NodeUnschedulable", "NodeName", "NodeName"]
            .into_iter()
            .enumerate()
        {
            let status = Status::unschedulable("x").by(plugin);
            error.rejected.insert(format!("n{i}").into(), status);
        }
        framework.asked_filters(4, &error);
        framework.asked_all(Point::PreFilter);
        framework.ran(Point::Filter, None, framework.start());
        let mut text = String::new();
        encode(&mut text, &metrics).unwrap();
        for (plugin, point, times) in [
            ("NodeUnschedulable", "Filter", 7),
            ("NodeName", "Filter", 6),
            ("TaintToleration", "Filter", 4),
            ("NodeResourcesFit", "Filter", 4),
            ("NodeAffinity", "PreFilter", 1),
            ("ImageLocality", "Score", 0),
        ] {
            let line = format!(
                "scheduler_plugin_evaluation_total{{plugin=\"{plugin}\",extension_point=\"{point}\",\
                 profile=\"p\"}} {times}\n"
            );
            assert!(text.contains(&line), "{line}");
        }
        let point = "scheduler_framework_extension_point_duration_seconds_count{extension_point=\"Filter\",\
                     status=\"Success\",profile=\"p\"} 1\n";
        assert!(text.contains(point));
    }
}
