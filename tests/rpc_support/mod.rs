//! What the tests of the API share: a facade that records, a store that holds events and can be
//! switched off, and calls through the router.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use wam::actions::{self, Accepted, Facade, SubmitError};
use wam::api::{ApiMetrics, ApiState, Check, router};
use wam::store::{
    ActionId, ActionPage, ActionRecord, Claim, Error, Idempotency, Intent, IntentDelta, LockMode,
    NewEvent, Refusal, Result, Store, StoredEvent, Submitted,
};

/// The id that [`StubFacade`] gives to every action.
pub const ID: &str = "0190a6e0c0de7000800000000000abcd";

/// Accepts everything, and remembers it.
#[derive(Default)]
pub struct StubFacade {
    pub requests: Mutex<Vec<actions::Request>>,
    pub refuse: Mutex<Option<SubmitError>>,
    pub records: Mutex<Vec<ActionRecord>>,
    pub dry_run: AtomicBool,
    /// What a dry run answers.
    pub plan: Mutex<Value>,
    /// Calls wait here when `slow` is set, until told.
    pub slow: AtomicBool,
    pub begun: Notify,
    pub go_on: Notify,
}

impl StubFacade {
    pub fn requests(&self) -> Vec<actions::Request> {
        self.requests.lock().unwrap().clone()
    }
}

#[async_trait]
impl Facade for StubFacade {
    async fn submit(
        &self,
        request: actions::Request,
    ) -> std::result::Result<Accepted, SubmitError> {
        if self.slow.load(Ordering::SeqCst) {
            self.begun.notify_one();
            self.go_on.notified().await;
        }
        if let Some(error) = self.refuse.lock().unwrap().clone() {
            return Err(error);
        }
        self.requests.lock().unwrap().push(request);
        if self.dry_run.load(Ordering::SeqCst) {
            return Ok(Accepted::DryRun {
                plan: self.plan.lock().unwrap().clone(),
            });
        }
        Ok(Accepted::Stored {
            id: ID.parse().unwrap(),
        })
    }

    async fn get(&self, id: ActionId) -> std::result::Result<Option<ActionRecord>, SubmitError> {
        let records = self.records.lock().unwrap();
        Ok(records.iter().find(|record| record.id == id).cloned())
    }

    async fn list(
        &self,
        limit: usize,
        from: Option<&str>,
    ) -> std::result::Result<ActionPage, SubmitError> {
        if from == Some("bad") {
            return Err(SubmitError::Invalid("bad continue".into()));
        }
        let records = self.records.lock().unwrap();
        Ok(ActionPage {
            actions: records.iter().take(limit).cloned().collect(),
            next: (limit < records.len()).then(|| format!("after-{limit}")),
        })
    }
}

/// Holds events alone.
pub struct StubStore {
    pub events: Mutex<Vec<StoredEvent>>,
    pub away: AtomicBool,
    pub changed: watch::Sender<u64>,
}

impl Default for StubStore {
    fn default() -> Self {
        Self {
            events: Mutex::default(),
            away: AtomicBool::new(false),
            changed: watch::Sender::new(0),
        }
    }
}

impl StubStore {
    /// Appends without a notification.
    pub fn append_silently(&self, position: &str, kind: &str, subject: &str) {
        self.events.lock().unwrap().push(StoredEvent {
            position: position.into(),
            event: NewEvent {
                id: format!("event-{position}"),
                kind: kind.into(),
                body: json!({"specversion": "1.0", "subject": subject, "type": kind}),
            },
        });
    }

    pub fn append(&self, position: &str, kind: &str, subject: &str) {
        self.append_silently(position, kind, subject);
        self.changed.send_modify(|count| *count += 1);
    }

    fn here(&self) -> Result<()> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("connection refused".into()));
        }
        Ok(())
    }

    fn nothing<T>(&self) -> Result<T> {
        Err(Error::Unavailable("not in this test".into()))
    }
}

fn key(position: &str) -> (u64, u64) {
    let (a, b) = position.split_once('-').unwrap();
    (a.parse().unwrap(), b.parse().unwrap())
}

#[async_trait]
impl Store for StubStore {
    async fn ping(&self) -> Result<()> {
        self.here()
    }
    async fn submit(
        &self,
        _: &ActionRecord,
        _: Option<&Idempotency>,
        _: &[NewEvent],
    ) -> Result<Submitted> {
        self.nothing()
    }
    async fn idempotent(&self, _: &str, _: &str) -> Result<Option<(ActionId, String)>> {
        self.nothing()
    }
    async fn action(&self, _: ActionId) -> Result<Option<ActionRecord>> {
        self.nothing()
    }
    async fn list(&self, _: usize, _: Option<&str>) -> Result<ActionPage> {
        self.nothing()
    }
    async fn acquire(&self, _: &str, _: Duration, _: usize) -> Result<Vec<ActionRecord>> {
        self.nothing()
    }
    async fn renew(&self, _: &str, _: &[ActionId], _: Duration) -> Result<Vec<ActionId>> {
        self.nothing()
    }
    async fn release(&self, _: &str, _: &[ActionId]) -> Result<()> {
        self.nothing()
    }
    async fn save(&self, _: &ActionRecord, _: &[NewEvent]) -> Result<u64> {
        self.nothing()
    }
    async fn prune(&self, _: Duration, _: usize) -> Result<usize> {
        self.nothing()
    }
    async fn lock(&self, _: &str, _: LockMode, _: &str) -> Result<bool> {
        self.nothing()
    }
    async fn unlock(&self, _: &str, _: &str) -> Result<()> {
        self.nothing()
    }
    async fn put_intent(&self, _: &Intent) -> Result<()> {
        self.nothing()
    }
    async fn redirect_intent(&self, _: &str, _: Option<&str>, _: bool) -> Result<bool> {
        self.nothing()
    }
    async fn withdraw_intent(&self, _: &str) -> Result<Option<Intent>> {
        self.nothing()
    }
    async fn intent(&self, _: &str) -> Result<Option<Intent>> {
        self.nothing()
    }
    async fn claim(&self, _: &str, _: &Claim, _: Option<&str>) -> Result<bool> {
        self.nothing()
    }
    async fn unclaim(&self, _: &str, _: &str) -> Result<()> {
        self.nothing()
    }
    async fn refuse_intent(&self, _: &str, _: &Refusal) -> Result<()> {
        self.nothing()
    }
    async fn intents_since(&self, _: u64) -> Result<IntentDelta> {
        self.nothing()
    }
    async fn events_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredEvent>> {
        self.here()?;
        let after = after.map(key);
        let events = self.events.lock().unwrap();
        Ok(events
            .iter()
            .filter(|event| after.is_none_or(|after| key(&event.position) > after))
            .take(limit)
            .cloned()
            .collect())
    }
    async fn last_event(&self) -> Result<Option<String>> {
        self.here()?;
        let events = self.events.lock().unwrap();
        Ok(events.last().map(|event| event.position.clone()))
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// The API over stubs.
pub struct Api {
    pub facade: Arc<StubFacade>,
    pub store: Arc<StubStore>,
    pub shutdown: CancellationToken,
    pub router: Router,
}

impl Api {
    pub fn new() -> Self {
        let store = Arc::new(StubStore::default());
        Self::over(store.clone(), store)
    }

    /// Serves the events of another store.
    pub fn over(events: Arc<dyn Store>, store: Arc<StubStore>) -> Self {
        let facade = Arc::new(StubFacade::default());
        let shutdown = CancellationToken::new();
        let mut registry = Registry::default();
        let metrics = ApiMetrics::register(&mut registry);
        let pinged = Arc::clone(&store);
        let router = router(ApiState {
            facade: facade.clone(),
            store: events,
            readiness: Arc::from([Check::new("store", move || {
                let store = Arc::clone(&pinged);
                async move { store.ping().await.map_err(|error| error.to_string()) }
            })]),
            registry: Arc::new(registry),
            scheduler: None,
            metrics,
            shutdown: shutdown.clone(),
        });
        Self {
            facade,
            store,
            shutdown,
            router,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    /// A POST to /rpc as curl would send it with `-H 'Content-Type: application/json'`.
    pub async fn rpc(&self, body: impl Into<Body>) -> Answer {
        let request = Request::post("/rpc").header("content-type", "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
