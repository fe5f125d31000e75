//! What the actions ask of the world: `kube` implements [`Cluster`], `app` implements [`Placement`] on
//! the scheduler.

use async_trait::async_trait;

use crate::model::{Deployment, NamespacedName, Pod, ReplicaSet};

/// How a call failed, as far as an action cares.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The object (in that identity) is not there.
    #[error("{0}")]
    Gone(String),
    /// A precondition failed (409, or 422 of a JSON patch's `test`): nothing was done by this call;
    /// look again.
    #[error("{0}")]
    Precondition(String),
    /// A PodDisruptionBudget forbids the eviction now (429 with the cause DisruptionBudget).
    #[error("{0}")]
    Budget(String),
    /// Overloaded, unreachable or ailing; the call may or may not have been done. Worth a retry.
    #[error("{message}")]
    Unavailable {
        /// What it said.
        message: String,
        /// Retry-After, if it gave one.
        retry_after: Option<std::time::Duration>,
    },
    /// Refused, for good (400, 403, 422 of validation).
    #[error("{0}")]
    Refused(String),
}

/// A change of a workload's replica count together with its ledger entry, as one JSON patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePatch {
    /// The Deployment.
    pub key: NamespacedName,
    /// Tested: `/metadata/uid`.
    pub uid: String,
    /// Tested: `/metadata/generation`.
    pub generation: i64,
    /// Tested: the ledger label as read (`None`: the label is absent; then `/metadata/resourceVersion` is
    /// tested instead, since JSON patch cannot test absence).
    pub ledger_before: Option<String>,
    /// Whether the object has a `metadata.labels` map at all.
    pub has_labels: bool,
    /// Tested when `ledger_before` is `None`.
    pub resource_version: String,
    /// Tested: `/spec/replicas`.
    pub replicas_before: i32,
    /// Written. The same as before: only the ledger moves (a fence).
    pub replicas_after: i32,
    /// Written.
    pub ledger_after: String,
}

/// Fresh reads and conditional writes. No method retries by itself anything that is not safe to repeat.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// GET of a Deployment.
    async fn deployment(&self, key: &NamespacedName) -> Result<Option<Deployment>, CallError>;
    /// GET of a pod.
    async fn pod(&self, key: &NamespacedName) -> Result<Option<Pod>, CallError>;
    /// Whether the node exists (GET), and whether it is cordoned.
    async fn node(&self, name: &str) -> Result<Option<NodeState>, CallError>;
    /// LIST of the ReplicaSets of a namespace whose controller has this uid.
    async fn replica_sets(
        &self,
        namespace: &str,
        controller_uid: &str,
    ) -> Result<Vec<ReplicaSet>, CallError>;
    /// LIST of the pods of a namespace whose controller is one of these uids (terminating ones included).
    async fn pods(
        &self,
        namespace: &str,
        controller_uids: &[String],
    ) -> Result<Vec<Pod>, CallError>;
    /// GET of a ReplicaSet.
    async fn replica_set(&self, key: &NamespacedName) -> Result<Option<ReplicaSet>, CallError>;
    /// See [`ScalePatch`]. Answers the Deployment as patched.
    async fn scale(&self, patch: &ScalePatch) -> Result<Deployment, CallError>;
    /// Patches the fence annotation onto the pod of this uid (JSON patch testing the uid); answers the pod
    /// as patched, whose resourceVersion the eviction then carries.
    async fn fence_pod(
        &self,
        key: &NamespacedName,
        uid: &str,
        fence: &str,
    ) -> Result<Pod, CallError>;
    /// `POST pods/eviction` with uid and resourceVersion as preconditions. `dry_run` asks without acting
    /// and spends no budget. Evicting a pod that terminates already succeeds.
    async fn evict(
        &self,
        key: &NamespacedName,
        uid: &str,
        resource_version: &str,
        dry_run: bool,
    ) -> Result<(), CallError>;
}

/// What an action asks about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// `spec.unschedulable`.
    pub unschedulable: bool,
}

/// A pod that is to be placed on a node, in a what-if.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The Deployment whose template the pod has.
    pub deployment: Deployment,
    /// The node.
    pub node: String,
}

/// A filter plugin's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All filters pass.
    Feasible,
    /// One rejects.
    Infeasible {
        /// Its name.
        plugin: String,
        /// Its reasons.
        reasons: Vec<String>,
    },
}

impl Verdict {
    /// Whether all filters pass.
    #[must_use]
    pub fn is_feasible(&self) -> bool {
        matches!(self, Self::Feasible)
    }
}

/// The scheduler's own filters, asked about the cluster as the cache knows it.
#[async_trait]
pub trait Placement: Send + Sync {
    /// Places the arrivals one after another (each counts for the next) in a cluster without the pods of the
    /// uids in `without`, and answers the verdict of each.
    async fn verdicts(&self, arrivals: &[Arrival], without: &[String]) -> Vec<Verdict>;
}

/// The cluster as the watches tell it: cheap to ask, possibly late. A step waits on it and confirms by a
/// fresh read of [`Cluster`] where being late would be wrong.
pub trait View: Send + Sync {
    /// A pod by name.
    fn pod(&self, key: &NamespacedName) -> Option<std::sync::Arc<Pod>>;
    /// A Deployment by name.
    fn deployment(&self, key: &NamespacedName) -> Option<std::sync::Arc<Deployment>>;
    /// The ReplicaSets whose controller has this uid.
    fn replica_sets_of(&self, controller_uid: &str) -> Vec<std::sync::Arc<ReplicaSet>>;
    /// The pods whose controller has this uid.
    fn pods_of(&self, controller_uid: &str) -> Vec<std::sync::Arc<Pod>>;
    /// Whether the first lists of all kinds are in. Before, what is not seen may well exist.
    fn synced(&self) -> bool;
    /// Moves after every change.
    fn changes(&self) -> tokio::sync::watch::Receiver<u64>;
}
