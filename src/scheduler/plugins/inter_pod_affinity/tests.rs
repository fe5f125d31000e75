use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cluster::{NodeInfo, PodInfo, Snapshot};
use crate::scheduler::framework::CycleState;
use crate::scheduler::plugins::random::{
    KEYS, Plain, RandomPod, Term, affinity, cluster, ops, terms,
};

fn incoming(terms: &[Term]) -> PodInfo {
    let pod = json!({"metadata":{"namespace":"ns0","name":"incoming","uid":"incoming",
        "labels":{"app":"a0"}},"spec":{"containers":[],"affinity":affinity(terms)}});
    PodInfo::from_api(&serde_json::from_value(pod).unwrap()).unwrap()
}

fn number(node: &NodeInfo) -> u8 {
    node.name()[1..].parse().unwrap()
}

/// The values of a term's label at the nodes of the pods that are meant.
fn domains<'a>(
    plain: &'a Plain,
    key: u8,
    meant: &dyn Fn(&RandomPod) -> bool,
) -> BTreeMap<&'a String, i64> {
    let mut found = BTreeMap::new();
    for node in plain.nodes.keys() {
        if let Some(value) = plain.label(*node, KEYS[usize::from(key)]) {
            let pods = plain.on(*node).filter(|p| meant(p)).count();
            if pods > 0 {
                *found.entry(value).or_default() += i64::try_from(pods).unwrap();
            }
        }
    }
    found
}

fn expected_fit(plain: &Plain, own: &[Term], node: u8) -> bool {
    let at = |key: u8| plain.label(node, KEYS[usize::from(key)]);
    let required = |anti: bool| {
        own.iter()
            .filter(move |t| t.weight.is_none() && t.anti == anti)
    };
    let all = |p: &RandomPod| required(false).all(|t| t.means(0, p.namespace, p.app));
    let anywhere = required(false).any(|t| !domains(plain, t.key, &all).is_empty());
    let itself = required(false).all(|t| t.means(0, 0, 0));
    let affinity = required(false).all(|t| at(t.key).is_some())
        && (required(false).all(|t| domains(plain, t.key, &all).contains_key(at(t.key).unwrap()))
            || (!anywhere && itself));
    let anti = required(true).all(|t| {
        let unwanted = domains(plain, t.key, &|p| t.means(0, p.namespace, p.app));
        at(t.key).is_none_or(|value| !unwanted.contains_key(value))
    });
    let welcome = plain
        .pods
        .values()
        .filter(|p| plain.nodes.contains_key(&p.node))
        .all(|p| {
            let repelling = p.terms.iter().filter(|t| t.weight.is_none() && t.anti);
            repelling.filter(|t| t.means(p.namespace, 0, 0)).all(|t| {
                let key = KEYS[usize::from(t.key)];
                plain
                    .label(p.node, key)
                    .is_none_or(|value| at(t.key) != Some(value))
            })
        });
    affinity && anti && welcome
}

fn expected_score(plain: &Plain, own: &[Term], node: u8) -> i64 {
    let mut score = 0;
    let beside = |p: &RandomPod, t: &Term| {
        let key = KEYS[usize::from(t.key)];
        let value = plain.label(p.node, key);
        value.is_some() && value == plain.label(node, key)
    };
    for pod in plain
        .pods
        .values()
        .filter(|p| plain.nodes.contains_key(&p.node))
    {
        for t in own
            .iter()
            .filter(|t| beside(pod, t) && t.means(0, pod.namespace, pod.app))
        {
            let sign = if t.anti { -1 } else { 1 };
            score += sign * i64::from(t.weight.unwrap_or(0));
        }
        for t in pod
            .terms
            .iter()
            .filter(|t| beside(pod, t) && t.means(pod.namespace, 0, 0))
        {
            score += match (t.weight, t.anti) {
                (None, true) => 0,
                (None, false) => 1,
                (Some(weight), anti) => i64::from(weight) * if anti { -1 } else { 1 },
            };
        }
    }
    score
}

proptest! {
    #[test]
    fn required_terms_agree_with_asking_pod_by_pod(ops in ops(), own in terms()) {
        let (snapshot, plain) = cluster(&ops);
        let pod = incoming(&own);
        let plugin = InterPodAffinity::default();
        let mut state = CycleState::default();
        let skipped = plugin.pre_filter(&mut state, &pod, &snapshot).is_err();
        for node in &snapshot.nodes {
            let fits = skipped || plugin.filter(&state, &pod, node).is_ok();
            prop_assert_eq!(fits, expected_fit(&plain, &own, number(node)), "{}", node.name());
        }
    }

    #[test]
    fn preferred_terms_agree_with_asking_pod_by_pod(ops in ops(), own in terms()) {
        let (snapshot, plain) = cluster(&ops);
        let pod = incoming(&own);
        let plugin = InterPodAffinity::new(&InterPodAffinityArgs::default());
        let mut state = CycleState::default();
        let skipped = plugin.pre_score(&mut state, &pod, &snapshot.nodes, &snapshot).is_err();
        for node in &snapshot.nodes {
            let score = if skipped { 0 } else { plugin.score(&state, &pod, node, &snapshot) };
            prop_assert_eq!(score, expected_score(&plain, &own, number(node)), "{}", node.name());
        }
    }

    #[test]
    fn taking_a_pod_away_and_putting_it_back_changes_nothing(ops in ops(), own in terms()) {
        let (snapshot, _) = cluster(&ops);
        let pod = incoming(&own);
        let plugin = InterPodAffinity::default();
        let mut state = CycleState::default();
        if plugin.pre_filter(&mut state, &pod, &snapshot).is_err() {
            return Ok(());
        }
        let verdicts = |state: &CycleState| -> Vec<bool> {
            let fits = |n: &Arc<NodeInfo>| plugin.filter(state, &pod, n).is_ok();
            snapshot.nodes.iter().map(fits).collect()
        };
        let before = verdicts(&state);
        for node in &snapshot.nodes {
            for other in &node.pods {
                plugin.remove_pod(&mut state, &pod, other, node);
            }
            for other in &node.pods {
                plugin.add_pod(&mut state, &pod, other, node);
            }
        }
        prop_assert_eq!(verdicts(&state), before);
    }
}

#[test]
fn scores_span_the_whole_range() {
    let plugin = InterPodAffinity::default();
    let pod = incoming(&[]);
    let normalized = |mut scores: Vec<i64>| {
        plugin.normalize(&CycleState::default(), &pod, &mut scores);
        scores
    };
    assert_eq!(normalized(vec![-40, -40, 0, -80]), [50, 50, 100, 0]);
    assert_eq!(normalized(vec![7, 7]), [0, 0]);
}

#[test]
fn ten_thousand_terms_are_read_and_answered() {
    let term = |i: u16| Term {
        anti: true,
        weight: None,
        app: 1,
        key: u8::try_from(i % 3).unwrap(),
        namespaces: 0,
    };
    let pod = incoming(&(0..10_000).map(term).collect::<Vec<_>>());
    assert_eq!(pod.class.affinity.anti_required.len(), 10_000);
    let mut state = CycleState::default();
    let plugin = InterPodAffinity::default();
    plugin
        .pre_filter(&mut state, &pod, &Snapshot::default())
        .unwrap();
}
