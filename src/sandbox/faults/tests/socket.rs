//! Over TCP: what the kernel tells a client, and the endpoint.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::sandbox::faults::serve;

async fn served(edge: &Edge) -> (SocketAddr, tokio_util::sync::DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (service, faults) = (edge.service.clone(), edge.faults.clone());
    tokio::spawn(serve(listener, service, faults, stop.clone()));
    (address, stop.drop_guard())
}

/// Sends a request on a connection of its own; all that comes back.
async fn exchange(address: SocketAddr, head: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_lost_reply_is_a_connection_that_was_reset() {
    let edge = Edge::new(&[
        "create configmaps lost-reply count=1",
        "create configmaps reset count=1",
    ]);
    let (address, _stop) = served(&edge).await;
    let post = format!("POST {MAPS}");
    for name in ["a", "b"] {
        let body = json!({"metadata": {"name": name}}).to_string();
        let error = exchange(address, &post, &body).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    let answer = exchange(address, &format!("GET {MAPS}"), "").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("\"name\":\"a\"") && !answer.contains("\"name\":\"b\""));
}

#[tokio::test]
async fn a_shut_door_opens_again_at_the_same_place() {
    let edge = Edge::new(&[]);
    let (address, _stop) = served(&edge).await;
    for _ in 0..2 {
        assert!(
            exchange(address, "GET /readyz", "")
                .await
                .unwrap()
                .contains("200 OK")
        );
        edge.faults.set(rules("* * refused").unwrap());
        // The listener is closed by another task.
        loop {
            match exchange(address, "GET /readyz", "").await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
                Err(_) => tokio::task::yield_now().await,
                Ok(answer) => panic!("{answer}"),
            }
        }
        edge.faults.clear();
        while exchange(address, "GET /readyz", "").await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_torn_watch_shows_half_a_line() {
    let edge = Edge::new(&["watch configmaps cut after=1 torn=true"]);
    edge.put("a").await;
    edge.put("b").await;
    let (address, _stop) = served(&edge).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {MAPS}?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // An error or the end: but no last chunk, which would say that all is well.
    drop(stream.read_to_end(&mut bytes).await);
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("\"name\":\"a\"") && !text.contains("\"name\":\"b\""),
        "{text}"
    );
    assert!(
        text.contains("{\"type\":\"MODIFIED\",\"object\":{\"kind\":"),
        "{text}"
    );
    assert!(!text.ends_with("0\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn the_weather_is_changed_while_it_lasts() {
    let edge = Edge::new(&["get configmaps 500"]);
    let at = async |method: &str, body: &str| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (parts, body) = edge.ask(method, PATH, body).await.unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        (parts.status.as_u16(), body)
    };
    edge.get(&format!("{MAPS}/a")).await;
    let (code, told) = at("GET", "").await;
    assert_eq!(code, 200);
    assert_eq!(
        told,
        json!({"seed": 7, "injected": 1, "faults": [
            {"fault": "get configmaps 500", "matched": 1, "injected": 1}]})
    );
    // What was answered can be set again.
    assert_eq!(
        at("PUT", &told.to_string()).await.1["faults"][0]["injected"],
        0
    );
    let (_, told) = at("POST", "list pods 410 # and\nwatch pods cut\n").await;
    assert_eq!(told["faults"].as_array().unwrap().len(), 3);
    let (code, refused) = at("PUT", "list pod 410").await;
    assert_eq!(code, 400);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("did you mean \"pods\"?")
    );
    assert_eq!(
        at("GET", "").await.1["faults"].as_array().unwrap().len(),
        3,
        "nothing changed"
    );
    assert_eq!(at("PATCH", "").await.0, 405);
    // In any weather.
    at("PUT", "* * refused").await;
    assert!(edge.ask(Method::GET, MAPS, "").await.is_err());
    let (_, told) = at("DELETE", "").await;
    assert_eq!(
        (&told["faults"], &told["injected"]),
        (&json!([]), &json!(2))
    );
    assert_eq!(edge.get(MAPS).await.0, 200);
}
