//! Many at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::PATIENCE;
use super::fixtures::{MINUTE, claim_of, ended, event, idempotency, intent, record};
use crate::clock;
use crate::store::{LockMode, Store, Submitted};

pub async fn one_of_fifty_claimers_wins(store: Arc<dyn Store>) {
    store
        .put_intent(&intent("a.1", record().id))
        .await
        .expect("put");
    let mut claimers = JoinSet::new();
    for n in 0..50 {
        let store = Arc::clone(&store);
        claimers.spawn(async move {
            let claim = claim_of(&n.to_string());
            let won = store.claim("a.1", &claim, None).await.expect("claim");
            won.then_some(claim)
        });
    }
    let winners: Vec<_> = claimers.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    let stored = store.intent("a.1").await.expect("intent").expect("it");
    assert_eq!((stored.claim.as_ref(), stored.claims), (winners.first(), 1));
}

pub async fn one_of_many_submitters_with_a_key_wins(store: Arc<dyn Store>) {
    let mut submitters = JoinSet::new();
    for _ in 0..50 {
        let store = Arc::clone(&store);
        submitters.spawn(async move {
            let mine = record();
            let key = idempotency("k", "print");
            let events = [event(&mine.id.to_string())];
            let answer = store.submit(&mine, Some(&key), &events).await;
            answer.expect("submit")
        });
    }
    let answers = submitters.join_all().await;
    let new: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Submitted::New(id) => Some(*id),
            Submitted::Replayed(_) => None,
        })
        .collect();
    assert_eq!(new.len(), 1);
    for answer in answers {
        let (Submitted::New(id) | Submitted::Replayed(id)) = answer;
        assert_eq!(id, new[0]);
    }
    assert_eq!(store.events_after(None, 99).await.expect("events").len(), 1);
}

/// Every action is carried out by one executor, and all are.
pub async fn actions_are_shared_out_among_executors(store: Arc<dyn Store>) {
    const ACTIONS: usize = 300;
    let mut submitters = JoinSet::new();
    for _ in 0..ACTIONS {
        let store = Arc::clone(&store);
        submitters.spawn(async move {
            let mine = record();
            let events = [event(&format!("{}.accepted", mine.id))];
            store.submit(&mine, None, &events).await.expect("submit");
            mine.id
        });
    }
    let submitted: HashSet<_> = submitters.join_all().await.into_iter().collect();
    assert_eq!(submitted.len(), ACTIONS);

    let mut executors = JoinSet::new();
    for n in 0..5 {
        let store = Arc::clone(&store);
        executors.spawn(async move {
            let owner = format!("executor-{n}");
            let mut done = Vec::new();
            loop {
                let taken = store.acquire(&owner, MINUTE, 7).await.expect("acquire");
                if taken.is_empty() {
                    return done;
                }
                for mine in taken {
                    assert_eq!(mine.fence, 1);
                    let events = [event(&format!("{}.ended", mine.id))];
                    store.save(&ended(&mine), &events).await.expect("save");
                    done.push(mine.id);
                }
            }
        });
    }
    let done: Vec<_> = executors.join_all().await.concat();
    assert_eq!(done.len(), ACTIONS);
    assert_eq!(done.into_iter().collect::<HashSet<_>>(), submitted);

    let events = store.events_after(None, ACTIONS * 3).await.expect("events");
    let ids: HashSet<_> = events.iter().map(|e| e.event.id.clone()).collect();
    assert_eq!((events.len(), ids.len()), (ACTIONS * 2, ACTIONS * 2));
    let mut listed = HashSet::new();
    let mut from = None;
    loop {
        let page = store.list(64, from.as_deref()).await.expect("list");
        listed.extend(page.actions.into_iter().map(|record| record.id));
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(listed, submitted);
}

pub async fn exclusive_lock_is_held_by_one(store: Arc<dyn Store>) {
    let inside = Arc::new(AtomicUsize::new(0));
    let mut holders = JoinSet::new();
    for n in 0..20 {
        let store = Arc::clone(&store);
        let inside = Arc::clone(&inside);
        holders.spawn(async move {
            let holder = n.to_string();
            let mut changes = store.changes();
            let give_up = clock::instant() + PATIENCE;
            loop {
                changes.mark_unchanged();
                let mode = LockMode::Exclusive;
                if store.lock("l", mode, &holder).await.expect("lock") {
                    break;
                }
                assert!(clock::instant() < give_up, "never got the lock");
                // The slow tick that every poller keeps.
                let tick = std::time::Duration::from_millis(200);
                let _ = clock::timeout(tick, changes.changed()).await;
            }
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            tokio::task::yield_now().await;
            assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
            store.unlock("l", &holder).await.expect("unlock");
        });
    }
    holders.join_all().await;
}
