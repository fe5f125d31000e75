//! Lists, pages, watches.

use futures::StreamExt as _;

use super::*;

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|o| o["metadata"]["name"].as_str().unwrap())
        .collect()
}

/// The lines of a watch until it ends, as (type, name or code).
async fn watch(server: &ApiServer, query: &str) -> Vec<(String, Value)> {
    let (code, body) = get(
        server,
        &format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1&{query}"),
    )
    .await;
    assert_eq!(code, 200);
    let text = match body {
        Value::String(text) => text,
        one => one.to_string(),
    };
    text.lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            let kind = event["type"].as_str().unwrap().to_owned();
            (kind, event["object"].clone())
        })
        .collect()
}

#[tokio::test]
async fn pages_are_one_consistent_list() {
    let (server, _) = server().await;
    for name in ["a", "b", "c", "d", "e"] {
        post(&server, CONFIG_MAPS, config_map(name, "1")).await;
    }
    let (_, first) = get(&server, &format!("{CONFIG_MAPS}?limit=2")).await;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    // Items carry no type of their own.
    assert!(first["items"][0].get("kind").is_none());
    delete(&server, &format!("{CONFIG_MAPS}/c"), Value::Null).await;
    post(&server, CONFIG_MAPS, config_map("bb", "1")).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = get(&server, &format!("{CONFIG_MAPS}?limit=9&continue={token}")).await;
    assert_eq!(names(&rest), ["c", "d", "e"]);
    assert_eq!(
        rest["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    assert!(rest["metadata"].get("continue").is_none());
    let (_, now) = get(&server, CONFIG_MAPS).await;
    assert_eq!(names(&now), ["a", "b", "bb", "d", "e"]);
}

#[tokio::test]
async fn a_page_that_waited_too_long_is_gone_but_can_go_on_inconsistently() {
    let (server, _) = server_with(Options {
        event_log: 2,
        ..Options::default()
    })
    .await;
    for name in ["a", "b", "c"] {
        post(&server, CONFIG_MAPS, config_map(name, "1")).await;
    }
    let (_, first) = get(&server, &format!("{CONFIG_MAPS}?limit=1")).await;
    for value in ["2", "3", "4"] {
        merge(
            &server,
            &format!("{CONFIG_MAPS}/a"),
            json!({"data": {"key": value}}),
        )
        .await;
    }
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (code, gone) = get(&server, &format!("{CONFIG_MAPS}?limit=1&continue={token}")).await;
    assert_eq!((code, &gone["reason"]), (410, &json!("Expired")));
    let token = gone["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = get(&server, &format!("{CONFIG_MAPS}?continue={token}")).await;
    assert_eq!(names(&rest), ["b", "c"]);
    let (code, old) = get(&server, &format!("{CONFIG_MAPS}?watch=1&resourceVersion=2")).await;
    assert_eq!((code, &old["object"]["code"]), (200, &json!(410)), "{old}");
    assert!(
        old["object"]["message"]
            .as_str()
            .unwrap()
            .starts_with("too old resource version: 2")
    );
}

#[tokio::test]
async fn selectors() {
    let (server, _) = server().await;
    for name in ["a", "b", "c"] {
        post(&server, CONFIG_MAPS, config_map(name, "1")).await;
    }
    for (query, expected) in [
        ("labelSelector=app+in+(a,c)", vec!["a", "c"]),
        ("labelSelector=app!%3Da", vec!["b", "c"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        (
            "fieldSelector=metadata.name!%3Db&labelSelector=app",
            vec!["a", "c"],
        ),
        ("labelSelector=!app", vec![]),
        ("labelSelector=app&limit=2", vec!["a", "b"]),
    ] {
        let (_, list) = get(&server, &format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!(names(&list), expected, "{query}");
    }
    let bad = get(
        &server,
        &format!("{CONFIG_MAPS}?fieldSelector=spec.foo%3Db"),
    )
    .await;
    assert_eq!(
        message(&bad),
        (
            400,
            "\"spec.foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )
    );
    assert_eq!(
        get(&server, &format!("{CONFIG_MAPS}?labelSelector=a+b"))
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn streaming_lists_end_with_a_bookmark() {
    let (server, _) = server().await;
    post(&server, CONFIG_MAPS, config_map("a", "1")).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let events = watch(&server, query).await;
    let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["ADDED", "BOOKMARK"]);
    let bookmark = &events[1].1;
    assert_eq!(
        bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(
        bookmark["metadata"]["resourceVersion"],
        server.revision().to_string()
    );
    assert_eq!(bookmark["kind"], "ConfigMap");
    let incomplete = get(
        &server,
        &format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true"),
    )
    .await;
    assert_eq!(incomplete.0, 422);
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let (server, _) = server().await;
    let from = server.revision();
    post(&server, CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    merge(
        &server,
        &path,
        json!({"metadata": {"labels": {"app": "other"}}}),
    )
    .await;
    merge(&server, &path, json!({"data": {"key": "2"}})).await;
    merge(
        &server,
        &path,
        json!({"metadata": {"labels": {"app": "a"}}}),
    )
    .await;
    merge(&server, &path, json!({"data": {"key": "3"}})).await;
    delete(&server, &path, Value::Null).await;
    let query = format!("labelSelector=app%3Da&resourceVersion={from}");
    let events = watch(&server, &query).await;
    let seen: Vec<(&str, &str)> = events
        .iter()
        .map(|(kind, o)| (kind.as_str(), o["data"]["key"].as_str().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            ("ADDED", "1"),
            ("DELETED", "1"),
            ("ADDED", "2"),
            ("MODIFIED", "3"),
            ("DELETED", "3")
        ]
    );
    let versions: Vec<u64> = events
        .iter()
        .map(|(_, o)| {
            o["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    assert!(versions.is_sorted(), "{versions:?}");
}

#[tokio::test(start_paused = true)]
async fn idle_watches_get_bookmarks_and_end_in_time() {
    let (server, client) = server().await;
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::default_namespaced(client);
    let params = ::kube::api::WatchParams::default().timeout(150);
    let version = server.revision();
    let stream = maps.watch(&params, &version.to_string()).await.unwrap();
    let events: Vec<_> = stream.collect().await;
    // Every minute, and shortly before the end.
    assert_eq!(events.len(), 3);
    assert!(
        events
            .iter()
            .all(|e| matches!(e, Ok(::kube::api::WatchEvent::Bookmark(_))))
    );
}

#[tokio::test]
async fn a_watcher_that_falls_behind_is_told() {
    let (server, client) = server_with(Options {
        event_log: 3,
        ..Options::default()
    })
    .await;
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::default_namespaced(client);
    let version = server.revision().to_string();
    let stream = maps
        .watch(&::kube::api::WatchParams::default(), &version)
        .await
        .unwrap();
    for i in 0..5 {
        post(&server, CONFIG_MAPS, config_map(&format!("m{i}"), "1")).await;
    }
    let mut stream = std::pin::pin!(stream);
    match stream.next().await.unwrap().unwrap() {
        ::kube::api::WatchEvent::Error(status) => assert_eq!(status.code, 410),
        other => panic!("{other:?}"),
    }
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn events_are_one_collection_in_two_groups() {
    let (server, _) = server().await;
    let event = json!({
        "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal",
        "action": "A", "reason": "R", "reportingController": "c", "reportingInstance": "i",
        "note": "hello", "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    });
    let new = "/apis/events.k8s.io/v1/namespaces/default/events";
    assert_eq!(post(&server, new, event).await.0, 201);
    let (_, core) = get(&server, "/api/v1/namespaces/default/events/e").await;
    assert_eq!(
        (&core["message"], &core["involvedObject"]["name"]),
        (&json!("hello"), &json!("p"))
    );
    let (_, list) = get(&server, &format!("{new}?fieldSelector=regarding.name%3Dp")).await;
    assert_eq!(list["items"][0]["note"], "hello");
}

#[tokio::test]
async fn people_get_tables() {
    let (server, _) = server().await;
    post(&server, PODS, pod("a")).await;
    let request = Request::builder()
        .uri(PODS)
        .header(
            "accept",
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        )
        .body(axum::body::Body::empty())
        .unwrap();
    let response = server.service().oneshot(request).await.unwrap();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let table: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}
