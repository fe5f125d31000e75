//! Pods' lives, told as what is written when.

use serde_json::json;

use super::*;

struct Run {
    machine: Machine,
    start: Now,
}

impl Run {
    fn new(options: KubeletOptions) -> Self {
        let start = Now {
            instant: crate::clock::instant(),
            wall: "2026-01-01T00:00:00Z".parse().unwrap(),
        };
        let mut run = Self {
            machine: Machine::new(options),
            start,
        };
        run.node(json!({}));
        run
    }

    fn node(&mut self, annotations: Value) {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n1", "annotations": annotations},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}},
        }))
        .unwrap();
        self.machine.node(&node, self.start);
    }

    fn at(&self, millis: u64) -> Now {
        let passed = Duration::from_millis(millis);
        Now {
            instant: self.start.instant + passed,
            wall: self.start.wall + passed,
        }
    }

    /// Ticks, then carries every write out; what was written, as "name phase ready remove".
    fn writes(&mut self, millis: u64) -> Vec<String> {
        let now = self.at(millis);
        self.machine.tick(now);
        let mut told = Vec::new();
        while let Some(write) = self.machine.next_write(now) {
            let status = write.status.clone().unwrap_or_default();
            let phase = status["phase"].as_str().unwrap_or("-").to_owned();
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True");
            let ready = if ready { " ready" } else { "" };
            let remove = if write.remove { " remove" } else { "" };
            told.push(format!("{} {phase}{ready}{remove}", write.key.name));
            self.machine.written(&write, Written::Done, now);
        }
        told
    }
}

fn pod(name: &str, extra: Value) -> Arc<Pod> {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "d", "uid": name,
                     "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "n1", "containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]},
    });
    json_patch::merge(&mut value, &extra);
    Arc::new(serde_json::from_value(value).unwrap())
}

fn deleted(name: &str, grace: i64) -> Arc<Pod> {
    pod(
        name,
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:30Z",
                            "deletionGracePeriodSeconds": grace}}),
    )
}

fn options(start: u64, stop: u64) -> KubeletOptions {
    KubeletOptions {
        start_latency: Duration::from_millis(start),
        stop_latency: Duration::from_millis(stop),
        ..KubeletOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_starts_stops_and_is_removed() {
    let mut run = Run::new(options(500, 700));
    run.machine.saw(vec![pod("p", json!({}))], run.at(0));
    assert_eq!(run.writes(0), ["p Pending"]);
    assert_eq!(run.writes(400), [""; 0]);
    assert_eq!(run.writes(500), ["p Running ready"]);
    run.machine.saw(vec![deleted("p", 30)], run.at(1000));
    assert_eq!(run.writes(1600), [""; 0]);
    assert_eq!(run.writes(1700), ["p Succeeded remove"]);
    assert_eq!(run.writes(9999), [""; 0]);
    run.machine.lost("p");
    assert!(run.machine.pods.is_empty() && run.machine.timers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_grace_period_bounds_the_stop() {
    let mut run = Run::new(options(0, 10_000));
    run.machine.saw(vec![pod("p", json!({}))], run.at(0));
    assert_eq!(run.writes(0), ["p Running ready"]);
    run.machine.saw(vec![deleted("p", 30)], run.at(100));
    run.machine.saw(vec![deleted("p", 2)], run.at(200));
    assert_eq!(run.writes(2199), [""; 0]);
    assert_eq!(run.writes(2200), ["p Succeeded remove"]);
}

#[tokio::test(start_paused = true)]
async fn room_is_taken_from_admission_until_the_containers_stopped() {
    let mut run = Run::new(options(0, 1000));
    let wide = json!({"spec": {"containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": "3"}}}]}});
    let young = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:09Z"}});
    let mut late = wide.clone();
    json_patch::merge(&mut late, &young);
    // Seen together, the older one is let in.
    run.machine.saw(
        vec![pod("a-late", late), pod("z-early", wide.clone())],
        run.at(0),
    );
    assert_eq!(run.writes(0), ["z-early Running ready", "a-late Failed"]);
    let mut going = wide.clone();
    going["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:30Z",
        "deletionGracePeriodSeconds": 30});
    run.machine.saw(vec![pod("z-early", going)], run.at(0));
    run.machine.saw(vec![pod("b", wide.clone())], run.at(500));
    assert_eq!(run.writes(500), ["b Failed"]);
    assert_eq!(run.writes(1000), ["z-early Succeeded remove"]);
    run.machine.saw(vec![pod("c", wide)], run.at(1100));
    assert_eq!(run.writes(1100), ["c Running ready"]);
}

#[tokio::test(start_paused = true)]
async fn pods_misbehave_as_they_are_told() {
    let mut run = Run::new(options(0, 0));
    let told = |word: &str| {
        json!({"metadata": {"annotations": {
        "aces-eu.github.io/wam-sandbox": word}}})
    };
    run.machine
        .saw(vec![pod("never", told("never-ready"))], run.at(0));
    assert_eq!(run.writes(0), ["never Running"]);
    run.machine
        .saw(vec![pod("slow", told("slow=2s"))], run.at(0));
    assert_eq!(run.writes(0), ["slow Pending"]);
    assert_eq!(run.writes(2000), ["slow Running ready"]);
    run.machine
        .saw(vec![pod("crash", told("crash=1s"))], run.at(2000));
    assert_eq!(run.writes(2000), ["crash Running ready"]);
    assert_eq!(run.writes(3000), ["crash Running"]);
    assert_eq!(run.writes(13_000), ["crash Running ready"]);
    assert_eq!(run.machine.pods["crash"].restarts, 1);
    let mut job = told("complete=1s");
    job["spec"] = json!({"restartPolicy": "Never"});
    run.machine.saw(vec![pod("job", job)], run.at(13_100));
    assert_eq!(run.writes(13_100), ["job Running ready"]);
    assert_eq!(run.writes(14_100), ["crash Running", "job Succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_is_tried_again_and_nothing_is_lost() {
    let mut run = Run::new(options(0, 0));
    run.machine.saw(vec![pod("p", json!({}))], run.at(0));
    let write = run.machine.next_write(run.at(0)).unwrap();
    // Not twice at once.
    assert_eq!(run.machine.next_write(run.at(0)), None);
    run.machine.written(&write, Written::Failed, run.at(0));
    assert_eq!(run.writes(10), [""; 0]);
    assert_eq!(run.writes(30), ["p Running ready"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_does_nothing_until_it_speaks_again() {
    let mut run = Run::new(options(0, 0));
    run.machine.saw(vec![pod("p", json!({}))], run.at(0));
    assert_eq!(run.writes(0), ["p Running ready"]);
    run.node(json!({"aces-eu.github.io/wam-sandbox": "silent"}));
    run.machine.saw(vec![deleted("p", 30)], run.at(0));
    assert_eq!(run.writes(5000), [""; 0]);
    run.node(json!({}));
    assert_eq!(run.writes(6000), ["p Succeeded remove"]);
}

#[tokio::test(start_paused = true)]
async fn a_running_pod_of_an_earlier_run_is_taken_over() {
    let mut run = Run::new(options(1000, 0));
    let running = json!({"status": {"phase": "Running", "podIP": "10.244.0.2",
        "startTime": "2025-12-31T00:00:00Z", "conditions": [{"type": "Ready",
        "status": "True", "lastTransitionTime": "2025-12-31T00:00:00Z"}]}});
    run.machine.saw(vec![pod("p", running)], run.at(0));
    assert_eq!(run.writes(5000), [""; 0]);
    run.machine.saw(vec![pod("q", json!({}))], run.at(5000));
    run.writes(6000);
    assert_eq!(run.machine.pods["q"].pod_ip.as_deref(), Some("10.244.0.3"));
}

#[test]
fn addresses_do_not_repeat() {
    let nodes: BTreeSet<String> = (0..5000).map(node_address).collect();
    assert_eq!(nodes.len(), 5000);
    let nets: BTreeSet<String> = (0..5000).map(|index| pod_address(index, 2)).collect();
    assert_eq!(nets.len(), 5000);
    assert_eq!(pod_address(7, 2), "10.244.7.2");
}

#[tokio::test(start_paused = true)]
async fn kubelets_tell_of_starts_stops_crashes_and_refusals() {
    let mut run = Run::new(options(0, 0));
    let told = |run: &mut Run| {
        let told = run.machine.take_told();
        Vec::from_iter(
            told.into_iter()
                .map(|told| format!("{} {}", told.reason, told.message)),
        )
    };
    run.machine.saw(vec![pod("p", json!({}))], run.at(0));
    let image = "Container image \"i\" already present on machine and can be accessed by the pod";
    let started = [
        format!("Pulled {image}"),
        "Created Container created".to_owned(),
        "Started Container started".to_owned(),
    ];
    assert_eq!(told(&mut run), started);
    run.machine.saw(vec![deleted("p", 30)], run.at(0));
    assert_eq!(told(&mut run), ["Killing Stopping container c"]);
    let crash = json!({"metadata": {"annotations": {"aces-eu.github.io/wam-sandbox": "crash=1s"}}});
    run.machine.saw(vec![pod("q", crash)], run.at(0));
    told(&mut run);
    run.writes(1000);
    let backoff = "BackOff Back-off restarting failed container c in pod q_d(q)";
    assert_eq!(told(&mut run), [backoff]);
    let wide = json!({"spec": {"containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": "9"}}}]}});
    run.machine.saw(vec![pod("r", wide)], run.at(1000));
    assert!(told(&mut run)[0].starts_with("OutOfcpu Pod was rejected: "));
    let node = json!({"metadata": {"name": "n1"}, "spec": {"unschedulable": true}});
    let node: Node = serde_json::from_value(node).unwrap();
    run.machine.node(&node, run.at(1000));
    assert_eq!(
        told(&mut run),
        ["NodeNotSchedulable Node n1 status is now: NodeNotSchedulable"]
    );
}
