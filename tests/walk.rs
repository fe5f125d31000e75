//! The original's README walk, call by call, over the sandbox and over a real control plane; `kubectl` is the
//! witness of every placement, and the event stream tells every outcome.
#![allow(clippy::disallowed_methods, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::account;
use support::audit;
use support::kubectl::kubectl_json;
use support::process::Wam;
use support::redis::Redis;
use support::rpc::Caller;
use support::testbed::{Options, Testbed, kubectl_binary};

/// Where the pods are: for each app its nodes, sorted.
fn placement(kubeconfig: &Path) -> BTreeMap<String, Vec<String>> {
    let pods = kubectl_json(kubeconfig, &["get", "pods", "-n", "default"]);
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in pods["items"].as_array().expect("a list") {
        let app = pod["metadata"]["labels"]["app"]
            .as_str()
            .unwrap_or("?")
            .to_owned();
        let node = pod["spec"]["nodeName"].as_str().unwrap_or("(unbound)");
        let node = node.trim_start_matches("k3d-aces-agent-").to_owned();
        assert!(
            pod["metadata"]["deletionTimestamp"].is_null(),
            "a pod is still terminating"
        );
        found.entry(app).or_default().push(node);
    }
    found.values_mut().for_each(|nodes| nodes.sort());
    found
}

fn pods_on(kubeconfig: &Path, app: &str, node: &str) -> Vec<Value> {
    let selector = format!("app={app}");
    let field = format!("spec.nodeName=k3d-aces-agent-{node}");
    let args = [
        "get",
        "pods",
        "-n",
        "default",
        "-l",
        &selector,
        "--field-selector",
        &field,
    ];
    kubectl_json(kubeconfig, &args)["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|pod| json!({"namespace": "default", "name": pod["metadata"]["name"]}))
        .collect()
}

fn node(number: &str) -> Value {
    json!({"name": format!("k3d-aces-agent-{number}")})
}

fn create(name: &str, on: &str) -> Value {
    json!({
        "workload": {
            "namespace": "default", "apiVersion": "apps/v1", "kind": "Deployment", "name": name
        },
        "node": node(on),
    })
}

async fn walk(caller: &Caller, kubeconfig: &Path) {
    let mut events = caller.listen().await;
    let mut step = async |method: &str, argument: Value, a: &[&str], b: &[&str]| {
        let id = caller.submit(method, argument).await;
        let (kind, event) = events.outcome(&id).await;
        assert_eq!(kind, "wam.action.succeeded.v1", "{event:#}");
        let mut wanted = BTreeMap::new();
        for (app, nodes) in [("test-a", a), ("test-b", b)] {
            if !nodes.is_empty() {
                let nodes: Vec<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
                wanted.insert(app.to_owned(), nodes);
            }
        }
        assert_eq!(placement(kubeconfig), wanted, "after {method}");
        let action = caller.get(&id).await.expect("the action");
        assert_eq!(action["state"], "Succeeded");
    };
    step("action.Create", create("test-a", "7"), &["7"], &[]).await;
    step("action.Create", create("test-a", "4"), &["4", "7"], &[]).await;
    let a7 = pods_on(kubeconfig, "test-a", "7").remove(0);
    step("action.Delete", json!({"pod": a7}), &["4"], &[]).await;
    let a4 = pods_on(kubeconfig, "test-a", "4").remove(0);
    step(
        "action.Move",
        json!({"pod": a4, "node": node("1")}),
        &["1"],
        &[],
    )
    .await;
    step("action.Create", create("test-b", "4"), &["1"], &["4"]).await;
    step("action.Create", create("test-b", "4"), &["1"], &["4", "4"]).await;
    step(
        "action.Create",
        create("test-a", "7"),
        &["1", "7"],
        &["4", "4"],
    )
    .await;
    let x = pods_on(kubeconfig, "test-a", "7").remove(0);
    let y = pods_on(kubeconfig, "test-b", "4");
    step(
        "action.Swap",
        json!({"x": x, "y": y}),
        &["1", "4"],
        &["7", "7"],
    )
    .await;

    // The workloads say the same, and nothing is left behind.
    for (name, replicas) in [("test-a", 2), ("test-b", 2)] {
        let found = kubectl_json(kubeconfig, &["get", "deployment", name, "-n", "default"]);
        assert_eq!(found["spec"]["replicas"], replicas);
        assert_eq!(found["status"]["readyReplicas"], replicas);
    }
}

/// What a caller can get wrong is the reply's error, and nothing is stored.
async fn refusals(caller: &Caller) {
    let before = caller.call("action.List", json!({})).await.expect("a list");
    let pod = |name: &str| json!({"namespace": "default", "name": name});
    let cases = [
        (
            "action.Create",
            create("nope", "1"),
            "deployment default/nope not found",
        ),
        (
            "action.Create",
            create("test-a", "99"),
            "node k3d-aces-agent-99 not found",
        ),
        (
            "action.Delete",
            json!({"pod": pod("nope")}),
            "pod default/nope not found",
        ),
        (
            "action.Move",
            json!({"pod": pod("nope"), "node": node("1")}),
            "pod default/nope not found",
        ),
    ];
    for (method, argument, wanted) in cases {
        assert_eq!(caller.refused(method, argument).await, wanted);
    }
    let mut argument = create("test-a", "1");
    argument["options"] = json!({"dryrun": true});
    let error = caller.refused("action.Create", argument).await;
    assert!(error.contains("options.dryrun is not supported"), "{error}");
    let after = caller.call("action.List", json!({})).await.expect("a list");
    assert_eq!(before, after, "nothing was stored");
}

/// The same key and the same request: the same action; another request: an error.
async fn idempotency(caller: &Caller) {
    let mut argument = create("test-a", "2");
    argument["options"] = json!({"idempotencyKey": "walk-1", "deadlineSeconds": 60});
    let first = caller.submit("action.Create", argument.clone()).await;
    let again = caller.submit("action.Create", argument.clone()).await;
    assert_eq!(first, again);
    argument["node"] = node("3");
    let error = caller.refused("action.Create", argument).await;
    assert!(error.contains("walk-1"), "{error}");
    assert_eq!(caller.ended(&first).await["state"], "Succeeded");
}

/// 60 Creates of one Deployment at once: 60 replicas, 60 outcomes.
async fn sixty_at_once(caller: &Caller, kubeconfig: &Path) {
    let count = |kubeconfig: &Path| {
        let found = kubectl_json(
            kubeconfig,
            &["get", "deployment", "test-b", "-n", "default"],
        );
        found["spec"]["replicas"].as_i64().expect("replicas")
    };
    let before = count(kubeconfig);
    let calls = (0..60).map(|number| {
        let on = (number % 8).to_string();
        async move { caller.submit("action.Create", create("test-b", &on)).await }
    });
    let ids = futures::future::join_all(calls).await;
    for id in &ids {
        let action = caller.ended(id).await;
        assert_eq!(action["state"], "Succeeded", "{action:#}");
    }
    assert_eq!(count(kubeconfig), before + 60);
    let mut unique = ids.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), 60);
}

async fn everything(caller: &Caller, kubeconfig: &Path) {
    walk(caller, kubeconfig).await;
    refusals(caller).await;
    idempotency(caller).await;
    sixty_at_once(caller, kubeconfig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_sandbox() {
    if support::testbed::missing("walk on the sandbox (kubectl)", kubectl_binary().err()) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig: PathBuf = folder.path().join("kubeconfig");
    let path = kubeconfig.to_str().expect("text");
    let mut sandbox = Wam::start(
        &[
            "sandbox",
            "--listen",
            "127.0.0.1:0",
            "--apiserver-listen",
            "127.0.0.1:0",
            "--kubeconfig",
            path,
            "--start-latency",
            "100ms",
            "--stop-latency",
            "100ms",
        ],
        &[],
    );
    let rpc = sandbox.word("Actions: JSON-RPC on", "http://");
    let caller = Caller::new(&format!("http://{}", rpc.trim_end_matches("/rpc")));
    everything(&caller, &kubeconfig).await;
    assert!(sandbox.stop(), "it shuts down cleanly");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_control_plane() {
    let options = Options {
        audit: true,
        ..Options::default()
    };
    let testbed = match Testbed::start_with(&options) {
        Ok(testbed) => testbed,
        Err(reason) => {
            support::testbed::missing("walk on the testbed", Some(reason));
            return;
        }
    };
    let redis = match Redis::start() {
        Ok(redis) => redis,
        Err(reason) => {
            support::testbed::missing("walk on the testbed (redis-server)", Some(reason));
            return;
        }
    };
    let kubeconfig = testbed.kubeconfig();
    let path = kubeconfig.to_str().expect("text");
    for manifest in ["deploy/test/test-a.yaml", "deploy/test/test-b.yaml"] {
        support::kubectl::kubectl(kubeconfig, &["apply", "-f", manifest]).expect("applied");
    }
    let mut kubelets = Wam::start(
        &[
            "kubelets",
            "--kubeconfig",
            path,
            "--nodes",
            "8",
            "--start-latency",
            "100ms",
            "--stop-latency",
            "100ms",
        ],
        &[],
    );
    kubelets.line("playing 8 kubelets");
    // With the rights that the deployment grants, and under its policy.
    let own = account::restricted(kubeconfig);
    let url = redis.url();
    let mut args = vec![
        "serve",
        "--kubeconfig",
        own.to_str().expect("text"),
        "--redis",
        &url,
    ];
    args.extend([
        "--listen",
        "127.0.0.1:0",
        "--leader-elect-lease-duration",
        "2s",
    ]);
    args.extend(["--leader-elect-renew-deadline", "1500ms"]);
    args.extend(["--leader-elect-retry-period", "300ms"]);
    args.extend(account::LEASE);
    let mut serve = Wam::start(&args, &[]);
    let rpc = serve.word("serving JSON-RPC on", "http://");
    let caller = Caller::new(&format!("http://{}", rpc.trim_end_matches("/rpc")));
    caller.until_ready().await;
    let wait = [
        "wait",
        "node",
        "--all",
        "--for=condition=Ready",
        "--timeout=60s",
    ];
    support::kubectl::kubectl(kubeconfig, &wait).expect("nodes are Ready");
    everything(&caller, kubeconfig).await;
    assert!(serve.stop(), "it shuts down cleanly");
    audit::nothing_forbidden(&testbed.audit_log(), "default", account::NAME);
    assert!(kubelets.stop(), "the kubelets shut down cleanly");
}
