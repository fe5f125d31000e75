//! The `kube` module against an API server that misbehaves: lost answers, overload, silence, cut
//! watches, objects that make no sense. The server is a script in this process; time is virtual.
// Clippy's exemption for tests does not reach their helper functions.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures::StreamExt;
use http::{Method, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use wam::actions::ports::{CallError, Cluster, ScalePatch};
use wam::clock;
use wam::cluster::ClusterEvent;
use wam::cluster::event::Kind;
use wam::kube::metrics::{KindLabel, VerbLabel};
use wam::kube::{
    ApiBinder, ApiCluster, ApiEvents, ClientOptions, Clients, LeaderElection, LeaseOptions,
    Metrics, Watches,
};
use wam::model::NamespacedName;
use wam::scheduler::ports::{
    AlwaysLeads, Binder, Binding, CallError as BindError, EventSink, Leadership, PodEvent,
};

/// What the script does with one request.
enum Answer {
    Json(u16, Value),
    /// With `Retry-After`.
    Overloaded(u64),
    /// Lines of a watch that then stays open, or is cut.
    Watch {
        lines: Vec<String>,
        open: bool,
    },
    /// Never.
    Silence,
}

#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    uri: String,
    content_type: String,
    body: Value,
}

type Script = dyn Fn(&Seen) -> Answer + Send + Sync;

#[derive(Clone)]
struct Server {
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Script>,
}

impl Server {
    fn new(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            seen: Arc::default(),
            script: Arc::new(script),
        }
    }

    /// One answer after another; requests beyond them are answered 418.
    fn answering(answers: Vec<Answer>) -> Self {
        let answers = Mutex::new(VecDeque::from(answers));
        Self::new(move |_| {
            let next = answers.lock().unwrap().pop_front();
            next.unwrap_or_else(|| Answer::Json(418, json!({"message": "nothing left to say"})))
        })
    }

    fn client(&self) -> kube::Client {
        let router = Router::new().fallback(serve).with_state(self.clone());
        kube::Client::new(router, "default")
    }

    fn clients(&self, metrics: &Metrics) -> Clients {
        Clients::from_client(&self.client(), &ClientOptions::default(), metrics)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let seen = Seen {
        method: parts.method,
        uri: parts.uri.to_string(),
        content_type: content_type.map_or_else(String::new, |v| v.to_str().unwrap().to_owned()),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    server.seen.lock().unwrap().push(seen.clone());
    let response = Response::builder();
    match (server.script)(&seen) {
        Answer::Json(code, body) => response.status(code).body(body.to_string().into()),
        Answer::Overloaded(seconds) => response
            .status(429)
            .header(header::RETRY_AFTER, seconds)
            .body("Too many requests, please try again.".into()),
        Answer::Watch { lines, open } => {
            let lines = lines
                .into_iter()
                .map(|l| Ok::<_, std::io::Error>(Bytes::from(l + "\n")));
            let lines = futures::stream::iter(lines);
            response.body(match open {
                true => Body::from_stream(lines.chain(futures::stream::pending())),
                false => Body::from_stream(lines),
            })
        }
        Answer::Silence => std::future::pending().await,
    }
    .unwrap()
}

fn status(code: u16, reason: &str, message: &str) -> Answer {
    Answer::Json(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
               "reason": reason, "message": message}),
    )
}

fn bound_pod(node: &str) -> Answer {
    let pod = json!({"metadata": {"name": "p", "namespace": "d", "uid": "u"},
                     "spec": {"containers": [], "nodeName": node}});
    Answer::Json(200, pod)
}

fn binder(server: &Server, metrics: &Metrics) -> ApiBinder {
    ApiBinder::new(server.clients(metrics).binds, Arc::new(AlwaysLeads))
}

fn binding() -> Binding {
    Binding {
        pod: NamespacedName::new("d", "p"),
        uid: "u".into(),
        node: "n".into(),
        annotations: [].into(),
    }
}

#[tokio::test(start_paused = true)]
async fn overload_is_waited_out() {
    let server = Server::answering(vec![
        Answer::Overloaded(3),
        Answer::Json(201, json!({"kind": "Status", "status": "Success"})),
    ]);
    let metrics = Metrics::default();
    let start = clock::instant();
    binder(&server, &metrics).bind(&binding()).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(3));
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].uri, "/api/v1/namespaces/d/pods/p/binding");
    assert_eq!(seen[0].content_type, "application/json");
    assert_eq!(
        seen[0].body,
        json!({"apiVersion": "v1", "kind": "Binding",
               "metadata": {"namespace": "d", "name": "p", "uid": "u"},
               "target": {"apiVersion": "v1", "kind": "Node", "name": "n"}})
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_bind_is_settled_by_reading() {
    let conflict = || status(409, "Conflict", "already assigned");
    let metrics = Metrics::default();
    // The first try went through and nobody heard of it.
    let server = Server::answering(vec![Answer::Silence, conflict(), bound_pod("n")]);
    assert_eq!(binder(&server, &metrics).bind(&binding()).await, Ok(()));
    assert_eq!(server.seen().len(), 3);
    // Somebody else was faster.
    let server = Server::answering(vec![Answer::Silence, conflict(), bound_pod("m")]);
    let lost = binder(&server, &metrics).bind(&binding()).await;
    assert!(matches!(lost, Err(BindError::Conflict(_))), "{lost:?}");
    // It stays silent to the end: bounded, and the truth is that nobody knows.
    let server = Server::new(|_| Answer::Silence);
    let start = clock::instant();
    let lost = binder(&server, &metrics).bind(&binding()).await;
    assert!(matches!(lost, Err(BindError::Unavailable(_))), "{lost:?}");
    assert!(start.elapsed() < Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn a_retried_bind_stops_with_leadership() {
    struct LeadsOnce(Mutex<u32>);
    impl Leadership for LeadsOnce {
        fn leads(&self) -> bool {
            let mut asked = self.0.lock().unwrap();
            *asked += 1;
            *asked == 1
        }
    }
    let server = Server::new(|_| status(503, "ServiceUnavailable", "later"));
    let clients = server.clients(&Metrics::default());
    let binder = ApiBinder::new(clients.binds, Arc::new(LeadsOnce(Mutex::new(0))));
    let ended = binder.bind(&binding()).await;
    assert!(matches!(ended, Err(BindError::Unavailable(_))), "{ended:?}");
    assert_eq!(server.seen().len(), 1);
}

fn scale() -> ScalePatch {
    ScalePatch {
        key: NamespacedName::new("d", "web"),
        uid: "u".into(),
        generation: 1,
        ledger_before: None,
        has_labels: true,
        resource_version: "5".into(),
        replicas_before: 1,
        replicas_after: 2,
        ledger_after: "a.0.1".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_done_is_not_done_again() {
    let metrics = Metrics::default();
    let cases = [
        status(500, "InternalError", "etcd went away"),
        status(504, "Timeout", "no answer"),
        Answer::Silence,
    ];
    for answer in cases {
        let server = Server::answering(vec![answer]);
        let cluster = ApiCluster::new(server.clients(&metrics).actions);
        let ended = cluster.scale(&scale()).await;
        assert!(
            matches!(ended, Err(CallError::Unavailable { .. })),
            "{ended:?}"
        );
        assert_eq!(server.seen().len(), 1);
    }
    let server = Server::answering(vec![Answer::Overloaded(1), status(422, "Invalid", "no")]);
    let cluster = ApiCluster::new(server.clients(&metrics).actions);
    let ended = cluster.scale(&scale()).await;
    assert!(
        matches!(ended, Err(CallError::Precondition(_))),
        "{ended:?}"
    );
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].method, Method::PATCH);
    assert_eq!(seen[1].content_type, "application/json-patch+json");
    assert_eq!(
        seen[1].body[4]["path"],
        "/metadata/labels/aces-eu.github.io~1wam-ledger"
    );
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_asked_once() {
    let refusal = json!({"kind": "Status", "code": 429, "reason": "TooManyRequests",
        "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "details": {"causes": [{"reason": "DisruptionBudget", "message": "needs 1"}],
                    "retryAfterSeconds": 10}});
    let server = Server::answering(vec![Answer::Json(429, refusal)]);
    let cluster = ApiCluster::new(server.clients(&Metrics::default()).actions);
    let key = NamespacedName::new("d", "p");
    let ended = cluster.evict(&key, "u", "7", true).await;
    assert!(matches!(ended, Err(CallError::Budget(_))), "{ended:?}");
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        seen[0].uri,
        "/api/v1/namespaces/d/pods/p/eviction?dryRun=All"
    );
    assert_eq!(
        seen[0].body["deleteOptions"]["preconditions"],
        json!({"uid": "u", "resourceVersion": "7"})
    );
    // Shed load is another matter, and a long wait is the caller's to decide.
    let server = Server::answering(vec![Answer::Overloaded(60)]);
    let cluster = ApiCluster::new(server.clients(&Metrics::default()).actions);
    let ended = cluster.evict(&key, "u", "7", false).await;
    let asked = Some(Duration::from_secs(60));
    assert!(
        matches!(&ended, Err(CallError::Unavailable { retry_after, .. }) if *retry_after == asked),
        "{ended:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_token_expired_begins_anew() {
    let pod = |name: &str| {
        json!({"metadata": {"name": name, "namespace": "d", "uid": name, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": true}]}})
    };
    let page = |token: &str, items: Vec<Value>| {
        Answer::Json(
            200,
            json!({"metadata": {"continue": token}, "items": items}),
        )
    };
    let server = Server::answering(vec![
        page("t/1", vec![pod("a")]),
        status(410, "Expired", "too old"),
        page("t/2", vec![pod("a")]),
        page("", vec![pod("b")]),
    ]);
    let cluster = ApiCluster::new(server.clients(&Metrics::default()).actions);
    let pods = cluster.pods("d", &["r".to_owned()]).await.unwrap();
    let names: Vec<_> = pods.iter().map(|p| p.key.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(
        server.seen()[3].uri,
        "/api/v1/namespaces/d/pods?limit=500&continue=t%2F2"
    );
}

#[tokio::test(start_paused = true)]
async fn events_never_block_and_losses_are_counted() {
    let server = Server::new(|_| Answer::Silence);
    let metrics = Metrics::default();
    let shutdown = CancellationToken::new();
    let reports = server.clients(&metrics).reports;
    let (events, _task) =
        ApiEvents::spawn(reports, metrics.clone(), "test".into(), shutdown.clone());
    for n in 0..1500 {
        events.record(PodEvent {
            pod: NamespacedName::new("d", format!("p{n}")),
            uid: n.to_string(),
            warning: true,
            reason: "FailedScheduling",
            action: "Scheduling",
            note: "no".into(),
            reporter: "wam-scheduler".into(),
        });
    }
    assert_eq!(metrics.events_dropped.get(), 500);
    shutdown.cancel();
}

#[tokio::test(start_paused = true)]
async fn leadership_ends_by_the_clock_when_the_server_falls_silent() {
    let silent = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let hush = Arc::clone(&silent);
    let server = Server::new(move |seen| {
        if hush.load(std::sync::atomic::Ordering::Relaxed) {
            return Answer::Silence;
        }
        match seen.method {
            Method::GET => status(404, "NotFound", "no lease"),
            _ => Answer::Json(200, seen.body.clone()),
        }
    });
    let options = LeaseOptions::new("kube-system", "wam", "me".into());
    let lease = server.clients(&Metrics::default()).lease;
    let election = Arc::new(LeaderElection::new(lease, options).unwrap());
    let stop = CancellationToken::new();
    let (running, stopped) = (Arc::clone(&election), stop.clone());
    let task = tokio::spawn(async move { running.run(stopped, 1).await });
    let mut changes = election.changes();
    changes.wait_for(|leads| *leads).await.unwrap();
    clock::sleep(Duration::from_secs(60)).await;
    assert!(election.leads());
    silent.store(true, std::sync::atomic::Ordering::Relaxed);
    let fell_silent = clock::instant();
    changes.wait_for(|leads| !*leads).await.unwrap();
    assert!(!election.leads());
    assert!(fell_silent.elapsed() > Duration::from_secs(7));
    clock::sleep_until(fell_silent + Duration::from_secs(11)).await;
    assert!(!election.leads());
    // It takes office again when the server answers.
    silent.store(false, std::sync::atomic::Ordering::Relaxed);
    changes.wait_for(|leads| *leads).await.unwrap();
    stop.cancel();
    task.await.unwrap();
    assert!(!election.leads());
}

fn line(kind: &str, object: &Value) -> String {
    // The real server says the type first; another order must do as well.
    format!("{{\"object\":{object},\"type\":\"{kind}\"}}")
}

fn pod(name: &str, uid: &str, version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
           "metadata": {"name": name, "namespace": "d", "uid": uid, "resourceVersion": version}})
}

/// A server whose pods are told by `pods` (the n-th list, the n-th watch); all else is empty.
fn watched(pods: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Server {
    let asked = Mutex::new((0, 0));
    Server::new(move |seen| {
        let watching = seen.uri.contains("watch=true");
        if seen.uri.starts_with("/api/v1/pods") {
            let mut asked = asked.lock().unwrap();
            let count = if watching { &mut asked.1 } else { &mut asked.0 };
            *count += 1;
            let n = *count;
            return pods(seen, n);
        }
        if watching {
            return Answer::Watch {
                lines: Vec::new(),
                open: true,
            };
        }
        Answer::Json(200, list(&[]))
    })
}

fn list(items: &[Value]) -> Value {
    json!({"metadata": {"resourceVersion": "100"}, "items": items})
}

/// The pod events, in words.
async fn words(inbox: &mut mpsc::Receiver<ClusterEvent>, until: &str) -> Vec<String> {
    let mut words = Vec::new();
    while let Some(event) = inbox.recv().await {
        let word = match event {
            ClusterEvent::Pod(pod) => {
                let meta = &pod.metadata;
                let part = |text: &Option<String>| text.clone().unwrap_or_default();
                format!(
                    "{} {} {}",
                    part(&meta.name),
                    part(&meta.uid),
                    part(&meta.resource_version)
                )
            }
            ClusterEvent::PodGone(key, uid) => format!("-{} {uid}", key.name),
            ClusterEvent::Synced(Kind::Pod) => "synced".to_owned(),
            _ => continue,
        };
        let last = word == until;
        words.push(word);
        if last {
            return words;
        }
    }
    words
}

#[tokio::test(start_paused = true)]
async fn after_a_gap_the_difference_is_told() {
    let server = watched(|seen, n| match (seen.uri.contains("watch=true"), n) {
        (false, 1) => Answer::Json(
            200,
            list(&[
                pod("stays", "1", "10"),
                pod("goes", "2", "11"),
                pod("again", "3", "12"),
            ]),
        ),
        (true, 1) => Answer::Watch {
            lines: vec![
                line("MODIFIED", &pod("stays", "1", "13")),
                line(
                    "ERROR",
                    &json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "old"}),
                ),
            ],
            open: false,
        },
        // A list that fails on the way leaves no trace.
        (false, 2) => status(500, "InternalError", "ailing"),
        (false, _) => Answer::Json(
            200,
            list(&[pod("stays", "1", "13"), pod("again", "4", "20")]),
        ),
        (true, 2) => status(403, "Forbidden", "not any more"),
        (true, 3) => status(410, "Expired", "too old"),
        (true, _) => Answer::Watch {
            lines: vec![line("ADDED", &pod("end", "5", "30"))],
            open: true,
        },
    });
    let (events, mut inbox) = mpsc::channel(1);
    let metrics = Metrics::default();
    let shutdown = CancellationToken::new();
    let watches = Watches::spawn(&server.client(), &events, &metrics, &shutdown, 1);
    assert_eq!(
        words(&mut inbox, "end 5 30").await,
        [
            "stays 1 10",
            "goes 2 11",
            "again 3 12",
            "synced",
            "stays 1 13",
            "-again 3",
            "again 4 20",
            "-goes 2",
            "end 5 30",
        ]
    );
    assert!(watches.health().iter().all(wam::kube::WatchHealth::is_well));
    shutdown.cancel();
    watches.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn one_bad_object_hides_no_other() {
    let bad = |version: &str| {
        let mut bad = pod("bad", "9", version);
        bad["spec"] = json!({"containers": "none"});
        bad
    };
    let (in_list, in_watch) = (bad("10"), bad("12"));
    let server = watched(move |seen, n| match (seen.uri.contains("watch=true"), n) {
        (false, _) => Answer::Json(
            200,
            list(&[pod("a", "1", "10"), in_list.clone(), pod("b", "2", "11")]),
        ),
        (true, _) => Answer::Watch {
            lines: vec![
                line("MODIFIED", &in_watch),
                line("ADDED", &pod("c", "3", "13")),
            ],
            open: true,
        },
    });
    let (events, mut inbox) = mpsc::channel(1);
    let metrics = Metrics::default();
    let shutdown = CancellationToken::new();
    let watches = Watches::spawn(&server.client(), &events, &metrics, &shutdown, 1);
    let told = words(&mut inbox, "c 3 13").await;
    assert_eq!(told, ["a 1 10", "b 2 11", "synced", "c 3 13"]);
    let kind = KindLabel { kind: "Pod".into() };
    assert!(metrics.malformed.get_or_create(&kind).get() >= 2);
    shutdown.cancel();
    watches.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn trouble_is_shown_while_it_lasts() {
    let server = watched(|seen, n| match (seen.uri.contains("watch=true"), n) {
        (false, 1..=3) => status(403, "Forbidden", "pods is forbidden"),
        (false, _) => Answer::Json(200, list(&[])),
        (true, _) => Answer::Watch {
            lines: Vec::new(),
            open: true,
        },
    });
    let (events, mut inbox) = mpsc::channel(100);
    let metrics = Metrics::default();
    let shutdown = CancellationToken::new();
    let watches = Watches::spawn(&server.client(), &events, &metrics, &shutdown, 1);
    let pods = |w: &Watches| {
        w.health()
            .into_iter()
            .find(|h| h.kind == Kind::Pod)
            .unwrap()
    };
    clock::sleep(Duration::from_millis(10)).await;
    let problem = pods(&watches).problem.unwrap();
    assert!(problem.contains("pods is forbidden"), "{problem}");
    assert_eq!(words(&mut inbox, "synced").await, ["synced"]);
    clock::sleep(Duration::from_millis(1)).await;
    assert!(pods(&watches).is_well());
    let kind = KindLabel { kind: "Pod".into() };
    assert_eq!(metrics.watch_failures.get_or_create(&kind).get(), 3);
    shutdown.cancel();
    watches.stopped().await;
}

/// Over TCP with the client's default stack: it must not repeat by itself, and says who it is.
#[tokio::test]
async fn the_client_itself_repeats_nothing() {
    let server = Server::new(|_| status(503, "ServiceUnavailable", "later"));
    let agents = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&agents);
    let router = Router::new()
        .fallback(serve)
        .with_state(server.clone())
        .layer(axum::middleware::map_request(move |request: Request| {
            let agent = request.headers()[header::USER_AGENT]
                .to_str()
                .unwrap()
                .to_owned();
            noted.lock().unwrap().push(agent);
            async move { request }
        }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move { axum::serve(listener, router).await });
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    let metrics = Metrics::default();
    let clients = Clients::from_config(config, &ClientOptions::default(), &metrics).unwrap();
    let cluster = ApiCluster::new(clients.actions);
    let ended = cluster
        .evict(&NamespacedName::new("d", "p"), "u", "7", false)
        .await;
    assert!(
        matches!(ended, Err(CallError::Unavailable { .. })),
        "{ended:?}"
    );
    assert_eq!(server.seen().len(), 1);
    assert_eq!(
        agents.lock().unwrap()[0],
        concat!("wam/", env!("CARGO_PKG_VERSION"))
    );
    served.abort();
    assert!(served.await.unwrap_err().is_cancelled());
    // Nobody listens now: certainly not done, so it may be tried again.
    let ended = cluster
        .evict(&NamespacedName::new("d", "p"), "u", "7", false)
        .await;
    assert!(
        matches!(ended, Err(CallError::Unavailable { .. })),
        "{ended:?}"
    );
    assert!(
        metrics
            .retries
            .get_or_create(&VerbLabel { verb: "evict" })
            .get()
            > 0
    );
}
