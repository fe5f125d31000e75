//! The primitive steps. Each is idempotent: begun twice, it is done once.

use serde::{Deserialize, Serialize};

use super::order::Target;
use crate::model::WorkloadRef;

/// Which pod a step concerns.
#[allow(clippy::large_enum_variant)] // One a step, decoded when the step begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Who {
    /// A pod the caller named.
    Named(Target),
    /// The pod that took the intent of this step.
    Claimant(usize),
}

/// A primitive step. Steps are named by their index in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "camelCase")]
pub enum Op {
    /// Store an intent (its id is `<action id>.<this step>`).
    Intend {
        /// Whose pods may take it.
        workload: WorkloadRef,
        /// Where the pod belongs.
        node: Option<String>,
        /// Leave it unbound for now.
        hold: bool,
        /// Only pods of this ReplicaSet.
        replica_set: Option<String>,
    },
    /// Change where an intent points.
    Redirect {
        /// The step that stored it.
        intent: usize,
        /// Where the pod belongs.
        node: Option<String>,
        /// Leave it unbound for now.
        hold: bool,
    },
    /// Take an intent back.
    Withdraw {
        /// The step that stored it.
        intent: usize,
    },
    /// One replica more, with a ledger entry.
    ScaleUp {
        /// The workload.
        workload: WorkloadRef,
    },
    /// Wait until the pod that took the intent is Ready on its node.
    AwaitReady {
        /// The step that stored the intent.
        intent: usize,
    },
    /// Evict a pod, fenced, with its uid and resourceVersion as preconditions.
    Evict {
        /// Which.
        who: Who,
    },
    /// Wait until the scheduler holds the replacement unbound, or the ReplicaSet is one short and says
    /// FailedCreate. A claimant that got bound all the same is evicted.
    AwaitHeld {
        /// The step that stored the intent.
        intent: usize,
        /// The workload.
        workload: WorkloadRef,
    },
    /// One replica less, with a ledger entry; only while the held pod is the certain victim.
    ScaleDown {
        /// The workload.
        workload: WorkloadRef,
        /// The step that stored the intent under which the victim is held.
        intent: usize,
    },
    /// Wait until the held pod is deleted, then take the intent back.
    AwaitHeldGone {
        /// The step that stored the intent.
        intent: usize,
        /// The workload.
        workload: WorkloadRef,
    },
    /// Wait until a pod is gone, by uid.
    AwaitGone {
        /// Which.
        pod: Target,
    },
    /// Wait until no rollout of the workload is in progress.
    AwaitSettled {
        /// The workload.
        workload: WorkloadRef,
    },
}

impl Op {
    /// Whether it only waits: such a step may be dropped at any moment.
    #[must_use]
    pub fn only_waits(&self) -> bool {
        matches!(
            self,
            Self::AwaitReady { .. } | Self::AwaitGone { .. } | Self::AwaitSettled { .. }
        )
    }

    /// The primitive's name, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Intend { .. } => "Intend",
            Self::Redirect { .. } => "Redirect",
            Self::Withdraw { .. } => "Withdraw",
            Self::ScaleUp { .. } => "ScaleUp",
            Self::AwaitReady { .. } => "AwaitReady",
            Self::Evict { .. } => "Evict",
            Self::AwaitHeld { .. } => "AwaitHeld",
            Self::ScaleDown { .. } => "ScaleDown",
            Self::AwaitHeldGone { .. } => "AwaitHeldGone",
            Self::AwaitGone { .. } => "AwaitGone",
            Self::AwaitSettled { .. } => "AwaitSettled",
        }
    }

    /// The step's name, for people.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Intend {
                workload,
                node: Some(node),
                hold: false,
                ..
            } => {
                format!("place intent: next pod of {workload} on {node}")
            }
            Self::Intend { workload, .. } => format!("withhold next pod of {workload}"),
            Self::Redirect {
                node: Some(node),
                hold: false,
                ..
            } => format!("direct pod to {node}"),
            Self::Redirect { .. } => "hold pod unbound".to_owned(),
            Self::Withdraw { .. } => "withdraw intent".to_owned(),
            Self::ScaleUp { workload } => format!("scale {workload} by +1"),
            Self::AwaitReady { .. } => "await new pod Ready".to_owned(),
            Self::Evict {
                who: Who::Named(target),
            } => format!("evict {}", target.pod),
            Self::Evict {
                who: Who::Claimant(_),
            } => "evict new pod".to_owned(),
            Self::AwaitHeld { workload, .. } => format!("await replacement in {workload}, held"),
            Self::ScaleDown { workload, .. } => format!("scale {workload} by -1"),
            Self::AwaitHeldGone { .. } => "await held pod gone".to_owned(),
            Self::AwaitGone { pod } => format!("await {} gone", pod.pod),
            Self::AwaitSettled { workload } => format!("await {workload} settled"),
        }
    }
}
