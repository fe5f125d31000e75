//! What administrators look at: certificates, admission, flow control, drivers, devices, components.

use jiff::Timestamp;
use serde_json::Value;

use super::text::{NONE, age, at, containers_of, human_duration, items, labels, name, number, or};
use super::{AGE, Column, NAME, PLAIN, Printer};

const WEBHOOKS: Printer = Printer {
    columns: &[NAME, Column("Webhooks", "integer", false), AGE],
    cells: |o, now| {
        let count = items(o, "/webhooks").len();
        vec![name(o), Value::from(count), age(o, now)]
    },
};

const POLICY_BINDING: Printer = Printer {
    columns: &[
        NAME,
        Column("PolicyName", "string", false),
        Column("ParamRef", "string", false),
        AGE,
    ],
    cells: policy_binding,
};

pub(super) fn printer(group: &str, kind: &str) -> Option<Printer> {
    Some(match (group, kind) {
        ("", "ServiceAccount") | ("resource.k8s.io", "DeviceClass" | "ResourceClaimTemplate") => {
            PLAIN
        }
        ("", "ComponentStatus") => Printer {
            columns: &[
                NAME,
                Column("Status", "string", false),
                Column("Message", "string", false),
                Column("Error", "string", false),
            ],
            cells: component,
        },
        ("", "PodTemplate") => Printer {
            columns: &[
                NAME,
                Column("Containers", "string", false),
                Column("Images", "string", false),
                Column("Pod Labels", "string", false),
            ],
            cells: |o, _| {
                let [names, images] = containers_of(items(o, "/template/spec/containers"));
                let labels = labels(o.pointer("/template/metadata/labels"));
                vec![name(o), names, images, Value::from(labels)]
            },
        },
        ("certificates.k8s.io", "CertificateSigningRequest") => Printer {
            columns: &[
                NAME,
                AGE,
                Column("SignerName", "string", false),
                Column("Requestor", "string", false),
                Column("RequestedDuration", "string", false),
                Column("Condition", "string", false),
            ],
            cells: signing_request,
        },
        ("node.k8s.io", "RuntimeClass") => Printer {
            columns: &[NAME, Column("Handler", "string", false), AGE],
            cells: |o, now| vec![name(o), Value::from(at(o, "/handler")), age(o, now)],
        },
        ("storage.k8s.io", "VolumeAttachment") => Printer {
            columns: &[
                NAME,
                Column("Attacher", "string", false),
                Column("PV", "string", false),
                Column("Node", "string", false),
                Column("Attached", "boolean", false),
                AGE,
            ],
            cells: |o, now| {
                vec![
                    name(o),
                    Value::from(at(o, "/spec/attacher")),
                    Value::from(at(o, "/spec/source/persistentVolumeName")),
                    Value::from(at(o, "/spec/nodeName")),
                    Value::from(flag(o, "/status/attached", false)),
                    age(o, now),
                ]
            },
        },
        ("storage.k8s.io", "VolumeAttributesClass") => Printer {
            columns: &[NAME, Column("DriverName", "string", false), AGE],
            cells: |o, now| vec![name(o), Value::from(at(o, "/driverName")), age(o, now)],
        },
        ("storage.k8s.io", "CSINode") => Printer {
            columns: &[NAME, Column("Drivers", "integer", false), AGE],
            cells: |o, now| {
                let drivers = items(o, "/spec/drivers").len();
                vec![name(o), Value::from(drivers), age(o, now)]
            },
        },
        ("storage.k8s.io", "CSIDriver") => Printer {
            columns: &[
                NAME,
                Column("AttachRequired", "boolean", false),
                Column("PodInfoOnMount", "boolean", false),
                Column("StorageCapacity", "boolean", false),
                Column("TokenRequests", "string", false),
                Column("RequiresRepublish", "boolean", false),
                Column("Modes", "string", false),
                AGE,
            ],
            cells: driver,
        },
        ("storage.k8s.io", "CSIStorageCapacity") => Printer {
            columns: &[
                NAME,
                Column("StorageClassName", "string", false),
                Column("Capacity", "string", false),
            ],
            cells: |o, _| {
                vec![
                    name(o),
                    Value::from(at(o, "/storageClassName")),
                    Value::from(or(at(o, "/capacity"), "<unset>")),
                ]
            },
        },
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => WEBHOOKS,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => Printer {
            columns: &[
                NAME,
                Column("Validations", "integer", false),
                Column("ParamKind", "string", false),
                AGE,
            ],
            cells: |o, now| policy(o, "/spec/validations", now),
        },
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => Printer {
            columns: &[
                NAME,
                Column("Mutations", "integer", false),
                Column("ParamKind", "string", false),
                AGE,
            ],
            cells: |o, now| policy(o, "/spec/mutations", now),
        },
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding",
        ) => POLICY_BINDING,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => Printer {
            columns: &[
                NAME,
                Column("PriorityLevel", "string", false),
                Column("MatchingPrecedence", "string", false),
                Column("DistinguisherMethod", "string", false),
                AGE,
                Column("MissingPL", "string", false),
            ],
            cells: flow,
        },
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => Printer {
            columns: &[
                NAME,
                Column("Type", "string", false),
                Column("NominalConcurrencyShares", "string", false),
                Column("Queues", "string", false),
                Column("HandSize", "string", false),
                Column("QueueLengthLimit", "string", false),
                AGE,
            ],
            cells: priority_level,
        },
        ("resource.k8s.io", "ResourceClaim") => Printer {
            columns: &[NAME, Column("State", "string", false), AGE],
            cells: |o, now| vec![name(o), Value::from(claim_state(o)), age(o, now)],
        },
        ("resource.k8s.io", "ResourceSlice") => Printer {
            columns: &[
                NAME,
                Column("Node", "string", false),
                Column("Driver", "string", false),
                Column("Pool", "string", false),
                AGE,
            ],
            cells: |o, now| {
                vec![
                    name(o),
                    Value::from(at(o, "/spec/nodeName")),
                    Value::from(at(o, "/spec/driver")),
                    Value::from(at(o, "/spec/pool/name")),
                    age(o, now),
                ]
            },
        },
        // kube-aggregator/pkg/registry/apiservice/etcd
        ("apiregistration.k8s.io", "APIService") => Printer {
            columns: &[
                NAME,
                Column("Service", "string", false),
                Column("Available", "string", false),
                AGE,
            ],
            cells: api_service,
        },
        _ => return None,
    })
}

fn flag(o: &Value, pointer: &str, otherwise: bool) -> bool {
    o.pointer(pointer)
        .and_then(Value::as_bool)
        .unwrap_or(otherwise)
}

fn component(o: &Value, _: Timestamp) -> Vec<Value> {
    let healthy = items(o, "/conditions")
        .iter()
        .find(|c| at(c, "/type") == "Healthy");
    let status = match healthy.map(|c| at(c, "/status")) {
        None => "Unknown",
        Some("True") => "Healthy",
        Some(_) => "Unhealthy",
    };
    let text = |pointer| Value::from(healthy.map_or("", |c| at(c, pointer)));
    vec![
        name(o),
        Value::from(status),
        text("/message"),
        text("/error"),
    ]
}

fn signing_request(o: &Value, now: Timestamp) -> Vec<Value> {
    let has = |kind: &str| {
        items(o, "/status/conditions")
            .iter()
            .any(|c| at(c, "/type") == kind)
    };
    let mut state = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !at(o, "/status/certificate").is_empty() {
        state.push_str(",Issued");
    }
    let duration = o.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    vec![
        name(o),
        age(o, now),
        Value::from(or(at(o, "/spec/signerName"), NONE)),
        Value::from(at(o, "/spec/username")),
        Value::from(duration.map_or_else(|| NONE.to_owned(), human_duration)),
        Value::from(state),
    ]
}

fn driver(o: &Value, now: Timestamp) -> Vec<Value> {
    let modes: Vec<&str> = items(o, "/spec/volumeLifecycleModes")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let audiences: Vec<&str> = items(o, "/spec/tokenRequests")
        .iter()
        .map(|request| at(request, "/audience"))
        .collect();
    let tokens = match o.pointer("/spec/tokenRequests") {
        Some(_) => audiences.join(","),
        None => "<unset>".to_owned(),
    };
    vec![
        name(o),
        Value::from(flag(o, "/spec/attachRequired", true)),
        Value::from(flag(o, "/spec/podInfoOnMount", false)),
        Value::from(flag(o, "/spec/storageCapacity", false)),
        Value::from(tokens),
        Value::from(flag(o, "/spec/requiresRepublish", false)),
        Value::from(or(&modes.join(","), NONE)),
        age(o, now),
    ]
}

fn policy(o: &Value, rules: &str, now: Timestamp) -> Vec<Value> {
    let of = o.pointer("/spec/paramKind").filter(|kind| kind.is_object());
    let of = of.map_or_else(
        || "<unset>".to_owned(),
        |kind| format!("{}/{}", at(kind, "/apiVersion"), at(kind, "/kind")),
    );
    vec![
        name(o),
        Value::from(items(o, rules).len()),
        Value::from(of),
        age(o, now),
    ]
}

fn policy_binding(o: &Value, now: Timestamp) -> Vec<Value> {
    let parameter = match at(o, "/spec/paramRef/name") {
        "" => "<unset>".to_owned(),
        // Whether parameters are namespaced cannot be told from here.
        name => format!("{}/{name}", or(at(o, "/spec/paramRef/namespace"), "*")),
    };
    vec![
        name(o),
        Value::from(at(o, "/spec/policyName")),
        Value::from(parameter),
        age(o, now),
    ]
}

fn flow(o: &Value, now: Timestamp) -> Vec<Value> {
    let dangling = items(o, "/status/conditions")
        .iter()
        .find(|c| at(c, "/type") == "Dangling");
    vec![
        name(o),
        Value::from(at(o, "/spec/priorityLevelConfiguration/name")),
        Value::from(number(o, "/spec/matchingPrecedence")),
        Value::from(or(at(o, "/spec/distinguisherMethod/type"), NONE)),
        age(o, now),
        Value::from(dangling.map_or("?", |c| at(c, "/status"))),
    ]
}

fn priority_level(o: &Value, now: Timestamp) -> Vec<Value> {
    let limited = |pointer: &str| {
        let found = o.pointer(&format!("/spec/limited/{pointer}"));
        found.cloned().unwrap_or_else(|| NONE.into())
    };
    vec![
        name(o),
        Value::from(at(o, "/spec/type")),
        limited("nominalConcurrencyShares"),
        limited("limitResponse/queuing/queues"),
        limited("limitResponse/queuing/handSize"),
        limited("limitResponse/queuing/queueLengthLimit"),
        age(o, now),
    ]
}

fn claim_state(o: &Value) -> String {
    let deleted = !at(o, "/metadata/deletionTimestamp").is_empty();
    let allocated = o
        .pointer("/status/allocation")
        .is_some_and(|a| !a.is_null());
    let reserved = !items(o, "/status/reservedFor").is_empty();
    let states = [
        ("deleted", deleted),
        ("pending", !deleted && !allocated),
        ("allocated", allocated),
        ("reserved", allocated && reserved),
    ];
    let held: Vec<&str> = states
        .iter()
        .filter(|(_, holds)| *holds)
        .map(|(state, _)| *state)
        .collect();
    held.join(",")
}

fn api_service(o: &Value, now: Timestamp) -> Vec<Value> {
    let service = match at(o, "/spec/service/name") {
        "" => "Local".to_owned(),
        name => format!("{}/{name}", at(o, "/spec/service/namespace")),
    };
    let available = items(o, "/status/conditions")
        .iter()
        .find(|c| at(c, "/type") == "Available");
    let available = match available {
        None => "Unknown".to_owned(),
        Some(c) if at(c, "/status") == "True" => "True".to_owned(),
        Some(c) => format!("{} ({})", at(c, "/status"), at(c, "/reason")),
    };
    vec![
        name(o),
        Value::from(service),
        Value::from(available),
        age(o, now),
    ]
}
