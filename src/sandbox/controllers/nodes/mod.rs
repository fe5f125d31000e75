//! The node lifecycle and taint eviction controllers: a node that is not heard of becomes Unknown,
//! is tainted, its pods are no longer Ready and go when they do not tolerate that any longer.

pub mod health;
mod marks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::kube::Api;
use ::kube::api::{DeleteParams, Patch, PatchParams};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::health::{Stay, condition, silenced, stay, taints};
use super::events::Recorder;
use super::informer::{Change, Key};
use super::objects::{
    has_code, is_ready, is_terminating, name, namespace, now, pod_condition, seconds, uid,
};
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, MANAGER, Options, post};
use crate::clock;

/// When a node was last heard of: the sign of life that was seen, and when, by our own clock.
#[derive(Debug)]
struct Heard {
    sign: (Option<jiff::Timestamp>, Option<jiff::Timestamp>),
    at: Instant,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    options: Options,
    queue: Arc<Queue<Key>>,
    heard: Mutex<BTreeMap<String, Heard>>,
    /// The uids of the nodes that were announced.
    known: Mutex<BTreeSet<String>>,
    /// Since when a pod is on a node whose taints it tolerates only for a while.
    tolerating: Mutex<BTreeMap<String, Instant>>,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>, recorder: Recorder, options: Options) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            recorder,
            options,
            queue: Queue::new(),
            heard: Mutex::default(),
            known: Mutex::default(),
            tolerating: Mutex::default(),
        });
        let hears = Arc::clone(&controller);
        shared.nodes.on_change(move |change| {
            hears.queue.add(Key::of(change.object().as_ref()));
        });
        let hears = Arc::clone(&controller);
        shared.pods.on_change(move |change| {
            let pod = change.object();
            if matches!(change, Change::Deleted(_)) {
                hears.stop_tolerating(uid(&pod.metadata));
                return;
            }
            let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) else {
                return;
            };
            let key = Key::new("", node);
            let tainted = hears
                .shared
                .nodes
                .get(&key)
                .is_some_and(|node| executes(&node));
            if tainted {
                hears.queue.add(key);
            }
        });
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        let working = work("node-lifecycle", queue, 8, shutdown.clone(), |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        });
        let monitoring = async {
            let mut ticks = clock::interval(self.options.node_monitor_period);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = shutdown.cancelled() => return,
                }
                for node in self.shared.nodes.all() {
                    self.queue.add(Key::of(node.as_ref()));
                }
            }
        };
        tokio::join!(working, monitoring);
    }

    fn stop_tolerating(&self, pod: &str) {
        self.tolerating
            .lock()
            .expect("no code panics while it holds this lock")
            .remove(pod);
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let Some(node) = self.shared.nodes.get(key) else {
            self.heard
                .lock()
                .expect("no code panics while it holds this lock")
                .remove(&key.name);
            return Ok(());
        };
        self.announce(&node);
        let silence = self.silence(&node);
        let at = seconds(clock::now());
        let api: Api<Node> = Api::all(self.shared.client.clone());
        let count = self.shared.nodes.all().len();
        if let Some(patch) = marks::missing(&node, count) {
            done(api.patch(&key.name, &params(), &Patch::Merge(&patch)).await)?;
        }
        if silence > self.options.node_grace_period
            && let Some(conditions) = silenced(&node, at)
        {
            let mut changed = (*node).clone();
            changed.status.get_or_insert_default().conditions = Some(conditions);
            self.recorder.normal(
                node.as_ref(),
                "NodeNotReady",
                format!("Node {} status is now: NodeNotReady", key.name),
            );
            // The change comes back by the watch and is gone on with then.
            return done(api.replace_status(&key.name, &post(), &changed).await);
        }
        if let Some(taints) = taints(&node, at) {
            let patch = json!({
                "metadata": {"resourceVersion": node.metadata.resource_version},
                "spec": {"taints": taints},
            });
            done(api.patch(&key.name, &params(), &Patch::Merge(&patch)).await)?;
        }
        let pods = self.shared.pods.indexed(&format!("node/{}", key.name));
        if condition(&node, "Ready") != "True" {
            for pod in pods.iter().filter(|pod| is_ready(pod)) {
                self.mark_not_ready(pod).await?;
            }
        }
        self.evict(key, &node, &pods).await
    }

    /// Says once that a node has come.
    fn announce(&self, node: &Node) {
        let is_new = self
            .known
            .lock()
            .expect("no code panics while it holds this lock")
            .insert(uid(&node.metadata).to_owned());
        if is_new {
            let name = name(&node.metadata);
            let message = format!("Node {name} event: Registered Node {name} in Controller");
            self.recorder.normal(node, "RegisteredNode", message);
        }
    }

    /// For how long the node has given no new sign of life: a renewed lease or a fresh heartbeat.
    /// Only changes count, by our own clock: the nodes' clocks may be anything.
    fn silence(&self, node: &Node) -> Duration {
        let node_name = name(&node.metadata);
        let lease = self
            .shared
            .leases
            .get(&Key::new("kube-node-lease", node_name));
        let renewed = lease
            .and_then(|lease| lease.spec.clone())
            .and_then(|spec| spec.renew_time)
            .map(|time| time.0);
        let beat = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_deref())
            .and_then(|conditions| {
                conditions
                    .iter()
                    .find(|condition| condition.type_ == "Ready")
            })
            .and_then(|condition| condition.last_heartbeat_time.as_ref())
            .map(|time| time.0);
        let sign = (renewed, beat);
        let at = clock::instant();
        let mut heard = self
            .heard
            .lock()
            .expect("no code panics while it holds this lock");
        match heard.get_mut(node_name) {
            Some(heard) if heard.sign == sign => at.saturating_duration_since(heard.at),
            Some(heard) => {
                *heard = Heard { sign, at };
                Duration::ZERO
            }
            None => {
                heard.insert(node_name.to_owned(), Heard { sign, at });
                Duration::ZERO
            }
        }
    }

    /// `MarkPodsNotReady`.
    async fn mark_not_ready(&self, pod: &Pod) -> Result<(), Error> {
        let reason = pod_condition(pod, "Ready").and_then(|condition| condition.reason.clone());
        let patch = json!({
            "metadata": {"uid": uid(&pod.metadata)},
            "status": {"conditions": [{"type": "Ready", "status": "False", "reason": reason,
                                       "lastTransitionTime": now()}]},
        });
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), namespace(&pod.metadata));
        let patched = api
            .patch_status(name(&pod.metadata), &params(), &Patch::Strategic(&patch))
            .await;
        if patched.is_ok() {
            self.recorder
                .warning(pod, "NodeNotReady", "Node is not ready");
        }
        gone(patched)
    }

    /// Deletes the pods that do not, or no longer, tolerate the node's NoExecute taints.
    async fn evict(&self, key: &Key, node: &Node, pods: &[Arc<Pod>]) -> Result<(), Error> {
        let spec = node.spec.clone().unwrap_or_default();
        let taints = spec.taints.unwrap_or_default();
        let at = clock::instant();
        for pod in pods.iter().filter(|pod| !is_terminating(&pod.metadata)) {
            match stay(pod, &taints) {
                Stay::ForEver => self.stop_tolerating(uid(&pod.metadata)),
                Stay::No => self.delete(pod).await?,
                Stay::For(time) => {
                    let since = {
                        let mut tolerating = self
                            .tolerating
                            .lock()
                            .expect("no code panics with this lock");
                        *tolerating
                            .entry(uid(&pod.metadata).to_owned())
                            .or_insert(at)
                    };
                    let left = time.saturating_sub(at.saturating_duration_since(since));
                    if left.is_zero() {
                        self.delete(pod).await?;
                    } else {
                        self.queue.add_after(key.clone(), left);
                    }
                }
            }
        }
        Ok(())
    }

    async fn delete(&self, pod: &Pod) -> Result<(), Error> {
        let pod_name = name(&pod.metadata);
        self.recorder.normal(
            pod,
            "TaintManagerEviction",
            format!(
                "Marking for deletion Pod {}/{pod_name}",
                namespace(&pod.metadata)
            ),
        );
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), namespace(&pod.metadata));
        let patch = json!({
            "metadata": {"uid": uid(&pod.metadata)},
            "status": {"conditions": [{
                "type": "DisruptionTarget", "status": "True",
                "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint",
                "lastTransitionTime": now(),
            }]},
        });
        gone(
            api.patch_status(pod_name, &params(), &Patch::Strategic(&patch))
                .await,
        )?;
        match api.delete(pod_name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(error) if has_code(&error, 404) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn executes(node: &Node) -> bool {
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    taints.iter().any(|taint| taint.effect == "NoExecute")
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.into()),
        ..PatchParams::default()
    }
}

/// A node that is gone needs nothing any more.
fn done(answer: ::kube::Result<Node>) -> Result<(), Error> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if has_code(&error, 404) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A pod that is gone, or another one of its name, needs nothing any more.
fn gone(answer: ::kube::Result<Pod>) -> Result<(), Error> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if has_code(&error, 404) || has_code(&error, 409) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
