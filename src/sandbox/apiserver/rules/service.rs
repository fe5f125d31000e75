//! Services: a cluster IP and node ports of their own.
//!
//! Source: `pkg/registry/core/service/storage/alloc.go`. Nothing routes to them here.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;

/// How often a free number is looked for among the taken ones.
const TRIES: usize = 64;

/// Gives a new service what it did not bring along.
pub(crate) fn prepare_create(call: &Call, object: &mut Value) {
    let kind = meta::text(object, &["spec", "type"]).to_owned();
    if kind == "ExternalName" {
        return;
    }
    let existing = call.server.store.list(call.resource.collection, "").objects;
    let given = meta::text(object, &["spec", "clusterIP"]).to_owned();
    let ip = if given.is_empty() {
        free_ip(call, existing.iter().map(|(_, o)| &o.value))
    } else {
        given
    };
    let spec = meta::map_mut(object, "spec");
    spec.insert("clusterIPs".to_owned(), json!([ip]));
    spec.insert("clusterIP".to_owned(), json!(ip));
    spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
    spec.entry("ipFamilyPolicy")
        .or_insert_with(|| json!("SingleStack"));
    spec.entry("internalTrafficPolicy")
        .or_insert_with(|| json!("Cluster"));
    allocate_node_ports(call, spec);
}

/// Services that nodes serve get a port of each node for each of theirs.
fn allocate_node_ports(call: &Call, spec: &mut Map<String, Value>) {
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("");
    if !matches!(kind, "NodePort" | "LoadBalancer") {
        return;
    }
    spec.entry("externalTrafficPolicy")
        .or_insert_with(|| json!("Cluster"));
    let existing = call.server.store.list(call.resource.collection, "").objects;
    let mut taken: HashSet<i64> = existing
        .iter()
        .flat_map(|(_, o)| meta::list(&o.value, &["spec", "ports"]))
        .filter_map(|port| meta::int(port, &["nodePort"]))
        .collect();
    let Some(Value::Array(ports)) = spec.get_mut("ports") else {
        return;
    };
    for port in ports.iter_mut().filter_map(Value::as_object_mut) {
        if port.contains_key("nodePort") {
            continue;
        }
        let free = (0..TRIES)
            .map(|_| 30_000 + (call.server.random() % 2_768).cast_signed())
            .find(|p| !taken.contains(p));
        if let Some(free) = free {
            taken.insert(free);
            port.insert("nodePort".to_owned(), json!(free));
        }
    }
}

/// What was allocated stays when the client does not name it (`patchAllocatedValues`).
pub(crate) fn prepare_update(call: &Call, live: &Value, new: &mut Value) {
    let old = &live["spec"];
    let kind = |spec: &Value| meta::text(spec, &["type"]).to_owned();
    if kind(old) == "ExternalName" || kind(&new["spec"]) == "ExternalName" {
        return;
    }
    let asked = meta::text(new, &["spec", "clusterIP"]).to_owned();
    let spec = meta::map_mut(new, "spec");
    if asked.is_empty() {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = old.get(field) {
                spec.insert(field.to_owned(), value.clone());
            }
        }
    } else {
        spec.insert("clusterIPs".to_owned(), json!([asked]));
    }
    for field in ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
        if let Some(value) = old.get(field) {
            spec.entry(field).or_insert_with(|| value.clone());
        }
    }
    let has_node_ports = matches!(
        spec.get("type").and_then(Value::as_str),
        Some("NodePort" | "LoadBalancer")
    );
    if let Some(Value::Array(ports)) = spec.get_mut("ports") {
        for port in ports.iter_mut().filter_map(Value::as_object_mut) {
            let same = meta::list(old, &["ports"]).iter().find(|p| {
                p.get("port") == port.get("port") && p.get("protocol") == port.get("protocol")
            });
            if let Some(node_port) = same.and_then(|p| p.get("nodePort"))
                && has_node_ports
            {
                port.entry("nodePort").or_insert_with(|| node_port.clone());
            }
        }
    }
    allocate_node_ports(call, spec);
}

/// The ports that nodes give to services (`--service-node-port-range`).
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

/// What a service's ports must say (`ValidateService`; node ports are refused where they are allocated).
pub(crate) fn validate(object: &Value) -> Vec<FieldError> {
    let ports = meta::list(object, &["spec", "ports"]);
    let kind = meta::text(object, &["spec", "type"]);
    let headless = meta::text(object, &["spec", "clusterIP"]) == "None";
    let mut errors = Vec::new();
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    for (at, port) in ports.iter().enumerate() {
        if ports.len() > 1 && meta::text(port, &["name"]).is_empty() {
            errors.push(FieldError::required(format!("spec.ports[{at}].name"), ""));
        }
    }
    if errors.is_empty() {
        for (at, port) in ports.iter().enumerate() {
            let asked = meta::int(port, &["nodePort"]).filter(|asked| !NODE_PORTS.contains(asked));
            if let Some(asked) = asked.filter(|asked| *asked != 0) {
                let why = format!(
                    "provided port is not in the valid range. The range of valid ports is {}-{}",
                    NODE_PORTS.start(),
                    NODE_PORTS.end()
                );
                let path = format!("spec.ports[{at}].nodePort");
                errors.push(FieldError::invalid(path, asked, why));
            }
        }
    }
    errors
}

/// A cluster IP is for life.
pub(crate) fn validate_update(live: &Value, new: &Value) -> Vec<FieldError> {
    let old = meta::text(live, &["spec", "clusterIP"]);
    let kind = |object: &Value| meta::text(object, &["spec", "type"]).to_owned();
    let external = kind(live) == "ExternalName" || kind(new) == "ExternalName";
    if old.is_empty() || external || old == meta::text(new, &["spec", "clusterIP"]) {
        return Vec::new();
    }
    vec![FieldError::invalid(
        "spec.clusterIPs[0]",
        new["spec"]["clusterIPs"].clone(),
        "may not change once set",
    )]
}

fn free_ip<'a>(call: &Call, services: impl Iterator<Item = &'a Value>) -> String {
    let taken: HashSet<&str> = services
        .map(|s| meta::text(s, &["spec", "clusterIP"]))
        .collect();
    let draw = || {
        let [.., high, low] = call.server.random().to_be_bytes();
        format!("10.{}.{high}.{}", 96 + high % 16, low.max(2))
    };
    (0..TRIES)
        .map(|_| draw())
        .find(|ip| !taken.contains(ip.as_str()))
        .unwrap_or_else(draw)
}
