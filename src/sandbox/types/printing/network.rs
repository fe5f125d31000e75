//! Ingresses and their classes, addresses and ranges of services.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::text::{NONE, age, at, items, name, or};
use super::{AGE, Column, NAME, Printer};

pub(super) fn printer(group: &str, kind: &str) -> Option<Printer> {
    Some(match (group, kind) {
        ("networking.k8s.io", "Ingress") => Printer {
            columns: &[
                NAME,
                Column("Class", "string", false),
                Column("Hosts", "string", false),
                Column("Address", "string", false),
                Column("Ports", "string", false),
                AGE,
            ],
            cells: ingress,
        },
        ("networking.k8s.io", "IngressClass") => Printer {
            columns: &[
                NAME,
                Column("Controller", "string", false),
                Column("Parameters", "string", false),
                AGE,
            ],
            cells: ingress_class,
        },
        ("networking.k8s.io", "IPAddress") => Printer {
            columns: &[NAME, Column("ParentRef", "string", false), AGE],
            cells: |o, now| vec![name(o), Value::from(parent(o)), age(o, now)],
        },
        ("networking.k8s.io", "ServiceCIDR") => Printer {
            columns: &[NAME, Column("CIDRs", "string", false), AGE],
            cells: |o, now| {
                let ranges: Vec<&str> = items(o, "/spec/cidrs")
                    .iter()
                    .filter_map(Value::as_str)
                    .collect();
                vec![name(o), Value::from(ranges.join(",")), age(o, now)]
            },
        },
        _ => return None,
    })
}

fn ingress(o: &Value, now: Timestamp) -> Vec<Value> {
    let balancers = items(o, "/status/loadBalancer/ingress").iter();
    let addresses: BTreeSet<&str> = balancers
        .map(|b| or(at(b, "/ip"), at(b, "/hostname")))
        .filter(|address| !address.is_empty())
        .collect();
    let addresses: Vec<&str> = addresses.into_iter().collect();
    let ports = if items(o, "/spec/tls").is_empty() {
        "80"
    } else {
        "80, 443"
    };
    vec![
        name(o),
        Value::from(or(at(o, "/spec/ingressClassName"), NONE)),
        Value::from(hosts(items(o, "/spec/rules"))),
        Value::from(addresses.join(",")),
        Value::from(ports),
        age(o, now),
    ]
}

/// The first three hosts, and how many rules there are beyond three.
fn hosts(rules: &[Value]) -> String {
    let mut list: Vec<&str> = Vec::new();
    let mut more = false;
    for rule in rules {
        more |= list.len() == 3;
        let host = at(rule, "/host");
        if !more && !host.is_empty() {
            list.push(host);
        }
    }
    match (list.join(","), more) {
        (_, _) if list.is_empty() => "*".to_owned(),
        (listed, true) => format!("{listed} + {} more...", rules.len() - 3),
        (listed, false) => listed,
    }
}

fn ingress_class(o: &Value, now: Timestamp) -> Vec<Value> {
    let default = "/metadata/annotations/ingressclass.kubernetes.io~1is-default-class";
    let mut shown = at(o, "/metadata/name").to_owned();
    if at(o, default) == "true" {
        shown.push_str(" (default)");
    }
    let parameters = match o.pointer("/spec/parameters") {
        Some(parameters) if parameters.is_object() => {
            let kind = at(parameters, "/kind");
            let name = at(parameters, "/name");
            match parameters.get("apiGroup").and_then(Value::as_str) {
                Some(group) => format!("{kind}.{group}/{name}"),
                None => format!("{kind}/{name}"),
            }
        }
        _ => NONE.to_owned(),
    };
    vec![
        Value::from(shown),
        Value::from(at(o, "/spec/controller")),
        Value::from(parameters),
        age(o, now),
    ]
}

fn parent(o: &Value) -> String {
    let Some(parent) = o.pointer("/spec/parentRef").filter(|p| p.is_object()) else {
        return NONE.to_owned();
    };
    let mut text = at(parent, "/resource").to_owned();
    let segments = [at(parent, "/namespace"), at(parent, "/name")];
    if !at(parent, "/group").is_empty() {
        text = format!("{text}.{}", at(parent, "/group"));
    }
    text = text.to_lowercase();
    for segment in segments.iter().filter(|segment| !segment.is_empty()) {
        text = format!("{text}/{segment}");
    }
    text
}
