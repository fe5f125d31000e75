//! DynamicResources, as pods without resource claims see it: it scores 0, and when nothing fits it has no
//! claims to take back. Pods with claims are held (see `scheduler::unsupported`).

use crate::cluster::{NodeInfo, PodInfo, Snapshot};
use crate::scheduler::framework::plugin::{
    NoHelp, NodeNames, Nomination, Plugin, PostFilter, PostFilterContext, PreFilter, Score,
};
use crate::scheduler::framework::{Code, CycleState, Events, Status};

/// See the module.
#[derive(Debug)]
pub struct DynamicResources;

/// PreFilter has been here.
struct Seen;

impl Plugin for DynamicResources {
    fn name(&self) -> &'static str {
        "DynamicResources"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD | Events::SELF_CHANGED
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl PreFilter for DynamicResources {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        _: &PodInfo,
        _: &Snapshot,
    ) -> Result<NodeNames, Status> {
        state.put(Seen);
        Err(Status::skip())
    }
}

impl PostFilter for DynamicResources {
    fn post_filter(&self, context: &PostFilterContext<'_>) -> Result<Nomination, NoHelp> {
        // An earlier plugin's PreFilter has ended the cycle: upstream's state is "not found" then, which
        // is an error, and no other plugin is asked.
        if context.state.get::<Seen>().is_none() {
            return Err(Status::new(Code::Error, "not found").into());
        }
        Err(Status::unschedulable("no new claims to deallocate").into())
    }
}

impl Score for DynamicResources {
    fn score(&self, _: &CycleState, _: &PodInfo, _: &NodeInfo, _: &Snapshot) -> i64 {
        0
    }
}
