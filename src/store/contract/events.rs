//! The event log.

use super::PATIENCE;
use super::fixtures::{acquired, claim_of, ended, event, intent, record};
use crate::clock;
use crate::store::{Error, Store, StoredEvent};

fn names(events: &[StoredEvent]) -> Vec<&str> {
    events.iter().map(|e| e.event.id.as_str()).collect()
}

pub async fn are_in_order_and_resumable(store: &dyn Store) {
    let first = record();
    let answer = store.submit(&first, None, &[event("1"), event("2")]).await;
    answer.expect("submit");
    let mine = store
        .acquire("me", PATIENCE, 1)
        .await
        .expect("acquire")
        .remove(0);
    let done = ended(&mine);
    store
        .save(&done, &[event("3"), event("4"), event("5")])
        .await
        .expect("save");

    let all = store.events_after(None, 100).await.expect("events");
    assert_eq!(names(&all), ["1", "2", "3", "4", "5"]);
    assert_eq!(all[2].event, event("3"));
    let last = store.last_event().await.expect("last");
    assert_eq!(last.as_deref(), Some(all[4].position.as_str()));

    let some = store.events_after(None, 2).await.expect("events");
    assert_eq!(names(&some), ["1", "2"]);
    let more = store
        .events_after(Some(&some[1].position), 2)
        .await
        .expect("events");
    assert_eq!(names(&more), ["3", "4"]);
    let rest = store
        .events_after(Some(&more[1].position), 2)
        .await
        .expect("events");
    assert_eq!(names(&rest), ["5"]);
    let none = store
        .events_after(Some(&rest[0].position), 2)
        .await
        .expect("events");
    assert!(none.is_empty());
    assert!(
        store
            .events_after(None, 0)
            .await
            .expect("events")
            .is_empty()
    );
    // A position older than all, and one that is still to come.
    let old = store.events_after(Some("0-0"), 9).await.expect("events");
    assert_eq!(old.len(), 5);
    let future = format!("{}-0", u64::MAX);
    assert!(
        store
            .events_after(Some(&future), 9)
            .await
            .expect("events")
            .is_empty()
    );
    let end = format!("{0}-{0}", u64::MAX);
    assert!(
        store
            .events_after(Some(&end), 9)
            .await
            .expect("events")
            .is_empty()
    );
}

pub async fn repetitions_append_nothing(store: &dyn Store) {
    let mine = acquired(store, "me").await;
    for _ in 0..3 {
        store.save(&mine, &[event("1")]).await.expect("save");
    }
    assert_eq!(
        names(&store.events_after(None, 9).await.expect("events")),
        ["1"]
    );
}

pub async fn bad_positions_are_refused(store: &dyn Store) {
    for bad in [
        "",
        "x",
        "1",
        "1-",
        "-",
        "$",
        "+",
        "1-1-1",
        "(1-1",
        "1-1 ",
        "99999999999999999999-0",
    ] {
        let answer = store.events_after(Some(bad), 9).await;
        assert!(
            matches!(answer, Err(Error::BadPosition(_))),
            "{bad:?}: {answer:?}"
        );
    }
}

pub async fn changes_move_after_writes(store: &dyn Store) {
    let mut changes = store.changes();
    let mut moved = async |what: &str| {
        let waited = clock::timeout(PATIENCE, changes.changed()).await;
        waited.expect(what).expect("the store lives");
    };
    let first = record();
    store
        .submit(&first, None, &[event("1")])
        .await
        .expect("submit");
    moved("submit").await;
    store
        .put_intent(&intent("a.1", first.id))
        .await
        .expect("put");
    moved("put").await;
    store
        .claim("a.1", &claim_of("p"), None)
        .await
        .expect("claim");
    moved("claim").await;
    store.withdraw_intent("a.1").await.expect("withdraw");
    moved("withdraw").await;
    let mine = store
        .acquire("me", PATIENCE, 1)
        .await
        .expect("acquire")
        .remove(0);
    store.release("me", &[mine.id]).await.expect("release");
    moved("release").await;
    let mode = crate::store::LockMode::Exclusive;
    store.lock("l", mode, "a").await.expect("lock");
    store.unlock("l", "a").await.expect("unlock");
    moved("unlock").await;
}
