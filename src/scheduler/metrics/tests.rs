use prometheus_client::encoding::text::encode;

use super::*;

type Buckets = Option<(f64, f64, usize)>;

/// Name, type, labels, and for histograms the finite buckets' first, last and count: from
/// `pkg/scheduler/metrics/metrics.go` of v1.36.
const UPSTREAM: &[(&str, &str, &[&str], Buckets)] = &[
    ("schedule_attempts", "counter", &["result", "profile"], None),
    (
        "scheduling_attempt_duration_seconds",
        "histogram",
        &["result", "profile"],
        Some((0.001, 16.384, 15)),
    ),
    (
        "scheduling_algorithm_duration_seconds",
        "histogram",
        &[],
        Some((0.001, 16.384, 15)),
    ),
    (
        "event_handling_duration_seconds",
        "histogram",
        &["event"],
        Some((0.0001, 0.2048, 12)),
    ),
    ("preemption_victims", "histogram", &[], Some((1.0, 64.0, 7))),
    ("preemption_attempts", "counter", &[], None),
    ("pending_pods", "gauge", &["queue"], None),
    ("inflight_events", "gauge", &["event"], None),
    ("goroutines", "gauge", &["operation"], None),
    (
        "pod_scheduling_sli_duration_seconds",
        "histogram",
        &["attempts"],
        Some((0.01, 5242.88, 20)),
    ),
    (
        "pod_scheduling_attempts",
        "histogram",
        &[],
        Some((1.0, 16.0, 5)),
    ),
    ("pod_scheduled_after_flush", "counter", &[], None),
    (
        "framework_extension_point_duration_seconds",
        "histogram",
        &["extension_point", "status", "profile"],
        Some((0.0001, 0.2048, 12)),
    ),
    (
        "plugin_execution_duration_seconds",
        "histogram",
        &["plugin", "extension_point", "status"],
        Some((0.00001, 0.022_168_378_200_531_006, 20)),
    ),
    (
        "queueing_hint_execution_duration_seconds",
        "histogram",
        &["plugin", "event", "hint"],
        Some((0.00001, 0.022_168_378_200_531_006, 20)),
    ),
    ("queue_incoming_pods", "counter", &["queue", "event"], None),
    (
        "permit_wait_duration_seconds",
        "histogram",
        &["result"],
        Some((0.001, 16.384, 15)),
    ),
    ("cache_size", "gauge", &["type"], None),
    ("unschedulable_pods", "gauge", &["plugin", "profile"], None),
    (
        "plugin_evaluation",
        "counter",
        &["plugin", "extension_point", "profile"],
        None,
    ),
    (
        "preemption_goroutines_duration_seconds",
        "histogram",
        &["result"],
        Some((0.01, 5242.88, 20)),
    ),
    (
        "preemption_goroutines_execution",
        "counter",
        &["result"],
        None,
    ),
];

fn exercised() -> String {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    metrics.attempted("p", Attempt::Scheduled, 0.1);
    metrics.algorithm(0.1);
    metrics.bound(20, 1.0, true);
    metrics.pending(Pending::default());
    metrics.unschedulable([("A", "p", 1)].into_iter());
    metrics.in_flight([Events::NODE_ADD].into_iter());
    metrics.bindings(1);
    metrics.cache(CacheSize::default());
    metrics.incoming(&[("active", "NodeAdd")]);
    metrics.hints(&[HintTime {
        plugin: "A",
        event: "NodeAdd",
        hint: Hint::Skip,
        seconds: 0.0,
    }]);
    metrics.event_handled(Events::NODE_ADD, 0.0);
    metrics.point(Point::Filter, None, "p", 0.0);
    metrics.plugin("A", Point::PreScore, Some(Code::Skip), 0.0);
    metrics.evaluations("A", Point::Filter, "p").add(3);
    metrics.preempted(Some(3));
    metrics.preemption_done(true, 0.0);
    metrics.permit_wait.observe(["x"], 0.0);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

/// The label names of a sample line, without `le`.
fn label_names(line: &str) -> Vec<&str> {
    let Some((_, rest)) = line.split_once('{') else {
        return Vec::new();
    };
    let (labels, _) = rest.split_once('}').unwrap();
    let names = labels
        .split(',')
        .filter_map(|pair| Some(pair.split_once('=')?.0));
    names.filter(|name| *name != "le").collect()
}

#[test]
fn names_types_labels_and_buckets_are_kube_schedulers() {
    let text = exercised();
    for (name, kind, labels, buckets) in UPSTREAM {
        let name = format!("scheduler_{name}");
        assert!(
            text.contains(&format!("# TYPE {name} {kind}\n")),
            "{name} {kind}"
        );
        let suffix = match *kind {
            "counter" => "_total",
            "histogram" => "_bucket",
            _ => "",
        };
        let starts = [format!("{name}{suffix}{{"), format!("{name}{suffix} ")];
        let samples: Vec<&str> = text
            .lines()
            .filter(|line| starts.iter().any(|start| line.starts_with(start)))
            .collect();
        assert!(!samples.is_empty(), "{name} has no sample");
        assert_eq!(label_names(samples[0]), **labels, "{name}");
        if let Some((first, last, count)) = buckets {
            let bound = |line: &str| -> f64 {
                let (_, rest) = line.split_once("le=\"").unwrap();
                rest.split_once('"').unwrap().0.parse().unwrap()
            };
            let mut bounds: Vec<f64> = samples.iter().map(|line| bound(line)).collect();
            bounds.retain(|b| b.is_finite() && *b < f64::MAX);
            assert_eq!(bounds.len(), *count, "{name}");
            let near = |a: f64, b: f64| (a - b).abs() < 1e-9 * b.abs();
            assert!(
                near(bounds[0], *first) && near(bounds[count - 1], *last),
                "{name}: {bounds:?}"
            );
        }
    }
}

#[test]
fn the_values_of_labels_are_kube_schedulers() {
    let text = exercised();
    for line in [
        "scheduler_schedule_attempts_total{result=\"scheduled\",profile=\"p\"} 1",
        "scheduler_pod_scheduling_sli_duration_seconds_count{attempts=\"15+\"} 1",
        "scheduler_pending_pods{queue=\"gated\"} 0",
        "scheduler_cache_size{type=\"assumed_pods\"} 0",
        "scheduler_goroutines{operation=\"binding\"} 1",
        "scheduler_queue_incoming_pods_total{queue=\"active\",event=\"NodeAdd\"} 1",
        "scheduler_queueing_hint_execution_duration_seconds_count{plugin=\"A\",event=\"NodeAdd\",hint=\"QueueSkip\"} 1",
        "scheduler_framework_extension_point_duration_seconds_count{extension_point=\"Filter\",status=\"Success\",profile=\"p\"} 1",
        "scheduler_plugin_execution_duration_seconds_count{plugin=\"A\",extension_point=\"PreScore\",status=\"Skip\"} 1",
        "scheduler_plugin_evaluation_total{plugin=\"A\",extension_point=\"Filter\",profile=\"p\"} 3",
        "scheduler_pod_scheduled_after_flush_total 1",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
    }
}
