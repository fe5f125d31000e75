//! Volumes, network policies, endpoint slices, role bindings.

use jiff::Timestamp;
use serde_json::Value;

use super::text::{NONE, age, at, items, name, number, or, selector};
use super::{AGE, Column, NAME, Printer};

pub(super) fn printer(group: &str, kind: &str) -> Option<Printer> {
    Some(match (group, kind) {
        ("", "PersistentVolume") => Printer {
            columns: &[
                NAME,
                Column("Capacity", "string", false),
                Column("Access Modes", "string", false),
                Column("Reclaim Policy", "string", false),
                Column("Status", "string", false),
                Column("Claim", "string", false),
                Column("StorageClass", "string", false),
                Column("VolumeAttributesClass", "string", false),
                Column("Reason", "string", false),
                AGE,
                Column("VolumeMode", "string", true),
            ],
            cells: volume,
        },
        ("", "PersistentVolumeClaim") => Printer {
            columns: &[
                NAME,
                Column("Status", "string", false),
                Column("Volume", "string", false),
                Column("Capacity", "string", false),
                Column("Access Modes", "string", false),
                Column("StorageClass", "string", false),
                Column("VolumeAttributesClass", "string", false),
                AGE,
                Column("VolumeMode", "string", true),
            ],
            cells: claim,
        },
        ("networking.k8s.io", "NetworkPolicy") => Printer {
            columns: &[NAME, Column("Pod-Selector", "string", false), AGE],
            cells: |o, now| {
                let selected = selector(o.pointer("/spec/podSelector"));
                vec![name(o), Value::from(selected), age(o, now)]
            },
        },
        ("discovery.k8s.io", "EndpointSlice") => Printer {
            columns: &[
                NAME,
                Column("AddressType", "string", false),
                Column("Ports", "string", false),
                Column("Endpoints", "string", false),
                AGE,
            ],
            cells: endpoint_slice,
        },
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => Printer {
            columns: &[
                NAME,
                Column("Role", "string", false),
                AGE,
                Column("Users", "string", true),
                Column("Groups", "string", true),
                Column("ServiceAccounts", "string", true),
            ],
            cells: role_binding,
        },
        _ => return None,
    })
}

fn modes(o: &Value, pointer: &str) -> String {
    let held: Vec<&str> = items(o, pointer).iter().filter_map(Value::as_str).collect();
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let short: Vec<&str> = short
        .iter()
        .filter(|(mode, _)| held.contains(mode))
        .map(|(_, short)| *short)
        .collect();
    short.join(",")
}

const CLASS_ANNOTATION: &str = "/metadata/annotations/volume.beta.kubernetes.io~1storage-class";

fn class(o: &Value) -> &str {
    or(at(o, CLASS_ANNOTATION), at(o, "/spec/storageClassName"))
}

fn phase(o: &Value) -> &str {
    let deleting = !at(o, "/metadata/deletionTimestamp").is_empty();
    if deleting {
        "Terminating"
    } else {
        at(o, "/status/phase")
    }
}

fn volume(o: &Value, now: Timestamp) -> Vec<Value> {
    let claim = if o.pointer("/spec/claimRef").is_some() {
        format!(
            "{}/{}",
            at(o, "/spec/claimRef/namespace"),
            at(o, "/spec/claimRef/name")
        )
    } else {
        String::new()
    };
    vec![
        name(o),
        Value::from(or(at(o, "/spec/capacity/storage"), "0")),
        Value::from(modes(o, "/spec/accessModes")),
        Value::from(at(o, "/spec/persistentVolumeReclaimPolicy")),
        Value::from(phase(o)),
        Value::from(claim),
        Value::from(class(o)),
        Value::from(or(at(o, "/spec/volumeAttributesClassName"), "<unset>")),
        Value::from(at(o, "/status/reason")),
        age(o, now),
        Value::from(or(at(o, "/spec/volumeMode"), "<unset>")),
    ]
}

fn claim(o: &Value, now: Timestamp) -> Vec<Value> {
    let bound = !at(o, "/spec/volumeName").is_empty();
    let capacity = if bound {
        or(at(o, "/status/capacity/storage"), "0")
    } else {
        ""
    };
    let held = if bound {
        modes(o, "/status/accessModes")
    } else {
        String::new()
    };
    vec![
        name(o),
        Value::from(phase(o)),
        Value::from(at(o, "/spec/volumeName")),
        Value::from(capacity),
        Value::from(held),
        Value::from(class(o)),
        Value::from(or(at(o, "/spec/volumeAttributesClassName"), "<unset>")),
        age(o, now),
        Value::from(or(at(o, "/spec/volumeMode"), "<unset>")),
    ]
}

/// At most three, and how many more.
fn some(list: &[String], absent: &str) -> String {
    match list.len() {
        0 => absent.to_owned(),
        1..=3 => list.join(","),
        all => format!("{} + {} more...", list[..3].join(","), all - 3),
    }
}

fn endpoint_slice(o: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = items(o, "/ports")
        .iter()
        .map(|port| match number(port, "/port") {
            0 => or(at(port, "/name"), "*").to_owned(),
            number => number.to_string(),
        })
        .collect();
    let addresses = items(o, "/endpoints")
        .iter()
        .flat_map(|e| items(e, "/addresses"));
    let addresses: Vec<String> = addresses
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    vec![
        name(o),
        Value::from(at(o, "/addressType")),
        Value::from(some(&ports, "<unset>")),
        Value::from(some(&addresses, "<unset>")),
        age(o, now),
    ]
}

fn role_binding(o: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| {
        let of_kind = items(o, "/subjects")
            .iter()
            .filter(|s| at(s, "/kind") == kind);
        let names = of_kind.map(|s| match at(s, "/namespace") {
            "" => at(s, "/name").to_owned(),
            namespace => format!("{namespace}/{}", at(s, "/name")),
        });
        Value::from(names.collect::<Vec<String>>().join(", "))
    };
    let role = format!(
        "{}/{}",
        or(at(o, "/roleRef/kind"), NONE),
        at(o, "/roleRef/name")
    );
    vec![
        name(o),
        Value::from(role),
        age(o, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}
