//! The rows of the cache and of its snapshots: a pod with its spec read, a node with what is on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::policy::v1 as policy;

use super::class::{ClassCount, PodClass};
use super::objects::Objects;
use crate::model::pod_affinity::PodAffinity;
use crate::model::ports::HostPort;
use crate::model::{self, NamespacedName, Node, Pod, PodPhase, PodSpec, Resources};

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
    /// Whom other pods' selectors cannot tell it from.
    pub class: Arc<PodClass>,
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
        // A selector that makes no sense is told as the pod's problem, above.
        let affinity = match (&problem, &pod.spec) {
            (None, Some(spec)) => {
                PodAffinity::from_api(spec, &row.key.namespace, &|| row.key.to_string())?
            }
            _ => PodAffinity::default(),
        };
        Ok(Self {
            class: PodClass::of(&row.key.namespace, &row.labels, affinity),
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
    /// The host ports in use, each once: of two pods that should not both be here, the first that is taken
    /// off frees the port (`framework.HostPortInfo`).
    pub ports: Vec<HostPort>,
    /// The pods again, by class.
    pub classes: Vec<ClassCount>,
    /// Whether a pod on it ever had affinity to others since the row was made.
    pub cares: bool,
    /// Likewise, required anti-affinity.
    pub repels: bool,
    /// Likewise, volumes that a claim or a cloud provides.
    pub mounts: bool,
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
            classes: Vec::new(),
            cares: false,
            repels: false,
            mounts: false,
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
        for port in &pod.spec.host_ports {
            if !self.ports.contains(port) {
                self.ports.push(port.clone());
            }
        }
        self.cares |= !pod.class.affinity.is_empty();
        self.repels |= !pod.class.affinity.anti_required.is_empty();
        let volumes = &pod.spec.volumes;
        self.mounts |= !volumes.claims.is_empty() || !volumes.in_tree.is_empty();
        let live = u32::from(pod.pod.deleted.is_none());
        let of = |c: &&mut ClassCount| c.class.number == pod.class.number;
        match self.classes.iter_mut().find(of) {
            Some(count) => {
                count.all += 1;
                count.live += live;
            }
            None => self.classes.push(ClassCount {
                class: pod.class.clone(),
                all: 1,
                live,
            }),
        }
        self.pods.push(pod);
    }

    /// Takes a pod off it, if it is there.
    pub fn remove(&mut self, uid: &str) {
        let Some(at) = self.pods.iter().position(|p| p.uid() == uid) else {
            return;
        };
        let pod = self.pods.remove(at);
        self.requested.subtract(&pod.spec.requests.total);
        self.non_zero.subtract(&pod.spec.requests.non_zero);
        for port in &pod.spec.host_ports {
            if let Some(at) = self.ports.iter().position(|p| p == port) {
                self.ports.swap_remove(at);
            }
        }
        let live = u32::from(pod.pod.deleted.is_none());
        if let Some(at) = self
            .classes
            .iter()
            .position(|c| c.class.number == pod.class.number)
        {
            let count = &mut self.classes[at];
            count.all -= 1;
            count.live -= live;
            if count.all == 0 {
                self.classes.remove(at);
            }
        }
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.node.name
    }
}

/// An image, as the cluster knows it (`framework.ImageStateSummary`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageState {
    /// How many nodes hold it.
    pub nodes: u32,
    /// Its size in bytes, as the first of them has told it.
    pub size: i64,
}

/// The cluster at one moment. Immutable; nodes that did not change are shared with earlier snapshots.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Nodes in the order of the node tree: round robin over the zones.
    pub nodes: Vec<Arc<NodeInfo>>,
    /// Where a node is in `nodes`.
    pub index: Arc<HashMap<Arc<str>, usize>>,
    /// The images that nodes hold.
    pub image_nodes: Arc<HashMap<Arc<str>, ImageState>>,
    /// Pending pods by the node nominated for them.
    pub nominated: Arc<HashMap<Arc<str>, Vec<Arc<PodInfo>>>>,
    /// PodDisruptionBudgets.
    pub budgets: Arc<BTreeMap<NamespacedName, Arc<policy::PodDisruptionBudget>>>,
    /// Everything else.
    pub objects: Objects,
}

impl Snapshot {
    /// A node by name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.index.get(name).map(|at| &self.nodes[*at])
    }
}
