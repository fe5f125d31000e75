//! Submitting, saving, reading and listing.

use std::time::Duration;

use serde_json::json;

use super::PATIENCE;
use super::fixtures::{acquired, ended, event, idempotency, ids, record, submit};
use crate::clock;
use crate::store::{
    ActionRecord, ActionState, Error, Idempotency, StepRecord, StepState, Store, Submitted,
};

pub async fn a_new_store_is_empty(store: &dyn Store) {
    store.ping().await.expect("ping");
    assert!(store.action(record().id).await.expect("action").is_none());
    let page = store.list(10, None).await.expect("list");
    assert!(page.actions.is_empty() && page.next.is_none());
    let taken = store.acquire("me", Duration::from_secs(1), 10).await;
    assert!(taken.expect("acquire").is_empty());
    assert!(store.idempotent("", "k").await.expect("key").is_none());
    assert!(store.last_event().await.expect("last").is_none());
    assert!(
        store
            .events_after(None, 10)
            .await
            .expect("events")
            .is_empty()
    );
    let delta = store.intents_since(0).await.expect("intents");
    assert!(delta.full && delta.changed.is_empty() && delta.withdrawn.is_empty());
}

pub async fn submitted_action_is_read_back(store: &dyn Store) {
    let record = submit(store).await;
    let stored = store.action(record.id).await.expect("action");
    assert_eq!(stored, Some(record));
}

pub async fn repeated_submission_changes_nothing(store: &dyn Store) {
    let first = record();
    let key = idempotency("k", "print");
    for _ in 0..3 {
        let answer = store.submit(&first, Some(&key), &[event("a")]).await;
        assert_eq!(answer.expect("submit"), Submitted::New(first.id));
    }
    let taken = store.acquire("me", super::fixtures::MINUTE, 10).await;
    let mut running = taken.expect("acquire").remove(0);
    running.state = ActionState::Running;
    store.save(&running, &[]).await.expect("save");
    // Even when the executor was faster than the repetition.
    let answer = store.submit(&first, Some(&key), &[event("a")]).await;
    assert_eq!(answer.expect("submit"), Submitted::New(first.id));
    let stored = store.action(first.id).await.expect("action").expect("it");
    assert_eq!(stored.state, ActionState::Running);
    assert_eq!(store.list(9, None).await.expect("list").actions.len(), 1);
    assert_eq!(store.events_after(None, 9).await.expect("events").len(), 1);
}

pub async fn idempotency_key_replays_or_refuses(store: &dyn Store) {
    let first = record();
    let key = idempotency("k", "print");
    let answer = store.submit(&first, Some(&key), &[]).await;
    assert_eq!(answer.expect("submit"), Submitted::New(first.id));

    let answer = store.submit(&record(), Some(&key), &[event("x")]).await;
    assert_eq!(answer.expect("submit"), Submitted::Replayed(first.id));

    let other = idempotency("k", "other print");
    match store.submit(&record(), Some(&other), &[event("y")]).await {
        Err(Error::IdempotencyMismatch { key, action }) => {
            assert_eq!((key.as_str(), action), ("k", first.id));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.list(9, None).await.expect("list").actions.len(), 1);
    assert!(
        store
            .events_after(None, 9)
            .await
            .expect("events")
            .is_empty()
    );

    let known = store.idempotent("caller", "k").await.expect("key");
    assert_eq!(known, Some((first.id, "print".to_owned())));
    assert!(store.idempotent("other", "k").await.expect("key").is_none());
    // The caller's name and key do not run into each other.
    let theirs = Idempotency {
        caller: "call".into(),
        key: "erk".into(),
        ..key
    };
    let second = record();
    let answer = store.submit(&second, Some(&theirs), &[]).await;
    assert_eq!(answer.expect("submit"), Submitted::New(second.id));
}

pub async fn idempotency_key_is_forgotten(store: &dyn Store) {
    let retention = Duration::from_millis(50);
    let short = Idempotency {
        retention,
        ..idempotency("k", "print")
    };
    store
        .submit(&record(), Some(&short), &[])
        .await
        .expect("submit");
    let give_up = clock::instant() + PATIENCE;
    while store
        .idempotent("caller", "k")
        .await
        .expect("key")
        .is_some()
    {
        assert!(clock::instant() < give_up, "the key is not forgotten");
        clock::sleep(retention / 5).await;
    }
    let anew = record();
    let other = idempotency("k", "other print");
    let answer = store.submit(&anew, Some(&other), &[]).await;
    assert_eq!(answer.expect("submit"), Submitted::New(anew.id));
}

pub async fn saves_count_versions_and_refuse_stale_ones(store: &dyn Store) {
    let mut mine = acquired(store, "me").await;
    let read = mine.clone();
    mine.state = ActionState::Running;
    mine.steps.push(StepRecord {
        name: "evict default/web-1".into(),
        op: json!({"evict": {"pods": []}}),
        needs: vec![],
        state: StepState::Pending,
        started_at: None,
        finished_at: None,
        detail: String::new(),
        memo: json!({}),
    });
    let version = store.save(&mine, &[event("a")]).await.expect("save");
    assert_eq!(version, read.version + 1);
    let stored = store.action(mine.id).await.expect("action").expect("it");
    let expected = ActionRecord {
        version,
        ..mine.clone()
    };
    assert_eq!(stored, expected);

    let late = ActionRecord {
        message: "from the version before".into(),
        ..read
    };
    let answer = store.save(&late, &[event("b")]).await;
    assert!(matches!(answer, Err(Error::Stale(id)) if id == mine.id));
    let ahead = ActionRecord {
        version: version + 5,
        ..late
    };
    let answer = store.save(&ahead, &[event("c")]).await;
    assert!(matches!(answer, Err(Error::Stale(id)) if id == mine.id));
    assert_eq!(store.events_after(None, 9).await.expect("events").len(), 1);
    let stored = store.action(mine.id).await.expect("action").expect("it");
    assert_eq!(stored, expected);
}

pub async fn repeated_save_answers_as_the_first(store: &dyn Store) {
    let mut mine = acquired(store, "me").await;
    mine.state = ActionState::Running;
    let first = store.save(&mine, &[event("a")]).await.expect("save");
    assert_eq!(store.save(&mine, &[event("a")]).await.expect("save"), first);
    mine.version = first;
    mine.message = "no events".into();
    let second = store.save(&mine, &[]).await.expect("save");
    assert_eq!(store.save(&mine, &[]).await.expect("save"), second);
    assert_eq!(second, first + 1);
    mine.message = "another write without events".into();
    let answer = store.save(&mine, &[]).await;
    assert!(matches!(answer, Err(Error::Stale(_))), "{answer:?}");
    // The last write can be repeated too.
    mine.version = second;
    let done = ended(&mine);
    let last = store.save(&done, &[event("b")]).await.expect("save");
    assert_eq!(store.save(&done, &[event("b")]).await.expect("save"), last);
    assert_eq!(store.events_after(None, 9).await.expect("events").len(), 2);
}

pub async fn ended_action_changes_no_more(store: &dyn Store) {
    let mine = acquired(store, "me").await;
    let mut done = ended(&mine);
    done.version = store.save(&done, &[event("end")]).await.expect("save");
    let answer = store.save(&done, &[event("more")]).await;
    assert!(matches!(answer, Err(Error::Stale(id)) if id == mine.id));
    let renewed = store.renew("me", &[mine.id], super::fixtures::MINUTE).await;
    assert!(renewed.expect("renew").is_empty());
    store.release("me", &[mine.id]).await.expect("release");
    let taken = store.acquire("other", super::fixtures::MINUTE, 9).await;
    assert!(taken.expect("acquire").is_empty());
    let stored = store.action(mine.id).await.expect("action");
    assert_eq!(stored, Some(done));
}

pub async fn unknown_action_is_not_found(store: &dyn Store) {
    let unknown = record();
    let answer = store.save(&unknown, &[event("a")]).await;
    assert!(matches!(answer, Err(Error::NotFound(id)) if id == unknown.id));
    assert!(store.last_event().await.expect("last").is_none());
    let renewed = store.renew("me", &[unknown.id], PATIENCE).await;
    assert!(renewed.expect("renew").is_empty());
    store.release("me", &[unknown.id]).await.expect("release");
    assert!(store.action(unknown.id).await.expect("action").is_none());
}

pub async fn list_pages_newest_first(store: &dyn Store) {
    let mut submitted = Vec::new();
    for _ in 0..5 {
        submitted.push(submit(store).await.id);
    }
    submitted.reverse();
    let all = store.list(5, None).await.expect("list");
    assert_eq!(ids(&all.actions), submitted);
    assert_eq!(all.next, None, "a full page that is the last says so");

    let first = store.list(2, None).await.expect("list");
    assert_eq!(ids(&first.actions), submitted[..2]);
    // What comes while one pages does not shift the pages.
    submit(store).await;
    let second = store.list(2, first.next.as_deref()).await.expect("list");
    assert_eq!(ids(&second.actions), submitted[2..4]);
    let third = store.list(2, second.next.as_deref()).await.expect("list");
    assert_eq!(ids(&third.actions), submitted[4..]);
    assert_eq!(third.next, None);

    for bad in ["x", "-1", "1.5", "(3", "+inf"] {
        let answer = store.list(2, Some(bad)).await;
        assert!(
            matches!(answer, Err(Error::BadPosition(_))),
            "{bad}: {answer:?}"
        );
    }
}

pub async fn strange_text_survives(store: &dyn Store) {
    let text = "\u{0}\r\n\"'{}[]$1 ünïcödé \u{1F980} $(rm) ]]--";
    let mut strange = record();
    strange.message = text.into();
    strange.request = json!({ text: [text, {}, [], null, 1e300, -0.0, u64::MAX] });
    let key = Idempotency {
        caller: text.into(),
        ..idempotency(text, text)
    };
    let mut happened = event(text);
    happened.kind = text.into();
    happened.body = strange.request.clone();
    let answer = store
        .submit(&strange, Some(&key), std::slice::from_ref(&happened))
        .await;
    assert_eq!(answer.expect("submit"), Submitted::New(strange.id));
    let stored = store.action(strange.id).await.expect("action");
    assert_eq!(stored.as_ref(), Some(&strange));
    let known = store.idempotent(text, text).await.expect("key");
    assert_eq!(known, Some((strange.id, text.to_owned())));
    let events = store.events_after(None, 1).await.expect("events");
    assert_eq!(events[0].event, happened);
    assert!(
        store
            .lock(text, crate::store::LockMode::Exclusive, text)
            .await
            .expect("lock")
    );
    store.unlock(text, text).await.expect("unlock");
}
