//! The two sides, each one cluster for the whole process, and a place (a namespace) on one of them for each
//! case.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Binding, Event, Namespace, Node, Pod, ServiceAccount};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wam::clock;
use wam::sandbox::cluster::NODE_PREFIX;
use wam::sandbox::controllers::daemonset::placement::node_of;
use wam::sandbox::controllers::informer::{Change, Informer, Whole};
use wam::sandbox::kubelet::{self, KubeletOptions, NodeSpec};
use wam::sandbox::{Cluster, ClusterOptions};

use crate::support;
use crate::support::testbed::{self, Testbed};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// From a pod's admission to its being Ready, and from its deletion to its end.
const LATENCY: Duration = Duration::from_millis(100);
/// Nodes for pods that may run anywhere.
const WORKERS: usize = 2;
/// The scheduler of all pods here: it binds at once, to the node that the pod names or to the next one.
pub const SCHEDULER: &str = "case-scheduler";
/// The label of nodes that belong to one case.
pub const CASE: &str = "case";

/// A cluster.
pub struct Ground {
    kubeconfig: Arc<Path>,
}

impl Ground {
    /// The sandbox.
    pub fn sandbox() -> &'static Self {
        static GROUND: OnceLock<Ground> = OnceLock::new();
        GROUND.get_or_init(|| {
            let (sender, receiver) = std::sync::mpsc::channel();
            apart(async move {
                let options = ClusterOptions {
                    nodes: WORKERS,
                    start_latency: LATENCY,
                    stop_latency: LATENCY,
                    ..ClusterOptions::default()
                };
                let cluster = Cluster::start(options).await.expect("the sandbox starts");
                sender.send(cluster.kubeconfig()).expect("somebody waits");
                schedule(cluster.client()).await;
            });
            let folder = tempfile::tempdir().expect("a folder").keep();
            let path = folder.join("kubeconfig");
            let text = receiver.recv().expect("the sandbox starts");
            std::fs::write(&path, text).expect("written");
            Ground {
                kubeconfig: path.into(),
            }
        })
    }

    /// A real control plane; `None` (said aloud) where there is none.
    pub fn real(case: &str) -> Option<&'static Self> {
        static GROUND: OnceLock<Ground> = OnceLock::new();
        let testbed = support::require(case, Testbed::shared())?;
        Some(GROUND.get_or_init(|| {
            let kubeconfig: Arc<Path> = testbed.kubeconfig().into();
            let path = Arc::clone(&kubeconfig);
            apart(async move {
                let client = testbed::client(&path).await;
                let options = KubeletOptions {
                    nodes: NodeSpec::numbered(NODE_PREFIX, WORKERS),
                    start_latency: LATENCY,
                    stop_latency: LATENCY,
                    ..KubeletOptions::default()
                };
                let stop = CancellationToken::new();
                let kubelets = Box::pin(kubelet::run(client.clone(), options, stop));
                let (ended, ()) = tokio::join!(kubelets, schedule(client));
                ended.expect("the kubelets run");
            });
            Ground { kubeconfig }
        }))
    }

    /// A namespace in which pods can be made.
    pub async fn place(&self, case: &str) -> Place {
        let client = testbed::client(&self.kubeconfig).await;
        let namespace = format!("{}-{:x}", case.replace('_', "-"), std::process::id());
        let place = Place {
            client,
            namespace,
            stop: CancellationToken::new(),
        };
        let namespaces: Api<Namespace> = Api::all(place.client.clone());
        let made = json!({"metadata": {"name": place.namespace}});
        namespaces
            .create(&PostParams::default(), &read(made))
            .await
            .unwrap();
        place
            .until("the namespace has its account", async || {
                place
                    .api::<ServiceAccount>()
                    .get_opt("default")
                    .await
                    .unwrap()
                    .is_some()
            })
            .await;
        place
    }
}

/// A runtime of its own: a test's ends with the test.
fn apart(future: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(future);
    });
}

/// Binds the pods that name [`SCHEDULER`].
async fn schedule(client: Client) {
    let pods: Arc<Informer<Pod>> = Informer::new(|_| Vec::new());
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    pods.on_change(move |change| {
        if let Change::Added(pod) = change {
            // The receiver goes with the runtime.
            let _ = sender.send(Arc::clone(pod));
        }
    });
    let binding = async {
        let mut turn = 0;
        while let Some(pod) = receiver.recv().await {
            let spec = pod.spec.as_ref().unwrap();
            if spec.scheduler_name.as_deref() != Some(SCHEDULER) || spec.node_name.is_some() {
                continue;
            }
            turn += 1;
            let next = format!("{NODE_PREFIX}{}", turn % WORKERS);
            let node = node_of(&pod).unwrap_or(&next);
            let name = pod.metadata.name.as_deref().unwrap();
            let binding: Binding = read(json!({
                "metadata": {"name": name}, "target": {"kind": "Node", "name": node}}));
            let namespace = pod.metadata.namespace.as_deref().unwrap();
            let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
            // A pod that was deleted meanwhile cannot be bound.
            let _: kube::Result<Value> = api
                .create_subresource("binding", name, &PostParams::default(), &binding)
                .await;
        }
    };
    let stop = CancellationToken::new();
    tokio::join!(
        pods.run(Whole::new(Api::all(client.clone())), stop),
        binding
    );
}

/// An object from JSON.
pub fn read<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// A template of pods that run, with this in their annotations and that over it all.
pub fn template(name: &str, image: &str, over: Value) -> Value {
    let mut template = json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"schedulerName": SCHEDULER, "terminationGracePeriodSeconds": 5,
                 "containers": [{"name": "c", "image": image}]},
    });
    json_patch::merge(&mut template, &over);
    template
}

/// A namespace on one of the sides.
pub struct Place {
    pub client: Client,
    pub namespace: String,
    stop: CancellationToken,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Place {
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn create<K>(&self, object: Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
    {
        self.api::<K>()
            .create(&PostParams::default(), &read(object))
            .await
            .unwrap();
    }

    pub async fn merge<K>(&self, name: &str, patch: Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub async fn get<K>(&self, name: &str) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        self.api::<K>().get(name).await.unwrap()
    }

    pub async fn all<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        self.api::<K>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
    }

    /// Waits until it is so.
    pub async fn until<F: AsyncFn() -> bool>(&self, what: &str, holds: F) {
        let waiting = async {
            while !holds().await {
                clock::sleep(Duration::from_millis(100)).await;
            }
        };
        if clock::timeout(PATIENCE, waiting).await.is_err() {
            let pods: Vec<Pod> = self.all().await;
            let pods = Vec::from_iter(pods.iter().map(|pod| (&pod.metadata.name, &pod.status)));
            panic!(
                "never: {what}; pods: {pods:?}; events: {:?}",
                self.told().await
            );
        }
    }

    /// What the events of this namespace tell: kind, reason, message.
    pub async fn told(&self) -> Vec<(String, String, String)> {
        let events: Vec<Event> = self.all().await;
        let told = events.into_iter().map(|event| {
            (
                event.involved_object.kind.unwrap_or_default(),
                event.reason.unwrap_or_default(),
                event.message.unwrap_or_default(),
            )
        });
        told.collect()
    }

    /// Waits for an event.
    pub async fn hears(&self, kind: &str, reason: &str, message: &str) {
        self.until(&format!("{kind} {reason} {message}"), async || {
            self.told()
                .await
                .iter()
                .any(|told| told.0 == kind && told.1 == reason && told.2.contains(message))
        })
        .await;
    }

    /// Nodes of this case's own, labelled [`CASE`] with the namespace.
    pub async fn more_nodes(&self, prefix: &str, count: usize) {
        let mut nodes = NodeSpec::numbered(&format!("{}-{prefix}", self.namespace), count);
        for node in &mut nodes {
            node.labels.insert(CASE.to_owned(), self.namespace.clone());
        }
        let names: BTreeMap<String, ()> =
            nodes.iter().map(|node| (node.name.clone(), ())).collect();
        let options = KubeletOptions {
            nodes,
            instance: format!("{}-{prefix}", self.namespace),
            start_latency: LATENCY,
            stop_latency: LATENCY,
            ..KubeletOptions::default()
        };
        let (client, stop) = (self.client.clone(), self.stop.clone());
        tokio::spawn(async move {
            Box::pin(kubelet::run(client, options, stop))
                .await
                .expect("the kubelets run");
        });
        let nodes: Api<Node> = Api::all(self.client.clone());
        self.until("the nodes are free of taints", async || {
            let found = nodes.list(&ListParams::default()).await.unwrap().items;
            let free = found.iter().filter(|node| {
                let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
                names.contains_key(node.metadata.name.as_deref().unwrap()) && taints.is_none()
            });
            free.count() == names.len()
        })
        .await;
    }

    /// Notes down when the pods of this namespace come (`+`), become ready (`=`) and go (`-`).
    pub async fn diary(&self) -> Diary {
        let pods: Arc<Informer<Pod>> = Informer::new(|_| Vec::new());
        let diary = Diary::default();
        let pages = Arc::clone(&diary.0);
        pods.on_change(move |change| {
            let name = change.object().metadata.name.clone().unwrap();
            let line = match change {
                Change::Added(_) => format!("+{name}"),
                Change::Deleted(_) => format!("-{name}"),
                Change::Updated(old, new) if !is_ready(old) && is_ready(new) => format!("={name}"),
                Change::Updated(..) => return,
            };
            pages.lock().unwrap().push(line);
        });
        let (api, stop) = (self.api(), self.stop.clone());
        let watched = Arc::clone(&pods);
        tokio::spawn(async move { watched.run(Whole::new(api), stop).await });
        pods.synced().await;
        diary
    }
}

/// What happened to pods, in order.
#[derive(Default)]
pub struct Diary(Arc<std::sync::Mutex<Vec<String>>>);

impl Diary {
    /// Waits until this has happened since the last call, and nothing else.
    pub async fn tells(&self, place: &Place, wanted: &[&str]) {
        place
            .until(&format!("{wanted:?}"), async || {
                self.0.lock().unwrap().len() >= wanted.len()
            })
            .await;
        assert_eq!(std::mem::take(&mut *self.0.lock().unwrap()), wanted);
    }
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
