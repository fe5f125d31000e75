//! Everything else that has columns of its own: nodes, namespaces, services, events, leases,
//! configuration, quotas, priority and storage classes.

use jiff::Timestamp;
use serde_json::Value;

use super::text::{NONE, age, at, items, labels, name, number, or, since};
use super::{AGE, Column, NAME, Printer};

pub(super) fn printer(group: &str, kind: &str) -> Option<Printer> {
    Some(match (group, kind) {
        ("", "Node") => Printer {
            columns: &[
                NAME,
                Column("Status", "string", false),
                Column("Roles", "string", false),
                AGE,
                Column("Version", "string", false),
                Column("Internal-IP", "string", true),
                Column("External-IP", "string", true),
                Column("OS-Image", "string", true),
                Column("Kernel-Version", "string", true),
                Column("Container-Runtime", "string", true),
            ],
            cells: node,
        },
        ("", "Namespace") => Printer {
            columns: &[NAME, Column("Status", "string", false), AGE],
            cells: |o, now| vec![name(o), Value::from(at(o, "/status/phase")), age(o, now)],
        },
        ("", "Service") => Printer {
            columns: &[
                NAME,
                Column("Type", "string", false),
                Column("Cluster-IP", "string", false),
                Column("External-IP", "string", false),
                Column("Port(s)", "string", false),
                AGE,
                Column("Selector", "string", true),
            ],
            cells: service,
        },
        ("" | "events.k8s.io", "Event") => Printer {
            columns: &[
                Column("Last Seen", "string", false),
                Column("Type", "string", false),
                Column("Reason", "string", false),
                Column("Object", "string", false),
                Column("Subobject", "string", true),
                Column("Source", "string", true),
                Column("Message", "string", false),
                Column("First Seen", "string", true),
                Column("Count", "string", true),
                Column("Name", "string", true),
            ],
            cells: event,
        },
        ("", "Secret") => Printer {
            columns: &[
                NAME,
                Column("Type", "string", false),
                Column("Data", "string", false),
                AGE,
            ],
            cells: |o, now| {
                vec![
                    name(o),
                    Value::from(at(o, "/type")),
                    Value::from(size(o, "/data")),
                    age(o, now),
                ]
            },
        },
        ("", "ConfigMap") => Printer {
            columns: &[NAME, Column("Data", "string", false), AGE],
            cells: |o, now| {
                let entries = size(o, "/data") + size(o, "/binaryData");
                vec![name(o), Value::from(entries), age(o, now)]
            },
        },
        ("", "ResourceQuota") => Printer {
            columns: &[
                NAME,
                Column("Request", "string", false),
                Column("Limit", "string", false),
                AGE,
            ],
            cells: quota,
        },
        ("", "Endpoints") => Printer {
            columns: &[NAME, Column("Endpoints", "string", false), AGE],
            cells: |o, now| vec![name(o), Value::from(endpoints(o)), age(o, now)],
        },
        ("coordination.k8s.io", "Lease") => Printer {
            columns: &[NAME, Column("Holder", "string", false), AGE],
            cells: |o, now| {
                vec![
                    name(o),
                    Value::from(at(o, "/spec/holderIdentity")),
                    age(o, now),
                ]
            },
        },
        ("scheduling.k8s.io", "PriorityClass") => Printer {
            columns: &[
                NAME,
                Column("Value", "integer", false),
                Column("Global-Default", "boolean", false),
                AGE,
                Column("PreemptionPolicy", "string", false),
            ],
            cells: |o, now| {
                vec![
                    name(o),
                    Value::from(number(o, "/value")),
                    Value::from(o.get("globalDefault") == Some(&Value::Bool(true))),
                    age(o, now),
                    Value::from(at(o, "/preemptionPolicy")),
                ]
            },
        },
        ("storage.k8s.io", "StorageClass") => Printer {
            columns: &[
                NAME,
                Column("Provisioner", "string", false),
                Column("ReclaimPolicy", "string", false),
                Column("VolumeBindingMode", "string", false),
                Column("AllowVolumeExpansion", "string", false),
                AGE,
            ],
            cells: |o, now| {
                vec![
                    name(o),
                    Value::from(at(o, "/provisioner")),
                    Value::from(or(at(o, "/reclaimPolicy"), "Delete")),
                    Value::from(or(at(o, "/volumeBindingMode"), "Immediate")),
                    Value::from(o.get("allowVolumeExpansion") == Some(&Value::Bool(true))),
                    age(o, now),
                ]
            },
        },
        _ => return None,
    })
}

/// `formatEndpoints`: at most three, and how many more.
fn endpoints(o: &Value) -> String {
    let subsets = items(o, "/subsets");
    if subsets.is_empty() {
        return NONE.to_owned();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let addresses = items(subset, "/addresses");
        let ports = items(subset, "/ports");
        if ports.is_empty() {
            all.extend(addresses.iter().map(|a| at(a, "/ip").to_owned()));
        }
        for port in ports {
            let port = number(port, "/port");
            all.extend(addresses.iter().map(|address| match at(address, "/ip") {
                ip if ip.contains(':') => format!("[{ip}]:{port}"),
                ip => format!("{ip}:{port}"),
            }));
        }
    }
    match all.len() {
        0..=3 => all.join(","),
        count => format!("{} + {} more...", all[..3].join(","), count - 3),
    }
}

fn size(object: &Value, pointer: &str) -> usize {
    object
        .pointer(pointer)
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len)
}

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

fn node(o: &Value, now: Timestamp) -> Vec<Value> {
    let ready = items(o, "/status/conditions")
        .iter()
        .rfind(|c| at(c, "/type") == "Ready");
    let mut status = match ready.map(|c| at(c, "/status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if o.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let labels = o.pointer("/metadata/labels").and_then(Value::as_object);
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    let address = |kind: &str| {
        let found = items(o, "/status/addresses")
            .iter()
            .find(|a| at(a, "/type") == kind);
        Value::from(found.map_or(NONE, |a| at(a, "/address")))
    };
    let info = |key: &str| at(o, &format!("/status/nodeInfo/{key}"));
    let mut kernel = or(info("kernelVersion"), "<unknown>").to_owned();
    if !info("architecture").is_empty() {
        kernel = format!("{kernel} ({})", info("architecture"));
    }
    vec![
        name(o),
        Value::from(status),
        Value::from(or(&roles.join(","), NONE)),
        age(o, now),
        Value::from(info("kubeletVersion")),
        address("InternalIP"),
        address("ExternalIP"),
        Value::from(or(info("osImage"), "<unknown>")),
        Value::from(kernel),
        Value::from(or(info("containerRuntimeVersion"), "<unknown>")),
    ]
}

fn service(o: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = items(o, "/spec/ports")
        .iter()
        .map(|port| {
            let (number_, protocol) = (number(port, "/port"), at(port, "/protocol"));
            match number(port, "/nodePort") {
                0 => format!("{number_}/{protocol}"),
                node_port => format!("{number_}:{node_port}/{protocol}"),
            }
        })
        .collect();
    let cluster_ip = items(o, "/spec/clusterIPs").first().and_then(Value::as_str);
    vec![
        name(o),
        Value::from(at(o, "/spec/type")),
        Value::from(cluster_ip.unwrap_or(NONE)),
        Value::from(external_ip(o)),
        Value::from(or(&ports.join(","), NONE)),
        age(o, now),
        Value::from(labels(o.pointer("/spec/selector"))),
    ]
}

fn external_ip(o: &Value) -> String {
    let given: Vec<&str> = items(o, "/spec/externalIPs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match at(o, "/spec/type") {
        "ClusterIP" | "NodePort" => or(&given.join(","), NONE).to_owned(),
        "LoadBalancer" => {
            let ingress = items(o, "/status/loadBalancer/ingress").iter();
            let mut all: Vec<&str> = ingress
                .map(|i| or(at(i, "/ip"), at(i, "/hostname")))
                .collect();
            all.extend(given);
            or(&all.join(","), "<pending>").to_owned()
        }
        "ExternalName" => at(o, "/spec/externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// Events of both groups: `events.k8s.io` names some fields otherwise.
fn event(o: &Value, now: Timestamp) -> Vec<Value> {
    let either = |a: &'static str, b: &'static str| or(at(o, a), at(o, b)).to_owned();
    let first = either("/firstTimestamp", "/deprecatedFirstTimestamp");
    let first = since(or(&first, at(o, "/eventTime")), now);
    let last = either("/lastTimestamp", "/deprecatedLastTimestamp");
    let mut last = if last.is_empty() {
        first.clone()
    } else {
        since(&last, now)
    };
    let mut count = number(o, "/count").max(number(o, "/deprecatedCount"));
    if o.get("series").is_some_and(|s| !s.is_null()) {
        last = since(at(o, "/series/lastObservedTime"), now);
        count = number(o, "/series/count");
    } else if count == 0 {
        count = 1;
    }
    let involved = if o.get("involvedObject").is_some() {
        "involvedObject"
    } else {
        "regarding"
    };
    let of = |key: &str| at(o, &format!("/{involved}/{key}"));
    let kind = of("kind").to_lowercase();
    let target = if of("name").is_empty() {
        kind
    } else {
        format!("{kind}/{}", of("name"))
    };
    let component = either("/source/component", "/deprecatedSource/component");
    let host = either("/source/host", "/deprecatedSource/host");
    let component = or(
        &component,
        or(at(o, "/reportingComponent"), at(o, "/reportingController")),
    );
    let host = or(&host, at(o, "/reportingInstance"));
    let source = if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    };
    vec![
        Value::from(last),
        Value::from(at(o, "/type")),
        Value::from(at(o, "/reason")),
        Value::from(target),
        Value::from(of("fieldPath")),
        Value::from(source),
        Value::from(either("/message", "/note").trim()),
        Value::from(first),
        Value::from(count),
        name(o),
    ]
}

fn quota(o: &Value, now: Timestamp) -> Vec<Value> {
    let hard = o.pointer("/status/hard").and_then(Value::as_object);
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in hard.into_iter().flatten() {
        let used = o.pointer("/status/used").and_then(|u| u.get(resource));
        let used = used.and_then(Value::as_str).unwrap_or("0");
        let text = format!("{resource}: {used}/{}", hard.as_str().unwrap_or("0"));
        if resource.starts_with("limits.") {
            limits.push(text)
        } else {
            requests.push(text)
        }
    }
    vec![
        name(o),
        Value::from(requests.join(", ")),
        Value::from(limits.join(", ")),
        age(o, now),
    ]
}
