//! The ReplicaSet controller: as many pods as asked for, no more, even on a stale cache
//! (pkg/controller/replicaset/replica_set.go).

pub mod status;
pub mod victims;

use std::collections::BTreeSet;
use std::sync::Arc;

use ::kube::Api;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

use super::claim::{candidates, claimed};
use super::events::Recorder;
use super::expectations::Expectations;
use super::follow::{Heard, follow};
use super::informer::{Change, Key};
use super::objects::{
    controller_of, has_code, is_active, is_finished, is_terminating, selects_everything, uid,
};
use super::pods::{Failure, PodControl, from_template};
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, post};
use crate::clock;

/// At most so many pods are created or deleted in one round (`BurstReplicas`).
const BURST: usize = 500;

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    pods: PodControl,
    queue: Arc<Queue<Key>>,
    expectations: Expectations,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>, recorder: Recorder) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            pods: PodControl::new(shared.client.clone(), recorder),
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
        let sets = &shared.replica_sets;
        follow(
            &shared.pods,
            sets,
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

    /// Creates or deletes pods; the first failure is reported.
    async fn manage(&self, key: &Key, set: &ReplicaSet, active: &[Arc<Pod>]) -> Option<Failure> {
        let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
        if active.len() < wanted {
            let missing = (wanted - active.len()).min(BURST);
            self.expectations
                .expect(key, missing, BTreeSet::new(), clock::instant());
            let template = set.spec.template.clone().unwrap_or_default();
            let pods = vec![from_template(set, &template); missing];
            let missed = |count| self.expectations.created(key, count);
            self.pods.create(set, &pods, missed).await
        } else if active.len() > wanted {
            let surplus = (active.len() - wanted).min(BURST);
            let related = self.related(set, active);
            let gone = victims::victims(active, &related, surplus, clock::now());
            let keys = gone.iter().map(|pod| Key::of(pod.as_ref())).collect();
            self.expectations.expect(key, 0, keys, clock::instant());
            let missed = |pod: &Key| self.expectations.deleted(key, pod);
            self.pods.delete(set, &gone, missed).await
        } else {
            None
        }
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
