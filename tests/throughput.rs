//! A thousand pods on five hundred nodes of a real API server: all are bound, none twice, and no node gets
//! more than it can take. The rate is printed beside that of the stock kube-scheduler on the same API
//! server, which stands for itself and is not asserted: it is the machine's.
// Clippy's exemption for tests does not reach their helper functions.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use support::process::Wam;
use support::redis::Redis;
use support::require;
use support::testbed::{Options, Testbed, program};
use wam::clock;

const NODES: usize = 500;
const PODS: usize = 1000;
/// Each pod asks for one CPU: there is room for three on a node, and two for each are wanted.
const NODE_CPU: u64 = 3;
/// For each scheduler, on a machine under load and with a debug build.
const PATIENCE: Duration = Duration::from_secs(300);
/// Requests in flight when objects are made.
const AT_ONCE: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pods_on_five_hundred_nodes() {
    let options = Options {
        controller_manager: false, // its node lifecycle would want heartbeats
        audit: true,
        ..Options::default()
    };
    let start = tokio::task::spawn_blocking(move || Testbed::start_with(&options));
    let Some(testbed) = require("throughput (testbed)", start.await.unwrap()) else {
        return;
    };
    let Some(redis) = require("throughput (redis-server)", Redis::start()) else {
        return;
    };
    let client = testbed.client().await;
    make_nodes(&client).await;

    // Ours first: what the second gains by an API server that has warmed up is the other's gain.
    let ours = rate(&testbed, &client, "wam-scheduler", || {
        let kubeconfig = testbed.kubeconfig().to_str().unwrap();
        Wam::start(
            &[
                "serve",
                "--kubeconfig",
                kubeconfig,
                "--redis",
                &redis.url(),
                "--listen",
                "127.0.0.1:0",
            ],
            &[],
        )
    });
    let ours = ours.await;
    let stock = rate(&testbed, &client, "default-scheduler", || {
        start_stock(testbed.kubeconfig())
    });
    let stock = stock.await;
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    // Not eprintln!, which the test harness drops for tests that pass.
    let _ = writeln!(
        std::io::stderr(),
        "{PODS} pods on {NODES} nodes, first to last bound: wam ({build} build) {ours:.0} pods/s, kube-scheduler {stock:.0} pods/s"
    );
}

/// The stock scheduler's process; it ends with the value.
struct Stock(Child);

impl Drop for Stock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The stock scheduler as it is by default, without its limit of 50 requests a second.
fn start_stock(kubeconfig: &Path) -> Stock {
    let config = kubeconfig.with_file_name("stock-scheduler.yaml");
    let text = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": false},
        "clientConnection": {"kubeconfig": kubeconfig, "qps": 5000, "burst": 5000},
    });
    std::fs::write(&config, text.to_string()).unwrap();
    let child = Command::new(program().unwrap().with_file_name("kube-scheduler"))
        .arg("--config")
        .arg(config)
        .args(["--secure-port", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Stock(child)
}

/// Makes the pods, then starts the scheduler; answers the pods bound per second from the first to the last.
async fn rate<Running>(
    testbed: &Testbed,
    client: &kube::Client,
    scheduler: &str,
    start: impl FnOnce() -> Running,
) -> f64 {
    make_pods(client, scheduler).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), scheduler);
    let mut watched =
        std::pin::pin!(watcher(pods.clone(), watcher::Config::default()).applied_objects());
    let running = start();
    let mut bound: HashMap<String, String> = HashMap::new();
    let mut first = None;
    let wait = async {
        while bound.len() < PODS {
            let pod = watched.next().await.expect("a watch does not end").unwrap();
            let Some(node) = pod.spec.and_then(|spec| spec.node_name) else {
                continue;
            };
            first.get_or_insert_with(clock::instant);
            let before = bound.insert(pod.metadata.uid.unwrap(), node.clone());
            assert!(before.is_none_or(|before| before == node), "a pod moved");
        }
    };
    clock::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|error| panic!("{scheduler} {error}"));
    let elapsed = first.unwrap().elapsed();
    drop(running);

    let mut load: BTreeMap<&String, u64> = BTreeMap::new();
    for node in bound.values() {
        *load.entry(node).or_default() += 1;
    }
    let over: Vec<_> = load.iter().filter(|(_, pods)| **pods > NODE_CPU).collect();
    assert!(over.is_empty(), "over their allocatable: {over:?}");
    let bindings = bindings(&testbed.audit_log(), scheduler);
    assert_eq!(bindings, BTreeMap::from([(201, PODS)]), "one binding a pod");

    let now = DeleteParams::default().grace_period(0);
    pods.delete_collection(&now, &ListParams::default())
        .await
        .unwrap();
    let left = pods.list(&ListParams::default()).await.unwrap();
    assert!(left.items.is_empty(), "the room is free again");
    PODS as f64 / elapsed.as_secs_f64()
}

/// The answers to all bindings in a namespace: how many of each status code.
fn bindings(audit_log: &Path, namespace: &str) -> BTreeMap<u64, usize> {
    let mut codes = BTreeMap::new();
    for line in std::fs::read_to_string(audit_log).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if event["objectRef"]["subresource"] == "binding"
            && event["objectRef"]["namespace"] == namespace
        {
            let code = event["responseStatus"]["code"].as_u64().unwrap();
            *codes.entry(code).or_default() += 1;
        }
    }
    codes
}

async fn make_nodes(client: &kube::Client) {
    let nodes: Api<Node> = Api::all(client.clone());
    let room = json!({"cpu": NODE_CPU.to_string(), "memory": "16Gi", "pods": "110"});
    let make = |number: usize| {
        let (nodes, room) = (nodes.clone(), room.clone());
        async move {
            let name = format!("node-{number:03}");
            let node =
                json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
            let mut made = nodes.create(&PostParams::default(), &object(node)).await?;
            // Admission taints a new node; the node lifecycle controller, which is not here, untaints it.
            made.spec.get_or_insert_default().taints = None;
            let mut made = nodes.replace(&name, &PostParams::default(), &made).await?;
            made.status = Some(object(json!({
                "capacity": room,
                "allocatable": room,
                "conditions": [{"type": "Ready", "status": "True"}],
            })));
            nodes
                .replace_status(&name, &PostParams::default(), &made)
                .await
        }
    };
    let made: Vec<Node> = futures::stream::iter((0..NODES).map(make))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(made.len(), NODES);
}

async fn make_pods(client: &kube::Client, scheduler: &str) {
    let name = json!({"metadata": {"name": scheduler}});
    let namespace: Namespace = object(name);
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let account: ServiceAccount = object(json!({"metadata": {"name": "default"}}));
    Api::namespaced(client.clone(), scheduler)
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), scheduler);
    let make = |number: usize| {
        let pods = pods.clone();
        let pod = object(json!({
            "metadata": {"name": format!("pod-{number:04}"), "labels": {"app": "load"}},
            "spec": {"schedulerName": scheduler, "containers": [{
                "name": "c", "image": "registry.example/c:1",
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
            }]},
        }));
        async move { pods.create(&PostParams::default(), &pod).await }
    };
    let made: Vec<Pod> = futures::stream::iter((0..PODS).map(make))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(made.len(), PODS);
}

/// An object as its JSON says.
fn object<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("the test's object is of its type")
}
