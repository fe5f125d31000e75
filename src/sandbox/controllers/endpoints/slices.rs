//! A Service's EndpointSlices (k8s.io/endpointslice/reconciler.go): endpoints stay in the slice where
//! they are, slices are filled up to a hundred, and a Service without endpoints has one empty slice.
//! Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::legacy::target;
use super::members::{addresses, find_port, hostname, is_headless, is_reachable};
use crate::sandbox::controllers::claim::controller_reference;
use crate::sandbox::controllers::objects::{is_ready, is_terminating, name, uid};

/// The label that names the Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that says who keeps the slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Its value.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
/// The label of endpoints of a Service without an address of its own.
pub const HEADLESS: &str = "service.kubernetes.io/headless";
/// So many endpoints are in a slice at most.
const CAPACITY: usize = 100;
const ZONE: &str = "topology.kubernetes.io/zone";

/// What has to be done to a Service's slices.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// To be created; without names.
    pub create: Vec<EndpointSlice>,
    /// To be replaced.
    pub update: Vec<EndpointSlice>,
    /// The names of those to be deleted.
    pub delete: Vec<String>,
}

/// The endpoints that have the same ports and the same kind of address.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    address_type: &'static str,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
}

/// The kinds of addresses that a Service has (`getAddressTypesForService`).
#[must_use]
pub fn families(service: &Service) -> Vec<&'static str> {
    let spec = service.spec.as_ref();
    let given = spec.and_then(|spec| spec.ip_families.as_deref());
    let is_v6 = |family: &String| family == "IPv6";
    match given.filter(|families| !families.is_empty()) {
        Some(families) => families
            .iter()
            .map(|family| if is_v6(family) { "IPv6" } else { "IPv4" })
            .collect(),
        None => vec!["IPv4"],
    }
}

/// What the slices should hold. `node_labels` gives the labels of a node, if it is known; a pod on an
/// unknown node is left out unless the Service publishes everything.
pub fn desired(
    service: &Service,
    pods: &[Arc<Pod>],
    node_labels: impl Fn(&str) -> Option<BTreeMap<String, String>>,
) -> Vec<Group> {
    let publishes_all = service
        .spec
        .as_ref()
        .is_some_and(|spec| spec.publish_not_ready_addresses == Some(true));
    let mut groups: Vec<Group> = Vec::new();
    for address_type in families(service) {
        for pod in pods.iter().filter(|pod| is_reachable(pod, true)) {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            let labels = node_labels(node.unwrap_or_default());
            if labels.is_none() && !publishes_all {
                continue;
            }
            let zone = labels.and_then(|labels| labels.get(ZONE).cloned());
            let ports = ports(service, pod);
            let endpoint = endpoint(service, pod, address_type, zone);
            let group = groups
                .iter_mut()
                .find(|group| group.address_type == address_type && group.ports == ports);
            if endpoint.addresses.is_empty() {
                continue;
            }
            match group {
                Some(group) => group.endpoints.push(endpoint),
                None => groups.push(Group {
                    address_type,
                    ports,
                    endpoints: vec![endpoint],
                }),
            }
        }
    }
    groups
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(find_port(pod, port)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    };
    ports.into_iter().flatten().filter_map(port).collect()
}

fn endpoint(service: &Service, pod: &Pod, address_type: &str, zone: Option<String>) -> Endpoint {
    let spec = service.spec.as_ref();
    let publishes_all = spec.is_some_and(|spec| spec.publish_not_ready_addresses == Some(true));
    let (serving, terminating) = (is_ready(pod), is_terminating(&pod.metadata));
    Endpoint {
        addresses: addresses(pod)
            .filter(|address| address.is_ipv6() == (address_type == "IPv6"))
            .map(|address| address.to_string())
            .collect(),
        conditions: Some(EndpointConditions {
            ready: Some(publishes_all || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(pod, service),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(target(pod)),
        zone,
        ..Endpoint::default()
    }
}

/// The least change from the `known` slices to the desired ones.
#[must_use]
pub fn plan(service: &Service, desired: Vec<Group>, known: Vec<EndpointSlice>) -> Plan {
    let mut plan = Plan::default();
    let families = families(service);
    for address_type in &families {
        let of = |slice: &EndpointSlice| slice.address_type == *address_type;
        let known = Vec::from_iter(known.iter().filter(|slice| of(slice)).cloned());
        let desired = desired
            .iter()
            .filter(|group| group.address_type == *address_type)
            .cloned();
        plan_family(service, address_type, desired, known, &mut plan);
    }
    let strange = known
        .iter()
        .filter(|slice| !families.contains(&slice.address_type.as_str()));
    plan.delete
        .extend(strange.map(|slice| name(&slice.metadata).to_owned()));
    plan
}

fn plan_family(
    service: &Service,
    address_type: &str,
    desired: impl Iterator<Item = Group>,
    known: Vec<EndpointSlice>,
    plan: &mut Plan,
) {
    let (mut create, mut update, mut delete) = (Vec::new(), Vec::new(), Vec::new());
    let known_count = known.len();
    let (mut known, strangers): (Vec<_>, Vec<_>) = known
        .into_iter()
        .partition(|slice| is_owned(slice, service));
    for group in desired {
        let (same, others) = known
            .into_iter()
            .partition(|slice| sorted(slice.ports.as_deref()) == sorted(Some(&group.ports)));
        known = others;
        fill(
            service,
            group,
            same,
            (&mut create, &mut update, &mut delete),
        );
    }
    delete.extend(known);
    if delete.len() + strangers.len() == known_count && create.is_empty() {
        let placeholder = empty(service, address_type, Vec::new());
        let is_placeholder = |slice: &EndpointSlice| {
            count(slice) == 0
                && slice.ports.as_deref().unwrap_or_default().is_empty()
                && slice.metadata.labels == placeholder.metadata.labels
        };
        if strangers.is_empty() && delete.len() == 1 && is_placeholder(&delete[0]) {
            delete.clear();
        } else {
            create.push(placeholder);
        }
    }
    // A slice that would go is written over rather than replaced by a new one.
    while !delete.is_empty()
        && let Some(mut slice) = create.pop()
    {
        let old = delete.remove(0);
        slice.metadata.name = old.metadata.name;
        slice.metadata.generate_name = None;
        update.push(slice);
    }
    plan.create.extend(create);
    plan.update.extend(update);
    let names = delete.iter().chain(&strangers);
    plan.delete
        .extend(names.map(|slice| name(&slice.metadata).to_owned()));
}

type Changes<'a> = (
    &'a mut Vec<EndpointSlice>,
    &'a mut Vec<EndpointSlice>,
    &'a mut Vec<EndpointSlice>,
);

/// `reconcileByPortMapping`.
fn fill(service: &Service, group: Group, known: Vec<EndpointSlice>, changes: Changes<'_>) {
    let (create, update, delete) = changes;
    let Group {
        address_type,
        ports,
        endpoints,
    } = group;
    let mut left: BTreeMap<Identity, Endpoint> = endpoints
        .into_iter()
        .map(|endpoint| (identity(&endpoint), endpoint))
        .collect();
    let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
    for mut slice in known {
        let old = slice.endpoints.take().unwrap_or_default();
        let kept = Vec::from_iter(
            old.iter()
                .filter_map(|endpoint| left.remove(&identity(endpoint))),
        );
        let labels = Some(labels(service));
        let is_same = old == kept && slice.metadata.labels == labels;
        slice.metadata.labels = labels;
        let is_emptied = kept.is_empty() && !old.is_empty();
        slice.endpoints = Some(if is_emptied { old } else { kept });
        if is_emptied {
            delete.push(slice);
        } else if is_same {
            unchanged.push(slice);
        } else {
            changed.push(slice);
        }
    }
    let mut left = Vec::from_iter(left.into_values());
    changed.sort_by_key(|slice: &EndpointSlice| std::cmp::Reverse(count(slice)));
    for slice in &mut changed {
        top_up(slice, &mut left);
    }
    while !left.is_empty() {
        let fits = |slice: &&mut EndpointSlice| count(slice) + left.len() <= CAPACITY;
        let fullest = unchanged
            .iter_mut()
            .enumerate()
            .filter(|(_, slice)| fits(slice))
            .max_by_key(|(_, slice)| count(slice))
            .map(|(place, _)| place);
        let mut slice = match fullest {
            Some(place) => unchanged.remove(place),
            None => empty(service, address_type, ports.clone()),
        };
        top_up(&mut slice, &mut left);
        if slice.metadata.name.is_some() {
            changed.push(slice);
        } else {
            create.push(slice);
        }
    }
    update.extend(changed);
}

fn top_up(slice: &mut EndpointSlice, left: &mut Vec<Endpoint>) {
    let endpoints = slice.endpoints.get_or_insert_default();
    let room = CAPACITY.saturating_sub(endpoints.len()).min(left.len());
    endpoints.extend(left.drain(..room));
}

fn count(slice: &EndpointSlice) -> usize {
    slice.endpoints.as_ref().map_or(0, Vec::len)
}

type Identity = (Vec<String>, Option<String>);

/// What makes two endpoints the same one: the addresses and the pod.
fn identity(endpoint: &Endpoint) -> Identity {
    let mut addresses = endpoint.addresses.clone();
    addresses.sort();
    let pod = endpoint.target_ref.as_ref().and_then(|pod| pod.uid.clone());
    (addresses, pod)
}

type Port<'a> = (
    Option<&'a str>,
    Option<i32>,
    Option<&'a str>,
    Option<&'a str>,
);

fn sorted(ports: Option<&[EndpointPort]>) -> Vec<Port<'_>> {
    let mut keys = Vec::from_iter(ports.unwrap_or_default().iter().map(port_key));
    keys.sort_unstable();
    keys
}

fn port_key(port: &EndpointPort) -> Port<'_> {
    (
        port.name.as_deref(),
        port.port,
        port.protocol.as_deref(),
        port.app_protocol.as_deref(),
    )
}

fn is_owned(slice: &EndpointSlice, service: &Service) -> bool {
    let owners = slice.metadata.owner_references.as_deref();
    owners
        .unwrap_or_default()
        .iter()
        .any(|owner| owner.uid == uid(&service.metadata) && owner.kind == "Service")
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels.insert(SERVICE_NAME.to_owned(), name(&service.metadata).to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

fn empty(service: &Service, address_type: &str, ports: Vec<EndpointPort>) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(&service.metadata))),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels(service)),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: address_type.to_owned(),
        endpoints: Some(Vec::new()),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "d", "uid": "u", "labels": {"a": "b"}},
            "spec": {"clusterIP": "10.96.0.9", "ipFamilies": ["IPv4"],
                     "ports": [{"name": "web", "port": 80, "targetPort": 8080}]},
        }))
        .unwrap()
    }

    fn pod(index: usize, ready: bool) -> Arc<Pod> {
        let ip = format!("10.0.{}.{}", index / 200, index % 200);
        let pod = json!({
            "metadata": {"name": ip, "namespace": "d", "uid": ip},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"phase": "Running", "podIPs": [{"ip": ip}], "conditions": [
                {"type": "Ready", "status": if ready {"True"} else {"False"}}]},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn round(pods: &[Arc<Pod>], known: Vec<EndpointSlice>) -> Plan {
        let labels = |_: &str| Some([(ZONE.to_owned(), "z1".to_owned())].into());
        plan(&service(), desired(&service(), pods, labels), known)
    }

    fn named(mut slices: Vec<EndpointSlice>) -> Vec<EndpointSlice> {
        for (index, slice) in slices.iter_mut().enumerate() {
            slice
                .metadata
                .name
                .get_or_insert_with(|| format!("s-{index}"));
        }
        slices
    }

    #[test]
    fn a_service_without_pods_has_one_empty_slice() {
        let first = round(&[], vec![]);
        assert_eq!(first.create.len(), 1);
        assert_eq!(first.create[0].ports, None);
        let known = named(first.create);
        assert_eq!(round(&[], known.clone()), Plan::default());
        // Its first pod goes into that slice.
        let second = round(&[pod(1, true)], known);
        assert!(second.create.is_empty() && second.delete.is_empty());
        let slice = &second.update[0];
        assert_eq!(slice.metadata.name.as_deref(), Some("s-0"));
        assert_eq!(
            slice.endpoints.as_ref().unwrap()[0].zone.as_deref(),
            Some("z1")
        );
        assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(8080));
        assert_eq!(round(&[pod(1, true)], second.update), Plan::default());
    }

    #[test]
    fn endpoints_stay_where_they_are_and_slices_are_filled() {
        let pods = Vec::from_iter((0..150).map(|index| pod(index, true)));
        let plan = round(&pods, vec![]);
        let sizes = Vec::from_iter(plan.create.iter().map(count));
        assert_eq!(sizes, [100, 50]);
        let known = named(plan.create);
        let gone = known[0].endpoints.as_ref().unwrap()[0].addresses[0].clone();
        let mut pods = pods;
        pods.retain(|pod| pod.metadata.name.as_ref() != Some(&gone));
        pods.push(pod(160, false));
        let plan = round(&pods, known);
        assert!(plan.create.is_empty() && plan.delete.is_empty());
        assert_eq!(plan.update.len(), 1);
        let slice = &plan.update[0];
        assert_eq!(count(slice), 100);
        let endpoints = slice.endpoints.as_ref().unwrap();
        let last = endpoints.last().unwrap().conditions.as_ref().unwrap();
        assert_eq!((last.ready, last.serving), (Some(false), Some(false)));
    }
}
