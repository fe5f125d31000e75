//! What the cases are made of.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::clock;
use crate::model::WorkloadRef;
use crate::store::{
    ActionId, ActionRecord, ActionState, Claim, Direction, Idempotency, Intent, NewEvent, Store,
    Submitted,
};

pub const MINUTE: Duration = Duration::from_secs(60);

/// A pending action.
pub fn record() -> ActionRecord {
    let now = clock::now();
    // Redis keeps JSON, and JSON keeps nanoseconds: no rounding is needed.
    ActionRecord {
        id: ActionId::new(now),
        method: "action.Create".into(),
        request: json!({"workload": {"name": "web"}, "empty": [], "none": null, "big": 9_007_199_254_740_993_u64}),
        state: ActionState::Pending,
        reason: String::new(),
        message: String::new(),
        created_at: now,
        started_at: None,
        finished_at: None,
        deadline: now,
        pods: Vec::new(),
        steps: Vec::new(),
        direction: Direction::Forward,
        forward_from: 0,
        back_from: 0,
        restores: false,
        version: 0,
        fence: 0,
    }
}

pub fn event(id: &str) -> NewEvent {
    NewEvent {
        id: id.into(),
        kind: "wam.action.accepted.v1".into(),
        body: json!({"id": id, "data": {"list": [], "map": {}}}),
    }
}

pub fn idempotency(key: &str, fingerprint: &str) -> Idempotency {
    Idempotency {
        caller: "caller".into(),
        key: key.into(),
        fingerprint: fingerprint.into(),
        retention: MINUTE,
    }
}

pub fn intent(id: &str, action: ActionId) -> Intent {
    Intent {
        id: id.into(),
        action,
        workload: WorkloadRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: "default".into(),
            name: "web".into(),
            uid: "w-uid".into(),
        },
        node: Some("node-1".into()),
        hold: false,
        replica_set: None,
        exclude: BTreeSet::new(),
        claim: None,
        claims: 0,
        refusal: None,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

pub fn claim_of(uid: &str) -> Claim {
    Claim {
        namespace: "default".into(),
        name: format!("web-{uid}"),
        uid: uid.into(),
        held: false,
    }
}

/// The claim of a pod that is kept unbound.
pub fn held_claim_of(uid: &str) -> Claim {
    Claim {
        held: true,
        ..claim_of(uid)
    }
}

/// Submits a new action.
pub async fn submit(store: &dyn Store) -> ActionRecord {
    let record = record();
    let answer = store.submit(&record, None, &[]).await.expect("submit");
    assert_eq!(answer, Submitted::New(record.id));
    record
}

/// Submits and acquires; the store must hold no other free action.
pub async fn acquired(store: &dyn Store, owner: &str) -> ActionRecord {
    let submitted = submit(store).await;
    let taken = store.acquire(owner, MINUTE, 1).await.expect("acquire");
    assert_eq!(ids(&taken), [submitted.id]);
    taken.into_iter().next().expect("one")
}

pub fn ids(records: &[ActionRecord]) -> Vec<ActionId> {
    records.iter().map(|record| record.id).collect()
}

/// The record as its executor ends it.
pub fn ended(record: &ActionRecord) -> ActionRecord {
    ActionRecord {
        state: ActionState::Succeeded,
        finished_at: Some(clock::now()),
        ..record.clone()
    }
}
