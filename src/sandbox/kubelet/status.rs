//! A pod's status as its kubelet reports it (pkg/kubelet/kubelet_pods.go, status/generate.go). Pure:
//! facts in, the `status` of a strategic merge patch out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::admission::Rejection;
use crate::sandbox::controllers::objects::{pod_condition, uid};

/// How the containers of a pod are. All of one pod are alike: nothing really runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Containers {
    /// Being created.
    Waiting,
    /// Running since then.
    Running {
        /// Since when.
        since: Timestamp,
        /// Whether they answer that they are ready.
        ready: bool,
    },
    /// Crashed, and waiting to be started again.
    CrashLoop {
        /// When they had been started.
        started: Timestamp,
        /// When they crashed.
        finished: Timestamp,
        /// Seconds until they are started again.
        pause: u64,
    },
    /// Ended for good.
    Ended {
        /// When they had been started, if they ever were.
        started: Option<Timestamp>,
        /// When they ended.
        finished: Timestamp,
        /// What they ended with.
        code: i32,
    },
}

/// The conditions that a kubelet sets.
pub const CONDITIONS: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

/// Since when each condition has its value.
pub type Transitions = BTreeMap<&'static str, (bool, Timestamp)>;

/// What a status is made of.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The pod as last seen.
    pub pod: &'a Pod,
    /// The node's address.
    pub host_ip: &'a str,
    /// The pod's address, once it has one.
    pub pod_ip: Option<&'a str>,
    /// How its containers are.
    pub containers: &'a Containers,
    /// When the kubelet took the pod on.
    pub start_time: Timestamp,
    /// How often the containers were started again.
    pub restarts: i32,
    /// Start and end of their last run before this one.
    pub last_run: Option<(Timestamp, Timestamp)>,
    /// The time now.
    pub now: Timestamp,
}

/// The status of a pod that was not let in.
#[must_use]
pub fn rejected(pod: &Pod, rejection: &Rejection, now: Timestamp) -> Value {
    let mut status = json!({
        "phase": "Failed",
        "reason": rejection.reason,
        "message": rejection.message,
        "startTime": Time(now),
    });
    if let Some(generation) = pod.metadata.generation {
        status["observedGeneration"] = json!(generation);
    }
    status
}

/// The status of a pod that was let in.
pub fn status(facts: &Facts<'_>, transitions: &mut Transitions) -> Value {
    let spec = facts.pod.spec.clone().unwrap_or_default();
    let phase = match facts.containers {
        Containers::Waiting => "Pending",
        Containers::Running { .. } | Containers::CrashLoop { .. } => "Running",
        Containers::Ended { code: 0, .. } => "Succeeded",
        Containers::Ended { .. } => "Failed",
    };
    let mut status = json!({
        "phase": phase,
        "conditions": conditions(facts, &spec, transitions),
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "startTime": Time(facts.start_time),
        "containerStatuses": container_statuses(facts, &spec),
    });
    if let Some(generation) = facts.pod.metadata.generation {
        status["observedGeneration"] = json!(generation);
    }
    if let Some(ip) = facts.pod_ip {
        status["podIP"] = json!(ip);
        status["podIPs"] = json!([{"ip": ip}]);
    }
    let inits = init_statuses(facts, &spec);
    if !inits.is_empty() {
        status["initContainerStatuses"] = Value::Array(inits);
    }
    status
}

fn conditions(facts: &Facts<'_>, spec: &PodSpec, transitions: &mut Transitions) -> Vec<Value> {
    let names: Vec<&str> = spec
        .containers
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    let (sandbox, running, ready, end) = match facts.containers {
        Containers::Waiting => (false, false, false, None),
        Containers::Running { ready, .. } => (true, true, *ready, None),
        Containers::CrashLoop { .. } => (true, true, false, None),
        Containers::Ended { code: 0, .. } => (false, true, false, Some("PodCompleted")),
        Containers::Ended { .. } => (false, true, false, Some("PodFailed")),
    };
    let unready = || match end {
        Some(reason) => (reason, String::new()),
        None => (
            "ContainersNotReady",
            format!("containers with unready status: [{}]", names.join(" ")),
        ),
    };
    let inits: Vec<&str> = ordinary_inits(spec)
        .map(|container| container.name.as_str())
        .collect();
    let initialized = running || inits.is_empty();
    let not_initialized = || {
        let message = format!("containers with incomplete status: [{}]", inits.join(" "));
        ("ContainersNotInitialized", message)
    };
    let gates = closed_gates(facts.pod, spec);
    let is_ready = ready && gates.is_empty();
    let not_ready = || {
        if !ready {
            return unready();
        }
        let sentence = |gate: &String| {
            format!("the status of pod readiness gate \"{gate}\" is not \"True\", but False")
        };
        let message = gates.iter().map(sentence).collect::<Vec<_>>().join(", ");
        ("ReadinessGatesNotReady", message)
    };
    let mut told = vec![
        ("PodReadyToStartContainers", sandbox, None),
        (
            "Initialized",
            initialized,
            (!initialized).then(not_initialized),
        ),
        ("Ready", is_ready, (!is_ready).then(not_ready)),
        ("ContainersReady", ready, (!ready).then(unready)),
    ];
    // A pod that was created on its node has not been through a scheduler.
    if pod_condition(facts.pod, "PodScheduled").is_none_or(|condition| condition.status != "True") {
        told.push(("PodScheduled", true, None));
    }
    told.into_iter()
        .map(|(kind, value, why)| {
            let entry = transitions.entry(kind).or_insert((value, facts.now));
            if entry.0 != value {
                *entry = (value, facts.now);
            }
            let mut condition = json!({
                "type": kind,
                "status": if value { "True" } else { "False" },
                "lastProbeTime": null,
                "lastTransitionTime": Time(entry.1),
                // Explicitly nothing: the patch is merged into what there was.
                "reason": why.as_ref().map(|why| why.0),
                "message": why.as_ref().map(|why| why.1.as_str()).filter(|text| !text.is_empty()),
            });
            if let Some(generation) = facts.pod.metadata.generation {
                condition["observedGeneration"] = json!(generation);
            }
            condition
        })
        .collect()
}

fn closed_gates(pod: &Pod, spec: &PodSpec) -> Vec<String> {
    let gates = spec
        .readiness_gates
        .iter()
        .flatten()
        .map(|gate| &gate.condition_type);
    gates
        .filter(|gate| pod_condition(pod, gate).is_none_or(|condition| condition.status != "True"))
        .cloned()
        .collect()
}

fn ordinary_inits(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let inits = spec.init_containers.iter().flatten();
    inits.filter(|container| container.restart_policy.as_deref() != Some("Always"))
}

fn container_statuses(facts: &Facts<'_>, spec: &PodSpec) -> Vec<Value> {
    spec.containers
        .iter()
        .map(|container| main_status(facts, container))
        .collect()
}

fn main_status(facts: &Facts<'_>, container: &Container) -> Value {
    let id = container_id(facts.pod, &container.name, facts.restarts);
    let ended = |started: Option<Timestamp>, finished: Timestamp, code: i32| {
        json!({"terminated": {
            "exitCode": code,
            "reason": if code == 0 { "Completed" } else { "Error" },
            "startedAt": started.map(Time),
            "finishedAt": Time(finished),
            "containerID": started.is_some().then_some(&id),
        }})
    };
    let mut last = facts
        .last_run
        .map(|(started, finished)| ended(Some(started), finished, 1));
    let (state, ready, started) = match facts.containers {
        Containers::Waiting => (
            json!({"waiting": {"reason": "ContainerCreating"}}),
            false,
            false,
        ),
        Containers::Running { since, ready } => (
            json!({"running": {"startedAt": Time(*since)}}),
            *ready,
            true,
        ),
        Containers::CrashLoop {
            started,
            finished,
            pause,
        } => {
            last = Some(ended(Some(*started), *finished, 1));
            let message = format!(
                "back-off {pause}s restarting failed container={} pod={}_{}({})",
                container.name,
                facts.pod.metadata.name.as_deref().unwrap_or_default(),
                facts.pod.metadata.namespace.as_deref().unwrap_or_default(),
                uid(&facts.pod.metadata),
            );
            (
                json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}}),
                false,
                false,
            )
        }
        Containers::Ended {
            started,
            finished,
            code,
        } => (ended(*started, *finished, *code), false, false),
    };
    let has_run = !matches!(
        facts.containers,
        Containers::Waiting | Containers::Ended { started: None, .. }
    );
    let mut status = base(container, state, ready, facts.restarts);
    status.insert("started".into(), json!(started));
    if has_run {
        status.insert("containerID".into(), json!(id));
        status.insert("imageID".into(), json!(image_id(container)));
    }
    if let Some(last) = last {
        status.insert("lastState".into(), last);
    }
    Value::Object(status)
}

fn init_statuses(facts: &Facts<'_>, spec: &PodSpec) -> Vec<Value> {
    let one = |container: &Container| {
        if container.restart_policy.as_deref() == Some("Always") {
            return main_status(
                &Facts {
                    restarts: 0,
                    last_run: None,
                    ..*facts
                },
                container,
            );
        }
        let done = match facts.containers {
            Containers::Waiting | Containers::Ended { started: None, .. } => None,
            Containers::Running { since, .. } => Some(*since),
            Containers::CrashLoop { started, .. } => Some(*started),
            Containers::Ended {
                started: Some(started),
                ..
            } => Some(*started),
        };
        let id = container_id(facts.pod, &container.name, 0);
        let state = match done {
            None => json!({"waiting": {"reason": "PodInitializing"}}),
            Some(done) => json!({"terminated": {
                "exitCode": 0, "reason": "Completed", "containerID": id,
                "startedAt": Time(facts.start_time), "finishedAt": Time(done)}}),
        };
        let mut status = base(container, state, done.is_some(), 0);
        status.insert("started".into(), json!(false));
        if done.is_some() {
            status.insert("containerID".into(), json!(id));
            status.insert("imageID".into(), json!(image_id(container)));
        }
        Value::Object(status)
    };
    spec.init_containers.iter().flatten().map(one).collect()
}

fn base(container: &Container, state: Value, ready: bool, restarts: i32) -> Map<String, Value> {
    let mut status = Map::new();
    status.insert("name".into(), json!(container.name));
    status.insert(
        "image".into(),
        json!(container.image.clone().unwrap_or_default()),
    );
    status.insert("imageID".into(), json!(""));
    status.insert("state".into(), state);
    status.insert("lastState".into(), json!({}));
    status.insert("ready".into(), json!(ready));
    status.insert("restartCount".into(), json!(restarts));
    if let Some(resources) = &container.resources {
        status.insert("resources".into(), json!(resources));
        if let Some(requests) = &resources.requests {
            status.insert("allocatedResources".into(), json!(requests));
        }
    }
    status
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn container_id(pod: &Pod, container: &str, restarts: i32) -> String {
    let name = format!("{}/{container}/{restarts}", uid(&pod.metadata));
    format!("containerd://{}", hex(&Sha256::digest(name)))
}

fn image_id(container: &Container) -> String {
    let image = container.image.clone().unwrap_or_default();
    let digest = hex(&Sha256::digest(&image));
    let bare = match image.rsplit_once(':') {
        Some((bare, tag)) if !tag.contains('/') => bare,
        _ => &image,
    };
    format!("{bare}@sha256:{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    fn plain() -> Pod {
        pod(json!({
            "metadata": {"name": "p", "namespace": "d", "uid": "u", "generation": 1},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "nginx:1.27"}]},
            "status": {"conditions": [{"type": "PodScheduled", "status": "True"}]},
        }))
    }

    fn told(status: &Value, kind: &str) -> (String, String) {
        let conditions = status["conditions"].as_array().unwrap();
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == kind)
            .unwrap();
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"))
    }

    fn of(pod: &Pod, containers: &Containers, transitions: &mut Transitions, at: &str) -> Value {
        let now: Timestamp = at.parse().unwrap();
        let facts = Facts {
            pod,
            host_ip: "172.18.0.2",
            pod_ip: Some("10.244.0.2"),
            containers,
            start_time: now,
            restarts: 0,
            last_run: None,
            now,
        };
        status(&facts, transitions)
    }

    #[test]
    fn a_pod_starts_runs_and_ends() {
        let mut since = Transitions::new();
        let first = "2026-01-01T00:00:00Z";
        let waiting = of(&plain(), &Containers::Waiting, &mut since, first);
        assert_eq!(waiting["phase"], "Pending");
        assert_eq!(
            told(&waiting, "Ready"),
            ("False".into(), "ContainersNotReady".into())
        );
        assert_eq!(told(&waiting, "Initialized").0, "True");
        let later = "2026-01-01T00:00:05Z";
        let containers = Containers::Running {
            since: later.parse().unwrap(),
            ready: true,
        };
        let running = of(&plain(), &containers, &mut since, later);
        assert_eq!(running["phase"], "Running");
        assert_eq!(told(&running, "Ready"), ("True".into(), String::new()));
        assert_eq!(running["containerStatuses"][0]["ready"], true);
        // What did not change keeps its time.
        let conditions = running["conditions"].as_array().unwrap();
        let time = |kind: &str| {
            conditions.iter().find(|c| c["type"] == kind).unwrap()["lastTransitionTime"].clone()
        };
        assert_eq!(time("Initialized"), first);
        assert_eq!(time("Ready"), later);
        let ended = Containers::Ended {
            started: Some(later.parse().unwrap()),
            finished: later.parse().unwrap(),
            code: 0,
        };
        let ended = of(&plain(), &ended, &mut since, later);
        assert_eq!(ended["phase"], "Succeeded");
        assert_eq!(told(&ended, "Ready").1, "PodCompleted");
    }

    #[test]
    fn a_closed_readiness_gate_keeps_a_pod_unready() {
        let mut gated = plain();
        gated.spec.as_mut().unwrap().readiness_gates =
            serde_json::from_value(json!([{"conditionType": "example.com/gate"}])).unwrap();
        let at = "2026-01-01T00:00:00Z";
        let running = Containers::Running {
            since: at.parse().unwrap(),
            ready: true,
        };
        let status = of(&gated, &running, &mut Transitions::new(), at);
        assert_eq!(told(&status, "Ready").1, "ReadinessGatesNotReady");
        assert_eq!(told(&status, "ContainersReady").0, "True");
    }

    #[test]
    fn a_status_is_readable_as_a_pods() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let crash = Containers::CrashLoop {
            started: at,
            finished: at,
            pause: 10,
        };
        let mut pod = plain();
        pod.spec.as_mut().unwrap().init_containers =
            serde_json::from_value(json!([{"name": "i", "image": "x"}])).unwrap();
        let status = of(
            &pod,
            &crash,
            &mut Transitions::new(),
            "2026-01-01T00:00:00Z",
        );
        let typed: k8s_openapi::api::core::v1::PodStatus = serde_json::from_value(status).unwrap();
        let container = &typed.container_statuses.unwrap()[0];
        let waiting = container.state.clone().unwrap().waiting.unwrap();
        assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
        assert_eq!(
            waiting.message.as_deref(),
            Some("back-off 10s restarting failed container=c pod=p_d(u)")
        );
        assert_eq!(typed.init_container_statuses.unwrap()[0].restart_count, 0);
    }
}
