//! The controllers of kube-controller-manager that a cluster of pods and nodes needs, as clients of
//! an API server.
//!
//! They know the cluster only through [`Shared`]'s informers and change it only through the API, each
//! object by its own controller. What is decided is in pure functions beside each controller, so that
//! the rules can be tested without a server; the source of each rule is named where it is written
//! (files are of `kubernetes/kubernetes`, v1.36).

mod accounts;
pub mod autoscaler;
pub mod claim;
pub mod consistency;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod events;
pub mod expectations;
pub mod follow;
pub mod garbage;
pub mod history;
pub mod informer;
pub mod job;
pub mod namespaces;
pub mod nodes;
pub mod objects;
mod podgc;
pub mod pods;
pub mod queue;
pub mod replicaset;
pub mod resources;
mod shared;
pub mod statefulset;
#[cfg(test)]
mod tests;
pub mod volumes;

use std::sync::Arc;
use std::time::Duration;

use ::kube::Client;
use ::kube::api::PostParams;
use tokio_util::sync::CancellationToken;

use self::events::Recorder;
use self::shared::Shared;

/// The field manager of everything the controllers write.
pub const MANAGER: &str = "kube-controller-manager";

/// Why a round of a controller failed; it is retried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or could not be reached.
    #[error("{}", objects::api_message(.0))]
    Api(#[from] ::kube::Error),
    /// The caches do not have yet what the controller itself wrote.
    #[error("the cache is behind what was written")]
    Behind,
    /// Some pods could not be created or deleted.
    #[error("{0}")]
    Replicas(String),
}

/// What can be set about the controllers. The defaults are kube-controller-manager's.
#[derive(Clone, Debug)]
pub struct Options {
    /// A node whose lease is not renewed for so long is Unknown
    /// (`--node-monitor-grace-period`).
    pub node_grace_period: Duration,
    /// How often nodes are looked at (`--node-monitor-period`).
    pub node_monitor_period: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_grace_period: Duration::from_secs(50),
            node_monitor_period: Duration::from_secs(5),
        }
    }
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.into()),
        ..PostParams::default()
    }
}

/// Runs all controllers against the API server behind `client` until `shutdown`. Whatever goes wrong
/// is retried: this returns only at the shutdown.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) {
    let shared = Shared::new(client.clone());
    let recorder = |component| Recorder::new(client.clone(), component, shutdown.clone());
    let (deployment_events, posting_1) = recorder("deployment-controller");
    let (set_events, posting_2) = recorder("replicaset-controller");
    let (budget_events, posting_3) = recorder("controllermanager");
    let (node_events, posting_4) = recorder("node-controller");
    let deployments = deployment::Controller::new(&shared, deployment_events);
    let replica_sets = replicaset::Controller::new(&shared, set_events);
    let budgets = disruption::Controller::new(&shared, budget_events);
    let nodes = nodes::Controller::new(&shared, node_events, options);
    let accounts = accounts::Controller::new(&shared);
    let namespaces = namespaces::Controller::new(&shared);
    let (stateful_events, posting_5) = recorder("statefulset-controller");
    let stateful_sets = statefulset::Controller::new(&shared, stateful_events);
    let (daemon_events, posting_6) = recorder("daemonset-controller");
    let daemon_sets = daemonset::Controller::new(&shared, daemon_events);
    let (job_events, posting_7) = recorder("job-controller");
    let jobs = job::Controller::new(&shared, job_events);
    let finished_jobs = job::ttl::Controller::new(&shared);
    let (cron_events, posting_8) = recorder("cronjob-controller");
    let cron_jobs = cronjob::Controller::new(&shared, cron_events);
    let (scaler_events, posting_9) = recorder("horizontal-pod-autoscaler");
    let autoscalers = autoscaler::Controller::new(&shared, scaler_events);
    let (volume_events, posting_10) = recorder("persistentvolume-controller");
    let volumes = volumes::Controller::new(&shared, volume_events);
    let protection = volumes::protection::Controller::new(&shared);
    let endpoints = endpoints::Controller::new(&shared);
    let garbage = garbage::Controller::new(&shared);
    let working = async {
        shared.synced().await;
        let stop = || shutdown.clone();
        tokio::join!(
            Box::pin(deployments.run(stop())),
            Box::pin(replica_sets.run(stop())),
            Box::pin(budgets.run(stop())),
            Box::pin(nodes.run(stop())),
            Box::pin(accounts.run(stop())),
            Box::pin(namespaces.run(stop())),
            Box::pin(endpoints.run(stop())),
            Box::pin(stateful_sets.run(stop())),
            Box::pin(jobs.run(stop())),
            Box::pin(volumes.run(stop())),
            Box::pin(protection.run(stop())),
            Box::pin(cron_jobs.run(stop())),
            Box::pin(autoscalers.run(stop())),
            Box::pin(finished_jobs.run(stop())),
            Box::pin(daemon_sets.run(stop())),
            Box::pin(podgc::run(Arc::clone(&shared), stop())),
        );
    };
    let working = async {
        tokio::select! {
            () = working => {}
            () = shutdown.cancelled() => {}
        }
    };
    tokio::join!(
        Box::pin(shared.run(&shutdown)),
        Box::pin(garbage.run(shutdown.clone())),
        posting_1,
        posting_2,
        posting_3,
        posting_4,
        posting_5,
        posting_6,
        posting_7,
        posting_8,
        posting_9,
        posting_10,
        Box::pin(working),
    );
}
