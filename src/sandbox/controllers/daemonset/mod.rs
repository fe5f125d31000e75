//! The DaemonSet controller: one pod on every node that suits (pkg/controller/daemon).

pub mod backoff;
pub mod placement;
pub mod plan;
mod revisions;
pub mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use ::kube::Api;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio_util::sync::CancellationToken;

use self::backoff::Backoffs;
use self::plan::{ByNode, Changes, View};
use super::claim::{candidates, claimed};
use super::consistency::Written;
use super::events::Recorder;
use super::expectations::Expectations;
use super::follow::{Heard, follow};
use super::informer::{Change, Key};
use super::objects::{has_code, is_finished, is_terminating, phase, selects_everything, uid};
use super::pods::PodControl;
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, post};
use crate::clock;

/// At most so many pods are created or deleted in one round (`BurstReplicas`).
const BURST: usize = 250;

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    pods: PodControl,
    queue: Arc<Queue<Key>>,
    expectations: Expectations,
    backoffs: Backoffs,
    written: Written,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>, recorder: Recorder) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            pods: PodControl::new(shared.client.clone(), recorder.clone()),
            recorder,
            queue: Queue::new(),
            expectations: Expectations::default(),
            backoffs: Backoffs::default(),
            written: Written::default(),
        });
        let hears = Arc::clone(&controller);
        shared.daemon_sets.on_change(move |change| {
            let key = Key::of(change.object().as_ref());
            if matches!(change, Change::Deleted(_)) {
                hears.expectations.forget(&key);
            }
            hears.queue.add(key);
        });
        let hears = Arc::clone(&controller);
        follow(
            &shared.pods,
            &shared.daemon_sets,
            |set| Some(&set.spec.selector),
            move |key, heard, pod| {
                match heard {
                    Heard::Created => hears.expectations.created(&key, 1),
                    Heard::Gone => hears.expectations.deleted(&key, &Key::of(pod.as_ref())),
                    Heard::Changed => {}
                }
                hears.queue.add(key);
            },
        );
        let hears = Arc::clone(&controller);
        shared.nodes.on_change(move |change| match change {
            Change::Added(node) => hears.node_changed(None, node),
            Change::Updated(old, new) => {
                let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
                if old.metadata.labels != new.metadata.labels || taints(old) != taints(new) {
                    hears.node_changed(Some(old), new);
                }
            }
            Change::Deleted(_) => {}
        });
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("daemonset", queue, 2, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    fn node_changed(&self, old: Option<&Node>, new: &Node) {
        for set in self.shared.daemon_sets.all() {
            let before = old.map(|old| placement::judge(&set, old));
            let after = placement::judge(&set, new);
            let matters = before.map_or(after.run, |before| before != after);
            if matters {
                self.queue.add(Key::of(set.as_ref()));
            }
        }
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        if !self.written.is_seen(key, &self.shared.daemon_sets) {
            return Err(Error::Behind);
        }
        let Some(set) = self.shared.daemon_sets.get(key) else {
            self.expectations.forget(key);
            return Ok(());
        };
        if selects_everything(&set.spec.selector) {
            let message =
                "This daemon set is selecting all pods. A non-empty selector is required.";
            self.recorder.warning(set.as_ref(), "SelectingAll", message);
            return Ok(());
        }
        if is_terminating(&set.metadata) {
            return Ok(());
        }
        let Some(revisions) = self.revisions(&set).await? else {
            let mut status = set.status.clone().unwrap_or_default();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            return self.write_status(key, &set, status).await;
        };
        let hash = revisions.hash().to_owned();
        let nodes = plan::judge_all(&set, self.shared.nodes.all());
        let look = async || -> Result<(Vec<Arc<Pod>>, ByNode), Error> {
            let pods = self.claimed(&set).await?;
            let by_node = plan::by_node(&pods);
            Ok((pods, by_node))
        };
        let view = |pods| View {
            set: &set,
            nodes: &nodes,
            pods,
            hash: &hash,
            now: clock::now(),
        };
        // Asked before the pods are read: what is seen afterwards only wakes us again.
        let settled = self.expectations.satisfied(key, clock::instant());
        let (pods, by_node) = look().await?;
        let mut worked = Ok(());
        if settled {
            worked = self.act(key, &view(&by_node)).await;
            if worked.is_ok() {
                worked = self.truncate(&set, &revisions, &pods).await;
            }
        }
        let (_, by_node) = look().await?;
        let status = status::status(&view(&by_node), settled);
        let wrote = self.write_status(key, &set, status).await;
        worked?;
        wrote?;
        self.look_again(key, &set, &pods);
        Ok(())
    }

    /// The pods that are `set`'s, after adoption and release.
    async fn claimed(&self, set: &DaemonSet) -> Result<Vec<Arc<Pod>>, Error> {
        let pods = candidates(&self.shared.pods, &set.metadata);
        let may_adopt = |pod: &Pod| !is_finished(pod);
        claimed(
            &self.shared.client,
            set,
            &set.spec.selector,
            pods,
            may_adopt,
        )
        .await
    }

    /// Wakes up when the next Ready pod becomes available.
    fn look_again(&self, key: &Key, set: &DaemonSet, pods: &[Arc<Pod>]) {
        let min_ready = set.spec.min_ready_seconds.unwrap_or(0);
        let now = clock::now();
        let next = pods
            .iter()
            .filter_map(|pod| super::objects::until_available(pod, min_ready, now))
            .filter(|left| !left.is_zero())
            .min();
        if let Some(next) = next {
            self.queue.add_after(key.clone(), next);
        }
    }

    async fn act(&self, key: &Key, view: &View<'_>) -> Result<(), Error> {
        let set_uid = uid(&view.set.metadata);
        let now = clock::instant();
        let managed = view.manage(|node| self.backoffs.ask(set_uid, node, now));
        if let Some(wait) = managed.wait {
            self.queue.add_after(key.clone(), wait);
        }
        for (pod, node) in &managed.ended {
            let pod_key = Key::of(pod.as_ref());
            if phase(pod) == "Failed" {
                let message = format!(
                    "Found failed daemon pod {pod_key} on node {node}, will try to kill it"
                );
                self.recorder.warning(view.set, "FailedDaemonPod", message);
            } else {
                let message = format!(
                    "Found succeeded daemon pod {pod_key} on node {node}, will try to delete it"
                );
                self.recorder
                    .normal(view.set, "SucceededDaemonPod", message);
            }
        }
        let acted = !managed.create.is_empty() || !managed.delete.is_empty();
        self.change(key, view, managed).await?;
        // An update goes on when what was just asked for has been seen.
        if acted {
            return Ok(());
        }
        self.change(key, view, view.roll()).await
    }

    async fn change(&self, key: &Key, view: &View<'_>, changes: Changes) -> Result<(), Error> {
        let Changes {
            mut create,
            mut delete,
            ..
        } = changes;
        if create.is_empty() && delete.is_empty() {
            return Ok(());
        }
        create.truncate(BURST);
        delete.truncate(BURST);
        let keys: BTreeSet<Key> = delete.iter().map(|pod| Key::of(pod.as_ref())).collect();
        self.expectations
            .expect(key, create.len(), keys, clock::instant());
        let pods = Vec::from_iter(
            create
                .iter()
                .map(|node| placement::pod_for(view.set, node, view.hash)),
        );
        let missed = |count| self.expectations.created(key, count);
        let created = self.pods.create(view.set, &pods, missed).await;
        let missed = |pod: &Key| self.expectations.deleted(key, pod);
        let deleted = self.pods.delete(view.set, &delete, missed).await;
        match created.or(deleted) {
            Some(failure) => Err(Error::Replicas(failure.message)),
            None => Ok(()),
        }
    }

    async fn write_status(
        &self,
        key: &Key,
        set: &DaemonSet,
        status: DaemonSetStatus,
    ) -> Result<(), Error> {
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut changed = set.clone();
        changed.status = Some(status);
        let api: Api<DaemonSet> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        match api.replace_status(&key.name, &post(), &changed).await {
            Ok(stored) => {
                self.written.wrote(key, &stored.metadata);
                Ok(())
            }
            Err(error) if has_code(&error, 404) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
