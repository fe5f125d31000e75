//! What the watches tell the cache.
//!
//! Watches of different kinds are not ordered against each other. `Synced` arrives once per kind, when
//! its first list is complete; after a re-list the sender has already diffed: objects that vanished come
//! as deletions.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::policy::v1 as policy;

use super::objects::Object;
use crate::model::{Deployment, NamespacedName, ReplicaSet};

/// The kinds the cache is fed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// core/v1 Node
    Node,
    /// core/v1 Pod
    Pod,
    /// apps/v1 ReplicaSet
    ReplicaSet,
    /// apps/v1 Deployment
    Deployment,
    /// policy/v1 PodDisruptionBudget
    PodDisruptionBudget,
    /// core/v1 Namespace
    Namespace,
    /// core/v1 Service
    Service,
    /// core/v1 ReplicationController
    ReplicationController,
    /// apps/v1 StatefulSet
    StatefulSet,
    /// core/v1 PersistentVolumeClaim
    PersistentVolumeClaim,
    /// core/v1 PersistentVolume
    PersistentVolume,
    /// storage.k8s.io/v1 StorageClass
    StorageClass,
    /// storage.k8s.io/v1 CSINode
    CsiNode,
    /// storage.k8s.io/v1 CSIDriver
    CsiDriver,
    /// storage.k8s.io/v1 CSIStorageCapacity
    CsiStorageCapacity,
    /// storage.k8s.io/v1 VolumeAttachment
    VolumeAttachment,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 16] = [
        Kind::Node,
        Kind::Pod,
        Kind::ReplicaSet,
        Kind::Deployment,
        Kind::PodDisruptionBudget,
        Kind::Namespace,
        Kind::Service,
        Kind::ReplicationController,
        Kind::StatefulSet,
        Kind::PersistentVolumeClaim,
        Kind::PersistentVolume,
        Kind::StorageClass,
        Kind::CsiNode,
        Kind::CsiDriver,
        Kind::CsiStorageCapacity,
        Kind::VolumeAttachment,
    ];
}

/// One change. Pods and nodes come as the API's objects: the cache turns them into its rows once.
#[derive(Debug, Clone)]
pub enum ClusterEvent {
    /// The first list of this kind is complete.
    Synced(Kind),
    /// A node appeared or changed.
    Node(Arc<core::Node>),
    /// A node is gone.
    NodeGone(String),
    /// A pod appeared or changed.
    Pod(Arc<core::Pod>),
    /// A pod is gone.
    PodGone(NamespacedName, String),
    /// A ReplicaSet appeared or changed.
    ReplicaSet(Arc<ReplicaSet>),
    /// A ReplicaSet is gone.
    ReplicaSetGone(NamespacedName, String),
    /// A Deployment appeared or changed.
    Deployment(Arc<Deployment>),
    /// A Deployment is gone.
    DeploymentGone(NamespacedName, String),
    /// A budget appeared or changed.
    PodDisruptionBudget(Arc<policy::PodDisruptionBudget>),
    /// A budget is gone.
    PodDisruptionBudgetGone(NamespacedName, String),
    /// Any other object appeared or changed.
    Object(Object),
    /// An object of such a kind is gone.
    ObjectGone(Kind, NamespacedName),
}
