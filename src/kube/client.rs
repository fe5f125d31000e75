//! Clients to one API server: one for watches, and a [`Transport`] with its own budget for each kind of
//! call.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::kube::client::{ClientBuilder, DynBody};
use ::kube::config::{Config, KubeConfigOptions, Kubeconfig};
use futures::future::BoxFuture;
use http::header::{HeaderValue, USER_AGENT};
use tower::BoxError;
use tower::util::MapFutureLayer;

use super::budget::BudgetOptions;
use super::metrics::Metrics;
use super::retry::Policy;
use super::transport::Transport;
use crate::clock;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig file cannot be read or makes no sense.
    #[error("kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<::kube::config::KubeconfigError>,
    },
    /// Not in a pod, or without a service account.
    #[error("no in-cluster configuration: {0}")]
    InCluster(#[source] Box<::kube::config::InClusterError>),
    /// Neither a kubeconfig nor a service account was found.
    #[error("{0}")]
    Infer(#[source] Box<::kube::config::InferConfigError>),
    /// The configuration was read but no client can be made from it.
    #[error("cannot make a Kubernetes client: {0}")]
    Client(#[source] Box<::kube::Error>),
}

/// Where the configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A kubeconfig file, and the context in it (`None`: the current one).
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context's name.
        context: Option<String>,
    },
    /// The pod's service account.
    InCluster,
    /// As kubectl: `$KUBECONFIG`, `~/.kube/config`, else the pod's service account.
    Infer,
}

/// Budgets, deadlines, and the seed of the jitter.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientOptions {
    /// For binds.
    pub binds: BudgetOptions,
    /// For evictions, scaling, fences, and the actions' reads.
    pub actions: BudgetOptions,
    /// For status patches and events.
    pub reports: BudgetOptions,
    /// What one try of a call may take, connection and body included.
    pub timeout: Duration,
    /// How long a watch or a list may be silent before its connection counts as dead. The API server
    /// ends a watch after 290 s and sends a bookmark about every minute.
    pub watch_silence: Duration,
    /// Of the jitter of retries.
    pub seed: u64,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            // A bare client binds about 1,700 pods/s with 16 connections on two cores.
            binds: BudgetOptions {
                qps: 2000.0,
                burst: 2000,
                in_flight: 32,
            },
            actions: BudgetOptions {
                qps: 500.0,
                burst: 500,
                in_flight: 32,
            },
            // kube-scheduler's whole budget is 50 with a burst of 100; this is the part that may wait.
            reports: BudgetOptions {
                qps: 100.0,
                burst: 200,
                in_flight: 8,
            },
            timeout: Duration::from_secs(10),
            watch_silence: Duration::from_secs(300),
            seed: 0,
        }
    }
}

/// The lease has a budget to itself: it must never queue behind anything.
const LEASE_BUDGET: BudgetOptions = BudgetOptions {
    qps: 10.0,
    burst: 20,
    in_flight: 2,
};

/// The clients.
#[derive(Clone)]
pub struct Clients {
    /// For [`super::Watches`]; it has no deadline for a whole answer.
    pub watch: ::kube::Client,
    /// For binds.
    pub binds: Arc<Transport>,
    /// For actions.
    pub actions: Arc<Transport>,
    /// For status patches and events.
    pub reports: Arc<Transport>,
    /// For the lease.
    pub lease: Arc<Transport>,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

impl Clients {
    /// Reads the configuration and makes the clients; nothing is sent yet.
    ///
    /// # Errors
    /// When there is no configuration or it makes no sense.
    pub async fn connect(
        source: &Source,
        options: &ClientOptions,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        Self::from_config(load(source).await?, options, metrics)
    }

    /// Makes the clients of a configuration. Its default retries are switched off.
    ///
    /// # Errors
    /// When the configuration's certificates, credentials or address make no sense.
    pub fn from_config(
        mut config: Config,
        options: &ClientOptions,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        // The client's own retries repeat every verb after any 429, a budget's refusal included.
        config.default_retry = false;
        config.connect_timeout = Some(options.timeout);
        config.read_timeout = None;
        config.headers.retain(|(name, _)| name != USER_AGENT);
        config.headers.push((
            USER_AGENT,
            HeaderValue::from_static(concat!("wam/", env!("CARGO_PKG_VERSION"))),
        ));
        let calls = build(config.clone(), None)?;
        config.read_timeout = Some(options.watch_silence);
        let watch = build(config, Some(options.watch_silence))?;
        Ok(Self::assemble(watch, &calls, options, metrics))
    }

    /// The same on a client that exists, such as one on an API server in this process.
    #[must_use]
    pub fn from_client(
        client: &::kube::Client,
        options: &ClientOptions,
        metrics: &Metrics,
    ) -> Self {
        Self::assemble(client.clone(), client, options, metrics)
    }

    fn assemble(
        watch: ::kube::Client,
        calls: &::kube::Client,
        options: &ClientOptions,
        metrics: &Metrics,
    ) -> Self {
        let transport = |budget, policy, seed| {
            Arc::new(Transport::new(
                calls.clone(),
                budget,
                options.timeout,
                policy,
                metrics.clone(),
                options.seed.wrapping_add(seed),
            ))
        };
        Self {
            watch,
            binds: transport(options.binds, Policy::default(), 1),
            actions: transport(options.actions, Policy::default(), 2),
            reports: transport(options.reports, Policy::default(), 3),
            // The election has its own rhythm.
            lease: transport(LEASE_BUDGET, Policy::once(), 4),
        }
    }
}

/// Reads a configuration.
///
/// # Errors
/// When there is none or it makes no sense.
pub async fn load(source: &Source) -> Result<Config, Error> {
    match source {
        Source::Kubeconfig { path, context } => {
            let wrap = |source| Error::Kubeconfig {
                path: path.clone(),
                source: Box::new(source),
            };
            let options = KubeConfigOptions {
                context: context.clone(),
                ..KubeConfigOptions::default()
            };
            let file = Kubeconfig::read_from(path).map_err(wrap)?;
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(wrap)
        }
        Source::InCluster => Config::incluster().map_err(|e| Error::InCluster(Box::new(e))),
        Source::Infer => Config::infer().await.map_err(|e| Error::Infer(Box::new(e))),
    }
}

/// An answer of the client's default stack, on its way.
type Answering = BoxFuture<'static, Result<http::Response<Box<DynBody>>, BoxError>>;

/// `answer_within`: how long the first byte of an answer may take.
fn build(config: Config, answer_within: Option<Duration>) -> Result<::kube::Client, Error> {
    let builder = ClientBuilder::try_from(config).map_err(|e| Error::Client(Box::new(e)))?;
    let Some(limit) = answer_within else {
        return Ok(builder.build());
    };
    let layer = MapFutureLayer::new(move |answer: Answering| async move {
        clock::timeout(limit, answer)
            .await
            .unwrap_or_else(|elapsed| Err(BoxError::from(elapsed)))
    });
    Ok(builder.with_layer(&layer).build())
}
