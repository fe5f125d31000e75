//! The pod garbage collector: pods whose node is no more, and terminating pods that never had one,
//! have nobody else to end them (pkg/controller/podgc/gc_controller.go).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::kube::Api;
use ::kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::informer::Key;
use super::objects::{has_code, is_finished, is_terminating, name, namespace, now, uid};
use super::shared::Shared;
use super::{Error, MANAGER};
use crate::clock;

const PERIOD: Duration = Duration::from_secs(20);
/// A node must be gone for so long before its pods are.
const QUARANTINE: Duration = Duration::from_secs(40);

/// Looks for lost pods until `shutdown`.
pub(super) async fn run(shared: Arc<Shared>, shutdown: CancellationToken) {
    let mut missing: BTreeMap<String, Instant> = BTreeMap::new();
    let mut ticks = clock::interval(PERIOD);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        if let Err(error) = round(&shared, &mut missing).await {
            tracing::debug!(%error, "some lost pods could not be deleted");
        }
    }
}

async fn round(shared: &Shared, missing: &mut BTreeMap<String, Instant>) -> Result<(), Error> {
    let pods = shared.pods.all();
    let at = clock::instant();
    let node_of = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let mut absent = BTreeMap::new();
    for node in pods
        .iter()
        .filter_map(|pod| node_of(pod))
        .filter(|node| !node.is_empty())
    {
        if shared.nodes.get(&Key::new("", &node)).is_none() {
            let since = missing.get(&node).copied().unwrap_or(at);
            absent.insert(node, since);
        }
    }
    *missing = absent;
    let nodes: Api<Node> = Api::all(shared.client.clone());
    for (node, since) in missing.iter() {
        let is_ripe = at.saturating_duration_since(*since) >= QUARANTINE;
        if is_ripe && nodes.get_opt(node).await?.is_none() {
            for pod in shared.pods.indexed(&format!("node/{node}")) {
                end(shared, &pod, true).await?;
            }
        }
    }
    for pod in &pods {
        if is_terminating(&pod.metadata) && node_of(pod).is_none_or(|node| node.is_empty()) {
            end(shared, pod, false).await?;
        }
    }
    Ok(())
}

async fn end(shared: &Shared, pod: &Pod, orphaned: bool) -> Result<(), Error> {
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), namespace(&pod.metadata));
    let pod_name = name(&pod.metadata);
    if orphaned && !is_finished(pod) {
        let patch = json!({
            "metadata": {"uid": uid(&pod.metadata)},
            "status": {"phase": "Failed", "conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                "message": "PodGC: node no longer exists", "lastTransitionTime": now(),
            }]},
        });
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..PatchParams::default()
        };
        match api
            .patch_status(pod_name, &params, &Patch::Strategic(&patch))
            .await
        {
            Ok(_) => {}
            Err(error) if has_code(&error, 404) || has_code(&error, 409) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    let preconditions = Preconditions {
        uid: pod.metadata.uid.clone(),
        ..Preconditions::default()
    };
    let params = DeleteParams::default()
        .grace_period(0)
        .preconditions(preconditions);
    match api.delete(pod_name, &params).await {
        Ok(_) => Ok(()),
        Err(error) if has_code(&error, 404) || has_code(&error, 409) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
