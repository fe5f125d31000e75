//! Ended actions are forgotten after a while, and nothing else is.

use std::time::Duration;

use super::fixtures::{MINUTE, acquired, ended, idempotency, ids, record};
use crate::clock;
use crate::store::{Error, Store, Submitted};

const MANY: usize = 1000;

/// An action that has ended.
async fn finished(store: &dyn Store) -> crate::store::ActionRecord {
    let mine = acquired(store, "me").await;
    let last = ended(&mine);
    store.save(&last, &[]).await.expect("save");
    last
}

/// Lets the clock of any store move on.
async fn a_moment() {
    clock::sleep(Duration::from_millis(20)).await;
}

pub async fn ended_actions_are_forgotten_by_age(store: &dyn Store) {
    let asked = idempotency("key", "print");
    let old = record();
    store.submit(&old, Some(&asked), &[]).await.expect("submit");
    let taken = store.acquire("me", MINUTE, 1).await.expect("acquire");
    let last = ended(&taken[0]);
    store.save(&last, &[]).await.expect("save");
    let running = acquired(store, "me").await;
    a_moment().await;

    assert_eq!(store.prune(MINUTE, MANY).await.expect("prune"), 0);
    let young = Duration::from_millis(1);
    assert_eq!(store.prune(young, MANY).await.expect("prune"), 1);
    assert_eq!(store.prune(young, MANY).await.expect("prune"), 0);
    assert!(store.action(old.id).await.expect("action").is_none());
    let list = store.list(10, None).await.expect("list");
    assert_eq!(ids(&list.actions), [running.id]);
    assert!(matches!(store.save(&last, &[]).await, Err(Error::NotFound(id)) if id == old.id));
    // The key is still known: the same request is not done once more.
    let again = store.submit(&record(), Some(&asked), &[]).await;
    assert_eq!(again.expect("submit"), Submitted::Replayed(old.id));
    // Who runs is none the worse.
    store.save(&ended(&running), &[]).await.expect("save");
}

pub async fn the_oldest_ended_actions_are_forgotten_beyond_a_number(store: &dyn Store) {
    let first = finished(store).await;
    a_moment().await;
    let second = finished(store).await;
    a_moment().await;
    let third = finished(store).await;
    assert_eq!(store.prune(MINUTE, 3).await.expect("prune"), 0);
    assert_eq!(store.prune(MINUTE, 2).await.expect("prune"), 1);
    let list = store.list(10, None).await.expect("list");
    assert_eq!(ids(&list.actions), [third.id, second.id]);
    assert!(store.action(first.id).await.expect("action").is_none());
}
