//! What of a pod's spec decides its placement, read once.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;

use jiff::Timestamp;

use super::Error;
use super::affinity::NodeAffinity;
use super::ports::{HostPort, host_ports};
use super::requests::PodRequests;
use super::resources::intern;
use super::selector::Labels;
use super::spread::SpreadConstraint;
use super::taint::Toleration;
use super::volumes::PodVolumes;

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
    /// `spec.topologySpreadConstraints`.
    pub spread: Vec<SpreadConstraint>,
    /// Volumes.
    pub volumes: PodVolumes,
    /// `preemptionPolicy: Never`.
    pub never_preempts: bool,
    /// `status.startTime`.
    pub started: Option<Timestamp>,
    /// Whether the pod was chosen as a victim by a scheduler: condition DisruptionTarget with reason
    /// PreemptionByScheduler.
    pub preempted: bool,
    /// The features that the node must declare (`component-helpers/nodedeclaredfeatures`).
    pub needed_features: Vec<&'static str>,
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
        let no_labels = Labels::default();
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
            spread: SpreadConstraint::all_from_api(
                spec,
                pod.metadata.labels.as_ref().unwrap_or(&no_labels),
                &object,
            )?,
            volumes: PodVolumes::from_api(spec, name),
            never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
            started: pod
                .status
                .as_ref()
                .and_then(|s| s.start_time.as_ref())
                .map(|t| t.0),
            preempted: conditions.into_iter().flatten().any(|c| {
                c.type_ == "DisruptionTarget"
                    && c.status == "True"
                    && c.reason.as_deref() == Some("PreemptionByScheduler")
            }),
            needed_features: needed_features(spec),
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

/// What the kubelet of the node must be able to do, by the names that nodes declare it with.
fn needed_features(spec: &api::PodSpec) -> Vec<&'static str> {
    let init = spec.init_containers.iter().flatten();
    let mut rules = spec
        .containers
        .iter()
        .chain(init)
        .flat_map(|c| c.restart_policy_rules.iter().flatten());
    let mut needed = Vec::new();
    if rules.any(|rule| rule.action == "RestartAllContainers") {
        needed.push("RestartAllContainersOnContainerExits");
    }
    if spec.host_network == Some(true) && spec.host_users == Some(false) {
        needed.push("UserNamespacesHostNetworkSupport");
    }
    needed
}

/// The constraints that no plugin here can honour.
fn constraints(spec: &api::PodSpec) -> Vec<Constraint> {
    let mut found = Vec::new();
    let mut note = |is_set: bool, field, plugin| {
        if is_set {
            found.push(Constraint { field, plugin });
        }
    };
    let claims = spec.resource_claims.as_ref();
    note(
        claims.is_some_and(|list| !list.is_empty()),
        "spec.resourceClaims",
        "DynamicResources",
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
    fn notes_what_no_plugin_honours() {
        let s = spec(serde_json::json!({"containers":[],"resourceClaims":[{"name":"r"}]}));
        assert_eq!(s.constraints[0].plugin, "DynamicResources");
        let plain = serde_json::json!({"containers":[],"volumes":[{"name":"v","emptyDir":{}}]});
        assert!(spec(plain).constraints.is_empty());
    }

    #[test]
    fn infers_features_of_the_kubelet() {
        let s = spec(
            serde_json::json!({"hostNetwork":true,"hostUsers":false,"containers":[{"name":"c",
            "restartPolicyRules":[{"action":"RestartAllContainers"}]}]}),
        );
        let both = [
            "RestartAllContainersOnContainerExits",
            "UserNamespacesHostNetworkSupport",
        ];
        assert_eq!(s.needed_features, both);
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
