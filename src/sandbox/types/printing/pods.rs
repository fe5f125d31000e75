//! Pods: `printPod`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::text::{NONE, age, at, condition, items, name, number, or, since};
use super::{AGE, Column, NAME, Printer};

pub(super) const PRINTER: Printer = Printer {
    columns: &[
        NAME,
        Column("Ready", "string", false),
        Column("Status", "string", false),
        Column("Restarts", "string", false),
        AGE,
        Column("IP", "string", true),
        Column("Node", "string", true),
        Column("Nominated Node", "string", true),
        Column("Readiness Gates", "string", true),
    ],
    cells,
};

/// Rows of finished pods carry a condition, for printers that hide them.
pub(super) fn row_conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match at(pod, "/status/phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

/// What the containers' statuses say.
struct Summary {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: String,
}

fn last_exit(status: &Value) -> &str {
    at(status, "/lastState/terminated/finishedAt")
}

/// RFC 3339 in UTC and whole seconds compares as text.
fn later(a: &str, b: &str) -> String {
    a.max(b).to_owned()
}

fn is_restartable(init: Option<&Value>) -> bool {
    init.is_some_and(|c| at(c, "/restartPolicy") == "Always")
}

fn terminated_reason(terminated: &Value, prefix: &str) -> String {
    let reason = at(terminated, "/reason");
    let signal = number(terminated, "/signal");
    if !reason.is_empty() {
        format!("{prefix}{reason}")
    } else if signal != 0 {
        format!("{prefix}Signal:{signal}")
    } else {
        format!("{prefix}ExitCode:{}", number(terminated, "/exitCode"))
    }
}

fn summarise(pod: &Value) -> Summary {
    let phase = at(pod, "/status/phase");
    let mut reason = or(at(pod, "/status/reason"), phase).to_owned();
    let gated = items(pod, "/status/conditions")
        .iter()
        .any(|c| at(c, "/type") == "PodScheduled" && at(c, "/reason") == "SchedulingGated");
    if gated {
        reason = "SchedulingGated".to_owned();
    }
    let inits = items(pod, "/spec/initContainers");
    let mut found = Summary {
        reason,
        ready: 0,
        restarts: 0,
        last_restart: String::new(),
    };
    let (mut sidecar_restarts, mut sidecar_last) = (0, String::new());
    let mut initializing = false;
    for (at_index, status) in items(pod, "/status/initContainerStatuses")
        .iter()
        .enumerate()
    {
        let init = inits.iter().find(|c| at(c, "/name") == at(status, "/name"));
        let sidecar = is_restartable(init);
        found.restarts += number(status, "/restartCount");
        found.last_restart = later(&found.last_restart, last_exit(status));
        if sidecar {
            sidecar_restarts += number(status, "/restartCount");
            sidecar_last = later(&sidecar_last, last_exit(status));
        }
        let terminated = status.pointer("/state/terminated");
        let waiting = at(status, "/state/waiting/reason");
        let started = status.get("started") == Some(&Value::Bool(true));
        match terminated {
            Some(terminated) if number(terminated, "/exitCode") == 0 => continue,
            _ if sidecar && started => {
                found.ready += usize::from(status.get("ready") == Some(&Value::Bool(true)));
                continue;
            }
            Some(terminated) => found.reason = terminated_reason(terminated, "Init:"),
            None if !waiting.is_empty() && waiting != "PodInitializing" => {
                found.reason = format!("Init:{waiting}");
            }
            None => found.reason = format!("Init:{at_index}/{}", inits.len()),
        }
        initializing = true;
        break;
    }
    if !initializing || condition(pod, "Initialized") {
        found.restarts = sidecar_restarts;
        found.last_restart = sidecar_last;
        summarise_running(pod, &mut found);
    }
    found
}

fn summarise_running(pod: &Value, found: &mut Summary) {
    let mut running = false;
    let mut error = String::new();
    for status in items(pod, "/status/containerStatuses").iter().rev() {
        found.restarts += number(status, "/restartCount");
        found.last_restart = later(&found.last_restart, last_exit(status));
        let waiting = at(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            found.reason = waiting.to_owned();
        } else if let Some(terminated) = status.pointer("/state/terminated") {
            found.reason = terminated_reason(terminated, "");
            if number(terminated, "/exitCode") != 0 {
                error.clone_from(&found.reason);
            }
        } else if status.get("ready") == Some(&Value::Bool(true))
            && status.pointer("/state/running").is_some()
        {
            running = true;
            found.ready += 1;
        }
    }
    if found.reason == "Completed" {
        if running && condition(pod, "Ready") {
            found.reason = "Running".to_owned();
        } else if !error.is_empty() {
            found.reason = error;
        } else if running {
            found.reason = "NotReady".to_owned();
        }
    }
}

fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let mut summary = summarise(pod);
    let deleting = !at(pod, "/metadata/deletionTimestamp").is_empty();
    let terminal = matches!(at(pod, "/status/phase"), "Succeeded" | "Failed");
    if deleting && at(pod, "/status/reason") == "NodeLost" {
        summary.reason = "Unknown".to_owned();
    } else if deleting && !terminal {
        summary.reason = "Terminating".to_owned();
    }
    let sidecars = items(pod, "/spec/initContainers")
        .iter()
        .filter(|c| is_restartable(Some(c)))
        .count();
    let total = items(pod, "/spec/containers").len() + sidecars;
    let restarts = if summary.restarts != 0 && !summary.last_restart.is_empty() {
        format!(
            "{} ({} ago)",
            summary.restarts,
            since(&summary.last_restart, now)
        )
    } else {
        summary.restarts.to_string()
    };
    let gates = items(pod, "/spec/readinessGates");
    let gates = if gates.is_empty() {
        NONE.to_owned()
    } else {
        let open = gates
            .iter()
            .filter(|g| condition(pod, at(g, "/conditionType")))
            .count();
        format!("{open}/{}", gates.len())
    };
    let ip = items(pod, "/status/podIPs")
        .first()
        .map_or("", |ip| at(ip, "/ip"));
    vec![
        name(pod),
        Value::from(format!("{}/{total}", summary.ready)),
        Value::from(summary.reason),
        Value::from(restarts),
        age(pod, now),
        Value::from(or(ip, NONE)),
        Value::from(or(at(pod, "/spec/nodeName"), NONE)),
        Value::from(or(at(pod, "/status/nominatedNodeName"), NONE)),
        Value::from(gates),
    ]
}
