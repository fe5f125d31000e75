//! The whole cluster: API server on loopback, controllers, kubelets.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::apiserver::{ApiServer, Options as ApiServerOptions};
use super::controllers;
use super::kubelet::{self, Failures, KubeletOptions, NodeSpec};
use crate::clock;

/// The prefix of the nodes' names, as in the original's walk.
pub const NODE_PREFIX: &str = "k3d-aces-agent-";
/// The control-plane node's name.
pub const CONTROL_PLANE: &str = "k3d-aces-server-0";

/// How the cluster is.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Where the API server listens.
    pub listen: String,
    /// How many nodes besides the control plane's.
    pub nodes: usize,
    /// From a pod's admission to its being Ready.
    pub start_latency: Duration,
    /// From a pod's deletion to its end.
    pub stop_latency: Duration,
    /// What goes wrong on purpose.
    pub failures: Failures,
    /// Decides all that is random.
    pub seed: u64,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            nodes: 8,
            start_latency: Duration::from_millis(500),
            stop_latency: Duration::from_millis(500),
            failures: Failures::default(),
            seed: 0,
        }
    }
}

/// What keeps a cluster from starting.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error(
        "the API server cannot listen on {address}: {problem}; choose another with --apiserver-listen"
    )]
    Listen {
        /// The address asked for.
        address: String,
        /// Why not.
        problem: std::io::Error,
    },
    /// A part of it ended before the cluster was ready.
    #[error("the sandbox did not become ready: {0}")]
    NotReady(String),
}

/// A running cluster.
pub struct Cluster {
    server: ApiServer,
    address: SocketAddr,
    parts: CancellationToken,
    serving: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    front: JoinHandle<()>,
}

impl Cluster {
    /// Starts it, and returns when its nodes are Ready.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(options: ClusterOptions) -> Result<Self, Error> {
        let listener = TcpListener::bind(&options.listen)
            .await
            .map_err(|problem| Error::Listen {
                address: options.listen.clone(),
                problem,
            })?;
        let address = listener.local_addr().map_err(|problem| Error::Listen {
            address: options.listen.clone(),
            problem,
        })?;
        let server = ApiServer::new(ApiServerOptions {
            seed: options.seed,
            ..ApiServerOptions::default()
        });
        let parts = CancellationToken::new();
        let serving = CancellationToken::new();
        let front = {
            let (server, serving) = (server.clone(), serving.clone());
            tokio::spawn(async move {
                if let Err(error) = server.serve(listener, serving).await {
                    tracing::error!(%error, "the API server ended");
                }
            })
        };
        let client = server.client();
        let kubelets = KubeletOptions {
            nodes: nodes(options.nodes),
            instance: "sandbox".to_owned(),
            start_latency: options.start_latency,
            stop_latency: options.stop_latency,
            failures: options.failures,
            seed: options.seed,
            ..KubeletOptions::default()
        };
        let controlling = tokio::spawn(Box::pin(controllers::run(
            client.clone(),
            controllers::Options::default(),
            parts.clone(),
        )));
        let running = {
            let (client, parts) = (client.clone(), parts.clone());
            tokio::spawn(async move {
                if let Err(error) = Box::pin(kubelet::run(client, kubelets, parts)).await {
                    tracing::error!(%error, "the kubelets ended");
                }
            })
        };
        let cluster = Self {
            server,
            address,
            parts,
            serving,
            tasks: vec![controlling, running],
            front,
        };
        match clock::timeout(Duration::from_secs(60), cluster.ready(options.nodes + 1)).await {
            Ok(()) => Ok(cluster),
            Err(elapsed) => {
                cluster.stop().await;
                Err(Error::NotReady(elapsed.to_string()))
            }
        }
    }

    /// Waits until this many nodes are Ready and pods can be made in `default`.
    async fn ready(&self, wanted: usize) {
        use ::kube::Api;
        use ::kube::api::ListParams;
        use k8s_openapi::api::core::v1::{Node, ServiceAccount};
        let nodes: Api<Node> = Api::all(self.client());
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), "default");
        let is_ready = |node: &Node| {
            node.status
                .iter()
                .flat_map(|s| s.conditions.iter().flatten())
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        loop {
            let listed = nodes.list(&ListParams::default()).await;
            let ready = listed.map_or(0, |list| list.items.iter().filter(|n| is_ready(n)).count());
            if ready >= wanted && accounts.get("default").await.is_ok() {
                return;
            }
            clock::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where the API server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The API server.
    #[must_use]
    pub fn server(&self) -> &ApiServer {
        &self.server
    }

    /// A client in the process, without a socket between.
    #[must_use]
    pub fn client(&self) -> ::kube::Client {
        self.server.client()
    }

    /// A kubeconfig for it.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: wam-sandbox\n  \
               cluster:\n    \
                 server: http://{}\n\
             contexts:\n\
             - name: wam-sandbox\n  \
               context:\n    \
                 cluster: wam-sandbox\n    \
                 user: wam-sandbox\n    \
                 namespace: default\n\
             current-context: wam-sandbox\n\
             users:\n\
             - name: wam-sandbox\n  \
               user: {{}}\n",
            self.address
        )
    }

    /// Stops everything.
    pub async fn stop(self) {
        self.parts.cancel();
        for task in self.tasks {
            let _ended = task.await;
        }
        self.serving.cancel();
        let _ended = self.front.await;
    }
}

/// The nodes of a cluster: so many workers, and a tainted control plane.
#[must_use]
pub fn nodes(count: usize) -> Vec<NodeSpec> {
    let mut nodes = NodeSpec::numbered(NODE_PREFIX, count);
    let mut control_plane = NodeSpec::new(CONTROL_PLANE);
    let role = "node-role.kubernetes.io/control-plane";
    control_plane
        .labels
        .insert(role.to_owned(), "true".to_owned());
    control_plane.taints.push(Taint {
        key: role.to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    });
    nodes.push(control_plane);
    nodes
}
