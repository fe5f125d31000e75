//! What the adversary's scenarios stand on: a ground (a cluster with `wam`), and a stage on it (a namespace
//! with one Deployment and a witness of its pods).
#![allow(dead_code, unreachable_pub)]

mod witness;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::account;
use crate::support::audit;
use crate::support::kubectl::{Kubectl, Output};
use crate::support::process::Wam;
use crate::support::redis::Redis;
use crate::support::rpc::Caller;
use crate::support::testbed::{Testbed, client};
pub use witness::{Seen, Witness};

/// The prefix of the nodes on which all goes well.
const GOOD: &str = "k3d-aces-agent-";
/// The node on which no pod becomes Ready; tainted, so that only who tolerates it comes there.
pub const BAD: &str = "bad-0";

/// A cluster with `wam` at work.
pub struct Ground {
    pub caller: Caller,
    pub client: kube::Client,
    kubeconfig: PathBuf,
    /// A real control plane; else the sandbox.
    pub real: bool,
    // In the order in which they end.
    processes: Vec<Wam>,
    testbed: Option<Testbed>,
    redis: Option<Redis>,
    folder: Option<tempfile::TempDir>,
}

impl Ground {
    pub async fn sandbox() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        let path = kubeconfig.to_str().expect("text").to_owned();
        let listen = [
            "--listen",
            "127.0.0.1:0",
            "--apiserver-listen",
            "127.0.0.1:0",
        ];
        let mut args = vec!["sandbox", "--kubeconfig", &path];
        args.extend(listen);
        args.extend(["--start-latency", "100ms", "--stop-latency", "200ms"]);
        let mut sandbox = Wam::start(&args, &[]);
        let rpc = sandbox.word("Actions: JSON-RPC on", "http://");
        let caller = Caller::new(&format!("http://{}", rpc.trim_end_matches("/rpc")));
        let ground = Self {
            caller,
            client: client(&kubeconfig).await,
            real: false,
            processes: vec![bad_node(&path), sandbox],
            testbed: None,
            redis: None,
            folder: Some(folder),
            kubeconfig,
        };
        ground.ready().await;
        ground
    }

    pub async fn real(testbed: Testbed, redis: Redis) -> Self {
        let kubeconfig = testbed.kubeconfig().to_owned();
        let path = kubeconfig.to_str().expect("text");
        let mut args = vec!["kubelets", "--kubeconfig", path, "--nodes", "8"];
        args.extend(["--name-prefix", GOOD]);
        args.extend(["--start-latency", "100ms", "--stop-latency", "200ms"]);
        let kubelets = Wam::start(&args, &[]);
        let url = redis.url();
        // With the rights that the deployment grants, and under its policy.
        let own = account::restricted(&kubeconfig);
        let own = own.to_str().expect("text");
        let mut args = vec!["serve", "--kubeconfig", own, "--redis", &url];
        args.extend(account::LEASE);
        args.extend([
            "--listen",
            "127.0.0.1:0",
            "--leader-elect-lease-duration",
            "2s",
        ]);
        args.extend(["--leader-elect-renew-deadline", "1500ms"]);
        args.extend(["--leader-elect-retry-period", "300ms"]);
        let mut serve = Wam::start(&args, &[]);
        let rpc = serve.word("serving JSON-RPC on", "http://");
        let caller = Caller::new(&format!("http://{}", rpc.trim_end_matches("/rpc")));
        let ground = Self {
            caller,
            client: client(&kubeconfig).await,
            real: true,
            processes: vec![serve, bad_node(path), kubelets],
            testbed: Some(testbed),
            redis: Some(redis),
            folder: None,
            kubeconfig,
        };
        ground.ready().await;
        ground
    }

    async fn ready(&self) {
        self.caller.until_ready().await;
        let kubectl = self.kubectl();
        until("all nodes are registered", async || {
            let names = kubectl.run(&["get", "nodes", "-o", "name"]).await.stdout;
            names.contains(BAD) && names.contains(&format!("{GOOD}7"))
        })
        .await;
        kubectl
            .ok(&["taint", "node", BAD, "bad=yes:NoSchedule", "--overwrite"])
            .await;
        let condition = "--for=condition=Ready";
        kubectl
            .ok(&["wait", "node", "--all", condition, "--timeout=60s"])
            .await;
    }

    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubeconfig).expect("kubectl is there: the suite began with it")
    }

    /// Ends the processes; each must end well.
    pub fn stop(mut self) {
        for process in self.processes.drain(..) {
            assert!(process.stop(), "it shuts down cleanly");
        }
        if let Some(testbed) = &self.testbed {
            audit::nothing_forbidden(&testbed.audit_log(), "default", account::NAME);
        }
    }
}

/// One node of which all pods run and never become Ready.
fn bad_node(kubeconfig: &str) -> Wam {
    let mut args = vec!["kubelets", "--kubeconfig", kubeconfig, "--nodes", "1"];
    args.extend(["--name-prefix", "bad-", "--never-ready", "1"]);
    args.extend(["--start-latency", "100ms", "--stop-latency", "200ms"]);
    Wam::start(&args, &[])
}

/// Polls until it is so; panics after some minutes.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..12_000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("in minutes it did not come true that {what}");
}

/// A namespace with the Deployment `web` in it, all its pods Ready, and a witness.
pub struct Stage<'a> {
    pub ground: &'a Ground,
    pub namespace: String,
    pub witness: Witness,
    kubectl: Kubectl,
}

impl<'a> Stage<'a> {
    /// With `replicas` pods on good nodes.
    pub async fn set(ground: &'a Ground, namespace: &str, replicas: usize) -> Self {
        let stage = Self::with(ground, namespace, replicas, &json!({})).await;
        stage.settled(replicas).await;
        stage
    }

    /// With these members in the pods' spec besides; it is not waited for the pods.
    pub async fn with(ground: &'a Ground, namespace: &str, replicas: usize, spec: &Value) -> Self {
        let kubectl = ground.kubectl();
        kubectl.ok(&["create", "namespace", namespace]).await;
        let witness = Witness::of(ground.client.clone(), namespace).await;
        let mut pod = json!({
            "schedulerName": "wam-scheduler",
            "containers": [{
                "name": "web",
                "image": "registry.example/web:1",
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}
            }],
        });
        for (name, value) in spec.as_object().expect("an object") {
            pod[name] = value.clone();
        }
        let manifest = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod},
            },
        });
        let stage = Self {
            ground,
            namespace: namespace.to_owned(),
            witness,
            kubectl,
        };
        stage.apply(&manifest).await;
        stage
    }

    pub async fn apply(&self, manifest: &Value) {
        let text = manifest.to_string();
        let output = self
            .kubectl
            .run_with_input(&["apply", "-f", "-"], &text)
            .await;
        assert!(output.ok, "{}", output.stderr);
    }

    /// kubectl in this namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> Output {
        let arguments = [&["-n", &self.namespace], arguments].concat();
        self.kubectl.run(&arguments).await
    }

    pub async fn kubectl_ok(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(arguments).await;
        assert!(output.ok, "kubectl {arguments:?}: {}", output.stderr);
        output.stdout
    }

    pub fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.ground.client.clone(), &self.namespace)
    }

    pub async fn replicas(&self) -> usize {
        let found = self.deployments().get("web").await.expect("the Deployment");
        let count = found.spec.replicas.expect("replicas");
        usize::try_from(count).expect("not negative")
    }

    /// What `kubectl set image` does, without the time that it takes to start.
    pub async fn set_image(&self, tag: &str) {
        let image = format!("registry.example/web:{tag}");
        let patch = json!({"spec": {"template": {"spec": {
            "containers": [{"name": "web", "image": image}]}}}});
        let patch = Patch::Strategic(&patch);
        self.deployments()
            .patch("web", &PatchParams::default(), &patch)
            .await
            .expect("the image is set");
    }

    /// Asks for one replica more or less than there are at that moment.
    pub async fn scale_by(&self, by: i32) {
        loop {
            let now = i32::try_from(self.replicas().await).expect("few");
            let (now, then) = (format!("--current-replicas={now}"), now + by);
            let then = format!("--replicas={then}");
            let output = self.kubectl(&["scale", "deploy/web", &now, &then]).await;
            if output.ok {
                return;
            }
            assert!(
                output.stderr.contains("xpected replicas") || output.stderr.contains("onflict"),
                "{}",
                output.stderr
            );
        }
    }

    /// Scales to `replicas` and waits for it, so that the next round begins as the first.
    pub async fn reset(&self, replicas: usize) {
        let count = format!("--replicas={replicas}");
        self.kubectl_ok(&["scale", "deploy/web", &count]).await;
        self.settled(replicas).await;
    }

    /// Waits until the Deployment has `replicas` pods, all Ready and of its image, and no others: nothing
    /// is surplus, nothing is held back, nothing is missing.
    pub async fn settled(&self, replicas: usize) {
        let mut last = String::new();
        for _ in 0..9000 {
            let found = self.deployments().get("web").await.expect("the Deployment");
            let (spec, status) = (found.spec, found.status.unwrap_or_default());
            let count = |number: Option<i32>| usize::try_from(number.unwrap_or(0)).unwrap_or(0);
            let image = spec
                .template
                .spec
                .and_then(|spec| spec.containers[0].image.clone());
            let alive = self.witness.alive();
            let whole = status.observed_generation >= found.metadata.generation
                && count(spec.replicas) == replicas
                && count(status.replicas) == replicas
                && count(status.updated_replicas) == replicas
                && count(status.available_replicas) == replicas
                && alive.len() == replicas
                && alive
                    .iter()
                    .all(|pod| pod.ready && Some(&pod.image) == image.as_ref());
            if whole {
                return;
            }
            last = format!(
                "spec.replicas {:?}, status {:?}/{:?}/{:?}, pods {alive:#?}",
                spec.replicas, status.replicas, status.updated_replicas, status.available_replicas
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let events = self
            .kubectl(&["get", "events", "--sort-by=.lastTimestamp"])
            .await;
        panic!(
            "{}: not {replicas} whole replicas: {last}\n{}",
            self.namespace, events.stdout
        );
    }

    /// One of the pods, by a number that may be any.
    pub fn pick(&self, number: usize) -> Seen {
        let alive = self.witness.alive();
        alive[number % alive.len()].clone()
    }

    /// A good node on which `pod` is not.
    pub fn elsewhere(pod: &Seen, number: usize) -> String {
        (number..)
            .map(|number| format!("{GOOD}{}", number % 8))
            .find(|name| Some(name) != pod.node.as_ref())
            .expect("eight nodes")
    }

    pub fn pod(&self, pod: &Seen) -> Value {
        json!({"namespace": self.namespace, "name": pod.name, "uid": pod.uid})
    }

    /// Submits a Delete.
    pub async fn delete(&self, pod: &Seen, options: Value) -> String {
        let argument = json!({"pod": self.pod(pod), "options": options});
        self.ground.caller.submit("action.Delete", argument).await
    }

    /// Submits a Move.
    pub async fn shift(&self, pod: &Seen, node: &str, options: Value) -> String {
        let argument = json!({"pod": self.pod(pod), "node": {"name": node}, "options": options});
        self.ground.caller.submit("action.Move", argument).await
    }

    /// Submits what may be refused because the pod leaves already; `None` then.
    pub async fn try_submit(&self, method: &str, argument: Value) -> Option<String> {
        let answer = self.ground.caller.call(method, argument).await;
        let answer = answer.expect("an answer");
        if let Some(error) = answer["error"].as_str() {
            let leaving = error.contains("terminating already") || error.contains("not found");
            assert!(leaving, "{error}");
            return None;
        }
        Some(text_of(&answer["result"], "actionId").to_owned())
    }

    /// The outcome of an action.
    pub async fn outcome(&self, id: &str) -> Outcome {
        let action = self.ground.caller.ended(id).await;
        let text = |name: &str| action[name].as_str().unwrap_or_default().to_owned();
        let outcome = Outcome {
            state: text("state"),
            reason: text("reason"),
            message: text("message"),
            action,
        };
        println!(
            "{}: {} {} {} {}",
            self.namespace,
            text_of(&outcome.action, "method"),
            outcome.state,
            outcome.reason,
            outcome.message
        );
        outcome
    }

    /// The uids that were there in `before` and are no more.
    pub fn vanished(&self, before: &BTreeSet<String>) -> BTreeSet<String> {
        let now = self.witness.uids();
        before.difference(&now).cloned().collect()
    }
}

fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// How an action ended.
#[derive(Debug)]
pub struct Outcome {
    pub state: String,
    pub reason: String,
    pub message: String,
    pub action: Value,
}

impl Outcome {
    pub fn succeeded(&self) -> bool {
        self.state == "Succeeded"
    }

    /// Demands one of these states.
    pub fn is(&self, states: &[&str]) {
        assert!(states.contains(&self.state.as_str()), "{:#}", self.action);
        assert!(
            self.succeeded() || !(self.reason.is_empty() || self.message.is_empty()),
            "an outcome without a reason: {:#}",
            self.action
        );
    }

    /// By how many replicas the action says that it changed the workload.
    pub fn change(&self) -> i32 {
        match (text_of(&self.action, "method"), self.succeeded()) {
            (method, true) if method.ends_with("Delete") => -1,
            // What could not be put back, the outcome says.
            (_, false) if self.message.contains("one replica more than before") => 1,
            // The adversary's -1 took what the action had added.
            (_, false) if self.message.contains("has taken the new replica away") => 1,
            (_, false) if self.message.contains("was scaled down by one") => -1,
            _ => 0,
        }
    }
}
