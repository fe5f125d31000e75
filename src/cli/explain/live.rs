//! The cluster of a kubeconfig, listed once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::cluster::Cache;
use crate::kube::{ClientOptions, Clients, Metrics, Source, Watches};

/// How long the lists may take.
const LISTS: Duration = Duration::from_secs(60);

/// Lists everything that decisions depend on.
pub(super) async fn cluster(
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
) -> anyhow::Result<Arc<Cache>> {
    let source = match kubeconfig {
        Some(path) => Source::Kubeconfig { path, context },
        None => Source::Infer,
    };
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let clients = Clients::connect(&source, &ClientOptions::default(), &metrics).await?;
    let cache = Cache::new();
    let (sender, mut events) = mpsc::channel(1024);
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let watches = Watches::spawn(&clients.watch, &sender, &metrics, &stop, 0);
    drop(sender);
    let listed = async {
        while !cache.synced() {
            match events.recv().await {
                Some(event) => cache.apply(event),
                None => return,
            }
        }
    };
    let in_time = clock::timeout(LISTS, listed).await.is_ok();
    if !in_time || !cache.synced() {
        let problems = watches.health().into_iter().filter_map(|h| h.problem);
        let problems: Vec<String> = problems.collect();
        bail!("the cluster could not be listed: {}", problems.join("; "));
    }
    Ok(cache)
}
