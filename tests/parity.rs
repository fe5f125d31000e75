//! Decisions are the stock kube-scheduler's: on one control plane it schedules random pods one after another,
//! and each time `explain`, asked about the cluster as it was before, must name the same nodes or the same
//! message. A new seed each run; `WAM_PARITY_SEED` repeats one, `WAM_PARITY_PODS` widens it.

// Clippy's exemption for tests does not reach their helper functions.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use support::kubectl::kubectl_json;
use support::require;
use support::testbed::{Options, Testbed};
use wam::clock;
use wam::scheduler::explain::Case;

/// Far more than any step takes, for machines under load.
const PATIENCE: Duration = Duration::from_secs(180);
const PODS: usize = 60;
const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";
/// What decisions depend on.
const KINDS: &str = "nodes,pods,namespaces,services,replicationcontrollers,replicasets,statefulsets,\
                     persistentvolumeclaims,persistentvolumes,storageclasses,csinodes,csidrivers,\
                     csistoragecapacities,volumeattachments,poddisruptionbudgets";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Makes the pods of a round.
struct Dice(StdRng);

impl Dice {
    fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.choose(&mut self.0).unwrap()
    }

    fn term(&mut self) -> Value {
        let mut term = json!({
            "topologyKey": self.one(&[ZONE, HOST, "rack"]),
            "labelSelector": {"matchLabels": {"app": self.one(&["x", "y"])}},
        });
        match self.0.random_range(0..4) {
            0 => {
                term["namespaceSelector"] = json!({"matchLabels": {"team": self.one(&["a", "b"])}})
            }
            1 => term["namespaces"] = json!(["a", "b"]),
            _ => {}
        }
        term
    }

    fn affinity(&mut self) -> Value {
        let mut affinity = json!({});
        if self.chance(20) {
            affinity["nodeAffinity"] = json!({"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": self.0.random_range(1..50), "preference": {"matchExpressions": [
                    {"key": "rack", "operator": self.one(&["In", "NotIn"]), "values": ["r0"]}]}}]});
        }
        for kind in ["podAffinity", "podAntiAffinity"] {
            if self.chance(12) {
                affinity[kind]["requiredDuringSchedulingIgnoredDuringExecution"] =
                    json!([self.term()]);
            }
            if self.chance(25) {
                affinity[kind]["preferredDuringSchedulingIgnoredDuringExecution"] = json!([
                    {"weight": self.0.random_range(1..100), "podAffinityTerm": self.term()}]);
            }
        }
        affinity
    }

    fn pod(&mut self, round: usize) -> (&'static str, Value) {
        let namespace = self.one(&["a", "b"]);
        let app = self.one(&["x", "y"]);
        let mut container = json!({"name": "c", "image": self.one(&["big", "small"])});
        if self.chance(85) {
            container["resources"] = json!({"requests": {
                "cpu": self.one(&["50m", "0.2", "700m", "3"]), "memory": self.one(&["64Mi", "1e8", "1.5Gi"])}});
        }
        if self.chance(12) {
            container["ports"] = json!([{"containerPort": 80, "hostPort": 8080}]);
        }
        // Nobody plays kubelet: what the node lifecycle controller thinks of the nodes must not matter.
        let mut tolerations = vec![
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists"}),
            json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists"}),
        ];
        if self.chance(40) {
            tolerations.push(json!({"key": "dedicated", "operator": "Exists"}));
        }
        let mut spec = json!({"containers": [container], "tolerations": tolerations,
            "terminationGracePeriodSeconds": 0, "affinity": self.affinity()});
        if self.chance(15) {
            spec["nodeSelector"] = json!({ZONE: self.one(&["z0", "z1"])});
        }
        if self.chance(35) {
            spec["topologySpreadConstraints"] = json!([{
                "maxSkew": self.0.random_range(1..3), "topologyKey": self.one(&[ZONE, HOST, "rack"]),
                "whenUnsatisfiable": self.one(&["DoNotSchedule", "ScheduleAnyway"]),
                "nodeTaintsPolicy": self.one(&["Honor", "Ignore"]),
                "labelSelector": {"matchLabels": {"app": app}}}]);
        }
        if self.chance(15) {
            let claim = format!("claim-{}", self.0.random_range(0..5));
            spec["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]);
        }
        let pod = json!({"metadata": {"name": format!("p{round}"), "labels": {"app": app}}, "spec": spec});
        (namespace, pod)
    }
}

async fn furnish(client: &kube::Client, dice: &mut Dice) {
    let create = PostParams::default();
    for i in 0..7 {
        let name = format!("n{i}");
        let mut labels = json!({HOST: name, "rack": format!("r{}", i % 2)});
        if i < 6 {
            labels[ZONE] = json!(format!("z{}", i % 3));
        }
        let taints = match i {
            1 => json!([{"key": "dedicated", "effect": "NoSchedule"}]),
            4 => json!([{"key": "dedicated", "effect": "PreferNoSchedule"}]),
            _ => json!([]),
        };
        let node: Node = object(
            json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints},
            "status": {
                "allocatable": {"cpu": dice.one(&["2", "3900m"]), "memory": "8Gi", "pods": "12"},
                "images": [{"names": [dice.one(&["docker.io/library/big:latest", "big:latest"])],
                    "sizeBytes": 400_000_000 + i * 50_000_000}]}}),
        );
        Api::all(client.clone())
            .create(&create, &node)
            .await
            .unwrap();
    }
    let class: StorageClass = object(json!({"metadata": {"name": "local"},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}));
    Api::all(client.clone())
        .create(&create, &class)
        .await
        .unwrap();
    for i in 0..6 {
        let volume: PersistentVolume =
            object(json!({"metadata": {"name": format!("v{i}")}, "spec": {
            "capacity": {"storage": format!("{}Gi", 1 + i % 3)}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local", "hostPath": {"path": "/tmp"}, "nodeAffinity": {"required":
                {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": HOST, "operator": "In", "values": [format!("n{i}")]}]}]}}}}));
        Api::all(client.clone())
            .create(&create, &volume)
            .await
            .unwrap();
    }
    for namespace in ["a", "b"] {
        let object_of: Namespace =
            object(json!({"metadata": {"name": namespace, "labels": {"team": namespace}}}));
        Api::all(client.clone())
            .create(&create, &object_of)
            .await
            .unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        let there = kube::runtime::wait::await_condition(
            accounts,
            "default",
            |a: Option<&ServiceAccount>| a.is_some(),
        );
        clock::timeout(PATIENCE, there)
            .await
            .expect("a ServiceAccount")
            .unwrap();
        let service: Service = object(json!({"metadata": {"name": "x"},
            "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}}));
        Api::namespaced(client.clone(), namespace)
            .create(&create, &service)
            .await
            .unwrap();
        for i in 0..4 {
            let claim: PersistentVolumeClaim =
                object(json!({"metadata": {"name": format!("claim-{i}")},
                "spec": {"storageClassName": "local", "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": format!("{}Gi", 1 + i % 2)}}}}));
            Api::namespaced(client.clone(), namespace)
                .create(&create, &claim)
                .await
                .unwrap();
        }
    }
}

/// The node that the stock scheduler has chosen, or what it says.
async fn decided(pods: &Api<Pod>, name: &str) -> Result<String, String> {
    let deadline = clock::instant() + PATIENCE;
    loop {
        let pod = pods.get(name).await.unwrap();
        if let Some(node) = pod.spec.as_ref().and_then(|s| s.node_name.clone()) {
            return Ok(node);
        }
        let conditions = pod.status.and_then(|s| s.conditions).unwrap_or_default();
        let said = conditions
            .into_iter()
            .find(|c| c.type_ == "PodScheduled" && c.reason.as_deref() == Some("Unschedulable"));
        if let Some(said) = said {
            return Err(said.message.unwrap_or_default());
        }
        assert!(
            clock::instant() < deadline,
            "the stock scheduler says nothing about {name}"
        );
        clock::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decides_as_the_stock_scheduler_does() {
    let options = Options {
        scheduler: true,
        ..Options::default()
    };
    let Some(testbed) = require("parity", Testbed::start_with(&options)) else {
        return;
    };
    let seed = number("WAM_PARITY_SEED")
        .unwrap_or_else(|| u64::try_from(clock::now().as_microsecond()).unwrap_or_default());
    println!("WAM_PARITY_SEED={seed}");
    let rounds = number("WAM_PARITY_PODS").map_or(PODS, |n| usize::try_from(n).unwrap());
    let mut dice = Dice(StdRng::seed_from_u64(seed));
    let client = testbed.client().await;
    furnish(&client, &mut dice).await;
    let (mut placed, mut refused) = (0, 0);
    for round in 0..rounds {
        let (namespace, pod) = dice.pod(round);
        let before = kubectl_json(testbed.kubeconfig(), &["get", KINDS, "-A"]);
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let made = pods
            .create(&PostParams::default(), &object(pod))
            .await
            .unwrap();
        let name = format!("p{round}");
        let stock = decided(&pods, &name).await;
        let mut made = serde_json::to_value(made).unwrap();
        made["kind"] = json!("Pod");
        let case = Case {
            id: None,
            objects: vec![before.clone(), made.clone()],
            pod: format!("{namespace}/{name}"),
            config: None,
        };
        let ours = case.answer().unwrap();
        let agrees = match &stock {
            Ok(node) => ours.candidates.contains(node),
            Err(message) => *message == ours.message,
        };
        assert!(
            agrees,
            "WAM_PARITY_SEED={seed}, pod {round}: the stock scheduler says {stock:?}, we say {:?} {}\n{}",
            ours.candidates,
            ours.message,
            serde_json::to_string(&json!({"objects": [before, made], "pod": ours.pod})).unwrap()
        );
        match stock {
            Ok(_) => placed += 1,
            // What waits would be tried again, at any time.
            Err(_) => {
                refused += 1;
                pods.delete(&name, &DeleteParams::default()).await.unwrap();
            }
        }
    }
    println!(
        "{rounds} pods: {placed} placed on one of our best nodes, {refused} refused with our words"
    );
    assert!(placed > 0, "the clusters have room");
}
