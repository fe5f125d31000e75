//! What of a pod's spec decides its placement, read once.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;

use super::Error;
use super::affinity::{AntiAffinityTerm, NodeAffinity};
use super::ports::{HostPort, host_ports};
use super::requests::PodRequests;
use super::resources::intern;
use super::taint::Toleration;

/// A constraint that only a plugin we do not have could honour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// The field, for example `spec.topologySpreadConstraints`.
    pub field: &'static str,
    /// kube-scheduler's plugin that would look at it.
    pub plugin: &'static str,
}

/// The scheduling constraints and requests of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodSpec {
    /// `spec.priority`, 0 when absent.
    pub priority: i32,
    /// Names of `spec.schedulingGates`.
    pub gates: Vec<String>,
    /// Node selector and affinity.
    pub node_affinity: NodeAffinity,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Host ports.
    pub host_ports: Vec<HostPort>,
    /// Requests.
    pub requests: PodRequests,
    /// Limits, if there are any.
    pub limits: Option<Box<super::Resources>>,
    /// Normalised image names of all init and app containers and image volumes, repeats included.
    pub images: Vec<Arc<str>>,
    /// How many init and app containers there are.
    pub containers: usize,
    /// Required anti-affinity terms.
    pub anti_affinity: Vec<AntiAffinityTerm>,
    /// Which fields of interest to other plugins are set; see `scheduler::unsupported`.
    pub constraints: Vec<Constraint>,
    /// `status.nominatedNodeName`.
    pub nominated_node: Option<String>,
    /// The present condition PodScheduled=False, as (reason, message).
    pub unscheduled: Option<(String, String)>,
}

impl PodSpec {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error`] naming the field of the first thing that cannot be understood.
    pub fn from_api(pod: &api::Pod) -> Result<Self, Error> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let object = || format!("pod {namespace}/{name}");
        let missing = api::PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&missing);
        let tolerations = spec.tolerations.iter().flatten().enumerate();
        let tolerations = tolerations.map(|(i, t)| {
            Toleration::from_api(t).map_err(|problem| Error {
                object: object(),
                field: format!("spec.tolerations[{i}]"),
                problem,
            })
        });
        let init = spec.init_containers.iter().flatten();
        let images = init
            .chain(&spec.containers)
            .filter_map(|c| c.image.as_deref());
        let volumes = spec.volumes.iter().flatten();
        let volume_images = volumes.filter_map(|v| v.image.as_ref()?.reference.as_deref());
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
        Ok(Self {
            priority: spec.priority.unwrap_or_default(),
            gates: spec
                .scheduling_gates
                .iter()
                .flatten()
                .map(|g| g.name.clone())
                .collect(),
            node_affinity: NodeAffinity::from_api(spec, &object)?,
            tolerations: tolerations.collect::<Result<_, _>>()?,
            host_ports: host_ports(spec),
            requests: PodRequests::from_api(pod, &object)?,
            limits: super::limits::limits(spec),
            images: images.chain(volume_images).map(normalised).collect(),
            containers: spec.containers.len() + spec.init_containers.iter().flatten().count(),
            anti_affinity: AntiAffinityTerm::from_api(spec, namespace, &object)?,
            constraints: constraints(spec),
            nominated_node: pod
                .status
                .as_ref()
                .and_then(|s| s.nominated_node_name.clone())
                .filter(|n| !n.is_empty()),
            unscheduled: conditions
                .into_iter()
                .flatten()
                .find(|c| c.type_ == "PodScheduled" && c.status == "False")
                .map(|c| {
                    (
                        c.reason.clone().unwrap_or_default(),
                        c.message.clone().unwrap_or_default(),
                    )
                }),
        })
    }
}

/// An image name with the tag that is meant when none is written.
fn normalised(image: &str) -> Arc<str> {
    if image.rfind(':') > image.rfind('/') {
        intern(image)
    } else {
        intern(&format!("{image}:latest"))
    }
}

/// The constraints that plugins beyond the node's own resources, labels and taints look at.
fn constraints(spec: &api::PodSpec) -> Vec<Constraint> {
    let mut found = Vec::new();
    let mut note = |is_set: bool, field, plugin| {
        if is_set {
            found.push(Constraint { field, plugin });
        }
    };
    let filled = |list: Option<usize>| list.is_some_and(|n| n > 0);
    note(
        filled(spec.topology_spread_constraints.as_ref().map(Vec::len)),
        "spec.topologySpreadConstraints",
        "PodTopologySpread",
    );
    if let Some(affinity) = &spec.affinity {
        let pods = affinity.pod_affinity.as_ref();
        let anti = affinity.pod_anti_affinity.as_ref();
        let required = |t: Option<&Vec<api::PodAffinityTerm>>| filled(t.map(Vec::len));
        let preferred = |t: Option<&Vec<api::WeightedPodAffinityTerm>>| filled(t.map(Vec::len));
        note(
            pods.is_some_and(|a| {
                required(
                    a.required_during_scheduling_ignored_during_execution
                        .as_ref(),
                ) || preferred(
                    a.preferred_during_scheduling_ignored_during_execution
                        .as_ref(),
                )
            }),
            "spec.affinity.podAffinity",
            "InterPodAffinity",
        );
        note(
            anti.is_some_and(|a| {
                required(
                    a.required_during_scheduling_ignored_during_execution
                        .as_ref(),
                ) || preferred(
                    a.preferred_during_scheduling_ignored_during_execution
                        .as_ref(),
                )
            }),
            "spec.affinity.podAntiAffinity",
            "InterPodAffinity",
        );
    }
    let volumes = || spec.volumes.iter().flatten();
    note(
        volumes().any(|v| v.persistent_volume_claim.is_some()),
        "spec.volumes[*].persistentVolumeClaim",
        "VolumeBinding",
    );
    note(
        volumes().any(|v| v.ephemeral.is_some()),
        "spec.volumes[*].ephemeral",
        "VolumeBinding",
    );
    note(
        volumes().any(|v| {
            v.gce_persistent_disk.is_some()
                || v.aws_elastic_block_store.is_some()
                || v.iscsi.is_some()
                || v.rbd.is_some()
        }),
        "spec.volumes[*] (a disk that one node may hold)",
        "VolumeRestrictions",
    );
    note(
        volumes().any(|v| v.azure_disk.is_some() || v.cinder.is_some()),
        "spec.volumes[*] (a disk that counts against the node's limit)",
        "NodeVolumeLimits",
    );
    note(
        filled(spec.resource_claims.as_ref().map(Vec::len)),
        "spec.resourceClaims",
        "DynamicResources",
    );
    let restarts = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    note(
        restarts
            .flat_map(|c| c.restart_policy_rules.iter().flatten())
            .any(|rule| rule.action == "RestartAllContainers"),
        "spec.containers[*].restartPolicyRules",
        "NodeDeclaredFeatures",
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> PodSpec {
        let pod = serde_json::json!({"metadata":{"namespace":"a","name":"b"},"spec":json});
        PodSpec::from_api(&serde_json::from_value(pod).unwrap()).unwrap()
    }

    #[test]
    fn images_are_normalised() {
        let images = |image: &str| {
            spec(serde_json::json!({"containers":[{"name":"c","image":image}]})).images[0]
                .to_string()
        };
        assert_eq!(images("nginx"), "nginx:latest");
        assert_eq!(images("nginx:1"), "nginx:1");
        assert_eq!(images("host:5000/nginx"), "host:5000/nginx:latest");
        assert_eq!(images("host:5000/nginx:1"), "host:5000/nginx:1");
    }

    #[test]
    fn notes_what_other_plugins_would_look_at() {
        let s = spec(serde_json::json!({"containers":[],
            "topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"DoNotSchedule"}],
            "affinity":{"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[
                {"weight":1,"podAffinityTerm":{"topologyKey":"z"}}]},"podAffinity":{}},
            "volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"x"}}],
            "resourceClaims":[{"name":"r"}]}));
        let plugins: Vec<_> = s.constraints.iter().map(|c| c.plugin).collect();
        let expected = [
            "PodTopologySpread",
            "InterPodAffinity",
            "VolumeBinding",
            "DynamicResources",
        ];
        assert_eq!(plugins, expected);
        let plain = serde_json::json!({"containers":[],"volumes":[{"name":"v","emptyDir":{}}]});
        assert!(spec(plain).constraints.is_empty());
    }

    #[test]
    fn a_malformed_toleration_is_named() {
        let pod = serde_json::json!({"metadata":{"namespace":"a","name":"b"},
            "spec":{"containers":[],"tolerations":[{"operator":"Exists"},{"operator":"?"}]}});
        let error = PodSpec::from_api(&serde_json::from_value(pod).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "pod a/b: spec.tolerations[1]: operator \"?\" is unknown"
        );
    }
}
