//! What happens in the cluster, in the grain in which plugins care.

use std::ops::BitOr;

/// A set of kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Events(u16);

impl Events {
    /// None.
    pub const NONE: Self = Self(0);
    /// A node appeared.
    pub const NODE_ADD: Self = Self(1);
    /// A node's allocatable resources changed.
    pub const NODE_ALLOCATABLE: Self = Self(1 << 1);
    /// A node's labels changed.
    pub const NODE_LABEL: Self = Self(1 << 2);
    /// A node's taints, or whether it is cordoned, changed.
    pub const NODE_TAINT: Self = Self(1 << 3);
    /// A pod came to be on a node.
    pub const POD_ASSIGNED: Self = Self(1 << 4);
    /// A pod on a node changed.
    pub const POD_CHANGED: Self = Self(1 << 5);
    /// A pod on a node is gone or finished.
    pub const POD_GONE: Self = Self(1 << 6);
    /// The pending pod itself changed.
    pub const SELF_CHANGED: Self = Self(1 << 7);
    /// It was waiting for too long: an event for every plugin.
    pub const TIMEOUT: Self = Self(1 << 8);

    /// A namespace, a claim, a volume or another such object appeared, changed or is gone.
    pub const OBJECT: Self = Self(1 << 9);

    /// Whether both have an event in common.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// How upstream's metric spells a single one.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NODE_ADD => "NodeAdd",
            Self::NODE_ALLOCATABLE => "NodeUpdateNodeAllocatable",
            Self::NODE_LABEL => "NodeUpdateNodeLabel",
            Self::NODE_TAINT => "NodeUpdateNodeTaint",
            Self::POD_ASSIGNED => "AssignedPodAdd",
            Self::POD_CHANGED => "AssignedPodUpdate",
            Self::POD_GONE => "AssignedPodDelete",
            Self::SELF_CHANGED => "PodUpdate",
            Self::TIMEOUT => "UnschedulableTimeout",
            Self::OBJECT => "ObjectUpdate",
            _ => "Several",
        }
    }
}

impl BitOr for Events {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
