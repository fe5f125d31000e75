//! The kubelets' nodes: registering them, their leases and their heartbeats.
//!
//! Only nodes that carry our annotation are ever written. Leases are renewed every 10 s and the
//! status every 5 minutes, as kubelets do (pkg/kubelet/apis/config/v1beta1/defaults.go), spread over
//! the time so that a thousand nodes do not speak at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use ::kube::{Api, Client};
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Error;
use super::machine::address::node_address;
use super::options::{KubeletOptions, NODE_ANNOTATION, NodeSpec, asked};
use crate::clock;
use crate::sandbox::controllers::informer::{Informer, Key};
use crate::sandbox::controllers::objects::{annotation, has_code, name, seconds, uid};

const LEASES: &str = "kube-node-lease";
const RENEWAL: Duration = Duration::from_secs(10);
const STATUS: Duration = Duration::from_secs(300);
/// A heartbeat that takes longer is given up; the next one is not far.
const PATIENCE: Duration = Duration::from_secs(8);
/// So many requests about nodes are under way at once.
const AT_ONCE: usize = 16;

/// The kubelet's version: the one whose behaviour is played.
pub const VERSION: &str = "v1.36.3";

fn conditions(now: jiff::Timestamp, since: Option<&Node>) -> Value {
    let told = [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        (
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status",
        ),
    ];
    let known = since.and_then(|node| node.status.as_ref()?.conditions.as_deref());
    let known = known.unwrap_or_default();
    let condition = |(kind, status, reason, message): (&str, &str, &str, &str)| {
        let old = known
            .iter()
            .find(|old| old.type_ == kind && old.status == status);
        let transition = old.and_then(|old| old.last_transition_time.clone());
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": Time(now),
            "lastTransitionTime": transition.unwrap_or(Time(now)),
        })
    };
    told.into_iter().map(condition).collect()
}

fn status(spec: &NodeSpec, index: usize, now: jiff::Timestamp, known: Option<&Node>) -> Value {
    json!({
        "capacity": spec.capacity,
        "allocatable": spec.capacity,
        "conditions": conditions(now, known),
        "addresses": [
            {"type": "InternalIP", "address": node_address(index)},
            {"type": "Hostname", "address": spec.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "architecture": "amd64", "operatingSystem": "linux", "osImage": "wam sandbox",
            "kernelVersion": "6.1.0", "containerRuntimeVersion": "containerd://2.1.0",
            "kubeletVersion": VERSION, "kubeProxyVersion": "",
            "bootID": "", "machineID": spec.name, "systemUUID": spec.name,
        },
    })
}

fn object(spec: &NodeSpec, index: usize, instance: &str, now: jiff::Timestamp) -> Value {
    let mut labels: BTreeMap<&str, &str> = BTreeMap::from([
        ("kubernetes.io/hostname", spec.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", "amd64"),
    ]);
    labels.extend(
        spec.labels
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    );
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": spec.name,
            "labels": labels,
            "annotations": {NODE_ANNOTATION: instance},
        },
        "spec": {"taints": spec.taints},
        "status": status(spec, index, now, None),
    })
}

/// Registers all nodes, in the order in which they were given.
///
/// # Errors
/// [`Error::Foreign`] if a node of that name exists and is not ours; [`Error::Api`] if the API server
/// refuses for good. What may pass is retried.
pub(super) async fn register(
    client: &Client,
    options: &KubeletOptions,
) -> Result<Vec<Node>, Error> {
    ensure_namespace(client).await?;
    // Collected first: a closure that borrows inside a stream is not `Send` for every lifetime.
    let registrations: Vec<_> = options
        .nodes
        .iter()
        .enumerate()
        .map(|(index, spec)| async move {
            (
                index,
                register_one(client, spec, index, &options.instance).await,
            )
        })
        .collect();
    let mut answers: Vec<(usize, Result<Node, Error>)> = futures::stream::iter(registrations)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn ensure_namespace(client: &Client) -> Result<(), Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(LEASES.into()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    persistently(|| async {
        if api.get_opt(LEASES).await?.is_some() {
            return Ok(());
        }
        match api.create(&post(), &namespace).await {
            Err(error) if !has_code(&error, 409) => Err(error),
            _ => Ok(()),
        }
    })
    .await
    .map_err(Error::Api)
}

async fn register_one(
    client: &Client,
    spec: &NodeSpec,
    index: usize,
    instance: &str,
) -> Result<Node, Error> {
    let api: Api<Node> = Api::all(client.clone());
    let found = persistently(|| async {
        if let Some(found) = api.get_opt(&spec.name).await? {
            return Ok((found, false));
        }
        let node = object(spec, index, instance, seconds(clock::now()));
        let node: Node = serde_json::from_value(node).map_err(::kube::Error::SerdeError)?;
        Ok((api.create(&post(), &node).await?, true))
    })
    .await
    .map_err(Error::Api)?;
    let (node, created) = found;
    if annotation(&node.metadata, NODE_ANNOTATION) != Some(instance) {
        return Err(Error::Foreign(spec.name.clone()));
    }
    let speaks = node
        .status
        .as_ref()
        .is_some_and(|status| status.conditions.is_some());
    if created && speaks {
        return Ok(node);
    }
    persistently(|| post_status(&api, spec, index, &node))
        .await
        .map_err(Error::Api)
}

async fn post_status(
    api: &Api<Node>,
    spec: &NodeSpec,
    index: usize,
    known: &Node,
) -> ::kube::Result<Node> {
    let status = status(spec, index, seconds(clock::now()), Some(known));
    let patch = json!({"metadata": {"uid": uid(&known.metadata)}, "status": status});
    api.patch_status(&spec.name, &params(), &Patch::Strategic(&patch))
        .await
}

/// Tries until it works or the API server says something that will not change.
async fn persistently<T, F, Fut>(attempt: F) -> ::kube::Result<T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = ::kube::Result<T>>,
{
    let mut pause = Duration::from_millis(50);
    loop {
        match attempt().await {
            Err(::kube::Error::Api(status))
                if status.code < 500 && ![409, 429].contains(&status.code) =>
            {
                return Err(::kube::Error::Api(status));
            }
            Err(error @ (::kube::Error::SerdeError(_) | ::kube::Error::BuildRequest(_))) => {
                return Err(error);
            }
            Err(error) => {
                tracing::debug!(%error, "will be tried again");
                clock::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Ok(done) => return Ok(done),
        }
    }
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some("kubelet".into()),
        ..PostParams::default()
    }
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some("kubelet".into()),
        ..PatchParams::default()
    }
}

/// Whether a node, as last seen, is there, ours, and not silent on purpose.
fn speaks(nodes: &Informer<Node>, spec: &NodeSpec, instance: &str) -> Option<Arc<Node>> {
    let node = nodes.get(&Key::new("", &spec.name))?;
    let ours = annotation(&node.metadata, NODE_ANNOTATION) == Some(instance);
    (ours && asked(&node.metadata) != Some("silent")).then_some(node)
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Renews leases and repeats statuses until `shutdown`.
pub(super) async fn heartbeats(
    client: Client,
    options: &KubeletOptions,
    nodes: Arc<Informer<Node>>,
    shutdown: CancellationToken,
) {
    let count = u32::try_from(options.nodes.len().max(1)).unwrap_or(u32::MAX);
    let start = clock::instant();
    let mut due: BTreeSet<_> = (0..options.nodes.len())
        .map(|index| (start, index))
        .collect();
    let mut leases: BTreeMap<usize, Lease> = BTreeMap::new();
    let mut told: BTreeMap<usize, tokio::time::Instant> = BTreeMap::new();
    while let Some((next, _)) = due.first().copied() {
        tokio::select! {
            () = clock::sleep_until(next) => {}
            () = shutdown.cancelled() => return,
        }
        let now = clock::instant();
        let later = due.split_off(&(now + Duration::from_millis(1), 0));
        let ripe = std::mem::replace(&mut due, later);
        let beats = Vec::from_iter(ripe.into_iter().map(|(at, index)| {
            let spec = &options.nodes[index];
            let lease = leases.remove(&index);
            let node = speaks(&nodes, spec, &options.instance);
            let stale = told.get(&index).is_none_or(|told| now >= *told + STATUS);
            let client = &client;
            async move {
                let Some(node) = node else {
                    return (at, index, None, false);
                };
                let mut spoke = false;
                let beat = async {
                    if stale || !is_ready(&node) {
                        let api: Api<Node> = Api::all(client.clone());
                        spoke = post_status(&api, spec, index, &node).await.is_ok();
                    }
                    renew(client, spec, &node, lease).await
                };
                let lease = match clock::timeout(PATIENCE, beat).await {
                    Ok(Ok(lease)) => Some(lease),
                    Ok(Err(error)) => {
                        tracing::debug!(node = spec.name, %error, "heartbeat failed");
                        None
                    }
                    Err(_) => None,
                };
                (at, index, lease, spoke)
            }
        }));
        let beats = futures::stream::iter(beats).buffer_unordered(AT_ONCE);
        let beats = tokio::select! {
            beats = beats.collect::<Vec<_>>() => beats,
            () = shutdown.cancelled() => return,
        };
        for (at, index, lease, spoke) in beats {
            let first = at == start;
            if let Some(lease) = lease {
                leases.insert(index, lease);
            }
            if spoke {
                told.insert(index, now);
            }
            // The first renewals come together; from then on each node has its own moment.
            let spread = RENEWAL / count * u32::try_from(index).unwrap_or(0);
            let next = if first {
                start + RENEWAL / 2 + spread / 2
            } else {
                at + RENEWAL
            };
            due.insert((next.max(now + Duration::from_millis(100)), index));
        }
    }
    shutdown.cancelled().await;
}

async fn renew(
    client: &Client,
    spec: &NodeSpec,
    node: &Node,
    lease: Option<Lease>,
) -> ::kube::Result<Lease> {
    let api: Api<Lease> = Api::namespaced(client.clone(), LEASES);
    let known = match lease {
        Some(lease) => Some(lease),
        None => api.get_opt(&spec.name).await?,
    };
    let fresh = |old: Option<LeaseSpec>| LeaseSpec {
        holder_identity: Some(spec.name.clone()),
        lease_duration_seconds: Some(40),
        renew_time: Some(MicroTime(clock::now())),
        ..old.unwrap_or_default()
    };
    let Some(mut lease) = known else {
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: spec.name.clone(),
            uid: uid(&node.metadata).to_owned(),
            ..OwnerReference::default()
        };
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(spec.name.clone()),
                namespace: Some(LEASES.into()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(fresh(None)),
        };
        return api.create(&post(), &lease).await;
    };
    lease.spec = Some(fresh(lease.spec.take()));
    api.replace(&spec.name, &post(), &lease).await
}

/// Deletes our nodes and their leases, as far as that goes.
pub(super) async fn remove(client: &Client, options: &KubeletOptions) {
    let api: Api<Node> = Api::all(client.clone());
    let leases: Api<Lease> = Api::namespaced(client.clone(), LEASES);
    let removals = Vec::from_iter(options.nodes.iter().map(|spec| {
        let (api, leases) = (&api, &leases);
        async move {
            let Ok(Some(node)) = api.get_opt(&spec.name).await else {
                return;
            };
            if annotation(&node.metadata, NODE_ANNOTATION) != Some(options.instance.as_str()) {
                return;
            }
            let preconditions = Preconditions {
                uid: node.metadata.uid.clone(),
                ..Preconditions::default()
            };
            let exactly = DeleteParams::default().preconditions(preconditions);
            if let Err(error) = api.delete(name(&node.metadata), &exactly).await {
                tracing::warn!(node = spec.name, %error, "could not delete the node");
            } else if let Err(error) = leases.delete(&spec.name, &DeleteParams::default()).await {
                // The garbage collector takes what is left.
                tracing::debug!(node = spec.name, %error, "could not delete the lease");
            }
        }
    }));
    futures::stream::iter(removals)
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}
