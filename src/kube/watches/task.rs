//! The watch of one kind.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::kube::runtime::watcher;
use ::kube::runtime::watcher::{Error as WatcherError, Event};
use ::kube::{Api, Resource};
use futures::StreamExt;
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::policy::v1 as policy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::failure::chain;
use super::super::metrics::{KindLabel, Metrics};
use super::health::Board;
use super::lenient::{Item, Lenient, Strict};
use crate::clock;
use crate::cluster::ClusterEvent;
use crate::cluster::event::Kind;
use crate::model::{Deployment, NamespacedName, ReplicaSet};

/// Delay after the first failure; it doubles.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The longest delay between tries.
const LONGEST_DELAY: Duration = Duration::from_secs(15);

/// A kind whose changes become [`ClusterEvent`]s.
pub(super) trait Watched:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
    /// The event of an object that appeared or changed, or why it makes no sense.
    fn changed(self) -> Result<ClusterEvent, String>;
    /// The event of an object that is gone.
    fn gone(key: NamespacedName, uid: String) -> ClusterEvent;
}

impl Watched for core::Node {
    fn changed(self) -> Result<ClusterEvent, String> {
        Ok(ClusterEvent::Node(Arc::new(self)))
    }
    fn gone(key: NamespacedName, _uid: String) -> ClusterEvent {
        ClusterEvent::NodeGone(key.name)
    }
}

impl Watched for core::Pod {
    fn changed(self) -> Result<ClusterEvent, String> {
        Ok(ClusterEvent::Pod(Arc::new(self)))
    }
    fn gone(key: NamespacedName, uid: String) -> ClusterEvent {
        ClusterEvent::PodGone(key, uid)
    }
}

impl Watched for apps::ReplicaSet {
    fn changed(self) -> Result<ClusterEvent, String> {
        let row = ReplicaSet::from_api(&self).map_err(|e| e.to_string())?;
        Ok(ClusterEvent::ReplicaSet(Arc::new(row)))
    }
    fn gone(key: NamespacedName, uid: String) -> ClusterEvent {
        ClusterEvent::ReplicaSetGone(key, uid)
    }
}

impl Watched for apps::Deployment {
    fn changed(self) -> Result<ClusterEvent, String> {
        let row = Deployment::from_api(&self).map_err(|e| e.to_string())?;
        Ok(ClusterEvent::Deployment(Arc::new(row)))
    }
    fn gone(key: NamespacedName, uid: String) -> ClusterEvent {
        ClusterEvent::DeploymentGone(key, uid)
    }
}

impl Watched for policy::PodDisruptionBudget {
    fn changed(self) -> Result<ClusterEvent, String> {
        Ok(ClusterEvent::PodDisruptionBudget(Arc::new(self)))
    }
    fn gone(key: NamespacedName, uid: String) -> ClusterEvent {
        ClusterEvent::PodDisruptionBudgetGone(key, uid)
    }
}

/// What the task of one kind works with.
pub(super) struct Task {
    pub(super) kind: Kind,
    pub(super) client: ::kube::Client,
    pub(super) events: mpsc::Sender<ClusterEvent>,
    pub(super) metrics: Metrics,
    pub(super) board: Board,
    pub(super) shutdown: CancellationToken,
    pub(super) seed: u64,
}

/// How a stream of events ended.
enum End {
    /// The consumer is gone, or the shutdown began.
    Stop,
    /// List again.
    Anew,
    /// List again, object by object.
    AnewLenient,
}

/// The identity and version of an object that the consumer knows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    uid: String,
    version: String,
}

/// What outlives a single stream of events.
struct Progress {
    known: HashMap<NamespacedName, Known>,
    /// During a list: what it named so far.
    listed: HashSet<NamespacedName>,
    synced: bool,
    failures: u32,
    rng: SmallRng,
}

impl Task {
    pub(super) async fn run<K: Watched>(self) {
        let mut progress = Progress {
            known: HashMap::new(),
            listed: HashSet::new(),
            synced: false,
            failures: 0,
            rng: SmallRng::seed_from_u64(self.seed),
        };
        let mut lenient = false;
        loop {
            let end = if lenient {
                Box::pin(self.follow::<K, Lenient<K>>(&mut progress)).await
            } else {
                Box::pin(self.follow::<K, Strict<K>>(&mut progress)).await
            };
            match end {
                End::Stop => return,
                End::Anew => {}
                End::AnewLenient => lenient = true,
            }
        }
    }

    async fn follow<K, I>(&self, progress: &mut Progress) -> End
    where
        K: Watched,
        I: Item<Object = K> + Resource<DynamicType = ()>,
    {
        let api: Api<I> = Api::all(self.client.clone());
        let mut stream = pin!(watcher(api, watcher::Config::default()));
        loop {
            let next = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return End::Stop,
                next = stream.next() => next,
            };
            let flow = match next {
                // The stream of a watcher has no end.
                None => return End::Anew,
                Some(Ok(event)) => {
                    // `Init` is said before anything was asked.
                    if progress.failures > 0 && !matches!(event, Event::Init) {
                        progress.failures = 0;
                        self.board.write(self.kind, |h| h.problem = None);
                    }
                    self.apply::<K, I>(progress, event).await
                }
                Some(Err(error)) => self.failed(progress, error).await,
            };
            if let ControlFlow::Break(end) = flow {
                return end;
            }
        }
    }

    async fn apply<K, I>(&self, progress: &mut Progress, event: Event<I>) -> ControlFlow<End>
    where
        K: Watched,
        I: Item<Object = K>,
    {
        match event {
            Event::Init => progress.listed.clear(),
            Event::InitApply(item) => {
                progress.listed.insert(key_of(item.meta()));
                self.changed(progress, item).await?;
            }
            Event::Apply(item) => self.changed(progress, item).await?,
            Event::Delete(item) => {
                let key = key_of(item.meta());
                let uid = item.meta().uid.clone().unwrap_or_default();
                let known = progress.known.remove(&key);
                self.send(K::gone(key, known.map_or(uid, |k| k.uid)))
                    .await?;
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut progress.listed);
                let vanished: Vec<_> = progress
                    .known
                    .extract_if(|key, _| !listed.contains(key))
                    .collect();
                for (key, known) in vanished {
                    self.send(K::gone(key, known.uid)).await?;
                }
                if !progress.synced {
                    progress.synced = true;
                    self.send(ClusterEvent::Synced(self.kind)).await?;
                    self.board.write(self.kind, |h| h.synced = true);
                }
            }
        }
        ControlFlow::Continue(())
    }

    async fn changed<K, I>(&self, progress: &mut Progress, item: I) -> ControlFlow<End>
    where
        K: Watched,
        I: Item<Object = K>,
    {
        let key = key_of(item.meta());
        let now = Known {
            uid: item.meta().uid.clone().unwrap_or_default(),
            version: item.meta().resource_version.clone().unwrap_or_default(),
        };
        let before = progress.known.get(&key);
        if before == Some(&now) {
            return ControlFlow::Continue(());
        }
        // Deleted and made again while nobody watched.
        if let Some(before) = before
            && before.uid != now.uid
        {
            let gone = K::gone(key.clone(), before.uid.clone());
            progress.known.remove(&key);
            self.send(gone).await?;
        }
        let event = item.open().and_then(K::changed);
        match event {
            Ok(event) => {
                progress.known.insert(key, now);
                self.send(event).await
            }
            Err(problem) => {
                self.malformed(&key.to_string(), &problem);
                ControlFlow::Continue(())
            }
        }
    }

    async fn failed(&self, progress: &mut Progress, error: WatcherError) -> ControlFlow<End> {
        use ::kube::Error::SerdeError;
        let flow = match &error {
            // One object of the watch; the watch goes on.
            WatcherError::WatchFailed(SerdeError(problem)) => {
                self.malformed("an object of the watch", &problem.to_string());
                return ControlFlow::Continue(());
            }
            WatcherError::InitialListFailed(SerdeError(problem)) => {
                self.malformed("the list", &problem.to_string());
                ControlFlow::Break(End::AnewLenient)
            }
            // The watcher lists again by itself.
            WatcherError::WatchError(status) if status.code == 410 => ControlFlow::Continue(()),
            // A list, though a watch might do: only an answer shows that all is well again, and a
            // watch begun on a version that the server refuses would be tried for ever.
            _ => ControlFlow::Break(End::Anew),
        };
        let expired = matches!(&error, WatcherError::WatchError(status) if status.code == 410);
        let text = chain(&error);
        let label = KindLabel {
            kind: format!("{:?}", self.kind),
        };
        self.metrics.watch_failures.get_or_create(&label).inc();
        progress.failures += 1;
        if expired {
            // Ordinary: the log was compacted while we were behind.
            tracing::info!(kind = ?self.kind, error = text, "listing again");
        } else {
            tracing::warn!(kind = ?self.kind, error = text, failures = progress.failures, "the watch failed");
            self.board.write(self.kind, |h| h.problem = Some(text));
        }
        let doubled = FIRST_DELAY
            .saturating_mul(1 << (progress.failures - 1).min(10))
            .min(LONGEST_DELAY);
        let delay = doubled.mul_f64(progress.rng.random_range(0.5..1.0));
        tokio::select! {
            () = self.shutdown.cancelled() => ControlFlow::Break(End::Stop),
            () = clock::sleep(delay) => flow,
        }
    }

    fn malformed(&self, what: &str, problem: &str) {
        let label = KindLabel {
            kind: format!("{:?}", self.kind),
        };
        self.metrics.malformed.get_or_create(&label).inc();
        tracing::warn!(kind = ?self.kind, object = what, problem, "an object that makes no sense is skipped");
    }

    async fn send(&self, event: ClusterEvent) -> ControlFlow<End> {
        tokio::select! {
            biased;
            sent = self.events.send(event) => match sent {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(End::Stop),
            },
            () = self.shutdown.cancelled() => ControlFlow::Break(End::Stop),
        }
    }
}

fn key_of(meta: &ObjectMeta) -> NamespacedName {
    NamespacedName::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}
