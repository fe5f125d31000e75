//! What an eviction makes of its answers.

use std::iter::{once, repeat_n};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::actions::fake::{Fake, away, taken, workload};
use crate::actions::order::Target;
use crate::clock;

const REFUSED: &str = "it would violate the budget";

fn budget() -> CallError {
    CallError::Budget(REFUSED.into())
}

fn changed() -> CallError {
    CallError::Precondition("the pod was modified".into())
}

/// The step, its deadline so many milliseconds away, on a pod that is there.
async fn evicting(
    answers: impl IntoIterator<Item = CallError>,
    deadline: i64,
) -> (Arc<Fake>, Result<String, End>) {
    clock::simulate(jiff::Timestamp::UNIX_EPOCH);
    let cluster = Fake::new();
    cluster.add_pod("web-1", None);
    let target = Target {
        pod: NamespacedName::new("default", "web-1"),
        uid: "uid-web-1".into(),
        node: "n1".into(),
        replica_set: "uid-rs".into(),
        replica_set_name: "web-a".into(),
        workload: workload(),
    };
    cluster.evictions.lock().unwrap().extend(answers);
    let step = Step {
        context: taken(&cluster, |_| {}).await,
        index: 1,
        halt: CancellationToken::new(),
        deadline: clock::now() + SignedDuration::from_millis(deadline),
    };
    let ended = evict(&step, &Who::Named(target)).await;
    (cluster, ended)
}

fn failure(ended: Result<String, End>) -> (String, String) {
    match ended {
        Err(End::Failed(failure)) => (failure.reason, failure.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_budgets_refusal_is_the_reason_whatever_later_tries_were_answered() {
    let later = repeat_n(changed(), 9).chain(repeat_n(away(), 1000));
    let (cluster, ended) = evicting(once(budget()).chain(later), 10_000).await;
    let (reason, message) = failure(ended);
    assert_eq!(reason, "DisruptionBudget");
    assert!(message.contains(REFUSED), "{message}");
    assert_eq!(cluster.pods.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_budgets_refusal_the_deadline_is_the_reason() {
    let (reason, _) = failure(evicting(repeat_n(away(), 1000), 10_000).await.1);
    assert_eq!(reason, "DeadlineExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_changed_under_the_call_is_tried_again_at_once() {
    // Time is virtual and nothing moves: a try that waited for a change would wait a second.
    let begun = clock::instant();
    let (cluster, ended) = evicting([changed(), changed(), changed()], 60_000).await;
    assert_eq!(ended, Ok("pod default/web-1 evicted".to_owned()));
    assert!(cluster.pods.lock().unwrap().is_empty());
    assert!(clock::instant() - begun < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_when_the_budget_allows_it_or_the_server_is_well_again() {
    let (cluster, ended) = evicting([budget(), away(), changed()], 60_000).await;
    assert_eq!(ended, Ok("pod default/web-1 evicted".to_owned()));
    assert!(cluster.pods.lock().unwrap().is_empty());
}
