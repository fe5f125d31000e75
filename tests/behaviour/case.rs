//! One case: what is asked of an API server in a namespace of the case's own, and what it answers.
//!
//! What is asked and answered is written down; [`run`] compares it with the case's file in `answers/`,
//! which was recorded on a real API server (see `main.rs`).

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt as _;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use wam::clock;

use crate::ground::Ground;
use crate::normal::Names;

/// How long the API server and its controllers may take for anything here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Media types of patches.
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// A running case.
pub(crate) struct Case {
    client: Client,
    /// The case's own namespace; `{ns}` in paths and bodies.
    pub(crate) namespace: String,
    /// Part of names of cluster-scoped objects; `{id}` in paths and bodies.
    pub(crate) id: String,
    pub(crate) names: Names,
    transcript: String,
    ground: Ground,
    /// It turned out that this server cannot show what the case is about.
    unseen: bool,
}

/// What the server said.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    /// JSON, or the text as a string.
    pub(crate) body: Value,
}

impl Answer {
    /// The string at a JSON pointer; empty if there is none.
    pub(crate) fn text(&self, pointer: &str) -> String {
        text(&self.body, pointer)
    }

    pub(crate) fn uid(&self) -> String {
        self.text("/metadata/uid")
    }

    /// The object's or list's `resourceVersion`.
    pub(crate) fn version(&self) -> String {
        self.text("/metadata/resourceVersion")
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let items = self.body["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|o| text(o, "/metadata/name")).collect()
    }
}

/// The string at a JSON pointer; empty if there is none.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

/// The details of a Status with equal causes told once: the real server checks metadata several times.
fn with_distinct_causes(details: &Value) -> Value {
    let mut details = details.clone();
    if let Some(Value::Array(causes)) = details.get_mut("causes") {
        let mut seen = Vec::new();
        causes.retain(|cause| {
            let new = !seen.contains(cause);
            if new {
                seen.push(cause.clone());
            }
            new
        });
    }
    details
}

impl Case {
    /// A namespace of its own on the API server, `None` (said aloud) where there is none.
    async fn begin(ground: Ground, name: &str) -> Option<Self> {
        let client = ground.client(name).await?;
        let id = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
        let namespace = format!("behaviour-{id}");
        let mut names = Names::default();
        names.mask(&namespace, "{ns}");
        names.mask(&id, "{id}");
        let mut case = Self {
            client,
            namespace,
            id,
            names,
            transcript: String::new(),
            ground,
            unseen: false,
        };
        let object = json!({"metadata": {"name": case.namespace}});
        case.make("/api/v1/namespaces", object).await;
        Some(case)
    }

    /// A heading in what is written down.
    pub(crate) fn note(&mut self, what: &str) {
        let _ = writeln!(self.transcript, "\n# {what}");
    }

    /// What the case is about cannot be seen on this real server, for this reason; the sandbox has to show it.
    pub(crate) fn unseen(&mut self, why: &str) {
        assert_eq!(self.ground, Ground::Real, "{why}");
        eprintln!("not seen: {why}");
        self.unseen = true;
    }

    /// Writes a finding down, under its name.
    pub(crate) fn found(&mut self, what: &str, value: &Value) {
        let value = self.names.normal(value);
        let _ = writeln!(self.transcript, "{what}: {value}");
    }

    fn expand(&self, text: &str) -> String {
        text.replace("{ns}", &self.namespace)
            .replace("{id}", &self.id)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(self.expand(path));
        let mut agent = "wam-behaviour/1";
        for (name, value) in headers {
            if *name == "user-agent" {
                agent = value;
            } else {
                request = request.header(*name, *value);
            }
        }
        request
            .header("user-agent", agent)
            .body(Body::from(body))
            .expect("the request is well formed")
    }

    /// Sends a request and writes nothing down.
    pub(crate) async fn quietly(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let request = self.request(method, path, headers, body.into());
        let sent = clock::timeout(PATIENCE, async {
            let response = self.client.send(request).await.expect("it is answered");
            let (parts, body) = response.into_parts();
            let bytes = body
                .collect()
                .await
                .expect("the answer is whole")
                .to_bytes();
            (parts, bytes)
        });
        let (parts, bytes) = sent.await.expect("it is answered in time");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer {
            code: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }

    /// Sends a request; both it and the answer are written down.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let body = body.into();
        let shown = String::from_utf8_lossy(&body[..body.len().min(4000)]).into_owned();
        let answer = self.quietly(method.clone(), path, headers, body).await;
        let mut line = format!("{method} {path}");
        for (name, value) in headers {
            if *value != "application/json" {
                let _ = write!(line, " {name}: {value}");
            }
        }
        if !shown.is_empty() {
            let shown = match serde_json::from_str::<Value>(&shown) {
                // Doubled keys and wrong spellings are what some cases are about.
                Ok(value) if value.to_string().len() == shown.len() => {
                    self.names.normal(&value).to_string()
                }
                _ => shown,
            };
            let shown: String = self.names.text(&shown).chars().take(300).collect();
            let shown: String = shown
                .chars()
                .map(|c| if c.is_control() { '¬' } else { c })
                .collect();
            let _ = write!(line, " {shown}");
        }
        let line = self.names.text(&line);
        let _ = writeln!(self.transcript, "\n{line}");
        self.write(&answer);
        answer
    }

    fn write(&mut self, answer: &Answer) {
        let body = self.names.normal(&answer.body);
        let mut out = format!("{}", answer.code);
        match &body {
            Value::Object(map) if map.get("kind") == Some(&json!("Status")) => {
                let said = |key: &str| {
                    map.get(key).map(|v| {
                        v.as_str()
                            .map_or_else(|| v.to_string(), |s| s.replace('\n', "\\n"))
                    })
                };
                for key in ["status", "reason", "message", "code"] {
                    let shown = said(key).unwrap_or_else(|| "-".to_owned());
                    let redundant = key == "code" && shown == answer.code.to_string();
                    if !(redundant || key == "status" && shown == "Failure") {
                        let _ = write!(out, " {key}={shown}");
                    }
                }
                for key in ["details", "metadata"] {
                    let value = map.get(key).filter(|v| **v != json!({}));
                    if let Some(value) = value.map(with_distinct_causes) {
                        let _ = write!(out, "\n    {key}: {value}");
                    }
                }
            }
            Value::Object(map) => {
                let of = |key: &str| {
                    map.get(key)
                        .and_then(Value::as_str)
                        .unwrap_or("-")
                        .to_owned()
                };
                let _ = write!(out, " {} {}", of("apiVersion"), of("kind"));
                for (key, value) in map {
                    match value {
                        _ if key == "kind" || key == "apiVersion" => {}
                        Value::Array(items) if key == "items" || key == "rows" => {
                            let _ = write!(out, "\n    {key}: {}", items.len());
                            for item in items {
                                let _ = write!(out, "\n        {item}");
                            }
                        }
                        value => {
                            let _ = write!(out, "\n    {key}: {value}");
                        }
                    }
                }
            }
            Value::String(text) => {
                let _ = write!(out, " {}", text.trim_end().replace('\n', "\n    "));
            }
            other => {
                let _ = write!(out, " {other}");
            }
        }
        for name in ["warning", "retry-after"] {
            for value in answer.headers.get_all(name) {
                let value = self.names.text(&String::from_utf8_lossy(value.as_bytes()));
                let _ = write!(out, "\n    {name}: {value}");
            }
        }
        let _ = writeln!(self.transcript, "{out}");
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn post(&mut self, path: &str, body: Value) -> Answer {
        let body = self.expand(&body.to_string());
        self.send(
            Method::POST,
            path,
            &[("content-type", "application/json")],
            body,
        )
        .await
    }

    pub(crate) async fn put(&mut self, path: &str, body: Value) -> Answer {
        let body = self.expand(&body.to_string());
        self.send(
            Method::PUT,
            path,
            &[("content-type", "application/json")],
            body,
        )
        .await
    }

    pub(crate) async fn patch(&mut self, path: &str, kind: &str, body: Value) -> Answer {
        let body = self.expand(&body.to_string());
        self.send(Method::PATCH, path, &[("content-type", kind)], body)
            .await
    }

    /// `options` is the `DeleteOptions` of the body; null: no body.
    pub(crate) async fn delete(&mut self, path: &str, options: Value) -> Answer {
        if options.is_null() {
            return self.send(Method::DELETE, path, &[], "").await;
        }
        let body = self.expand(&options.to_string());
        self.send(
            Method::DELETE,
            path,
            &[("content-type", "application/json")],
            body,
        )
        .await
    }

    /// Creates what a case needs; it is not what the case is about.
    pub(crate) async fn make(&mut self, path: &str, body: Value) -> Answer {
        let body = self.expand(&body.to_string());
        let headers = [("content-type", "application/json")];
        let answer = self.quietly(Method::POST, path, &headers, body).await;
        assert_eq!(answer.code, 201, "{path}: {}", answer.body);
        answer
    }

    /// Changes what a case needs, by a merge patch.
    pub(crate) async fn change(&mut self, path: &str, body: Value) -> Answer {
        let body = self.expand(&body.to_string());
        let headers = [("content-type", MERGE)];
        let answer = self.quietly(Method::PATCH, path, &headers, body).await;
        assert_eq!(answer.code, 200, "{path}: {}", answer.body);
        answer
    }

    /// Reads without writing down.
    pub(crate) async fn look(&self, path: &str) -> Answer {
        self.quietly(Method::GET, path, &[], "").await
    }

    /// Waits until what is at `path` is as it should be, and answers it. Writes nothing down.
    pub(crate) async fn until(
        &self,
        what: &str,
        path: &str,
        is: impl Fn(&Answer) -> bool,
    ) -> Answer {
        let start = clock::instant();
        loop {
            let answer = self.look(path).await;
            if is(&answer) {
                return answer;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{what} did not come: {} {}",
                answer.code,
                answer.body
            );
            clock::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until pods can be made in the namespace.
    pub(crate) async fn with_account(&self) {
        let path = "/api/v1/namespaces/{ns}/serviceaccounts/default";
        self.until("the service account", path, |a| a.code == 200)
            .await;
    }

    /// Opens a watch and writes the request down; its events are as [`Watch::event`] takes them.
    pub(crate) async fn watch(&mut self, path: &str, headers: &[(&str, &str)]) -> Watch {
        let _ = writeln!(self.transcript, "\nWATCH {}", self.names.text(path));
        let request = self.request(Method::GET, path, headers, Vec::new());
        let opening = clock::timeout(PATIENCE, self.client.send(request));
        let response = opening.await.expect("in time").expect("it is answered");
        let code = response.status().as_u16();
        let _ = writeln!(self.transcript, "{code}");
        Watch {
            stream: response.into_body().into_data_stream().boxed(),
            buffer: Vec::new(),
        }
    }

    /// Opens a watch and writes nothing down.
    pub(crate) async fn quiet_watch(&self, path: &str) -> Watch {
        let request = self.request(Method::GET, path, &[], Vec::new());
        let opening = clock::timeout(PATIENCE, self.client.send(request));
        let response = opening.await.expect("in time").expect("it is answered");
        Watch {
            stream: response.into_body().into_data_stream().boxed(),
            buffer: Vec::new(),
        }
    }

    /// The next event of a watch, written down; `None` when the watch has ended.
    pub(crate) async fn event(&mut self, watch: &mut Watch) -> Option<Value> {
        let event = watch.next().await;
        let line = match &event {
            Some(event) => {
                let object = self.names.normal(&event["object"]);
                format!("EVENT {} {object}", event["type"].as_str().unwrap_or("-"))
            }
            None => "END".to_owned(),
        };
        let _ = writeln!(self.transcript, "{line}");
        event
    }

    async fn end(mut self) {
        // The testbed's are thrown away with it.
        if std::env::var_os("WAM_TEST_KUBECONFIG").is_some() {
            let path = "/api/v1/namespaces/{ns}";
            self.quietly(Method::DELETE, path, &[], "").await;
        }
        self.transcript.clear();
    }
}

/// An open watch.
pub(crate) struct Watch {
    stream: futures::stream::BoxStream<'static, Result<bytes::Bytes, kube::Error>>,
    buffer: Vec<u8>,
}

impl Watch {
    /// The next event; `None` when the watch has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        clock::timeout(PATIENCE, async {
            loop {
                if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                    let line: Vec<u8> = self.buffer.drain(..=end).collect();
                    return Some(serde_json::from_slice(&line).expect("events are JSON"));
                }
                match self.stream.next().await {
                    Some(chunk) => self.buffer.extend_from_slice(&chunk.expect("it goes on")),
                    None if self.buffer.is_empty() => return None,
                    None => self.buffer.push(b'\n'),
                }
            }
        })
        .await
        .expect("something happens in time")
    }
}

/// Runs a case on a ground and compares what was said with what is on record.
pub(crate) async fn run(path: &str, ground: Ground, case: impl AsyncFnOnce(&mut Case)) {
    // `behaviour::list::pages`
    let name = path.split("::").skip(1).collect::<Vec<_>>().join("/");
    let Some(mut running) = Case::begin(ground, &name).await else {
        return;
    };
    Box::pin(case(&mut running)).await;
    let said = running.transcript.trim_start().to_owned();
    let unseen = running.unseen;
    running.end().await;
    if unseen {
        return;
    }
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/behaviour/answers")
        .join(format!("{name}.txt"));
    if ground == Ground::Real && std::env::var_os("WAM_RECORD").is_some() {
        std::fs::create_dir_all(file.parent().expect("it has one")).expect("a folder");
        std::fs::write(&file, &said).expect("written");
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; WAM_RECORD=1 records it on a real API server",
            file.display()
        )
    });
    if said != expected {
        panic!(
            "{name} on {ground:?}: the answers differ from the record\n{}",
            difference(&expected, &said)
        );
    }
}

/// The lines that differ (`-` on record, `+` said), each after the request it belongs to.
fn difference(expected: &str, said: &str) -> String {
    let blocks =
        |text: &str| -> Vec<String> { text.split("\n\n").map(|b| b.trim().to_owned()).collect() };
    let (expected, said) = (blocks(expected), blocks(said));
    let mut out = String::new();
    for at in 0..expected.len().max(said.len()) {
        let (was, is) = (expected.get(at), said.get(at));
        if was == is {
            continue;
        }
        let lines = |block: Option<&String>| -> Vec<String> {
            block
                .map(|b| b.lines().map(str::to_owned).collect())
                .unwrap_or_default()
        };
        let (was, is) = (lines(was), lines(is));
        let _ = writeln!(
            out,
            "  {}",
            was.first()
                .or_else(|| is.first())
                .map_or("", String::as_str)
        );
        for line in was.iter().filter(|line| !is.contains(line)) {
            let _ = writeln!(out, "- {line}");
        }
        for line in is.iter().filter(|line| !was.contains(line)) {
            let _ = writeln!(out, "+ {line}");
        }
    }
    out
}
