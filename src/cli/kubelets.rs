//! `wam kubelets`: fake nodes on any API server, a real one included.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::failures::FailureFlags;
use super::{duration, signals};
use crate::kube::{Source, client};
use crate::sandbox::kubelet::{self, KubeletOptions, NodeSpec};

/// Registers fake nodes and plays their kubelets, until interrupted.
///
/// Only nodes registered by this command (they carry its annotation) are ever touched; at the end they are
/// deleted unless --keep-nodes is given.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wam kubelets --kubeconfig ~/.kube/config --nodes 3\n  \
    wam kubelets --nodes 500 --name-prefix load- --start-latency 0s --stop-latency 0s")]
pub struct KubeletsCommand {
    /// The cluster's kubeconfig. Default: as kubectl finds it
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// How many nodes
    #[arg(long, value_name = "N", default_value = "8")]
    nodes: usize,
    /// The nodes' names begin with this, then comes a number from 0
    #[arg(long, value_name = "PREFIX", default_value = "k3d-aces-agent-")]
    name_prefix: String,
    /// From a pod's admission to its being Ready
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = duration::parse)]
    start_latency: Duration,
    /// From a pod's deletion to its end (never longer than its grace period)
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = duration::parse)]
    stop_latency: Duration,
    /// Leave the nodes behind
    #[arg(long)]
    keep_nodes: bool,
    /// Post no events about pods and nodes
    #[arg(long)]
    no_events: bool,
    /// Decides which pods misbehave
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    #[command(flatten)]
    failures: FailureFlags,
}

/// Runs the command.
///
/// # Errors
/// When the cluster cannot be reached, or a node of such a name is not ours.
pub async fn run(command: KubeletsCommand) -> anyhow::Result<()> {
    let source = match command.kubeconfig {
        Some(path) => Source::Kubeconfig {
            path,
            context: None,
        },
        None => Source::Infer,
    };
    let config = client::load(&source).await?;
    let server = config.cluster_url.to_string();
    let client = ::kube::Client::try_from(config).context("cannot make a Kubernetes client")?;
    client
        .apiserver_version()
        .await
        .with_context(|| format!("the API server at {server} does not answer"))?;
    let options = KubeletOptions {
        nodes: NodeSpec::numbered(&command.name_prefix, command.nodes),
        instance: "wam-kubelets".to_owned(),
        start_latency: command.start_latency,
        stop_latency: command.stop_latency,
        failures: command.failures.failures(),
        seed: command.seed,
        delete_nodes: !command.keep_nodes,
        events: !command.no_events,
        ..KubeletOptions::default()
    };
    println!(
        "playing {} kubelets on {server}: {}0 to {}; Ctrl-C ends it",
        command.nodes,
        command.name_prefix,
        command.nodes.saturating_sub(1)
    );
    Box::pin(kubelet::run(client, options, signals::shutdown())).await?;
    Ok(())
}
