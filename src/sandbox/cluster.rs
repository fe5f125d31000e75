//! The whole cluster: API server on loopback, controllers, kubelets.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

use super::apiserver::{ApiServer, Options as ApiServerOptions};
use super::controllers;
use super::faults::{self, FaultLayer, Faults};
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
    /// What goes wrong with pods on purpose.
    pub failures: Failures,
    /// What goes wrong at the API server's edge on purpose.
    pub faults: faults::Options,
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
            faults: faults::Options::default(),
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
    faults: Faults,
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
        let faults = Faults::new(options.seed);
        let front = {
            let (faults, serving) = (faults.clone(), serving.clone());
            let service = FaultLayer::new(faults.clone(), server.clone())
                .layer(server.service_until(serving.clone()));
            tokio::spawn(async move {
                if let Err(error) = faults::serve(listener, service, faults, serving).await {
                    tracing::error!(%error, "the API server ended");
                }
            })
        };
        let inside = |agent| match options.faults.everywhere {
            true => client(&server, &faults, agent),
            false => server.client(),
        };
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
            inside("kube-controller-manager"),
            controllers::Options::default(),
            parts.clone(),
        )));
        let running = {
            let (client, parts) = (inside("kubelet"), parts.clone());
            tokio::spawn(async move {
                if let Err(error) = Box::pin(kubelet::run(client, kubelets, parts)).await {
                    tracing::error!(%error, "the kubelets ended");
                }
            })
        };
        let cluster = Self {
            server,
            faults,
            address,
            parts,
            serving,
            tasks: vec![controlling, running],
            front,
        };
        let patience = Duration::from_secs(60) + Duration::from_millis(20) * few(options.nodes);
        match clock::timeout(patience, cluster.ready(options.nodes + 1)).await {
            Ok(()) => {
                cluster.faults.set(options.faults.rules);
                Ok(cluster)
            }
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
        let client = self.server.client();
        let nodes: Api<Node> = Api::all(client.clone());
        let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
        let is_ready = |node: &Node| {
            node.status
                .iter()
                .flat_map(|s| s.conditions.iter().flatten())
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        loop {
            let begun = clock::instant();
            let listed = nodes.list(&ListParams::default()).await;
            let ready = listed.map_or(0, |list| list.items.iter().filter(|n| is_ready(n)).count());
            if ready >= wanted && accounts.get("default").await.is_ok() {
                return;
            }
            // Thousands of nodes are long in coming: looking at them is not what should take the time.
            clock::sleep((begun.elapsed() * 4).max(Duration::from_millis(20))).await;
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

    /// What goes wrong at the API server's edge; it can be changed at any time.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// A client in the process that meets the faults, as one from outside does, without a socket between. A
    /// witness whom nothing happens to is `server().client()`.
    #[must_use]
    pub fn client(&self) -> ::kube::Client {
        self.client_as(concat!("wam-sandbox/", env!("CARGO_PKG_VERSION")))
    }

    /// The same, with this user agent.
    #[must_use]
    pub fn client_as(&self, agent: &'static str) -> ::kube::Client {
        client(&self.server, &self.faults, agent)
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

fn few(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn client(server: &ApiServer, faults: &Faults, agent: &'static str) -> ::kube::Client {
    let layer = FaultLayer::new(faults.clone(), server.clone()).with_agent(agent);
    ::kube::Client::new(layer.layer(server.service()), "default")
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
