//! What kubelets tell of in events, in their words (pkg/kubelet/events, kuberuntime, images, prober).
//! Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::entry::Entry;
use crate::sandbox::controllers::informer::Key;
use crate::sandbox::controllers::objects::{name, namespace, uid};
use crate::sandbox::kubelet::admission::Rejection;

/// What an event is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A pod, or one of its containers, given as the path of the field.
    Pod(Arc<Pod>, Option<String>),
    /// A node.
    Node,
}

/// An event to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The node whose kubelet tells it.
    pub node: String,
    /// What about.
    pub subject: Subject,
    /// Whether it wants a look.
    pub warning: bool,
    /// The reason.
    pub reason: String,
    /// The text.
    pub message: String,
}

impl Told {
    /// Something normal about a node.
    #[must_use]
    pub fn node(node: &str, reason: &str, message: impl Into<String>) -> Self {
        Self {
            node: node.to_owned(),
            subject: Subject::Node,
            warning: false,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// What a kubelet that has just started tells of its node.
    #[must_use]
    pub fn started(node: &str) -> Vec<Self> {
        let mut told = vec![Self::node(node, "Starting", "Starting kubelet.")];
        for reason in [
            "NodeHasSufficientMemory",
            "NodeHasNoDiskPressure",
            "NodeHasSufficientPID",
        ] {
            told.push(Self::node_status(node, reason));
        }
        let message = "Updated Node Allocatable limit across pods";
        told.push(Self::node(node, "NodeAllocatableEnforced", message));
        told.push(Self::node_status(node, "NodeReady"));
        told
    }

    /// A node's status is now this.
    #[must_use]
    pub fn node_status(node: &str, reason: &str) -> Self {
        let message = format!("Node {node} status is now: {reason}");
        Self::node(node, reason, message)
    }
}

impl Entry {
    fn tell(&self, container: Option<&str>, warning: bool, reason: &str, message: String) -> Told {
        Told {
            node: self.node.clone(),
            subject: Subject::Pod(Arc::clone(&self.pod), container.map(ToOwned::to_owned)),
            warning,
            reason: reason.to_owned(),
            message,
        }
    }

    fn containers(&self) -> impl Iterator<Item = (String, &Container)> {
        let spec = self.pod.spec.as_ref();
        let containers = spec.map(|spec| spec.containers.as_slice());
        containers
            .unwrap_or_default()
            .iter()
            .map(|container| (format!("spec.containers{{{}}}", container.name), container))
    }

    /// The containers were started; init containers before them if it is the first time.
    pub(super) fn tell_start(&self) -> Vec<Told> {
        let spec = self.pod.spec.as_ref();
        let inits = spec.and_then(|spec| spec.init_containers.as_deref());
        let inits = inits
            .filter(|_| self.restarts == 0)
            .unwrap_or_default()
            .iter()
            .map(|init| (format!("spec.initContainers{{{}}}", init.name), init));
        let mut told = Vec::new();
        for (path, container) in inits.chain(self.containers()) {
            let image = container.image.as_deref().unwrap_or_default();
            let present = format!(
                "Container image \"{image}\" already present on machine and can be accessed by the \
                 pod"
            );
            let path = Some(path.as_str());
            told.push(self.tell(path, false, "Pulled", present));
            told.push(self.tell(path, false, "Created", "Container created".to_owned()));
            told.push(self.tell(path, false, "Started", "Container started".to_owned()));
        }
        if self.behaviour.never_ready {
            for (path, container) in self.containers() {
                if container.readiness_probe.is_some() {
                    let message =
                        "Readiness probe failed: HTTP probe failed with statuscode: 503".to_owned();
                    told.push(self.tell(Some(&path), true, "Unhealthy", message));
                }
            }
        }
        told
    }

    /// The containers are being stopped.
    pub(super) fn tell_stop(&self) -> Vec<Told> {
        self.containers()
            .map(|(path, container)| {
                let message = format!("Stopping container {}", container.name);
                self.tell(Some(&path), false, "Killing", message)
            })
            .collect()
    }

    /// The containers have crashed and are not started again at once.
    pub(super) fn tell_backoff(&self) -> Vec<Told> {
        let meta = &self.pod.metadata;
        let pod = format!("{}_{}({})", name(meta), namespace(meta), uid(meta));
        self.containers()
            .map(|(path, container)| {
                let message = format!(
                    "Back-off restarting failed container {} in pod {pod}",
                    container.name
                );
                self.tell(Some(&path), true, "BackOff", message)
            })
            .collect()
    }

    /// The pod was not let in.
    pub(super) fn tell_rejection(&self, rejection: &Rejection) -> Told {
        self.tell(None, true, &rejection.reason, rejection.message.clone())
    }
}

/// The key of what an event is about.
#[must_use]
pub fn key_of(told: &Told) -> Key {
    match &told.subject {
        Subject::Pod(pod, _) => Key::of(pod.as_ref()),
        Subject::Node => Key::new("", told.node.clone()),
    }
}
