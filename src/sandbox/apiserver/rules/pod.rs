//! Pods: what a new one is given, its quality of service, its grace, and what makes it invalid.
//!
//! Sources: `pkg/registry/core/pod/strategy.go`, `pkg/apis/core/helper/qos`, `…/validation`.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{names, quantity};
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;

/// A new pod is pending; a gated one says why it is not scheduled.
pub(crate) fn prepare_create(object: &mut Value, now: Timestamp) {
    let qos = qos_class(object);
    if let Value::Object(map) = object {
        map.insert(
            "status".to_owned(),
            json!({"phase": "Pending", "qosClass": qos}),
        );
    }
    if !meta::list(object, &["spec", "schedulingGates"]).is_empty() {
        let message = "Scheduling is blocked due to non-empty scheduling gates";
        meta::set_condition(
            object,
            "PodScheduled",
            "False",
            "SchedulingGated",
            message,
            now,
        );
    }
}

/// The status subresource leaves owners alone and keeps the quality of service.
pub(crate) fn prepare_status(live: &Value, new: &mut Value) {
    let owners = live["metadata"].get("ownerReferences").cloned();
    meta::set(new, "ownerReferences", owners);
    let old = &live["status"];
    let status = meta::map_mut(new, "status");
    for field in ["qosClass", "observedGeneration"] {
        let missing = status
            .get(field)
            .is_none_or(|v| v.is_null() || v == "" || v == 0);
        if missing && let Some(value) = old.get(field) {
            status.insert(field.to_owned(), value.clone());
        }
    }
}

/// The grace period of a deletion (`CheckGracefulDelete`).
pub(crate) fn grace_period(pod: &Value, asked: Option<i64>) -> i64 {
    let period = asked
        .or_else(|| meta::int(pod, &["spec", "terminationGracePeriodSeconds"]))
        .unwrap_or(0);
    let unassigned = meta::text(pod, &["spec", "nodeName"]).is_empty();
    let finished = matches!(
        meta::text(pod, &["status", "phase"]),
        "Failed" | "Succeeded"
    );
    match period {
        _ if unassigned || finished => 0,
        negative if negative < 0 => 1,
        period => period,
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let spec = &pod["spec"];
    meta::list(spec, &["containers"])
        .iter()
        .chain(meta::list(spec, &["initContainers"]))
}

/// `Guaranteed`, `Burstable` or `BestEffort`, from cpu and memory alone.
pub(crate) fn qos_class(pod: &Value) -> &'static str {
    let positive = |resources: &Value, list: &str, name: &str| {
        quantity::milli(&resources[list][name]).filter(|q| *q > 0)
    };
    let pod_level = pod["spec"].get("resources").filter(|r| r.is_object());
    let all: Vec<&Value> = match pod_level {
        Some(resources) => vec![resources],
        None => containers(pod).map(|c| &c["resources"]).collect(),
    };
    let mut any = false;
    let mut guaranteed = !all.is_empty();
    for resources in all {
        for name in ["cpu", "memory"] {
            let request = positive(resources, "requests", name);
            let limit = positive(resources, "limits", name);
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|r| Some(r) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Faults of a pod, or of a pod template at `path` (`spec`, `spec.template.spec`).
pub(crate) fn validate(object: &Value, path: &str, is_pod: bool) -> Vec<FieldError> {
    let spec = path.split('.').fold(object, |at, key| &at[key]);
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    let mut ports = HashSet::new();
    if meta::list(spec, &["containers"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    for list in ["initContainers", "containers"] {
        for (i, container) in meta::list(spec, &[list]).iter().enumerate() {
            let at = format!("{path}.{list}[{i}]");
            validate_container(container, &at, spec, &mut errors);
            for (j, port) in meta::list(container, &["ports"]).iter().enumerate() {
                validate_port(port, &format!("{at}.ports[{j}]"), &mut errors);
                let key = (
                    meta::int(port, &["hostPort"]),
                    meta::text(port, &["protocol"]),
                    meta::text(port, &["hostIP"]),
                );
                if list == "containers" && key.0.is_some_and(|p| p > 0) && !ports.insert(key) {
                    let text = format!("{}/{}/{}", key.1, key.2, key.0.unwrap_or(0));
                    errors.push(FieldError::duplicate(
                        format!("{at}.ports[{j}].hostPort"),
                        &text,
                    ));
                }
            }
            let name = meta::text(container, &["name"]);
            if !name.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{at}.name"), name));
            }
        }
    }
    validate_spec(spec, path, is_pod, &mut errors);
    errors
}

fn validate_spec(spec: &Value, path: &str, is_pod: bool, errors: &mut Vec<FieldError>) {
    let policy = meta::text(spec, &["restartPolicy"]);
    if !policy.is_empty() && !["Always", "OnFailure", "Never"].contains(&policy) {
        errors.push(FieldError::not_supported(
            format!("{path}.restartPolicy"),
            policy,
            &["Always", "OnFailure", "Never"],
        ));
    }
    for field in ["nodeName", "serviceAccountName", "priorityClassName"] {
        let value = meta::text(spec, &[field]);
        if !value.is_empty() {
            for why in names::dns_subdomain(value) {
                errors.push(FieldError::invalid(format!("{path}.{field}"), value, why));
            }
        }
    }
    let gates = meta::list(spec, &["schedulingGates"]);
    if is_pod && !gates.is_empty() && !meta::text(spec, &["nodeName"]).is_empty() {
        errors.push(FieldError::forbidden(
            format!("{path}.nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        ));
    }
    let mut seen = HashSet::new();
    for (i, gate) in gates.iter().enumerate() {
        let name = meta::text(gate, &["name"]);
        for why in names::qualified_name(name) {
            errors.push(FieldError::invalid(
                format!("{path}.schedulingGates[{i}]"),
                name,
                why,
            ));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(
                format!("{path}.schedulingGates[{i}]"),
                name,
            ));
        }
    }
    if let Some(selector) = spec.get("nodeSelector").and_then(Value::as_object) {
        super::metadata::labels_at(&format!("{path}.nodeSelector"), selector, errors);
    }
    for (i, toleration) in meta::list(spec, &["tolerations"]).iter().enumerate() {
        let at = format!("{path}.tolerations[{i}]");
        let operator = meta::text(toleration, &["operator"]);
        if !["", "Equal", "Exists", "Lt", "Gt"].contains(&operator) {
            errors.push(FieldError::not_supported(
                format!("{at}.operator"),
                operator,
                &["Equal", "Exists"],
            ));
        }
        let effect = meta::text(toleration, &["effect"]);
        if !["", "NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            errors.push(FieldError::not_supported(
                format!("{at}.effect"),
                effect,
                &["NoExecute", "NoSchedule", "PreferNoSchedule"],
            ));
        }
        if meta::text(toleration, &["key"]).is_empty() && operator != "Exists" {
            errors.push(FieldError::invalid(
                format!("{at}.operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ));
        }
    }
    for (i, constraint) in meta::list(spec, &["topologySpreadConstraints"])
        .iter()
        .enumerate()
    {
        let at = format!("{path}.topologySpreadConstraints[{i}]");
        if meta::int(constraint, &["maxSkew"]).unwrap_or(0) <= 0 {
            let value = constraint
                .get("maxSkew")
                .cloned()
                .unwrap_or_else(|| json!(0));
            errors.push(FieldError::invalid(
                format!("{at}.maxSkew"),
                value,
                "must be greater than zero",
            ));
        }
        if meta::text(constraint, &["topologyKey"]).is_empty() {
            errors.push(FieldError::required(
                format!("{at}.topologyKey"),
                "can not be empty",
            ));
        }
        let when = meta::text(constraint, &["whenUnsatisfiable"]);
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&when) {
            errors.push(FieldError::not_supported(
                format!("{at}.whenUnsatisfiable"),
                when,
                &["DoNotSchedule", "ScheduleAnyway"],
            ));
        }
    }
}

fn validate_container(container: &Value, at: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    let name = meta::text(container, &["name"]);
    if name.is_empty() {
        errors.push(FieldError::required(format!("{at}.name"), ""));
    } else {
        for why in names::dns_label(name) {
            errors.push(FieldError::invalid(format!("{at}.name"), name, why));
        }
    }
    let image = meta::text(container, &["image"]);
    if image.is_empty() {
        errors.push(FieldError::required(format!("{at}.image"), ""));
    } else if image.trim() != image {
        errors.push(FieldError::invalid(
            format!("{at}.image"),
            image,
            "must not have leading or trailing whitespace",
        ));
    }
    let pull = meta::text(container, &["imagePullPolicy"]);
    if !["", "Always", "IfNotPresent", "Never"].contains(&pull) {
        errors.push(FieldError::not_supported(
            format!("{at}.imagePullPolicy"),
            pull,
            &["Always", "IfNotPresent", "Never"],
        ));
    }
    validate_resources(&container["resources"], &format!("{at}.resources"), errors);
    let volumes = meta::list(spec, &["volumes"]);
    for (i, mount) in meta::list(container, &["volumeMounts"]).iter().enumerate() {
        let volume = meta::text(mount, &["name"]);
        if volume.is_empty() {
            errors.push(FieldError::required(
                format!("{at}.volumeMounts[{i}].name"),
                "",
            ));
        } else if !volumes.iter().any(|v| v["name"] == volume) {
            errors.push(FieldError::not_found(
                format!("{at}.volumeMounts[{i}].name"),
                volume,
            ));
        }
        if meta::text(mount, &["mountPath"]).is_empty() {
            errors.push(FieldError::required(
                format!("{at}.volumeMounts[{i}].mountPath"),
                "",
            ));
        }
    }
}

fn validate_resources(resources: &Value, at: &str, errors: &mut Vec<FieldError>) {
    for list in ["limits", "requests"] {
        let Some(map) = resources.get(list).and_then(Value::as_object) else {
            continue;
        };
        for (name, value) in map {
            let field = format!("{at}.{list}[{name}]");
            if !["cpu", "memory", "ephemeral-storage", "storage", "pods"].contains(&name.as_str())
                && !name.contains('/')
                && !name.starts_with("hugepages-")
            {
                errors.push(FieldError::invalid(
                    format!("{at}.{list}"),
                    name.as_str(),
                    "must be a standard resource type or fully qualified",
                ));
                continue;
            }
            match quantity::milli(value) {
                None => errors.push(FieldError::invalid(field, value.clone(), quantity::SYNTAX)),
                Some(q) if q < 0 => errors.push(FieldError::invalid(
                    field,
                    value.clone(),
                    "must be greater than or equal to 0",
                )),
                Some(q) if list == "requests" => {
                    if let Some(limit) = quantity::milli(&resources["limits"][name])
                        && q > limit
                    {
                        let text = value
                            .as_str()
                            .map_or_else(|| value.to_string(), str::to_owned);
                        let limit = &resources["limits"][name];
                        let limit = limit
                            .as_str()
                            .map_or_else(|| limit.to_string(), str::to_owned);
                        errors.push(FieldError::invalid(
                            format!("{at}.requests"),
                            text,
                            format!("must be less than or equal to {name} limit of {limit}"),
                        ));
                    }
                }
                Some(_) => {}
            }
        }
    }
}

fn validate_port(port: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let valid = |p: i64| (1..=65535).contains(&p);
    const RANGE: &str = "must be between 1 and 65535, inclusive";
    match meta::int(port, &["containerPort"]) {
        None | Some(0) => errors.push(FieldError::required(format!("{at}.containerPort"), "")),
        Some(p) if !valid(p) => {
            errors.push(FieldError::invalid(format!("{at}.containerPort"), p, RANGE));
        }
        Some(_) => {}
    }
    if let Some(p) = meta::int(port, &["hostPort"]).filter(|p| *p != 0 && !valid(*p)) {
        errors.push(FieldError::invalid(format!("{at}.hostPort"), p, RANGE));
    }
    let protocol = meta::text(port, &["protocol"]);
    if !["", "TCP", "UDP", "SCTP"].contains(&protocol) {
        errors.push(FieldError::not_supported(
            format!("{at}.protocol"),
            protocol,
            &["SCTP", "TCP", "UDP"],
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_of_service() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        assert_eq!(qos_class(&pod(json!({}))), "BestEffort");
        assert_eq!(
            qos_class(&pod(json!({"requests": {"cpu": "1"}}))),
            "Burstable"
        );
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(
            qos_class(&pod(json!({"limits": both, "requests": both}))),
            "Guaranteed"
        );
        let lower = json!({"cpu": "1", "memory": "1Mi"});
        assert_eq!(
            qos_class(&pod(json!({"limits": both, "requests": lower}))),
            "Burstable"
        );
    }

    #[test]
    fn grace() {
        let pod = |node: &str, phase: &str| {
            json!({"spec": {"nodeName": node, "terminationGracePeriodSeconds": 30},
                   "status": {"phase": phase}})
        };
        assert_eq!(grace_period(&pod("n", "Running"), None), 30);
        assert_eq!(grace_period(&pod("n", "Running"), Some(5)), 5);
        assert_eq!(grace_period(&pod("n", "Running"), Some(-3)), 1);
        assert_eq!(grace_period(&pod("", "Pending"), Some(5)), 0);
        assert_eq!(grace_period(&pod("n", "Failed"), None), 0);
    }

    #[test]
    fn faults_are_named() {
        let pod = json!({"spec": {"containers": [
            {"name": "a", "image": "i", "resources": {"requests": {"cpu": "-1", "memory": "1x"}}},
            {"name": "a"},
        ]}});
        let texts: Vec<String> = validate(&pod, "spec", true)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            texts[0]
                .starts_with("spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\"")
        );
        assert!(texts[1].contains("quantities must match"));
        assert_eq!(texts[2], "spec.containers[1].image: Required value");
        assert_eq!(texts[3], "spec.containers[1].name: Duplicate value: \"a\"");
    }
}
