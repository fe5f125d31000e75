//! The composition root: builds the parts, supervises their tasks, orders the shutdown.
//!
//! Shutdown goes against the flow: first no new requests, then the executor stops its steps where they wait,
//! then the scheduler finishes its binds and gives the lease back, then the watches end. All of it together
//! ends before an orchestrator's usual grace of ten seconds does, whoever does not answer: what is not done by
//! its moment is cut off, which is safe, since every action is on record and every call conditional.

mod apiserver;
mod extender;
mod pages;
mod placement;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::actions::{
    Executor, Metrics as ActionMetrics, Parts, Service, Settings as ExecutorSettings,
};
use crate::api::{ApiMetrics, ApiState, Check, HealthState, SchedulerPages, health_router, router};
use crate::clock;
use crate::cluster::Cache;
use crate::kube::{
    ApiBinder, ApiCluster, ApiEvents, ApiOwners, ApiPodStatus, ApiVictims, ApiVolumes, Clients,
    LeaderElection, LeaseOptions, Metrics as KubeMetrics, Watches,
};
use crate::scheduler::ports::{AlwaysLeads, Leadership};
use crate::scheduler::{self, Scheduler};
use crate::store::Store;

use placement::SchedulerPlacement;

/// How many changes of the cluster may wait for the cache.
const CHANGES: usize = 4096;
/// By when, from the beginning of the shutdown, each stage is cut off: callers' requests, the executor (which
/// stops waiting for its steps earlier, and lets the actions go), the scheduler, the watches.
const API_UNTIL: Duration = Duration::from_secs(3);
const EXECUTOR_UNTIL: Duration = Duration::from_secs(7);
const SCHEDULER_UNTIL: Duration = Duration::from_millis(8_500);
const WATCHES_UNTIL: Duration = Duration::from_secs(9);

/// What cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {problem}; choose another with --listen")]
    Listen {
        /// The address asked for.
        address: String,
        /// Why not.
        problem: std::io::Error,
    },
    /// The election's times contradict each other.
    #[error("leader election: {0}")]
    Lease(String),
    /// The scheduler's profile makes no sense.
    #[error("scheduler profile: {0}")]
    Profile(String),
}

/// Which parts run, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to serve JSON-RPC and events; `None`: nowhere.
    pub listen: Option<String>,
    /// Where to serve health and metrics besides; `None`: only where the API is.
    pub health_listen: Option<String>,
    /// Where actions are taken and pods scheduled; empty: everywhere.
    pub namespaces: Vec<String>,
    /// Carry actions out.
    pub executor: bool,
    /// Schedule pods.
    pub scheduler: bool,
    /// Stand for election before scheduling.
    pub lease: Option<LeaseOptions>,
    /// Profiles, plugins, extenders. The pods that name one of the profiles are ours.
    pub scheduling: scheduler::Configuration,
    /// Names this process among others: in the store, the lease and events.
    pub identity: String,
    /// How long an action stays with an executor that is silent.
    pub executor_lease: Duration,
    /// How long an ended action can still be asked for.
    pub action_retention: Duration,
    /// Of the random choices.
    pub seed: u64,
}

/// The running program.
pub struct App {
    address: Option<SocketAddr>,
    health_address: Option<SocketAddr>,
    cache: Arc<Cache>,
    failed: CancellationToken,
    api: Stage,
    executor: Stage,
    scheduler: Stage,
    watches: Stage,
}

/// Tasks that stop together.
struct Stage {
    stop: CancellationToken,
    failed: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Stage {
    /// `failed` is cancelled when a task of it ends before it is told to, by a panic too.
    fn new(failed: &CancellationToken) -> Self {
        Self {
            stop: CancellationToken::new(),
            failed: failed.clone(),
            tasks: Vec::new(),
        }
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let (stop, guard) = (self.stop.clone(), self.failed.clone().drop_guard());
        self.tasks.push(tokio::spawn(async move {
            task.await;
            if stop.is_cancelled() {
                guard.disarm();
            } else {
                tracing::error!("a part of the program ended although nobody stopped it");
            }
        }));
    }

    /// Tells the tasks to stop; those that have not by `until` are cut off.
    async fn end(self, name: &str, until: Instant) {
        self.stop.cancel();
        let handles: Vec<AbortHandle> = self.tasks.iter().map(JoinHandle::abort_handle).collect();
        let all = async {
            for task in self.tasks {
                if let Err(error) = task.await {
                    tracing::error!(part = name, %error, "a task died");
                }
            }
        };
        let left = until.duration_since(clock::instant());
        if clock::timeout(left, all).await.is_err() {
            tracing::warn!(part = name, "did not stop in time; it is cut off");
            handles.iter().for_each(AbortHandle::abort);
        }
    }
}

impl App {
    /// Builds the parts and starts them.
    ///
    /// # Errors
    /// See [`Error`]; nothing is left running then.
    pub async fn start(
        settings: Settings,
        clients: Clients,
        kube_metrics: KubeMetrics,
        mut registry: Registry,
        store: Arc<dyn Store>,
    ) -> Result<Self, Error> {
        let listener = match &settings.listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let health_listener = match &settings.health_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let local = |listener: &Option<TcpListener>| listener.as_ref()?.local_addr().ok();
        let (address, health_address) = (local(&listener), local(&health_listener));
        let cache = Cache::new();
        let failed = CancellationToken::new();
        let mut watches = Stage::new(&failed);
        let configured = &settings.scheduling.extenders;
        let objects = Arc::new(extender::Objects::default());
        let extenders = extender::extenders(configured, &objects).map_err(Error::Profile)?;
        let whole = (settings.scheduler && !extenders.is_empty()).then_some(objects);
        let running = feed(
            &mut watches,
            &clients,
            &kube_metrics,
            (&cache, whole),
            settings.seed,
        );

        let (answers, probing) = apiserver::probe(Arc::clone(&clients.lease), watches.stop.clone());
        watches.spawn(probing);

        let (leadership, election) = leadership(&settings, &clients)?;
        let (sink, events) = ApiEvents::spawn(
            Arc::clone(&clients.reports),
            kube_metrics,
            settings.identity.clone(),
            watches.stop.clone(),
        );
        watches.tasks.push(events);
        let scheduler_metrics = scheduler::Metrics::register(&mut registry);
        let mut scheduling = Stage::new(&failed);
        if settings.scheduler {
            let scheduler = Scheduler::new(
                scheduler::Options {
                    namespaces: settings.namespaces.clone(),
                    seed: settings.seed,
                    ..scheduler::Options::new(&settings.scheduling)
                },
                Arc::clone(&cache),
                Arc::clone(&store),
                scheduler::Ports {
                    extenders: extender::in_order(&extenders),
                    binder: Arc::new(extender::ExtendedBinder {
                        inner: Arc::new(ApiBinder::new(
                            Arc::clone(&clients.binds),
                            Arc::clone(&leadership),
                        )),
                        extenders,
                        cache: Arc::clone(&cache),
                    }),
                    status: Arc::new(ApiPodStatus::new(Arc::clone(&clients.reports))),
                    events: Arc::new(sink),
                    owners: Arc::new(ApiOwners::new(Arc::clone(&clients.reports))),
                    leadership: Arc::clone(&leadership),
                    victims: Arc::new(ApiVictims::new(Arc::clone(&clients.reports))),
                    volumes: Arc::new(ApiVolumes::new(Arc::clone(&clients.binds))),
                },
                scheduler_metrics,
            )
            .map_err(|error| Error::Profile(error.to_string()))?;
            let (stop, seed) = (scheduling.stop.clone(), settings.seed);
            // The lease is given back only when no bind is under way any more.
            let resign = CancellationToken::new();
            if let Some(election) = election {
                let resign = resign.clone();
                let stopping = scheduling.stop.clone();
                scheduling.spawn(async move {
                    election.run(resign, seed).await;
                    // It ends after the scheduler: what ended that is told by that.
                    stopping.cancelled().await;
                });
            }
            scheduling.spawn(async move {
                // Dropped at a panic too: a scheduler that is no more must not keep the lease.
                let _resign = resign.drop_guard();
                Box::pin(scheduler.run(stop)).await;
            });
        }

        let parts = Parts {
            store: Arc::clone(&store),
            cluster: Arc::new(ApiCluster::new(Arc::clone(&clients.actions))),
            view: cache.clone(),
            placement: Arc::new(
                SchedulerPlacement::new(Arc::clone(&cache), &settings.scheduling)
                    .map_err(Error::Profile)?,
            ),
        };
        let mut executing = Stage::new(&failed);
        if settings.executor {
            let mut executor = ExecutorSettings::new(settings.identity.clone());
            executor.lease = settings.executor_lease;
            executor.retention = settings.action_retention;
            let counted = ActionMetrics::register(&mut registry);
            let executor = Executor::new(parts.clone(), executor).counting(counted);
            let stop = executing.stop.clone();
            executing.spawn(Box::pin(executor.run(stop)));
        }

        let mut serving = Stage::new(&failed);
        let api_metrics = listener
            .is_some()
            .then(|| ApiMetrics::register(&mut registry));
        let health = HealthState {
            readiness: checks(&store, answers, &running, &cache).into(),
            registry: Arc::new(registry),
            scheduler: settings.scheduler.then(|| {
                Arc::new(pages::Pages {
                    configuration: settings.scheduling.clone(),
                    cache: Arc::clone(&cache),
                    leadership: Arc::clone(&leadership),
                }) as Arc<dyn SchedulerPages>
            }),
        };
        if let (Some(listener), Some(metrics)) = (listener, api_metrics) {
            let facade = Service::new(parts, settings.scheduling.scheduler_names())
                .within(settings.namespaces.clone());
            let state = ApiState {
                facade: Arc::new(facade),
                store: Arc::clone(&store),
                readiness: Arc::clone(&health.readiness),
                metrics,
                registry: Arc::clone(&health.registry),
                scheduler: health.scheduler.clone(),
                shutdown: serving.stop.clone(),
            };
            serve(&mut serving, listener, router(state));
        }
        if let Some(listener) = health_listener {
            serve(&mut serving, listener, health_router(health));
        }
        Ok(Self {
            address,
            health_address,
            cache,
            failed,
            api: serving,
            executor: executing,
            scheduler: scheduling,
            watches,
        })
    }

    /// Where the API listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where health and metrics are served besides.
    #[must_use]
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health_address
    }

    /// Waits until the first lists are in.
    pub async fn synced(&self) {
        cache_synced(&self.cache).await;
    }

    /// Waits until a part of the program has ended although nobody stopped it: the others should end too.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Stops everything, in order.
    pub async fn stop(self) {
        let begun = clock::instant();
        self.api.end("api", begun + API_UNTIL).await;
        self.executor.end("executor", begun + EXECUTOR_UNTIL).await;
        self.scheduler
            .end("scheduler", begun + SCHEDULER_UNTIL)
            .await;
        self.watches.end("watches", begun + WATCHES_UNTIL).await;
    }
}

async fn cache_synced(cache: &Cache) {
    let mut changes = cache.changes();
    while !cache.synced() {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Answers on this address until the stage ends, requests under way included.
fn serve(stage: &mut Stage, listener: TcpListener, router: axum::Router) {
    let stop = stage.stop.clone();
    stage.spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(async move { stop.cancelled().await })
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the API ended");
        }
    });
}

async fn listen(address: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|problem| Error::Listen {
            address: address.to_owned(),
            problem,
        })
}

/// Starts the watches and the one task that writes the cache.
fn feed(
    stage: &mut Stage,
    clients: &Clients,
    metrics: &KubeMetrics,
    (cache, whole): (&Arc<Cache>, Option<Arc<extender::Objects>>),
    seed: u64,
) -> Watches {
    let (sender, mut changes) = mpsc::channel(CHANGES);
    let running = Watches::spawn(&clients.watch, &sender, metrics, &stage.stop, seed);
    drop(sender);
    let cache = Arc::clone(cache);
    stage.spawn(async move {
        while let Some(change) = changes.recv().await {
            if let Some(objects) = &whole {
                objects.apply(&change);
            }
            cache.apply(change);
        }
    });
    let watches = running.clone();
    stage.spawn(async move { watches.stopped().await });
    running
}

type Election = (Arc<dyn Leadership>, Option<Arc<LeaderElection>>);

fn leadership(settings: &Settings, clients: &Clients) -> Result<Election, Error> {
    let Some(lease) = settings.lease.clone().filter(|_| settings.scheduler) else {
        return Ok((Arc::new(AlwaysLeads), None));
    };
    let election = LeaderElection::new(Arc::clone(&clients.lease), lease)
        .map_err(|error| Error::Lease(error.to_string()))?;
    let election = Arc::new(election);
    Ok((Arc::clone(&election) as Arc<dyn Leadership>, Some(election)))
}

fn checks(
    store: &Arc<dyn Store>,
    answers: watch::Receiver<apiserver::Answer>,
    watches: &Watches,
    cache: &Arc<Cache>,
) -> Vec<Check> {
    let store = Arc::clone(store);
    let mut checks = vec![Check::new("store", move || {
        let store = Arc::clone(&store);
        async move { store.ping().await.map_err(|error| error.to_string()) }
    })];
    checks.push(Check::new("apiserver", move || {
        let answer = answers.borrow().clone();
        async move { answer }
    }));
    let watches = watches.clone();
    checks.push(Check::new("watches", move || {
        let ailing: Vec<String> = watches
            .health()
            .iter()
            .filter(|health| !health.is_well())
            .map(|health| format!("{health:?}"))
            .collect();
        async move {
            if ailing.is_empty() {
                Ok(())
            } else {
                Err(ailing.join("; "))
            }
        }
    }));
    let cache = Arc::clone(cache);
    checks.push(Check::new("cache-sync", move || {
        let synced = cache.synced();
        async move {
            if synced {
                Ok(())
            } else {
                Err("the first lists are not complete".to_owned())
            }
        }
    }));
    checks
}
