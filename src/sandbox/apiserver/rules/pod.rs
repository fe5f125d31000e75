//! Pods: what a new one is given, its quality of service, its grace, and what makes it invalid.
//!
//! Sources: `pkg/registry/core/pod/strategy.go`, `pkg/apis/core/helper/qos`, `…/validation`.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{names, pod_placement, quantity};
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;

/// What is worth a warning: `warningsForPodSpecAndMeta` in `pkg/api/pod/warnings.go`.
pub(crate) fn warnings(pod: &Value) -> Vec<String> {
    meta::list(pod, &["spec", "topologySpreadConstraints"])
        .iter()
        .enumerate()
        .filter(|(_, constraint)| constraint.get("labelSelector").is_none_or(Value::is_null))
        .map(|(i, _)| {
            format!("spec.topologySpreadConstraints[{i}].labelSelector: a null labelSelector results in matching no pod")
        })
        .collect()
}

/// What the deletion cost of a pod may be: a 32-bit integer as one writes it.
pub(crate) fn validate_annotations(pod: &Value) -> Vec<FieldError> {
    const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
    let Some(cost) = pod["metadata"]["annotations"]
        .get(COST)
        .and_then(Value::as_str)
    else {
        return Vec::new();
    };
    let digits = cost.strip_prefix('-').unwrap_or(cost);
    let odd = cost.starts_with('+') || (digits.len() > 1 && digits.starts_with('0'));
    if !odd && cost.parse::<i32>().is_ok() {
        return Vec::new();
    }
    let field = format!("metadata.annotations[{COST}]");
    vec![FieldError::invalid(field, cost, "must be a 32bit integer")]
}

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
            guaranteed &= limit.is_some() && request == limit;
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
    let init: Vec<&str> = meta::list(spec, &["initContainers"])
        .iter()
        .map(|c| meta::text(c, &["name"]))
        .collect();
    let mut ports = HashSet::new();
    if meta::list(spec, &["containers"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    for list in ["initContainers", "containers"] {
        for (i, container) in meta::list(spec, &[list]).iter().enumerate() {
            let at = format!("{path}.{list}[{i}]");
            validate_container(container, &at, spec, &mut errors);
            let mut named = HashSet::new();
            for (j, port) in meta::list(container, &["ports"]).iter().enumerate() {
                let name = meta::text(port, &["name"]);
                if !name.is_empty() && !named.insert(name) {
                    errors.push(FieldError::duplicate(format!("{at}.ports[{j}].name"), name));
                }
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
            // Of two lists that share a name, the init containers are told.
            let elsewhere = list == "initContainers"
                && meta::list(spec, &["containers"])
                    .iter()
                    .any(|c| c["name"] == name);
            let fresh = list == "initContainers" || !init.contains(&name);
            if !name.is_empty() && ((!seen.insert(name) && fresh) || elsewhere) {
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
    errors.extend(pod_placement::validate(spec, path));
    let deadline = meta::int(spec, &["activeDeadlineSeconds"]);
    let max = i64::from(i32::MAX);
    if is_pod && let Some(n) = deadline.filter(|n| !(1..=max).contains(n)) {
        errors.push(FieldError::invalid(
            format!("{path}.activeDeadlineSeconds"),
            n,
            format!("must be between 1 and {max}, inclusive"),
        ));
    }
    let dns = meta::text(spec, &["dnsPolicy"]);
    const DNS: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    if !dns.is_empty() && !DNS.contains(&dns) {
        errors.push(FieldError::not_supported(
            format!("{path}.dnsPolicy"),
            dns,
            &DNS,
        ));
    }
    let mut volumes = HashSet::new();
    for (i, volume) in meta::list(spec, &["volumes"]).iter().enumerate() {
        let name = meta::text(volume, &["name"]);
        if !name.is_empty() && !volumes.insert(name) {
            errors.push(FieldError::duplicate(
                format!("{path}.volumes[{i}].name"),
                name,
            ));
        }
    }
    if let Some(overhead) = spec.get("overhead").filter(|o| o.is_object()) {
        let limits = json!({"limits": overhead});
        validate_resources(&limits, &format!("{path}.overhead"), errors);
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
    for (i, variable) in meta::list(container, &["env"]).iter().enumerate() {
        if meta::text(variable, &["name"]).is_empty() {
            errors.push(FieldError::required(format!("{at}.env[{i}].name"), ""));
        }
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
    let is_native = |name: &str| !name.contains('/') || name.contains("kubernetes.io/");
    let text = |value: &Value| {
        let text = value.as_str().map(str::to_owned);
        text.unwrap_or_else(|| value.to_string())
    };
    for list in ["limits", "requests"] {
        let Some(map) = resources.get(list).and_then(Value::as_object) else {
            continue;
        };
        for (name, value) in map {
            let field = format!("{at}.{list}[{name}]");
            let standard = ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str())
                || name.starts_with("hugepages-");
            let mut faults = names::qualified_name(name);
            if faults.is_empty() && !standard && !name.contains('/') {
                faults.push("must be a standard resource type or fully qualified".to_owned());
                faults.push("must be a standard resource for containers".to_owned());
            } else if !faults.is_empty() && name.contains('/') {
                faults.push("doesn't follow extended resource name standard".to_owned());
            }
            if !faults.is_empty() {
                for why in faults {
                    errors.push(FieldError::invalid(field.as_str(), name.as_str(), why));
                }
                continue;
            }
            match quantity::milli(value) {
                None => errors.push(FieldError::invalid(field, value.clone(), quantity::SYNTAX)),
                Some(q) if q < 0 => errors.push(FieldError::invalid(
                    field,
                    value.clone(),
                    "must be greater than or equal to 0",
                )),
                Some(q) if !is_native(name) && q % 1_000 != 0 => {
                    errors.push(FieldError::invalid(
                        field,
                        text(value),
                        "must be an integer",
                    ));
                }
                Some(q) if list == "requests" => {
                    let limit = &resources["limits"][name];
                    let bound = quantity::milli(limit);
                    let why = match bound {
                        Some(bound) if !is_native(name) && q != bound => {
                            format!("must be equal to {name} limit of {}", text(limit))
                        }
                        Some(bound) if q > bound => {
                            format!(
                                "must be less than or equal to {name} limit of {}",
                                text(limit)
                            )
                        }
                        None if !is_native(name) => {
                            errors.push(FieldError::required(
                                format!("{at}.limits"),
                                "Limit must be set for non overcommitable resources",
                            ));
                            continue;
                        }
                        _ => continue,
                    };
                    errors.push(FieldError::invalid(
                        format!("{at}.requests"),
                        text(value),
                        why,
                    ));
                }
                Some(_) => {}
            }
        }
    }
    let asks = |prefix: &str| {
        ["limits", "requests"].iter().any(|list| {
            let map = resources.get(*list).and_then(Value::as_object);
            map.is_some_and(|map| map.keys().any(|name| name.starts_with(prefix)))
        })
    };
    if asks("hugepages-") && !asks("cpu") && !asks("memory") {
        errors.push(FieldError::forbidden(at, "HugePages require cpu or memory"));
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
