//! What the cache holds, counted and listed: for metrics.

use std::sync::Arc;

use super::Cache;
use crate::cluster::PodInfo;

impl Cache {
    /// How many nodes there are, and how many pods that are on one or assumed to be.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let state = self.state();
        let pods = state.pods.values().filter(|entry| entry.on.is_some());
        (state.nodes_known(), pods.count())
    }

    /// All pods that have not finished, and the node of each.
    #[must_use]
    pub fn all_pods(&self) -> Vec<(Arc<PodInfo>, Option<Arc<str>>)> {
        let state = self.state();
        let pods = state.pods.values();
        pods.map(|entry| (Arc::clone(&entry.info), entry.on.clone()))
            .collect()
    }
}
