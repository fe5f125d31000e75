//! What the watches tell the cache.
//!
//! Watches of different kinds are not ordered against each other. `Synced` arrives once per kind, when
//! its first list is complete; after a re-list the sender has already diffed: objects that vanished come
//! as deletions.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::policy::v1 as policy;

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
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [
        Kind::Node,
        Kind::Pod,
        Kind::ReplicaSet,
        Kind::Deployment,
        Kind::PodDisruptionBudget,
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
}
