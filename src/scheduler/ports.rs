//! What the scheduler asks of the world; `kube` implements it.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::model::storage::{Claim, Volume};
use crate::model::{NamespacedName, OwnerRef};

/// A decision to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The pod.
    pub pod: NamespacedName,
    /// Its uid; the API server refuses another pod of that name.
    pub uid: String,
    /// The node.
    pub node: String,
    /// Annotations that the API server merges into the pod with the binding.
    pub annotations: BTreeMap<String, String>,
}

/// How a call failed, as far as the scheduler cares.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The pod (in that identity) is not there any more.
    #[error("{0}")]
    Gone(String),
    /// The world is not as the decision assumed: already bound, being deleted, changed.
    #[error("{0}")]
    Conflict(String),
    /// The API server is overloaded, unreachable or ailing; the call may or may not have been done.
    #[error("{0}")]
    Unavailable(String),
    /// The API server refuses, for good.
    #[error("{0}")]
    Refused(String),
}

/// Binds pods. Has a rate budget of its own, apart from [`PodStatus`].
#[async_trait]
pub trait Binder: Send + Sync {
    /// `POST pods/binding`. Retries what is safe to retry; an answer of which it is unknown whether the
    /// binding was done is settled by reading the pod.
    async fn bind(&self, binding: &Binding) -> Result<(), CallError>;
}

/// The condition `PodScheduled` and the nominated node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledCondition {
    /// `Unschedulable` or `SchedulerError`; status is `False`.
    pub reason: String,
    /// The message, untruncated.
    pub message: String,
    /// `status.nominatedNodeName`: `Some("")` clears it, `None` leaves it.
    pub nominated_node: Option<String>,
}

/// Writes pods' status.
#[async_trait]
pub trait PodStatus: Send + Sync {
    /// Patches the condition PodScheduled=False into the pod of this uid.
    async fn set_unscheduled(
        &self,
        pod: &NamespacedName,
        uid: &str,
        condition: &ScheduledCondition,
    ) -> Result<(), CallError>;
}

/// An event of the scheduler (events.k8s.io/v1) on a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodEvent {
    /// The pod.
    pub pod: NamespacedName,
    /// Its uid.
    pub uid: String,
    /// Whether it is a `Warning` rather than `Normal`.
    pub warning: bool,
    /// For example `FailedScheduling`.
    pub reason: &'static str,
    /// For example `Scheduling`.
    pub action: &'static str,
    /// At most 1024 bytes are kept.
    pub note: String,
    /// The profile's scheduler name.
    pub reporter: String,
}

/// Takes events. Never blocks: under pressure events are dropped and counted, as client-go does.
pub trait EventSink: Send + Sync {
    /// Sends one.
    fn record(&self, event: PodEvent);
}

/// Asks the API server for what a watch has not brought yet.
#[async_trait]
pub trait OwnerLookup: Send + Sync {
    /// The controlling owner of the ReplicaSet of this name, if the object there has this uid:
    /// `Ok(None)` if there is no such ReplicaSet, `Ok(Some(None))` if it has no controller.
    async fn owner_of_replica_set(
        &self,
        key: &NamespacedName,
        uid: &str,
    ) -> Result<Option<Option<OwnerRef>>, CallError>;
}

/// Makes room: pods that have to go for a pod of higher priority.
#[async_trait]
pub trait Victims: Send + Sync {
    /// Says in the pod's condition `DisruptionTarget` why, then deletes it, if it is still the one of this
    /// uid. A pod that is gone or going is no error.
    async fn displace(&self, pod: &NamespacedName, uid: &str, why: &str) -> Result<(), CallError>;
}

/// Binds volumes to claims.
#[async_trait]
pub trait Volumes: Send + Sync {
    /// Makes the volume, at the version that was decided on, the claim's.
    async fn bind(&self, volume: &Volume, claim: &Claim) -> Result<(), CallError>;

    /// Asks for a volume that this node can reach, for the claim at the version that was decided on.
    async fn provision(&self, claim: &Claim, node: &str) -> Result<(), CallError>;
}

/// Whether this process may act as the scheduler now.
pub trait Leadership: Send + Sync {
    /// True while the lease is ours and its renew deadline lies ahead. Asked right before each bind.
    fn leads(&self) -> bool;
}

/// Leads always: for a scheduler that runs alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlwaysLeads;

impl Leadership for AlwaysLeads {
    fn leads(&self) -> bool {
        true
    }
}
