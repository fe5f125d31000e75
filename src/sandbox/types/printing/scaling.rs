//! HorizontalPodAutoscalers of both versions.

use jiff::Timestamp;
use serde_json::Value;

use super::text::{NONE, age, at, items, name, number, or};
use super::{AGE, Column, NAME, Printer};

pub(super) const AUTOSCALER: Printer = Printer {
    columns: &[
        NAME,
        Column("Reference", "string", false),
        Column("Targets", "string", false),
        Column("MinPods", "string", false),
        Column("MaxPods", "string", false),
        Column("Replicas", "string", false),
        AGE,
    ],
    cells: autoscaler,
};

fn autoscaler(o: &Value, now: Timestamp) -> Vec<Value> {
    let reference = format!(
        "{}/{}",
        at(o, "/spec/scaleTargetRef/kind"),
        at(o, "/spec/scaleTargetRef/name")
    );
    let minimum = o.pointer("/spec/minReplicas").and_then(Value::as_i64);
    vec![
        name(o),
        Value::from(reference),
        Value::from(targets(o)),
        Value::from(minimum.map_or_else(|| "<unset>".to_owned(), |m| m.to_string())),
        Value::from(number(o, "/spec/maxReplicas")),
        Value::from(number(o, "/status/currentReplicas")),
        age(o, now),
    ]
}

/// At most two metrics, each as `current/target`.
fn targets(o: &Value) -> String {
    // The first version knows one metric.
    if let Some(percent) = o.pointer("/spec/targetCPUUtilizationPercentage") {
        let current = o.pointer("/status/currentCPUUtilizationPercentage");
        let current = current.map_or_else(|| "<unknown>".to_owned(), |c| format!("{c}%"));
        return format!("cpu: {current}/{percent}%");
    }
    let metrics = items(o, "/spec/metrics");
    let now = items(o, "/status/currentMetrics");
    let texts: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(nth, metric)| target(metric, now.get(nth)))
        .collect();
    match texts.len() {
        0 => NONE.to_owned(),
        1 | 2 => texts.join(", "),
        all => format!("{} + {} more...", texts[..2].join(", "), all - 2),
    }
}

fn target(metric: &Value, current: Option<&Value>) -> String {
    let kind = at(metric, "/type");
    let member = match kind {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let wanted = |key: &str| scalar(metric, &format!("/{member}/target/{key}"));
    let current = |key: &str| {
        current
            .and_then(|c| scalar(c, &format!("/{member}/current/{key}")))
            .unwrap_or_else(|| "<unknown>".to_owned())
    };
    let of_resource = matches!(member, "resource" | "containerResource");
    if of_resource {
        let name = at(metric, &format!("/{member}/name"));
        if let Some(value) = wanted("averageValue") {
            return format!("{name}: {}/{value}", current("averageValue"));
        }
        let percent = |text: String| match text.as_str() {
            "<unknown>" => text,
            _ => format!("{text}%"),
        };
        let goal = wanted("averageUtilization").map_or_else(|| "<auto>".to_owned(), percent);
        return format!("{name}: {}/{goal}", percent(current("averageUtilization")));
    }
    match wanted("averageValue") {
        Some(value) if member == "pods" => format!("{}/{value}", current("averageValue")),
        Some(value) => format!("{}/{value} (avg)", current("averageValue")),
        None => {
            let value = wanted("value");
            format!(
                "{}/{}",
                current("value"),
                or(&value.unwrap_or_default(), "0")
            )
        }
    }
}

fn scalar(object: &Value, pointer: &str) -> Option<String> {
    match object.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
