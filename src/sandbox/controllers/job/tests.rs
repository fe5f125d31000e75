//! Rounds of Jobs whose pods are as told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::backoff::Backoff;
use super::pods::index;
use super::round::{Manage, Round};
use crate::sandbox::controllers::objects::uid;

const NOW: &str = "2026-01-01T01:00:00Z";

fn job(spec: Value, status: Value) -> Job {
    let mut all = json!({"parallelism": 2, "completions": 3, "backoffLimit": 2, "template": {}});
    json_patch::merge(&mut all, &spec);
    let job = json!({"metadata": {"name": "j", "uid": "j"}, "spec": all, "status": status});
    serde_json::from_value(job).unwrap()
}

/// A pod told as `uid word index`; the word is run, ok, bad, going, over (ended and counted).
fn pod(told: &str) -> Arc<Pod> {
    let words = Vec::from_iter(told.split(' '));
    let phase = match words[1] {
        "ok" | "over" => "Succeeded",
        "bad" => "Failed",
        _ => "Running",
    };
    let mut pod = json!({
        "metadata": {"name": words[0], "uid": words[0], "creationTimestamp": "2026-01-01T00:00:00Z",
                     "finalizers": ["batch.kubernetes.io/job-tracking"],
                     "annotations": {"batch.kubernetes.io/job-completion-index": words.get(2)}},
        "spec": {"containers": []},
        "status": {"phase": phase},
    });
    if words.get(2).is_none() {
        pod["metadata"]["annotations"] = json!({});
    }
    if words[1] == "going" {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    if words[1] == "over" {
        pod["metadata"]["finalizers"] = json!([]);
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn round(spec: Value, status: Value, pods: &[&str]) -> Round {
    let pods = pods.iter().map(|told| pod(told)).collect();
    Round::new(
        job(spec, status),
        pods,
        Backoff::default(),
        NOW.parse().unwrap(),
    )
}

fn created(manage: &Manage) -> usize {
    match manage {
        Manage::Create(pods) => pods.len(),
        _ => 0,
    }
}

#[test]
fn as_many_pods_as_are_needed() {
    let manage = |pods: &[&str]| round(json!({}), json!({}), pods).manage();
    assert_eq!(created(&manage(&[])), 2);
    assert_eq!(created(&manage(&["a run"])), 1);
    assert_eq!(manage(&["a run", "b ok", "c ok"]), Manage::Nothing);
    assert_eq!(created(&manage(&["a ok", "b ok"])), 1);
    let Manage::Delete(gone) = manage(&["a run", "b run", "c run"]) else {
        panic!("one is too many");
    };
    assert_eq!(gone.len(), 1);
    // Terminating ones are replaced at once, or only when they have ended.
    assert_eq!(created(&manage(&["a run", "b going"])), 1);
    let patient = json!({"podReplacementPolicy": "Failed"});
    let round = round(patient, json!({}), &["a run", "b going"]);
    assert_eq!(round.manage(), Manage::Nothing);
}

#[test]
fn an_end_is_counted_once_the_finalizer_is_gone() {
    let mut first = round(json!({}), json!({}), &["a ok", "b bad", "c run"]);
    assert!(!first.judge());
    first.settle(true, 0, &[]);
    let released = first.count();
    assert_eq!(released.len(), 2);
    let status = first.job.status.clone().unwrap();
    let uncounted = status.uncounted_terminated_pods.unwrap();
    assert_eq!(uncounted.succeeded.unwrap(), ["a"]);
    assert_eq!(uncounted.failed.unwrap(), ["b"]);
    assert_eq!((status.succeeded, status.failed), (None, None));
    assert!(first.take_changed());
    // The finalizer of b could not be removed.
    let left: BTreeSet<String> = ["b".to_owned(), "c".to_owned()].into();
    first.counted(&left);
    let status = first.job.status.clone().unwrap();
    assert_eq!((status.succeeded, status.failed), (Some(1), None));
    // The next round knows b from the status and a not at all.
    let pods = ["b bad", "c run"].map(pod).to_vec();
    let mut second = Round::new(first.job, pods, first.backoff, NOW.parse().unwrap());
    second.settle(true, 0, &[]);
    assert_eq!(second.count().len(), 1);
    second.counted(&BTreeSet::new());
    let status = second.job.status.clone().unwrap();
    assert_eq!((status.succeeded, status.failed), (Some(1), Some(1)));
    assert_eq!(second.finish(), None);
}

#[test]
fn a_job_is_complete_when_all_have_succeeded() {
    let status = json!({"succeeded": 2, "startTime": "2026-01-01T00:00:00Z"});
    let mut round = round(json!({}), status, &["x over", "y over", "a ok"]);
    assert!(!round.judge());
    round.settle(true, 0, &[]);
    round.count();
    let conditions = round
        .job
        .status
        .as_ref()
        .unwrap()
        .conditions
        .clone()
        .unwrap();
    assert_eq!(conditions[0].type_, "SuccessCriteriaMet");
    assert_eq!(round.finish(), None, "it is not counted yet");
    round.counted(&BTreeSet::new());
    let end = round.finish().unwrap();
    assert_eq!(
        (end.type_.as_str(), end.reason.as_deref()),
        ("Complete", Some("CompletionsReached"))
    );
    let status = round.job.status.unwrap();
    assert_eq!(status.succeeded, Some(3));
    assert!(status.completion_time.is_some());
}

#[test]
fn a_job_fails_for_its_limits_and_waits_for_its_pods_to_go() {
    let started = json!({"startTime": "2026-01-01T00:00:00Z"});
    let told = |mut round: Round| {
        round.judge();
        let active = round.active.clone();
        round.settle(false, 0, &active);
        round.count();
        let conditions = round.job.status.as_ref().unwrap().conditions.clone();
        let target = conditions.unwrap_or_default().pop();
        round.counted(&BTreeSet::new());
        let waits = round.finish().is_none();
        (target.and_then(|target| target.reason), waits)
    };
    let bad = ["a bad", "b bad", "c bad"];
    let (reason, waits) = told(round(json!({}), started.clone(), &bad));
    assert_eq!(
        (reason.as_deref(), waits),
        (Some("BackoffLimitExceeded"), false)
    );
    let late = json!({"activeDeadlineSeconds": 60});
    let (reason, waits) = told(round(late, started.clone(), &["a run"]));
    assert_eq!((reason.as_deref(), waits), (Some("DeadlineExceeded"), true));
    let soon = json!({"activeDeadlineSeconds": 3700});
    let round = round(soon, started, &["a run"]);
    assert_eq!(round.until_deadline(), Some(Duration::from_secs(100)));
}

#[test]
fn indexes_are_each_done_once() {
    let indexed = json!({"completionMode": "Indexed", "parallelism": 5, "completions": 5});
    let status = json!({"completedIndexes": "1"});
    let mut round = round(
        indexed,
        status,
        &["a ok 3", "b run 0", "c run 0", "d run 9"],
    );
    let Manage::Delete(gone) = round.manage() else {
        panic!("a twin and a stranger go");
    };
    assert_eq!(gone.len(), 2);
    assert!(gone.iter().any(|pod| uid(&pod.metadata) == "d"));
    round.active.truncate(1);
    let Manage::Create(pods) = round.manage() else {
        panic!("two are missing");
    };
    assert_eq!(Vec::from_iter(pods.iter().map(index)), [Some(2), Some(4)]);
    round.settle(true, 0, &[]);
    round.count();
    let status = round.job.status.unwrap();
    assert_eq!(status.completed_indexes.as_deref(), Some("1,3"));
    assert_eq!(status.succeeded, Some(2));
}

#[test]
fn each_index_may_fail_so_often() {
    let spec = json!({"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 1,
                      "backoffLimit": i32::MAX});
    let started = json!({"startTime": "2026-01-01T00:00:00Z"});
    let mut first = round(spec.clone(), started.clone(), &["a bad 0", "b ok 1"]);
    assert!(!first.judge());
    // Its replacement inherits the count; until then the failed pod is kept.
    let Manage::Create(pods) = first.manage() else {
        panic!("index 0 is tried again");
    };
    assert_eq!(super::pods::index_failures(&pods[0]), 1);
    assert_eq!(first.count().len(), 1);
    let mut again = pod("c bad 0");
    let annotations = Arc::make_mut(&mut again)
        .metadata
        .annotations
        .as_mut()
        .unwrap();
    annotations.insert(super::pods::INDEX_FAILURES.into(), "1".into());
    let pods = vec![again, pod("b ok 1")];
    let mut last = Round::new(
        job(spec, started),
        pods,
        Backoff::default(),
        NOW.parse().unwrap(),
    );
    assert!(last.judge());
    last.settle(false, 0, &[]);
    last.count();
    let status = last.job.status.unwrap();
    assert_eq!(status.failed_indexes.as_deref(), Some("0"));
    let conditions = status.conditions.unwrap();
    assert_eq!(conditions[0].reason.as_deref(), Some("FailedIndexes"));
}

#[test]
fn a_suspended_job_gives_up_its_pods() {
    let suspended = json!({"suspend": true});
    let mut round = round(suspended, json!({}), &["a run"]);
    assert!(matches!(round.manage(), Manage::Delete(pods) if pods.len() == 1));
    let active = round.active.clone();
    let told = round.settle(true, 0, &active);
    assert_eq!(told, Some(("Suspended", "Job suspended")));
    let status = round.job.status.unwrap();
    assert_eq!(status.start_time, None);
    assert_eq!((status.active, status.terminating), (None, Some(1)));
}
