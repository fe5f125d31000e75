//! Deletes Jobs some time after they have ended
//! (pkg/controller/ttlafterfinished/ttlafterfinished_controller.go).

use std::sync::Arc;
use std::time::Duration;

use ::kube::Api;
use ::kube::api::{DeleteParams, Preconditions};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use tokio_util::sync::CancellationToken;

use super::round::end_of;
use crate::clock;
use crate::sandbox::controllers::Error;
use crate::sandbox::controllers::informer::{Change, Key};
use crate::sandbox::controllers::objects::{age, has_code, is_terminating};
use crate::sandbox::controllers::queue::{Queue, work};
use crate::sandbox::controllers::shared::Shared;

/// See the module.
#[derive(Debug)]
pub(in crate::sandbox::controllers) struct Controller {
    shared: Arc<Shared>,
    queue: Arc<Queue<Key>>,
}

/// How long a Job is kept; `None` if it has not ended, or for ever.
#[must_use]
pub fn kept_for(job: &Job, now: Timestamp) -> Option<Duration> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let since = end_of(job)?.last_transition_time.as_ref()?;
    let ttl = Duration::from_secs(u64::try_from(ttl).unwrap_or(0));
    (!is_terminating(&job.metadata)).then(|| ttl.saturating_sub(age(since, now)))
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(in crate::sandbox::controllers) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            queue: Queue::new(),
        });
        let hears = Arc::clone(&controller);
        shared.jobs.on_change(move |change| {
            let job = change.object();
            if !matches!(change, Change::Deleted(_)) && kept_for(job, clock::now()).is_some() {
                hears.queue.add(Key::of(job.as_ref()));
            }
        });
        controller
    }

    /// Works until `shutdown`.
    pub(in crate::sandbox::controllers) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("ttl-after-finished", queue, 1, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let Some(job) = self.shared.jobs.get(key) else {
            return Ok(());
        };
        let Some(left) = kept_for(&job, clock::now()) else {
            return Ok(());
        };
        if !left.is_zero() {
            self.queue.add_after(key.clone(), left);
            return Ok(());
        }
        let preconditions = Preconditions {
            uid: job.metadata.uid.clone(),
            ..Preconditions::default()
        };
        let params = DeleteParams::foreground().preconditions(preconditions);
        let api: Api<Job> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        match api.delete(&key.name, &params).await {
            Err(error) if !has_code(&error, 404) && !has_code(&error, 409) => Err(error.into()),
            _ => Ok(()),
        }
    }
}
