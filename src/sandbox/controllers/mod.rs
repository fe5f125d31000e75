//! The controllers of kube-controller-manager that a cluster of pods and nodes needs, as clients of
//! an API server.
//!
//! They know the cluster only through [`Shared`]'s informers and change it only through the API, each
//! object by its own controller. What is decided is in pure functions beside each controller, so that
//! the rules can be tested without a server; the source of each rule is named where it is written
//! (files are of `kubernetes/kubernetes`, v1.36).

mod accounts;
pub mod claim;
pub mod deployment;
pub mod disruption;
pub mod events;
pub mod garbage;
pub mod informer;
pub mod namespaces;
pub mod nodes;
pub mod objects;
mod podgc;
pub mod queue;
pub mod replicaset;
pub mod resources;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ::kube::api::PostParams;
use ::kube::{Api, Client};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use self::events::Recorder;
use self::informer::{Informer, Whole};
use self::objects::{controller_of, namespace};
use self::resources::Resources;

/// The field manager of everything the controllers write.
pub const MANAGER: &str = "kube-controller-manager";

/// Why a round of a controller failed; it is retried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or could not be reached.
    #[error("{}", objects::api_message(.0))]
    Api(#[from] ::kube::Error),
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

/// What the controllers share: the client and the caches.
struct Shared {
    client: Client,
    resources: Resources,
    pods: Arc<Informer<Pod>>,
    replica_sets: Arc<Informer<ReplicaSet>>,
    deployments: Arc<Informer<Deployment>>,
    budgets: Arc<Informer<PodDisruptionBudget>>,
    nodes: Arc<Informer<Node>>,
    leases: Arc<Informer<Lease>>,
    namespaces: Arc<Informer<Namespace>>,
    accounts: Arc<Informer<ServiceAccount>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    fn new(client: Client) -> Arc<Self> {
        Arc::new(Self {
            client,
            resources: Resources::default(),
            pods: Informer::new(index_pod),
            replica_sets: Informer::new(|set| index_owned(&set.metadata)),
            deployments: Informer::new(|deployment| index_owned(&deployment.metadata)),
            budgets: Informer::new(|budget| index_owned(&budget.metadata)),
            nodes: Informer::new(|_| Vec::new()),
            leases: Informer::new(|_| Vec::new()),
            namespaces: Informer::new(|_| Vec::new()),
            accounts: Informer::new(|_| Vec::new()),
        })
    }

    async fn run(&self, shutdown: &CancellationToken) {
        let client = || self.client.clone();
        let stop = || shutdown.clone();
        tokio::join!(
            self.pods.run(Whole::new(Api::all(client())), stop()),
            self.replica_sets
                .run(Whole::new(Api::all(client())), stop()),
            self.deployments.run(Whole::new(Api::all(client())), stop()),
            self.budgets.run(Whole::new(Api::all(client())), stop()),
            self.nodes.run(Whole::new(Api::all(client())), stop()),
            self.leases.run(
                Whole::new(Api::namespaced(client(), "kube-node-lease")),
                stop()
            ),
            self.namespaces.run(Whole::new(Api::all(client())), stop()),
            self.accounts.run(Whole::new(Api::all(client())), stop()),
        );
    }

    async fn synced(&self) {
        tokio::join!(
            self.pods.synced(),
            self.replica_sets.synced(),
            self.deployments.synced(),
            self.budgets.synced(),
            self.nodes.synced(),
            self.leases.synced(),
            self.namespaces.synced(),
            self.accounts.synced(),
        );
    }
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.into()),
        ..PostParams::default()
    }
}

/// `ns/<namespace>`, and `owner/<uid>` or `orphan/<namespace>`.
fn index_owned(meta: &ObjectMeta) -> Vec<String> {
    let owner = controller_of(meta).map_or_else(
        || format!("orphan/{}", namespace(meta)),
        |owner| format!("owner/{}", owner.uid),
    );
    vec![format!("ns/{}", namespace(meta)), owner]
}

/// The same, and `node/<node>`.
fn index_pod(pod: &Pod) -> Vec<String> {
    let mut values = index_owned(&pod.metadata);
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    values.extend(node.map(|node| format!("node/{node}")));
    values
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
        Box::pin(working),
    );
}
