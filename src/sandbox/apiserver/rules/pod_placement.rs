//! Where a pod may go: tolerations, affinity and spreading that say nothing a scheduler could follow.
//!
//! Source: `ValidateTolerations`, `validateAffinity`, `validateTopologySpreadConstraints` in
//! `pkg/apis/core/validation/validation.go`.

use serde_json::Value;

use super::{names, node};
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;

/// Faults of a pod's spec at `path`.
pub(crate) fn validate(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, toleration) in meta::list(spec, &["tolerations"]).iter().enumerate() {
        tolerations(toleration, &format!("{path}.tolerations[{i}]"), &mut errors);
    }
    affinity(&spec["affinity"], &format!("{path}.affinity"), &mut errors);
    spreading(
        meta::list(spec, &["topologySpreadConstraints"]),
        &format!("{path}.topologySpreadConstraints"),
        &mut errors,
    );
    errors
}

fn tolerations(toleration: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let text = |field: &str| meta::text(toleration, &[field]);
    let (key, operator, value, effect) =
        (text("key"), text("operator"), text("value"), text("effect"));
    let operator_at = format!("{at}.operator");
    if !key.is_empty() {
        for why in names::qualified_name(key) {
            errors.push(FieldError::invalid(format!("{at}.key"), key, why));
        }
    }
    if key.is_empty() && operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(FieldError::invalid(operator_at.as_str(), operator, why));
    }
    if toleration
        .get("tolerationSeconds")
        .is_some_and(|s| !s.is_null())
        && effect != "NoExecute"
    {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(format!("{at}.effect"), effect, why));
    }
    match operator {
        "" | "Equal" => {
            for why in names::label_value(value) {
                errors.push(FieldError::invalid(operator_at.as_str(), value, why));
            }
        }
        "Exists" if !value.is_empty() => {
            let why = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(operator_at.as_str(), value, why));
        }
        "Exists" => {}
        other => errors.push(FieldError::not_supported(
            operator_at.as_str(),
            other,
            &["Equal", "Exists"],
        )),
    }
    errors.extend(node::effect_fault(&format!("{at}.effect"), effect, true));
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn weight(term: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let weight = meta::int(term, &["weight"]).unwrap_or(0);
    if !(1..=100).contains(&weight) {
        let why = "must be in the range 1-100";
        errors.push(FieldError::invalid(format!("{at}.weight"), weight, why));
    }
}

fn affinity(affinity: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let node = &affinity["nodeAffinity"];
    let node_at = format!("{at}.nodeAffinity");
    if let Some(required) = node.get(REQUIRED).filter(|r| r.is_object()) {
        let at = format!("{node_at}.{REQUIRED}.nodeSelectorTerms");
        let terms = meta::list(required, &["nodeSelectorTerms"]);
        if terms.is_empty() {
            let why = "must have at least one node selector term";
            errors.push(FieldError::required(at.as_str(), why));
        }
        for (i, term) in terms.iter().enumerate() {
            node_term(term, &format!("{at}[{i}]"), errors);
        }
    }
    for (i, term) in meta::list(node, &[PREFERRED]).iter().enumerate() {
        let at = format!("{node_at}.{PREFERRED}[{i}]");
        weight(term, &at, errors);
        node_term(&term["preference"], &format!("{at}.preference"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        for (i, term) in meta::list(affinity, &[kind, REQUIRED]).iter().enumerate() {
            pod_term(term, &format!("{at}.{kind}.{REQUIRED}[{i}]"), errors);
        }
        for (i, term) in meta::list(affinity, &[kind, PREFERRED]).iter().enumerate() {
            let at = format!("{at}.{kind}.{PREFERRED}[{i}]");
            weight(term, &at, errors);
            pod_term(
                &term["podAffinityTerm"],
                &format!("{at}.podAffinityTerm"),
                errors,
            );
        }
    }
}

fn node_term(term: &Value, at: &str, errors: &mut Vec<FieldError>) {
    for (i, expression) in meta::list(term, &["matchExpressions"]).iter().enumerate() {
        let at = format!("{at}.matchExpressions[{i}]");
        let values = meta::list(expression, &["values"]).len();
        let values_at = format!("{at}.values");
        match meta::text(expression, &["operator"]) {
            "In" | "NotIn" if values == 0 => errors.push(FieldError::required(
                values_at,
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if values > 0 => errors.push(FieldError::forbidden(
                values_at,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "Gt" | "Lt" if values != 1 => errors.push(FieldError::required(
                values_at,
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => errors.push(FieldError::invalid(
                format!("{at}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let key = meta::text(expression, &["key"]);
        for why in names::qualified_name(key) {
            errors.push(FieldError::invalid(format!("{at}.key"), key, why));
        }
    }
    for (i, field) in meta::list(term, &["matchFields"]).iter().enumerate() {
        let at = format!("{at}.matchFields[{i}]");
        match meta::text(field, &["operator"]) {
            "In" | "NotIn" => {
                if meta::list(field, &["values"]).len() != 1 {
                    errors.push(FieldError::required(
                        format!("{at}.values"),
                        "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                    ));
                }
            }
            other => errors.push(FieldError::invalid(
                format!("{at}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let key = meta::text(field, &["key"]);
        if key != "metadata.name" {
            let why = "not a valid field selector key";
            errors.push(FieldError::invalid(format!("{at}.key"), key, why));
        }
    }
}

fn pod_term(term: &Value, at: &str, errors: &mut Vec<FieldError>) {
    for list in ["labelSelector", "namespaceSelector"] {
        selector(&term[list], &format!("{at}.{list}"), errors);
    }
    for name in meta::list(term, &["namespaces"]) {
        let name = name.as_str().unwrap_or_default();
        for why in names::dns_label(name) {
            errors.push(FieldError::invalid(format!("{at}.namespace"), name, why));
        }
    }
    let key = meta::text(term, &["topologyKey"]);
    let key_at = format!("{at}.topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(key_at.as_str(), "can not be empty"));
    }
    for why in names::qualified_name(key) {
        errors.push(FieldError::invalid(key_at.as_str(), key, why));
    }
}

/// A `metav1.LabelSelector`: `ValidateLabelSelector` of apimachinery.
pub(crate) fn selector(selector: &Value, at: &str, errors: &mut Vec<FieldError>) {
    if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
        super::metadata::labels_at(&format!("{at}.matchLabels"), labels, errors);
    }
    for (i, expression) in meta::list(selector, &["matchExpressions"])
        .iter()
        .enumerate()
    {
        let at = format!("{at}.matchExpressions[{i}]");
        let values = meta::list(expression, &["values"]);
        match meta::text(expression, &["operator"]) {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                format!("{at}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                format!("{at}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                format!("{at}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let key = meta::text(expression, &["key"]);
        for why in names::qualified_name(key) {
            errors.push(FieldError::invalid(format!("{at}.key"), key, why));
        }
        for (j, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            for why in names::label_value(value) {
                errors.push(FieldError::invalid(format!("{at}.values[{j}]"), value, why));
            }
        }
    }
}

fn spreading(constraints: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    for (i, constraint) in constraints.iter().enumerate() {
        let at = format!("{path}[{i}]");
        let skew = meta::int(constraint, &["maxSkew"]).unwrap_or(0);
        if skew <= 0 {
            let why = "must be greater than zero";
            errors.push(FieldError::invalid(format!("{at}.maxSkew"), skew, why));
        }
        let key = meta::text(constraint, &["topologyKey"]);
        if key.is_empty() {
            errors.push(FieldError::required(
                format!("{at}.topologyKey"),
                "can not be empty",
            ));
        }
        let when = meta::text(constraint, &["whenUnsatisfiable"]);
        const WHEN: [&str; 2] = ["DoNotSchedule", "ScheduleAnyway"];
        if !WHEN.contains(&when) {
            errors.push(FieldError::not_supported(
                format!("{at}.whenUnsatisfiable"),
                when,
                &WHEN,
            ));
        }
        if let Some(domains) = meta::int(constraint, &["minDomains"]) {
            let domains_at = format!("{at}.minDomains");
            if domains <= 0 {
                let why = "must be greater than zero";
                errors.push(FieldError::invalid(domains_at, domains, why));
            } else if when != "DoNotSchedule" {
                let why = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"
                );
                errors.push(FieldError::invalid(domains_at, domains, why));
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            let policy = meta::text(constraint, &[field]);
            if !["", "Honor", "Ignore"].contains(&policy) {
                errors.push(FieldError::not_supported(
                    format!("{at}.{field}"),
                    policy,
                    &["Honor", "Ignore"],
                ));
            }
        }
        let same = |other: &&Value| {
            meta::text(other, &["topologyKey"]) == key
                && meta::text(other, &["whenUnsatisfiable"]) == when
        };
        // Told of each constraint that another one behind it repeats.
        if constraints[i + 1..].iter().any(|other| same(&other)) {
            errors.push(FieldError::duplicate(
                format!("{at}.{{topologyKey, whenUnsatisfiable}}"),
                &format!("{{{key}, {when}}}"),
            ));
        }
        selector(
            &constraint["labelSelector"],
            &format!("{at}.labelSelector"),
            errors,
        );
    }
}
