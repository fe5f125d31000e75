//! The scheduler's one loop: takes in what happened, decides pod after pod, and takes in how the calls to
//! the world ended. Everything it owns is touched by this task alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::attempt::InBinding;
use super::binding::{Caller, Outcome, Ports, STORE_TIMEOUT};
use super::config::Options;
use super::cycle::Search;
use super::framework::runtime::Error;
use super::framework::{Events, Framework};
use super::intents::IntentBook;
use super::metrics::{CacheSize, Metrics};
use super::plugins::registry_with;
use super::queue::policy::Profiles;
use super::queue::{Held, Queue};
use crate::clock;
use crate::cluster::cache::workload_ref;
use crate::cluster::{Cache, Change, PodInfo, Workload};
use crate::model::OwnerRef;
use crate::store::Store;

/// How often leadership, backoffs and slow ticks are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often the cache is counted, for the metrics.
const CENSUS: Duration = Duration::from_secs(5);
/// How long a pod waits for the watch to bring its owner before the API server is asked.
const OWNER_PATIENCE: Duration = Duration::from_millis(500);
/// How long until the API server is asked again about the same owner.
const OWNER_RETRY: Duration = Duration::from_secs(5);

/// kube-scheduler's decisions for the pods of its scheduler names. See the module.
pub struct Scheduler {
    pub(super) config: Options,
    pub(super) frameworks: HashMap<String, Arc<Framework>>,
    pub(super) cache: Arc<Cache>,
    pub(super) store: Arc<dyn Store>,
    pub(super) intents: Arc<IntentBook>,
    pub(super) queue: Queue,
    pub(super) search: Search,
    pub(super) metrics: Metrics,
    pub(super) caller: Caller,
    pub(super) ports: Ports,
    /// Pods whose binding is under way.
    pub(super) binding: HashMap<String, InBinding>,
    /// Pods whose victims are being told to go.
    pub(super) preempting: HashSet<String>,
    /// Whether the intents could be read last time.
    pub(super) store_is_there: bool,
    changes: mpsc::UnboundedReceiver<Change>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
    store_changes: Option<watch::Receiver<u64>>,
    /// What the API server said about ReplicaSets that no watch has brought.
    owners: HashMap<String, Option<OwnerRef>>,
    asked: HashMap<String, Instant>,
    last_refresh: Instant,
    last_tick: Instant,
    last_census: Instant,
}

impl Scheduler {
    /// Puts it together; [`Self::run`] starts it.
    ///
    /// # Errors
    /// When a profile does not make sense.
    pub fn new(
        config: Options,
        cache: Arc<Cache>,
        store: Arc<dyn Store>,
        ports: Ports,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let intents = Arc::new(IntentBook::default());
        let mut frameworks = HashMap::new();
        let names = config.profiles.iter().map(|p| p.scheduler_name.clone());
        let names: Vec<String> = names.collect();
        for profile in &config.profiles {
            let plugins = registry_with(intents.clone(), &profile.args);
            let framework = Framework::new(profile, &plugins)?.beside(names.clone());
            let framework = framework.watched_by(&metrics);
            let name = profile.scheduler_name.clone();
            if frameworks
                .insert(name.clone(), Arc::new(framework))
                .is_some()
            {
                return Err(Error::Duplicate(name));
            }
        }
        let policy = Arc::new(Profiles::new(
            frameworks.clone(),
            !ports.extenders.is_empty(),
        ));
        let (tx, outcomes) = mpsc::unbounded_channel();
        let caller = Caller::new(
            ports.clone(),
            store.clone(),
            tx,
            config.binds_in_flight,
            config.patches_in_flight,
        );
        let now = clock::instant();
        Ok(Self {
            queue: Queue::new(policy, config.backoff, now),
            search: Search {
                next_start: 0,
                rng: StdRng::seed_from_u64(config.seed),
            },
            metrics,
            changes: cache.subscribe(),
            store_changes: Some(store.changes()),
            config,
            frameworks,
            cache,
            store,
            intents,
            caller,
            ports,
            binding: HashMap::new(),
            preempting: HashSet::new(),
            store_is_there: true,
            outcomes,
            owners: HashMap::new(),
            asked: HashMap::new(),
            last_refresh: now,
            last_tick: now,
            last_census: now,
        })
    }

    /// The framework of a scheduler name, for what-ifs.
    #[must_use]
    pub fn framework(&self, scheduler_name: &str) -> Option<Arc<Framework>> {
        self.frameworks.get(scheduler_name).cloned()
    }

    /// Whether this process leads and knows the cluster.
    fn may_act(&self) -> bool {
        self.ports.leadership.leads() && self.cache.synced()
    }

    /// Schedules until told to stop, then waits for the bindings under way.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut tick = clock::interval(TICK);
        while !shutdown.is_cancelled() {
            self.catch_up();
            // Here and not in the select alone: a queue that is never empty must not stop the clock.
            if clock::instant().duration_since(self.last_tick) >= TICK {
                self.tick().await;
            }
            if !self.queue.is_idle() && self.may_act() {
                self.batch().await;
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                Some(change) = self.changes.recv() => self.take_in(change),
                Some(outcome) = self.outcomes.recv() => self.take_out(outcome),
                told = changed(&mut self.store_changes) => {
                    if !told {
                        self.store_changes = None;
                    } else if self.may_act() && self.store_is_there {
                        self.refresh_intents().await;
                    }
                }
                _ = tick.tick() => {}
            }
        }
        info!("the scheduler stops; bindings under way are awaited");
        self.caller.tasks.close();
        self.caller.tasks.wait().await;
        while let Ok(outcome) = self.outcomes.try_recv() {
            self.take_out(outcome);
        }
    }

    /// Takes in all that has happened up to now.
    pub(super) fn catch_up(&mut self) {
        while let Ok(change) = self.changes.try_recv() {
            self.take_in(change);
        }
        while let Ok(outcome) = self.outcomes.try_recv() {
            self.take_out(outcome);
        }
    }

    async fn tick(&mut self) {
        let now = clock::instant();
        self.last_tick = now;
        self.queue.tick(now);
        self.metrics.malformed(self.cache.malformed());
        self.metrics.pending(self.queue.pending());
        self.metrics.incoming(&self.queue.take_incoming());
        self.metrics.hints(&self.queue.take_hint_times());
        self.metrics.unschedulable(self.queue.blamed());
        self.metrics.in_flight(self.queue.in_flight_events());
        self.metrics.bindings(self.binding.len());
        if now.duration_since(self.last_census) >= CENSUS {
            self.last_census = now;
            let (nodes, pods) = self.cache.size();
            self.metrics.cache(CacheSize {
                nodes,
                pods,
                assumed: self.binding.len(),
            });
        }
        if !self.may_act() {
            return;
        }
        self.ask_for_owners(now);
        if now.duration_since(self.last_refresh) >= Duration::from_secs(1) {
            if self.store_is_there {
                self.refresh_intents().await;
            } else {
                self.last_refresh = now;
                self.caller.probe();
            }
        }
    }

    /// Brings the view of the intents up to date; pods of workloads concerned are tried again. False if
    /// the store does not answer.
    pub(super) async fn refresh_intents(&mut self) -> bool {
        self.last_refresh = clock::instant();
        let call = self.store.intents_since(self.intents.revision());
        let problem = match clock::timeout(STORE_TIMEOUT, call).await {
            Ok(Ok(delta)) => {
                let affected = self.intents.apply(delta);
                self.queue.activate_workloads(&affected, self.last_refresh);
                if !self.store_is_there {
                    info!("the store of the intents answers again");
                    self.store_is_there = true;
                    let now = self.last_refresh;
                    self.queue.release(now, |_, why| *why == Held::Store);
                }
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if self.store_is_there {
            warn!(
                problem,
                "the intents cannot be read; pods of controlling workloads wait"
            );
        }
        self.store_is_there = false;
        false
    }

    /// Asks about the owners of pods that have waited for the watch long enough.
    fn ask_for_owners(&mut self, now: Instant) {
        if self.asked.len() > 10_000 {
            self.asked.clear();
        }
        let mut ask = Vec::new();
        for (pod, why) in self.queue.held() {
            if let (Held::Owner(uid), Some(owner)) = (why, &pod.info.pod.controller)
                && now.duration_since(pod.timestamp) >= OWNER_PATIENCE
                && self
                    .asked
                    .get(uid)
                    .is_none_or(|at| now.duration_since(*at) >= OWNER_RETRY)
            {
                let mut key = pod.info.pod.key.clone();
                key.name.clone_from(&owner.name);
                self.asked.insert(uid.clone(), now);
                ask.push((key, uid.clone()));
            }
        }
        for (key, uid) in ask {
            self.caller.owner(key, uid);
        }
    }

    /// The workload that controls a pod, as far as watches or the API server have told.
    pub(super) fn workload_of(&self, pod: &PodInfo) -> Workload {
        match self.cache.workload_of(&pod.pod) {
            Workload::Unknown(owner) => match self.owners.get(&owner.uid) {
                None => Workload::Unknown(owner),
                Some(above) => {
                    let top = above.clone().unwrap_or(owner);
                    Workload::Known(workload_ref(&pod.pod.key.namespace, top))
                }
            },
            known => known,
        }
    }

    fn take_in(&mut self, change: Change) {
        let started = clock::instant();
        let kind = Events::of(&change);
        self.take_in_at(change, started);
        if kind != Events::NONE {
            let took = clock::instant().duration_since(started);
            self.metrics.event_handled(kind, took.as_secs_f64());
        }
    }

    fn take_in_at(&mut self, change: Change, now: Instant) {
        match change {
            Change::Pending { old, new } => self.pending(old.as_ref(), new, now),
            Change::NoLongerPending(ref pod) => {
                self.queue.remove(pod.uid());
                // On a node now, most often: then its room is taken.
                if self.cache.pod_info(pod.uid()).is_none() {
                    self.nomination_gone(pod, now);
                }
            }
            Change::Assigned(_) => self.queue.event(Events::POD_ASSIGNED, &change, now),
            Change::AssignedChanged { ref old, ref new } => {
                for event in Events::of_assigned(old, new) {
                    self.queue.event(event, &change, now);
                }
            }
            Change::AssignedGone(_) => self.queue.event(Events::POD_GONE, &change, now),
            Change::NodeAdded(_) => self.queue.event(Events::NODE_ADD, &change, now),
            Change::NodeChanged { ref old, ref new } => {
                for event in Events::of_node(old, new) {
                    self.queue.event(event, &change, now);
                }
            }
            Change::NodeGone(_) => self.queue.event(Events::NODE_DELETE, &change, now),
            Change::Object { .. } => self.queue.event(Events::OBJECT, &change, now),
            Change::ReplicaSet(uid) => {
                self.owners.remove(&uid);
                self.queue.release(
                    now,
                    |_, why| matches!(why, Held::Owner(owner) if *owner == uid),
                );
            }
        }
    }

    fn pending(&mut self, old: Option<&Arc<PodInfo>>, new: Arc<PodInfo>, now: Instant) {
        if !self.frameworks.contains_key(&new.pod.scheduler_name) {
            return;
        }
        let ours = &self.config.namespaces;
        if !ours.is_empty() && !ours.contains(&new.pod.key.namespace) {
            return;
        }
        if let Some(binding) = self.binding.get_mut(new.uid()) {
            binding.pod.info = new;
            return;
        }
        let nominated = &new.spec.nominated_node;
        let former = old
            .filter(|old| old.spec.nominated_node != *nominated)
            .cloned();
        self.queue.put(old, new, now);
        if let Some(former) = former {
            self.nomination_gone(&former, now);
        }
    }

    /// Room that was kept for a nominated pod is there for pods of no higher priority.
    fn nomination_gone(&mut self, former: &Arc<PodInfo>, now: Instant) {
        if former.spec.nominated_node.is_none() {
            return;
        }
        let change = Change::AssignedGone(Arc::clone(former));
        let priority = former.spec.priority;
        self.queue.event_for(Events::POD_GONE, &change, now, |pod| {
            pod.info.spec.priority <= priority
        });
    }

    fn take_out(&mut self, outcome: Outcome) {
        let now = clock::instant();
        match outcome {
            Outcome::Bound { uid, bound } => self.bound(&uid, bound),
            Outcome::Held { claimed: true, .. } => {}
            Outcome::Held { uid, intent, .. } => {
                self.intents.give_back(&intent, &uid);
                self.queue.fail_held(&uid, now);
            }
            Outcome::Owner {
                uid,
                answer: Some(answer),
            } => {
                if self.owners.len() > 10_000 {
                    self.owners.clear();
                }
                self.owners.insert(uid.clone(), answer);
                self.queue.release(
                    now,
                    |_, why| matches!(why, Held::Owner(owner) if *owner == uid),
                );
            }
            Outcome::Displaced { uid, failed } => self.displaced(&uid, failed, now),
            Outcome::Owner { answer: None, .. } | Outcome::Store(false) => {}
            Outcome::Store(true) => {
                // The pods held for it read the intents anew before they are decided.
                self.store_is_there = true;
                self.queue.release(now, |_, why| *why == Held::Store);
            }
        }
    }
}

/// Whether a sender is still there; waits for ever when there is none.
async fn changed(receiver: &mut Option<watch::Receiver<u64>>) -> bool {
    match receiver {
        Some(receiver) => receiver.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
