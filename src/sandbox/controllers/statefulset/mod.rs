//! The StatefulSet controller: pods with names of their own, that come and go in order
//! (pkg/controller/statefulset).

pub mod claims;
pub mod identity;
pub mod plan;
mod revisions;
pub mod status;
mod steps;

use std::sync::Arc;

use ::kube::Api;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

use self::plan::Step;
use super::claim::{candidates, claimed};
use super::consistency::Written;
use super::events::Recorder;
use super::follow::follow;
use super::informer::Key;
use super::objects::{has_code, selects_everything};
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, post};
use crate::clock;

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    queue: Arc<Queue<Key>>,
    written_pods: Written,
    written_claims: Written,
    written_sets: Written,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>, recorder: Recorder) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            recorder,
            queue: Queue::new(),
            written_pods: Written::default(),
            written_claims: Written::default(),
            written_sets: Written::default(),
        });
        let hears = Arc::clone(&controller);
        shared.stateful_sets.on_change(move |change| {
            hears.queue.add(Key::of(change.object().as_ref()));
        });
        let hears = Arc::clone(&controller);
        follow(
            &shared.pods,
            &shared.stateful_sets,
            |set| Some(&set.spec.selector),
            move |key, _, _| hears.queue.add(key),
        );
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("statefulset", queue, 5, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let is_current = self.written_pods.is_seen(key, &self.shared.pods)
            && self.written_claims.is_seen(key, &self.shared.claims)
            && self.written_sets.is_seen(key, &self.shared.stateful_sets);
        if !is_current {
            return Err(Error::Behind);
        }
        let Some(set) = self.shared.stateful_sets.get(key) else {
            return Ok(());
        };
        let selector = &set.spec.selector;
        if selects_everything(selector) {
            return Ok(());
        }
        let found = candidates(&self.shared.pods, &set.metadata);
        // Only pods with names of the set's making are its members.
        let adoptable = |pod: &Pod| identity::ordinal(&set, pod).is_some();
        let client = &self.shared.client;
        let pods = claimed(client, set.as_ref(), selector, found, adoptable).await?;
        let pods = Vec::from_iter(pods.into_iter().filter(|pod| adoptable(pod)));
        let revisions = self.revisions(&set).await?;
        let now = clock::now();
        let (current, update) = (&revisions.current, &revisions.update);
        let steps = plan::plan(
            &set,
            current,
            update,
            &pods,
            &steps::Cached {
                controller: self,
                set: &set,
            },
            now,
        );
        let done = self.carry_out(key, &set, steps.clone()).await;
        let updating = match &done {
            Ok(()) => steps
                .iter()
                .filter(|step| matches!(step, Step::Update(_)))
                .count(),
            Err(_) => 0,
        };
        let status = status::status(
            &set,
            &pods,
            (&current.revision, &update.revision),
            revisions.collisions,
            i32::try_from(updating).unwrap_or(0),
            now,
        );
        let written = self.write_status(key, &set, status).await;
        done?;
        written?;
        self.truncate(&set, &revisions, &pods).await?;
        if let Some(left) = status::next_check(&set, &pods, now) {
            self.queue.add_after(key.clone(), left);
        }
        Ok(())
    }

    async fn write_status(
        &self,
        key: &Key,
        set: &StatefulSet,
        status: StatefulSetStatus,
    ) -> Result<(), Error> {
        if set.status.as_ref().is_some_and(|old| is_same(old, &status)) {
            return Ok(());
        }
        let mut changed = set.clone();
        changed.status = Some(status);
        let api: Api<StatefulSet> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        match api.replace_status(&key.name, &post(), &changed).await {
            Ok(stored) => {
                self.written_sets.wrote(key, &stored.metadata);
                Ok(())
            }
            Err(error) if has_code(&error, 404) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Equality in which a missing number is zero (`inconsistentStatus`).
fn is_same(old: &StatefulSetStatus, new: &StatefulSetStatus) -> bool {
    let bare = |status: &StatefulSetStatus| {
        let mut status = status.clone();
        for number in [
            &mut status.ready_replicas,
            &mut status.current_replicas,
            &mut status.updated_replicas,
            &mut status.available_replicas,
            &mut status.collision_count,
        ] {
            *number = number.filter(|number| *number != 0);
        }
        status
    };
    bare(old) == bare(new)
}
