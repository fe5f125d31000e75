//! The scheduler's pages: what it was told, and what pods ask for.

use std::sync::Arc;

use crate::api::SchedulerPages;
use crate::cluster::Cache;
use crate::scheduler::Configuration;
use crate::scheduler::metrics::resources;
use crate::scheduler::ports::Leadership;

/// Of the scheduler that runs in this process.
pub(super) struct Pages {
    pub(super) configuration: Configuration,
    pub(super) cache: Arc<Cache>,
    pub(super) leadership: Arc<dyn Leadership>,
}

impl SchedulerPages for Pages {
    fn configz(&self) -> serde_json::Value {
        self.configuration.to_v1()
    }

    fn resources(&self) -> String {
        if self.leadership.leads() {
            resources::page(&self.cache)
        } else {
            String::new()
        }
    }
}
