//! Intents: what the actions ask of the scheduler.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ActionId;
use crate::model::WorkloadRef;

/// "The next new pod of this workload belongs on this node", or, with `hold`, "leave it unbound"
/// (a *withhold*). Whoever the pod is that takes it, it is named in `claim`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// `<action id>.<step>`.
    pub id: String,
    /// The action it belongs to; no intent outlives its action.
    pub action: ActionId,
    /// The workload whose pods may take it.
    pub workload: WorkloadRef,
    /// Where the pod belongs; `None` only with `hold`.
    pub node: Option<String>,
    /// Leave the pod that takes it unbound until this is lifted.
    pub hold: bool,
    /// If given, only pods of the ReplicaSet of this uid may take it: a withhold waits for the replacement
    /// of one pod, and a rollout's new pods are none.
    #[serde(default)]
    pub replica_set: Option<String>,
    /// Uids of pods that may not take it: those that were there before.
    #[serde(default)]
    pub exclude: BTreeSet<String>,
    /// The pod that took it.
    pub claim: Option<Claim>,
    /// How often it was claimed by a pod anew; bounded by the scheduler.
    #[serde(default)]
    pub claims: u32,
    /// Why a pod that took it could not be placed.
    pub refusal: Option<Refusal>,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// The pod that took an intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub uid: String,
    /// The scheduler's word that it keeps the pod unbound, no bind under way. A claim is refused when this
    /// is not the intent's `hold`: so a decision taken before a redirection cannot be carried out after.
    #[serde(default)]
    pub held: bool,
}

/// The scheduler's word that the pod does not fit where it belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The pod that was tried.
    pub pod_uid: String,
    /// The plugin that rejected the node, for example `NodeResourcesFit`.
    pub plugin: String,
    /// The reasons, as in the FailedScheduling event.
    pub message: String,
}

/// The answer of `intents_since`.
#[derive(Debug, Clone, Default)]
pub struct IntentDelta {
    /// The revision this answer brings the reader to.
    pub revision: u64,
    /// The answer holds all intents there are: forget others.
    pub full: bool,
    /// Intents stored or changed since.
    pub changed: Vec<Intent>,
    /// Ids of intents withdrawn since.
    pub withdrawn: Vec<String>,
}
