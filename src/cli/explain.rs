//! `wam explain`: why a pod goes where it goes, or nowhere.

mod lines;
mod live;
mod show;
mod snapshot;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::cluster::{Cache, PodInfo};
use crate::model::NamespacedName;
use crate::scheduler::config::{Configuration, load};
use crate::scheduler::explain::{Answer, explain, framework_for};
use crate::scheduler::whatif::without_pods;

/// Says what the scheduler would decide about a pod, and why, node by node
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wam explain web-1 -n shop                       a pod of the cluster of the kubeconfig\n  \
    wam explain -f pod.yaml                         a pod that is not there yet\n  \
    kubectl get nodes,pods,ns,svc,rs,sts,pvc,pv,sc,csinodes,pdb -A -o json | wam explain shop/web-1 --snapshot -\n  \
    wam explain --jsonl < cases.jsonl > answers.jsonl")]
pub struct ExplainCommand {
    /// The pod: NAME, or NAMESPACE/NAME
    #[arg(required_unless_present_any = ["file", "jsonl"])]
    pod: Option<String>,
    /// The pod's namespace, if its name does not say it
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// A pod that is not there yet: its manifest, or that of a workload
    #[arg(short, long, value_name = "FILE", conflicts_with = "pod")]
    file: Option<PathBuf>,
    /// The cluster as `kubectl get ... -o yaml` (or json) printed it, in place of a live one; `-` is stdin.
    /// May be given several times
    #[arg(long, value_name = "FILE")]
    snapshot: Vec<PathBuf>,
    /// Decide under the profiles of this KubeSchedulerConfiguration, in place of the default one
    #[arg(long, value_name = "FILE")]
    scheduler_config: Option<PathBuf>,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// The cluster's kubeconfig. Default: as kubectl finds it
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig. Default: its current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Read cases from stdin, one JSON object a line, and write one answer a line
    #[arg(long, conflicts_with_all = ["pod", "file", "snapshot", "scheduler_config"])]
    jsonl: bool,
}

/// `-o`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    #[default]
    Table,
    /// Everything
    Json,
}

/// Runs the command. It succeeds if the pod could be placed (or all lines were read).
///
/// # Errors
/// When something cannot be read or makes no sense.
pub async fn run(command: ExplainCommand) -> anyhow::Result<ExitCode> {
    if command.jsonl {
        lines::answer_all(std::io::stdin().lock(), std::io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    let cache = if command.snapshot.is_empty() {
        live::cluster(command.kubeconfig.clone(), command.context.clone()).await?
    } else {
        let cache = Cache::new();
        for path in &command.snapshot {
            snapshot::take_in(&cache, path)?;
        }
        cache
    };
    let pod = pod(&command, &cache)?;
    let answer = decide(&command, &cache, &pod)?;
    let mut out = std::io::stdout().lock();
    match command.output {
        Format::Json => serde_json::to_writer_pretty(&mut out, &answer)?,
        Format::Table => show::table(&answer, &mut out)?,
    }
    Ok(if answer.result == "Scheduled" {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn pod(command: &ExplainCommand, cache: &Cache) -> anyhow::Result<PodInfo> {
    if let Some(path) = &command.file {
        return snapshot::pod(path, &command.namespace);
    }
    let given = command.pod.as_deref().unwrap_or_default();
    let (namespace, name) = given.split_once('/').unwrap_or((&command.namespace, given));
    let key = NamespacedName::new(namespace, name);
    let Some(pod) = cache.pod(&key) else {
        bail!("pod {key} is not there");
    };
    let (info, _) = cache.pod_info(&pod.uid).context("the pod is gone")?;
    Ok((*info).clone())
}

fn decide(command: &ExplainCommand, cache: &Cache, pod: &PodInfo) -> anyhow::Result<Answer> {
    let configuration = match &command.scheduler_config {
        Some(path) => load(path)?,
        // Whoever schedules it: as kube-scheduler's default profile would.
        None => Configuration::for_scheduler(&pod.pod.scheduler_name),
    };
    let framework = framework_for(&configuration, &pod.pod.scheduler_name)?;
    // A pod that runs is asked about as if it came anew.
    let mut anew = (*pod.pod).clone();
    anew.node_name = None;
    let anew = PodInfo {
        pod: Arc::new(anew),
        ..pod.clone()
    };
    let snapshot = without_pods(&cache.snapshot(), &[pod.uid().to_owned()]);
    Ok(explain(&framework, &snapshot, &anew))
}
