//! The controllers and kubelets together, on the sandbox's own API server, in virtual time.

mod jobs;
mod storage;
mod workloads;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::kube::api::{
    DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy,
};
use ::kube::{Api, Client};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Binding, Namespace, Node, Pod, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::informer::{Change, Informer, Whole};
use super::objects::{is_ready, is_terminating, pod_condition, uid};
use crate::clock;
use crate::sandbox::apiserver::{ApiServer, Options};
use crate::sandbox::kubelet::{BEHAVIOUR, KubeletOptions, NodeSpec};

struct Cluster {
    client: Client,
    /// Every pod that ever was, by uid.
    pods_ever: Arc<Mutex<BTreeSet<String>>>,
    _stop: DropGuard,
}

impl Cluster {
    /// A server, controllers, three nodes, and a scheduler that takes the nodes in turn.
    async fn start() -> Self {
        clock::simulate("2026-01-01T00:00:00Z".parse().unwrap());
        let client = ApiServer::new(Options::default()).client();
        let stop = CancellationToken::new();
        tokio::spawn(super::run(
            client.clone(),
            super::Options::default(),
            stop.clone(),
        ));
        let kubelets = KubeletOptions {
            nodes: NodeSpec::numbered("n", 3),
            start_latency: Duration::from_millis(300),
            stop_latency: Duration::from_millis(300),
            ..KubeletOptions::default()
        };
        let (nodes, halt) = (client.clone(), stop.clone());
        tokio::spawn(async move {
            crate::sandbox::kubelet::run(nodes, kubelets, halt)
                .await
                .unwrap();
        });
        let pods_ever = Arc::new(Mutex::new(BTreeSet::new()));
        tokio::spawn(schedule(
            client.clone(),
            Arc::clone(&pods_ever),
            stop.clone(),
        ));
        let cluster = Self {
            client,
            pods_ever,
            _stop: stop.drop_guard(),
        };
        cluster
            .until("the nodes are there and free", || async {
                let nodes = cluster.all::<Node>().await;
                let tainted = |node: &Node| {
                    node.spec
                        .as_ref()
                        .and_then(|spec| spec.taints.as_ref())
                        .is_some()
                };
                nodes.len() == 3 && !nodes.iter().any(tainted)
            })
            .await;
        cluster
            .until("pods may be created", || async {
                let accounts: Api<ServiceAccount> = cluster.api();
                accounts.get_opt("default").await.unwrap().is_some()
            })
            .await;
        cluster
    }

    fn api<K>(&self) -> Api<K>
    where
        K: ::kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn all<K>(&self) -> Vec<K>
    where
        K: ::kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        api.list(&ListParams::default()).await.unwrap().items
    }

    async fn until<F, Fut>(&self, what: &str, holds: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = bool>,
    {
        let mut pause = Duration::from_millis(20);
        for _ in 0..2000 {
            if holds().await {
                return;
            }
            clock::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        panic!("never: {what}");
    }

    async fn deploy(&self, name: &str, replicas: i32, image: &str) {
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     "template": {"metadata": {"labels": {"app": name}}, "spec": {
                         "containers": [{"name": "c", "image": image}]}}},
        }))
        .unwrap();
        self.api::<Deployment>()
            .create(&PostParams::default(), &deployment)
            .await
            .unwrap();
        self.settled(name, replicas).await;
    }

    async fn patch(&self, name: &str, patch: Value) {
        let api: Api<Deployment> = self.api();
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    async fn settled(&self, name: &str, replicas: i32) {
        self.until("the rollout is complete", || async {
            let deployment = self.api::<Deployment>().get(name).await.unwrap();
            let Some(status) = deployment.status.clone() else {
                return false;
            };
            super::deployment::status::is_complete(&deployment, &status)
                && status.replicas.unwrap_or(0) == replicas
                && status.terminating_replicas == Some(0)
        })
        .await;
    }

    async fn pods(&self) -> Vec<Pod> {
        self.all().await
    }
}

/// Binds every pod to one node after the other.
async fn schedule(
    client: Client,
    pods_ever: Arc<Mutex<BTreeSet<String>>>,
    stop: CancellationToken,
) {
    let informer: Arc<Informer<Pod>> = Informer::new(|_| Vec::new());
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    informer.on_change(move |change| {
        if let Change::Added(pod) = change {
            pods_ever
                .lock()
                .unwrap()
                .insert(uid(&pod.metadata).to_owned());
            sender.send(Arc::clone(pod)).unwrap();
        }
    });
    let binding = async {
        let mut turn = 0;
        while let Some(pod) = receiver.recv().await {
            if pod.spec.as_ref().unwrap().node_name.is_some() {
                continue;
            }
            let name = pod.metadata.name.clone().unwrap();
            let node = match super::daemonset::placement::node_of(&pod) {
                Some(node) => node.to_owned(),
                None => format!("n{}", turn % 3),
            };
            let binding: Binding = serde_json::from_value(json!({
                "metadata": {"name": name},
                "target": {"kind": "Node", "name": node}}))
            .unwrap();
            turn += 1;
            let api: Api<Pod> =
                Api::namespaced(client.clone(), pod.metadata.namespace.as_ref().unwrap());
            // A pod that was deleted meanwhile cannot be bound.
            let _: ::kube::Result<Value> = api
                .create_subresource("binding", &name, &PostParams::default(), &binding)
                .await;
        }
    };
    tokio::join!(
        informer.run(Whole::new(Api::all(client.clone())), stop.clone()),
        binding
    );
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_rolled_out_scaled_and_rolled_back() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 4, "i:1").await;
    assert_eq!(cluster.pods_ever.lock().unwrap().len(), 4);
    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    cluster.patch("web", image("i:2")).await;
    cluster.settled("web", 4).await;
    assert_eq!(cluster.pods_ever.lock().unwrap().len(), 8);
    cluster.patch("web", json!({"spec": {"replicas": 2}})).await;
    cluster.settled("web", 2).await;
    cluster.patch("web", image("i:1")).await;
    cluster.settled("web", 2).await;
    assert_eq!(cluster.pods_ever.lock().unwrap().len(), 10);
    let deployment = cluster.api::<Deployment>().get("web").await.unwrap();
    let revision = "deployment.kubernetes.io/revision";
    assert_eq!(deployment.metadata.annotations.unwrap()[revision], "3");
    let mut sets: Vec<ReplicaSet> = cluster.all().await;
    sets.sort_by_key(|set| super::deployment::revision::revision(&set.metadata));
    let numbers = sets
        .iter()
        .map(|set| set.spec.replicas.unwrap())
        .collect::<Vec<_>>();
    assert_eq!(numbers, [0, 2]);
    let history = "deployment.kubernetes.io/revision-history";
    assert_eq!(sets[1].metadata.annotations.as_ref().unwrap()[history], "1");
}

#[tokio::test(start_paused = true)]
async fn replicas_are_never_one_too_many() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 60, "i").await;
    assert_eq!(cluster.pods_ever.lock().unwrap().len(), 60);
    cluster.patch("web", json!({"spec": {"replicas": 7}})).await;
    cluster.settled("web", 7).await;
    assert_eq!(cluster.pods_ever.lock().unwrap().len(), 60);
    let victim = cluster.pods().await[0].metadata.name.clone().unwrap();
    cluster
        .api::<Pod>()
        .delete(&victim, &DeleteParams::default())
        .await
        .unwrap();
    cluster
        .until("it is replaced", || async {
            cluster.pods().await.len() == 8
        })
        .await;
    cluster.settled("web", 7).await;
    assert_eq!(cluster.pods_ever.lock().unwrap().len(), 61);
}

#[tokio::test(start_paused = true)]
async fn an_unassigned_replacement_is_the_victim() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 3, "i").await;
    // Nobody binds pods that are gated.
    cluster
        .patch("web", json!({"spec": {"paused": true}}))
        .await;
    let before: Vec<String> = cluster
        .pods()
        .await
        .into_iter()
        .filter_map(|pod| pod.metadata.name)
        .collect();
    let set = &cluster.all::<ReplicaSet>().await[0];
    let gate = json!({"spec": {"template": {"spec": {"schedulingGates": [{"name": "a/b"}]}}}});
    let sets: Api<ReplicaSet> = cluster.api();
    let set_name = set.metadata.name.clone().unwrap();
    sets.patch(&set_name, &PatchParams::default(), &Patch::Merge(&gate))
        .await
        .unwrap();
    let evicted = &before[1];
    cluster
        .api::<Pod>()
        .evict(evicted, &EvictParams::default())
        .await
        .unwrap();
    cluster
        .until("the replacement exists", || async {
            let pods = cluster.pods().await;
            pods.iter()
                .any(|pod| pod.spec.as_ref().unwrap().node_name.is_none())
        })
        .await;
    cluster.patch("web", json!({"spec": {"replicas": 2}})).await;
    cluster
        .until("two are left", || async {
            let pods = cluster.pods().await;
            pods.len() == 2 && !pods.iter().any(|pod| is_terminating(&pod.metadata))
        })
        .await;
    let mut after: Vec<String> = cluster
        .pods()
        .await
        .into_iter()
        .filter_map(|pod| pod.metadata.name)
        .collect();
    after.push(evicted.clone());
    after.sort();
    let mut before = before;
    before.sort();
    assert_eq!(after, before);
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_kept_count_of() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 3, "i").await;
    let budget: PodDisruptionBudget = serde_json::from_value(json!({
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}}))
    .unwrap();
    let budgets: Api<PodDisruptionBudget> = cluster.api();
    budgets
        .create(&PostParams::default(), &budget)
        .await
        .unwrap();
    let allows = async |number: i32| {
        let budgets: Api<PodDisruptionBudget> = cluster.api();
        let status = budgets.get("b").await.unwrap().status;
        status.is_some_and(|status| status.disruptions_allowed == Some(number))
    };
    cluster.until("one may go", || allows(1)).await;
    let pods = cluster.pods().await;
    let name = |index: usize| pods[index].metadata.name.clone().unwrap();
    let api: Api<Pod> = cluster.api();
    api.evict(&name(0), &EvictParams::default()).await.unwrap();
    let refused = api
        .evict(&name(1), &EvictParams::default())
        .await
        .unwrap_err();
    assert!(super::objects::has_code(&refused, 429), "{refused}");
    cluster.until("another one may go", || allows(1)).await;
}

#[tokio::test(start_paused = true)]
async fn what_owners_leave_behind_is_collected_or_let_go() {
    let cluster = Cluster::start().await;
    let api: Api<Deployment> = cluster.api();
    let delete = async |policy: PropagationPolicy| {
        let params = DeleteParams {
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        };
        api.delete("web", &params).await.unwrap();
        cluster
            .until("the deployment is gone", || async {
                api.get_opt("web").await.unwrap().is_none()
            })
            .await;
    };
    cluster.deploy("web", 2, "i").await;
    delete(PropagationPolicy::Background).await;
    cluster
        .until("nothing is left", || async {
            cluster.pods().await.is_empty() && cluster.all::<ReplicaSet>().await.is_empty()
        })
        .await;
    cluster.deploy("web", 2, "i").await;
    delete(PropagationPolicy::Foreground).await;
    assert!(cluster.all::<ReplicaSet>().await.is_empty());
    assert!(cluster.pods().await.is_empty());
    cluster.deploy("web", 2, "i").await;
    delete(PropagationPolicy::Orphan).await;
    let sets: Vec<ReplicaSet> = cluster.all().await;
    assert_eq!(sets.len(), 1);
    assert_eq!(
        sets[0]
            .metadata
            .owner_references
            .clone()
            .unwrap_or_default(),
        []
    );
    // A new one of the same kind takes it over.
    cluster.deploy("web", 2, "i").await;
    assert_eq!(cluster.all::<ReplicaSet>().await.len(), 1);
    assert_eq!(cluster.pods_ever.lock().unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_emptied_and_goes() {
    let cluster = Cluster::start().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "x"}})).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "x");
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}))
    .unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), "x");
    cluster
        .until("it has an account", || async {
            accounts.get_opt("default").await.unwrap().is_some()
        })
        .await;
    pods.create(&PostParams::default(), &pod).await.unwrap();
    cluster
        .until("the pod is ready", || async {
            is_ready(&pods.get("p").await.unwrap())
        })
        .await;
    namespaces
        .delete("x", &DeleteParams::default())
        .await
        .unwrap();
    cluster
        .until("it is gone", || async {
            namespaces.get_opt("x").await.unwrap().is_none()
        })
        .await;
    assert!(cluster.pods().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_loses_its_pods_and_comes_back() {
    let cluster = Cluster::start().await;
    cluster.deploy("web", 3, "i").await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let silence = |word: Option<&str>| json!({"metadata": {"annotations": {BEHAVIOUR: word}}});
    let patch = async |value: Value| {
        nodes
            .patch("n1", &PatchParams::default(), &Patch::Merge(&value))
            .await
            .unwrap();
    };
    patch(silence(Some("silent"))).await;
    let on_lost = async || {
        let pods = cluster.pods().await;
        pods.into_iter()
            .filter(|pod| pod.spec.as_ref().unwrap().node_name.as_deref() == Some("n1"))
            .collect::<Vec<_>>()
    };
    cluster
        .until("its pods are not ready", || async {
            let lost = on_lost().await;
            !lost.is_empty() && !lost.iter().any(is_ready)
        })
        .await;
    let silent_for = clock::now().as_second() - 1_767_225_600;
    assert!((50..75).contains(&silent_for), "{silent_for}");
    cluster
        .until("its pods are told to go", || async {
            let lost = on_lost().await;
            lost.iter().any(|pod| {
                is_terminating(&pod.metadata) && pod_condition(pod, "DisruptionTarget").is_some()
            })
        })
        .await;
    patch(silence(None)).await;
    cluster
        .until("it is back", || async {
            let node = nodes.get("n1").await.unwrap();
            super::nodes::health::condition(&node, "Ready") == "True"
                && node.spec.unwrap_or_default().taints.is_none()
        })
        .await;
    cluster.settled("web", 3).await;
    let pods = cluster.pods().await;
    assert_eq!(pods.iter().filter(|pod| is_ready(pod)).count(), 3);
}
