//! `wam sandbox`: a cluster in the process, with everything of ours running on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use prometheus_client::registry::Registry;

use super::config::StoreChoice;
use super::failures::FailureFlags;
use super::{apply, duration, serve, signals};
use crate::app::{self, App};
use crate::kube::{Clients, LeaseOptions, Metrics};
use crate::model::names::DEFAULT_SCHEDULER_NAME;
use crate::sandbox::cluster::NODE_PREFIX;
use crate::sandbox::faults::{self, Rule};
use crate::sandbox::{Cluster, ClusterOptions};
use crate::scheduler::{self, Configuration};

/// The Deployments of the walk.
const WORKLOADS: [&str; 2] = [
    include_str!("../../deploy/test/test-a.yaml"),
    include_str!("../../deploy/test/test-b.yaml"),
];

const EXAMPLES: &str = "Examples:\n  \
    wam sandbox\n  \
    wam sandbox --nodes 100 --start-latency 0s --apply my-workloads.yaml\n  \
    wam sandbox --never-ready 0.2 --seed 7          (a fifth of the pods never becomes Ready)\n  \
    wam sandbox --redis redis://127.0.0.1:6379      (actions survive a restart)\n  \
    wam sandbox --fault 'patch deployments 429 retry-after=1s p=0.1' --fault 'watch * cut after=20'";

fn long_help() -> String {
    format!(
        "{EXAMPLES}\n\nBad weather:\n  \
         wam sandbox --fault 'create pods/binding 409 p=0.2'      (a fifth of the binds is refused)\n  \
         wam sandbox --fault 'write * lost-reply count=5'         (five writes are done and never answered)\n  \
         wam sandbox --fault '* * latency=50ms..500ms'            (a slow network)\n  \
         wam sandbox --fault 'watch pods 410 after=10s'           (watches are told to list again)\n  \
         wam sandbox --faults storm.txt                           (one fault a line)\n  \
         curl http://127.0.0.1:16443/sandbox/faults               (what holds, and how often it struck)\n  \
         curl -X PUT http://127.0.0.1:16443/sandbox/faults -d '* * refused for=5s'\n  \
         curl -X DELETE http://127.0.0.1:16443/sandbox/faults     (good weather)\n\n{}",
        faults::GRAMMAR
    )
}

/// Runs a whole cluster in this process: API server, controllers, kubelets, and all of wam.
///
/// It needs nothing else installed and no root. It is for trying things out and for tests: everything is
/// gone when it ends.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = long_help())]
pub struct SandboxCommand {
    /// How many nodes, besides the control plane's
    #[arg(long, value_name = "N", default_value = "8")]
    nodes: usize,
    /// Where to serve JSON-RPC and events
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: String,
    /// Where the API server listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:16443")]
    apiserver_listen: String,
    /// Where to write the kubeconfig
    #[arg(long, value_name = "PATH", default_value = "wam-sandbox.kubeconfig")]
    kubeconfig: PathBuf,
    /// Apply these manifests at the start; may be given several times
    #[arg(long, value_name = "FILE")]
    apply: Vec<PathBuf>,
    /// From a pod's admission by its kubelet to its being Ready
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = duration::parse)]
    start_latency: Duration,
    /// From a pod's deletion to its end (never longer than its grace period)
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = duration::parse)]
    stop_latency: Duration,
    /// Keep actions in this Redis instead of in memory
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Decides all that is random: names, ties, which pods misbehave
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// A KubeSchedulerConfiguration file (kubescheduler.config.k8s.io/v1) for wam's scheduler
    #[arg(long, value_name = "FILE")]
    scheduler_config: Option<PathBuf>,
    /// Only the cluster: no wam on it (run `wam serve` beside it)
    #[arg(long)]
    cluster_only: bool,
    #[command(flatten)]
    failures: FailureFlags,
    /// Bad weather at the API server's edge, such as 'patch deployments 429 p=0.1'; may be given several times
    /// (--help says more)
    #[arg(long, value_name = "RULE")]
    fault: Vec<Rule>,
    /// The same from a file, a rule a line (or YAML: a list of them under "faults")
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// The cluster's own controllers and kubelets meet the faults too
    #[arg(long)]
    faults_everywhere: bool,
}

impl SandboxCommand {
    /// The rules of the file, then those of the command line.
    fn rules(&self) -> anyhow::Result<Vec<Rule>> {
        let mut rules = match &self.faults {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                faults::rules(&text).with_context(|| format!("{}", path.display()))?
            }
            None => Vec::new(),
        };
        rules.extend(self.fault.iter().cloned());
        Ok(rules)
    }
}

/// Runs the command until it is told to stop.
///
/// # Errors
/// When it cannot start; the text says what to do.
pub async fn run(command: SandboxCommand) -> anyhow::Result<()> {
    let shutdown = signals::shutdown();
    let scheduling = match &command.scheduler_config {
        Some(path) => scheduler::config::load(path)?,
        None => Configuration::for_scheduler(DEFAULT_SCHEDULER_NAME),
    };
    let cluster = Box::pin(Cluster::start(ClusterOptions {
        listen: command.apiserver_listen.clone(),
        nodes: command.nodes,
        start_latency: command.start_latency,
        stop_latency: command.stop_latency,
        failures: command.failures.failures(),
        faults: faults::Options {
            rules: command.rules()?,
            everywhere: command.faults_everywhere,
        },
        seed: command.seed,
    }))
    .await?;
    let served = tokio::select! {
        served = Box::pin(on(&cluster, &command, scheduling)) => served,
        () = shutdown.cancelled() => Ok(None),
    };
    let app = match served {
        Ok(app) => app,
        Err(error) => {
            cluster.stop().await;
            forget(&command.kubeconfig);
            return Err(error);
        }
    };
    let ended = match &app {
        Some(app) => tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            () = app.failed() => Err(anyhow::anyhow!("a part of the program failed; the log says which")),
        },
        None => {
            shutdown.cancelled().await;
            Ok(())
        }
    };
    println!("\nstopping");
    if let Some(app) = app {
        app.stop().await;
    }
    cluster.stop().await;
    forget(&command.kubeconfig);
    ended
}

/// The cluster that the file names is gone.
fn forget(kubeconfig: &Path) {
    if let Err(error) = std::fs::remove_file(kubeconfig) {
        tracing::debug!(%error, "the kubeconfig was not removed");
    }
}

/// Puts onto the cluster what belongs there, and starts ours.
async fn on(
    cluster: &Cluster,
    command: &SandboxCommand,
    scheduling: Configuration,
) -> anyhow::Result<Option<App>> {
    std::fs::write(&command.kubeconfig, cluster.kubeconfig())
        .with_context(|| format!("cannot write {}", command.kubeconfig.display()))?;
    // Faults are for who works on the cluster, not for what is put there first.
    let direct = cluster.server().client();
    for manifest in WORKLOADS {
        apply::apply(&direct, manifest).await?;
    }
    for path in &command.apply {
        for name in apply::apply_file(&direct, path).await? {
            println!("applied {name}");
        }
    }
    if command.cluster_only {
        introduce(cluster, command, None);
        return Ok(None);
    }
    let choice = match &command.redis {
        Some(url) => StoreChoice::Redis(url.clone()),
        None => StoreChoice::Memory,
    };
    let store = serve::open(&choice).await?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let options = serve::client_options(&scheduling, command.seed);
    cluster.faults().register(&mut registry);
    let client = cluster.client_as(concat!("wam/", env!("CARGO_PKG_VERSION")));
    let clients = Clients::from_client(&client, &options, &metrics);
    let identity = "sandbox".to_owned();
    let settings = app::Settings {
        health_listen: None,
        namespaces: Vec::new(),
        listen: Some(command.listen.clone()),
        executor: true,
        scheduler: true,
        lease: Some(LeaseOptions::new(
            "kube-system",
            DEFAULT_SCHEDULER_NAME,
            identity.clone(),
        )),
        scheduling,
        identity,
        executor_lease: Duration::from_secs(10),
        action_retention: crate::actions::DEFAULT_RETENTION,
        seed: command.seed,
    };
    let app = Box::pin(App::start(settings, clients, metrics, registry, store)).await?;
    app.synced().await;
    introduce(
        cluster,
        command,
        app.address().map(|address| address.to_string()).as_deref(),
    );
    Ok(Some(app))
}

fn introduce(cluster: &Cluster, command: &SandboxCommand, rpc: Option<&str>) {
    let kubeconfig =
        std::fs::canonicalize(&command.kubeconfig).unwrap_or_else(|_| command.kubeconfig.clone());
    println!(
        "A cluster of {} nodes, API server on http://{}",
        command.nodes + 1,
        cluster.address()
    );
    println!("  export KUBECONFIG={}", kubeconfig.display());
    println!("  kubectl get nodes");
    let rules = cluster.faults().report().len();
    if rules > 0 {
        let path = faults::PATH;
        println!(
            "Bad weather (rules: {rules}): curl http://{}{path}",
            cluster.address()
        );
    }
    let Some(rpc) = rpc else {
        println!("Ctrl-C ends it.");
        return;
    };
    let last = command.nodes.saturating_sub(1).min(7);
    println!("Actions: JSON-RPC on http://{rpc}/rpc, events on http://{rpc}/events. Try:");
    println!("  curl -N http://{rpc}/events &");
    println!(
        "  curl -H 'Content-Type: application/json' http://{rpc}/rpc -d '{{\"method\": \"action.Create\", \
         \"params\": [{{\"workload\": {{\"namespace\": \"default\", \"apiVersion\": \"apps/v1\", \
         \"kind\": \"Deployment\", \"name\": \"test-a\"}}, \"node\": {{\"name\": \"{NODE_PREFIX}{last}\"}}}}], \
         \"id\": \"1\"}}'"
    );
    println!("  kubectl get pods -o wide");
    println!("  wam move POD --node {NODE_PREFIX}0 --wait --server http://{rpc}");
    println!("Ctrl-C ends it.");
}
