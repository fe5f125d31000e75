//! Against a real HTTP server, and a real one with TLS.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::*;
use crate::cluster::{Cache, ClusterEvent, Snapshot};
use crate::model::NamespacedName;
use crate::scheduler::config::{self, ExtenderConfig};
use crate::scheduler::cycle::{Choice, Failure, Search};
use crate::scheduler::diagnosis::Nominate;
use crate::scheduler::extender;
use crate::scheduler::framework::{CycleState, Framework, Profile};
use crate::scheduler::intents::IntentBook;
use crate::scheduler::plugins::registry;

/// What the server answers to each verb, and what it was asked.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<BTreeMap<&'static str, Value>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Server {
    async fn start(answers: &[(&'static str, Value)]) -> (Self, String) {
        let server = Self {
            answers: Arc::new(answers.iter().cloned().collect()),
            ..Self::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/api/{verb}", post(answer))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, url)
    }

    fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(
    State(server): State<Server>,
    Path(verb): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    server.asked.lock().unwrap().push((verb.clone(), body));
    match server.answers.get(verb.as_str()) {
        Some(Value::String(text)) if text == "hang" => std::future::pending().await,
        Some(answer) => Json(answer).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn config(url: &str, fields: Value) -> ExtenderConfig {
    let mut extender = json!({"urlPrefix": url});
    for (name, value) in fields.as_object().unwrap() {
        extender[name] = value.clone();
    }
    let file = json!({"apiVersion":"kubescheduler.config.k8s.io/v1","kind":"KubeSchedulerConfiguration",
        "extenders":[extender]});
    let read = config::parse(&file.to_string()).unwrap_or_else(|problems| panic!("{problems}"));
    read.extenders[0].clone()
}

/// Three nodes, each with a pod of no priority that fills it, if `full`.
struct World {
    objects: Arc<Objects>,
    cache: Arc<Cache>,
}

impl World {
    fn new(full: bool) -> Self {
        let world = Self {
            objects: Arc::default(),
            cache: Cache::new(),
        };
        for i in 0..3 {
            let node = json!({"metadata":{"name":format!("n{i}")},
                "status":{"allocatable":{"cpu":"2","memory":"4Gi","pods":"9"}}});
            world.tell(ClusterEvent::Node(Arc::new(
                serde_json::from_value(node).unwrap(),
            )));
            if full {
                let node = format!("n{i}");
                world.pod(
                    &format!("old{i}"),
                    json!({"nodeName":node,"containers":[{"name":"c",
                    "resources":{"requests":{"cpu":"2"}}}]}),
                );
            }
        }
        world
    }

    fn tell(&self, event: ClusterEvent) {
        self.objects.apply(&event);
        self.cache.apply(event);
    }

    fn pod(&self, name: &str, spec: Value) -> Arc<PodInfo> {
        let pod = json!({"metadata":{"namespace":"d","name":name,"uid":name},"spec":spec});
        self.tell(ClusterEvent::Pod(Arc::new(
            serde_json::from_value(pod).unwrap(),
        )));
        self.cache.pod_info(name).unwrap().0
    }

    fn waiting(&self) -> Arc<PodInfo> {
        self.pod(
            "p",
            json!({"priority":5,"containers":[{"name":"c",
            "resources":{"requests":{"cpu":"1"}}}]}),
        )
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.cache.snapshot()
    }

    async fn schedule(&self, configs: &[ExtenderConfig], pod: &PodInfo) -> Result<Choice, Failure> {
        let extenders = in_order(&extenders(configs, &self.objects).unwrap());
        let built = registry(Arc::new(IntentBook::default()));
        let framework = Framework::new(&Profile::new("s"), &built).unwrap();
        let mut search = Search {
            next_start: 0,
            rng: StdRng::seed_from_u64(1),
        };
        let snapshot = self.snapshot();
        let mut state = CycleState::default();
        extender::schedule(
            &extenders,
            &framework,
            &mut search,
            &mut state,
            pod,
            &snapshot,
        )
        .await
    }
}

fn provider() {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn refused(decided: Result<Choice, Failure>) -> String {
    match decided {
        Err(Failure::Fit(error)) => error.message(),
        Err(Failure::Error(status)) => status.message(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn filters_with_names_or_whole_nodes_and_scores() {
    provider();
    for capable in [true, false] {
        let passed = if capable {
            json!({"NodeNames":["n1","n2"],"FailedNodes":{"n0":"not n0"}})
        } else {
            json!({"nodes":{"items":[{"metadata":{"name":"n1"}},{"metadata":{"name":"n2"}}]},
                "failedNodes":{"n0":"not n0"}})
        };
        let scores = json!([{"Host":"n1","Score":1},{"Host":"n2","Score":9}]);
        let (server, url) = Server::start(&[("f", passed), ("p", scores)]).await;
        let world = World::new(false);
        let config = config(
            &url,
            json!({"filterVerb":"f","prioritizeVerb":"p","weight":2,
            "nodeCacheCapable":capable}),
        );
        let choice = world.schedule(&[config], &world.waiting()).await.unwrap();
        assert_eq!((&**choice.node.name(), choice.feasible), ("n2", 2));
        let asked = server.asked();
        let verbs: Vec<_> = asked.iter().map(|(verb, _)| verb.as_str()).collect();
        assert_eq!(verbs, ["f", "p"]);
        let body = &asked[0].1;
        assert_eq!(body["Pod"]["metadata"]["name"], "p");
        if capable {
            assert_eq!(
                (&body["NodeNames"], &body["Nodes"]),
                (&json!(["n0", "n1", "n2"]), &Value::Null)
            );
        } else {
            assert_eq!(
                body["Nodes"]["items"][0]["status"]["allocatable"]["cpu"],
                "2"
            );
            assert_eq!(body["NodeNames"], Value::Null);
        }
    }
}

#[tokio::test]
async fn says_why_it_lets_no_node_pass() {
    provider();
    let nobody = json!({"NodeNames":[],"FailedNodes":{"n0":"too slow","n1":"too slow"},
        "FailedAndUnresolvableNodes":{"n2":"never"}});
    let (_server, url) = Server::start(&[("f", nobody)]).await;
    let world = World::new(false);
    let config = config(&url, json!({"filterVerb":"f","nodeCacheCapable":true}));
    let Err(Failure::Fit(error)) = world.schedule(&[config], &world.waiting()).await else {
        panic!("it fits nowhere");
    };
    let message = error.message();
    assert!(
        message.starts_with("0/3 nodes are available: 1 never, 2 too slow."),
        "{message}"
    );
    assert!(error.rejectors.contains("Extender"));
}

#[tokio::test]
async fn who_does_not_answer_is_an_error_unless_it_can_be_ignored() {
    provider();
    let (_server, url) = Server::start(&[
        ("e", json!({"Error":"out of luck"})),
        ("h", json!("hang")),
        ("x", json!({"NodeNames":["elsewhere"]})),
    ])
    .await;
    let world = World::new(false);
    let pod = world.waiting();
    for (verb, told) in [
        ("e", "out of luck"),
        ("absent", "code 500"),
        ("h", "failed h with extender at URL"),
        ("x", "claims a filtered node \"elsewhere\""),
    ] {
        let with = |ignorable: bool| {
            config(
                &url,
                json!({"filterVerb":verb,"nodeCacheCapable":true,"httpTimeout":"300ms",
                "ignorable":ignorable}),
            )
        };
        let message = refused(world.schedule(&[with(false)], &pod).await);
        assert!(message.contains(told), "{verb}: {message}");
        assert!(world.schedule(&[with(true)], &pod).await.is_ok(), "{verb}");
    }
    // Scores are never worth an error.
    let scoring = config(&url, json!({"prioritizeVerb":"absent","weight":1}));
    assert!(world.schedule(&[scoring], &pod).await.is_ok());
}

#[tokio::test]
async fn is_asked_only_about_what_it_manages() {
    provider();
    let (server, url) = Server::start(&[("f", json!({"NodeNames":[]}))]).await;
    let world = World::new(false);
    let config = config(
        &url,
        json!({"filterVerb":"f","nodeCacheCapable":true,
        "managedResources":[{"name":"x.io/foo","ignoredByScheduler":true}]}),
    );
    assert!(
        world
            .schedule(std::slice::from_ref(&config), &world.waiting())
            .await
            .is_ok()
    );
    assert!(server.asked().is_empty());
    let foo = world.pod(
        "q",
        json!({"containers":[{"name":"c",
        "resources":{"requests":{"x.io/foo":"1"},"limits":{"x.io/foo":"1"}}}]}),
    );
    assert!(is_interested(&config, &foo));
}

#[tokio::test]
async fn has_a_say_in_who_is_preempted() {
    provider();
    let only = |node: &str, uid: &str| json!({"NodeNameToMetaVictims":{node:{"Pods":[{"UID":uid}],"NumPDBViolations":0}}});
    for capable in [true, false] {
        let (server, url) = Server::start(&[
            ("good", only("n2", "old2")),
            ("none", json!({})),
            ("wrong", only("n2", "stranger")),
        ])
        .await;
        let world = World::new(true);
        let pod = world.waiting();
        let run = async |verb: &str| {
            let config = config(&url, json!({"preemptVerb":verb,"nodeCacheCapable":capable}));
            world.schedule(&[config], &pod).await
        };
        let Err(Failure::Fit(error)) = run("good").await else {
            panic!("it is full");
        };
        let Nominate::Node(nomination) = &error.nomination else {
            panic!("{:?}", error.nomination);
        };
        assert_eq!(
            (&*nomination.node, nomination.victims[0].uid()),
            ("n2", "old2")
        );
        let (_, body) = &server.asked()[0];
        let (given, other) = if capable {
            (
                &body["NodeNameToMetaVictims"]["n0"]["Pods"][0]["UID"],
                &body["NodeNameToVictims"],
            )
        } else {
            (
                &body["NodeNameToVictims"]["n0"]["Pods"][0]["metadata"]["uid"],
                &body["NodeNameToMetaVictims"],
            )
        };
        assert_eq!((given, other), (&json!("old0"), &Value::Null));
        let message = refused(run("none").await);
        assert!(
            message.ends_with("preemption: no candidate node for preemption"),
            "{message}"
        );
        let message = refused(run("wrong").await);
        assert!(
            message.contains("claims to preempt pod (UID: stranger)"),
            "{message}"
        );
    }
}

struct Inner(Mutex<Vec<String>>);

#[async_trait]
impl Binder for Inner {
    async fn bind(&self, binding: &Binding) -> Result<(), CallError> {
        self.0.lock().unwrap().push(binding.uid.clone());
        Ok(())
    }
}

#[tokio::test]
async fn binds_but_not_what_an_action_has_placed() {
    provider();
    let (server, url) = Server::start(&[("b", json!({})), ("no", json!({"Error":"full"}))]).await;
    let world = World::new(false);
    let pod = world.waiting();
    let inner = Arc::new(Inner(Mutex::default()));
    let binder = |verb: &str| ExtendedBinder {
        inner: inner.clone(),
        extenders: extenders(&[config(&url, json!({"bindVerb":verb}))], &world.objects).unwrap(),
        cache: Arc::clone(&world.cache),
    };
    let mut binding = Binding {
        pod: NamespacedName {
            namespace: "d".to_owned(),
            name: "p".to_owned(),
        },
        uid: pod.uid().to_owned(),
        node: "n1".to_owned(),
        annotations: BTreeMap::new(),
    };
    binder("b").bind(&binding).await.unwrap();
    let (_, body) = &server.asked()[0];
    assert_eq!(
        *body,
        json!({"PodName":"p","PodNamespace":"d","PodUID":"p","Node":"n1"})
    );
    let refused = binder("no").bind(&binding).await;
    assert_eq!(refused, Err(CallError::Refused("full".to_owned())));
    binding.annotations.insert("a".to_owned(), "b".to_owned());
    binder("b").bind(&binding).await.unwrap();
    assert_eq!(*inner.0.lock().unwrap(), ["p"]);
    assert_eq!(server.asked().len(), 2);
}

/// Answers every request with the same body, over TLS, until nobody connects any more.
fn tls_server(body: &'static str) -> SocketAddr {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    provider();
    let certificate = CertificateDer::from_pem_slice(include_bytes!("testdata/cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/key.pem")).unwrap();
    let tls = rustls::ServerConfig::builder().with_no_client_auth();
    let tls = Arc::new(tls.with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut read = Vec::new();
            let mut buffer = [0; 4096];
            // A JSON body ends with the brace that closes it.
            while !read.ends_with(b"}") {
                match stream.read(&mut buffer) {
                    Ok(count) if count > 0 => read.extend_from_slice(&buffer[..count]),
                    _ => break,
                }
            }
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    address
}

#[tokio::test]
async fn speaks_tls_and_checks_whom_it_speaks_to() {
    let address = tls_server("{\"NodeNames\":[\"n1\"]}");
    let url = format!("https://{address}");
    let authority = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(include_bytes!("testdata/cert.pem"))
    };
    let world = World::new(false);
    let pod = world.waiting();
    let run = async |https: bool, tls: Value| {
        let config = config(
            &url,
            json!({"filterVerb":"f","nodeCacheCapable":true,"enableHTTPS":https,
            "tlsConfig":tls}),
        );
        world.schedule(&[config], &pod).await
    };
    let named = json!({"caData":authority,"serverName":"extender.test"});
    assert_eq!(&**run(true, named).await.unwrap().node.name(), "n1");
    assert!(
        run(true, json!({})).await.is_ok(),
        "nobody to ask: as upstream"
    );
    assert!(run(false, json!({"insecure":true})).await.is_ok());
    let message = refused(run(true, json!({"caData":authority})).await);
    assert!(message.contains("certificate"), "another name: {message}");
    let message = refused(run(false, json!({})).await);
    assert!(message.contains("certificate"), "not trusted: {message}");
    let both = config(
        &url,
        json!({"filterVerb":"f","tlsConfig":{"caData":authority,"insecure":true}}),
    );
    assert!(extenders(&[both], &world.objects).is_err());
}
