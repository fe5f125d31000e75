//! What the cache tells those who listen, in the order in which it happened.

use std::sync::Arc;

use super::objects::Object;
use super::rows::PodInfo;
use crate::model::Node;

/// One change of the cluster, as the scheduling queue needs it.
#[derive(Debug, Clone)]
pub enum Change {
    /// A pod without a node appeared (`old` is none) or changed.
    Pending {
        /// As it was.
        old: Option<Arc<PodInfo>>,
        /// As it is.
        new: Arc<PodInfo>,
    },
    /// A pod that was pending is so no more: it was assigned, finished or deleted.
    NoLongerPending(Arc<PodInfo>),
    /// A pod is on a node now.
    Assigned(Arc<PodInfo>),
    /// A pod on a node changed.
    AssignedChanged {
        /// As it was.
        old: Arc<PodInfo>,
        /// As it is.
        new: Arc<PodInfo>,
    },
    /// A pod on a node finished or is gone: there is room.
    AssignedGone(Arc<PodInfo>),
    /// A node appeared.
    NodeAdded(Arc<Node>),
    /// A node changed.
    NodeChanged {
        /// As it was.
        old: Arc<Node>,
        /// As it is.
        new: Arc<Node>,
    },
    /// A node is gone.
    NodeGone(Arc<Node>),
    /// The ReplicaSet of this uid appeared or changed.
    ReplicaSet(String),
    /// An object of another kind appeared (`old` is none), changed, or is gone (`new` is none).
    Object {
        /// As it was.
        old: Option<Object>,
        /// As it is.
        new: Option<Object>,
    },
}
