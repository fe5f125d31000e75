//! An action as it was accepted: the request with every identity fixed. This is what is stored, and what
//! the plan is compiled from.

use serde::{Deserialize, Serialize};

use super::options::Strategy;
use crate::model::{NamespacedName, WorkloadRef};

/// A pod named by a caller, with what it was when the action was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Namespace and name.
    pub pod: NamespacedName,
    /// Its uid.
    pub uid: String,
    /// The node it is on; empty if it was not assigned.
    pub node: String,
    /// The uid of its ReplicaSet.
    pub replica_set: String,
    /// The name of its ReplicaSet.
    pub replica_set_name: String,
    /// The Deployment behind.
    pub workload: WorkloadRef,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "camelCase")]
pub enum Verb {
    /// One more replica on this node.
    Create {
        /// Of which workload.
        workload: WorkloadRef,
        /// Where.
        node: String,
    },
    /// This pod goes and the workload shrinks by one.
    Delete {
        /// Which.
        pod: Target,
    },
    /// This pod's place is taken by a new one there.
    Move {
        /// Which.
        pod: Target,
        /// Where to.
        node: String,
    },
    /// The two sides change nodes.
    Swap {
        /// One side.
        x: Target,
        /// The other; not empty, all on one node.
        y: Vec<Target>,
    },
}

/// The action as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// What is to be done.
    pub verb: Verb,
    /// How.
    pub strategy: Strategy,
    /// Who asked; empty while callers are anonymous.
    #[serde(default)]
    pub caller: String,
}

impl Order {
    /// The workloads concerned, each once, in a fixed order: locks taken in this order cannot deadlock.
    #[must_use]
    pub fn workloads(&self) -> Vec<WorkloadRef> {
        let mut all: Vec<WorkloadRef> = match &self.verb {
            Verb::Create { workload, .. } => vec![workload.clone()],
            Verb::Delete { pod } | Verb::Move { pod, .. } => vec![pod.workload.clone()],
            Verb::Swap { x, y } => std::iter::once(x)
                .chain(y)
                .map(|target| target.workload.clone())
                .collect(),
        };
        all.sort_by(|a, b| a.uid.cmp(&b.uid));
        all.dedup_by(|a, b| a.uid == b.uid);
        all
    }
}
