//! A world for the scheduler: pods in a map, watches that tell at once, calls that can fail.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::SOON;
use crate::clock;
use crate::cluster::event::Kind;
use crate::cluster::{Cache, ClusterEvent, Object, read};
use crate::model::storage::{self, ClaimRef, Volume};
use crate::model::{NamespacedName, OwnerRef, ReplicaSet, WorkloadRef};
use crate::scheduler::extender::Extenders;
use crate::scheduler::ports::{
    Binder, Binding, CallError, EventSink, Leadership, OwnerLookup, PodEvent, PodStatus,
    ScheduledCondition, Victims, Volumes,
};
use crate::scheduler::{Metrics, Options, Ports, Scheduler};
use crate::store::memory::MemoryStore;
use crate::store::{
    self, ActionId, ActionPage, ActionRecord, Claim, Error, Idempotency, Intent, IntentDelta,
    LockMode, NewEvent, Refusal, Store, StoredEvent, Submitted,
};

#[derive(Default)]
struct Content {
    pods: HashMap<String, Value>,
    bindings: Vec<Binding>,
    begun: usize,
    failures: VecDeque<CallError>,
    slow: Duration,
    conditions: Vec<(String, String)>,
    events: Vec<PodEvent>,
    owners: HashMap<String, Option<String>>,
    /// Uids of pods preempted, and why.
    displaced: Vec<(String, String)>,
}

pub(super) struct World {
    pub(super) store: Arc<Fragile>,
    cache: Arc<Cache>,
    content: Arc<Mutex<Content>>,
    moved: Arc<watch::Sender<u64>>,
    leads: Arc<AtomicBool>,
    shutdown: CancellationToken,
    running: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone)]
struct Hands {
    cache: Arc<Cache>,
    content: Arc<Mutex<Content>>,
    moved: Arc<watch::Sender<u64>>,
}

impl Hands {
    fn touch<T>(&self, act: impl FnOnce(&mut Content) -> T) -> T {
        let answer = act(&mut self.content.lock().unwrap());
        self.moved.send_modify(|n| *n += 1);
        answer
    }
}

struct Leads(Arc<AtomicBool>);

impl Leadership for Leads {
    fn leads(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Binder for Hands {
    async fn bind(&self, binding: &Binding) -> Result<(), CallError> {
        let (failure, slow) = self.touch(|c| {
            c.begun += 1;
            (c.failures.pop_front(), c.slow)
        });
        clock::sleep(slow).await;
        if let Some(failure) = failure {
            return Err(failure);
        }
        let pod = self.touch(|c| {
            let gone = || CallError::Gone("not found".into());
            let pod = c.pods.get_mut(&binding.uid).ok_or_else(gone)?;
            assert!(
                pod["spec"]["nodeName"].is_null(),
                "bound twice: {}",
                binding.pod
            );
            pod["spec"]["nodeName"] = binding.node.clone().into();
            pod["metadata"]["annotations"] = json!(binding.annotations);
            let pod = pod.clone();
            c.bindings.push(binding.clone());
            Ok(pod)
        })?;
        self.cache.apply(ClusterEvent::Pod(Arc::new(
            serde_json::from_value(pod).unwrap(),
        )));
        Ok(())
    }
}

#[async_trait]
impl PodStatus for Hands {
    async fn set_unscheduled(
        &self,
        _: &NamespacedName,
        uid: &str,
        condition: &ScheduledCondition,
    ) -> Result<(), CallError> {
        let text = format!("{}: {}", condition.reason, condition.message);
        let pod = self.touch(|c| {
            c.conditions.push((uid.to_owned(), text));
            let pod = c.pods.get_mut(uid)?;
            pod["status"]["conditions"] = json!([{"type":"PodScheduled","status":"False",
                "reason":condition.reason,"message":condition.message}]);
            Some(pod.clone())
        });
        // As the watch would: the scheduler sees its own patch.
        if let Some(pod) = pod {
            self.cache.apply(ClusterEvent::Pod(Arc::new(
                serde_json::from_value(pod).unwrap(),
            )));
        }
        Ok(())
    }
}

#[async_trait]
impl Victims for Hands {
    async fn displace(&self, _: &NamespacedName, uid: &str, why: &str) -> Result<(), CallError> {
        let pod = self.touch(|c| {
            c.displaced.push((uid.to_owned(), why.to_owned()));
            c.pods.remove(uid)
        });
        if let Some(pod) = pod {
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            let key = NamespacedName::new("d", name);
            self.cache.apply(ClusterEvent::PodGone(key, uid.to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Volumes for Hands {
    async fn bind(&self, volume: &Volume, claim: &storage::Claim) -> Result<(), CallError> {
        let mut bound = volume.clone();
        bound.resource_version = "later".to_owned();
        bound.claim = Some(ClaimRef {
            key: claim.key.clone(),
            uid: claim.uid.clone(),
        });
        self.cache
            .apply(ClusterEvent::Object(Object::Volume(Arc::new(bound))));
        self.complete(claim, volume.name.clone(), None);
        Ok(())
    }

    async fn provision(&self, claim: &storage::Claim, node: &str) -> Result<(), CallError> {
        self.complete(claim, "made".to_owned(), Some(node.to_owned()));
        Ok(())
    }
}

impl Hands {
    /// As a volume controller does in the end.
    fn complete(&self, claim: &storage::Claim, volume: String, node: Option<String>) {
        let mut bound = claim.clone();
        bound.resource_version = "later".to_owned();
        bound.volume = volume;
        bound.bind_completed = true;
        bound.selected_node = node;
        self.cache
            .apply(ClusterEvent::Object(Object::Claim(Arc::new(bound))));
    }
}

impl EventSink for Hands {
    fn record(&self, event: PodEvent) {
        self.touch(|c| c.events.push(event));
    }
}

#[async_trait]
impl OwnerLookup for Hands {
    async fn owner_of_replica_set(
        &self,
        _: &NamespacedName,
        uid: &str,
    ) -> Result<Option<Option<OwnerRef>>, CallError> {
        match self.touch(|c| c.owners.get(uid).cloned()) {
            Some(owner) => Ok(Some(owner.map(|uid| deployment(&uid)))),
            None => Err(CallError::Unavailable("not now".into())),
        }
    }
}

fn deployment(uid: &str) -> OwnerRef {
    OwnerRef {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        name: uid.into(),
        uid: uid.into(),
    }
}

/// An intent of a Deployment whose uid is its name; without a node it withholds.
pub(super) fn intent(id: &str, workload: &str, node: Option<&str>) -> Intent {
    Intent {
        id: id.into(),
        action: ActionId::new(Timestamp::UNIX_EPOCH),
        workload: WorkloadRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: "d".into(),
            name: workload.into(),
            uid: workload.into(),
        },
        node: node.map(Into::into),
        hold: node.is_none(),
        replica_set: None,
        exclude: BTreeSet::new(),
        claim: None,
        claims: 0,
        refusal: None,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

impl World {
    pub(super) async fn start() -> Self {
        let cache = Cache::new();
        for kind in Kind::ALL {
            cache.apply(ClusterEvent::Synced(kind));
        }
        let store = Arc::new(Fragile {
            inner: MemoryStore::new(),
            broken: AtomicBool::new(false),
        });
        let hands = Hands {
            cache: cache.clone(),
            content: Arc::default(),
            moved: Arc::new(watch::Sender::new(0)),
        };
        let leads = Arc::new(AtomicBool::new(true));
        let ports = Ports {
            binder: Arc::new(hands.clone()),
            status: Arc::new(hands.clone()),
            events: Arc::new(hands.clone()),
            owners: Arc::new(hands.clone()),
            leadership: Arc::new(Leads(leads.clone())),
            victims: Arc::new(hands.clone()),
            volumes: Arc::new(hands.clone()),
            extenders: Extenders::default(),
        };
        let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
        let options = Options::default();
        let scheduler =
            Scheduler::new(options, cache.clone(), store.clone(), ports, metrics).unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(Box::pin(scheduler.run(shutdown.clone())));
        Self {
            store,
            cache,
            content: hands.content,
            moved: hands.moved,
            leads,
            shutdown,
            running: Mutex::new(Some(running)),
        }
    }

    pub(super) async fn stop(&self) {
        self.shutdown.cancel();
        let running = self.running.lock().unwrap().take().expect("stopped once");
        clock::timeout(SOON, running)
            .await
            .expect("it stops")
            .expect("it did not panic");
    }

    pub(super) async fn until(&self, what: &str, there: impl Fn(&Self) -> bool) {
        let mut moved = self.moved.subscribe();
        let wait = async {
            while !there(self) {
                moved.changed().await.expect("the world lasts");
            }
        };
        if clock::timeout(SOON, wait).await.is_err() {
            panic!(
                "not seen: {what}; events: {:#?}",
                self.content.lock().unwrap().events
            );
        }
    }

    pub(super) fn node(&self, name: &str, cpu: &str) {
        let node = json!({"metadata":{"name":name,"uid":name},
            "status":{"allocatable":{"cpu":cpu,"memory":"8Gi","pods":"110"}}});
        self.cache.apply(ClusterEvent::Node(Arc::new(
            serde_json::from_value(node).unwrap(),
        )));
    }

    pub(super) fn pod(&self, name: &str, cpu: &str, owner: Option<&str>) {
        let containers = json!([{"name":"c","resources":{"requests":{"cpu":cpu}}}]);
        self.pod_json(name, json!({"containers":containers}), owner);
    }

    /// A pod whose uid is its name.
    pub(super) fn pod_json(&self, name: &str, spec: Value, owner: Option<&str>) {
        let mut pod = json!({"metadata":{"namespace":"d","name":name,"uid":name},
            "spec":{"schedulerName":"wam-scheduler","containers":[]}});
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        if let Some(owner) = owner {
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion":"apps/v1","kind":"ReplicaSet",
                "name":owner,"uid":owner,"controller":true}]);
        }
        self.content
            .lock()
            .unwrap()
            .pods
            .insert(name.to_owned(), pod.clone());
        let pod: core::Pod = serde_json::from_value(pod).unwrap();
        self.cache.apply(ClusterEvent::Pod(Arc::new(pod)));
    }

    /// Any other object of the cluster.
    pub(super) fn object(&self, object: Value) {
        self.cache.apply(read::event_of(object).unwrap().unwrap());
    }

    /// Claims and volumes, as they are now.
    pub(super) fn storage(&self) -> Arc<crate::cluster::Storage> {
        self.cache.snapshot().objects.storage.clone()
    }

    /// The pods preempted, and why.
    pub(super) fn displaced(&self) -> Vec<(String, String)> {
        self.content.lock().unwrap().displaced.clone()
    }

    pub(super) fn gone(&self, name: &str) {
        self.content.lock().unwrap().pods.remove(name);
        self.cache.apply(ClusterEvent::PodGone(
            NamespacedName::new("d", name),
            name.to_owned(),
        ));
    }

    pub(super) fn replica_set(&self, uid: &str, owner: Option<&str>) {
        let set = ReplicaSet {
            key: NamespacedName::new("d", uid),
            controller: owner.map(deployment),
            ..ReplicaSet::from_api(
                &serde_json::from_value(json!({"metadata":{"namespace":"d","name":uid,"uid":uid},
                    "spec":{"selector":{}}}))
                .unwrap(),
            )
            .unwrap()
        };
        self.cache.apply(ClusterEvent::ReplicaSet(Arc::new(set)));
    }

    /// What the API server would say about a ReplicaSet that no watch brings.
    pub(super) fn owner(&self, set: &str, owner: Option<&str>) {
        let owner = owner.map(ToOwned::to_owned);
        self.content
            .lock()
            .unwrap()
            .owners
            .insert(set.to_owned(), owner);
    }

    /// What the pods on a node ask for, in thousandths of a cpu, and the names of all pods without a node.
    pub(super) fn loads(&self) -> (HashMap<String, i64>, Vec<String>) {
        let content = self.content.lock().unwrap();
        let (mut loads, mut pending) = (HashMap::new(), Vec::new());
        for (name, pod) in &content.pods {
            let cpu = pod["spec"]["containers"][0]["resources"]["requests"]["cpu"].as_str();
            let cpu: crate::model::Quantity = cpu.unwrap().parse().unwrap();
            match pod["spec"]["nodeName"].as_str() {
                Some(node) => *loads.entry(node.to_owned()).or_default() += cpu.milli_value(),
                None => pending.push(name.clone()),
            }
        }
        pending.sort();
        (loads, pending)
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(super) fn lead(&self, leads: bool) {
        self.leads.store(leads, Ordering::Relaxed);
    }

    pub(super) fn fail_binds(&self, failures: impl IntoIterator<Item = CallError>) {
        self.content.lock().unwrap().failures.extend(failures);
    }

    pub(super) fn binds_to_fail(&self) -> usize {
        self.content.lock().unwrap().failures.len()
    }

    pub(super) fn slow_binds(&self, slow: Duration) {
        self.content.lock().unwrap().slow = slow;
    }

    pub(super) fn binds_begun(&self) -> usize {
        self.content.lock().unwrap().begun
    }

    pub(super) fn bound(&self) -> usize {
        self.content.lock().unwrap().bindings.len()
    }

    pub(super) fn on(&self, node: &str) -> usize {
        self.content
            .lock()
            .unwrap()
            .bindings
            .iter()
            .filter(|b| b.node == node)
            .count()
    }

    pub(super) fn binding(&self, name: &str) -> Binding {
        let content = self.content.lock().unwrap();
        content
            .bindings
            .iter()
            .find(|b| b.pod.name == name)
            .expect("it is bound")
            .clone()
    }

    pub(super) fn node_of(&self, name: &str) -> Option<String> {
        let content = self.content.lock().unwrap();
        content
            .bindings
            .iter()
            .find(|b| b.pod.name == name)
            .map(|b| b.node.clone())
    }

    pub(super) fn conditions(&self, name: &str) -> Vec<String> {
        let content = self.content.lock().unwrap();
        let of = content.conditions.iter().filter(|(uid, _)| uid == name);
        of.map(|(_, text)| text.clone()).collect()
    }

    pub(super) fn count(&self, reason: &str) -> usize {
        self.content
            .lock()
            .unwrap()
            .events
            .iter()
            .filter(|e| e.reason == reason)
            .count()
    }

    /// The notes of the events of a pod, when the scheduler has nothing more to say for now.
    pub(super) async fn events_of(&self, name: &str, reason: &str) -> Vec<String> {
        clock::sleep(Duration::from_millis(1)).await;
        let content = self.content.lock().unwrap();
        let of = content
            .events
            .iter()
            .filter(|e| e.pod.name == name && e.reason == reason);
        of.map(|e| e.note.clone()).collect()
    }
}

/// A store that can be away.
pub(super) struct Fragile {
    inner: MemoryStore,
    broken: AtomicBool,
}

impl Fragile {
    pub(super) fn break_it(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    fn there(&self) -> store::Result<&MemoryStore> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Error::Unavailable("broken on purpose".into()));
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl Store for Fragile {
    async fn ping(&self) -> store::Result<()> {
        self.there()?.ping().await
    }
    async fn submit(
        &self,
        _: &ActionRecord,
        _: Option<&Idempotency>,
        _: &[NewEvent],
    ) -> store::Result<Submitted> {
        unreachable!("not the scheduler's")
    }
    async fn idempotent(&self, _: &str, _: &str) -> store::Result<Option<(ActionId, String)>> {
        unreachable!("not the scheduler's")
    }
    async fn action(&self, _: ActionId) -> store::Result<Option<ActionRecord>> {
        unreachable!("not the scheduler's")
    }
    async fn list(&self, _: usize, _: Option<&str>) -> store::Result<ActionPage> {
        unreachable!("not the scheduler's")
    }
    async fn acquire(&self, _: &str, _: Duration, _: usize) -> store::Result<Vec<ActionRecord>> {
        unreachable!("not the scheduler's")
    }
    async fn renew(&self, _: &str, _: &[ActionId], _: Duration) -> store::Result<Vec<ActionId>> {
        unreachable!("not the scheduler's")
    }
    async fn release(&self, _: &str, _: &[ActionId]) -> store::Result<()> {
        unreachable!("not the scheduler's")
    }
    async fn save(&self, _: &ActionRecord, _: &[NewEvent]) -> store::Result<u64> {
        unreachable!("not the scheduler's")
    }
    async fn prune(&self, _: Duration, _: usize) -> store::Result<usize> {
        unreachable!("not the scheduler's")
    }
    async fn lock(&self, _: &str, _: LockMode, _: &str) -> store::Result<bool> {
        unreachable!("not the scheduler's")
    }
    async fn unlock(&self, _: &str, _: &str) -> store::Result<()> {
        unreachable!("not the scheduler's")
    }
    async fn put_intent(&self, intent: &Intent) -> store::Result<()> {
        self.there()?.put_intent(intent).await
    }
    async fn redirect_intent(
        &self,
        id: &str,
        node: Option<&str>,
        hold: bool,
    ) -> store::Result<bool> {
        self.there()?.redirect_intent(id, node, hold).await
    }
    async fn withdraw_intent(&self, id: &str) -> store::Result<Option<Intent>> {
        self.there()?.withdraw_intent(id).await
    }
    async fn intent(&self, id: &str) -> store::Result<Option<Intent>> {
        self.there()?.intent(id).await
    }
    async fn claim(
        &self,
        id: &str,
        claim: &Claim,
        instead_of: Option<&str>,
    ) -> store::Result<bool> {
        self.there()?.claim(id, claim, instead_of).await
    }
    async fn unclaim(&self, id: &str, pod_uid: &str) -> store::Result<()> {
        self.there()?.unclaim(id, pod_uid).await
    }
    async fn refuse_intent(&self, id: &str, refusal: &Refusal) -> store::Result<()> {
        self.there()?.refuse_intent(id, refusal).await
    }
    async fn intents_since(&self, since: u64) -> store::Result<IntentDelta> {
        self.there()?.intents_since(since).await
    }
    async fn events_after(&self, _: Option<&str>, _: usize) -> store::Result<Vec<StoredEvent>> {
        unreachable!("not the scheduler's")
    }
    async fn last_event(&self) -> store::Result<Option<String>> {
        unreachable!("not the scheduler's")
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes()
    }
}
