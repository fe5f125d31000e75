//! Who carries an action out, and that only one can.

use std::time::Duration;

use super::PATIENCE;
use super::fixtures::{MINUTE, acquired, ended, event, ids, submit};
use crate::clock;
use crate::store::{ActionState, Error, Store};

pub async fn oldest_is_acquired_first_and_once(store: &dyn Store) {
    let mut submitted = Vec::new();
    for _ in 0..5 {
        submitted.push(submit(store).await.id);
    }
    let first = store.acquire("a", MINUTE, 2).await.expect("acquire");
    assert_eq!(ids(&first), submitted[..2]);
    assert!(first.iter().all(|record| record.fence == 1));
    let rest = store.acquire("b", MINUTE, 10).await.expect("acquire");
    assert_eq!(ids(&rest), submitted[2..]);
    assert!(
        store
            .acquire("c", MINUTE, 10)
            .await
            .expect("acquire")
            .is_empty()
    );
    assert!(
        store
            .acquire("a", MINUTE, 10)
            .await
            .expect("acquire")
            .is_empty()
    );
    assert!(
        store
            .acquire("a", MINUTE, 0)
            .await
            .expect("acquire")
            .is_empty()
    );
}

pub async fn released_action_is_taken_at_once(store: &dyn Store) {
    let old = acquired(store, "a").await;
    store.release("a", &[old.id]).await.expect("release");
    store.release("a", &[old.id]).await.expect("release again");
    let new = store.acquire("b", MINUTE, 1).await.expect("acquire");
    assert_eq!(new[0].fence, old.fence + 1);
    let answer = store.save(&old, &[event("late")]).await;
    assert!(matches!(answer, Err(Error::Fenced(id)) if id == old.id));
    assert!(store.last_event().await.expect("last").is_none());
    store.save(&new[0], &[event("a")]).await.expect("save");
    // A repetition of a write that was done is fenced too, once there is a successor.
    store.release("b", &[old.id]).await.expect("release");
    let third = store.acquire("c", MINUTE, 1).await.expect("acquire");
    assert_eq!(third[0].version, new[0].version + 1);
    let answer = store.save(&new[0], &[event("a")]).await;
    assert!(matches!(answer, Err(Error::Fenced(_))));
}

pub async fn only_the_owner_renews_and_releases(store: &dyn Store) {
    let one = acquired(store, "a").await;
    let two = acquired(store, "b").await;
    let both = [one.id, two.id];
    assert_eq!(
        store.renew("a", &both, MINUTE).await.expect("renew"),
        [one.id]
    );
    assert_eq!(
        store.renew("b", &both, MINUTE).await.expect("renew"),
        [two.id]
    );
    store.release("a", &both).await.expect("release");
    let taken = store.acquire("c", MINUTE, 9).await.expect("acquire");
    assert_eq!(ids(&taken), [one.id], "what b holds stays with b");
    assert!(
        store
            .renew("a", &both, MINUTE)
            .await
            .expect("renew")
            .is_empty()
    );
    assert!(
        store
            .renew("a", &[], MINUTE)
            .await
            .expect("renew")
            .is_empty()
    );
}

/// With the time that real servers are given in tests.
pub async fn expired_lease_after_a_moment(store: &dyn Store) {
    expired_lease_is_taken_over(store, Duration::from_millis(150)).await;
}

pub async fn expired_lease_is_taken_over(store: &dyn Store, ttl: Duration) {
    let id = submit(store).await.id;
    let taken = store.acquire("a", ttl, 1).await.expect("acquire");
    let old = taken.into_iter().next().expect("one");
    let begun = clock::instant();
    assert_eq!(store.renew("a", &[id], ttl * 2).await.expect("renew"), [id]);
    let give_up = begun + ttl * 2 + PATIENCE;
    let new = loop {
        if let Some(new) = store.acquire("b", MINUTE, 1).await.expect("acquire").pop() {
            break new;
        }
        assert!(clock::instant() < give_up, "the lease does not end");
        clock::sleep(ttl / 10).await;
    };
    let held = clock::instant() - begun;
    // The server's clock counts whole milliseconds.
    assert!(
        held + Duration::from_millis(5) >= ttl * 2,
        "renewed, yet over after {held:?}"
    );
    assert_eq!((new.id, new.fence), (id, old.fence + 1));
    assert!(
        store
            .renew("a", &[id], ttl)
            .await
            .expect("renew")
            .is_empty()
    );
    store.release("a", &[id]).await.expect("release");
    assert!(matches!(store.save(&old, &[]).await, Err(Error::Fenced(_))));
    assert_eq!(store.renew("b", &[id], MINUTE).await.expect("renew"), [id]);
}

/// What a caller's cancellation needs: end an action that nobody has begun, and lose to an executor.
pub async fn pending_action_can_be_ended_unless_taken(store: &dyn Store) {
    let free = submit(store).await;
    let mut cancelled = ended(&free);
    cancelled.state = ActionState::Cancelled;
    store.save(&cancelled, &[event("c")]).await.expect("save");
    assert!(
        store
            .acquire("a", MINUTE, 9)
            .await
            .expect("acquire")
            .is_empty()
    );

    let taken = submit(store).await;
    store.acquire("a", MINUTE, 9).await.expect("acquire");
    let answer = store.save(&ended(&taken), &[]).await;
    assert!(matches!(answer, Err(Error::Fenced(_))));
}
