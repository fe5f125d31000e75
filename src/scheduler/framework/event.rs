//! What happens in the cluster, in the grain in which plugins care (`framework/events.go`).

use std::ops::BitOr;

use crate::cluster::{Change, PodInfo};
use crate::model::Node;

/// A set of kinds of events. What happens is a set of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Events(u64);

impl Events {
    /// None.
    pub const NONE: Self = Self(0);
    /// A node appeared.
    pub const NODE_ADD: Self = Self(1);
    /// A node's allocatable resources changed.
    pub const NODE_ALLOCATABLE: Self = Self(1 << 1);
    /// A node's labels changed.
    pub const NODE_LABEL: Self = Self(1 << 2);
    /// A node's taints changed, or it is no longer cordoned.
    pub const NODE_TAINT: Self = Self(1 << 3);
    /// A pod came to be on a node.
    pub const POD_ASSIGNED: Self = Self(1 << 4);
    /// A pod on a node is gone or finished.
    pub const POD_GONE: Self = Self(1 << 6);
    /// It was waiting for too long: an event for every plugin.
    pub const TIMEOUT: Self = Self(1 << 8);
    /// A node is gone.
    pub const NODE_DELETE: Self = Self(1 << 16);
    /// The labels of a pod on a node changed.
    pub const POD_LABEL: Self = Self(1 << 17);
    /// A pod on a node asks for less.
    pub const POD_SCALE_DOWN: Self = Self(1 << 18);
    /// Something else about a pod on a node changed.
    pub const POD_OTHER: Self = Self(1 << 19);
    /// A pod on a node changed in a way that may matter to others.
    pub const POD_CHANGED: Self = Self(Self::POD_LABEL.0 | Self::POD_SCALE_DOWN.0);
    /// The pending pod's labels changed.
    pub const SELF_LABEL: Self = Self(1 << 20);
    /// The pending pod asks for less.
    pub const SELF_SCALE_DOWN: Self = Self(1 << 21);
    /// The pending pod tolerates more.
    pub const SELF_TOLERATION: Self = Self(1 << 22);
    /// The last scheduling gate of the pending pod was removed.
    pub const SELF_GATES: Self = Self(1 << 23);
    /// Something else about the pending pod changed: its status, most often.
    pub const SELF_OTHER: Self = Self(1 << 24);
    /// The pending pod appeared.
    pub const SELF_ADD: Self = Self(1 << 25);
    /// The pending pod is gone.
    pub const SELF_DELETE: Self = Self(1 << 40);
    /// The pending pod itself changed in a way that may matter to it.
    pub const SELF_CHANGED: Self = Self(
        Self::SELF_LABEL.0 | Self::SELF_SCALE_DOWN.0 | Self::SELF_TOLERATION.0 | Self::SELF_GATES.0,
    );
    /// The features that a node declares changed.
    pub const NODE_FEATURES: Self = Self(1 << 27);
    /// Every one.
    pub const ALL: Self = Self(u64::MAX);

    /// A namespace, a claim, a volume or another such object appeared, changed or is gone.
    pub const OBJECT: Self = Self(1 << 9);

    /// Whether both have an event in common.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// How upstream's metrics spell a single one.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NODE_ADD => "NodeAdd",
            Self::NODE_DELETE => "NodeDelete",
            Self::NODE_ALLOCATABLE => "NodeUpdateNodeAllocatable",
            Self::NODE_LABEL => "NodeUpdateNodeLabel",
            Self::NODE_TAINT => "NodeUpdateNodeTaint",
            Self::NODE_FEATURES => "NodeUpdateNodeDeclaredFeature",
            Self::POD_ASSIGNED => "AssignedPodAdd",
            Self::POD_LABEL => "AssignedPodUpdatePodLabel",
            Self::POD_SCALE_DOWN => "AssignedPodUpdatePodScaleDown",
            Self::POD_OTHER => "AssignedPodUpdate",
            Self::POD_GONE => "AssignedPodDelete",
            Self::SELF_ADD => "UnschedulablePodAdd",
            Self::SELF_DELETE => "UnschedulablePodDelete",
            Self::SELF_LABEL => "UnschedulablePodUpdatePodLabel",
            Self::SELF_SCALE_DOWN => "UnschedulablePodUpdatePodScaleDown",
            Self::SELF_TOLERATION => "UnschedulablePodUpdatePodToleration",
            Self::SELF_GATES => "UnschedulablePodUpdatePodSchedulingGatesEliminated",
            Self::SELF_OTHER => "UnschedulablePodUpdate",
            Self::TIMEOUT => "UnschedulableTimeout",
            Self::OBJECT => "ObjectUpdate",
            _ => "Several",
        }
    }

    /// What a change is on the whole, for the metrics; [`Self::NONE`] if it is none of kube-scheduler's.
    #[must_use]
    pub fn of(change: &Change) -> Self {
        match change {
            Change::Pending { old: None, .. } => Self::SELF_ADD,
            Change::Pending { .. } => Self::SELF_OTHER,
            Change::NoLongerPending(_) => Self::SELF_DELETE,
            Change::Assigned(_) => Self::POD_ASSIGNED,
            Change::AssignedChanged { .. } => Self::POD_OTHER,
            Change::AssignedGone(_) => Self::POD_GONE,
            Change::NodeAdded(_) => Self::NODE_ADD,
            Change::NodeChanged { old, new } => {
                let first = Self::of_node(old, new).first().copied();
                first.unwrap_or(Self::NONE)
            }
            Change::NodeGone(_) => Self::NODE_DELETE,
            Change::Object { .. } => Self::OBJECT,
            Change::ReplicaSet(_) => Self::NONE,
        }
    }

    /// What the change of a pod without a node is (`PodSchedulingPropertiesChange`).
    #[must_use]
    pub fn of_pending(old: &PodInfo, new: &PodInfo) -> Vec<Self> {
        let mut events = Vec::new();
        if old.pod.labels != new.pod.labels {
            events.push(Self::SELF_LABEL);
        }
        if asks_less(old, new) {
            events.push(Self::SELF_SCALE_DOWN);
        }
        if !old.spec.gates.is_empty() && new.spec.gates.is_empty() {
            events.push(Self::SELF_GATES);
        }
        if old.spec.tolerations.len() != new.spec.tolerations.len() {
            events.push(Self::SELF_TOLERATION);
        }
        if events.is_empty() {
            events.push(Self::SELF_OTHER);
        }
        events
    }

    /// What the change of a pod on a node is.
    #[must_use]
    pub fn of_assigned(old: &PodInfo, new: &PodInfo) -> Vec<Self> {
        let mut events = Vec::new();
        if old.pod.labels != new.pod.labels {
            events.push(Self::POD_LABEL);
        }
        if asks_less(old, new) {
            events.push(Self::POD_SCALE_DOWN);
        }
        if events.is_empty() {
            events.push(Self::POD_OTHER);
        }
        events
    }

    /// What the change of a node is (`NodeSchedulingPropertiesChange`).
    #[must_use]
    pub fn of_node(old: &Node, new: &Node) -> Vec<Self> {
        let mut events = Vec::new();
        if old.unschedulable && !new.unschedulable {
            events.push(Self::NODE_TAINT);
        }
        if old.allocatable != new.allocatable {
            events.push(Self::NODE_ALLOCATABLE);
        }
        if old.labels != new.labels {
            events.push(Self::NODE_LABEL);
        }
        if old.features != new.features {
            events.push(Self::NODE_FEATURES);
        }
        if old.taints != new.taints && !events.contains(&Self::NODE_TAINT) {
            events.push(Self::NODE_TAINT);
        }
        events
    }
}

/// Whether any request became smaller.
fn asks_less(old: &PodInfo, new: &PodInfo) -> bool {
    let (old, new) = (&old.spec.requests.total, &new.spec.requests.total);
    old.milli_cpu > new.milli_cpu
        || old.memory > new.memory
        || old.ephemeral_storage > new.ephemeral_storage
        || old
            .scalars
            .iter()
            .any(|(name, amount)| *amount > new.scalar(name))
}

impl BitOr for Events {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
