//! DefaultPreemption: when a pod fits nowhere, pods of lower priority may have to go.

use crate::scheduler::config::args::DefaultPreemptionArgs;
use crate::scheduler::framework::Status;
use crate::scheduler::framework::plugin::{
    NoHelp, Nomination, Plugin, PostFilter, PostFilterContext,
};
use crate::scheduler::preemption::{self, Ineligible};

/// See the module.
#[derive(Debug, Default)]
pub struct DefaultPreemption {
    args: DefaultPreemptionArgs,
}

impl DefaultPreemption {
    /// With the args of a profile.
    #[must_use]
    pub fn new(args: &DefaultPreemptionArgs) -> Self {
        Self { args: args.clone() }
    }
}

impl Plugin for DefaultPreemption {
    fn name(&self) -> &'static str {
        "DefaultPreemption"
    }
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        Some(self)
    }
}

impl PostFilter for DefaultPreemption {
    fn post_filter(&self, context: &PostFilterContext<'_>) -> Result<Nomination, NoHelp> {
        let said = |text: String| Status::unschedulable(format!("preemption: {text}"));
        if let Err(Ineligible(why)) = preemption::eligible(context) {
            return Err(said(why.to_owned()).into());
        }
        let potential = preemption::potential_nodes(context);
        let wanted = preemption::wanted(&self.args, potential.len());
        let found = preemption::dry_run(context, &potential, wanted);
        let best = preemption::best(&found.candidates);
        match best.first() {
            Some(best) => Ok(Nomination {
                node: best.node.clone(),
                victims: best.victims.clone(),
                candidates: found.candidates.clone(),
            }),
            None => Err(NoHelp {
                status: said(found.message(context.snapshot)),
                clear_nomination: true,
            }),
        }
    }
}
