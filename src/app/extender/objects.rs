//! Pods and nodes as the API server has them, for extenders that want them whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1 as api;

use super::wire::ApiPod;
use crate::cluster::ClusterEvent;

#[derive(Default)]
struct Kept {
    pods: HashMap<String, ApiPod>,
    nodes: HashMap<String, Arc<api::Node>>,
}

/// See the module. Fed with the same events as the cache, before it.
#[derive(Default)]
pub(in crate::app) struct Objects(Mutex<Kept>);

impl Objects {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a watch has brought.
    pub(in crate::app) fn apply(&self, event: &ClusterEvent) {
        match event {
            ClusterEvent::Pod(pod) => {
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                self.kept().pods.insert(uid, Arc::clone(pod));
            }
            ClusterEvent::PodGone(_, uid) => {
                self.kept().pods.remove(uid);
            }
            ClusterEvent::Node(node) => {
                let name = node.metadata.name.clone().unwrap_or_default();
                self.kept().nodes.insert(name, Arc::clone(node));
            }
            ClusterEvent::NodeGone(name) => {
                self.kept().nodes.remove(name);
            }
            _ => {}
        }
    }

    pub(super) fn pod(&self, uid: &str) -> Option<ApiPod> {
        self.kept().pods.get(uid).cloned()
    }

    pub(super) fn nodes<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<Arc<api::Node>> {
        let kept = self.kept();
        names
            .filter_map(|name| kept.nodes.get(name).cloned())
            .collect()
    }
}
