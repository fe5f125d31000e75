//! ActionIntent: the pod that an action's intent is for goes to the node that the action names.
//!
//! The cycle matches the pod to its intent before PreFilter and leaves the [`Target`] in the cycle state;
//! this plugin narrows the nodes to that one (all other filters still apply), takes the intent in Reserve
//! so that no other pod of the workload gets it meanwhile, and sends the claim and the action's id with the
//! binding.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cluster::{PodInfo, Snapshot};
use crate::model::names::ACTION_ANNOTATION;
use crate::model::resources::intern;
use crate::scheduler::framework::plugin::{
    NodeNames, Plugin, PreBind, PreBindWork, PreFilter, Reserve,
};
use crate::scheduler::framework::{CycleState, Events, Status};
use crate::scheduler::intents::IntentBook;

/// The intent that this cycle's pod is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The intent's id.
    pub intent: String,
    /// The action's id.
    pub action: String,
    /// The node.
    pub node: String,
    /// The dead pod whose claim the intent still carries.
    pub instead_of: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub struct ActionIntent {
    intents: Arc<IntentBook>,
}

impl ActionIntent {
    /// With the intents that are taken locally.
    #[must_use]
    pub fn new(intents: Arc<IntentBook>) -> Self {
        Self { intents }
    }
}

impl Plugin for ActionIntent {
    fn name(&self) -> &'static str {
        "ActionIntent"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_reserve(&self) -> Option<&dyn Reserve> {
        Some(self)
    }
    fn as_pre_bind(&self) -> Option<&dyn PreBind> {
        Some(self)
    }
}

impl PreFilter for ActionIntent {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        _: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<NodeNames, Status> {
        let Some(target) = state.get::<Target>() else {
            return Ok(None);
        };
        if snapshot.node(&target.node).is_none() {
            let reason = format!(
                "node {:?} of action {} is not there",
                target.node, target.action
            );
            return Err(Status::unresolvable(reason));
        }
        Ok(Some(BTreeSet::from([intern(&target.node)])))
    }
}

impl Reserve for ActionIntent {
    fn reserve(&self, state: &CycleState, pod: &PodInfo, _: &str) -> Result<(), Status> {
        match state.get::<Target>() {
            Some(target) if !self.intents.take(&target.intent, pod.uid()) => Err(
                Status::unschedulable("another pod has taken the action's intent"),
            ),
            _ => Ok(()),
        }
    }

    fn unreserve(&self, state: &CycleState, pod: &PodInfo, _: &str) {
        if let Some(target) = state.get::<Target>() {
            self.intents.give_back(&target.intent, pod.uid());
        }
    }
}

impl PreBind for ActionIntent {
    fn pre_bind(
        &self,
        state: &CycleState,
        _: &PodInfo,
        _: &str,
        work: &mut PreBindWork,
    ) -> Result<(), Status> {
        if let Some(target) = state.get::<Target>() {
            work.claims
                .push((target.intent.clone(), target.instead_of.clone()));
            work.annotations
                .insert(ACTION_ANNOTATION.to_owned(), target.action.clone());
        }
        Ok(())
    }
}
