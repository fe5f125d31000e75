//! Which fields a field selector may name, per resource, and their values.
//!
//! Source: the `GetAttrs`/`ToSelectableFields` functions below `pkg/registry` and the
//! `AddFieldLabelConversionFunc` registrations in `pkg/apis/*/v1/conversion.go`.

use serde_json::Value;

use crate::sandbox::apiserver::meta;

/// Why `resource` of `group` cannot be selected by `field`; `None` if it can.
pub(crate) fn refusal(group: &str, resource: &str, field: &str) -> Option<String> {
    let clusterwide = matches!(
        (group, resource),
        ("", "nodes" | "namespaces")
            | ("certificates.k8s.io", "certificatesigningrequests")
            | ("resource.k8s.io", "resourceslices")
    );
    if field == "metadata.name" || (field == "metadata.namespace" && !clusterwide) {
        return None;
    }
    let fields: &[&str] = match (group, resource) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "spec.host",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "events") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "replicationcontrollers") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        ("certificates.k8s.io", "certificatesigningrequests") => &["spec.signerName"],
        ("resource.k8s.io", "resourceslices") => &["spec.nodeName", "spec.driver"],
        _ => {
            return Some(format!(
                "\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            ));
        }
    };
    if fields.contains(&field) {
        return None;
    }
    Some(if (group, resource) == ("batch", "jobs") {
        format!("field label \"{field}\" not supported for Job")
    } else {
        format!("field label not supported: {field}")
    })
}

/// The name under which a field of `events.k8s.io` is stored.
pub(crate) fn stored_name(group: &str, field: &str) -> String {
    if group != "events.k8s.io" {
        return field.to_owned();
    }
    match field.strip_prefix("regarding.") {
        Some(rest) => format!("involvedObject.{rest}"),
        None if field == "reportingController" => "reportingComponent".to_owned(),
        None => field.to_owned(),
    }
}

/// Whether a field has this value; absent fields are the empty string, booleans `false`.
pub(crate) fn holds(object: &Value, field: &str, value: &str) -> bool {
    // An event without a new-style reporter is selected by its old-style one, and `source` likewise.
    if field == "source" || field == "reportingComponent" {
        let component = meta::text(object, &["source", "component"]);
        let reporter = meta::text(object, &["reportingComponent"]);
        let (first, second) = if field == "source" {
            (component, reporter)
        } else {
            (reporter, component)
        };
        return value == if first.is_empty() { second } else { first };
    }
    // Not among the fields that are looked at, although it may be asked for.
    if field == "status.podIPs" {
        return value.is_empty();
    }
    let field = if field == "spec.host" {
        "spec.nodeName"
    } else {
        field
    };
    let field = if field == "status.successful" {
        "status.succeeded"
    } else {
        field
    };
    let found = field.split('.').try_fold(object, |at, key| at.get(key));
    match found {
        Some(Value::String(text)) => text == value,
        Some(Value::Bool(flag)) => value == if *flag { "true" } else { "false" },
        Some(Value::Number(number)) => number.to_string() == value,
        _ => match field {
            "spec.unschedulable" | "spec.hostNetwork" => value == "false",
            "status.replicas" | "status.succeeded" => value == "0",
            _ => value.is_empty(),
        },
    }
}
