//! What clients are told, and what was done behind it.

use ::kube::Error as KubeError;
use ::kube::api::{ListParams, Patch, PatchParams};

use super::*;
use crate::clock;

const ONE: &str = "/api/v1/namespaces/default/configmaps/a";

async fn patch(edge: &Edge, value: &str) -> ::kube::Result<ConfigMap> {
    let patch = json!({"data": {"key": value}});
    let params = PatchParams::default();
    edge.maps().patch("a", &params, &Patch::Merge(&patch)).await
}

async fn value(edge: &Edge) -> Option<String> {
    let maps: Api<ConfigMap> = Api::default_namespaced(edge.server.client());
    maps.get("a").await.unwrap().data?.remove("key")
}

#[tokio::test]
async fn refusals_are_worded_as_the_real_servers() {
    let edge = Edge::new(&[
        "patch configmaps 409 count=1",
        "patch configmaps 503 count=1",
        "patch configmaps 504 count=1",
        "patch configmaps 500 count=1",
        "patch configmaps 429 body=status retry-after=3s count=1",
        "patch configmaps 429 retry-after=2s count=1",
    ]);
    edge.put("a").await;
    let mut told = Vec::new();
    for _ in 0..6 {
        let (parts, body) = edge.ask(Method::PATCH, ONE, "{}").await.unwrap();
        let retry = parts.headers.get("retry-after");
        let retry = retry.map_or("-", |v| v.to_str().unwrap());
        told.push(format!("{} {retry} {}", parts.status.as_u16(), body.trim()));
    }
    let status = |code: u16, reason: &str, message: &str, details: Value| {
        let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "code": code, "message": message});
        if !reason.is_empty() {
            status["reason"] = json!(reason);
        }
        if !details.is_null() {
            status["details"] = details;
        }
        status
    };
    let expected = [
        (
            "409 -",
            status(
                409,
                "Conflict",
                "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again",
                json!({"name": "a", "kind": "configmaps"}),
            ),
        ),
        (
            "503 1",
            status(
                503,
                "ServiceUnavailable",
                "apiserver is shutting down",
                Value::Null,
            ),
        ),
        (
            "504 -",
            status(
                504,
                "Timeout",
                "Timeout: request did not complete within the allotted timeout",
                json!({}),
            ),
        ),
        (
            "500 -",
            status(500, "", "etcdserver: leader changed", Value::Null),
        ),
        (
            "429 3",
            status(
                429,
                "TooManyRequests",
                "storage is (re)initializing",
                json!({"retryAfterSeconds": 3}),
            ),
        ),
    ];
    for (told, (head, body)) in told.iter().zip(&expected) {
        let rest = told.strip_prefix(*head).unwrap_or_else(|| panic!("{told}"));
        assert_eq!(serde_json::from_str::<Value>(rest).unwrap(), *body);
    }
    assert_eq!(told[5], "429 2 Too many requests, please try again later.");
    assert_eq!(edge.injected(), [1; 6]);
    // Nothing was done; kube-rs reads the Status.
    assert_eq!(value(&edge).await, None);
    edge.faults.set(rules("patch configmaps 409").unwrap());
    match patch(&edge, "x").await {
        Err(KubeError::Api(status)) => assert!(status.is_conflict(), "{status:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_done_and_what_was_not() {
    for (line, kind, done) in [
        (
            "patch * lost-reply",
            Some(std::io::ErrorKind::ConnectionReset),
            true,
        ),
        (
            "patch * reset",
            Some(std::io::ErrorKind::ConnectionReset),
            false,
        ),
        (
            "* * refused",
            Some(std::io::ErrorKind::ConnectionRefused),
            false,
        ),
        ("patch * 500 done=true", None, true),
        ("patch * 504 done=true", None, true),
        ("patch * 504", None, false),
    ] {
        let edge = Edge::new(&[line]);
        edge.put("a").await;
        let error = patch(&edge, "x").await.expect_err(line);
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        let mut found = None;
        while let Some(error) = cause {
            found = found.or_else(|| error.downcast_ref().map(std::io::Error::kind));
            cause = error.source();
        }
        assert_eq!(found, kind, "{line}: {error:?}");
        assert_eq!(value(&edge).await.is_some(), done, "{line}");
        assert_eq!(edge.injected(), [1], "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn latency_is_waited_for() {
    let edge = Edge::new(&[
        "get configmaps latency=3s",
        "list configmaps latency=1s..2s",
    ]);
    edge.put("a").await;
    let start = clock::instant();
    edge.maps().get("a").await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let start = clock::instant();
        edge.maps().list(&ListParams::default()).await.unwrap();
        waits.push(start.elapsed());
    }
    assert!(
        waits.iter().all(|w| (1.0..=2.1).contains(&w.as_secs_f64())),
        "{waits:?}"
    );
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 1, "{waits:?}");
}

#[tokio::test]
async fn stale_lists_are_true_answers_of_an_earlier_moment() {
    let edge = Edge::new(&[]);
    let mut revisions = Vec::new();
    for name in ["a", "b", "c"] {
        edge.put(name).await;
        revisions.push(edge.server.revision());
    }
    let list = async |query: &str| {
        let (code, list) = edge.get(&format!("{MAPS}?{query}")).await;
        assert_eq!(code, 200, "{list}");
        let names: Vec<String> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|map| map["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        (
            names.join(","),
            list["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .parse::<u64>()
                .unwrap(),
        )
    };
    edge.faults
        .set(rules("list configmaps stale behind=1").unwrap());
    assert_eq!(
        list("resourceVersion=0").await,
        ("a,b".into(), revisions[1])
    );
    // Never before what the client has seen, never where the newest is promised.
    let seen = format!(
        "resourceVersion={}&resourceVersionMatch=NotOlderThan",
        revisions[2]
    );
    assert_eq!(list(&seen).await, ("a,b,c".into(), revisions[2]));
    assert_eq!(list("").await, ("a,b,c".into(), revisions[2]));
    edge.faults
        .set(rules("list configmaps stale behind=2 quorum=true").unwrap());
    assert_eq!(list("").await, ("a".into(), revisions[0]));
    assert_eq!(
        list("labelSelector=no%3Dsuch").await,
        (String::new(), revisions[0])
    );
    // Pages of one list stay together.
    edge.faults
        .set(rules("list configmaps stale behind=1 quorum=true").unwrap());
    let (_, page) = edge.get(&format!("{MAPS}?limit=1")).await;
    assert_eq!(page["items"][0]["metadata"]["name"], "a");
    let token = page["metadata"]["continue"].as_str().unwrap();
    assert_eq!(
        list(&format!("continue={token}")).await,
        ("b".into(), revisions[1])
    );
    // Further back than anything is known.
    edge.faults
        .set(rules("list configmaps stale behind=1000 quorum=true").unwrap());
    let (names, oldest) = list("").await;
    assert!(
        names.is_empty() && oldest < revisions[0],
        "{names} {oldest}"
    );
}

#[tokio::test]
async fn expired_lists_are_answered_410() {
    let edge = Edge::new(&["list configmaps 410 count=1"]);
    let (code, status) = edge.get(MAPS).await;
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")));
    assert_eq!(edge.get(MAPS).await.0, 200);
}
