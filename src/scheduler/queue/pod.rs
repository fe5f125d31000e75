//! A pod in the queue, and why one is held.

use std::sync::Arc;

use tokio::time::Instant;

use crate::cluster::PodInfo;
use crate::model::WorkloadRef;

/// A pod in the queue, with its history.
#[derive(Debug, Clone)]
pub struct QueuedPod {
    /// The pod as last seen.
    pub info: Arc<PodInfo>,
    /// What controls it, once known.
    pub workload: Option<WorkloadRef>,
    /// When it entered the queue, or came back to it last.
    pub timestamp: Instant,
    /// When it could first have been tried.
    pub first_attempt: Option<Instant>,
    /// How often it was tried.
    pub attempts: u32,
    /// How often it did not fit.
    pub unschedulable_count: u32,
    /// How often in a row something went wrong.
    pub errors: u32,
    /// The plugins that rejected it last; those that answered `Pending` are in [`Self::pending`].
    pub rejectors: Vec<&'static str>,
    /// The plugins that wait for something of their own and then want it tried at once.
    pub pending: Vec<&'static str>,
    /// The plugin whose PreEnqueue keeps it out; it is among the rejectors, too.
    pub gated_by: Option<&'static str>,
    /// Whether its last way out of unschedulable was that it had waited for too long.
    pub flushed: bool,
    /// The condition PodScheduled=False that was sent last, as (reason, message).
    pub condition: Option<(String, String)>,
    pub(super) sequence: u64,
    pub(super) backoff_until: Instant,
}

impl QueuedPod {
    /// The pod's uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.info.uid()
    }

    /// All plugins that stand in its way.
    pub fn blockers(&self) -> impl Iterator<Item = &'static str> {
        self.rejectors.iter().chain(&self.pending).copied()
    }
}

/// Why a pod is held. It is not marked Unschedulable meanwhile: nobody should buy nodes for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// An action withholds it: the intent's id.
    Intent(String),
    /// The ReplicaSet of this uid that owns it has not been seen yet.
    Owner(String),
    /// The intents in the store cannot be read.
    Store,
    /// Its victims are being told to go.
    Preempting,
    /// It cannot be understood; until it changes.
    Malformed,
}
