//! Bodies and callers that mean no good.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod rpc_support;

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use rpc_support::Api;
use tower::ServiceExt;

const DELETE: &str = r#"{"method":"action.Delete","params":[{"pod":{"name":"p"}}],"id":1}"#;

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_one_at_the_limit_is_not() {
    let api = Api::new();
    let limit = wam::api::rpc::BODY_LIMIT;
    let padded = |size: usize| format!("{DELETE}{}", " ".repeat(size - DELETE.len()));
    assert_eq!(api.rpc(padded(limit)).await.status, 200);
    let answer = api.rpc(padded(limit + 1)).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.body, "the request body is larger than 1048576 bytes");
    assert_eq!(api.facade.requests().len(), 1);
}

#[tokio::test]
async fn the_sender_of_a_large_body_gets_the_answer_over_a_socket() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let api = Api::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = api.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    for (expect, size) in [("", 8 << 20), ("Expect: 100-continue\r\n", 900 << 20)] {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /rpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{expect}Content-Length: {size}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        if expect.is_empty() {
            socket.write_all(&vec![b' '; size]).await.unwrap();
        }
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

#[tokio::test]
async fn depth_exhausts_no_stack_wherever_it_is() {
    let api = Api::new();
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let answer = api.rpc(deep(400_000)).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body, "invalid character '[' exceeded max depth");
    for (depth, status) in [(9_990, 200), (10_001, 400)] {
        let unknown = DELETE.replace(
            "{\"method\"",
            &format!("{{\"x\":{},\"method\"", deep(depth)),
        );
        assert_eq!(api.rpc(unknown).await.status, status);
    }
    let options = DELETE.replace("}}],", &format!("}},\"options\":{}}}],", deep(9_000)));
    let answer = api.rpc(options).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .body
            .contains("\"error\":\"options: recursion limit exceeded"),
        "{}",
        answer.body
    );
    let id = DELETE.replace("\"id\":1", &format!("\"id\":{}", deep(9_000)));
    assert!(
        api.rpc(id)
            .await
            .body
            .ends_with(&format!("\"id\":{}}}\n", deep(9_000)))
    );
}

#[tokio::test]
async fn bytes_that_are_no_utf8_become_replacement_characters() {
    let api = Api::new();
    let mut body = DELETE.as_bytes().to_vec();
    let at = body.windows(3).position(|w| w == b"\"p\"").unwrap() + 1;
    body[at] = 0xff;
    assert_eq!(api.rpc(body).await.status, 200);
    assert!(format!("{:?}", api.facade.requests()).contains('\u{fffd}'));
}

#[tokio::test]
async fn no_prefix_and_no_changed_byte_panics() {
    let api = Api::new();
    let body = r#"{"id":{"a":"\u00e9\ud83d\ude00"},"method":"action.Swap","params":[{"x":{"name":"p"},"y":[{"name":"q"}],"options":{"a":-1.5e+3}}]}"#;
    for end in 0..body.len() {
        let answer = api.rpc(&body[..end]).await;
        assert_eq!(answer.status, 400, "{}", &body[..end]);
    }
    for at in 0..body.len() {
        for byte in [0, b'"', b'\\', b'{', b']', b',', b':', b'0', 0xe2, 0xff] {
            let mut changed = body.as_bytes().to_vec();
            changed[at] = byte;
            let status = Api::new().send_status(changed).await;
            assert!(matches!(status, 200 | 400), "{at} {byte}");
        }
    }
}

impl Api {
    /// The status alone: the id may echo bytes that are no UTF-8.
    async fn send_status(&self, body: Vec<u8>) -> u16 {
        let request = Request::post("/rpc").body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        response.status().as_u16()
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_stop_its_call() {
    let api = Api::new();
    api.facade.slow.store(true, Ordering::SeqCst);
    let request = Request::post("/rpc").body(Body::from(DELETE)).unwrap();
    let call = tokio::spawn(api.router.clone().oneshot(request));
    api.facade.begun.notified().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(api.facade.requests().len(), 0);
    api.facade.go_on.notify_one();
    while api.facade.requests().is_empty() {
        tokio::task::yield_now().await;
    }
}
