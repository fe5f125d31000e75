//! What an executor finds that takes over, and what a step finds out about a call without an answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::SignedDuration;
use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::actions::context::Parts;
use crate::actions::executor::{Executor, Settings};
use crate::actions::journal::Journal;
use crate::actions::options::Strategy;
use crate::actions::ports::{Arrival, Cluster, NodeState, Placement, ScalePatch, Verdict, View};
use crate::model::{Deployment, NamespacedName, Pod, ReplicaSet, WorkloadRef};
use crate::store::memory::MemoryStore;
use crate::store::{ActionId, Store};

/// What becomes of the next change of a replica count.
#[derive(Clone, Copy)]
enum Fate {
    /// It arrives, its answer does not.
    AnswerLost,
    /// It is under way: neither arrives, yet.
    UnderWay,
}

/// A Deployment, and the weather.
struct Fake {
    deployment: Mutex<Deployment>,
    fates: Mutex<VecDeque<Fate>>,
    under_way: Mutex<Option<ScalePatch>>,
    /// So many reads fail after a change whose answer was lost.
    blind: Mutex<usize>,
    /// The next what-if panics.
    panics: Mutex<bool>,
    changes: watch::Sender<u64>,
}

fn away() -> CallError {
    CallError::Unavailable {
        message: "no answer".into(),
        retry_after: Some(Duration::from_millis(20)),
    }
}

impl Fake {
    fn new() -> Arc<Self> {
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
            changes: watch::Sender::new(0),
        })
    }

    fn replicas(&self) -> i32 {
        self.deployment.lock().unwrap().replicas
    }

    fn apply(&self, patch: &ScalePatch) -> Result<Deployment, CallError> {
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
    async fn pod(&self, _: &NamespacedName) -> Result<Option<Pod>, CallError> {
        Ok(None)
    }
    async fn node(&self, _: &str) -> Result<Option<NodeState>, CallError> {
        Ok(None)
    }
    async fn replica_sets(&self, _: &str, _: &str) -> Result<Vec<ReplicaSet>, CallError> {
        Ok(Vec::new())
    }
    async fn pods(&self, _: &str, _: &[String]) -> Result<Vec<Pod>, CallError> {
        Ok(Vec::new())
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
    async fn fence_pod(&self, _: &NamespacedName, _: &str, _: &str) -> Result<Pod, CallError> {
        Err(CallError::Gone("no pod".into()))
    }
    async fn evict(&self, _: &NamespacedName, _: &str, _: &str, _: bool) -> Result<(), CallError> {
        Err(CallError::Gone("no pod".into()))
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
    fn pod(&self, _: &NamespacedName) -> Option<Arc<Pod>> {
        None
    }
    fn deployment(&self, _: &NamespacedName) -> Option<Arc<Deployment>> {
        None
    }
    fn replica_sets_of(&self, _: &str) -> Vec<Arc<ReplicaSet>> {
        Vec::new()
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

fn workload() -> WorkloadRef {
    WorkloadRef {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: "default".into(),
        name: "web".into(),
        uid: "uid-web".into(),
    }
}

/// A Create that has been begun, as `change` left it, in a store.
async fn stored(cluster: &Arc<Fake>, change: impl FnOnce(&mut ActionRecord)) -> (ActionId, Parts) {
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
        steps: plan::compile(&order, plan::Shape::Surge).steps(),
        direction: Direction::Forward,
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
async fn taken(cluster: &Arc<Fake>, change: impl FnOnce(&mut ActionRecord)) -> Arc<Context> {
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
    })
}

async fn scale_up(cluster: &Arc<Fake>, fate: Fate) -> Result<String, End> {
    let context = taken(cluster, |_| {}).await;
    cluster.fates.lock().unwrap().push_back(fate);
    let step = Step {
        context,
        index: 1,
        halt: CancellationToken::new(),
        deadline: clock::now() + SignedDuration::from_millis(60),
    };
    let op = Op::ScaleUp {
        workload: workload(),
    };
    steps::run(&step, &op).await
}

#[tokio::test]
async fn a_failure_that_nobody_acted_upon_is_no_success() {
    let cluster = Fake::new();
    let context = taken(&cluster, |record| {
        record.steps[0].state = StepState::Done;
        record.steps[1].state = StepState::Failed;
        record.reason = "Refused".into();
        record.message = "not allowed".into();
    })
    .await;
    run(Arc::clone(&context)).await;
    let (state, reason, message) = context
        .journal
        .read(|r| (r.state, r.reason.clone(), r.message.clone()))
        .await;
    assert_eq!(state, ActionState::Failed);
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("Refused", "not allowed")
    );
    assert_eq!(cluster.replicas(), 2);
}

#[tokio::test]
async fn a_patch_whose_answer_was_lost_counts_as_done_although_the_deadline_passed() {
    let cluster = Fake::new();
    let ended = scale_up(&cluster, Fate::AnswerLost).await;
    assert_eq!(ended, Ok("3 replicas".to_owned()));
    assert_eq!(cluster.replicas(), 3);
}

#[tokio::test]
async fn a_patch_that_is_still_under_way_at_the_deadline_arrives_in_vain() {
    let cluster = Fake::new();
    let ended = scale_up(&cluster, Fate::UnderWay).await;
    let Err(End::Failed(failure)) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(failure.reason, "DeadlineExceeded");
    let late = cluster.under_way.lock().unwrap().take().unwrap();
    assert_eq!(late.replicas_after, 3);
    assert!(matches!(
        cluster.apply(&late),
        Err(CallError::Precondition(_))
    ));
    assert_eq!(cluster.replicas(), 2);
}

#[tokio::test]
async fn an_action_whose_task_died_is_taken_again_when_its_lease_has_run_out() {
    let cluster = Fake::new();
    *cluster.panics.lock().unwrap() = true;
    let (id, parts) = stored(&cluster, |record| record.steps.clear()).await;
    let settings = Settings {
        owner: "test".into(),
        lease: Duration::from_millis(300),
        concurrency: 4,
    };
    let shutdown = CancellationToken::new();
    let store = Arc::clone(&parts.store);
    let mut changes = store.changes();
    let executor = tokio::spawn(Executor::new(parts, settings).run(shutdown.clone()));
    let ended = clock::timeout(Duration::from_secs(20), async {
        loop {
            let record = store.action(id).await.unwrap().unwrap();
            if record.state.is_final() {
                return record;
            }
            changes.changed().await.unwrap();
        }
    });
    let record = ended.await.expect("it is taken again");
    assert_eq!(record.state, ActionState::Failed);
    assert_eq!(record.reason, "Infeasible");
    assert!(record.fence > 1, "taken once: {}", record.fence);
    shutdown.cancel();
    executor.await.unwrap();
}
