//! Kubelets without containers: nodes that are registered and heartbeat, pods that are let in (or
//! refused), become Ready, crash if they are told to, stop and go.
//!
//! They know nothing but an API server's client, so that the same code serves the sandbox and a real
//! control plane (`wam kubelets`). One watch of pods and one task serve all nodes; the task owns the
//! [`machine::Machine`], which decides, and carries out what it wants written with bounded
//! concurrency. Only nodes that carry [`NODE_ANNOTATION`] with our instance's name, and the pods on
//! them, are ever written.

pub mod admission;
pub mod affinity;
mod events;
pub mod machine;
mod nodes;
pub mod options;
pub mod quantity;
pub mod status;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ::kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use ::kube::{Api, Client};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::events::Teller;
use self::machine::told::Told;
use self::machine::{Machine, Now, Write, Written};
pub use self::nodes::VERSION;
pub use self::options::{
    BEHAVIOUR, Behaviour, Failures, KubeletOptions, NODE_ANNOTATION, NodeSpec,
};
use super::controllers::informer::{Change, Informer, Whole};
use super::controllers::objects::{annotation, has_code, uid};
use crate::clock;

/// A request about a pod that takes longer is given up and made again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the kubelets could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A node of this name exists and was not registered by this instance.
    #[error(
        "node \"{0}\" exists already and is not one of ours (it lacks our annotation \
         {NODE_ANNOTATION}); choose another name prefix"
    )]
    Foreign(String),
    /// The API server refuses.
    #[error("the API server refuses to register nodes: {0}")]
    Api(#[source] ::kube::Error),
}

/// What the watches report to the one task.
enum Seen {
    Node(Arc<Node>),
    Pod(Arc<Pod>),
    Lost(String),
}

/// Registers the nodes and plays their kubelets until `shutdown`.
///
/// # Errors
/// Only while registering: see [`Error`]. From then on everything is retried.
pub async fn run(
    client: Client,
    options: KubeletOptions,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let registered = tokio::select! {
        registered = nodes::register(&client, &options) => registered?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let mut machine = Machine::new(options.clone());
    let (teller, posting) = Teller::new(client.clone(), options.events, shutdown.clone());
    for node in &registered {
        machine.node(node, now());
        let node = node.metadata.name.as_deref().unwrap_or_default();
        Told::started(node)
            .into_iter()
            .for_each(|told| teller.tell(told));
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let nodes = watched_nodes(&options, sender.clone());
    let pods = watched_pods(&options, sender);
    tokio::join!(
        nodes.run(Whole::new(Api::all(client.clone())), shutdown.clone()),
        async {
            // Room is judged by the nodes as they are.
            nodes.synced().await;
            pods.run(Whole::new(Api::all(client.clone())), shutdown.clone())
                .await;
        },
        async {
            nodes.synced().await;
            let nodes = Arc::clone(&nodes);
            nodes::heartbeats(client.clone(), &options, nodes, shutdown.clone()).await;
        },
        drive(
            &client,
            (machine, teller),
            options.concurrency.max(1),
            receiver,
            &shutdown
        ),
        posting,
    );
    if options.delete_nodes {
        nodes::remove(&client, &options).await;
    }
    Ok(())
}

fn now() -> Now {
    Now {
        instant: clock::instant(),
        wall: clock::now(),
    }
}

fn watched_nodes(
    options: &KubeletOptions,
    sender: mpsc::UnboundedSender<Seen>,
) -> Arc<Informer<Node>> {
    let nodes: Arc<Informer<Node>> = Informer::new(|_| Vec::new());
    let names: BTreeSet<String> = options.nodes.iter().map(|spec| spec.name.clone()).collect();
    let instance = options.instance.clone();
    nodes.on_change(move |change| {
        let node = change.object();
        let ours = annotation(&node.metadata, NODE_ANNOTATION) == Some(instance.as_str())
            && node
                .metadata
                .name
                .as_ref()
                .is_some_and(|name| names.contains(name));
        if ours && !matches!(change, Change::Deleted(_)) {
            // The receiver outlives the watches.
            let _ = sender.send(Seen::Node(Arc::clone(node)));
        }
    });
    nodes
}

fn watched_pods(
    options: &KubeletOptions,
    sender: mpsc::UnboundedSender<Seen>,
) -> Arc<Informer<Pod>> {
    let pods: Arc<Informer<Pod>> = Informer::new(|_| Vec::new());
    let names: BTreeSet<String> = options.nodes.iter().map(|spec| spec.name.clone()).collect();
    pods.on_change(move |change| {
        let pod = change.object();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        if !node.is_some_and(|node| names.contains(node)) {
            return;
        }
        let seen = match change {
            Change::Deleted(pod) => Seen::Lost(uid(&pod.metadata).to_owned()),
            Change::Added(pod) | Change::Updated(_, pod) => Seen::Pod(Arc::clone(pod)),
        };
        let _ = sender.send(seen);
    });
    pods
}

/// The one task: feeds the machine and writes what it wants written.
async fn drive(
    client: &Client,
    (mut machine, teller): (Machine, Teller),
    concurrency: usize,
    mut receiver: mpsc::UnboundedReceiver<Seen>,
    shutdown: &CancellationToken,
) {
    let mut writes = FuturesUnordered::new();
    loop {
        machine.tick(now());
        for told in machine.take_told() {
            if teller.tells() {
                teller.tell(told);
            }
        }
        while writes.len() < concurrency {
            let Some(write) = machine.next_write(now()) else {
                break;
            };
            writes.push(carry_out(client.clone(), write));
        }
        let due = machine.next_due();
        let timer = async {
            match due {
                Some(due) => clock::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some((write, how)) = writes.next() => machine.written(&write, how, now()),
            Some(seen) = receiver.recv() => take_in(&mut machine, seen, &mut receiver),
            () = timer => {}
        }
    }
}

/// Takes in everything that was seen up to now: pods that come together are let in by their age.
fn take_in(machine: &mut Machine, first: Seen, receiver: &mut mpsc::UnboundedReceiver<Seen>) {
    let mut pods = Vec::new();
    let mut next = Some(first);
    while let Some(seen) = next {
        match seen {
            Seen::Pod(pod) => pods.push(pod),
            Seen::Node(node) => {
                machine.saw(std::mem::take(&mut pods), now());
                machine.node(&node, now());
            }
            Seen::Lost(pod_uid) => {
                machine.saw(std::mem::take(&mut pods), now());
                machine.lost(&pod_uid);
            }
        }
        next = receiver.try_recv().ok();
    }
    machine.saw(pods, now());
}

async fn carry_out(client: Client, write: Write) -> (Write, Written) {
    let how = match clock::timeout(PATIENCE, attempt(&client, &write)).await {
        Ok(Ok(how)) => how,
        Ok(Err(error)) => {
            tracing::debug!(pod = %write.key, %error, "will be written again");
            Written::Failed
        }
        Err(elapsed) => {
            tracing::debug!(pod = %write.key, %elapsed, "will be written again");
            Written::Failed
        }
    };
    (write, how)
}

async fn attempt(client: &Client, write: &Write) -> ::kube::Result<Written> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &write.key.namespace);
    if let Some(status) = &write.status {
        // The uid makes the server refuse (409) if the name has another life by now.
        let patch = json!({"metadata": {"uid": write.uid}, "status": status});
        let params = PatchParams {
            field_manager: Some("kubelet".into()),
            ..PatchParams::default()
        };
        let patch = Patch::Strategic(&patch);
        if let Err(error) = api.patch_status(&write.key.name, &params, &patch).await {
            return settle(&api, write, error).await;
        }
    }
    if write.remove {
        let preconditions = Preconditions {
            uid: Some(write.uid.clone()),
            ..Preconditions::default()
        };
        let params = DeleteParams::default()
            .grace_period(0)
            .preconditions(preconditions);
        if let Err(error) = api.delete(&write.key.name, &params).await {
            return settle(&api, write, error).await;
        }
    }
    Ok(Written::Done)
}

/// Finds out whether a refused write was about a pod that is no more.
async fn settle(api: &Api<Pod>, write: &Write, error: ::kube::Error) -> ::kube::Result<Written> {
    if has_code(&error, 404) {
        return Ok(Written::Gone);
    }
    if !has_code(&error, 409) && !has_code(&error, 422) {
        return Err(error);
    }
    let found = api.get_opt(&write.key.name).await?;
    let lives = found.is_some_and(|found| uid(&found.metadata) == write.uid);
    if lives { Err(error) } else { Ok(Written::Gone) }
}
