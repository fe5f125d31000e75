//! Locks are fair.

use super::fixtures::{acquired, ended};
use crate::store::LockMode::{Exclusive, Shared};
use crate::store::{Error, LockMode, Store};

async fn lock(store: &dyn Store, mode: LockMode, holder: &str) -> bool {
    store.lock("l", mode, holder).await.expect("lock")
}

async fn unlock(store: &dyn Store, holder: &str) {
    store.unlock("l", holder).await.expect("unlock");
}

pub async fn exclusive_is_first_come_first_served(store: &dyn Store) {
    assert!(lock(store, Exclusive, "a").await);
    assert!(!lock(store, Exclusive, "b").await);
    assert!(!lock(store, Exclusive, "c").await);
    // Asking again neither loses nor gains a place.
    assert!(!lock(store, Exclusive, "b").await);
    assert!(lock(store, Exclusive, "a").await);
    unlock(store, "a").await;
    unlock(store, "a").await;
    assert!(!lock(store, Exclusive, "c").await);
    assert!(lock(store, Exclusive, "b").await);
    assert!(!lock(store, Exclusive, "a").await, "back to the end");
    unlock(store, "b").await;
    assert!(!lock(store, Exclusive, "a").await);
    assert!(lock(store, Exclusive, "c").await);
}

pub async fn neighbouring_shared_holders_go_together(store: &dyn Store) {
    assert!(lock(store, Shared, "s1").await);
    assert!(lock(store, Shared, "s2").await);
    assert!(!lock(store, Exclusive, "x").await);
    assert!(
        !lock(store, Shared, "s3").await,
        "not past a waiting exclusive"
    );
    unlock(store, "s1").await;
    assert!(!lock(store, Exclusive, "x").await);
    unlock(store, "s2").await;
    assert!(!lock(store, Shared, "s3").await);
    assert!(lock(store, Exclusive, "x").await);
    assert!(!lock(store, Shared, "s4").await);
    unlock(store, "x").await;
    assert!(lock(store, Shared, "s4").await);
    assert!(lock(store, Shared, "s3").await);
}

pub async fn waiter_may_leave(store: &dyn Store) {
    assert!(lock(store, Shared, "s1").await);
    assert!(!lock(store, Exclusive, "x").await);
    assert!(!lock(store, Shared, "s2").await);
    unlock(store, "x").await;
    assert!(lock(store, Shared, "s2").await);
    unlock(store, "nobody").await;
    assert!(lock(store, Shared, "s1").await);
}

pub async fn mode_is_that_of_the_first_call(store: &dyn Store) {
    assert!(lock(store, Shared, "a").await);
    assert!(
        !lock(store, Exclusive, "a").await,
        "sharing is not being alone"
    );
    assert!(lock(store, Shared, "a").await);
    assert!(lock(store, Shared, "b").await, "it was not upgraded");
    unlock(store, "a").await;
    unlock(store, "b").await;
    assert!(lock(store, Exclusive, "a").await);
    assert!(lock(store, Shared, "a").await, "being alone covers sharing");
    assert!(!lock(store, Shared, "b").await, "it was not downgraded");
}

pub async fn names_are_independent(store: &dyn Store) {
    for name in ["l", "l:q", "l:", ":l", "", "{x}l"] {
        assert!(
            store.lock(name, Exclusive, "a").await.expect("lock"),
            "{name:?}"
        );
        assert!(
            !store.lock(name, Exclusive, "b").await.expect("lock"),
            "{name:?}"
        );
    }
    unlock(store, "a").await;
    assert!(lock(store, Exclusive, "b").await);
    assert!(!store.lock("", Exclusive, "b").await.expect("lock"));
}

pub async fn ended_action_leaves_its_locks(store: &dyn Store) {
    let mine = acquired(store, "me").await;
    let holder = mine.id.to_string();
    for name in ["l1", "l2"] {
        assert!(store.lock(name, Exclusive, &holder).await.expect("lock"));
        assert!(!store.lock(name, Exclusive, "other").await.expect("lock"));
    }
    assert!(store.lock("l3", Exclusive, "other").await.expect("lock"));
    store.save(&ended(&mine), &[]).await.expect("save");
    for name in ["l1", "l2", "l3"] {
        assert!(
            store.lock(name, Exclusive, "other").await.expect("lock"),
            "{name}"
        );
    }
    // A paused executor wakes up late.
    let answer = store.lock("l1", Exclusive, &holder).await;
    assert!(matches!(answer, Err(Error::Fenced(id)) if id == mine.id));
    assert!(lock_named(store, "l1", "other").await);
}

async fn lock_named(store: &dyn Store, name: &str, holder: &str) -> bool {
    store.lock(name, Exclusive, holder).await.expect("lock")
}
