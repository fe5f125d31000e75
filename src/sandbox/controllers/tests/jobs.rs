//! Jobs and CronJobs.

use k8s_openapi::api::batch::v1::Job;

use super::*;
use crate::sandbox::controllers::job::round::end_of;

/// A Job whose pods end as `ends` says, such as `complete=1s`.
fn job(name: &str, ends: &str, spec: Value) -> Value {
    let mut job = json!({
        "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": {BEHAVIOUR: ends}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    });
    json_patch::merge(&mut job["spec"], &spec);
    job
}

impl Cluster {
    async fn ends(&self, name: &str, how: &str) -> Job {
        self.until("the Job is over", || async {
            let job = self.api::<Job>().get(name).await.unwrap();
            end_of(&job).is_some_and(|end| end.type_ == how)
        })
        .await;
        self.api::<Job>().get(name).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_its_pods_to_completion_and_counts_each_once() {
    let cluster = Cluster::start().await;
    let spec = json!({"completions": 5, "parallelism": 2, "completionMode": "Indexed"});
    cluster.create::<Job>(job("j", "complete=1s", spec)).await;
    let done = cluster.ends("j", "Complete").await.status.unwrap();
    assert_eq!((done.succeeded, done.failed), (Some(5), None));
    assert_eq!(done.completed_indexes.as_deref(), Some("0-4"));
    assert_eq!(cluster.pods_ever.lock().unwrap().len(), 5);
    let conditions = done.conditions.unwrap();
    let kinds = Vec::from_iter(conditions.iter().map(|condition| condition.type_.as_str()));
    assert_eq!(kinds, ["SuccessCriteriaMet", "Complete"]);
    // Its pods stay, without the finalizer, until it goes.
    assert_eq!(cluster.pods().await.len(), 5);
    let jobs: Api<Job> = cluster.api();
    jobs.delete("j", &DeleteParams::background()).await.unwrap();
    cluster
        .until("nothing is left", || async {
            cluster.pods().await.is_empty()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_job_gives_up_after_its_backoff_limit_and_goes_after_its_time() {
    let cluster = Cluster::start().await;
    let spec = json!({"backoffLimit": 2, "ttlSecondsAfterFinished": 30});
    let started = clock::now();
    cluster.create::<Job>(job("j", "fail=1s", spec)).await;
    let failed = cluster.ends("j", "Failed").await.status.unwrap();
    assert_eq!((failed.succeeded, failed.failed), (None, Some(3)));
    assert_eq!(cluster.pods_ever.lock().unwrap().len(), 3);
    // Ten seconds, then twenty, between one failure and the next pod.
    assert!(clock::now().duration_since(started).as_secs() >= 30);
    cluster
        .until("it is gone with its pods", || async {
            let gone = cluster.api::<Job>().get_opt("j").await.unwrap().is_none();
            gone && cluster.pods().await.is_empty()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_job_is_stopped_at_its_deadline_and_when_it_is_suspended() {
    let cluster = Cluster::start().await;
    let spec = json!({"activeDeadlineSeconds": 60, "parallelism": 2, "suspend": true});
    cluster.create::<Job>(job("j", "never-ready", spec)).await;
    let condition = async |kind: &str| {
        let job = cluster.api::<Job>().get("j").await.unwrap();
        let conditions = job.status.and_then(|status| status.conditions);
        let found = conditions.unwrap_or_default().into_iter();
        let mut found = found.filter(|condition| condition.type_ == kind);
        found.next().map(|condition| condition.status)
    };
    cluster
        .until("it is suspended", || async {
            condition("Suspended").await.as_deref() == Some("True")
        })
        .await;
    assert!(cluster.pods().await.is_empty());
    let resume = Patch::Merge(json!({"spec": {"suspend": false}}));
    let jobs: Api<Job> = cluster.api();
    jobs.patch("j", &PatchParams::default(), &resume)
        .await
        .unwrap();
    cluster
        .until("its pods run", || async { cluster.pods().await.len() == 2 })
        .await;
    assert_eq!(condition("Suspended").await.as_deref(), Some("False"));
    let failed = cluster.ends("j", "Failed").await;
    let reason = end_of(&failed).unwrap().reason.clone();
    assert_eq!(reason.as_deref(), Some("DeadlineExceeded"));
    assert_eq!(failed.status.unwrap().failed, Some(2));
    cluster
        .until("its pods are gone", || async {
            cluster.pods().await.is_empty()
        })
        .await;
}
