use serde_json::json;

use super::*;

const PODS: CollectionId = CollectionId(0);

fn put(store: &Store, namespace: &str, name: &str, spec: i64) -> u64 {
    let value =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
    store.write(|tx| tx.put(PODS, Key::new(namespace, name), value).revision)
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot
        .objects
        .iter()
        .map(|(k, o)| format!("{}={}", k.name, o.value["spec"]))
        .collect()
}

#[test]
fn revisions_are_global_and_stamped() {
    let store = Store::new(2, 10);
    assert_eq!(put(&store, "a", "x", 1), 2);
    let other = store.write(|tx| tx.put(CollectionId(1), Key::new("", "n"), json!({})));
    assert_eq!(other.value["metadata"]["resourceVersion"], "3");
    let gone = store
        .write(|tx| tx.remove(PODS, &Key::new("a", "x")))
        .unwrap();
    assert_eq!(gone.value["metadata"]["resourceVersion"], "4");
    assert_eq!(store.revision(), 4);
    assert!(
        store
            .write(|tx| tx.remove(PODS, &Key::new("a", "x")))
            .is_none()
    );
    assert_eq!(store.revision(), 4);
}

#[test]
fn lists_the_past_by_undoing_the_log() {
    let store = Store::new(1, 10);
    put(&store, "a", "b", 1);
    put(&store, "a", "d", 1);
    let then = put(&store, "b", "z", 1);
    put(&store, "a", "d", 2);
    put(&store, "a", "a", 1);
    store.write(|tx| tx.remove(PODS, &Key::new("a", "b")));
    store.write(|tx| tx.remove(PODS, &Key::new("b", "z")));
    let all = |_: &Object| true;
    let (past, rest) = store.list_at(PODS, "", None, then, &[], all, 100).unwrap();
    assert_eq!(
        (names(&past), rest),
        (vec!["b=1".into(), "d=1".into(), "z=1".into()], 0)
    );
    let (page, rest) = store.list_at(PODS, "", None, then, &[], all, 2).unwrap();
    assert_eq!((names(&page), rest), (vec!["b=1".into(), "d=1".into()], 1));
    let start = &page.objects[1].0;
    let (page, _) = store
        .list_at(PODS, "", Some(start), then, &[], all, 2)
        .unwrap();
    assert_eq!(names(&page), ["z=1"]);
    let (namespaced, _) = store.list_at(PODS, "a", None, then, &[], all, 9).unwrap();
    assert_eq!(names(&namespaced), ["b=1", "d=1"]);
    assert_eq!(names(&store.list(PODS, "")), ["a=1", "d=2"]);
}

#[tokio::test]
async fn watchers_see_each_event_once_and_learn_when_they_are_late() {
    let store = Store::new(1, 3);
    let (snapshot, mut sub) = store.list_and_subscribe(PODS, "", &[]);
    assert!(snapshot.objects.is_empty());
    put(&store, "a", "x", 1);
    put(&store, "a", "x", 2);
    sub.changed().await;
    let (events, seen) = store.poll(&mut sub, 1).unwrap();
    assert_eq!((events[0].change, seen), (Change::Added, 2));
    let (events, seen) = store.poll(&mut sub, 10).unwrap();
    assert_eq!(
        (events.len(), events[0].change, seen),
        (1, Change::Modified, 3)
    );
    for i in 0..4 {
        put(&store, "a", "x", i);
    }
    assert_eq!(store.poll(&mut sub, 10).unwrap_err(), Lagged);
    assert_eq!(store.subscribe(PODS, 3).unwrap_err(), TooOld { oldest: 4 });
    let mut sub = store.subscribe(PODS, 5).unwrap();
    assert_eq!(store.poll(&mut sub, 10).unwrap().0.len(), 2);
    assert!(store.list_at(PODS, "", None, 3, &[], |_| true, 1).is_err());
}

#[test]
fn bodies_leave_the_type_out_and_lines_put_it_in_front() {
    let store = Store::new(1, 3);
    put(&store, "a", "x", 1);
    let sub = &mut store.subscribe(PODS, 0).unwrap();
    let (events, _) = store.poll(sub, 1).unwrap();
    let line = events[0].line("\"kind\":\"Pod\",\"apiVersion\":\"v1\"");
    assert_eq!(
        std::str::from_utf8(&line).unwrap(),
        "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\",\"resourceVersion\":\"2\"},\"spec\":1}}\n"
    );
    assert_eq!(&object::body(&json!({"kind": "Pod"}))[..], b"{}");
}

#[test]
fn an_index_follows_every_change() {
    let store = Store::new(1, 100);
    let put = |namespace: &str, name: &str, node: &str| {
        let value = json!({"metadata": {"name": name}, "spec": {"nodeName": node}});
        store.write(|tx| tx.put(PODS, Key::new(namespace, name), value));
    };
    put("a", "before", "n1");
    store.index(PODS, "spec.nodeName");
    put("b", "two", "n1");
    put("a", "one", "");
    let on = |namespace: &str, node: &str| {
        let snapshot = store.list_fixed(PODS, namespace, &[("spec.nodeName".into(), node)]);
        let names = snapshot.objects.iter().map(|(key, _)| key.name.to_string());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(on("", "n1"), "before two");
    put("a", "one", "n1");
    assert_eq!(on("", "n1"), "before one two");
    assert_eq!(on("a", "n1"), "before one");
    put("a", "before", "n2");
    store.write(|tx| tx.remove(PODS, &Key::new("b", "two")));
    assert_eq!(
        (on("", "n1"), on("", "n2")),
        ("one".into(), "before".into())
    );
    assert_eq!(on("", "n3"), "");
    // No index helps with the absence of a value, or with another field.
    assert_eq!(on("", ""), "before one");
    assert_eq!(
        store
            .list_fixed(PODS, "", &[("status.phase".into(), "x")])
            .objects
            .len(),
        2
    );
    let (page, rest) = store
        .list_at(
            PODS,
            "",
            None,
            store.revision(),
            &[("spec.nodeName".into(), "n2")],
            |_| true,
            1,
        )
        .unwrap();
    assert_eq!((page.objects.len(), rest), (1, 0));
}

#[test]
fn an_index_of_labels_follows_every_change() {
    let store = Store::new(1, 100);
    store.index(PODS, LABELS);
    let put = |name: &str, labels: serde_json::Value| {
        let value = json!({"metadata": {"name": name, "labels": labels}});
        store.write(|tx| tx.put(PODS, Key::new("a", name), value));
    };
    put("one", json!({"app": "web", "tier": "x"}));
    put("two", json!({"app": "web"}));
    put("three", serde_json::Value::Null);
    let with = |pairs: &[(&str, &str)]| {
        let fixed: Vec<Fixed<'_>> = pairs
            .iter()
            .map(|(label, value)| (format!("{LABELS}/{label}").into(), *value))
            .collect();
        let snapshot = store.list_fixed(PODS, "", &fixed);
        let names = snapshot.objects.iter().map(|(key, _)| key.name.to_string());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(with(&[("app", "web")]), "one two");
    assert_eq!(
        with(&[("app", "web"), ("tier", "x")]),
        "one",
        "the smaller one"
    );
    assert_eq!(with(&[("app", "")]), "");
    put("one", json!({"app": "", "tier": "x"}));
    assert_eq!(
        (with(&[("app", "web")]), with(&[("app", "")])),
        ("two".into(), "one".into())
    );
    store.write(|tx| tx.remove(PODS, &Key::new("a", "two")));
    assert_eq!(with(&[("app", "web")]), "");
}
