//! `GET /events`: resuming, filtering, gaps, a store that is away, shutdown. Time is virtual.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod rpc_support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures::StreamExt;
use rpc_support::{Api, ID};
use serde_json::json;
use tower::ServiceExt;
use wam::store::memory::MemoryStore;
use wam::store::{ActionRecord, ActionState, Direction, NewEvent, Store};

const OTHER: &str = "0190a6e0c0de7000800000000000ffff";

/// A reader: what it gets, frame by frame.
struct Reader {
    stream: axum::body::BodyDataStream,
    rest: String,
}

impl Reader {
    async fn open(api: &Api, path: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = api.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Self {
            stream: response.into_body().into_data_stream(),
            rest: String::new(),
        }
    }

    /// The next frame; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((frame, rest)) = self.rest.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.rest = rest;
                return Some(frame);
            }
            let bytes = self.stream.next().await?.unwrap();
            self.rest.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn expect(&mut self, frame: &str) {
        assert_eq!(self.next().await.as_deref(), Some(frame));
    }
}

fn frame(position: &str, kind: &str, subject: &str) -> String {
    format!(
        "id: {position}\nevent: {kind}\n\
         data: {{\"specversion\":\"1.0\",\"subject\":\"{subject}\",\"type\":\"{kind}\"}}"
    )
}

#[tokio::test(start_paused = true)]
async fn without_an_id_the_stream_starts_now() {
    let api = Api::new();
    api.store.append("5-0", "old", ID);
    let mut reader = Reader::open(&api, "/events", None).await;
    // Appended after the answer began, before the reader read a byte.
    api.store.append("5-1", "wam.action.accepted.v1", ID);
    reader.expect("retry: 1000\n: listening after 5-0").await;
    reader
        .expect(&frame("5-1", "wam.action.accepted.v1", ID))
        .await;
    let wait = tokio::spawn(async move { (reader.next().await, reader) });
    tokio::task::yield_now().await;
    api.store.append("7-0", "wam.action.succeeded.v1", ID);
    assert_eq!(
        wait.await.unwrap().0,
        Some(frame("7-0", "wam.action.succeeded.v1", ID))
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_event_of_an_empty_store_is_seen() {
    let api = Api::new();
    let mut reader = Reader::open(&api, "/events", None).await;
    reader.expect("retry: 1000\n: listening after 0-0").await;
    api.store.append("1-0", "a", ID);
    reader.expect(&frame("1-0", "a", ID)).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_resumes_right_after_it() {
    let api = Api::new();
    for index in 1..=700 {
        api.store.append(&format!("{index}-0"), "a", ID);
    }
    for (path, last, first) in [
        ("/events", Some("3-0"), 4),
        ("/events", Some("3"), 4),
        ("/events?lastEventId=699-0", None, 700),
        ("/events?lastEventId=1-0", Some("2-7"), 3),
        ("/events", Some("0"), 1),
        ("/events", Some("0-0"), 1),
    ] {
        let mut reader = Reader::open(&api, path, last).await;
        assert!(
            reader
                .next()
                .await
                .unwrap()
                .starts_with("retry: 1000\n: listening after ")
        );
        for index in first..=700 {
            reader.expect(&frame(&format!("{index}-0"), "a", ID)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_actions_events_are_left_out() {
    let api = Api::new();
    for index in 1..600 {
        api.store.append(&format!("{index}-0"), "a", OTHER);
    }
    api.store.append("600-0", "b", ID);
    let path = format!("/events?actionId={ID}");
    let mut reader = Reader::open(&api, &path, Some("0")).await;
    reader.next().await;
    reader.expect(&frame("600-0", "b", ID)).await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told_and_the_oldest_follows() {
    let api = Api::new();
    api.store.append("10-0", "a", ID);
    let mut reader = Reader::open(&api, "/events", Some("4-2")).await;
    reader.next().await;
    reader
        .expect(
            "event: wam.stream.gap.v1\n\
             data: {\"reason\":\"older events are not kept\",\"requested\":\"4-2\",\"resumed\":\"0-0\"}",
        )
        .await;
    reader.expect(&frame("10-0", "a", ID)).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_of_the_future_is_told_and_the_stream_starts_now() {
    let api = Api::new();
    api.store.append("10-0", "a", ID);
    let mut reader = Reader::open(&api, "/events", Some("99-0")).await;
    reader.next().await;
    let gap = reader.next().await.unwrap();
    assert!(gap.contains("beyond the newest"), "{gap}");
    api.store.append("11-0", "b", ID);
    reader.expect(&frame("11-0", "b", ID)).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_its_end_is_told() {
    let api = Api::new();
    api.store.append("10-0", "a", ID);
    let mut reader = Reader::open(&api, "/events", None).await;
    reader.next().await;
    api.store.events.lock().unwrap().clear();
    api.store.append("8-0", "b", ID);
    let gap = reader.next().await.unwrap();
    assert!(gap.contains("lost its newest"), "{gap}");
    api.store.append("9-0", "c", ID);
    reader.expect(&frame("9-0", "c", ID)).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_notification_costs_seconds_only() {
    let api = Api::new();
    let mut reader = Reader::open(&api, "/events", None).await;
    reader.next().await;
    let wait = tokio::spawn(async move { reader.next().await });
    tokio::task::yield_now().await;
    api.store.append_silently("1-0", "a", ID);
    let begin = wam::clock::instant();
    assert_eq!(wait.await.unwrap(), Some(frame("1-0", "a", ID)));
    assert!(begin.elapsed() <= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_every_fifteen_seconds() {
    let api = Api::new();
    let mut reader = Reader::open(&api, "/events", None).await;
    reader.next().await;
    for _ in 0..3 {
        let begin = wam::clock::instant();
        reader.expect(": keep-alive").await;
        assert_eq!(begin.elapsed().as_secs(), 15);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_keeps_the_stream_open() {
    let api = Api::new();
    api.store.append("1-0", "a", ID);
    api.store.away.store(true, Ordering::SeqCst);
    let away = "the store is unavailable: connection refused";
    let mut fresh = Reader::open(&api, "/events", None).await;
    fresh
        .expect(&format!(
            "retry: 1000\n: {away}; will listen when it is back"
        ))
        .await;
    let mut resumed = Reader::open(&api, "/events", Some("0")).await;
    resumed.expect("retry: 1000\n: listening after 0-0").await;
    resumed.expect(&format!(": {away}")).await;
    resumed.expect(": keep-alive").await;
    api.store.away.store(false, Ordering::SeqCst);
    resumed.expect(": the store is back").await;
    resumed.expect(&frame("1-0", "a", ID)).await;
    fresh.expect(": listening after 1-0").await;
    api.store.append("2-0", "b", ID);
    fresh.expect(&frame("2-0", "b", ID)).await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_the_streams_and_readers_are_counted() {
    let api = Api::new();
    let mut reader = Reader::open(&api, "/events", None).await;
    reader.next().await;
    assert!(
        api.get("/metrics")
            .await
            .body
            .contains("wam_event_clients 1\n")
    );
    let wait = tokio::spawn(async move { reader.next().await });
    tokio::task::yield_now().await;
    api.shutdown.cancel();
    assert_eq!(wait.await.unwrap(), None);
    assert!(
        api.get("/metrics")
            .await
            .body
            .contains("wam_event_clients 0\n")
    );
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_real_store_are_streamed_and_resumed() {
    let store = Arc::new(MemoryStore::new());
    let api = Api::over(store.clone(), Arc::default());
    let mut reader = Reader::open(&api, "/events", None).await;
    reader.next().await;
    let submit = async |id: &str| {
        let record = ActionRecord {
            id: id.parse().unwrap(),
            method: "action.Delete".into(),
            request: json!({}),
            state: ActionState::Pending,
            reason: String::new(),
            message: String::new(),
            created_at: wam::clock::now(),
            started_at: None,
            finished_at: None,
            deadline: wam::clock::now(),
            pods: vec![],
            steps: vec![],
            direction: Direction::Forward,
            forward_from: 0,
            back_from: 0,
            restores: false,
            version: 0,
            fence: 0,
        };
        let event = NewEvent {
            id: format!("{id}.accepted"),
            kind: "wam.action.accepted.v1".into(),
            body: json!({"subject": id}),
        };
        store.submit(&record, None, &[event]).await.unwrap();
    };
    submit(ID).await;
    let first = reader.next().await.unwrap();
    assert!(first.ends_with(&format!(
        "event: wam.action.accepted.v1\ndata: {{\"subject\":\"{ID}\"}}"
    )));
    submit(OTHER).await;
    let second = reader.next().await.unwrap();
    assert!(second.contains(OTHER), "{second}");

    let last = first.lines().next().unwrap().strip_prefix("id: ").unwrap();
    let mut resumed = Reader::open(&api, "/events", Some(last)).await;
    resumed.next().await;
    assert_eq!(resumed.next().await, Some(second.clone()));
    let mut all = Reader::open(&api, &format!("/events?actionId={OTHER}"), Some("0")).await;
    all.next().await;
    assert_eq!(all.next().await, Some(second));
}

#[tokio::test]
async fn bad_wishes_are_400() {
    let api = Api::new();
    for (path, said) in [
        (
            "/events?lastEventId=new",
            "Last-Event-ID: \"new\" is not a position",
        ),
        ("/events?actionId=7", "actionId: \"7\" is not an action id"),
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.starts_with(said), "{}", answer.body);
    }
}
