//! Workloads, budgets and other kinds with a selector: what makes them invalid, what cannot change.
//!
//! Sources: `pkg/apis/apps/validation`, `pkg/apis/batch/validation`, `pkg/apis/policy/validation`.

use serde_json::{Value, json};

use super::budget;
use super::kinds::RuleKey;
use super::{metadata, pod, pod_placement, priority};
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::selector::LabelSelector;

/// The status of a new object: the counts that the Go types always print are zero.
pub(crate) fn new_status(key: RuleKey) -> Value {
    match key {
        ("", "replicationcontrollers") | ("apps", "replicasets") => json!({"replicas": 0}),
        ("apps", "statefulsets") => json!({"replicas": 0, "availableReplicas": 0}),
        ("apps", "daemonsets") => json!({"currentNumberScheduled": 0, "numberMisscheduled": 0,
            "desiredNumberScheduled": 0, "numberReady": 0}),
        ("policy", "poddisruptionbudgets") => json!({"disruptionsAllowed": 0,
            "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}),
        ("autoscaling", "horizontalpodautoscalers") => {
            json!({"desiredReplicas": 0, "currentMetrics": null})
        }
        ("", "services") | ("networking.k8s.io", "ingresses") => json!({"loadBalancer": {}}),
        ("", "persistentvolumeclaims" | "persistentvolumes") => json!({"phase": "Pending"}),
        _ => json!({}),
    }
}

/// Faults of an object of any kind but pods.
pub(crate) fn validate(key: RuleKey, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match key {
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => {
            non_negative(object, "replicas", &mut errors);
            validate_selected(object, &mut errors);
            non_negative(object, "minReadySeconds", &mut errors);
            non_negative(object, "revisionHistoryLimit", &mut errors);
            if key.1 == "deployments" {
                validate_deployment(object, &mut errors);
            }
        }
        ("batch", "jobs") => {
            for field in ["parallelism", "completions", "backoffLimit"] {
                non_negative(object, field, &mut errors);
            }
            errors.extend(pod::validate(object, "spec.template.spec", false));
            let policy = meta::text(object, &["spec", "template", "spec", "restartPolicy"]);
            if !["OnFailure", "Never"].contains(&policy) {
                errors.push(FieldError::required(
                    "spec.template.spec.restartPolicy",
                    "valid values: \"OnFailure\", \"Never\"",
                ));
            }
        }
        ("policy", "poddisruptionbudgets") => {
            let spec = &object["spec"];
            if spec.get("minAvailable").is_some() && spec.get("maxUnavailable").is_some() {
                errors.push(budget::both_bounds(spec));
            }
            for field in ["minAvailable", "maxUnavailable"] {
                int_or_percent(spec, "spec", field, &mut errors);
            }
            pod_placement::selector(&spec["selector"], "spec.selector", &mut errors);
            let policy = meta::text(spec, &["unhealthyPodEvictionPolicy"]);
            if !["", "IfHealthyBudget", "AlwaysAllow"].contains(&policy) {
                errors.push(FieldError::not_supported(
                    "spec.unhealthyPodEvictionPolicy",
                    policy,
                    &["AlwaysAllow", "IfHealthyBudget"],
                ));
            }
        }
        ("scheduling.k8s.io", "priorityclasses") => {
            let name = meta::name(object);
            let known = priority::SYSTEM_CLASSES
                .iter()
                .any(|(class, ..)| *class == name);
            if name.starts_with("system-") && !known {
                let why = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class"
                );
                errors.push(FieldError::forbidden("metadata.name", why));
            }
            let policy = meta::text(object, &["preemptionPolicy"]);
            const POLICIES: [&str; 2] = ["PreemptLowerPriority", "Never"];
            if !policy.is_empty() && !POLICIES.contains(&policy) {
                errors.push(FieldError::not_supported(
                    "preemptionPolicy",
                    policy,
                    &POLICIES,
                ));
            }
        }
        ("coordination.k8s.io", "leases") => {
            let duration = meta::int(object, &["spec", "leaseDurationSeconds"]);
            if let Some(n) = duration.filter(|n| *n <= 0) {
                let field = "spec.leaseDurationSeconds";
                errors.push(FieldError::invalid(field, n, "must be greater than 0"));
            }
            non_negative(object, "leaseTransitions", &mut errors);
        }
        _ => {}
    }
    errors
}

fn non_negative(object: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if let Some(n) = meta::int(object, &["spec", field]).filter(|n| *n < 0) {
        errors.push(FieldError::invalid(
            format!("spec.{field}"),
            n,
            "must be greater than or equal to 0",
        ));
    }
}

fn int_or_percent(map: &Value, path: &str, field: &str, errors: &mut Vec<FieldError>) {
    let at = format!("{path}.{field}");
    match map.get(field) {
        Some(Value::Number(n)) if n.as_i64().is_some_and(|n| n < 0) => {
            errors.push(FieldError::invalid(
                at,
                Value::Number(n.clone()),
                "must be greater than or equal to 0",
            ))
        }
        Some(Value::String(text)) => {
            let digits = text.strip_suffix('%').filter(|d| !d.is_empty());
            if digits.is_none_or(|d| !d.bytes().all(|b| b.is_ascii_digit())) {
                errors.push(FieldError::invalid(
                    at,
                    text.as_str(),
                    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                ));
            } else if field != "maxSurge"
                && digits
                    .and_then(|d| d.parse::<u32>().ok())
                    .is_none_or(|n| n > 100)
            {
                let why = "must not be greater than 100%";
                errors.push(FieldError::invalid(at, text.as_str(), why));
            }
        }
        _ => {}
    }
}

fn validate_selected(object: &Value, errors: &mut Vec<FieldError>) {
    let selector = object["spec"].get("selector").filter(|s| s.is_object());
    let template_labels = meta::at(object, &["spec", "template", "metadata", "labels"]);
    let labels = template_labels.and_then(Value::as_object);
    match LabelSelector::from_object(selector) {
        Err(_) => {
            let value = selector.cloned().unwrap_or_default();
            pod_placement::selector(&value, "spec.selector", errors);
            let why = "invalid label selector";
            errors.push(FieldError::invalid("spec.selector", value, why));
        }
        Ok(None) => {
            errors.push(FieldError::required("spec.selector", ""));
            // No selector selects nothing, hence not the template either.
            errors.push(mismatch(template_labels));
        }
        Ok(Some(selector)) if selector.is_empty() => errors.push(FieldError::invalid(
            "spec.selector",
            json!({}),
            "empty selector is invalid for deployment",
        )),
        Ok(Some(selector)) if !selector.matches_labels(labels) => {
            errors.push(mismatch(template_labels));
        }
        Ok(Some(_)) => {}
    }
    if let Some(labels) = labels {
        metadata::labels_at("spec.template.labels", labels, errors);
    }
    errors.extend(pod::validate(object, "spec.template.spec", false));
    let policy = meta::text(object, &["spec", "template", "spec", "restartPolicy"]);
    if !["", "Always"].contains(&policy) {
        errors.push(FieldError::not_supported(
            "spec.template.spec.restartPolicy",
            policy,
            &["Always"],
        ));
    }
}

fn mismatch(labels: Option<&Value>) -> FieldError {
    FieldError::invalid(
        "spec.template.metadata.labels",
        labels.cloned().unwrap_or_default(),
        "`selector` does not match template `labels`",
    )
}

fn validate_deployment(object: &Value, errors: &mut Vec<FieldError>) {
    let strategy = &object["spec"]["strategy"];
    match meta::text(strategy, &["type"]) {
        "" | "RollingUpdate" => {
            let rolling = &strategy["rollingUpdate"];
            for field in ["maxUnavailable", "maxSurge"] {
                int_or_percent(rolling, "spec.strategy.rollingUpdate", field, errors);
            }
            let zero = |field: &str| rolling.get(field).is_some_and(|v| v == 0 || v == "0%");
            if zero("maxUnavailable") && zero("maxSurge") {
                errors.push(FieldError::invalid(
                    "spec.strategy.rollingUpdate.maxUnavailable",
                    rolling["maxUnavailable"].clone(),
                    "may not be 0 when `maxSurge` is 0",
                ));
            }
        }
        "Recreate" => {
            if strategy.get("rollingUpdate").is_some_and(|r| !r.is_null()) {
                errors.push(FieldError::forbidden(
                    "spec.strategy.rollingUpdate",
                    "may not be specified when strategy `type` is 'Recreate'",
                ));
            }
        }
        other => errors.push(FieldError::not_supported_shown(
            "spec.strategy",
            // The internal type, which has no field tags.
            format!("{{\"Type\":{other:?},\"RollingUpdate\":null}}"),
            &["Recreate", "RollingUpdate"],
        )),
    }
    let ready = meta::int(object, &["spec", "minReadySeconds"]).unwrap_or(0);
    if let Some(deadline) = meta::int(object, &["spec", "progressDeadlineSeconds"])
        && deadline <= ready
    {
        errors.push(FieldError::invalid(
            "spec.progressDeadlineSeconds",
            deadline,
            "must be greater than minReadySeconds",
        ));
    }
}

/// What cannot change.
pub(crate) fn validate_update(key: RuleKey, live: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let immutable: &[&str] = match key {
        ("apps", "deployments" | "replicasets" | "daemonsets") => &["selector"],
        ("batch", "jobs") => &["selector", "completionMode"],
        _ => &[],
    };
    for field in immutable {
        if live["spec"].get(field) != new["spec"].get(field) {
            let value = new["spec"].get(field).cloned().unwrap_or_default();
            errors.push(FieldError::invalid(
                format!("spec.{field}"),
                value,
                "field is immutable",
            ));
        }
    }
    let completions = |object: &Value| object["spec"].get("completions").cloned();
    if key == ("batch", "jobs")
        && meta::text(new, &["spec", "completionMode"]) != "Indexed"
        && completions(live) != completions(new)
    {
        errors.push(FieldError::invalid(
            "spec.completions",
            completions(new).unwrap_or_default(),
            "field is immutable",
        ));
    }
    if key == ("apps", "statefulsets") {
        const MUTABLE: [&str; 7] = [
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
        ];
        let strip = |object: &Value| {
            let mut spec = object["spec"].clone();
            if let Value::Object(map) = &mut spec {
                map.retain(|k, _| !MUTABLE.contains(&k.as_str()));
            }
            spec
        };
        if strip(live) != strip(new) {
            errors.push(FieldError::forbidden(
                "spec",
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            ));
        }
    }
    if matches!(key, ("", "configmaps" | "secrets")) && live["immutable"] == true {
        for field in ["data", "binaryData", "immutable"] {
            if live.get(field) != new.get(field) {
                errors.push(FieldError::forbidden(
                    field,
                    "field is immutable when `immutable` is set",
                ));
            }
        }
    }
    if key == ("scheduling.k8s.io", "priorityclasses") {
        for field in ["value", "preemptionPolicy"] {
            if live.get(field) != new.get(field) {
                errors.push(FieldError::forbidden(
                    field,
                    "may not be changed in an update.",
                ));
            }
        }
    }
    errors
}
