//! Jobs and CronJobs.

use k8s_openapi::api::batch::v1::{CronJob, Job, JobCondition};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};
use wam::sandbox::kubelet::BEHAVIOUR;

use super::ground::{Place, template};

/// A Job whose pods end as told, such as `complete=1s`.
fn job(ends: &str, spec: Value) -> Value {
    let over = json!({"metadata": {"annotations": {BEHAVIOUR: ends}},
                      "spec": {"restartPolicy": "Never"}});
    let mut job =
        json!({"metadata": {"name": "j"}, "spec": {"template": template("j", "i", over)}});
    json_patch::merge(&mut job["spec"], &spec);
    job
}

fn conditions(job: &Job) -> Vec<JobCondition> {
    let status = job.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.clone());
    conditions.unwrap_or_default()
}

async fn ends(place: &Place, kind: &str) -> Job {
    place
        .until(&format!("the Job is {kind}"), async || {
            let job: Job = place.get("j").await;
            conditions(&job)
                .iter()
                .any(|condition| condition.type_ == kind && condition.status == "True")
        })
        .await;
    place.get("j").await
}

/// Types, reasons and messages of the conditions.
fn said(job: &Job) -> Vec<(String, String, String)> {
    let conditions = conditions(job).into_iter().map(|condition| {
        let text = |text: Option<String>| text.unwrap_or_default();
        (
            condition.type_,
            text(condition.reason),
            text(condition.message),
        )
    });
    conditions.collect()
}

fn both(kinds: [&str; 2], reason: &str, message: &str) -> Vec<(String, String, String)> {
    let one = |kind: &str| (kind.to_owned(), reason.to_owned(), message.to_owned());
    kinds.map(one).to_vec()
}

pub async fn indexes_are_each_done_once(place: &Place) {
    let spec = json!({"completions": 4, "parallelism": 2, "completionMode": "Indexed"});
    place.create::<Job>(job("complete=200ms", spec)).await;
    let job = ends(place, "Complete").await;
    let message = "Reached expected number of succeeded pods";
    let reached = both(
        ["SuccessCriteriaMet", "Complete"],
        "CompletionsReached",
        message,
    );
    assert_eq!(said(&job), reached);
    let status = job.status.unwrap();
    assert_eq!((status.succeeded, status.failed), (Some(4), None));
    assert_eq!(status.completed_indexes.as_deref(), Some("0-3"));
    assert_eq!(
        (status.active, status.ready, status.terminating),
        (None, Some(0), Some(0))
    );
    assert!(status.completion_time.is_some() && status.start_time.is_some());
    place.hears("Job", "Completed", "Job completed").await;
    let pods: Vec<Pod> = place.all().await;
    assert_eq!(pods.len(), 4);
    for pod in &pods {
        let index =
            &pod.metadata.labels.as_ref().unwrap()["batch.kubernetes.io/job-completion-index"];
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(spec.hostname, Some(format!("j-{index}")));
        assert_eq!(
            spec.containers[0].env.as_ref().unwrap()[0].name,
            "JOB_COMPLETION_INDEX"
        );
        assert_eq!(pod.metadata.finalizers, None);
    }
    let jobs: Api<Job> = place.api();
    jobs.delete("j", &DeleteParams::background()).await.unwrap();
    place
        .until("nothing is left", async || {
            place.all::<Pod>().await.is_empty()
        })
        .await;
}

pub async fn fails_at_its_limit(place: &Place) {
    let spec = json!({"backoffLimit": 0, "parallelism": 1});
    place.create::<Job>(job("fail=200ms", spec)).await;
    let job = ends(place, "Failed").await;
    let (reason, message) = (
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
    );
    assert_eq!(
        said(&job),
        both(["FailureTarget", "Failed"], reason, message)
    );
    let status = job.status.unwrap();
    assert_eq!((status.succeeded, status.failed), (None, Some(1)));
    place.hears("Job", reason, message).await;
}

pub async fn fails_by_its_policy(place: &Place) {
    let spec = json!({"completions": 3, "parallelism": 3, "podFailurePolicy": {"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]}});
    place.create::<Job>(job("fail=200ms", spec)).await;
    let job = ends(place, "Failed").await;
    let said = said(&job);
    assert_eq!(said[0].1, "PodFailurePolicy");
    let message = "failed with exit code 1 matching FailJob rule at index 0";
    assert!(said[0].2.contains(message), "{said:?}");
    place.hears("Job", "PodFailurePolicy", message).await;
}

pub async fn is_suspended_and_resumed(place: &Place) {
    let spec = json!({"suspend": true, "parallelism": 2, "completions": 2});
    place.create::<Job>(job("complete=30m", spec)).await;
    let suspended = async |word: &str| {
        let job: Job = place.get("j").await;
        conditions(&job)
            .iter()
            .any(|condition| condition.type_ == "Suspended" && condition.status == word)
    };
    place
        .until("it is suspended", async || suspended("True").await)
        .await;
    assert!(place.all::<Pod>().await.is_empty());
    let active = async |number: Option<i32>| {
        let job: Job = place.get("j").await;
        let status = job.status.unwrap_or_default();
        status.active == number && status.ready.unwrap_or(0) == number.unwrap_or(0)
    };
    let resume = json!({"spec": {"suspend": false}});
    place.merge::<Job>("j", resume).await;
    place.until("two run", async || active(Some(2)).await).await;
    assert!(suspended("False").await);
    place
        .merge::<Job>("j", json!({"spec": {"suspend": true}}))
        .await;
    place
        .until("none run", async || {
            active(None).await && place.all::<Pod>().await.is_empty()
        })
        .await;
    for (reason, message) in [("Suspended", "Job suspended"), ("Resumed", "Job resumed")] {
        place.hears("Job", reason, message).await;
    }
}

pub async fn is_removed_after_its_time(place: &Place) {
    let spec = json!({"ttlSecondsAfterFinished": 2});
    place.create::<Job>(job("complete=200ms", spec)).await;
    place
        .until("it is gone with its pod", async || {
            let job = place.api::<Job>().get_opt("j").await.unwrap();
            job.is_none() && place.all::<Pod>().await.is_empty()
        })
        .await;
    place.hears("Job", "Completed", "Job completed").await;
}

pub async fn runs_at_its_moments(place: &Place) {
    let template = job("complete=200ms", json!({}))["spec"].take();
    place
        .create::<CronJob>(json!({"metadata": {"name": "c"}, "spec": {
            "schedule": "@every 1s", "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": template}}}))
        .await;
    place
        .until("a Job has succeeded", async || {
            let cron_job: CronJob = place.get("c").await;
            let status = cron_job.status.unwrap_or_default();
            status.last_schedule_time.is_some() && status.last_successful_time.is_some()
        })
        .await;
    let suspend = json!({"spec": {"suspend": true}});
    place.merge::<CronJob>("c", suspend).await;
    let jobs: Vec<Job> = place.all().await;
    let job = &jobs[0];
    let name = job.metadata.name.as_deref().unwrap();
    assert!(
        name.strip_prefix("c-").unwrap().parse::<u64>().is_ok(),
        "{name}"
    );
    let annotations = job.metadata.annotations.as_ref().unwrap();
    assert!(annotations.contains_key("batch.kubernetes.io/cronjob-scheduled-timestamp"));
    place
        .hears(
            "CronJob",
            "SuccessfulCreate",
            &format!("Created job {name}"),
        )
        .await;
    let completed = format!("Saw completed job: {name}, condition: Complete");
    place.hears("CronJob", "SawCompletedJob", &completed).await;
}
