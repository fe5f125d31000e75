//! Random clusters, reached by random events, for tests that hold what is counted per class and domain
//! against counting pod by pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cluster::{Cache, ClusterEvent, Snapshot, read};
use crate::model::NamespacedName;

const NODES: u8 = 6;
const PODS: u8 = 12;

/// A change of the cluster.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// A node with its zone (0: no label) and rack (0: no label).
    Node(u8, u8, u8),
    NodeGone(u8),
    Pod(RandomPod),
    PodGone(u8),
    /// Keeps an earlier snapshot alive, so that what follows has to be copied.
    Snapshot,
}

/// A pod, and what it wants of others.
#[derive(Debug, Clone)]
pub(crate) struct RandomPod {
    pub(crate) number: u8,
    pub(crate) namespace: u8,
    pub(crate) app: u8,
    pub(crate) node: u8,
    pub(crate) terminating: bool,
    pub(crate) terms: Vec<Term>,
}

/// A term of affinity: (anti, required), the app it means, by which label, and of which namespaces.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    pub(crate) anti: bool,
    pub(crate) weight: Option<u8>,
    pub(crate) app: u8,
    pub(crate) key: u8,
    pub(crate) namespaces: u8,
}

pub(crate) const KEYS: [&str; 3] = ["zone", "rack", "kubernetes.io/hostname"];

pub(crate) fn terms() -> impl Strategy<Value = Vec<Term>> {
    let term = (
        any::<bool>(),
        proptest::option::of(1_u8..9),
        0_u8..3,
        0_u8..3,
        0_u8..3,
    );
    let term = term.prop_map(|(anti, weight, app, key, namespaces)| Term {
        anti,
        weight,
        app,
        key,
        namespaces,
    });
    proptest::collection::vec(term, 0..3)
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let pod = (
        0..PODS,
        0_u8..2,
        0_u8..3,
        0..NODES,
        proptest::bool::weighted(0.2),
        terms(),
    );
    let pod = pod.prop_map(|(number, namespace, app, node, terminating, terms)| {
        Op::Pod(RandomPod {
            number,
            namespace,
            app,
            node,
            terminating,
            terms,
        })
    });
    let op = prop_oneof![
        4 => (0..NODES, 0_u8..4, 0_u8..3).prop_map(|(n, z, r)| Op::Node(n, z, r)),
        1 => (0..NODES).prop_map(Op::NodeGone),
        8 => pod,
        2 => (0..PODS).prop_map(Op::PodGone),
        1 => Just(Op::Snapshot),
    ];
    proptest::collection::vec(op, 5..40)
}

/// What the events come to, kept plainly.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    /// Labels of nodes.
    pub(crate) nodes: BTreeMap<u8, BTreeMap<String, String>>,
    pub(crate) pods: BTreeMap<u8, RandomPod>,
}

impl Plain {
    /// The pods on a node.
    pub(crate) fn on(&self, node: u8) -> impl Iterator<Item = &RandomPod> {
        self.pods.values().filter(move |p| p.node == node)
    }

    pub(crate) fn label(&self, node: u8, key: &str) -> Option<&String> {
        self.nodes[&node].get(key)
    }
}

impl Term {
    fn json(&self) -> Value {
        let mut term = json!({"topologyKey": KEYS[usize::from(self.key)],
            "labelSelector": {"matchLabels": {"app": format!("a{}", self.app)}}});
        match self.namespaces {
            0 => {}
            1 => term["namespaces"] = json!(["ns0", "ns1"]),
            _ => term["namespaceSelector"] = json!({"matchLabels": {"name": "ns1"}}),
        }
        term
    }

    /// Whether it means a pod; `own` is the namespace of the pod whose term it is.
    pub(crate) fn means(&self, own: u8, namespace: u8, app: u8) -> bool {
        let there = match self.namespaces {
            0 => namespace == own,
            1 => true,
            _ => namespace == 1,
        };
        there && app == self.app
    }
}

/// `spec.affinity` of these terms.
pub(crate) fn affinity(terms: &[Term]) -> Value {
    let mut affinity = json!({});
    for term in terms {
        let kind = if term.anti {
            "podAntiAffinity"
        } else {
            "podAffinity"
        };
        let (list, item) = match term.weight {
            None => (
                "requiredDuringSchedulingIgnoredDuringExecution",
                term.json(),
            ),
            Some(weight) => (
                "preferredDuringSchedulingIgnoredDuringExecution",
                json!({"weight": weight, "podAffinityTerm": term.json()}),
            ),
        };
        let list = &mut affinity[kind][list];
        match list.as_array_mut() {
            Some(items) => items.push(item),
            None => *list = json!([item]),
        }
    }
    affinity
}

/// The cluster after these events, and plainly.
pub(crate) fn cluster(ops: &[Op]) -> (Arc<Snapshot>, Plain) {
    let cache = Cache::new();
    let mut plain = Plain::default();
    let mut kept = Vec::new();
    let put = |object: Value| cache.apply(read::event_of(object).unwrap().unwrap());
    for ns in ["ns0", "ns1"] {
        put(json!({"kind":"Namespace","metadata":{"name":ns,"labels":{"name":ns}}}));
    }
    for op in ops {
        match op {
            Op::Node(n, zone, rack) => {
                let mut labels = BTreeMap::from([(KEYS[2].to_owned(), format!("n{n}"))]);
                for (key, value) in [(KEYS[0], zone), (KEYS[1], rack)] {
                    if *value > 0 {
                        labels.insert(key.to_owned(), format!("{key}-{value}"));
                    }
                }
                put(
                    json!({"kind":"Node","metadata":{"name":format!("n{n}"),"labels":labels},
                    "status":{"allocatable":{"pods":"110"}}}),
                );
                plain.nodes.insert(*n, labels);
            }
            Op::NodeGone(n) => {
                cache.apply(ClusterEvent::NodeGone(format!("n{n}")));
                plain.nodes.remove(n);
            }
            Op::Pod(pod) => {
                let name = format!("p{}", pod.number);
                // It cannot change its namespace: another one.
                let old = plain.pods.get(&pod.number).map(|p| p.namespace);
                if let Some(old) = old.filter(|old| *old != pod.namespace) {
                    let key = NamespacedName::new(format!("ns{old}"), &name);
                    cache.apply(ClusterEvent::PodGone(key, name.clone()));
                }
                let mut object = json!({"kind":"Pod","metadata":{"namespace":format!("ns{}", pod.namespace),
                    "name":name,"uid":name,"labels":{"app":format!("a{}", pod.app)}},
                    "spec":{"nodeName":format!("n{}", pod.node),"containers":[],
                        "affinity":affinity(&pod.terms)}});
                if pod.terminating {
                    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                }
                put(object);
                plain.pods.insert(pod.number, pod.clone());
            }
            Op::PodGone(number) => {
                if let Some(pod) = plain.pods.remove(number) {
                    let name = format!("p{number}");
                    let key = NamespacedName::new(format!("ns{}", pod.namespace), &name);
                    cache.apply(ClusterEvent::PodGone(key, name));
                }
            }
            Op::Snapshot => kept.push(cache.snapshot()),
        }
    }
    (cache.snapshot(), plain)
}
