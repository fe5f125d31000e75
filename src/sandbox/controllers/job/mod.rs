//! The Job controller: pods that run to completion, counted exactly once (pkg/controller/job).

pub mod backoff;
pub mod indexes;
pub mod pods;
pub mod policy;
pub mod round;
#[cfg(test)]
mod tests;
pub mod ttl;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use ::kube::Api;
use ::kube::api::{Patch, PatchParams};
use futures::future::join_all;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::backoff::Backoff;
use self::pods::{FINALIZER, is_tracked};
use self::round::{Manage, Round};
use super::claim::{candidates, claimed};
use super::consistency::Written;
use super::events::Recorder;
use super::expectations::Expectations;
use super::follow::{Heard, follow};
use super::informer::{Change, Key};
use super::objects::{controller_of, has_code, is_terminating, name, namespace, uid};
use super::pods::PodControl;
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, MANAGER, post};
use crate::clock;

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    pods: PodControl,
    queue: Arc<Queue<Key>>,
    /// Pods whose Job is gone, but that still have its finalizer.
    orphans: Arc<Queue<Key>>,
    expectations: Expectations,
    written: Written,
    written_pods: Written,
    backoffs: Mutex<BTreeMap<Key, Backoff>>,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>, recorder: Recorder) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            pods: PodControl::new(shared.client.clone(), recorder.clone()),
            recorder,
            queue: Queue::new(),
            orphans: Queue::new(),
            expectations: Expectations::default(),
            written: Written::default(),
            written_pods: Written::default(),
            backoffs: Mutex::default(),
        });
        let hears = Arc::clone(&controller);
        shared.jobs.on_change(move |change| {
            let job = change.object();
            let key = Key::of(job.as_ref());
            if matches!(change, Change::Deleted(_)) {
                hears.expectations.forget(&key);
                let of = format!("owner/{}", uid(&job.metadata));
                for pod in hears.shared.pods.indexed(&of) {
                    hears.look_for_orphan(&pod);
                }
            }
            hears.queue.add(key);
        });
        let hears = Arc::clone(&controller);
        shared.pods.on_change(move |change| match change {
            Change::Added(pod) | Change::Updated(_, pod) => hears.look_for_orphan(pod),
            Change::Deleted(_) => {}
        });
        let hears = Arc::clone(&controller);
        follow(
            &shared.pods,
            &shared.jobs,
            |job| job.spec.as_ref().and_then(|spec| spec.selector.as_ref()),
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
        let (queue, orphans) = (Arc::clone(&self.queue), Arc::clone(&self.orphans));
        tokio::join!(
            work("job", queue, 5, shutdown.clone(), |key| {
                let controller = Arc::clone(&self);
                async move { controller.sync(&key).await }
            }),
            work("job-orphans", orphans, 1, shutdown, |key| {
                let controller = Arc::clone(&self);
                async move { controller.release_orphan(&key).await }
            })
        );
    }

    fn look_for_orphan(&self, pod: &Pod) {
        if is_tracked(pod) && !self.has_job(pod) {
            self.orphans.add(Key::of(pod));
        }
    }

    fn has_job(&self, pod: &Pod) -> bool {
        let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == "Job") else {
            return false;
        };
        let key = Key::new(namespace(&pod.metadata), &owner.name);
        let job = self.shared.jobs.get(&key);
        job.is_some_and(|job| uid(&job.metadata) == owner.uid)
    }

    /// Lets a pod go whose Job is no more.
    async fn release_orphan(&self, key: &Key) -> Result<(), Error> {
        let Some(pod) = self.shared.pods.get(key) else {
            return Ok(());
        };
        if !is_tracked(&pod) || self.has_job(&pod) {
            return Ok(());
        }
        if let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == "Job") {
            // The cache of Jobs may be behind that of pods.
            let api: Api<Job> = Api::namespaced(self.shared.client.clone(), &key.namespace);
            let job = api.get_opt(&owner.name).await?;
            if job.is_some_and(|job| uid(&job.metadata) == owner.uid) {
                return Ok(());
            }
        }
        self.release(&pod).await?;
        Ok(())
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let is_current = self.written.is_seen(key, &self.shared.jobs)
            && self.written_pods.is_seen(key, &self.shared.pods);
        if !is_current {
            return Err(Error::Behind);
        }
        let Some(job) = self.shared.jobs.get(key) else {
            self.expectations.forget(key);
            self.backoffs().remove(key);
            return Ok(());
        };
        if round::end_of(&job).is_some() {
            self.backoffs().remove(key);
            return Ok(());
        }
        // Asked before the pods are read: what is seen afterwards only wakes us again.
        let settled = self.expectations.satisfied(key, clock::instant());
        let none = LabelSelector::default();
        let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let found = candidates(&self.shared.pods, &job.metadata);
        let client = &self.shared.client;
        let selector = selector.unwrap_or(&none);
        // Selectors hold the Job's uid: there is nothing to adopt.
        let pods = claimed(client, job.as_ref(), selector, found, |_| false).await?;
        let backoff = self.backoffs().get(key).copied().unwrap_or_default();
        let mut round = Round::new((*job).clone(), pods, backoff, clock::now());
        let managed = self.manage(key, &mut round, settled).await;
        let released = round.count();
        self.flush(key, &mut round).await?;
        self.backoffs().insert(key.clone(), round.backoff);
        let kept = self.release_all(key, &released).await;
        let tracked = |pod: &Arc<Pod>| is_tracked(pod) && !released.contains(pod);
        let mut left: BTreeSet<String> = candidates(&self.shared.pods, &job.metadata)
            .iter()
            .filter(|pod| tracked(pod))
            .map(|pod| uid(&pod.metadata).to_owned())
            .collect();
        left.extend(kept.iter().map(|(pod, _)| uid(&pod.metadata).to_owned()));
        round.counted(&left);
        let end = if kept.is_empty() {
            round.finish()
        } else {
            None
        };
        self.flush(key, &mut round).await?;
        if let Some(end) = end {
            let message = end.message.unwrap_or_default();
            if end.type_ == "Complete" {
                self.recorder
                    .normal(job.as_ref(), "Completed", "Job completed");
            } else {
                let reason = failure_reason(end.reason.as_deref());
                self.recorder.warning(job.as_ref(), reason, message);
            }
        } else if let Some(left) = round.until_deadline().filter(|left| !left.is_zero()) {
            self.queue.add_after(key.clone(), left);
        }
        if let Some((_, error)) = kept.into_iter().next() {
            return Err(error);
        }
        managed
    }

    /// Creates and deletes pods as the Job needs.
    async fn manage(&self, key: &Key, round: &mut Round, settled: bool) -> Result<(), Error> {
        let job = round.job.clone();
        if round.judge() {
            let active = round.active.clone();
            let failure = self.pods.delete(&job, &active, |_| {}).await;
            if failure.is_some() || !settled {
                round.adjourn();
            }
            round.settle(false, 0, &active);
            return failure.map_or(Ok(()), |failure| Err(Error::Replicas(failure.message)));
        }
        if !settled || is_terminating(&job.metadata) {
            round.settle(false, 0, &[]);
            return Ok(());
        }
        let (mut created, mut deleted, mut failure) = (0, Vec::new(), None);
        match round.manage() {
            Manage::Nothing => {}
            Manage::Wait(wait) => self.queue.add_after(key.clone(), wait),
            Manage::Delete(pods) => {
                let keys = pods.iter().map(|pod| Key::of(pod.as_ref())).collect();
                self.expectations.expect(key, 0, keys, clock::instant());
                let missed = |pod: &Key| self.expectations.deleted(key, pod);
                failure = self.pods.delete(&job, &pods, missed).await;
                deleted = if failure.is_none() { pods } else { Vec::new() };
            }
            Manage::Create(pods) => {
                let none = BTreeSet::new();
                self.expectations
                    .expect(key, pods.len(), none, clock::instant());
                let lost = std::sync::atomic::AtomicUsize::new(0);
                let missed = |count| {
                    lost.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
                    self.expectations.created(key, count);
                };
                failure = self.pods.create(&job, &pods, missed).await;
                created = pods.len() - lost.into_inner();
            }
        }
        if let Some((reason, message)) = round.settle(true, created, &deleted) {
            self.recorder.normal(&job, reason, message);
        }
        failure.map_or(Ok(()), |failure| Err(Error::Replicas(failure.message)))
    }

    /// Stores the status if it has changed.
    async fn flush(&self, key: &Key, round: &mut Round) -> Result<(), Error> {
        if !round.take_changed() {
            return Ok(());
        }
        let api: Api<Job> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        let stored = api.replace_status(&key.name, &post(), &round.job).await?;
        self.written.wrote(key, &stored.metadata);
        round.job = stored;
        Ok(())
    }

    /// Takes the finalizer off; answers the pods that still have it, and why.
    async fn release_all(&self, key: &Key, pods: &[Arc<Pod>]) -> Vec<(Arc<Pod>, Error)> {
        let answers = join_all(pods.iter().map(|pod| self.release(pod))).await;
        let mut kept = Vec::new();
        for (pod, answer) in pods.iter().zip(answers) {
            match answer {
                Ok(Some(stored)) => self.written_pods.wrote(key, &stored.metadata),
                Ok(None) => {}
                Err(error) => kept.push((Arc::clone(pod), error)),
            }
        }
        kept
    }

    /// Takes the finalizer off one pod; one that is gone has none.
    async fn release(&self, pod: &Pod) -> Result<Option<Pod>, Error> {
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), namespace(&pod.metadata));
        let patch = json!({"metadata": {
            "uid": uid(&pod.metadata),
            "$deleteFromPrimitiveList/finalizers": [FINALIZER],
        }});
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..PatchParams::default()
        };
        match api
            .patch(name(&pod.metadata), &params, &Patch::Strategic(&patch))
            .await
        {
            Ok(stored) => Ok(Some(stored)),
            // Gone, or another life of the name.
            Err(error) if has_code(&error, 404) => Ok(None),
            Err(error) if has_code(&error, 409) => {
                let found = api.get_opt(name(&pod.metadata)).await?;
                match found {
                    Some(found) if uid(&found.metadata) == uid(&pod.metadata) => Err(error.into()),
                    _ => Ok(None),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn backoffs(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Backoff>> {
        self.backoffs
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

/// The reasons why Jobs fail, as events have them.
fn failure_reason(reason: Option<&str>) -> &'static str {
    match reason {
        Some("DeadlineExceeded") => "DeadlineExceeded",
        Some("PodFailurePolicy") => "PodFailurePolicy",
        Some("FailedIndexes") => "FailedIndexes",
        Some("MaxFailedIndexesExceeded") => "MaxFailedIndexesExceeded",
        _ => "BackoffLimitExceeded",
    }
}
