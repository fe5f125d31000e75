//! The Deployment controller: ReplicaSets for templates, and the way from one to the next
//! (pkg/controller/deployment/*.go).

pub mod revision;
pub mod rolling;
mod scale;
mod sets;
pub mod status;

use std::sync::Arc;

use ::kube::Api;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use tokio_util::sync::CancellationToken;

use self::sets::Sets;
use super::events::Recorder;
use super::follow::follow;
use super::informer::{Change, Key};
use super::objects::{controller_of, has_code, is_terminating, phase, selects_everything, uid};
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
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>, recorder: Recorder) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            recorder,
            queue: Queue::new(),
        });
        let hears = Arc::clone(&controller);
        shared.deployments.on_change(move |change| {
            hears.queue.add(Key::of(change.object().as_ref()));
        });
        let hears = Arc::clone(&controller);
        let (sets, deployments) = (&shared.replica_sets, &shared.deployments);
        follow(
            sets,
            deployments,
            |deployment: &Deployment| Some(&deployment.spec.selector),
            move |key, _, _: &Arc<ReplicaSet>| hears.queue.add(key),
        );
        // A Recreate rollout goes on when the last old pod is gone.
        let hears = Arc::clone(&controller);
        shared.pods.on_change(move |change| {
            if let Change::Deleted(pod) = change {
                hears.pod_deleted(pod);
            }
        });
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("deployment", queue, 5, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    fn owner(&self, namespace: Option<&String>, reference: &OwnerReference) -> Option<Key> {
        if reference.kind != "Deployment" {
            return None;
        }
        let key = Key::new(namespace.cloned().unwrap_or_default(), &reference.name);
        let deployment = self.shared.deployments.get(&key)?;
        (uid(&deployment.metadata) == reference.uid).then_some(key)
    }

    fn pod_deleted(&self, pod: &Pod) {
        let Some(reference) = controller_of(&pod.metadata) else {
            return;
        };
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let Some(set) = self
            .shared
            .replica_sets
            .get(&Key::new(namespace, &reference.name))
        else {
            return;
        };
        let Some(reference) = controller_of(&set.metadata) else {
            return;
        };
        let Some(key) = self.owner(set.metadata.namespace.as_ref(), reference) else {
            return;
        };
        let deployment = self.shared.deployments.get(&key);
        if deployment.is_some_and(|deployment| !rolling::is_rolling(&deployment)) {
            self.queue.add(key);
        }
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let Some(cached) = self.shared.deployments.get(key) else {
            return Ok(());
        };
        let mut deployment = (*cached).clone();
        if selects_everything(&deployment.spec.selector) {
            self.recorder.warning(
                &deployment,
                "SelectingAll",
                "This deployment is selecting all pods. A non-empty selector is required.",
            );
            return Ok(());
        }
        let owned = self.claimed(&deployment).await?;
        if is_terminating(&deployment.metadata) {
            let sets = Sets::sort(&deployment, owned);
            return self.write_status(&mut deployment, &sets, false).await;
        }
        self.tell_pause(&mut deployment).await?;
        let mut sets = Sets::sort(&deployment, owned);
        self.renew_annotations(&mut deployment, &mut sets).await?;
        if deployment.spec.paused == Some(true) || is_scaling(&deployment, &sets) {
            self.scale(&deployment, &mut sets).await?;
            if deployment.spec.paused == Some(true) {
                self.clean_up(&deployment, &sets).await?;
            }
            return self.write_status(&mut deployment, &sets, false).await;
        }
        if rolling::is_rolling(&deployment) {
            self.roll(&mut deployment, &mut sets).await?;
        } else {
            self.recreate(&mut deployment, &mut sets).await?;
        }
        self.write_status(&mut deployment, &sets, true).await?;
        // From here on the stored state; a rollout that is stuck is looked at again at its deadline.
        if let Some(after) = status::next_check(&deployment, clock::now()) {
            self.queue.add_after(key.clone(), after);
        }
        Ok(())
    }

    /// One step of a rolling update: up, else down, else done.
    async fn roll(&self, deployment: &mut Deployment, sets: &mut Sets) -> Result<(), Error> {
        self.ensure_new(deployment, sets).await?;
        if self.grow_new(deployment, sets).await? || self.shrink_old(deployment, sets).await? {
            return Ok(());
        }
        if status::is_complete(deployment, &deployment.status.clone().unwrap_or_default()) {
            self.clean_up(deployment, sets).await?;
        }
        Ok(())
    }

    /// All old pods first, then all new ones.
    async fn recreate(&self, deployment: &mut Deployment, sets: &mut Sets) -> Result<(), Error> {
        let mut shrunk = false;
        for index in 0..sets.old.len() {
            shrunk |= self.resize_old(deployment, sets, index, 0).await?;
        }
        if shrunk || self.old_pods_run(sets) {
            return Ok(());
        }
        self.ensure_new(deployment, sets).await?;
        self.resize_new(deployment, sets, rolling::wanted(deployment))
            .await?;
        if status::is_complete(deployment, &deployment.status.clone().unwrap_or_default()) {
            self.clean_up(deployment, sets).await?;
        }
        Ok(())
    }

    fn old_pods_run(&self, sets: &Sets) -> bool {
        sets.old.iter().any(|set| {
            let pods = self
                .shared
                .pods
                .indexed(&format!("owner/{}", uid(&set.metadata)));
            set.status
                .as_ref()
                .is_some_and(|status| status.replicas > 0)
                || pods
                    .iter()
                    .any(|pod| !matches!(phase(pod), "Succeeded" | "Failed"))
        })
    }

    /// Says in the Progressing condition that a rollout was paused or resumed, so that its deadline
    /// does not count the pause (`checkPausedConditions`).
    async fn tell_pause(&self, deployment: &mut Deployment) -> Result<(), Error> {
        if status::deadline(deployment).is_none() {
            return Ok(());
        }
        let mut changed = deployment.status.clone().unwrap_or_default();
        let reason = status::condition(&changed, "Progressing")
            .and_then(|condition| condition.reason.clone())
            .unwrap_or_default();
        if reason == "ProgressDeadlineExceeded" {
            return Ok(());
        }
        let paused = deployment.spec.paused == Some(true);
        let told = match (paused, reason == "DeploymentPaused") {
            (true, false) => ("DeploymentPaused", "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return Ok(()),
        };
        let told = ("Progressing", "Unknown", told.0, told.1.to_owned());
        status::set_condition(&mut changed, told, clock::now());
        deployment.status = Some(changed);
        self.put_status(deployment).await
    }

    /// Computes and stores the status, if it is another one.
    async fn write_status(
        &self,
        deployment: &mut Deployment,
        sets: &Sets,
        in_rollout: bool,
    ) -> Result<(), Error> {
        let now = clock::now();
        let all = sets.all();
        let new = sets.new.as_ref();
        let status = if in_rollout {
            status::rollout(deployment, &all, new, now)
        } else {
            status::calculate(deployment, &all, new, now)
        };
        if deployment
            .status
            .as_ref()
            .is_some_and(|old| same_status(old, &status))
        {
            return Ok(());
        }
        deployment.status = Some(status);
        self.put_status(deployment).await
    }

    /// Stores status and annotations (an update of the status subresource takes the metadata's
    /// annotations too: pkg/registry/apps/deployment/strategy.go resets only spec and labels).
    async fn put_status(&self, deployment: &mut Deployment) -> Result<(), Error> {
        let key = Key::of(deployment);
        let api: Api<Deployment> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        match api.replace_status(&key.name, &post(), deployment).await {
            Ok(stored) => {
                *deployment = stored;
                Ok(())
            }
            Err(error) if has_code(&error, 404) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether some ReplicaSet was last sized for another number of replicas than is wanted now.
fn is_scaling(deployment: &Deployment, sets: &Sets) -> bool {
    let active = |set: &&ReplicaSet| rolling::Set::of(set).replicas > 0;
    sets.all().into_iter().filter(active).any(|set| {
        revision::desired_replicas(&set.metadata)
            .is_some_and(|desired| desired != rolling::wanted(deployment))
    })
}

/// Equality in which a missing number is zero.
fn same_status(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let bare = |status: &DeploymentStatus| {
        let mut status = status.clone();
        for number in [
            &mut status.replicas,
            &mut status.updated_replicas,
            &mut status.ready_replicas,
            &mut status.available_replicas,
            &mut status.unavailable_replicas,
        ] {
            *number = number.filter(|number| *number != 0);
        }
        status.conditions.get_or_insert_default();
        status
    };
    bare(old) == bare(new)
}
