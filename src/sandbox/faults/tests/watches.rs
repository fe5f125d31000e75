//! Watches that end before their time.

use std::time::Duration;

use futures::StreamExt;

use super::*;
use crate::clock;

/// The events of a watch from the beginning, and how it ended; `None` if it is still open after a minute of
/// (virtual) time.
async fn watch(edge: &Edge, query: &str) -> (Vec<String>, Option<Result<(), String>>) {
    let request = Request::builder()
        .uri(format!("{MAPS}?watch=true{query}"))
        .body(Body::empty())
        .unwrap();
    let response = edge.service.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut data = response.into_body().into_data_stream();
    let mut text = String::new();
    let end = clock::timeout(Duration::from_secs(60), async {
        while let Some(piece) = data.next().await {
            match piece {
                Ok(piece) => text.push_str(std::str::from_utf8(&piece).unwrap()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    });
    let end = end.await.ok();
    let events = text.lines().map(|line| {
        match serde_json::from_str::<Value>(line) {
            Ok(event) if event["type"] == "ERROR" => {
                format!("ERROR {}", event["object"]["message"])
            }
            Ok(event) => format!("{} {}", event["type"], event["object"]["metadata"]["name"]),
            Err(_) => "half a line".to_owned(),
        }
        .replace('"', "")
    });
    (events.collect(), end)
}

async fn edge(lines: &[&str]) -> Edge {
    let edge = Edge::new(lines);
    for name in ["a", "b", "c"] {
        edge.put(name).await;
    }
    edge
}

#[tokio::test(start_paused = true)]
async fn cut_after_events_or_a_time() {
    let three = ["ADDED a", "ADDED b", "ADDED c"];
    let edge = edge(&["watch configmaps cut after=2"]).await;
    assert_eq!(
        watch(&edge, "").await,
        (
            three[..2].iter().map(|s| (*s).to_owned()).collect(),
            Some(Ok(()))
        )
    );
    edge.faults
        .set(rules("watch configmaps cut after=0").unwrap());
    assert_eq!(watch(&edge, "").await, (Vec::new(), Some(Ok(()))));
    edge.faults
        .set(rules("watch configmaps cut after=10s").unwrap());
    let start = clock::instant();
    let (events, end) = watch(&edge, "").await;
    assert_eq!(
        (events.len(), end, start.elapsed().as_secs()),
        (3, Some(Ok(())), 10)
    );
    edge.faults
        .set(rules("watch configmaps cut after=1 torn=true").unwrap());
    let (events, end) = watch(&edge, "").await;
    assert_eq!(events, ["ADDED a", "half a line"]);
    assert!(end.unwrap().unwrap_err().contains("reset"));
    // Others go on.
    edge.faults.set(rules("watch pods cut after=0").unwrap());
    let (events, end) = watch(&edge, "").await;
    assert_eq!((events.len(), end), (3, None));
}

#[tokio::test(start_paused = true)]
async fn expired_at_once_or_later_as_an_event() {
    let edge = edge(&["watch configmaps 410"]).await;
    let now = edge.server.revision();
    let (events, end) = watch(&edge, "&resourceVersion=5").await;
    assert_eq!(
        events,
        [format!("ERROR too old resource version: 5 ({now})")]
    );
    assert_eq!(end, Some(Ok(())));
    edge.faults
        .set(rules("watch configmaps 410 after=2").unwrap());
    let (events, _) = watch(&edge, "").await;
    assert_eq!(events.len(), 3);
    assert!(events[2].starts_with("ERROR too old"), "{events:?}");
    edge.faults
        .set(rules("watch configmaps 410 as=http").unwrap());
    let (code, status) = edge.get(&format!("{MAPS}?watch=true")).await;
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")));
}

#[tokio::test(start_paused = true)]
async fn open_watches_break_when_nobody_listens() {
    let edge = edge(&[]).await;
    let faults = edge.faults.clone();
    let storm = async {
        clock::sleep(Duration::from_secs(7)).await;
        faults.add("* * refused for=5s".parse().unwrap());
    };
    let start = clock::instant();
    let ((events, end), ()) = tokio::join!(watch(&edge, ""), storm);
    assert_eq!((events.len(), start.elapsed().as_secs()), (3, 7));
    assert!(end.unwrap().is_err());
    assert!(edge.ask(Method::GET, MAPS, "").await.is_err());
    clock::sleep(Duration::from_secs(5)).await;
    assert_eq!(edge.get(MAPS).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn rules_made_later_meet_open_watches_once() {
    let edge = edge(&[]).await;
    let faults = edge.faults.clone();
    let storm = async {
        clock::sleep(Duration::from_secs(2)).await;
        // About others, or thrown in vain: not thrown again when rules change.
        faults.set(rules("watch pods cut\nwatch configmaps cut after=0 p=0").unwrap());
        clock::sleep(Duration::from_secs(2)).await;
        faults.add("watch configmaps 410".parse().unwrap());
    };
    let start = clock::instant();
    let ((events, end), ()) = tokio::join!(watch(&edge, ""), storm);
    assert_eq!(
        (events.len(), end, start.elapsed().as_secs()),
        (4, Some(Ok(())), 4)
    );
    assert!(events[3].starts_with("ERROR too old"), "{events:?}");
    let matched: Vec<u64> = faults.report().iter().map(|c| c.matched).collect();
    assert_eq!((matched, edge.injected()), (vec![0, 1, 1], vec![0, 0, 1]));
}

/// What clients of the library make of it: nothing is lost, nothing comes twice.
#[tokio::test(start_paused = true)]
async fn a_reflector_sees_everything_in_any_weather() {
    use ::kube::runtime::{WatchStreamExt as _, watcher};
    for line in [
        "watch configmaps cut after=1",
        "watch configmaps cut after=1 torn=true p=0.7",
        "watch configmaps 410 after=1 p=0.7",
        "watch configmaps 410 as=http p=0.5",
        "read configmaps 503 p=0.5",
        "read configmaps 429 p=0.5",
        "read configmaps reset p=0.5",
        "list configmaps stale behind=2 quorum=true",
        "list configmaps 410 p=0.5",
        "* * refused for=2s",
    ] {
        let edge = edge(&[line]).await;
        let server = edge.server.clone();
        let making = async {
            let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
            for number in 0..20 {
                clock::sleep(Duration::from_millis(700)).await;
                let name = format!("more-{number}");
                maps.create(&PostParams::default(), &map(&name))
                    .await
                    .unwrap();
            }
        };
        let mut known = std::collections::BTreeSet::new();
        let seeing = async {
            let stream = watcher(edge.maps(), watcher::Config::default())
                .default_backoff()
                .touched_objects();
            let mut stream = std::pin::pin!(stream);
            while known.len() < 23 {
                if let Some(Ok(map)) = stream.next().await {
                    known.insert(map.metadata.name.unwrap());
                }
            }
        };
        let both = async { tokio::join!(making, seeing) };
        let done = clock::timeout(Duration::from_secs(600), Box::pin(both)).await;
        assert!(done.is_ok(), "{line}: only {known:?}");
        assert!(edge.injected()[0] > 0, "{line}");
    }
}
