//! The extension points of kube-scheduler's framework, as one small trait each.
//!
//! Contract for all of them: plugins are pure. They see a snapshot and the cycle's state and return data;
//! they hold no client, do no I/O, and do not wait. What must be done in the world (claims, bindings) they
//! describe, and `binding` does it. `Ok` is success.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::event::Events;
use super::runtime::Framework;
use super::state::CycleState;
use super::status::Status;
use crate::cluster::{Change, NodeInfo, PodInfo, Snapshot};
use crate::model::storage::{Claim, Volume};
use crate::scheduler::diagnosis::FitError;
use crate::scheduler::preemption::Candidate;
use crate::scheduler::queue::QueuedPod;

/// What a queueing hint says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hint {
    /// Try the pod again.
    Queue,
    /// This changes nothing for it.
    Skip,
}

impl Hint {
    /// [`Hint::Queue`] if it may help.
    #[must_use]
    pub fn queue_if(helps: bool) -> Self {
        if helps { Self::Queue } else { Self::Skip }
    }
}

/// A plugin: a name, and for each extension point it has, itself.
pub trait Plugin: Send + Sync {
    /// kube-scheduler's name of it.
    fn name(&self) -> &'static str;

    /// EnqueueExtensions: which events may make a pod schedulable that this plugin has rejected.
    fn events(&self) -> Events {
        Events::NONE
    }

    /// QueueingHintFn: whether an event of those kinds may really make such a pod schedulable. Said too often
    /// it costs attempts in vain; not said when due the pod waits for minutes.
    fn hint(&self, _event: Events, _pod: &PodInfo, _change: &Change) -> Hint {
        Hint::Queue
    }

    /// PreEnqueue, if it has it.
    fn as_pre_enqueue(&self) -> Option<&dyn PreEnqueue> {
        None
    }
    /// QueueSort, if it has it.
    fn as_queue_sort(&self) -> Option<&dyn QueueSort> {
        None
    }
    /// PreFilter, if it has it.
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        None
    }
    /// Filter, if it has it.
    fn as_filter(&self) -> Option<&dyn Filter> {
        None
    }
    /// PostFilter, if it has it.
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        None
    }
    /// PreScore, if it has it.
    fn as_pre_score(&self) -> Option<&dyn PreScore> {
        None
    }
    /// Score, if it has it.
    fn as_score(&self) -> Option<&dyn Score> {
        None
    }
    /// Reserve, if it has it.
    fn as_reserve(&self) -> Option<&dyn Reserve> {
        None
    }
    /// Permit, if it has it.
    fn as_permit(&self) -> Option<&dyn Permit> {
        None
    }
    /// PreBind, if it has it.
    fn as_pre_bind(&self) -> Option<&dyn PreBind> {
        None
    }
    /// Bind, if it has it.
    fn as_bind(&self) -> Option<&dyn Bind> {
        None
    }
    /// PostBind, if it has it.
    fn as_post_bind(&self) -> Option<&dyn PostBind> {
        None
    }
}

/// Asked before a pod enters the active queue. A "no" leaves it gated until the pod changes.
pub trait PreEnqueue {
    /// Whether the pod may be queued.
    ///
    /// # Errors
    /// Why not.
    fn pre_enqueue(&self, pod: &PodInfo) -> Result<(), Status>;
}

/// Orders the active queue; exactly one per profile, the same in all of them.
pub trait QueueSort {
    /// Whether `a` goes before `b`. A strict weak order.
    fn less(&self, a: &QueuedPod, b: &QueuedPod) -> bool;
}

/// Names of the nodes worth filtering; `None`: all.
pub type NodeNames = Option<BTreeSet<Arc<str>>>;

/// Once per cycle, before filtering.
pub trait PreFilter {
    /// Prepares the state and may narrow the nodes.
    ///
    /// # Errors
    /// `Skip`: this plugin's Filter is not asked. `UnschedulableAndUnresolvable`: stop at once.
    /// `Unschedulable`: the other PreFilters still run.
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<NodeNames, Status>;

    /// `added` is now on `node`, in a what-if: keep the state true.
    fn add_pod(&self, _: &mut CycleState, _pod: &PodInfo, _added: &PodInfo, _: &NodeInfo) {}

    /// `removed` is no more on `node`, in a what-if: keep the state true.
    fn remove_pod(&self, _: &mut CycleState, _pod: &PodInfo, _removed: &PodInfo, _: &NodeInfo) {}
}

/// Asked per node; the first "no" ends the asking for that node.
pub trait Filter {
    /// Whether the pod may be on the node.
    ///
    /// # Errors
    /// Why not.
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status>;
}

/// What PostFilter may look at.
pub struct PostFilterContext<'a> {
    /// The profile's plugins, to ask the filters again in what-ifs.
    pub framework: &'a Framework,
    /// The cycle's state after PreFilter.
    pub state: &'a CycleState,
    /// The pod that fits nowhere.
    pub pod: &'a PodInfo,
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// Why it fits nowhere.
    pub error: &'a FitError,
    /// Decides where a search that need not see all nodes begins.
    pub random: u32,
}

/// A node that could be made to fit.
#[derive(Debug, Clone)]
pub struct Nomination {
    /// The node.
    pub node: Arc<str>,
    /// The pods that must go, the least important last.
    pub victims: Vec<Arc<PodInfo>>,
    /// All nodes among which this one was chosen, for extenders to have their say.
    pub candidates: Vec<Candidate>,
}

/// Why PostFilter could not help.
#[derive(Debug, Clone)]
pub struct NoHelp {
    /// The reasons.
    pub status: Status,
    /// Whether an earlier nomination of the pod has become void.
    pub clear_nomination: bool,
}

impl From<Status> for NoHelp {
    fn from(status: Status) -> Self {
        Self {
            status,
            clear_nomination: false,
        }
    }
}

/// Asked when no node passed the filters, until one helps.
pub trait PostFilter {
    /// The node that could be made to fit (to be nominated).
    ///
    /// # Errors
    /// Why nothing helps. `Unschedulable`: the next plugin is asked; anything else ends the asking.
    fn post_filter(&self, context: &PostFilterContext<'_>) -> Result<Nomination, NoHelp>;
}

/// Once per cycle, before scoring, if there are at least two nodes.
pub trait PreScore {
    /// Prepares the state.
    ///
    /// # Errors
    /// `Skip`: this plugin does not score.
    fn pre_score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &[Arc<NodeInfo>],
        snapshot: &Snapshot,
    ) -> Result<(), Status>;
}

/// The largest score after normalisation; the least is 0.
pub const MAX_SCORE: i64 = 100;

/// Ranks the nodes that passed.
pub trait Score {
    /// The raw score of one node.
    fn score(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo, snapshot: &Snapshot)
    -> i64;

    /// Brings the scores of all nodes into [0, [`MAX_SCORE`]].
    fn normalize(&self, _state: &CycleState, _pod: &PodInfo, _scores: &mut [i64]) {}
}

/// Told when a node is chosen, and when that came to nothing.
pub trait Reserve {
    /// The pod is assumed on the node.
    ///
    /// # Errors
    /// Why not; all Reserve plugins are then unreserved, in reverse order.
    fn reserve(&self, state: &CycleState, pod: &PodInfo, node: &str) -> Result<(), Status>;

    /// Give back; may be called without a `reserve` before.
    fn unreserve(&self, state: &CycleState, pod: &PodInfo, node: &str);
}

/// The last word before binding.
pub trait Permit {
    /// # Errors
    /// `Wait` with the time after which the pod is refused; anything else refuses at once.
    fn permit(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        node: &str,
    ) -> Result<(), (Status, Duration)>;
}

/// What has to be done in the world before the binding, and what goes with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreBindWork {
    /// Ids of intents to claim in the store for the pod, with the uid of the dead pod whose claim they
    /// may still carry.
    pub claims: Vec<(String, Option<String>)>,
    /// Annotations that arrive with the binding.
    pub annotations: BTreeMap<String, String>,
    /// Volumes to be bound to claims.
    pub volumes: Vec<(Arc<Volume>, Arc<Claim>)>,
    /// Claims whose volume is to be made where the node can reach it.
    pub provisions: Vec<Arc<Claim>>,
    /// How long all that may take until it is given up.
    pub volume_timeout_seconds: i64,
}

/// Says what must precede the binding.
pub trait PreBind {
    /// Adds to the work.
    ///
    /// # Errors
    /// Why the pod cannot be bound.
    fn pre_bind(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        node: &str,
        work: &mut PreBindWork,
    ) -> Result<(), Status>;
}

/// Decides how the pod is bound. The first that does not skip has decided.
pub trait Bind {
    /// The binding to carry out.
    ///
    /// # Errors
    /// `Skip`: not mine.
    fn bind(
        &self,
        pod: &PodInfo,
        node: &str,
        annotations: &BTreeMap<String, String>,
    ) -> Result<crate::scheduler::ports::Binding, Status>;
}

/// Told of success.
pub trait PostBind {
    /// The pod is bound.
    fn post_bind(&self, pod: &PodInfo, node: &str);
}
