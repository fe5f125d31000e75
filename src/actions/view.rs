//! [`View`] on the cache of the cluster.

use std::sync::Arc;

use tokio::sync::watch;

use super::ports::View;
use crate::cluster::Cache;
use crate::model::{Deployment, NamespacedName, Pod, ReplicaSet};

impl View for Cache {
    fn pod(&self, key: &NamespacedName) -> Option<Arc<Pod>> {
        Cache::pod(self, key)
    }

    fn deployment(&self, key: &NamespacedName) -> Option<Arc<Deployment>> {
        Cache::deployment(self, key)
    }

    fn replica_sets_of(&self, controller_uid: &str) -> Vec<Arc<ReplicaSet>> {
        Cache::replica_sets_of(self, controller_uid)
    }

    fn pods_of(&self, controller_uid: &str) -> Vec<Arc<Pod>> {
        self.pods_of_controller(controller_uid)
    }

    fn synced(&self) -> bool {
        Cache::synced(self)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        Cache::changes(self)
    }
}
