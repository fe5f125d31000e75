//! Workloads and what belongs to them: apps, batch, policy, autoscaling, replication controllers.

use jiff::Timestamp;
use serde_json::Value;

use super::text::{age, at, condition, containers, human_duration, labels, name, number, selector};
use super::{AGE, Column, NAME, Printer};

const CONTAINERS: Column = Column("Containers", "string", true);
const IMAGES: Column = Column("Images", "string", true);
const SELECTOR: Column = Column("Selector", "string", true);

pub(super) fn printer(kind: &str) -> Option<Printer> {
    Some(match kind {
        "Deployment" => Printer {
            columns: &[
                NAME,
                Column("Ready", "string", false),
                Column("Up-to-date", "string", false),
                Column("Available", "string", false),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ],
            cells: deployment,
        },
        "ReplicaSet" => REPLICAS,
        "StatefulSet" => Printer {
            columns: &[
                NAME,
                Column("Ready", "string", false),
                AGE,
                CONTAINERS,
                IMAGES,
            ],
            cells: stateful_set,
        },
        "DaemonSet" => Printer {
            columns: &[
                NAME,
                Column("Desired", "integer", false),
                Column("Current", "integer", false),
                Column("Ready", "integer", false),
                Column("Up-to-date", "integer", false),
                Column("Available", "integer", false),
                Column("Node Selector", "string", false),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ],
            cells: daemon_set,
        },
        "ControllerRevision" => Printer {
            columns: &[
                NAME,
                Column("Controller", "string", false),
                Column("Revision", "string", false),
                AGE,
            ],
            cells: controller_revision,
        },
        "Job" => Printer {
            columns: &[
                NAME,
                Column("Status", "string", false),
                Column("Completions", "string", false),
                Column("Duration", "string", false),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ],
            cells: job,
        },
        "CronJob" => Printer {
            columns: &[
                NAME,
                Column("Schedule", "string", false),
                Column("Timezone", "string", false),
                Column("Suspend", "boolean", false),
                Column("Active", "integer", false),
                Column("Last Schedule", "string", false),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ],
            cells: cron_job,
        },
        "PodDisruptionBudget" => Printer {
            columns: &[
                NAME,
                Column("Min Available", "string", false),
                Column("Max Unavailable", "string", false),
                Column("Allowed Disruptions", "integer", false),
                AGE,
            ],
            cells: disruption_budget,
        },
        "Scale" => Printer {
            columns: &[
                NAME,
                Column("Desired", "integer", false),
                Column("Available", "integer", false),
                AGE,
            ],
            cells: |o, now| {
                vec![
                    name(o),
                    Value::from(number(o, "/spec/replicas")),
                    Value::from(number(o, "/status/replicas")),
                    age(o, now),
                ]
            },
        },
        _ => return None,
    })
}

/// The workloads of the core group.
pub(super) fn core(group: &str, kind: &str) -> Option<Printer> {
    (group.is_empty() && kind == "ReplicationController").then_some(REPLICAS)
}

const REPLICAS: Printer = Printer {
    columns: &[
        NAME,
        Column("Desired", "integer", false),
        Column("Current", "integer", false),
        Column("Ready", "integer", false),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |o, now| {
        let [names, images] = containers(o);
        let selected = o.pointer("/spec/selector");
        // A replication controller's selector is a plain map.
        let selected = match at(o, "/kind") {
            "ReplicationController" => labels(selected),
            _ => selector(selected),
        };
        vec![
            name(o),
            Value::from(number(o, "/spec/replicas")),
            Value::from(number(o, "/status/replicas")),
            Value::from(number(o, "/status/readyReplicas")),
            age(o, now),
            names,
            images,
            Value::from(selected),
        ]
    },
};

fn ready(o: &Value) -> Value {
    Value::from(format!(
        "{}/{}",
        number(o, "/status/readyReplicas"),
        number(o, "/spec/replicas")
    ))
}

fn deployment(o: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o);
    vec![
        name(o),
        ready(o),
        Value::from(number(o, "/status/updatedReplicas")),
        Value::from(number(o, "/status/availableReplicas")),
        age(o, now),
        names,
        images,
        Value::from(selector(o.pointer("/spec/selector"))),
    ]
}

fn stateful_set(o: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o);
    vec![name(o), ready(o), age(o, now), names, images]
}

fn daemon_set(o: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o);
    vec![
        name(o),
        Value::from(number(o, "/status/desiredNumberScheduled")),
        Value::from(number(o, "/status/currentNumberScheduled")),
        Value::from(number(o, "/status/numberReady")),
        Value::from(number(o, "/status/updatedNumberScheduled")),
        Value::from(number(o, "/status/numberAvailable")),
        Value::from(labels(o.pointer("/spec/template/spec/nodeSelector"))),
        age(o, now),
        names,
        images,
        Value::from(selector(o.pointer("/spec/selector"))),
    ]
}

fn controller_revision(o: &Value, now: Timestamp) -> Vec<Value> {
    let owners = super::text::items(o, "/metadata/ownerReferences");
    let controller = owners
        .iter()
        .find(|r| r.get("controller") == Some(&Value::Bool(true)));
    let controller = controller.map_or_else(
        || super::text::NONE.to_owned(),
        |r| {
            let kind = at(r, "/kind").to_lowercase();
            match at(r, "/apiVersion").split_once('/') {
                Some((group, _)) => format!("{kind}.{group}/{}", at(r, "/name")),
                None => format!("{kind}/{}", at(r, "/name")),
            }
        },
    );
    vec![
        name(o),
        Value::from(controller),
        Value::from(number(o, "/revision")),
        age(o, now),
    ]
}

fn seconds(o: &Value, pointer: &str) -> Option<i64> {
    at(o, pointer)
        .parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_second)
}

fn job(o: &Value, now: Timestamp) -> Vec<Value> {
    let done = number(o, "/status/succeeded");
    let completions = match o.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(wanted) => format!("{done}/{wanted}"),
        None => match number(o, "/spec/parallelism") {
            parallel if parallel > 1 => format!("{done}/1 of {parallel}"),
            _ => format!("{done}/1"),
        },
    };
    let duration = seconds(o, "/status/startTime").map(|start| {
        let end = seconds(o, "/status/completionTime").unwrap_or_else(|| now.as_second());
        human_duration(end - start)
    });
    let deleting = !at(o, "/metadata/deletionTimestamp").is_empty();
    let status = if condition(o, "Complete") {
        "Complete"
    } else if condition(o, "Failed") {
        "Failed"
    } else if deleting {
        "Terminating"
    } else {
        ["Suspended", "FailureTarget", "SuccessCriteriaMet"]
            .into_iter()
            .find(|kind| condition(o, kind))
            .unwrap_or("Running")
    };
    let [names, images] = containers(o);
    vec![
        name(o),
        Value::from(status),
        Value::from(completions),
        Value::from(duration.unwrap_or_default()),
        age(o, now),
        names,
        images,
        Value::from(selector(o.pointer("/spec/selector"))),
    ]
}

fn cron_job(o: &Value, now: Timestamp) -> Vec<Value> {
    let template = o.pointer("/spec/jobTemplate");
    let [names, images] = containers(template.unwrap_or(&Value::Null));
    let last = at(o, "/status/lastScheduleTime");
    let last = if last.is_empty() {
        super::text::NONE.to_owned()
    } else {
        super::text::since(last, now)
    };
    vec![
        name(o),
        Value::from(at(o, "/spec/schedule")),
        Value::from(super::text::or(at(o, "/spec/timeZone"), super::text::NONE)),
        Value::from(match o.pointer("/spec/suspend") {
            Some(Value::Bool(true)) => "True",
            Some(Value::Bool(false)) => "False",
            _ => "<unset>",
        }),
        Value::from(super::text::items(o, "/status/active").len()),
        Value::from(last),
        age(o, now),
        names,
        images,
        Value::from(selector(template.and_then(|t| t.pointer("/spec/selector")))),
    ]
}

fn disruption_budget(o: &Value, now: Timestamp) -> Vec<Value> {
    let limit = |pointer: &str| match o.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "N/A".to_owned(),
    };
    vec![
        name(o),
        Value::from(limit("/spec/minAvailable")),
        Value::from(limit("/spec/maxUnavailable")),
        Value::from(number(o, "/status/disruptionsAllowed")),
        age(o, now),
    ]
}
