//! A Service's Endpoints object (pkg/controller/endpoint/endpoints_controller.go). Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::members::{addresses, find_port, hostname, is_headless, is_reachable};
use super::{note, slices};
use crate::sandbox::controllers::objects::is_ready;

/// The label that says who keeps the Endpoints.
pub const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// Its value.
pub const MANAGER: &str = "endpoint-controller";
/// The annotation on Endpoints that are cut off.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// So many addresses are kept at most.
const CAPACITY: usize = 1000;

/// What is to be written, if anything is.
#[must_use]
pub fn wanted(
    service: &Service,
    pods: &[Arc<Pod>],
    known: Option<&Endpoints>,
    triggered: Option<&str>,
) -> Option<Endpoints> {
    let mut subsets = subsets(service, pods);
    let truncated = truncate(&mut subsets);
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    if is_headless(service) {
        labels.insert(slices::HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(slices::HEADLESS);
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if let Some(known) = known
        && known.subsets.as_deref().unwrap_or_default() == subsets
        && known.metadata.labels.as_ref() == Some(&labels)
    {
        return None;
    }
    let mut endpoints = known.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            ..ObjectMeta::default()
        },
        ..Endpoints::default()
    });
    endpoints.subsets = (!subsets.is_empty()).then_some(subsets);
    endpoints.metadata.labels = Some(labels);
    note(&mut endpoints.metadata, triggered);
    let annotations = endpoints.metadata.annotations.get_or_insert_default();
    if truncated {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else {
        annotations.remove(OVER_CAPACITY);
    }
    Some(endpoints)
}

type Port = (String, i32, String, Option<String>);

/// Addresses that share the same ports stand together (`RepackSubsets`).
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let publishes_all = spec.publish_not_ready_addresses == Some(true);
    let mut groups: BTreeMap<BTreeSet<Port>, (Vec<EndpointAddress>, Vec<EndpointAddress>)> =
        BTreeMap::new();
    for pod in pods {
        if !is_reachable(pod, publishes_all) {
            continue;
        }
        let Some(address) = address(service, pod) else {
            continue;
        };
        let service_ports = spec.ports.as_deref().unwrap_or_default();
        let ports: BTreeSet<Port> = service_ports
            .iter()
            .filter_map(|port| {
                Some((
                    port.name.clone().unwrap_or_default(),
                    find_port(pod, port)?,
                    port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                    port.app_protocol.clone(),
                ))
            })
            .collect();
        if ports.is_empty() && !(service_ports.is_empty() && is_headless(service)) {
            continue;
        }
        let group = groups.entry(ports).or_default();
        if publishes_all || is_ready(pod) {
            group.0.push(address);
        } else {
            group.1.push(address);
        }
    }
    let some = |mut addresses: Vec<EndpointAddress>| {
        addresses.sort_by(|a, b| a.ip.cmp(&b.ip));
        (!addresses.is_empty()).then_some(addresses)
    };
    let subset = |(ports, (ready, not_ready)): (BTreeSet<Port>, _)| EndpointSubset {
        addresses: some(ready),
        not_ready_addresses: some(not_ready),
        ports: (!ports.is_empty()).then(|| ports.into_iter().map(endpoint_port).collect()),
    };
    groups.into_iter().map(subset).collect()
}

fn endpoint_port((name, port, protocol, app_protocol): Port) -> EndpointPort {
    EndpointPort {
        name: (!name.is_empty()).then_some(name),
        port,
        protocol: Some(protocol),
        app_protocol,
    }
}

fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    let wants_v6 = slices::families(service).first() == Some(&"IPv6");
    let ip = addresses(pod).find(|address| address.is_ipv6() == wants_v6)?;
    Some(EndpointAddress {
        ip: ip.to_string(),
        hostname: hostname(pod, service),
        node_name: pod.spec.as_ref()?.node_name.clone(),
        target_ref: Some(target(pod)),
    })
}

/// The reference to a pod that endpoints carry.
pub(super) fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// Keeps [`CAPACITY`] addresses, the ready ones first. Says whether something had to go.
fn truncate(subsets: &mut [EndpointSubset]) -> bool {
    let mut room = CAPACITY;
    let mut cut = false;
    let mut keep = |list: &mut Option<Vec<EndpointAddress>>| {
        if let Some(addresses) = list {
            cut |= addresses.len() > room;
            addresses.truncate(room);
            room -= addresses.len();
        }
        if list.as_ref().is_some_and(Vec::is_empty) {
            *list = None;
        }
    };
    for subset in subsets.iter_mut() {
        keep(&mut subset.addresses);
    }
    for subset in subsets.iter_mut() {
        keep(&mut subset.not_ready_addresses);
    }
    cut
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(in super::super) fn pod(name: &str, ip: &str, ready: bool) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "d", "uid": name},
                "spec": {"nodeName": "n1", "containers": []},
                "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                    "conditions": [{"type": "Ready", "status": if ready {"True"} else {"False"}}]},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn addresses_stand_by_readiness() {
        let mut service: Service = serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "d", "labels": {"a": "b"}},
            "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80, "targetPort": 8080}]},
        }))
        .unwrap();
        let pods = [pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false)];
        let told = wanted(&service, &pods, None, Some("t")).unwrap();
        let subset = &told.subsets.as_ref().unwrap()[0];
        assert_eq!(subset.addresses.as_ref().unwrap()[0].ip, "10.0.0.1");
        assert_eq!(
            subset.not_ready_addresses.as_ref().unwrap()[0].ip,
            "10.0.0.2"
        );
        assert_eq!(subset.ports.as_ref().unwrap()[0].port, 8080);
        let labels = told.metadata.labels.clone().unwrap();
        assert_eq!(labels[MANAGED_BY], MANAGER);
        assert_eq!(wanted(&service, &pods, Some(&told), None), None);
        service.spec.as_mut().unwrap().publish_not_ready_addresses = Some(true);
        let told = wanted(&service, &pods, Some(&told), None).unwrap();
        let subset = &told.subsets.as_ref().unwrap()[0];
        assert_eq!(subset.addresses.as_ref().unwrap().len(), 2);
        assert!(told.metadata.annotations.unwrap().is_empty());
    }

    #[test]
    fn more_than_a_thousand_addresses_are_cut_the_unready_first() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "s"},
            "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]},
        }))
        .unwrap();
        let at = |index: usize, ready| {
            let ip = format!("10.0.{}.{}", index / 250, index % 250);
            pod(&ip, &ip, ready)
        };
        let pods = Vec::from_iter((0..1100).map(|index| at(index, index % 11 != 0)));
        let told = wanted(&service, &pods, None, None).unwrap();
        let subset = &told.subsets.as_ref().unwrap()[0];
        assert_eq!(subset.addresses.as_ref().unwrap().len(), 1000);
        assert_eq!(subset.not_ready_addresses, None);
        assert_eq!(
            told.metadata.annotations.unwrap()[OVER_CAPACITY],
            "truncated"
        );
    }
}
