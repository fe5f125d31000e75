//! Intents and their claims.

use super::fixtures::{acquired, claim_of, ended, held_claim_of, intent, record};
use crate::store::{Error, Intent, IntentDelta, Refusal, Store};

async fn stored(store: &dyn Store, id: &str) -> Intent {
    store
        .intent(id)
        .await
        .expect("intent")
        .expect("it is there")
}

async fn since(store: &dyn Store, revision: u64) -> IntentDelta {
    store.intents_since(revision).await.expect("delta")
}

fn changed(delta: &IntentDelta) -> Vec<&str> {
    let mut ids: Vec<&str> = delta.changed.iter().map(|i| i.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

pub async fn put_is_idempotent(store: &dyn Store) {
    let mut first = intent("a.1", record().id);
    first.exclude = ["x".to_owned(), "y".to_owned()].into();
    store.put_intent(&first).await.expect("put");
    assert_eq!(stored(store, "a.1").await, first);
    assert!(
        store
            .claim("a.1", &claim_of("p"), None)
            .await
            .expect("claim")
    );
    let before = since(store, 0).await;
    let mut again = first.clone();
    again.node = Some("elsewhere".into());
    store.put_intent(&again).await.expect("put");
    let kept = stored(store, "a.1").await;
    assert_eq!((kept.node, kept.claims), (first.node, 1));
    assert_eq!(kept.claim, Some(claim_of("p")));
    let after = since(store, before.revision).await;
    assert!(!after.full && after.changed.is_empty(), "nothing changed");
    assert!(store.intent("a.2").await.expect("intent").is_none());

    // A whole intent goes through as it is.
    let whole = Intent {
        node: None,
        hold: true,
        replica_set: Some("rs-uid".into()),
        claim: Some(held_claim_of("q")),
        claims: 3,
        refusal: Some(Refusal {
            pod_uid: "q".into(),
            plugin: "NodeResourcesFit".into(),
            message: "Insufficient cpu".into(),
        }),
        ..intent("a.3", first.action)
    };
    store.put_intent(&whole).await.expect("put");
    assert_eq!(stored(store, "a.3").await, whole);
}

pub async fn claim_is_taken_kept_and_passed_on(store: &dyn Store) {
    let claim = |uid: &'static str, instead: Option<&'static str>| async move {
        let answer = store.claim("a.1", &claim_of(uid), instead).await;
        answer.expect("claim")
    };
    assert!(!claim("p", None).await, "there is no intent");
    store
        .put_intent(&intent("a.1", record().id))
        .await
        .expect("put");
    assert!(claim("p", None).await);
    assert!(claim("p", None).await, "a repetition");
    assert!(!claim("q", None).await);
    assert!(!claim("q", Some("someone else")).await);
    assert_eq!(stored(store, "a.1").await.claim, Some(claim_of("p")));
    assert!(claim("q", Some("p")).await, "p is dead");
    assert!(claim("q", Some("p")).await, "a repetition");
    assert!(!claim("p", None).await);
    let now = stored(store, "a.1").await;
    assert_eq!((now.claim, now.claims), (Some(claim_of("q")), 2));

    store.unclaim("a.1", "p").await.expect("unclaim by another");
    assert_eq!(stored(store, "a.1").await.claim, Some(claim_of("q")));
    store.unclaim("a.1", "q").await.expect("unclaim");
    store.unclaim("a.1", "q").await.expect("unclaim again");
    assert_eq!(stored(store, "a.1").await.claim, None);
    assert!(claim("r", Some("q")).await, "free: whoever comes");
    assert_eq!(stored(store, "a.1").await.claims, 3);
    store.unclaim("a.2", "r").await.expect("unclaim nothing");
}

pub async fn excluded_pod_may_not_claim(store: &dyn Store) {
    let mut choosy = intent("a.1", record().id);
    choosy.exclude = ["old-1".to_owned(), "old-2".to_owned()].into();
    store.put_intent(&choosy).await.expect("put");
    for uid in ["old-1", "old-2"] {
        assert!(
            !store
                .claim("a.1", &claim_of(uid), None)
                .await
                .expect("claim")
        );
    }
    for part in ["old", "old-1,old-2"] {
        assert!(
            store
                .claim("a.1", &claim_of(part), None)
                .await
                .expect("claim"),
            "{part}"
        );
        store.unclaim("a.1", part).await.expect("unclaim");
    }
}

pub async fn claim_must_know_whether_to_hold(store: &dyn Store) {
    let mut withhold = intent("a.1", record().id);
    (withhold.node, withhold.hold) = (None, true);
    store.put_intent(&withhold).await.expect("put");
    let claim = async |claim| store.claim("a.1", &claim, None).await.expect("claim");
    assert!(
        !claim(claim_of("p")).await,
        "decided before it was a withhold"
    );
    assert!(claim(held_claim_of("p")).await);
    assert!(!claim(claim_of("p")).await, "not even the pod that is held");
    assert!(
        store
            .redirect_intent("a.1", Some("node-2"), false)
            .await
            .expect("lift")
    );
    assert_eq!(stored(store, "a.1").await.claim, Some(held_claim_of("p")));
    assert!(!claim(held_claim_of("p")).await);
    let before = since(store, 0).await.revision;
    assert!(
        claim(claim_of("p")).await,
        "the held pod goes on to its node"
    );
    let placed = stored(store, "a.1").await;
    assert_eq!((placed.claim, placed.claims), (Some(claim_of("p")), 1));
    assert_eq!(changed(&since(store, before).await), ["a.1"]);
}

pub async fn redirect_and_refusal(store: &dyn Store) {
    assert!(
        !store
            .redirect_intent("a.1", None, true)
            .await
            .expect("redirect")
    );
    let refusal = |message: &str| Refusal {
        pod_uid: "p".into(),
        plugin: "NodeResourcesFit".into(),
        message: message.into(),
    };
    store
        .refuse_intent("a.1", &refusal("x"))
        .await
        .expect("ignored");
    assert!(store.intent("a.1").await.expect("intent").is_none());

    store
        .put_intent(&intent("a.1", record().id))
        .await
        .expect("put");
    store
        .claim("a.1", &claim_of("p"), None)
        .await
        .expect("claim");
    store
        .refuse_intent("a.1", &refusal("Insufficient cpu"))
        .await
        .expect("refuse");
    store
        .refuse_intent("a.1", &refusal("Too many pods"))
        .await
        .expect("refuse");
    assert!(
        store
            .redirect_intent("a.1", None, true)
            .await
            .expect("redirect")
    );
    let held = stored(store, "a.1").await;
    assert_eq!((held.node, held.hold), (None, true));
    assert_eq!(held.claim, Some(claim_of("p")));
    assert_eq!(held.refusal, None, "it was about the former place");

    assert!(
        store
            .redirect_intent("a.1", Some("node-2"), false)
            .await
            .expect("redirect")
    );
    let lifted = stored(store, "a.1").await;
    assert_eq!(
        (lifted.node.as_deref(), lifted.hold),
        (Some("node-2"), false)
    );
    assert_eq!(lifted.claim, Some(claim_of("p")));
}

pub async fn withdrawal_answers_the_last_state(store: &dyn Store) {
    assert!(
        store
            .withdraw_intent("a.1")
            .await
            .expect("withdraw")
            .is_none()
    );
    store
        .put_intent(&intent("a.1", record().id))
        .await
        .expect("put");
    store
        .claim("a.1", &claim_of("p"), None)
        .await
        .expect("claim");
    let last = store.withdraw_intent("a.1").await.expect("withdraw");
    assert_eq!(
        last.as_ref().and_then(|i| i.claim.clone()),
        Some(claim_of("p"))
    );
    assert!(store.intent("a.1").await.expect("intent").is_none());
    assert!(
        !store
            .claim("a.1", &claim_of("p"), None)
            .await
            .expect("claim")
    );
    assert!(
        !store
            .redirect_intent("a.1", None, true)
            .await
            .expect("redirect")
    );
    let again = store.withdraw_intent("a.1").await.expect("withdraw");
    assert_eq!(again, last, "the reply may have been lost");
    // It may be put anew, and is a new one then.
    let anew = intent("a.1", record().id);
    store.put_intent(&anew).await.expect("put");
    assert_eq!(stored(store, "a.1").await, anew);
}

pub async fn deltas_bring_a_reader_up_to_date(store: &dyn Store) {
    let action = record().id;
    for id in ["a.1", "a.2", "a.3"] {
        store.put_intent(&intent(id, action)).await.expect("put");
    }
    let all = since(store, 0).await;
    assert!(all.full);
    assert_eq!(changed(&all), ["a.1", "a.2", "a.3"]);

    let none = since(store, all.revision).await;
    assert!(!none.full && none.changed.is_empty() && none.withdrawn.is_empty());
    assert_eq!(none.revision, all.revision);

    store
        .claim("a.1", &claim_of("p"), None)
        .await
        .expect("claim");
    store.withdraw_intent("a.2").await.expect("withdraw");
    let some = since(store, all.revision).await;
    assert!(!some.full && some.revision > all.revision);
    assert_eq!(changed(&some), ["a.1"]);
    assert_eq!(some.changed[0].claim, Some(claim_of("p")));
    assert_eq!(some.withdrawn, ["a.2"]);

    for (change, what) in [(0, "redirect"), (1, "refusal"), (2, "unclaim")] {
        let before = since(store, 0).await.revision;
        match change {
            0 => assert!(store.redirect_intent("a.1", None, true).await.expect(what)),
            1 => {
                let refusal = Refusal {
                    pod_uid: "p".into(),
                    plugin: "NodePorts".into(),
                    message: String::new(),
                };
                store.refuse_intent("a.1", &refusal).await.expect(what);
            }
            _ => store.unclaim("a.1", "p").await.expect(what),
        }
        assert_eq!(changed(&since(store, before).await), ["a.1"], "{what}");
    }

    // Put and withdrawn, withdrawn and put: the last word counts.
    let before = since(store, 0).await.revision;
    store.put_intent(&intent("a.4", action)).await.expect("put");
    store.withdraw_intent("a.4").await.expect("withdraw");
    store.withdraw_intent("a.3").await.expect("withdraw");
    store.put_intent(&intent("a.3", action)).await.expect("put");
    let delta = since(store, before).await;
    assert_eq!(changed(&delta), ["a.3"]);
    assert_eq!(delta.withdrawn, ["a.4"]);

    let full = since(store, 0).await;
    assert_eq!(changed(&full), ["a.1", "a.3"]);
    assert!(full.withdrawn.is_empty());
    // A revision from a future that was lost.
    let lost = since(store, full.revision + 1000).await;
    assert!(lost.full);
    assert_eq!(changed(&lost), ["a.1", "a.3"]);
}

pub async fn ended_action_takes_its_intents(store: &dyn Store) {
    let mine = acquired(store, "me").await;
    let other = record().id;
    store
        .put_intent(&intent("mine.1", mine.id))
        .await
        .expect("put");
    store
        .put_intent(&intent("mine.2", mine.id))
        .await
        .expect("put");
    store
        .put_intent(&intent("other.1", other))
        .await
        .expect("put");
    let before = since(store, 0).await.revision;
    store.save(&ended(&mine), &[]).await.expect("save");
    assert_eq!(changed(&since(store, 0).await), ["other.1"]);
    let mut gone = since(store, before).await.withdrawn;
    gone.sort_unstable();
    assert_eq!(gone, ["mine.1", "mine.2"]);
    // A paused executor wakes up late.
    let answer = store.put_intent(&intent("mine.3", mine.id)).await;
    assert!(matches!(answer, Err(Error::Fenced(id)) if id == mine.id));
    assert!(store.intent("mine.3").await.expect("intent").is_none());
}
