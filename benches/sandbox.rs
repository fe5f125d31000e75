//! The sandbox's API server with 5,000 nodes' worth of pods in it: 50,000 pods stored, 20 watchers. Requests are raw
//! and in the process, so what is measured is the server alone: `cargo bench --bench sandbox`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::StreamExt;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use wam::sandbox::apiserver::{ApiServer, Options};

const NODES: usize = 5_000;
const PODS: usize = 50_000;
/// Pods of one ReplicaSet.
const REPLICAS: usize = 10;
const WATCHERS: usize = 20;
const NAMESPACE: &str = "/api/v1/namespaces/default";
const JSON: &str = "application/json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// A server and a runtime to ask it on.
struct Rig {
    runtime: Runtime,
    server: ApiServer,
}

impl Rig {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let rig = Self {
            runtime,
            server: ApiServer::new(Options::default()),
        };
        let account = json!({"metadata": {"name": "default"}});
        rig.post("/serviceaccounts", &account.to_string());
        rig
    }

    /// With [`PODS`] pods on [`NODES`] nodes.
    fn full() -> Self {
        let rig = Self::new();
        for number in 0..PODS {
            rig.post("/pods", &pod(number));
            rig.bind(number);
        }
        rig
    }

    fn send(&self, method: Method, path: &str, kind: &str, accept: &str, body: String) -> Bytes {
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header("content-type", kind)
            .header("accept", accept)
            .body(Body::from(body))
            .unwrap();
        self.runtime.block_on(async {
            let response = self.server.service().oneshot(request).await.unwrap();
            let good = response.status().is_success();
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            assert!(good, "{}", String::from_utf8_lossy(&bytes));
            bytes
        })
    }

    fn post(&self, path: &str, body: &str) -> Bytes {
        let path = format!("{NAMESPACE}{path}");
        self.send(Method::POST, &path, JSON, JSON, body.to_owned())
    }

    fn get(&self, path: &str, accept: &str) -> Bytes {
        self.send(Method::GET, path, JSON, accept, String::new())
    }

    fn bind(&self, number: usize) {
        let name = name(number);
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node(number)}});
        self.post(&format!("/pods/{name}/binding"), &binding.to_string());
    }

    fn delete(&self, number: usize) {
        let path = format!("{NAMESPACE}/pods/{}", name(number));
        let options = json!({"gracePeriodSeconds": 0}).to_string();
        self.send(Method::DELETE, &path, JSON, JSON, options);
    }

    /// What a kubelet writes when a pod has become Ready.
    fn ready(&self, number: usize, salt: u64) {
        let path = format!("{NAMESPACE}/pods/{}/status", name(number));
        let time = format!(
            "2026-01-01T{:02}:{:02}:{:02}Z",
            salt / 3600 % 24,
            salt / 60 % 60,
            salt % 60
        );
        let condition = |kind: &str| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": time});
        let status = json!({"status": {
            "phase": "Running", "hostIP": "172.18.0.2", "podIP": "10.244.0.7",
            "podIPs": [{"ip": "10.244.0.7"}], "startTime": time,
            "conditions": [condition("Initialized"), condition("Ready"), condition("ContainersReady"),
                condition("PodScheduled")],
            "containerStatuses": [{"name": "web", "ready": true, "started": true, "restartCount": 0,
                "image": "registry.k8s.io/pause:3.10", "imageID": "sha256:1",
                "state": {"running": {"startedAt": time}}}],
        }});
        self.send(Method::PATCH, &path, STRATEGIC, JSON, status.to_string());
    }

    /// An open watch of everything from now on.
    fn watch(&self, selector: &str) -> BodyDataStream {
        let version = self.server.revision();
        let uri = format!("/api/v1/pods?watch=true&resourceVersion={version}{selector}");
        let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
        let response = self
            .runtime
            .block_on(self.server.service().oneshot(request));
        response.unwrap().into_body().into_data_stream()
    }
}

fn name(number: usize) -> String {
    format!("web-{}-{:05}", number / REPLICAS, number)
}

fn node(number: usize) -> String {
    format!("node-{}", number % NODES)
}

/// As a ReplicaSet's controller makes it.
fn pod(number: usize) -> String {
    let set = format!("web-{}", number / REPLICAS);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name(number),
            "labels": {"app": set, "pod-template-hash": "6d4b75cb6d"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set,
                "uid": format!("{:08x}-0000-4000-8000-000000000000", number / REPLICAS),
                "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {
            "schedulerName": "wam-scheduler",
            "containers": [{
                "name": "web", "image": "registry.k8s.io/pause:3.10",
                "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}},
            }],
        },
    })
    .to_string()
}

/// The mean of `work(n)`, without what `undo(n)` takes.
fn timed(times: u64, mut work: impl FnMut(usize), mut undo: impl FnMut(usize)) -> Duration {
    let mut sum = Duration::ZERO;
    for number in 0..times {
        let number = PODS + usize::try_from(number).unwrap();
        #[allow(clippy::disallowed_methods)] // The time of this machine is what is measured.
        let begun = Instant::now();
        work(number);
        sum += begun.elapsed();
        undo(number);
    }
    sum
}

fn writes(criterion: &mut Criterion) {
    let rig = Rig::full();
    let mut group = criterion.benchmark_group("50,000 pods");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(1));
    group.bench_function("create a pod", |bencher| {
        bencher.iter_custom(|times| {
            timed(
                times,
                |n| drop(rig.post("/pods", &pod(n))),
                |n| rig.delete(n),
            )
        });
    });
    group.bench_function("bind a pod", |bencher| {
        bencher.iter_custom(|times| {
            let mut sum = Duration::ZERO;
            for _ in 0..times {
                rig.post("/pods", &pod(PODS));
                sum += timed(1, |n| rig.bind(n), |n| rig.delete(n));
            }
            sum
        });
    });
    let mut salt = 0;
    group.bench_function("patch a pod's status", |bencher| {
        bencher.iter(|| {
            salt += 1;
            rig.ready(usize::try_from(salt).unwrap() % PODS, salt);
        });
    });
}

fn reads(criterion: &mut Criterion) {
    let rig = Rig::full();
    let mut group = criterion.benchmark_group("50,000 pods");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
    let path = format!("{NAMESPACE}/pods/{}", name(777));
    group.bench_function("get a pod", |bencher| bencher.iter(|| rig.get(&path, JSON)));
    for (name, path) in [
        (
            "list by spec.nodeName",
            "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-77",
        ),
        (
            "list by a label",
            "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb-77",
        ),
        ("list a page of 500", "/api/v1/pods?limit=500"),
        ("list all", "/api/v1/pods"),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| rig.get(path, JSON)));
    }
    group.bench_function("list all as a Table", |bencher| {
        bencher.iter(|| rig.get("/api/v1/pods", TABLE));
    });
}

fn fan_out(criterion: &mut Criterion) {
    let rig = Rig::full();
    let mut group = criterion.benchmark_group("50,000 pods");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(1));
    let mut salt = 0;
    let mut change = |rig: &Rig| {
        salt += 1;
        rig.ready(77, salt);
    };
    for (name, watchers, selector) in [
        ("change a pod, seen by 20 watchers of all", WATCHERS, ""),
        (
            "change a pod, seen by one of 20 watchers by spec.nodeName",
            WATCHERS,
            "node",
        ),
    ] {
        let mut streams: Vec<BodyDataStream> = (0..watchers)
            .map(|number| match selector {
                "" => rig.watch(""),
                _ => rig.watch(&format!(
                    "&fieldSelector=spec.nodeName%3Dnode-{}",
                    77 + number
                )),
            })
            .collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                change(&rig);
                rig.runtime.block_on(async {
                    let seen = if selector.is_empty() { watchers } else { 1 };
                    for stream in &mut streams[..seen] {
                        stream.next().await.unwrap().unwrap();
                    }
                    for stream in &mut streams[seen..] {
                        assert!(futures::poll!(stream.next()).is_pending());
                    }
                });
            });
        });
    }
}

criterion_group!(benches, writes, reads, fan_out);
criterion_main!(benches);
