//! The actions' `Placement` port, on the scheduler's filters and the cache.

use std::sync::Arc;

use async_trait::async_trait;

use crate::actions::ports::{Arrival, Placement, Verdict};
use crate::cluster::Cache;
use crate::scheduler::Configuration;
use crate::scheduler::framework::{Framework, Profile};
use crate::scheduler::intents::IntentBook;
use crate::scheduler::plugins::registry_with;
use crate::scheduler::whatif;

/// Asks the filters that the scheduler itself uses, about the cluster as the cache has it.
pub(super) struct SchedulerPlacement {
    cache: Arc<Cache>,
    /// The first is asked about pods of other schedulers, too.
    frameworks: Vec<Framework>,
}

impl SchedulerPlacement {
    /// # Errors
    /// When a profile makes no sense.
    pub(super) fn new(cache: Arc<Cache>, scheduling: &Configuration) -> Result<Self, String> {
        let framework = |profile: &Profile| {
            // No intent speaks in a what-if: the book stays empty.
            let plugins = registry_with(Arc::new(IntentBook::default()), &profile.args);
            Framework::new(profile, &plugins).map_err(|error| error.to_string())
        };
        let frameworks = scheduling
            .profiles()
            .iter()
            .map(framework)
            .collect::<Result<_, _>>()?;
        Ok(Self { cache, frameworks })
    }

    /// That of the pods' scheduler.
    fn framework(&self, arrivals: &[Arrival]) -> Option<&Framework> {
        let spec = arrivals
            .first()
            .and_then(|a| a.deployment.template.spec.as_ref());
        let name = spec.and_then(|spec| spec.scheduler_name.as_ref());
        let named = self
            .frameworks
            .iter()
            .find(|f| Some(&f.scheduler_name) == name);
        named.or_else(|| self.frameworks.first())
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
        let Some(framework) = self.framework(arrivals) else {
            return Vec::new();
        };
        let answers = whatif::verdicts(framework, &self.cache.snapshot(), &pods, without);
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
