//! `wam serve`: the program on a real cluster.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use prometheus_client::registry::Registry;

use super::config::{Flags, Settings, StoreChoice};
use super::signals;
use crate::app::{self, App};
use crate::clock;
use crate::kube::{ClientOptions, Clients, LeaseOptions, Metrics, Source};
use crate::scheduler::Configuration;
use crate::store::memory::MemoryStore;
use crate::store::redis::{RedisOptions, RedisStore};
use crate::store::{self, Store};

/// Serves JSON-RPC, carries actions out and schedules the pods that name us, on a real cluster.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wam serve --kubeconfig ~/.kube/config --redis redis://127.0.0.1:6379\n  \
    REDIS_HOST=wam-redis REDIS_PASSWORD=... wam serve --listen 0.0.0.0:3000   (in a pod)\n  \
    wam serve --config wam.yaml --no-scheduler\n  \
    wam serve --redis redis://127.0.0.1:6379 --scheduler-config kube-scheduler.yaml\n\n\
    A config file has the same settings:\n  \
    redis: redis://wam-redis:6379\n  \
    listen: 0.0.0.0:3000\n  \
    leaderElection:\n    \
      leaseDuration: 15s")]
pub struct ServeCommand {
    #[command(flatten)]
    flags: Flags,
}

/// Runs the command until it is told to stop.
///
/// # Errors
/// When it cannot start; the text says what to do.
pub async fn run(command: ServeCommand) -> anyhow::Result<()> {
    let shutdown = signals::shutdown();
    let settings = command.flags.settings(|name| std::env::var(name).ok())?;
    let seed = settings
        .seed
        .unwrap_or_else(|| u64::try_from(clock::now().as_nanosecond()).unwrap_or_default());
    let store = tokio::select! {
        store = open(&settings.store) => store?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let options = client_options(&settings.scheduling, seed);
    let clients = Clients::connect(&source(&settings), &options, &metrics).await?;
    let app = App::start(
        app_settings(&settings, seed),
        clients,
        metrics,
        registry,
        store,
    )
    .await?;
    if let Some(address) = app.address() {
        println!("serving JSON-RPC on http://{address}/rpc and events on http://{address}/events");
    }
    if let Some(address) = app.health_address() {
        println!("serving health and metrics on http://{address}");
    }
    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = app.failed() => Err(anyhow::anyhow!("a part of the program failed; the log says which")),
    };
    tracing::info!("stopping");
    app.stop().await;
    ended
}

fn source(settings: &Settings) -> Source {
    match &settings.kubeconfig {
        Some(path) => Source::Kubeconfig {
            path: path.clone(),
            context: settings.context.clone(),
        },
        None => Source::Infer,
    }
}

/// The budget of binds is the configuration's; below 0 there is no bound.
pub(super) fn client_options(scheduling: &Configuration, seed: u64) -> ClientOptions {
    let mut options = ClientOptions {
        seed,
        ..ClientOptions::default()
    };
    let client = &scheduling.client_connection;
    options.binds.qps = f64::from(client.qps);
    options.binds.burst = u32::try_from(client.burst).unwrap_or(1);
    options
}

/// Names this process: the host (in a pod: its name) and something of its own.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "wam".to_owned());
    format!("{host}_{}", uuid::Uuid::new_v4())
}

fn app_settings(settings: &Settings, seed: u64) -> app::Settings {
    let identity = identity();
    let election = &settings.scheduling.leader_election;
    let lease = election.leader_elect.then(|| {
        let mut lease = LeaseOptions::new(
            &election.resource_namespace,
            &election.resource_name,
            identity.clone(),
        );
        for (place, given) in [
            (&mut lease.lease_duration, election.lease_duration),
            (&mut lease.renew_deadline, election.renew_deadline),
            (&mut lease.retry_period, election.retry_period),
        ] {
            *place = given.to_std().unwrap_or(*place);
        }
        lease
    });
    app::Settings {
        listen: settings.api.then(|| settings.listen.clone()),
        health_listen: settings.health_listen.clone(),
        namespaces: settings.namespaces.clone(),
        executor: settings.executor,
        scheduler: settings.scheduler,
        lease,
        scheduling: settings.scheduling.clone(),
        identity,
        executor_lease: settings.executor_lease,
        action_retention: settings.action_retention,
        seed,
    }
}

/// Opens the store. Redis may come up after us: it is waited for; a Redis that is not fit is an error.
///
/// # Errors
/// When the URL makes no sense or the server's settings would lose what is acknowledged.
pub async fn open(choice: &StoreChoice) -> anyhow::Result<Arc<dyn Store>> {
    let url = match choice {
        StoreChoice::Memory => return Ok(Arc::new(MemoryStore::new())),
        StoreChoice::Redis(url) => url,
    };
    let mut pause = Duration::from_millis(200);
    loop {
        let options = RedisOptions {
            url: Some(url.clone()),
            ..RedisOptions::default()
        };
        match RedisStore::connect(options).await {
            Ok(store) => return Ok(Arc::new(store)),
            Err(store::Error::Unavailable(problem)) => {
                tracing::warn!(%problem, "Redis does not answer yet; waiting");
                clock::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(error) => return Err(error).context("Redis"),
        }
    }
}
