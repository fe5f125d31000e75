//! The actions' `Placement` port, on the scheduler's filters and the cache.

use std::sync::Arc;

use async_trait::async_trait;

use crate::actions::ports::{Arrival, Placement, Verdict};
use crate::cluster::Cache;
use crate::scheduler::framework::{Framework, Profile};
use crate::scheduler::intents::IntentBook;
use crate::scheduler::plugins::registry;
use crate::scheduler::whatif;

/// Asks the filters that the scheduler itself uses, about the cluster as the cache has it.
pub(super) struct SchedulerPlacement {
    cache: Arc<Cache>,
    framework: Framework,
}

impl SchedulerPlacement {
    /// # Errors
    /// When the profile makes no sense.
    pub(super) fn new(cache: Arc<Cache>, scheduler_name: &str) -> Result<Self, String> {
        // No intent speaks in a what-if: the book stays empty.
        let registry = registry(Arc::new(IntentBook::default()));
        let framework = Framework::new(&Profile::new(scheduler_name), &registry)
            .map_err(|error| error.to_string())?;
        Ok(Self { cache, framework })
    }
}

#[async_trait]
impl Placement for SchedulerPlacement {
    async fn verdicts(&self, arrivals: &[Arrival], without: &[String]) -> Vec<Verdict> {
        // Before the first lists are complete, nodes would not be there and full ones would look empty.
        super::cache_synced(&self.cache).await;
        let pods: Vec<_> = arrivals
            .iter()
            .map(|arrival| {
                let Arrival { deployment, node } = arrival;
                let pod = whatif::pod_of_template(&deployment.key.namespace, &deployment.template);
                (pod, node.clone())
            })
            .collect();
        let answers = whatif::verdicts(&self.framework, &self.cache.snapshot(), &pods, without);
        answers
            .into_iter()
            .map(|answer| match answer {
                Ok(()) => Verdict::Feasible,
                Err(status) => Verdict::Infeasible {
                    plugin: status.plugin.to_string(),
                    reasons: status.reasons.iter().map(ToString::to_string).collect(),
                },
            })
            .collect()
    }
}
