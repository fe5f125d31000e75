//! The ReplicaSet controller: as many pods as asked for, no more, even on a stale cache
//! (pkg/controller/replicaset/replica_set.go).

pub mod expectations;
pub mod status;
pub mod victims;

use std::collections::BTreeSet;
use std::sync::Arc;

use ::kube::Api;
use ::kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use futures::future::join_all;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use tokio_util::sync::CancellationToken;

use self::expectations::Expectations;
use self::status::Failure;
use super::claim::{Claim, adoption, claim, controller_reference, release};
use super::events::Recorder;
use super::informer::{Change, Key};
use super::objects::{
    api_message, controller_of, has_code, is_active, is_finished, is_namespace_terminating,
    is_terminating, name, selects, selects_everything, uid,
};
use super::queue::{Queue, work};
use super::{Error, Shared, post};
use crate::clock;

/// At most so many pods are created or deleted in one round (`BurstReplicas`).
const BURST: usize = 500;

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    queue: Arc<Queue<Key>>,
    expectations: Expectations,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>, recorder: Recorder) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            recorder,
            queue: Queue::new(),
            expectations: Expectations::default(),
        });
        let hears = Arc::clone(&controller);
        shared.replica_sets.on_change(move |change| {
            let key = Key::of(change.object().as_ref());
            if matches!(change, Change::Deleted(_)) {
                hears.expectations.forget(&key);
            }
            hears.queue.add(key);
        });
        let hears = Arc::clone(&controller);
        shared.pods.on_change(move |change| match change {
            Change::Added(pod) if is_terminating(&pod.metadata) => hears.pod_deleted(pod),
            Change::Added(pod) => hears.pod_added(pod),
            Change::Updated(old, new) => hears.pod_updated(old, new),
            Change::Deleted(pod) => hears.pod_deleted(pod),
        });
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("replicaset", queue, 5, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    fn owner(&self, pod: &Pod, reference: &OwnerReference) -> Option<Key> {
        if reference.kind != "ReplicaSet" {
            return None;
        }
        let key = Key::new(
            pod.metadata.namespace.clone().unwrap_or_default(),
            &reference.name,
        );
        let set = self.shared.replica_sets.get(&key)?;
        (uid(&set.metadata) == reference.uid).then_some(key)
    }

    fn pod_added(&self, pod: &Pod) {
        match controller_of(&pod.metadata) {
            Some(reference) => {
                if let Some(key) = self.owner(pod, reference) {
                    self.expectations.created(&key, 1);
                    self.queue.add(key);
                }
            }
            None => self.wake_those_that_match(pod),
        }
    }

    fn pod_updated(&self, old: &Pod, new: &Pod) {
        if is_terminating(&new.metadata) {
            return self.pod_deleted(new);
        }
        let (before, after) = (controller_of(&old.metadata), controller_of(&new.metadata));
        if let Some(reference) = before
            && before != after
            && let Some(key) = self.owner(old, reference)
        {
            self.queue.add(key);
        }
        match after {
            Some(reference) => {
                if let Some(key) = self.owner(new, reference) {
                    self.queue.add(key);
                }
            }
            None => {
                if before.is_some() || old.metadata.labels != new.metadata.labels {
                    self.wake_those_that_match(new);
                }
            }
        }
    }

    fn pod_deleted(&self, pod: &Pod) {
        if let Some(reference) = controller_of(&pod.metadata)
            && let Some(key) = self.owner(pod, reference)
        {
            self.expectations.deleted(&key, &Key::of(pod));
            self.queue.add(key);
        }
    }

    fn wake_those_that_match(&self, pod: &Pod) {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        for set in self.shared.replica_sets.indexed(&format!("ns/{namespace}")) {
            if selects(&set.spec.selector, &pod.metadata) {
                self.queue.add(Key::of(set.as_ref()));
            }
        }
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let Some(set) = self.shared.replica_sets.get(key) else {
            self.expectations.forget(key);
            return Ok(());
        };
        if selects_everything(&set.spec.selector) {
            return Ok(());
        }
        // Asked before the pods are read: what is seen afterwards only wakes us again.
        let settled = self.expectations.satisfied(key, clock::instant());
        let pods = self.claimed(&set).await?;
        let (active, others): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| is_active(pod));
        let terminating = others.iter().filter(|pod| !is_finished(pod)).count();
        let failure = if settled && !is_terminating(&set.metadata) {
            self.manage(key, &set, &active).await
        } else {
            None
        };
        let now = clock::now();
        let status = status::status(&set, &active, terminating, failure.as_ref(), now);
        if !same_status(set.status.as_ref(), &status) {
            let mut changed = (*set).clone();
            changed.status = Some(status);
            let api: Api<ReplicaSet> = Api::namespaced(self.shared.client.clone(), &key.namespace);
            match api.replace_status(&key.name, &post(), &changed).await {
                Ok(_) => {}
                Err(error) if has_code(&error, 404) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(failure) = failure {
            return Err(Error::Replicas(failure.message));
        }
        if let Some(left) = status::next_check(&set, &active, now) {
            self.queue.add_after(key.clone(), left);
        }
        Ok(())
    }

    /// The pods that are `set`'s, after adoption and release.
    async fn claimed(&self, set: &ReplicaSet) -> Result<Vec<Arc<Pod>>, Error> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let mut pods = self
            .shared
            .pods
            .indexed(&format!("owner/{}", uid(&set.metadata)));
        pods.extend(self.shared.pods.indexed(&format!("orphan/{namespace}")));
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), namespace);
        let mut claimed = Vec::with_capacity(pods.len());
        let mut may_adopt = None;
        for pod in pods {
            let (pod_name, pod_uid) = (name(&pod.metadata), uid(&pod.metadata));
            let patch = match claim(&set.metadata, &set.spec.selector, &pod.metadata) {
                Claim::Keep => {
                    claimed.push(pod);
                    continue;
                }
                Claim::Ignore => continue,
                Claim::Release => release(uid(&set.metadata), pod_uid),
                Claim::Adopt if is_finished(&pod) => continue,
                Claim::Adopt => {
                    if may_adopt.is_none() {
                        may_adopt = Some(self.lives(set).await?);
                    }
                    if may_adopt != Some(true) {
                        continue;
                    }
                    adoption(&controller_reference(set), pod_uid)
                }
            };
            match api
                .patch(pod_name, &PatchParams::default(), &Patch::Strategic(&patch))
                .await
            {
                Ok(patched) if is_ours(&patched, set) => claimed.push(Arc::new(patched)),
                Ok(_) => {}
                // Gone, or another life of the name, or the reference is not there any more.
                Err(error) if [404, 409, 422].iter().any(|code| has_code(&error, *code)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(claimed)
    }

    /// Whether the API server still has `set`, and not on its way out: asked before adopting.
    async fn lives(&self, set: &ReplicaSet) -> Result<bool, Error> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<ReplicaSet> = Api::namespaced(self.shared.client.clone(), namespace);
        let fresh = api.get_opt(name(&set.metadata)).await?;
        Ok(fresh.is_some_and(|fresh| {
            fresh.metadata.uid == set.metadata.uid && !is_terminating(&fresh.metadata)
        }))
    }

    /// Creates or deletes pods; the first failure is reported.
    async fn manage(&self, key: &Key, set: &ReplicaSet, active: &[Arc<Pod>]) -> Option<Failure> {
        let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
        if active.len() < wanted {
            let missing = (wanted - active.len()).min(BURST);
            self.create(key, set, missing).await
        } else if active.len() > wanted {
            let surplus = (active.len() - wanted).min(BURST);
            let related = self.related(set, active);
            let gone = victims::victims(active, &related, surplus, clock::now());
            self.delete(key, set, &gone).await
        } else {
            None
        }
    }

    async fn create(&self, key: &Key, set: &ReplicaSet, count: usize) -> Option<Failure> {
        self.expectations
            .expect_creations(key, count, clock::instant());
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        let pod = pod_of(set);
        let mut left = count;
        // Slow start: a set whose pods are all refused costs one request, not hundreds.
        let mut batch = left.min(1);
        let params = post();
        while batch > 0 {
            let answers = join_all((0..batch).map(|_| api.create(&params, &pod))).await;
            left -= batch;
            let mut failure = None;
            for answer in answers {
                match answer {
                    Ok(created) => {
                        let message = format!("Created pod: {}", name(&created.metadata));
                        self.recorder.normal(set, "SuccessfulCreate", message);
                    }
                    Err(error) => {
                        self.expectations.created(key, 1);
                        if is_namespace_terminating(&error) {
                            continue;
                        }
                        let message = api_message(&error);
                        let told = format!("Error creating: {message}");
                        self.recorder.warning(set, "FailedCreate", told);
                        failure.get_or_insert(Failure {
                            reason: "FailedCreate",
                            message,
                        });
                    }
                }
            }
            if failure.is_some() {
                self.expectations.created(key, left);
                return failure;
            }
            batch = (batch * 2).min(left);
        }
        None
    }

    async fn delete(&self, key: &Key, set: &ReplicaSet, pods: &[Arc<Pod>]) -> Option<Failure> {
        let keys: BTreeSet<Key> = pods.iter().map(|pod| Key::of(pod.as_ref())).collect();
        self.expectations
            .expect_deletions(key, keys, clock::instant());
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        let deletions = pods.iter().map(|pod| {
            let api = &api;
            async move {
                let preconditions = Preconditions {
                    uid: pod.metadata.uid.clone(),
                    ..Preconditions::default()
                };
                let params = DeleteParams::default().preconditions(preconditions);
                api.delete(name(&pod.metadata), &params).await
            }
        });
        let answers = join_all(deletions).await;
        let mut failure = None;
        for (pod, answer) in pods.iter().zip(answers) {
            match answer {
                Ok(_) => {
                    let message = format!("Deleted pod: {}", name(&pod.metadata));
                    self.recorder.normal(set, "SuccessfulDelete", message);
                }
                Err(error) => {
                    self.expectations.deleted(key, &Key::of(pod.as_ref()));
                    if has_code(&error, 404) {
                        continue;
                    }
                    let message = api_message(&error);
                    let told = format!("Error deleting: {message}");
                    self.recorder.warning(set, "FailedDelete", told);
                    failure.get_or_insert(Failure {
                        reason: "FailedDelete",
                        message,
                    });
                }
            }
        }
        failure
    }

    /// The active pods of all ReplicaSets with the same owner (`getIndirectlyRelatedPods`).
    fn related(&self, set: &ReplicaSet, active: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let Some(owner) = controller_of(&set.metadata) else {
            return active.to_vec();
        };
        let sets = self
            .shared
            .replica_sets
            .indexed(&format!("owner/{}", owner.uid));
        let pods = sets.iter().flat_map(|set| {
            self.shared
                .pods
                .indexed(&format!("owner/{}", uid(&set.metadata)))
        });
        pods.filter(|pod| is_active(pod)).collect()
    }
}

fn is_ours(pod: &Pod, set: &ReplicaSet) -> bool {
    controller_of(&pod.metadata).is_some_and(|owner| owner.uid == uid(&set.metadata))
}

/// Whether the stored status says the same; a missing number is zero.
fn same_status(
    old: Option<&k8s_openapi::api::apps::v1::ReplicaSetStatus>,
    new: &k8s_openapi::api::apps::v1::ReplicaSetStatus,
) -> bool {
    let Some(old) = old else { return false };
    let numbers = |status: &k8s_openapi::api::apps::v1::ReplicaSetStatus| {
        [
            status.replicas,
            status.fully_labeled_replicas.unwrap_or(0),
            status.ready_replicas.unwrap_or(0),
            status.available_replicas.unwrap_or(0),
        ]
    };
    numbers(old) == numbers(new)
        && old.terminating_replicas == new.terminating_replicas
        && old.observed_generation == new.observed_generation
        && old.conditions.as_deref().unwrap_or_default()
            == new.conditions.as_deref().unwrap_or_default()
}

/// The pod that `set` creates (pkg/controller/controller_utils.go, `GetPodFromTemplate`).
fn pod_of(set: &ReplicaSet) -> Pod {
    let PodTemplateSpec { metadata, spec } = set.spec.template.clone().unwrap_or_default();
    let template = metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(&set.metadata))),
            namespace: set.metadata.namespace.clone(),
            labels: template.labels,
            annotations: template.annotations,
            finalizers: template.finalizers,
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}
