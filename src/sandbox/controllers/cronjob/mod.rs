//! The CronJob controller: a Job at each moment of a schedule (pkg/controller/cronjob).

pub mod due;
pub mod schedule;

use std::sync::Arc;
use std::time::Duration;

use ::kube::Api;
use ::kube::api::{DeleteParams, Preconditions};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use tokio_util::sync::CancellationToken;

use self::due::due;
use self::schedule::Schedule;
use super::claim::controller_reference;
use super::consistency::Written;
use super::events::Recorder;
use super::follow::follow;
use super::informer::Key;
use super::job::round::end_of;
use super::objects::{
    api_message, has_code, is_controlled_by, is_namespace_terminating, is_terminating, name, uid,
};
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, post};
use crate::clock;

/// The annotation with the moment that a Job is for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    queue: Arc<Queue<Key>>,
    written: Written,
    written_jobs: Written,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>, recorder: Recorder) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            recorder,
            queue: Queue::new(),
            written: Written::default(),
            written_jobs: Written::default(),
        });
        let hears = Arc::clone(&controller);
        shared.cron_jobs.on_change(move |change| {
            hears.queue.add(Key::of(change.object().as_ref()));
        });
        let hears = Arc::clone(&controller);
        follow(
            &shared.jobs,
            &shared.cron_jobs,
            |_| None,
            move |key, _, _| hears.queue.add(key),
        );
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("cronjob", queue, 2, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let is_current = self.written.is_seen(key, &self.shared.cron_jobs)
            && self.written_jobs.is_seen(key, &self.shared.jobs);
        if !is_current {
            return Err(Error::Behind);
        }
        let Some(cron_job) = self.shared.cron_jobs.get(key) else {
            return Ok(());
        };
        let jobs = self
            .shared
            .jobs
            .indexed(&format!("owner/{}", uid(&cron_job.metadata)));
        self.forget_old(key, &cron_job, &jobs).await?;
        let mut status = cron_job.status.clone().unwrap_or_default();
        self.take_stock(&cron_job, &jobs, &mut status);
        let started = self.start(key, &cron_job, &mut status).await;
        if status.active.as_ref().is_some_and(Vec::is_empty) {
            status.active = None;
        }
        if cron_job.status.clone().unwrap_or_default() != status {
            let mut changed = (*cron_job).clone();
            changed.status = Some(status);
            let api: Api<CronJob> = Api::namespaced(self.shared.client.clone(), &key.namespace);
            let stored = api.replace_status(&key.name, &post(), &changed).await?;
            self.written.wrote(key, &stored.metadata);
        }
        if let Some(next) = started? {
            self.queue.add_after(key.clone(), next);
        }
        Ok(())
    }

    /// Which Jobs run, and when one last succeeded.
    fn take_stock(&self, cron_job: &CronJob, jobs: &[Arc<Job>], status: &mut CronJobStatus) {
        let active = status.active.get_or_insert_default();
        for job in jobs {
            let job_name = name(&job.metadata);
            let is_known = |active: &[ObjectReference]| {
                active
                    .iter()
                    .any(|known| known.uid.as_deref() == Some(uid(&job.metadata)))
            };
            let Some(end) = end_of(job) else {
                if !is_known(active) {
                    let message = format!(
                        "Saw a job that the controller did not create or forgot: {job_name}"
                    );
                    self.recorder.warning(cron_job, "UnexpectedJob", message);
                }
                continue;
            };
            if is_known(active) {
                active.retain(|known| known.uid.as_deref() != Some(uid(&job.metadata)));
                let message = format!("Saw completed job: {job_name}, condition: {}", end.type_);
                self.recorder.normal(cron_job, "SawCompletedJob", message);
            }
            if end.type_ == "Complete" {
                let done = job
                    .status
                    .as_ref()
                    .and_then(|job| job.completion_time.clone());
                status.last_successful_time = status.last_successful_time.take().max(done);
            }
        }
        active.retain(|known| {
            let lives = jobs
                .iter()
                .any(|job| known.uid.as_deref() == Some(uid(&job.metadata)));
            if !lives {
                let message = format!(
                    "Active job went missing: {}",
                    known.name.as_deref().unwrap_or_default()
                );
                self.recorder.normal(cron_job, "MissingJob", message);
            }
            lives
        });
    }

    /// Starts the Job that is due. Answers when to look again.
    async fn start(
        &self,
        key: &Key,
        cron_job: &CronJob,
        status: &mut CronJobStatus,
    ) -> Result<Option<Duration>, Error> {
        let spec = &cron_job.spec;
        if is_terminating(&cron_job.metadata) {
            return Ok(None);
        }
        let zone = match spec.time_zone.as_deref() {
            None | Some("") => TimeZone::UTC,
            Some(zone) => match TimeZone::get(zone) {
                Ok(zone) => zone,
                Err(_) => {
                    let message = format!("invalid timeZone: \"{zone}\": unknown time zone {zone}");
                    self.recorder.warning(cron_job, "UnknownTimeZone", message);
                    return Ok(None);
                }
            },
        };
        if spec.suspend == Some(true) {
            return Ok(None);
        }
        let schedule = match Schedule::parse(&spec.schedule) {
            Ok(schedule) => schedule,
            Err(error) => {
                let message = format!("unparseable schedule: \"{}\" : {error}", spec.schedule);
                self.recorder
                    .warning(cron_job, "UnparseableSchedule", message);
                return Ok(None);
            }
        };
        let now = clock::now();
        let due = due(cron_job, &schedule, &zone, now);
        let Some(run) = due.run else {
            return Ok(due.next);
        };
        if due.too_many {
            let message = "too many missed start times. Set or decrease \
                           .spec.startingDeadlineSeconds or check clock skew";
            self.recorder
                .warning(cron_job, "TooManyMissedTimes", message);
        }
        let job_name = format!("{}-{}", key.name, run.as_second() / 60);
        let active = status.active.get_or_insert_default();
        let runs = active
            .iter()
            .any(|known| known.name.as_ref() == Some(&job_name));
        if runs || status.last_schedule_time.as_ref().map(|time| time.0) == Some(run) {
            return Ok(due.next);
        }
        match spec.concurrency_policy.as_deref() {
            Some("Forbid") if !active.is_empty() => {
                let message = "Not starting job because prior execution is running and \
                               concurrency policy is Forbid";
                self.recorder.normal(cron_job, "JobAlreadyActive", message);
                return Ok(due.next);
            }
            Some("Replace") => {
                for known in std::mem::take(active) {
                    let known_name = known.name.unwrap_or_default();
                    self.delete(cron_job, &known_name, known.uid).await?;
                }
            }
            _ => {}
        }
        let Some(job) = self.create(key, cron_job, &job_name, run, &zone).await? else {
            return Ok(due.next);
        };
        status.active.get_or_insert_default().push(ObjectReference {
            api_version: Some("batch/v1".to_owned()),
            kind: Some("Job".to_owned()),
            name: job.metadata.name,
            namespace: job.metadata.namespace,
            resource_version: job.metadata.resource_version,
            uid: job.metadata.uid,
            ..ObjectReference::default()
        });
        status.last_schedule_time = Some(Time(run));
        Ok(due.next)
    }

    /// Creates the Job of a moment; `None` if its name is another's, or it has ended.
    async fn create(
        &self,
        key: &Key,
        cron_job: &CronJob,
        job_name: &str,
        run: Timestamp,
        zone: &TimeZone,
    ) -> Result<Option<Job>, Error> {
        let api: Api<Job> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        match api
            .create(&post(), &job_for(cron_job, job_name, run, zone))
            .await
        {
            Ok(job) => {
                self.written_jobs.wrote(key, &job.metadata);
                let message = format!("Created job {job_name}");
                self.recorder.normal(cron_job, "SuccessfulCreate", message);
                Ok(Some(job))
            }
            Err(error) if has_code(&error, 409) => {
                let job = api.get(job_name).await?;
                // Two moments of one minute have one name: the Job of the first may have ended.
                let ours = is_controlled_by(&job.metadata, uid(&cron_job.metadata));
                Ok((ours && end_of(&job).is_none()).then_some(job))
            }
            Err(error) if is_namespace_terminating(&error) => Err(error.into()),
            Err(error) => {
                let message = format!("Error creating job: {}", api_message(&error));
                self.recorder.warning(cron_job, "FailedCreate", message);
                Err(error.into())
            }
        }
    }

    async fn delete(
        &self,
        cron_job: &CronJob,
        job_name: &str,
        job_uid: Option<String>,
    ) -> Result<(), Error> {
        let namespace = cron_job.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<Job> = Api::namespaced(self.shared.client.clone(), namespace);
        let preconditions = Preconditions {
            uid: job_uid,
            ..Preconditions::default()
        };
        let params = DeleteParams::background().preconditions(preconditions);
        match api.delete(job_name, &params).await {
            Err(error) if !has_code(&error, 404) => {
                let message = format!("Deleted job: {}", api_message(&error));
                self.recorder.warning(cron_job, "FailedDelete", message);
                Err(error.into())
            }
            _ => {
                let message = format!("Deleted job {job_name}");
                self.recorder.normal(cron_job, "SuccessfulDelete", message);
                Ok(())
            }
        }
    }

    /// Deletes ended Jobs, the oldest first, as far as the history is longer than wanted.
    async fn forget_old(
        &self,
        key: &Key,
        cron_job: &CronJob,
        jobs: &[Arc<Job>],
    ) -> Result<(), Error> {
        let spec = &cron_job.spec;
        let limits = [
            ("Complete", spec.successful_jobs_history_limit),
            ("Failed", spec.failed_jobs_history_limit),
        ];
        for (kind, limit) in limits {
            let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else {
                continue;
            };
            let ended = jobs.iter().filter(|job| {
                end_of(job).is_some_and(|end| end.type_ == kind) && !is_terminating(&job.metadata)
            });
            let mut ended = Vec::from_iter(ended);
            ended.sort_by_key(|job| {
                let started = job
                    .status
                    .as_ref()
                    .and_then(|status| status.start_time.clone());
                (started.is_none(), started, job.metadata.name.clone())
            });
            let surplus = ended.len().saturating_sub(limit);
            for job in ended.into_iter().take(surplus) {
                let job_name = name(&job.metadata);
                tracing::debug!(cron_job = %key, job_name, "history is long enough without it");
                self.delete(cron_job, job_name, job.metadata.uid.clone())
                    .await?;
            }
        }
        Ok(())
    }
}

/// The Job of a moment (`getJobFromTemplate2`).
fn job_for(cron_job: &CronJob, job_name: &str, run: Timestamp, zone: &TimeZone) -> Job {
    let template = cron_job.spec.job_template.clone();
    let meta = template.metadata.unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    let at = run.to_zoned(zone.clone());
    let at = match at.offset().is_zero() {
        true => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        false => at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    };
    annotations.insert(SCHEDULED.to_owned(), at);
    Job {
        metadata: ObjectMeta {
            name: Some(job_name.to_owned()),
            namespace: cron_job.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron_job)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
