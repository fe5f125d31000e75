//! A surge of which the new pod was lost: to a rollout, or to another hand's scaling.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::actions::back;
use crate::actions::fake::{Fake, taken, workload};
use crate::actions::steps;
use crate::clock;
use crate::store::{ActionId, Claim};

/// The step of the intent, and those of its way back, in the plan of a Create.
const INTENT: usize = 0;
const READY: usize = 2;
const HELD: usize = 5;
const DOWN: usize = 6;

/// A Create that has scaled from 2 to 3; `back`: it is being put back, its intent turned to hold.
async fn surged(cluster: &Arc<Fake>, back: bool) -> Step {
    clock::simulate(jiff::Timestamp::UNIX_EPOCH);
    let context = taken(cluster, |record| {
        record.steps[0].state = StepState::Done;
        record.steps[1].state = StepState::Done;
        record.steps[1].memo = json!({"ledger": "older", "generation": 4, "replicas": 3});
        if back {
            record.steps[2].state = StepState::Failed;
            record.back_from = record.steps.len();
            record.direction = Direction::Back;
            let way = back::compile(&record.steps, 0);
            record.steps.extend(way.steps);
        }
    })
    .await;
    let step = Step {
        context,
        index: READY,
        halt: CancellationToken::new(),
        deadline: clock::now() + SignedDuration::from_secs(60),
    };
    let lost = Intent {
        id: step.intent_id(INTENT),
        action: step.context.journal.id,
        workload: workload(),
        node: (!back).then(|| "n1".to_owned()),
        hold: back,
        replica_set: None,
        exclude: std::collections::BTreeSet::new(),
        claim: Some(Claim {
            held: false,
            namespace: "default".into(),
            name: "lost".into(),
            uid: "uid-lost".into(),
        }),
        claims: 1,
        refusal: None,
        created_at: clock::now(),
    };
    step.context.parts.store.put_intent(&lost).await.unwrap();
    step
}

async fn run(step: &Step, index: usize) -> Result<String, End> {
    let step = Step {
        index,
        ..step.clone()
    };
    let op = step
        .context
        .journal
        .read(|record| op_of(record, index))
        .await;
    steps::run(&step, &op.unwrap()).await
}

fn reason(ended: Result<String, End>) -> String {
    match ended {
        Err(End::Failed(failure)) => failure.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_new_pod_that_another_hand_has_taken() {
    let cluster = Fake::new();
    cluster.add_pod("web-1", None);
    cluster.add_pod("web-2", None);
    cluster.counts(2, 2);
    let step = surged(&cluster, false).await;
    let ended = run(&step, READY).await;
    assert_eq!(reason(ended), "ScaledByAnother");

    cluster.add_pod("web-3", None);
    cluster.counts(3, 3);
    assert_eq!(reason(run(&step, READY).await), "NewPodLost");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_came_for_another_intent_of_the_action_is_not_lost() {
    let cluster = Fake::new();
    for name in ["web-1", "web-2", "web-3"] {
        cluster.add_pod(name, None);
    }
    cluster.counts(3, 3);
    let step = surged(&cluster, false).await;
    // The action asks for one more, later: the third pod has taken that one's intent.
    let another = |record: &mut ActionRecord| {
        let mut another = record.steps[1].clone();
        another.state = StepState::Running;
        record.steps.push(another);
    };
    let journal = &step.context.journal;
    assert!(journal.write(another, &[]).await.is_ok());
    assert_eq!(reason(run(&step, READY).await), "DeadlineExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_came_for_another_action_is_not_lost_while_that_one_waits() {
    let cluster = Fake::new();
    for name in ["web-1", "web-2", "web-3"] {
        cluster.add_pod(name, None);
    }
    cluster.counts(3, 3);
    let step = surged(&cluster, false).await;
    let store = &step.context.parts.store;
    let mut other = store
        .intent(&step.intent_id(INTENT))
        .await
        .unwrap()
        .unwrap();
    other.action = ActionId::new(clock::now());
    other.id = format!("{}.0", other.action);
    other.claim = None;
    store.put_intent(&other).await.unwrap();
    assert_eq!(reason(run(&step, READY).await), "DeadlineExceeded");
}

#[tokio::test(start_paused = true)]
async fn what_another_hand_took_away_is_not_taken_twice() {
    let cluster = Fake::new();
    cluster.add_pod("web-1", None);
    cluster.add_pod("web-2", None);
    cluster.counts(2, 2);
    let step = surged(&cluster, true).await;
    assert_eq!(run(&step, HELD).await, Ok(steps::TAKEN_AWAY.to_owned()));
    // The verdict stands, whatever another hand does next.
    cluster.add_pod("web-3", None);
    cluster.counts(3, 3);
    assert_eq!(run(&step, DOWN).await, Ok(steps::TAKEN_AWAY.to_owned()));
    assert_eq!(cluster.replicas(), 3);
    assert_eq!(cluster.pods.lock().unwrap().len(), 3);
    let told = |record: &ActionRecord| steps::taken_away(record, None);
    assert!(step.context.journal.read(told).await);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_no_action_placed_goes_for_one_that_a_rollout_replaced() {
    let cluster = Fake::new();
    cluster.add_pod("web-1", Some("another action"));
    cluster.add_pod("web-2", None);
    cluster.add_pod("web-3", Some("another action"));
    cluster.counts(3, 3);
    let step = surged(&cluster, true).await;
    // Nothing makes a replacement in this world.
    assert_eq!(reason(run(&step, HELD).await), "DeadlineExceeded");
    let left: Vec<String> = cluster
        .pods
        .lock()
        .unwrap()
        .keys()
        .map(|key| key.name.clone())
        .collect();
    assert_eq!(left, ["web-1", "web-3"]);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_is_let_through_before_a_pod_is_held() {
    let cluster = Fake::new();
    cluster.counts(3, 1);
    let step = surged(&cluster, true).await;
    let id = step.intent_id(INTENT);
    let store = Arc::clone(&step.context.parts.store);
    let mut changes = store.changes();
    let waiting = step.clone();
    let task = tokio::spawn(async move { run(&waiting, HELD).await });
    while store.intent(&id).await.unwrap().is_some() {
        changes.changed().await.unwrap();
    }
    cluster.counts(3, 3);
    let again = loop {
        match store.intent(&id).await.unwrap() {
            Some(intent) => break intent,
            None => changes.changed().await.unwrap(),
        }
    };
    assert!(again.hold && again.claim.is_none());
    task.abort();
}
