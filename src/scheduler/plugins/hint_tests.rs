//! What the plugins say about events, for pods that they have rejected.

use std::sync::Arc;

use serde_json::{Value, json};

use super::testing::{asking, pod};
use super::{node_ports, node_unschedulable, resources_fit, scheduling_gates, taint_toleration};
use crate::cluster::{Change, PodInfo};
use crate::model::Node;
use crate::scheduler::framework::Events;
use crate::scheduler::framework::plugin::{Hint, Plugin};

fn node(spec: Value, cpu: &str, label: &str) -> Arc<Node> {
    let node = json!({"metadata":{"name":"n","labels":{"l":label}},"spec":spec,
        "status":{"allocatable":{"cpu":cpu,"memory":"4Gi","pods":"10"}}});
    Arc::new(Node::from_api(&serde_json::from_value(node).unwrap()).unwrap())
}

fn changed(old: &Arc<Node>, new: &Arc<Node>) -> Change {
    Change::NodeChanged {
        old: Arc::clone(old),
        new: Arc::clone(new),
    }
}

fn helps(plugin: &dyn Plugin, pod: &PodInfo, change: &Change) -> bool {
    plugin.hint(Events::NONE, pod, change) == Hint::Queue
}

#[test]
fn nodes_that_become_usable() {
    let free = node(json!({}), "2", "a");
    let cordoned = node(json!({"unschedulable":true}), "2", "a");
    let tainted = node(
        json!({"taints":[{"key":"k","effect":"NoSchedule"}]}),
        "2",
        "a",
    );
    let small = node(json!({}), "1", "b");
    let plain = asking("1500m", "1Gi");
    let picky = pod(json!({"containers":[],"nodeSelector":{"l":"a"}}));
    let cordon = node_unschedulable::NodeUnschedulable;
    let taint = taint_toleration::TaintToleration;
    let fit = resources_fit::NodeResourcesFit::default();
    let affinity = &super::registry(Arc::default())
        .into_iter()
        .find(|plugin| plugin.name() == "NodeAffinity")
        .unwrap();

    let cases: [(&dyn Plugin, &PodInfo, &Arc<Node>); 4] = [
        (&cordon, &plain, &cordoned),
        (&taint, &plain, &tainted),
        (&fit, &plain, &small),
        (&**affinity, &picky, &small),
    ];
    for (plugin, pod, bad) in cases {
        let name = plugin.name();
        assert!(
            helps(plugin, pod, &Change::NodeAdded(Arc::clone(&free))),
            "{name}"
        );
        assert!(
            !helps(plugin, pod, &Change::NodeAdded(Arc::clone(bad))),
            "{name}"
        );
        assert!(helps(plugin, pod, &changed(bad, &free)), "{name}");
        assert!(!helps(plugin, pod, &changed(&free, bad)), "{name}");
        assert!(
            !helps(plugin, pod, &changed(&free, &free)),
            "{name}: it was so before"
        );
    }
}

#[test]
fn room_that_becomes_free() {
    let fit = resources_fit::NodeResourcesFit::default();
    let scaled = |from: &PodInfo, to: &PodInfo| Change::AssignedChanged {
        old: Arc::new(from.clone()),
        new: Arc::new(to.clone()),
    };
    let waiting = asking("1", "0");
    assert!(helps(
        &fit,
        &waiting,
        &scaled(&asking("2", "1Gi"), &asking("1", "1Gi"))
    ));
    let memory = scaled(&asking("2", "2Gi"), &asking("2", "1Gi"));
    assert!(!helps(&fit, &waiting, &memory), "it asks for no memory");
    assert!(helps(
        &fit,
        &waiting,
        &Change::AssignedGone(Arc::new(asking("1", "1")))
    ));
    let port = |port: u16| {
        pod(json!({"containers":[{"name":"c","ports":[{"containerPort":1,"hostPort":port}]}]}))
    };
    let gone = Change::AssignedGone(Arc::new(port(80)));
    assert!(helps(&node_ports::NodePorts, &port(80), &gone));
    assert!(!helps(&node_ports::NodePorts, &port(81), &gone));
}

#[test]
fn its_own_change_and_that_of_another_pod() {
    let tolerant = pod(json!({"containers":[],"tolerations":[{"operator":"Exists"}]}));
    let mut other = (*tolerant.pod).clone();
    other.uid = "other".to_owned();
    let other = PodInfo {
        pod: Arc::new(other),
        ..tolerant.clone()
    };
    let plugins: [&dyn Plugin; 3] = [
        &node_unschedulable::NodeUnschedulable,
        &taint_toleration::TaintToleration,
        &scheduling_gates::SchedulingGates,
    ];
    for plugin in plugins {
        for (changed, expected) in [(&tolerant, true), (&other, false)] {
            let change = Change::Pending {
                old: None,
                new: Arc::new(changed.clone()),
            };
            assert_eq!(
                helps(plugin, &tolerant, &change),
                expected,
                "{}",
                plugin.name()
            );
        }
    }
}
