//! What one decision costs: a scheduling cycle over many nodes, the snapshot after one change, and the store's
//! part of a submission. Ratios between the rows of one run are what counts: `cargo bench`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use wam::cluster::{Cache, ClusterEvent, PodInfo};
use wam::scheduler::cycle::{Search, schedule};
use wam::scheduler::framework::{CycleState, Framework, Profile};
use wam::scheduler::intents::IntentBook;
use wam::scheduler::plugins::registry;
use wam::store::contract::fixtures::{event, record};
use wam::store::{MemoryStore, Store};

fn cluster(nodes: usize) -> Arc<Cache> {
    let cache = Cache::new();
    for number in 0..nodes {
        let node = json!({
            "metadata": {
                "name": format!("node-{number}"),
                "labels": {"topology.kubernetes.io/zone": format!("zone-{}", number % 3)},
            },
            "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}},
        });
        cache.apply(ClusterEvent::Node(Arc::new(
            serde_json::from_value(node).unwrap(),
        )));
    }
    cache
}

fn pod(number: usize, node: Option<usize>) -> k8s_openapi::api::core::v1::Pod {
    serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": format!("pod-{number}"), "uid": format!("uid-{number}")},
        "spec": {
            "schedulerName": "wam-scheduler",
            "nodeName": node.map(|node| format!("node-{node}")),
            "containers": [{
                "name": "c",
                "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}},
            }],
        },
    }))
    .unwrap()
}

fn cycles(criterion: &mut Criterion) {
    let profile = Profile::new("wam-scheduler");
    let framework = Framework::new(&profile, &registry(Arc::new(IntentBook::default()))).unwrap();
    let waiting = PodInfo::from_api(&pod(0, None)).unwrap();
    let mut group = criterion.benchmark_group("cycle");
    for nodes in [500, 5000] {
        let snapshot = cluster(nodes).snapshot();
        group.bench_function(format!("{nodes} nodes"), |bencher| {
            let rng = StdRng::seed_from_u64(1);
            let mut search = Search { next_start: 0, rng };
            bencher.iter(|| {
                let mut state = CycleState::default();
                black_box(
                    schedule(&framework, &mut search, &mut state, &waiting, &snapshot).unwrap(),
                )
            });
        });
    }
    group.finish();
}

fn snapshots(criterion: &mut Criterion) {
    let cache = cluster(5000);
    let mut number = 0;
    criterion.bench_function("snapshot of 5000 nodes after one bind", |bencher| {
        bencher.iter(|| {
            number += 1;
            cache.apply(ClusterEvent::Pod(Arc::new(pod(
                number,
                Some(number % 5000),
            ))));
            black_box(cache.snapshot())
        });
    });
}

fn submissions(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let store = MemoryStore::new();
    criterion.bench_function("submit to the memory store", |bencher| {
        bencher.iter_batched(
            record,
            |record| {
                let accepted = event(&format!("{}.accepted", record.id));
                runtime
                    .block_on(store.submit(&record, None, &[accepted]))
                    .unwrap()
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, cycles, snapshots, submissions);
criterion_main!(benches);
