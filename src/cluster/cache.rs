//! The one writer of the cluster's state and its readers' doors.

mod census;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::policy::v1 as policy;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::change::Change;
use super::event::{ClusterEvent, Kind};
use super::rows::{PodInfo, Snapshot};
use super::state::State;
use crate::model::storage::{Claim, Volume};
use crate::model::{Deployment, NamespacedName, Node, OwnerRef, Pod, ReplicaSet, WorkloadRef};

/// What controls a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workload {
    /// Nothing.
    None,
    /// This.
    Known(WorkloadRef),
    /// A ReplicaSet that no watch has brought yet: watches are not ordered among kinds.
    Unknown(OwnerRef),
}

/// The state of the cluster as the watches tell it, with the pods that the scheduler has placed but whose
/// binding no watch has confirmed (*assumed* pods). All methods are short and never block on I/O.
#[derive(Debug)]
pub struct Cache {
    state: Mutex<State>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<Change>>>,
    changes: watch::Sender<u64>,
    malformed: AtomicU64,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            listeners: Mutex::default(),
            changes: watch::Sender::new(0),
            malformed: AtomicU64::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a watch has brought. An object that makes no sense is logged, counted and left out.
    pub fn apply(&self, event: ClusterEvent) {
        // Reading an object is the costly part: before the lock.
        let read = Read::new(event, &self.malformed);
        // Held over both, so that listeners hear changes in the order in which they were made.
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut changes = Vec::new();
        self.state().apply(read, &mut changes);
        for change in changes {
            listeners.retain(|l| l.send(change.clone()).is_ok());
        }
        drop(listeners);
        self.changes.send_modify(|n| *n += 1);
    }

    /// From now on every change in order, after one [`Change::Pending`] for each pod pending now.
    #[must_use]
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Change> {
        let (tx, rx) = mpsc::unbounded_channel();
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for entry in self.state().pods.values() {
            let info = &entry.info;
            if info.pod.node_name.is_none() && !info.is_finished() {
                // The receiver is in hand: it cannot be closed.
                let _ = tx.send(Change::Pending {
                    old: None,
                    new: info.clone(),
                });
            }
        }
        listeners.push(tx);
        rx
    }

    /// Moves after every applied event.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether the first list of every kind is complete.
    #[must_use]
    pub fn synced(&self) -> bool {
        let state = self.state();
        Kind::ALL.iter().all(|kind| state.synced.contains(kind))
    }

    /// How many objects could not be read so far.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// The cluster now, assumed pods included. Cheapest when the caller holds no earlier snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.state().snapshot()
    }

    /// Counts a pending pod on a node from now on. False if the pod is gone, finished, or on a node already.
    #[must_use]
    pub fn assume(&self, uid: &str, node: &str) -> bool {
        self.state().assume(uid, node)
    }

    /// Takes an assumed pod back; nothing happens if a watch has meanwhile confirmed or deleted it.
    /// Listeners hear that there is room.
    pub fn forget(&self, uid: &str) {
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(info) = self.state().forget(uid) else {
            return;
        };
        listeners.retain(|l| l.send(Change::AssignedGone(info.clone())).is_ok());
        drop(listeners);
        self.changes.send_modify(|n| *n += 1);
    }

    /// Promises volumes to claims, and nodes to volumes that are to be made, for a pod that is assumed:
    /// others see them as they will be.
    pub fn assume_volumes(&self, volumes: Vec<Arc<Volume>>, claims: Vec<Arc<Claim>>) {
        if volumes.is_empty() && claims.is_empty() {
            return;
        }
        let mut state = self.state();
        let storage = Arc::make_mut(&mut state.objects().storage);
        for volume in volumes {
            storage.assumed_volumes.insert(volume.name.clone(), volume);
        }
        for claim in claims {
            storage.assumed_claims.insert(claim.key.clone(), claim);
        }
    }

    /// Takes back what [`Self::assume_volumes`] has promised.
    pub fn forget_volumes(&self, volumes: &[String], claims: &[NamespacedName]) {
        let mut state = self.state();
        let storage = Arc::make_mut(&mut state.objects().storage);
        for name in volumes {
            storage.assumed_volumes.remove(name);
        }
        for key in claims {
            storage.assumed_claims.remove(key);
        }
    }

    /// Nominates a node for a pending pod, ahead of the API server's word; `None` takes it back.
    pub fn nominate(&self, uid: &str, node: Option<&str>) {
        self.state().nominate(uid, node);
    }

    /// A pod with its spec, if it is there, and the node it is on or assumed to be on.
    #[must_use]
    pub fn pod_info(&self, uid: &str) -> Option<(Arc<PodInfo>, Option<Arc<str>>)> {
        self.state()
            .pods
            .get(uid)
            .map(|entry| (entry.info.clone(), entry.on.clone()))
    }

    /// A pod by uid.
    #[must_use]
    pub fn pod_by_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        self.state()
            .pods
            .get(uid)
            .map(|entry| entry.info.pod.clone())
    }

    /// A pod by name.
    #[must_use]
    pub fn pod(&self, key: &NamespacedName) -> Option<Arc<Pod>> {
        self.state()
            .pod_by_key(key)
            .map(|entry| entry.info.pod.clone())
    }

    /// All pods controlled by this owner, finished and terminating ones included.
    #[must_use]
    pub fn pods_of_controller(&self, uid: &str) -> Vec<Arc<Pod>> {
        self.state()
            .pods_of_controller(uid)
            .map(|entry| entry.info.pod.clone())
            .collect()
    }

    /// Whether the pod of this uid is known to be out of play: terminating, finished, or not there
    /// although all pods are known.
    #[must_use]
    pub fn pod_is_dead(&self, uid: &str) -> bool {
        let state = self.state();
        match state.pods.get(uid) {
            None => state.synced.contains(&Kind::Pod),
            Some(entry) => !entry.info.pod.is_active(),
        }
    }

    /// A ReplicaSet by uid.
    #[must_use]
    pub fn replica_set(&self, uid: &str) -> Option<Arc<ReplicaSet>> {
        self.state().replica_sets.get(uid).cloned()
    }

    /// The ReplicaSets controlled by this Deployment.
    #[must_use]
    pub fn replica_sets_of(&self, deployment_uid: &str) -> Vec<Arc<ReplicaSet>> {
        self.state()
            .replica_sets_of(deployment_uid)
            .cloned()
            .collect()
    }

    /// A Deployment by name.
    #[must_use]
    pub fn deployment(&self, key: &NamespacedName) -> Option<Arc<Deployment>> {
        self.state().deployments.get(key).cloned()
    }

    /// A Deployment by uid.
    #[must_use]
    pub fn deployment_by_uid(&self, uid: &str) -> Option<Arc<Deployment>> {
        let state = self.state();
        state
            .deployments
            .get(state.deployment_keys.get(uid)?)
            .cloned()
    }

    /// Whether there is a node of this name, readable or not.
    #[must_use]
    pub fn node_exists(&self, name: &str) -> bool {
        self.state().node_exists(name)
    }

    /// A node by name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.state().node(name).cloned()
    }

    /// The PodDisruptionBudgets of a namespace.
    #[must_use]
    pub fn budgets(&self, namespace: &str) -> Vec<Arc<policy::PodDisruptionBudget>> {
        let state = self.state();
        let from = NamespacedName::new(namespace, "");
        let budgets = state
            .current()
            .budgets
            .range(from..)
            .take_while(|(key, _)| key.namespace == namespace);
        budgets.map(|(_, budget)| budget.clone()).collect()
    }

    /// The workload that controls a pod: its Deployment by way of the ReplicaSet, or its direct owner.
    #[must_use]
    pub fn workload_of(&self, pod: &Pod) -> Workload {
        let Some(owner) = &pod.controller else {
            return Workload::None;
        };
        let mut top = owner.clone();
        if owner.kind == "ReplicaSet" && owner.api_version.starts_with("apps/") {
            match self.replica_set(&owner.uid) {
                None => return Workload::Unknown(top),
                Some(set) => top = set.controller.clone().unwrap_or(top),
            }
        }
        Workload::Known(workload_ref(&pod.key.namespace, top))
    }
}

/// An owner as a workload.
#[must_use]
pub fn workload_ref(namespace: &str, owner: OwnerRef) -> WorkloadRef {
    WorkloadRef {
        api_version: owner.api_version,
        kind: owner.kind,
        namespace: namespace.to_owned(),
        name: owner.name,
        uid: owner.uid,
    }
}

/// An event whose object has been read.
enum Read {
    Node(Arc<Node>),
    NodeUnreadable(String),
    Pod(Arc<PodInfo>),
    Nothing,
    Other(ClusterEvent),
}

impl Read {
    fn new(event: ClusterEvent, malformed: &AtomicU64) -> Self {
        let complain = |error: crate::model::Error| {
            malformed.fetch_add(1, Ordering::Relaxed);
            warn!(%error, "an object makes no sense and is left out");
        };
        match event {
            ClusterEvent::Node(node) => match Node::from_api(&node) {
                Ok(node) => Self::Node(Arc::new(node)),
                Err(error) => {
                    complain(error);
                    Self::NodeUnreadable(node.metadata.name.clone().unwrap_or_default())
                }
            },
            ClusterEvent::Pod(pod) => match PodInfo::from_api(&pod) {
                Ok(info) => {
                    if let Some(error) = info.problem.clone() {
                        complain(error);
                    }
                    Self::Pod(Arc::new(info))
                }
                Err(error) => {
                    complain(error);
                    Self::Nothing
                }
            },
            other => Self::Other(other),
        }
    }
}

impl State {
    fn apply(&mut self, event: Read, changes: &mut Vec<Change>) {
        match event {
            Read::Nothing => {}
            Read::Node(node) => changes.push(self.put_node(node)),
            Read::NodeUnreadable(name) => changes.extend(self.drop_node(&name, true)),
            Read::Pod(pod) => self.put_pod(pod, changes),
            Read::Other(event) => match event {
                ClusterEvent::Synced(kind) => {
                    self.synced.insert(kind);
                }
                ClusterEvent::NodeGone(name) => changes.extend(self.drop_node(&name, false)),
                ClusterEvent::PodGone(key, uid) => self.drop_pod(&key, &uid, changes),
                ClusterEvent::ReplicaSet(set) => changes.push(self.put_replica_set(set)),
                ClusterEvent::ReplicaSetGone(key, uid) => self.drop_replica_set(&key, &uid),
                ClusterEvent::Deployment(new) => self.put_deployment(new),
                ClusterEvent::DeploymentGone(key, uid) => self.drop_deployment(&key, &uid),
                ClusterEvent::PodDisruptionBudget(budget) => {
                    let key = NamespacedName::new(
                        budget.metadata.namespace.clone().unwrap_or_default(),
                        budget.metadata.name.clone().unwrap_or_default(),
                    );
                    Arc::make_mut(&mut self.snapshot_mut().budgets).insert(key, budget);
                }
                ClusterEvent::PodDisruptionBudgetGone(key, _) => {
                    Arc::make_mut(&mut self.snapshot_mut().budgets).remove(&key);
                }
                ClusterEvent::Object(new) => {
                    let old = self.objects().put(new.clone());
                    let new = Some(new);
                    changes.push(Change::Object { old, new });
                }
                ClusterEvent::ObjectGone(kind, key) => {
                    let old = self.objects().remove(kind, &key);
                    if old.is_some() {
                        changes.push(Change::Object { old, new: None });
                    }
                }
                ClusterEvent::Node(_) | ClusterEvent::Pod(_) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests;
