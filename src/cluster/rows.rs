//! The rows of the cache and of its snapshots: a pod with its spec read, a node with what is on it.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;

use crate::model::ports::HostPort;
use crate::model::{self, Node, Pod, PodPhase, PodSpec, Resources};

/// A pod and what of it decides its placement.
#[derive(Debug, Clone)]
pub struct PodInfo {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its constraints and requests; empty when they could not be read.
    pub spec: Arc<PodSpec>,
    /// Why they could not be read. Such a pod is never placed; if it is placed already, only its number
    /// counts on the node.
    pub problem: Option<model::Error>,
}

impl PodInfo {
    /// Reads a pod of the API.
    ///
    /// # Errors
    /// [`model::Error`] when not even its identity makes sense.
    pub fn from_api(pod: &core::Pod) -> Result<Self, model::Error> {
        let row = Pod::from_api(pod)?;
        let (spec, problem) = match PodSpec::from_api(pod) {
            Ok(spec) => (spec, None),
            Err(problem) => (PodSpec::default(), Some(problem)),
        };
        Ok(Self {
            pod: Arc::new(row),
            spec: Arc::new(spec),
            problem,
        })
    }

    /// The pod's uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.pod.uid
    }

    /// Whether all its containers have ended: it takes no room any more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.pod.phase, PodPhase::Succeeded | PodPhase::Failed)
    }
}

/// A node and what the pods on it (assigned, assumed, terminating) take of it. Immutable.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// The node.
    pub node: Arc<Node>,
    /// The pods on it.
    pub pods: Vec<Arc<PodInfo>>,
    /// The sum of their requests.
    pub requested: Resources,
    /// The same with defaults for missing cpu and memory requests, for scores.
    pub non_zero: Resources,
    /// The host ports in use.
    pub ports: Vec<HostPort>,
}

impl NodeInfo {
    /// Adds up.
    #[must_use]
    pub fn new(node: Arc<Node>, pods: impl IntoIterator<Item = Arc<PodInfo>>) -> Self {
        let mut info = Self {
            node,
            pods: Vec::new(),
            requested: Resources::default(),
            non_zero: Resources::default(),
            ports: Vec::new(),
        };
        for pod in pods {
            info.add(pod);
        }
        info
    }

    /// Puts a pod on it.
    pub fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.spec.requests.total);
        self.non_zero.add(&pod.spec.requests.non_zero);
        self.ports.extend(pod.spec.host_ports.iter().cloned());
        self.pods.push(pod);
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.node.name
    }
}

/// The cluster at one moment. Immutable; nodes that did not change are shared with earlier snapshots.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Nodes in the order of the node tree: round robin over the zones.
    pub nodes: Vec<Arc<NodeInfo>>,
    /// Where a node is in `nodes`.
    pub index: Arc<HashMap<Arc<str>, usize>>,
    /// How many nodes hold an image.
    pub image_nodes: Arc<HashMap<Arc<str>, u32>>,
    /// Pods on nodes that have required anti-affinity terms, with their node.
    pub repelling: Arc<Vec<(Arc<PodInfo>, Arc<str>)>>,
}

impl Snapshot {
    /// A node by name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.index.get(name).map(|at| &self.nodes[*at])
    }
}
