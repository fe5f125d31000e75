//! A caller: JSON-RPC 1.0 by HTTP, and the stream of events.

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};

/// Talks to one `wam`.
#[derive(Clone)]
pub struct Caller {
    base: String,
    http: reqwest::Client,
}

impl Caller {
    /// `base` is like `http://127.0.0.1:3000`.
    pub fn new(base: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            base: base.to_owned(),
            http: reqwest::Client::new(),
        }
    }

    /// One call; the whole answer.
    pub async fn call(&self, method: &str, argument: Value) -> reqwest::Result<Value> {
        let body = json!({"method": method, "params": [argument], "id": "1"});
        let request = self.http.post(format!("{}/rpc", self.base)).json(&body);
        request
            .timeout(Duration::from_secs(60))
            .send()
            .await?
            .json()
            .await
    }

    /// Submits an action that is taken; its id.
    pub async fn submit(&self, method: &str, argument: Value) -> String {
        let answer = self.call(method, argument).await.expect("an answer");
        assert_eq!(answer["result"]["message"], "ok", "{answer}");
        answer["result"]["actionId"]
            .as_str()
            .expect("an actionId")
            .to_owned()
    }

    /// The error of a call that is refused.
    pub async fn refused(&self, method: &str, argument: Value) -> String {
        let answer = self.call(method, argument).await.expect("an answer");
        assert_eq!(answer["result"], Value::Null, "{answer}");
        answer["error"].as_str().expect("an error").to_owned()
    }

    /// `action.Get`.
    pub async fn get(&self, id: &str) -> reqwest::Result<Value> {
        Ok(self.call("action.Get", json!({"actionId": id})).await?["result"].take())
    }

    /// Polls until the action has ended (its state is final); the action.
    pub async fn ended(&self, id: &str) -> Value {
        // Beyond what an action may take: its deadline, the grace past it, and putting back.
        for _ in 0..12_000 {
            if let Ok(action) = self.get(id).await
                && !matches!(action["state"].as_str(), None | Some("Pending" | "Running"))
            {
                return action;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the action {id} did not end: {:?}", self.get(id).await);
    }

    /// Submits, waits, and demands success.
    pub async fn done(&self, method: &str, argument: Value) -> Value {
        let id = self.submit(method, argument).await;
        let action = self.ended(&id).await;
        assert_eq!(action["state"], "Succeeded", "{action:#}");
        action
    }

    /// Listens to the events from now on.
    pub async fn listen(&self) -> Listener {
        let answer = self
            .http
            .get(format!("{}/events", self.base))
            .send()
            .await
            .expect("events");
        assert_eq!(answer.status(), 200);
        Listener {
            stream: answer.bytes_stream().boxed(),
            text: String::new(),
        }
    }

    /// Whether `/readyz` says yes.
    pub async fn ready(&self) -> bool {
        let asked = self.http.get(format!("{}/readyz", self.base)).send().await;
        asked.is_ok_and(|answer| answer.status() == 200)
    }

    /// Waits until it says yes.
    pub async fn until_ready(&self) {
        for _ in 0..4800 {
            if self.ready().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} did not become ready", self.base);
    }
}

/// Reads server-sent events.
pub struct Listener {
    stream: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Listener {
    /// Waits for the outcome of an action; the event's type and its CloudEvent.
    pub async fn outcome(&mut self, action: &str) -> (String, Value) {
        let wait = async {
            loop {
                while let Some(end) = self.text.find("\n\n") {
                    let block: String = self.text.drain(..end + 2).collect();
                    let field = |name: &str| {
                        block
                            .lines()
                            .find_map(|line| line.strip_prefix(name))
                            .map(str::trim)
                    };
                    let (Some(kind), Some(data)) = (field("event:"), field("data:")) else {
                        continue;
                    };
                    let event: Value = serde_json::from_str(data).expect("a CloudEvent");
                    let word = kind
                        .trim_start_matches("wam.action.")
                        .trim_end_matches(".v1");
                    if event["subject"] == action
                        && matches!(word, "succeeded" | "failed" | "compensated" | "cancelled")
                    {
                        return (kind.to_owned(), event);
                    }
                }
                let chunk = self
                    .stream
                    .next()
                    .await
                    .expect("the stream goes on")
                    .expect("bytes");
                self.text
                    .push_str(std::str::from_utf8(&chunk).expect("text"));
            }
        };
        tokio::time::timeout(Duration::from_secs(600), wait)
            .await
            .unwrap_or_else(|_| panic!("no outcome of {action} on the stream"))
    }
}
