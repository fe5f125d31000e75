//! A scene in which `wam serve` may die: the sandbox's cluster in one process, a real Redis, and the
//! server beside them; and a witness that reads the cluster and Redis directly.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::Unavailable;
use super::kubectl::{kubectl, kubectl_binary, kubectl_json};
use super::process::Wam;
use super::redis::Redis;
use super::rpc::Caller;

/// The cluster and the store; what is killed is started beside them by [`Scene::serve`].
pub struct Scene {
    pub sandbox: Wam,
    pub redis: Redis,
    pub kubeconfig: PathBuf,
    _folder: tempfile::TempDir,
}

/// What there is of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `spec.replicas`.
    pub replicas: i64,
    /// Its pods: node (without prefix; empty if unbound) and name by uid.
    pub pods: BTreeMap<String, (String, String)>,
}

impl Seen {
    /// The nodes, sorted.
    pub fn nodes(&self) -> Vec<&str> {
        let mut nodes: Vec<&str> = self.pods.values().map(|(node, _)| node.as_str()).collect();
        nodes.sort_unstable();
        nodes
    }

    /// The uids.
    pub fn uids(&self) -> BTreeSet<&str> {
        self.pods.keys().map(String::as_str).collect()
    }
}

/// The prefix of the sandbox's nodes.
pub const NODE: &str = "k3d-aces-agent-";

/// A node as calls name it.
pub fn node(number: &str) -> Value {
    json!({"name": format!("{NODE}{number}")})
}

/// The argument of a Create.
pub fn create(name: &str, on: &str) -> Value {
    json!({
        "workload": {
            "namespace": "default", "apiVersion": "apps/v1", "kind": "Deployment", "name": name
        },
        "node": node(on),
    })
}

/// A pod as calls name it.
pub fn pod(name: &str) -> Value {
    json!({"namespace": "default", "name": name})
}

impl Scene {
    /// Starts the cluster (with these arguments besides) and Redis.
    ///
    /// # Errors
    /// [`Unavailable`] without kubectl or redis-server.
    pub fn start(more: &[&str]) -> Result<Self, Unavailable> {
        kubectl_binary()?;
        let redis = Redis::start()?;
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        let path = kubeconfig.to_str().expect("text").to_owned();
        let mut args = vec![
            "sandbox",
            "--cluster-only",
            "--apiserver-listen",
            "127.0.0.1:0",
        ];
        args.extend(["--kubeconfig", &path]);
        args.extend(more);
        let mut sandbox = Wam::start(&args, &[("WAM_LOG", "warn")]);
        sandbox.line("Ctrl-C ends it");
        Ok(Self {
            sandbox,
            redis,
            kubeconfig,
            _folder: folder,
        })
    }

    /// Starts the server and waits until it listens.
    pub fn serve(&self, more: &[&str]) -> (Wam, Caller) {
        let path = self.kubeconfig.to_str().expect("text");
        let url = self.redis.url();
        let mut args = vec!["serve", "--kubeconfig", path, "--redis", &url];
        args.extend(["--listen", "127.0.0.1:0"]);
        args.extend(more);
        let mut server = Wam::start(&args, &[("WAM_LOG", "error,kube_client=off")]);
        let rpc = server.word("serving JSON-RPC on", "http://");
        let caller = Caller::new(&format!("http://{}", rpc.trim_end_matches("/rpc")));
        (server, caller)
    }

    /// kubectl that must succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&self.kubeconfig, arguments)
            .unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// The Deployment.
    pub fn deployment(&self, name: &str) -> Value {
        kubectl_json(
            &self.kubeconfig,
            &["get", "deployment", name, "-n", "default"],
        )
    }

    /// The workload, if it is at rest: no pod comes or goes, and (unless its pods never are) all are Ready.
    fn at_rest(&self, name: &str, all_ready: bool) -> Result<Seen, String> {
        let found = self.deployment(name);
        let count = |pointer: &str| found.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let replicas = count("/spec/replicas");
        let mut wanted = vec!["/status/replicas", "/status/updatedReplicas"];
        if all_ready {
            wanted.push("/status/readyReplicas");
        }
        let still = count("/status/observedGeneration") >= count("/metadata/generation")
            && wanted.iter().all(|pointer| count(pointer) == replicas);
        let selector = format!("app={name}");
        let args = ["get", "pods", "-n", "default", "-l", &selector];
        let list = kubectl_json(&self.kubeconfig, &args);
        let mut seen = Seen {
            replicas,
            pods: BTreeMap::new(),
        };
        let mut leaving = false;
        for pod in list["items"].as_array().expect("a list") {
            let text = |pointer: &str| {
                pod.pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            leaving |= !pod["metadata"]["deletionTimestamp"].is_null();
            let node = text("/spec/nodeName").trim_start_matches(NODE).to_owned();
            seen.pods
                .insert(text("/metadata/uid"), (node, text("/metadata/name")));
        }
        let whole = i64::try_from(seen.pods.len()) == Ok(replicas);
        let bound = seen.pods.values().all(|(node, _)| !node.is_empty());
        if still && whole && bound && !leaving {
            Ok(seen)
        } else {
            Err(format!("status {:#}, {seen:?}", found["status"]))
        }
    }

    /// Waits until the workload is at rest; panics after some minutes.
    pub async fn settled(&self, name: &str) -> Seen {
        self.rest(name, true).await
    }

    /// As [`Scene::settled`], for a workload whose pods never become Ready.
    pub async fn unready(&self, name: &str) -> Seen {
        self.rest(name, false).await
    }

    async fn rest(&self, name: &str, all_ready: bool) -> Seen {
        let mut last = String::new();
        for _ in 0..1500 {
            match self.at_rest(name, all_ready) {
                Ok(seen) => return seen,
                Err(why) => last = why,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} does not come to rest: {last}");
    }

    /// Redis itself.
    pub async fn store(&self) -> redis::aio::MultiplexedConnection {
        redis::Client::open(self.redis.url())
            .expect("a URL")
            .get_multiplexed_async_connection()
            .await
            .expect("Redis answers")
    }

    /// What is left in Redis that may not outlive the actions: intents, locks, leases.
    pub async fn leftovers(&self) -> Vec<String> {
        let mut connection = self.store().await;
        let mut left = Vec::new();
        for pattern in [
            "lock-*:*",
            "locks-of:*",
            "intents",
            "intents-of:*",
            "held",
            "queue",
            "owners",
        ] {
            let keys: Vec<String> = redis::cmd("KEYS")
                .arg(format!("wam:{{wam}}:{pattern}"))
                .query_async(&mut connection)
                .await
                .expect("keys");
            left.extend(keys);
        }
        left
    }
}

/// Numbers that look random and follow from a seed (splitmix64).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// From `WAM_TEST_SEED`, or from the default; said, so that a failure can be repeated.
    pub fn seeded(default: u64) -> Self {
        let given = std::env::var("WAM_TEST_SEED");
        let seed = given
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default);
        println!("seed {seed} (WAM_TEST_SEED)");
        Self(seed)
    }

    /// One of `0..sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides.max(1) as u64).expect("small")
    }
}
