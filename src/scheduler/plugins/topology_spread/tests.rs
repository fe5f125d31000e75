use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cluster::{Cache, NodeInfo, PodInfo, Snapshot, read};
use crate::scheduler::framework::CycleState;
use crate::scheduler::plugins::random::{KEYS, Plain, cluster, ops};

const NAME: &str = "incoming";

/// A pod of app 0 in ns0 with (key, maxSkew, app) constraints.
fn pod(constraints: &[(u8, i64, u8)], action: &str) -> PodInfo {
    let constraint = |(key, skew, app): &(u8, i64, u8)| {
        json!({"topologyKey":KEYS[usize::from(*key)],"maxSkew":skew,"whenUnsatisfiable":action,
            "labelSelector":{"matchLabels":{"app":format!("a{app}")}}})
    };
    let constraints: Vec<_> = constraints.iter().map(constraint).collect();
    let pod = json!({"metadata":{"namespace":"ns0","name":NAME,"uid":NAME,"labels":{"app":"a0"}},
        "spec":{"containers":[],"topologySpreadConstraints":constraints}});
    PodInfo::from_api(&serde_json::from_value(pod).unwrap()).unwrap()
}

fn plugin() -> PodTopologySpread {
    PodTopologySpread::new(&PodTopologySpreadArgs::default())
}

fn verdicts(pod: &PodInfo, snapshot: &Snapshot) -> Vec<bool> {
    let mut state = CycleState::default();
    plugin().pre_filter(&mut state, pod, snapshot).unwrap();
    let fits = |node: &Arc<NodeInfo>| plugin().filter(&state, pod, node).is_ok();
    snapshot.nodes.iter().map(fits).collect()
}

fn number(node: &NodeInfo) -> u8 {
    node.name()[1..].parse().unwrap()
}

/// How many pods of the app in ns0 each domain of nodes with all the keys holds.
fn counts(plain: &Plain, keys: &BTreeSet<u8>, key: u8, app: u8) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for node in plain.nodes.keys() {
        let has = |k: &u8| plain.label(*node, KEYS[usize::from(*k)]).is_some();
        if keys.iter().all(has) {
            let pods = plain.on(*node);
            let pods = pods.filter(|p| p.namespace == 0 && p.app == app && !p.terminating);
            let value = plain.label(*node, KEYS[usize::from(key)]).unwrap();
            *counts.entry(value.clone()).or_default() += i64::try_from(pods.count()).unwrap();
        }
    }
    counts
}

proptest! {
    #[test]
    fn hard_constraints_agree_with_counting_pod_by_pod(
        ops in ops(),
        constraints in proptest::collection::vec((0_u8..3, 1_i64..3, 0_u8..3), 1..3),
    ) {
        let (snapshot, plain) = cluster(&ops);
        let got = verdicts(&pod(&constraints, "DoNotSchedule"), &snapshot);
        let keys: BTreeSet<u8> = constraints.iter().map(|c| c.0).collect();
        for (node, got) in snapshot.nodes.iter().zip(got) {
            let fits = constraints.iter().all(|(key, skew, app)| {
                let counts = counts(&plain, &keys, *key, *app);
                let least = counts.values().min().copied().unwrap_or(0);
                let own = i64::from(*app == 0);
                plain.label(number(node), KEYS[usize::from(*key)]).is_some_and(|value| {
                    counts.get(value).copied().unwrap_or(0) + own - least <= *skew
                })
            });
            prop_assert_eq!(got, fits, "{}", node.name());
        }
    }

    #[test]
    fn soft_constraints_agree_with_counting_pod_by_pod(
        ops in ops(),
        constraints in proptest::collection::vec((0_u8..3, 1_i64..3, 0_u8..3), 1..3),
    ) {
        let (snapshot, plain) = cluster(&ops);
        let pod = pod(&constraints, "ScheduleAnyway");
        let mut state = CycleState::default();
        let plugin = plugin();
        plugin.pre_score(&mut state, &pod, &snapshot.nodes, &snapshot).unwrap();
        let keys: BTreeSet<u8> = constraints.iter().map(|c| c.0).collect();
        let hosts = plain.nodes.keys().filter(|node| {
            keys.iter().all(|k| plain.label(**node, KEYS[usize::from(*k)]).is_some())
        });
        let hosts = hosts.count();
        for node in &snapshot.nodes {
            let mut expected = 0.0;
            for (key, skew, app) in &constraints {
                let counts = counts(&plain, &keys, *key, *app);
                let all = keys.iter().all(|k| plain.label(number(node), KEYS[usize::from(*k)]).is_some());
                if !all {
                    expected = 0.0;
                    break;
                }
                let value = plain.label(number(node), KEYS[usize::from(*key)]).unwrap();
                let size = if *key == 2 { hosts } else { counts.len() };
                expected += counts[value] as f64 * ((size + 2) as f64).ln() + (skew - 1) as f64;
            }
            let got = plugin.score(&state, &pod, node, &snapshot);
            // A half may be rounded to the other side by another logarithm.
            prop_assert!((got as f64 - expected).abs() <= 0.5 + 1e-9, "{}: {got} {expected}", node.name());
        }
    }
}

fn of(objects: &[serde_json::Value]) -> Arc<Snapshot> {
    let cache = Cache::new();
    for object in objects {
        cache.apply(read::event_of(object.clone()).unwrap().unwrap());
    }
    cache.snapshot()
}

fn node(name: &str, zone: &str) -> serde_json::Value {
    json!({"kind":"Node","metadata":{"name":name,"labels":{"topology.kubernetes.io/zone":zone,
        "kubernetes.io/hostname":name}},"spec":{"taints":if zone == "c" {
            json!([{"key":"k","effect":"NoSchedule"}])} else {json!([])}}})
}

fn placed(name: &str, on: &str) -> serde_json::Value {
    json!({"kind":"Pod","metadata":{"namespace":"ns0","name":name,"uid":name,"labels":{"app":"a0"}},
        "spec":{"nodeName":on,"containers":[]}})
}

#[test]
fn too_few_domains_count_as_an_empty_one_and_tainted_nodes_may_be_left_out() {
    let objects = [
        node("n1", "a"),
        node("n2", "b"),
        node("n3", "c"),
        placed("p1", "n1"),
        placed("p2", "n2"),
    ];
    let snapshot = of(&objects);
    let ask = |extra: serde_json::Value| {
        let mut constraint = json!({"topologyKey":"topology.kubernetes.io/zone","maxSkew":1,
            "whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"a0"}}});
        constraint
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let pod = json!({"metadata":{"namespace":"ns0","name":NAME,"uid":NAME,"labels":{"app":"a0"}},
            "spec":{"containers":[],"topologySpreadConstraints":[constraint]}});
        verdicts(
            &PodInfo::from_api(&serde_json::from_value(pod).unwrap()).unwrap(),
            &snapshot,
        )
    };
    // zone c is empty: only there
    assert_eq!(ask(json!({})), [false, false, true]);
    // without the tainted zone both others are level
    assert_eq!(ask(json!({"nodeTaintsPolicy":"Honor"})), [true, true, true]);
    assert_eq!(
        ask(json!({"nodeTaintsPolicy":"Honor","minDomains":3})),
        [false, false, true]
    );
}

#[test]
fn a_service_makes_pods_spread_softly() {
    let service = json!({"kind":"Service","metadata":{"namespace":"ns0","name":"s"},
        "spec":{"selector":{"app":"a0"}}});
    let mut objects = vec![node("n1", "a"), node("n2", "b"), placed("p1", "n1")];
    let pod = pod(&[], "");
    let mut state = CycleState::default();
    let alone = of(&objects);
    let skipped = plugin().pre_score(&mut state, &pod, &alone.nodes, &alone);
    assert!(skipped.is_err(), "nothing selects it");
    objects.push(service);
    let snapshot = of(&objects);
    plugin()
        .pre_score(&mut state, &pod, &snapshot.nodes, &snapshot)
        .unwrap();
    let score = |n: &Arc<NodeInfo>| plugin().score(&state, &pod, n, &snapshot);
    let mut scores: Vec<i64> = snapshot.nodes.iter().map(score).collect();
    plugin().normalize(&state, &pod, &mut scores);
    assert!(scores[0] < scores[1] && scores[1] == 100, "{scores:?}");
}

#[test]
fn what_ifs_keep_the_counts_true() {
    let snapshot = of(&[node("n1", "a"), node("n2", "b"), placed("p1", "n1")]);
    let zone = json!({"topologyKey":"topology.kubernetes.io/zone","maxSkew":1,
        "whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"a0"}}});
    let pod = json!({"metadata":{"namespace":"ns0","name":NAME,"uid":NAME,"labels":{"app":"a0"}},
        "spec":{"containers":[],"topologySpreadConstraints":[zone]}});
    let pod = PodInfo::from_api(&serde_json::from_value(pod).unwrap()).unwrap();
    let mut state = CycleState::default();
    plugin().pre_filter(&mut state, &pod, &snapshot).unwrap();
    let n1 = snapshot.node("n1").unwrap();
    assert!(plugin().filter(&state, &pod, n1).is_err());
    let before = state.clone();
    plugin().remove_pod(&mut state, &pod, &n1.pods[0], n1);
    assert!(plugin().filter(&state, &pod, n1).is_ok());
    assert!(
        plugin().filter(&before, &pod, n1).is_err(),
        "the other what-if is another"
    );
    plugin().add_pod(&mut state, &pod, &n1.pods[0], n1);
    assert!(plugin().filter(&state, &pod, n1).is_err());
}
