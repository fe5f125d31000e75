//! A Deployment, pods, and the weather around them, for tests of the engine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::context::{Context, Parts};
use super::journal::Journal;
use super::metrics::Metrics;
use super::options::Strategy;
use super::order::{Order, Verb};
use super::plan;
use super::ports::{Arrival, CallError, Cluster, NodeState, Placement, ScalePatch, Verdict, View};
use crate::clock;
use crate::model::{Deployment, NamespacedName, Pod, ReplicaSet, WorkloadRef};
use crate::store::memory::MemoryStore;
use crate::store::{ActionId, ActionRecord, ActionState, Direction, Store};

/// What becomes of the next change of a replica count.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    /// It arrives, its answer does not.
    AnswerLost,
    /// It is under way: neither arrives, yet.
    UnderWay,
}

/// A Deployment, and the weather.
pub(super) struct Fake {
    pub(super) deployment: Mutex<Deployment>,
    pub(super) fates: Mutex<VecDeque<Fate>>,
    pub(super) under_way: Mutex<Option<ScalePatch>>,
    /// So many reads fail after a change whose answer was lost.
    pub(super) blind: Mutex<usize>,
    /// The next what-if panics.
    pub(super) panics: Mutex<bool>,
    /// The pods that are there.
    pub(super) pods: Mutex<BTreeMap<NamespacedName, Pod>>,
    /// The ReplicaSets that are there.
    pub(super) sets: Mutex<Vec<ReplicaSet>>,
    /// What the next evictions are answered; after them, each takes its pod away.
    pub(super) evictions: Mutex<VecDeque<CallError>>,
    changes: watch::Sender<u64>,
}

pub(super) fn away() -> CallError {
    CallError::Unavailable {
        message: "no answer".into(),
        retry_after: Some(Duration::from_millis(20)),
    }
}

impl Fake {
    pub(super) fn new() -> Arc<Self> {
        let object = json!({
            "metadata": {
                "name": "web", "namespace": "default", "uid": "uid-web", "generation": 4,
                "resourceVersion": "1", "labels": {crate::model::names::LEDGER_LABEL: "older"}},
            "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": {"replicas": 2, "updatedReplicas": 2, "observedGeneration": 99}});
        let object = serde_json::from_value(object).unwrap();
        Arc::new(Self {
            deployment: Mutex::new(Deployment::from_api(&object).unwrap()),
            fates: Mutex::default(),
            under_way: Mutex::default(),
            blind: Mutex::new(0),
            panics: Mutex::new(false),
            pods: Mutex::default(),
            sets: Mutex::default(),
            evictions: Mutex::default(),
            changes: watch::Sender::new(0),
        })
    }

    /// Sets the Deployment and its one ReplicaSet to this count, with the rollout over or not, and tells it.
    pub(super) fn counts(&self, replicas: i32, updated: i32) {
        let set = json!({
            "metadata": {"name": "web-a", "namespace": "default", "uid": "uid-rs", "generation": 1},
            "spec": {"replicas": replicas, "selector": {}},
            "status": {"replicas": replicas, "observedGeneration": 1}});
        let set = serde_json::from_value(set).unwrap();
        *self.sets.lock().unwrap() = vec![ReplicaSet::from_api(&set).unwrap()];
        {
            let mut found = self.deployment.lock().unwrap();
            found.replicas = replicas;
            found.status_replicas = replicas;
            found.updated_replicas = updated;
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Adds a bound and Ready pod, placed by an action or not.
    pub(super) fn add_pod(&self, name: &str, action: Option<&str>) {
        let object = json!({
            "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"),
                "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": action.map(|id| json!({crate::model::names::ACTION_ANNOTATION: id}))},
            "spec": {"containers": [], "nodeName": "n1"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let pod = Pod::from_api(&serde_json::from_value(object).unwrap()).unwrap();
        self.pods.lock().unwrap().insert(pod.key.clone(), pod);
    }

    pub(super) fn replicas(&self) -> i32 {
        self.deployment.lock().unwrap().replicas
    }

    pub(super) fn apply(&self, patch: &ScalePatch) -> Result<Deployment, CallError> {
        let mut found = self.deployment.lock().unwrap();
        let same = found.generation == patch.generation
            && found.replicas == patch.replicas_before
            && found.ledger().map(str::to_owned) == patch.ledger_before;
        if !same {
            return Err(CallError::Precondition("a test failed".into()));
        }
        if patch.replicas_after != patch.replicas_before {
            found.replicas = patch.replicas_after;
            found.generation += 1;
        }
        let labels = found.labels.get_or_insert_default();
        let label = crate::model::names::LEDGER_LABEL.to_owned();
        labels.insert(label, patch.ledger_after.clone());
        Ok(found.clone())
    }
}

#[async_trait]
impl Cluster for Fake {
    async fn deployment(&self, _: &NamespacedName) -> Result<Option<Deployment>, CallError> {
        let mut blind = self.blind.lock().unwrap();
        if *blind > 0 {
            *blind -= 1;
            return Err(away());
        }
        Ok(Some(self.deployment.lock().unwrap().clone()))
    }
    async fn pod(&self, key: &NamespacedName) -> Result<Option<Pod>, CallError> {
        Ok(self.pods.lock().unwrap().get(key).cloned())
    }
    async fn node(&self, _: &str) -> Result<Option<NodeState>, CallError> {
        Ok(None)
    }
    async fn replica_sets(&self, _: &str, _: &str) -> Result<Vec<ReplicaSet>, CallError> {
        Ok(self.sets.lock().unwrap().clone())
    }
    async fn pods(&self, _: &str, _: &[String]) -> Result<Vec<Pod>, CallError> {
        Ok(self.pods.lock().unwrap().values().cloned().collect())
    }
    async fn replica_set(&self, _: &NamespacedName) -> Result<Option<ReplicaSet>, CallError> {
        Ok(None)
    }
    async fn scale(&self, patch: &ScalePatch) -> Result<Deployment, CallError> {
        let fate = self.fates.lock().unwrap().pop_front();
        match fate {
            None => return self.apply(patch),
            Some(Fate::AnswerLost) => {
                self.apply(patch)?;
            }
            Some(Fate::UnderWay) => *self.under_way.lock().unwrap() = Some(patch.clone()),
        }
        // Until after the step's deadline.
        *self.blind.lock().unwrap() = 10;
        Err(away())
    }
    async fn fence_pod(&self, key: &NamespacedName, _: &str, _: &str) -> Result<Pod, CallError> {
        let found = self.pods.lock().unwrap().get(key).cloned();
        found.ok_or_else(|| CallError::Gone("no pod".into()))
    }
    async fn evict(
        &self,
        key: &NamespacedName,
        _: &str,
        _: &str,
        _: bool,
    ) -> Result<(), CallError> {
        if let Some(answer) = self.evictions.lock().unwrap().pop_front() {
            return Err(answer);
        }
        match self.pods.lock().unwrap().remove(key) {
            Some(_) => Ok(()),
            None => Err(CallError::Gone("no pod".into())),
        }
    }
}

#[async_trait]
impl Placement for Fake {
    async fn verdicts(&self, arrivals: &[Arrival], _: &[String]) -> Vec<Verdict> {
        if std::mem::take(&mut *self.panics.lock().unwrap()) {
            panic!("a bug");
        }
        let verdict = Verdict::Infeasible {
            plugin: "Test".into(),
            reasons: vec!["no".into()],
        };
        vec![verdict; arrivals.len()]
    }
}

impl View for Fake {
    fn pod(&self, key: &NamespacedName) -> Option<Arc<Pod>> {
        self.pods.lock().unwrap().get(key).cloned().map(Arc::new)
    }
    fn deployment(&self, _: &NamespacedName) -> Option<Arc<Deployment>> {
        Some(Arc::new(self.deployment.lock().unwrap().clone()))
    }
    fn replica_sets_of(&self, _: &str) -> Vec<Arc<ReplicaSet>> {
        let sets = self.sets.lock().unwrap();
        sets.iter().cloned().map(Arc::new).collect()
    }
    fn pods_of(&self, _: &str) -> Vec<Arc<Pod>> {
        Vec::new()
    }
    fn synced(&self) -> bool {
        true
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

pub(super) fn workload() -> WorkloadRef {
    WorkloadRef {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: "default".into(),
        name: "web".into(),
        uid: "uid-web".into(),
    }
}

/// A Create that has been begun, as `change` left it, in a store.
pub(super) async fn stored(
    cluster: &Arc<Fake>,
    change: impl FnOnce(&mut ActionRecord),
) -> (ActionId, Parts) {
    let order = Order {
        verb: Verb::Create {
            workload: workload(),
            node: "n1".into(),
        },
        strategy: Strategy::Auto,
        caller: String::new(),
    };
    let now = clock::now();
    let mut record = ActionRecord {
        id: ActionId::new(now),
        method: "action.Create".into(),
        request: serde_json::to_value(&order).unwrap(),
        state: ActionState::Running,
        reason: String::new(),
        message: String::new(),
        created_at: now,
        started_at: Some(now),
        finished_at: None,
        deadline: now + SignedDuration::from_secs(60),
        pods: Vec::new(),
        steps: plan::compile(&order, plan::Shape::Surge, 0).steps(),
        direction: Direction::Forward,
        forward_from: 0,
        back_from: 0,
        restores: false,
        version: 0,
        fence: 0,
    };
    change(&mut record);
    let store = Arc::new(MemoryStore::new());
    store.submit(&record, None, &[]).await.unwrap();
    let parts = Parts {
        store,
        cluster: cluster.clone(),
        view: cluster.clone(),
        placement: cluster.clone(),
    };
    (record.id, parts)
}

/// The same, taken by this executor.
pub(super) async fn taken(
    cluster: &Arc<Fake>,
    change: impl FnOnce(&mut ActionRecord),
) -> Arc<Context> {
    let (_, parts) = stored(cluster, change).await;
    let mut records = parts
        .store
        .acquire("test", Duration::from_secs(60), 1)
        .await
        .unwrap();
    let stop = CancellationToken::new();
    Arc::new(Context {
        journal: Journal::new(Arc::clone(&parts.store), records.remove(0), stop.clone()),
        parts,
        stop,
        metrics: Metrics::default(),
    })
}
