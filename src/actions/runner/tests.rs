//! What an executor finds that takes over, and what a step finds out about a call without an answer.

use std::sync::Arc;

use jiff::SignedDuration;

use super::*;
use crate::actions::executor::{Executor, Settings};
use crate::actions::fake::{Fake, Fate, stored, taken, workload};

async fn scale_up(cluster: &Arc<Fake>, fate: Fate) -> Result<String, End> {
    let context = taken(cluster, |_| {}).await;
    cluster.fates.lock().unwrap().push_back(fate);
    let step = Step {
        context,
        index: 1,
        halt: CancellationToken::new(),
        deadline: clock::now() + SignedDuration::from_millis(60),
    };
    let op = Op::ScaleUp {
        workload: workload(),
    };
    steps::run(&step, &op).await
}

#[tokio::test]
async fn a_failure_that_nobody_acted_upon_is_no_success() {
    let cluster = Fake::new();
    let context = taken(&cluster, |record| {
        record.steps[0].state = StepState::Done;
        record.steps[1].state = StepState::Failed;
        record.reason = "Refused".into();
        record.message = "not allowed".into();
    })
    .await;
    run(Arc::clone(&context)).await;
    let (state, reason, message) = context
        .journal
        .read(|r| (r.state, r.reason.clone(), r.message.clone()))
        .await;
    assert_eq!(state, ActionState::Failed);
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("Refused", "not allowed")
    );
    assert_eq!(cluster.replicas(), 2);
}

#[tokio::test]
async fn a_patch_whose_answer_was_lost_counts_as_done_although_the_deadline_passed() {
    let cluster = Fake::new();
    let ended = scale_up(&cluster, Fate::AnswerLost).await;
    assert_eq!(ended, Ok("3 replicas".to_owned()));
    assert_eq!(cluster.replicas(), 3);
}

#[tokio::test]
async fn a_patch_that_is_still_under_way_at_the_deadline_arrives_in_vain() {
    let cluster = Fake::new();
    let ended = scale_up(&cluster, Fate::UnderWay).await;
    let Err(End::Failed(failure)) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(failure.reason, "DeadlineExceeded");
    let late = cluster.under_way.lock().unwrap().take().unwrap();
    assert_eq!(late.replicas_after, 3);
    assert!(matches!(
        cluster.apply(&late),
        Err(CallError::Precondition(_))
    ));
    assert_eq!(cluster.replicas(), 2);
}

#[tokio::test]
async fn an_action_whose_task_died_is_taken_again_when_its_lease_has_run_out() {
    let cluster = Fake::new();
    *cluster.panics.lock().unwrap() = true;
    let (id, parts) = stored(&cluster, |record| record.steps.clear()).await;
    let settings = Settings {
        lease: Duration::from_millis(300),
        ..Settings::new("test")
    };
    let shutdown = CancellationToken::new();
    let store = Arc::clone(&parts.store);
    let mut changes = store.changes();
    let executor = tokio::spawn(Executor::new(parts, settings).run(shutdown.clone()));
    let ended = clock::timeout(Duration::from_secs(20), async {
        loop {
            let record = store.action(id).await.unwrap().unwrap();
            if record.state.is_final() {
                return record;
            }
            changes.changed().await.unwrap();
        }
    });
    let record = ended.await.expect("it is taken again");
    assert_eq!(record.state, ActionState::Failed);
    assert_eq!(record.reason, "Infeasible");
    assert!(record.fence > 1, "taken once: {}", record.fence);
    shutdown.cancel();
    executor.await.unwrap();
}
