//! Which pods are behind a Service, and at which ports (k8s.io/endpointslice/util). Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::sandbox::controllers::objects::{
    is_finished, is_ready, is_terminating, name, namespace,
};

/// The Service's selector; `None` if somebody else provides its endpoints.
#[must_use]
pub fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let selector = service.spec.as_ref()?.selector.as_ref()?;
    (!selector.is_empty()).then_some(selector)
}

/// Whether the Service selects an object of its namespace with these metadata.
#[must_use]
pub fn selects(service: &Service, meta: &ObjectMeta) -> bool {
    let Some(selector) = selector(service) else {
        return false;
    };
    let labels = meta.labels.as_ref();
    selector
        .iter()
        .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// Whether a pod has an address to be reached at: it has one, and has not ended. One that is being
/// deleted counts only if asked for (`ShouldPodBeInEndpoints`).
#[must_use]
pub fn is_reachable(pod: &Pod, while_terminating: bool) -> bool {
    !is_finished(pod)
        && addresses(pod).next().is_some()
        && (while_terminating || !is_terminating(&pod.metadata))
}

/// The pod's addresses.
pub fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let status = pod.status.as_ref();
    let all = status.and_then(|status| status.pod_ips.as_ref());
    let all = all
        .into_iter()
        .flatten()
        .filter_map(|address| address.ip.parse().ok());
    let one = status
        .and_then(|status| status.pod_ip.as_ref())
        .filter(|_| status.is_some_and(|status| status.pod_ips.is_none()));
    all.chain(one.into_iter().filter_map(|address| address.parse().ok()))
}

/// Whether two states of one pod are the same to every Service (`podEndpointsChanged`).
#[must_use]
pub fn look_alike(old: &Pod, new: &Pod) -> bool {
    let spec = |pod: &Pod| {
        let spec = pod.spec.as_ref();
        (
            spec.and_then(|spec| spec.node_name.clone()),
            spec.and_then(|spec| spec.hostname.clone()),
            spec.and_then(|spec| spec.subdomain.clone()),
        )
    };
    old.metadata.uid == new.metadata.uid
        && old.metadata.labels == new.metadata.labels
        && is_terminating(&old.metadata) == is_terminating(&new.metadata)
        && is_ready(old) == is_ready(new)
        && is_finished(old) == is_finished(new)
        && addresses(old).eq(addresses(new))
        && spec(old) == spec(new)
}

/// The hostname under which the pod is known in the Service's domain (`ShouldSetHostname`).
#[must_use]
pub fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let its = spec.subdomain.as_deref() == Some(name(&service.metadata))
        && namespace(&pod.metadata) == namespace(&service.metadata);
    spec.hostname
        .clone()
        .filter(|hostname| its && !hostname.is_empty())
}

/// Whether the Service has no address of its own.
#[must_use]
pub fn is_headless(service: &Service) -> bool {
    let address = service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref());
    matches!(address, None | Some("" | "None"))
}

/// The number of the port behind a Service's port, in this pod: names are looked up among the
/// containers' and sidecars' ports (`FindPort`).
#[must_use]
pub fn find_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let wanted = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(wanted)) => wanted,
    };
    let spec = pod.spec.as_ref()?;
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| {
            port.name.as_ref() == Some(wanted)
                && port.protocol.as_deref().unwrap_or("TCP") == protocol
        })
        .map(|port| port.container_port)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn ports_are_found_by_name_and_protocol_in_containers_and_sidecars() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {
            "initContainers": [
                {"name": "once", "ports": [{"name": "init", "containerPort": 1}]},
                {"name": "side", "restartPolicy": "Always",
                 "ports": [{"name": "mesh", "containerPort": 2}]}],
            "containers": [{"name": "c", "ports": [
                {"name": "web", "containerPort": 53, "protocol": "UDP"},
                {"name": "web", "containerPort": 80}]}]}}))
        .unwrap();
        let find = |port: Value| find_port(&pod, &serde_json::from_value(port).unwrap());
        assert_eq!(find(json!({"port": 80, "targetPort": "web"})), Some(80));
        let udp = json!({"port": 80, "targetPort": "web", "protocol": "UDP"});
        assert_eq!(find(udp), Some(53));
        assert_eq!(find(json!({"port": 80, "targetPort": "mesh"})), Some(2));
        assert_eq!(find(json!({"port": 80, "targetPort": "init"})), None);
        assert_eq!(find(json!({"port": 80, "targetPort": 8080})), Some(8080));
        assert_eq!(find(json!({"port": 80})), Some(80));
    }
}
