//! What may change about a pod: `ValidatePodUpdate` in `pkg/apis/core/validation/validation.go`.

use serde_json::{Value, json};

use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;

const FORBIDDEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A change of the pod itself.
pub(crate) fn validate(live: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if live.get("spec") == new.get("spec") {
        return errors;
    }
    let old = &live["spec"];
    let mut munged = new["spec"].clone();
    for list in ["containers", "initContainers"] {
        let (before, after) = (meta::list(old, &[list]), meta::list(&munged, &[list]).len());
        if before.len() != after {
            errors.push(FieldError::forbidden(
                format!("spec.{list}"),
                "pod updates may not add or remove containers",
            ));
            return errors;
        }
        for (i, container) in before.iter().enumerate() {
            if meta::text(&munged[list][i], &["image"]).is_empty() {
                errors.push(FieldError::required(format!("spec.{list}[{i}].image"), ""));
            }
            restore(&mut munged[list][i], container, "image");
        }
    }
    errors.extend(deadline(old, &munged));
    restore(&mut munged, old, "activeDeadlineSeconds");
    let tolerations = meta::list(&munged, &["tolerations"]);
    let only_added = meta::list(old, &["tolerations"])
        .iter()
        .all(|t| tolerations.iter().any(|n| n == t || same_but_seconds(n, t)));
    if !only_added {
        errors.push(FieldError::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
    restore(&mut munged, old, "tolerations");
    if meta::int(old, &["terminationGracePeriodSeconds"]).is_some_and(|g| g < 0)
        && munged["terminationGracePeriodSeconds"] == 1
    {
        restore(&mut munged, old, "terminationGracePeriodSeconds");
    }
    let gates = meta::list(old, &["schedulingGates"]);
    for (i, gate) in meta::list(&munged, &["schedulingGates"]).iter().enumerate() {
        if !gates.contains(gate) {
            errors.push(FieldError::forbidden(
                format!("spec.schedulingGates[{i}].name"),
                format!(
                    "only deletion is allowed, but found new scheduling gate '{}'",
                    meta::text(gate, &["name"])
                ),
            ));
        }
    }
    restore(&mut munged, old, "schedulingGates");
    if !gates.is_empty() {
        // A gated pod's demands may be narrowed: selectors only added to, node affinity replaced.
        let kept = old["nodeSelector"].as_object().is_none_or(|selector| {
            selector
                .iter()
                .all(|(k, v)| munged["nodeSelector"].get(k) == Some(v))
        });
        if !kept {
            errors.push(FieldError::invalid(
                "spec.nodeSelector",
                munged["nodeSelector"].clone(),
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            ));
        }
        restore(&mut munged, old, "nodeSelector");
        let affinity = |spec: &Value, kind: &str| spec["affinity"].get(kind).cloned();
        if ["podAffinity", "podAntiAffinity"]
            .iter()
            .all(|k| affinity(old, k) == affinity(&munged, k))
        {
            errors.extend(node_affinity(old, &munged));
            restore(&mut munged, old, "affinity");
        }
    }
    if munged != *old {
        errors.push(FieldError::forbidden(
            "spec",
            format!("{FORBIDDEN}\n{}", diff(old, &munged)),
        ));
    }
    errors
}

/// A deadline only comes nearer.
fn deadline(old: &Value, new: &Value) -> Vec<FieldError> {
    const FIELD: &str = "spec.activeDeadlineSeconds";
    let of = |spec: &Value| meta::int(spec, &["activeDeadlineSeconds"]);
    let mut errors = Vec::new();
    let max = i64::from(i32::MAX);
    match (of(old), of(new)) {
        (Some(was), None) if was > 0 => errors.push(FieldError::invalid(
            FIELD,
            Value::Null,
            "must not update from a positive integer to nil value",
        )),
        (was, Some(is)) if was != Some(is) => {
            for low in [1, 0] {
                if !(low..=max).contains(&is) {
                    let why = format!("must be between {low} and {max}, inclusive");
                    errors.push(FieldError::invalid(FIELD, is, why));
                }
            }
            if errors.is_empty() && was.is_some_and(|was| is > was) {
                let why = "must be less than or equal to previous value";
                errors.push(FieldError::invalid(FIELD, is, why));
            }
        }
        _ => {}
    }
    errors
}

/// A gated pod's required node affinity may be set, and narrowed after that: every term keeps what it
/// has (`validateNodeAffinityMutation`).
fn node_affinity(old: &Value, new: &Value) -> Vec<FieldError> {
    const AT: &str = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let terms = |spec: &Value| {
        let required =
            &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        meta::list(required, &["nodeSelectorTerms"]).to_vec()
    };
    let (before, after) = (terms(old), terms(new));
    if before.is_empty() {
        return Vec::new();
    }
    if before.len() != after.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        let shown = after
            .iter()
            .map(internal_term)
            .collect::<Vec<_>>()
            .join(",");
        return vec![FieldError::invalid_shown(AT, format!("[{shown}]"), why)];
    }
    let mut errors = Vec::new();
    for (i, (before, after)) in before.iter().zip(&after).enumerate() {
        let kept = ["matchExpressions", "matchFields"].iter().all(|list| {
            let after = meta::list(after, &[list]);
            let before = meta::list(before, &[list]);
            before.iter().zip(after).all(|(b, a)| b == a) && before.len() <= after.len()
        });
        if !kept {
            let why = "only additions are allowed (no mutations or deletions)";
            errors.push(FieldError::invalid_shown(
                format!("{AT}[{i}]"),
                internal_term(after),
                why,
            ));
        }
    }
    errors
}

/// A node selector term as the JSON of Go's internal type, which has no field tags.
fn internal_term(term: &Value) -> String {
    let list = |name: &str| {
        let items = meta::list(term, &[name]);
        if items.is_empty() {
            return "null".to_owned();
        }
        let items: Vec<String> = items
            .iter()
            .map(|e| {
                format!(
                    "{{\"Key\":{},\"Operator\":{},\"Values\":{}}}",
                    e["key"],
                    e["operator"],
                    e.get("values").unwrap_or(&Value::Null)
                )
            })
            .collect();
        format!("[{}]", items.join(","))
    };
    format!(
        "{{\"MatchExpressions\":{},\"MatchFields\":{}}}",
        list("matchExpressions"),
        list("matchFields")
    )
}

fn restore(new: &mut Value, old: &Value, field: &str) {
    if let Value::Object(map) = new {
        match old.get(field) {
            Some(value) => {
                map.insert(field.to_owned(), value.clone());
            }
            None => {
                map.remove(field);
            }
        }
    }
}

fn same_but_seconds(a: &Value, b: &Value) -> bool {
    let strip = |t: &Value| {
        let mut t = t.clone();
        if let Value::Object(map) = &mut t {
            map.remove("tolerationSeconds");
        }
        t
    };
    meta::text(a, &["effect"]) == "NoExecute" && strip(a) == strip(b)
}

/// The top-level fields that differ.
fn diff(old: &Value, new: &Value) -> String {
    let empty = serde_json::Map::new();
    let (old, new) = (
        old.as_object().unwrap_or(&empty),
        new.as_object().unwrap_or(&empty),
    );
    let mut lines = Vec::new();
    for key in old
        .keys()
        .chain(new.keys().filter(|k| !old.contains_key(*k)))
    {
        if old.get(key) != new.get(key) {
            if let Some(value) = old.get(key) {
                lines.push(format!("- \t{key}: {value},"));
            }
            if let Some(value) = new.get(key) {
                lines.push(format!("+ \t{key}: {value},"));
            }
        }
    }
    lines.join("\n")
}

/// A change of a pod's status.
pub(crate) fn validate_status(live: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let qos = meta::text(live, &["status", "qosClass"]);
    let new_qos = meta::text(new, &["status", "qosClass"]);
    if !qos.is_empty() && qos != new_qos {
        errors.push(FieldError::invalid(
            "status.qosClass",
            new_qos,
            "field is immutable",
        ));
    }
    errors
}

/// Only cpu and memory can be resized.
pub(crate) fn validate_resize(live: &Value, new: &Value) -> Vec<FieldError> {
    let others = |pod: &Value| -> Vec<Value> {
        let mut found = Vec::new();
        for list in ["containers", "initContainers"] {
            for container in meta::list(pod, &["spec", list]) {
                let mut resources = container["resources"].clone();
                for kind in ["limits", "requests"] {
                    if let Some(Value::Object(map)) = resources.get_mut(kind) {
                        map.retain(|name, _| name != "cpu" && name != "memory");
                    }
                }
                found.push(json!([resources["limits"], resources["requests"]]));
            }
        }
        found
    };
    let emptied = |lists: Vec<Value>| -> Vec<String> {
        lists
            .iter()
            .map(|l| l.to_string().replace("{}", "null"))
            .collect()
    };
    if emptied(others(live)) == emptied(others(new)) {
        return Vec::new();
    }
    let why = "only cpu and memory resources are mutable";
    vec![FieldError::forbidden("spec", why)]
}

/// Of `ephemeralcontainers` and `resize` only their own part of the spec is taken.
pub(crate) fn prepare_subresource(live: &Value, new: &mut Value, subresource: &str) {
    let mut spec = live["spec"].clone();
    if subresource == "ephemeralcontainers" {
        restore(&mut spec, &new["spec"], "ephemeralContainers");
    } else {
        for list in ["containers", "initContainers"] {
            for wanted in meta::list(&new["spec"], &[list]) {
                if let Some(Value::Array(containers)) = spec.get_mut(list)
                    && let Some(container) =
                        containers.iter_mut().find(|c| c["name"] == wanted["name"])
                {
                    restore(container, wanted, "resources");
                    restore(container, wanted, "resizePolicy");
                }
            }
        }
    }
    if let Value::Object(map) = new {
        map.insert("spec".to_owned(), spec);
    } else {
        *new = json!({"spec": spec});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: Value) -> Value {
        json!({"spec": spec})
    }

    #[test]
    fn little_may_change() {
        let live = pod(
            json!({"containers": [{"name": "a", "image": "1"}], "tolerations": [{"key": "x"}]}),
        );
        let image = pod(
            json!({"containers": [{"name": "a", "image": "2"}], "tolerations": [{"key": "x"}, {"key": "y"}]}),
        );
        assert!(validate(&live, &image).is_empty());
        let node = pod(
            json!({"containers": [{"name": "a", "image": "1"}], "tolerations": [{"key": "x"}], "nodeName": "n"}),
        );
        let errors = validate(&live, &node);
        assert!(errors[0].to_string().starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"));
        let fewer = pod(json!({"containers": [{"name": "a", "image": "1"}], "tolerations": []}));
        assert!(!validate(&live, &fewer).is_empty());
    }

    #[test]
    fn gates_only_go() {
        let live =
            pod(json!({"containers": [], "schedulingGates": [{"name": "a"}, {"name": "b"}]}));
        let fewer = pod(
            json!({"containers": [], "schedulingGates": [{"name": "a"}], "nodeSelector": {"x": "y"}}),
        );
        assert!(validate(&live, &fewer).is_empty());
        let other = pod(json!({"containers": [], "schedulingGates": [{"name": "c"}]}));
        assert!(
            validate(&live, &other)[0]
                .to_string()
                .contains("found new scheduling gate 'c'")
        );
    }
}
