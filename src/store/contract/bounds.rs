//! What is kept is bounded, and who comes too late for it learns so.

use super::fixtures::{event, intent, record};
use crate::store::Store;

/// `kept` is how many events the store keeps.
pub async fn oldest_events_go_first(store: &dyn Store, kept: usize) {
    let events: Vec<_> = (0..kept + 2).map(|n| event(&n.to_string())).collect();
    store
        .submit(&record(), None, &events)
        .await
        .expect("submit");
    let left = store
        .events_after(Some("0-0"), kept * 2)
        .await
        .expect("events");
    let left: Vec<_> = left.into_iter().map(|e| e.event).collect();
    assert_eq!(left, events[2..]);
}

/// `kept` is how many withdrawals the store remembers.
pub async fn laggards_get_everything(store: &dyn Store, kept: usize) {
    let action = record().id;
    let put = async |id: &str| store.put_intent(&intent(id, action)).await.expect("put");
    put("stays").await;
    let before = store.intents_since(0).await.expect("delta").revision;
    for n in 0..kept {
        let id = n.to_string();
        put(&id).await;
        store.withdraw_intent(&id).await.expect("withdraw");
    }
    let delta = store.intents_since(before).await.expect("delta");
    assert!(!delta.full);
    assert_eq!(delta.withdrawn.len(), kept);
    put("one more").await;
    store.withdraw_intent("one more").await.expect("withdraw");
    let delta = store.intents_since(before).await.expect("delta");
    assert!(delta.full, "the first withdrawal is not known any more");
    assert_eq!(delta.changed.len(), 1);
    assert_eq!(delta.changed[0].id, "stays");
}
