use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cluster::rows::NodeInfo;

fn node(name: &str, zone: &str) -> ClusterEvent {
    let node: core::Node = serde_json::from_value(json!({
        "metadata":{"name":name,"uid":name,"labels":{"topology.kubernetes.io/zone":zone}},
        "status":{"allocatable":{"cpu":"4","memory":"8Gi","pods":"110"},
            "images":[{"names":[format!("only-{zone}:1")],"sizeBytes":5}]}}))
    .unwrap();
    ClusterEvent::Node(Arc::new(node))
}

fn pod(name: &str, uid: &str, on: Option<&str>, phase: &str) -> ClusterEvent {
    let pod: core::Pod = serde_json::from_value(json!({
        "metadata":{"namespace":"d","name":name,"uid":uid},
        "spec":{"nodeName":on,"containers":[{"name":"c","resources":{"requests":{"cpu":"100m"}}}],
            "affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
                {"topologyKey":"kubernetes.io/hostname","labelSelector":{}}]}}},
        "status":{"phase":phase}}))
    .unwrap();
    ClusterEvent::Pod(Arc::new(pod))
}

fn key(name: &str) -> NamespacedName {
    NamespacedName::new("d", name)
}

fn cpu(cache: &Cache, node: &str) -> i64 {
    cache.snapshot().node(node).unwrap().requested.milli_cpu
}

#[test]
fn an_assumed_pod_counts_once_before_and_after_its_confirmation() {
    let cache = Cache::new();
    cache.apply(node("n1", "a"));
    cache.apply(node("n2", "a"));
    cache.apply(pod("p", "u", None, "Pending"));
    assert!(cache.assume("u", "n1"));
    assert!(!cache.assume("u", "n2"), "it is on a node already");
    assert_eq!((cpu(&cache, "n1"), cpu(&cache, "n2")), (100, 0));
    cache.apply(pod("p", "u", None, "Pending"));
    assert_eq!(
        cpu(&cache, "n1"),
        100,
        "an update from before the binding changes nothing"
    );
    cache.apply(pod("p", "u", Some("n2"), "Pending"));
    assert_eq!(
        (cpu(&cache, "n1"), cpu(&cache, "n2")),
        (0, 100),
        "the watch knows better"
    );
    cache.forget("u");
    assert_eq!(cpu(&cache, "n2"), 100, "what is confirmed is not forgotten");
}

#[test]
fn forgetting_frees_and_tells() {
    let cache = Cache::new();
    cache.apply(node("n1", "a"));
    cache.apply(pod("p", "u", None, "Pending"));
    let mut heard = cache.subscribe();
    assert!(matches!(
        heard.try_recv(),
        Ok(Change::Pending { old: None, .. })
    ));
    assert!(cache.assume("u", "n1"));
    cache.forget("u");
    assert_eq!(cpu(&cache, "n1"), 0);
    assert!(matches!(heard.try_recv(), Ok(Change::AssignedGone(_))));
}

#[test]
fn terminating_pods_count_until_gone_and_finished_ones_do_not() {
    let cache = Cache::new();
    cache.apply(node("n1", "a"));
    cache.apply(pod("p", "u", Some("n1"), "Running"));
    assert_eq!(cpu(&cache, "n1"), 100);
    cache.apply(pod("p", "u", Some("n1"), "Succeeded"));
    assert_eq!(cpu(&cache, "n1"), 0);
    assert!(cache.pod_by_uid("u").is_some());
    cache.apply(ClusterEvent::PodGone(key("p"), "u".into()));
    assert!(cache.pod(&key("p")).is_none());
}

#[test]
fn a_malformed_node_is_left_out_and_the_rest_goes_on() {
    let cache = Cache::new();
    cache.apply(node("n1", "a"));
    let bad: core::Node = serde_json::from_value(
        json!({"metadata":{"name":"n1"},"status":{"allocatable":{"cpu":"four"}}}),
    )
    .unwrap();
    cache.apply(ClusterEvent::Node(Arc::new(bad)));
    cache.apply(node("n2", "a"));
    assert_eq!(cache.snapshot().nodes.len(), 1);
    assert_eq!(cache.malformed(), 1);
    assert!(cache.node_exists("n1"));
    cache.apply(node("n1", "a"));
    assert_eq!(cache.snapshot().nodes.len(), 2);
}

#[test]
fn resolves_the_controlling_workload() {
    let cache = Cache::new();
    let owned = |kind: &str, uid: &str| -> Pod {
        let pod: core::Pod = serde_json::from_value(json!({"metadata":{"namespace":"d","name":"p","uid":"u",
            "ownerReferences":[{"apiVersion":"apps/v1","kind":kind,"name":"o","uid":uid,"controller":true}]}}))
        .unwrap();
        Pod::from_api(&pod).unwrap()
    };
    let set = |uid: &str, owner: Option<&str>| {
        let owners = owner.map(|o| {
            json!([{"apiVersion":"apps/v1","kind":"Deployment","name":"web","uid":o,"controller":true}])
        });
        let set = serde_json::from_value(json!({"metadata":{"namespace":"d","name":"o","uid":uid,
            "ownerReferences":owners},"spec":{"selector":{}},"status":{"replicas":0}}))
        .unwrap();
        ClusterEvent::ReplicaSet(Arc::new(ReplicaSet::from_api(&set).unwrap()))
    };
    let pod = owned("ReplicaSet", "rs1");
    assert!(matches!(cache.workload_of(&pod), Workload::Unknown(o) if o.uid == "rs1"));
    cache.apply(set("rs1", Some("d1")));
    assert!(
        matches!(cache.workload_of(&pod), Workload::Known(w) if w.kind == "Deployment" && w.uid == "d1")
    );
    assert_eq!(cache.replica_sets_of("d1").len(), 1);
    cache.apply(set("rs1", None));
    assert!(
        matches!(cache.workload_of(&pod), Workload::Known(w) if w.kind == "ReplicaSet" && w.uid == "rs1")
    );
    assert!(cache.replica_sets_of("d1").is_empty());
    let pod = owned("StatefulSet", "ss");
    assert!(matches!(cache.workload_of(&pod), Workload::Known(w) if w.kind == "StatefulSet"));
}

#[test]
fn an_unchanged_node_is_shared_between_snapshots() {
    let cache = Cache::new();
    cache.apply(node("n1", "a"));
    cache.apply(node("n2", "b"));
    let before = cache.snapshot();
    cache.apply(pod("p", "u", Some("n1"), "Running"));
    let after = cache.snapshot();
    assert!(Arc::ptr_eq(
        before.node("n2").unwrap(),
        after.node("n2").unwrap()
    ));
    assert_eq!(
        before.node("n1").unwrap().pods.len(),
        0,
        "a snapshot never changes"
    );
    assert_eq!(after.node("n1").unwrap().pods.len(), 1);
}

#[derive(Debug, Clone)]
enum Op {
    Node(u8, u8),
    NodeGone(u8),
    Pod(u8, u8, Option<u8>, u8),
    PodGone(u8, u8),
    Assume(u8, u8, u8),
    Forget(u8, u8),
    Snapshot,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..5_u8, 0..3_u8).prop_map(|(n, z)| Op::Node(n, z)),
        (0..5_u8).prop_map(Op::NodeGone),
        (0..6_u8, 0..2_u8, proptest::option::of(0..5_u8), 0..3_u8)
            .prop_map(|(p, u, n, f)| Op::Pod(p, u, n, f)),
        (0..6_u8, 0..2_u8).prop_map(|(p, u)| Op::PodGone(p, u)),
        (0..6_u8, 0..2_u8, 0..5_u8).prop_map(|(p, u, n)| Op::Assume(p, u, n)),
        (0..6_u8, 0..2_u8).prop_map(|(p, u)| Op::Forget(p, u)),
        Just(Op::Snapshot),
    ]
}

/// What the snapshot must hold: a model without increments.
#[derive(Default)]
struct Model {
    nodes: BTreeMap<String, u8>,
    /// uid -> (name, assigned, finished, assumed on)
    pods: BTreeMap<String, (u8, Option<String>, bool, Option<String>)>,
}

proptest! {
    #[test]
    fn incremental_snapshots_equal_those_made_from_scratch(ops in proptest::collection::vec(op(), 1..80)) {
        let cache = Cache::new();
        let mut model = Model::default();
        let mut kept = Vec::new();
        let name = |n: u8| format!("n{n}");
        let uid = |p: u8, u: u8| format!("u{p}-{u}");
        for op in ops {
            match op {
                Op::Node(n, z) => {
                    cache.apply(node(&name(n), &format!("z{z}")));
                    model.nodes.insert(name(n), z);
                }
                Op::NodeGone(n) => {
                    cache.apply(ClusterEvent::NodeGone(name(n)));
                    model.nodes.remove(&name(n));
                }
                Op::Pod(p, u, on, phase) => {
                    let finished = phase == 2;
                    let phase = ["Pending", "Running", "Failed"][usize::from(phase)];
                    cache.apply(pod(&format!("p{p}"), &uid(p, u), on.map(name).as_deref(), phase));
                    model.pods.retain(|id, (q, ..)| *q != p || *id == uid(p, u));
                    let assumed = model.pods.get(&uid(p, u)).and_then(|p| p.3.clone());
                    let assumed = assumed.filter(|_| on.is_none() && !finished);
                    model.pods.insert(uid(p, u), (p, on.map(name), finished, assumed));
                }
                Op::PodGone(p, u) => {
                    cache.apply(ClusterEvent::PodGone(key(&format!("p{p}")), uid(p, u)));
                    model.pods.remove(&uid(p, u));
                }
                Op::Assume(p, u, n) => {
                    let free = model.pods.get_mut(&uid(p, u))
                        .filter(|(_, on, finished, assumed)| on.is_none() && !finished && assumed.is_none());
                    prop_assert_eq!(cache.assume(&uid(p, u), &name(n)), free.is_some());
                    if let Some(pod) = free {
                        pod.3 = Some(name(n));
                    }
                }
                Op::Forget(p, u) => {
                    cache.forget(&uid(p, u));
                    if let Some(pod) = model.pods.get_mut(&uid(p, u)) {
                        pod.3 = None;
                    }
                }
                Op::Snapshot => kept.push(cache.snapshot()),
            }
        }
        let snapshot = cache.snapshot();
        prop_assert_eq!(snapshot.nodes.len(), model.nodes.len());
        prop_assert_eq!(snapshot.index.len(), model.nodes.len());
        for (name, zone) in &model.nodes {
            let row = snapshot.node(name).expect("the node is in the snapshot");
            let mut got: Vec<String> = row.pods.iter().map(|p| p.uid().to_owned()).collect();
            got.sort();
            let on = |pod: &(u8, Option<String>, bool, Option<String>)| {
                !pod.2 && (pod.1.as_ref() == Some(name) || (pod.1.is_none() && pod.3.as_ref() == Some(name)))
            };
            let expected: Vec<String> =
                model.pods.iter().filter(|(_, p)| on(p)).map(|(u, _)| u.clone()).collect();
            prop_assert_eq!(&got, &expected);
            let scratch = NodeInfo::new(row.node.clone(), row.pods.iter().cloned());
            prop_assert_eq!(&row.requested, &scratch.requested);
            prop_assert_eq!(&row.non_zero, &scratch.non_zero);
            let same_zone = model.nodes.values().filter(|z| *z == zone).count();
            let image = format!("only-z{zone}:1");
            prop_assert_eq!(snapshot.image_nodes.get(image.as_str()).map(|i| i.nodes), u32::try_from(same_zone).ok());
        }
    }
}
