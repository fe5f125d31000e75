//! What our `kube` module makes of an API server: its binder, scales, evictions, events, lease and watches on
//! both grounds. It wants the Deployment, ServiceAccount and disruption controllers, and no kubelet on the
//! nodes `n-1` and `n-2`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::ground::Ground;
use wam::actions::ports::{CallError, Cluster as _, ScalePatch};
use wam::clock;
use wam::cluster::ClusterEvent;
use wam::cluster::event::Kind;
use wam::kube::metrics::VerbLabel;
use wam::kube::{
    ApiBinder, ApiCluster, ApiEvents, ApiOwners, ApiPodStatus, ClientOptions, Clients,
    LeaderElection, LeaseOptions, Metrics, Source, Watches,
};
use wam::model::NamespacedName;
use wam::model::names::LEDGER_LABEL;
use wam::scheduler::ports::{
    AlwaysLeads, Binder, Binding, CallError as BindError, EventSink, Leadership, OwnerLookup,
    PodEvent, PodStatus, ScheduledCondition,
};

/// How long the API server and its controllers may take for anything here.
const PATIENCE: Duration = Duration::from_secs(120);

struct Server {
    clients: Clients,
    client: kube::Client,
    metrics: Metrics,
    namespace: String,
}

impl Server {
    /// A namespace of its own on the API server, `None` (said aloud) where there is none.
    async fn connect(ground: Ground, test: &str) -> Option<Self> {
        let path = ground.kubeconfig(test)?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let metrics = Metrics::default();
        // What is tested asks as an installed wam; what prepares and looks is the administrator.
        let source = Source::Kubeconfig {
            path: ground.own(&path),
            context: None,
        };
        let clients = Clients::connect(&source, &ClientOptions::default(), &metrics)
            .await
            .unwrap();
        let client = crate::support::testbed::client(&path).await;
        let namespace = format!("{test}-{}", uuid::Uuid::new_v4().simple());
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        let server = Self {
            clients,
            client,
            metrics,
            namespace,
        };
        let accounts: Api<ServiceAccount> = server.api();
        eventually("the service account", || async {
            accounts.get_opt("default").await.unwrap()
        })
        .await;
        Some(server)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn key(&self, name: &str) -> NamespacedName {
        NamespacedName::new(&self.namespace, name)
    }

    async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    async fn pod(&self, name: &str) -> Pod {
        self.create(json!({
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {
                "schedulerName": "nobody",
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "i"}],
            },
        }))
        .await
    }

    async fn running_pod(&self, name: &str, node: &str) -> Pod {
        let pod = self.pod(name).await;
        self.binder().bind(&self.binding(&pod, node)).await.unwrap();
        let status = json!({"status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True"}]}});
        self.api::<Pod>()
            .patch_status(name, &PatchParams::default(), &Patch::Strategic(&status))
            .await
            .unwrap()
    }

    fn binding(&self, pod: &Pod, node: &str) -> Binding {
        Binding {
            pod: self.key(pod.metadata.name.as_deref().unwrap()),
            uid: pod.metadata.uid.clone().unwrap(),
            node: node.to_owned(),
            annotations: [("aces-eu.github.io/wam-action".into(), "a1".into())].into(),
        }
    }

    fn binder(&self) -> ApiBinder {
        ApiBinder::new(Arc::clone(&self.clients.binds), Arc::new(AlwaysLeads))
    }

    fn cluster(&self) -> ApiCluster {
        ApiCluster::new(Arc::clone(&self.clients.actions))
    }

    async fn deployment(&self, name: &str, replicas: i32) -> Deployment {
        self.create(json!({
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "i"}]},
                },
            },
        }))
        .await
    }

    async fn gone(self) {
        let params = DeleteParams::default();
        let all: Api<Namespace> = Api::all(self.client.clone());
        all.delete(&self.namespace, &params).await.unwrap();
    }
}

async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let start = clock::instant();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not come");
        clock::sleep(Duration::from_millis(50)).await;
    }
}

async fn a_pod_is_bound_once(ground: Ground) {
    let Some(server) = Server::connect(ground, "bind").await else {
        return;
    };
    let pod = server.pod("solo").await;
    let binder = server.binder();
    let binding = server.binding(&pod, "n-1");
    binder.bind(&binding).await.unwrap();
    // A repetition of what was done is no conflict.
    binder.bind(&binding).await.unwrap();
    let elsewhere = server.binding(&pod, "n-2");
    assert_eq!(
        binder.bind(&elsewhere).await,
        Err(BindError::Conflict(format!(
            "pod {}/solo is already assigned to node n-1",
            server.namespace
        )))
    );
    let unmarked = Binding {
        annotations: [("aces-eu.github.io/wam-action".into(), "a2".into())].into(),
        ..binding.clone()
    };
    assert!(matches!(
        binder.bind(&unmarked).await,
        Err(BindError::Conflict(_))
    ));
    let foreign = Binding {
        uid: "another".into(),
        ..binding.clone()
    };
    assert!(matches!(
        binder.bind(&foreign).await,
        Err(BindError::Gone(_))
    ));
    let missing = Binding {
        pod: server.key("missing"),
        ..binding
    };
    assert!(matches!(
        binder.bind(&missing).await,
        Err(BindError::Gone(_))
    ));
    let seen = server.api::<Pod>().get("solo").await.unwrap();
    assert_eq!(seen.spec.unwrap().node_name.as_deref(), Some("n-1"));
    assert_eq!(
        seen.metadata.annotations.unwrap()["aces-eu.github.io/wam-action"],
        "a1"
    );
    server.gone().await;
}

async fn nobody_binds_who_does_not_lead(ground: Ground) {
    struct Follows;
    impl Leadership for Follows {
        fn leads(&self) -> bool {
            false
        }
    }
    let Some(server) = Server::connect(ground, "follower").await else {
        return;
    };
    let pod = server.pod("solo").await;
    let binder = ApiBinder::new(Arc::clone(&server.clients.binds), Arc::new(Follows));
    let refused = binder.bind(&server.binding(&pod, "n-1")).await;
    assert!(matches!(refused, Err(BindError::Refused(_))));
    let seen = server.api::<Pod>().get("solo").await.unwrap();
    assert_eq!(seen.spec.unwrap().node_name, None);
    server.gone().await;
}

async fn the_condition_is_written_when_it_is_news(ground: Ground) {
    let Some(server) = Server::connect(ground, "status").await else {
        return;
    };
    let pod = server.pod("solo").await;
    let uid = pod.metadata.uid.clone().unwrap();
    let key = server.key("solo");
    let status = ApiPodStatus::new(Arc::clone(&server.clients.reports));
    let mut condition = ScheduledCondition {
        reason: "Unschedulable".into(),
        message: "0/1 nodes are available".into(),
        nominated_node: Some("n-1".into()),
    };
    status
        .set_unscheduled(&key, &uid, &condition)
        .await
        .unwrap();
    let api = server.api::<Pod>();
    let seen = api.get("solo").await.unwrap();
    let version = seen.metadata.resource_version.clone();
    let said = seen.status.unwrap();
    assert_eq!(said.nominated_node_name.as_deref(), Some("n-1"));
    let scheduled = &said.conditions.unwrap()[0];
    assert_eq!(
        scheduled.message.as_deref(),
        Some("0/1 nodes are available")
    );
    let since = scheduled.last_transition_time.clone();
    assert!(since.is_some());

    // Nothing new, also for a process that does not remember.
    status
        .set_unscheduled(&key, &uid, &condition)
        .await
        .unwrap();
    let forgetful = ApiPodStatus::new(Arc::clone(&server.clients.reports));
    forgetful
        .set_unscheduled(&key, &uid, &condition)
        .await
        .unwrap();
    assert_eq!(
        api.get("solo").await.unwrap().metadata.resource_version,
        version
    );

    condition.message = "0/2 nodes are available".into();
    condition.nominated_node = Some(String::new());
    status
        .set_unscheduled(&key, &uid, &condition)
        .await
        .unwrap();
    let said = api.get("solo").await.unwrap().status.unwrap();
    assert_eq!(said.nominated_node_name, None);
    let scheduled = &said.conditions.unwrap()[0];
    assert_eq!(
        scheduled.message.as_deref(),
        Some("0/2 nodes are available")
    );
    assert_eq!(scheduled.last_transition_time, since);

    // Once bound, it is never told otherwise.
    server
        .binder()
        .bind(&server.binding(&pod, "n-1"))
        .await
        .unwrap();
    condition.message = "late".into();
    status
        .set_unscheduled(&key, &uid, &condition)
        .await
        .unwrap();
    let said = api.get("solo").await.unwrap().status.unwrap();
    assert_eq!(said.conditions.unwrap()[0].status, "True");
    let other = status.set_unscheduled(&key, "another", &condition).await;
    assert!(matches!(other, Err(BindError::Gone(_))));
    server.gone().await;
}

async fn equal_events_become_a_series(ground: Ground) {
    let Some(server) = Server::connect(ground, "events").await else {
        return;
    };
    let pod = server.pod("solo").await;
    let shutdown = CancellationToken::new();
    let (events, task) = ApiEvents::spawn(
        Arc::clone(&server.clients.reports),
        server.metrics.clone(),
        "wam-test".into(),
        shutdown.clone(),
    );
    let event = PodEvent {
        pod: server.key("solo"),
        uid: pod.metadata.uid.unwrap(),
        warning: true,
        reason: "FailedScheduling",
        action: "Scheduling",
        note: format!("0/1 nodes are available: {}", "x".repeat(2000)),
        reporter: "wam-scheduler".into(),
    };
    for _ in 0..3 {
        events.record(event.clone());
    }
    events.record(PodEvent {
        note: "another".into(),
        ..event
    });
    let api = server.api::<Event>();
    eventually("the last event", || async {
        let list = api.list(&ListParams::default()).await.unwrap();
        list.items
            .into_iter()
            .find(|e| e.note.as_deref() == Some("another"))
    })
    .await;
    // What was only counted is written at the end.
    shutdown.cancel();
    task.await.unwrap();
    let all = api.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(all.len(), 2, "{all:?}");
    let first = all
        .iter()
        .find(|e| e.note.as_deref() != Some("another"))
        .unwrap();
    assert_eq!(first.series.as_ref().unwrap().count, 3);
    assert_eq!(first.note.as_ref().unwrap().len(), 1024);
    assert_eq!(first.reporting_controller.as_deref(), Some("wam-scheduler"));
    assert_eq!(server.metrics.events_dropped.get(), 0);
    server.gone().await;
}

async fn scales_only_what_was_read(ground: Ground) {
    let Some(server) = Server::connect(ground, "scale").await else {
        return;
    };
    server.deployment("web", 1).await;
    let cluster = server.cluster();
    let key = server.key("web");
    // Settled: else the controller's annotations would move the resourceVersion under the first patch.
    let seen = eventually("the deployment", || async {
        let seen = cluster.deployment(&key).await.unwrap().unwrap();
        (seen.is_settled() && seen.unavailable_replicas == 1).then_some(seen)
    })
    .await;
    let first = ScalePatch {
        key: key.clone(),
        uid: seen.uid.clone(),
        generation: seen.generation,
        ledger_before: None,
        has_labels: seen.labels.is_some(),
        resource_version: seen.resource_version.clone(),
        replicas_before: 1,
        replicas_after: 2,
        ledger_after: "a1.0.1".into(),
    };
    let patched = cluster.scale(&first).await.unwrap();
    assert_eq!((patched.replicas, patched.ledger()), (2, Some("a1.0.1")));
    assert_eq!(patched.generation, seen.generation + 1);
    // The same again: the world has moved.
    let again = cluster.scale(&first).await;
    assert!(
        matches!(again, Err(CallError::Precondition(_))),
        "{again:?}"
    );
    let mut second = ScalePatch {
        ledger_before: Some("a1.0.1".into()),
        has_labels: true,
        replicas_before: 2,
        replicas_after: 1,
        ledger_after: "a1.1.1".into(),
        ..first.clone()
    };
    let old_generation = cluster.scale(&second).await;
    assert!(
        matches!(old_generation, Err(CallError::Precondition(_))),
        "{old_generation:?}"
    );
    second.generation = patched.generation;
    second.replicas_after = -1;
    let invalid = cluster.scale(&second).await;
    assert!(matches!(invalid, Err(CallError::Refused(_))), "{invalid:?}");
    second.replicas_after = 1;
    assert_eq!(cluster.scale(&second).await.unwrap().replicas, 1);
    let labels = server
        .api::<Deployment>()
        .get("web")
        .await
        .unwrap()
        .metadata
        .labels;
    assert_eq!(labels.unwrap()[LEDGER_LABEL], "a1.1.1");
    let missing = ScalePatch {
        key: server.key("missing"),
        ..second
    };
    assert!(matches!(
        cluster.scale(&missing).await,
        Err(CallError::Gone(_))
    ));
    server.gone().await;
}

async fn reads_what_belongs_to_a_workload(ground: Ground) {
    let Some(server) = Server::connect(ground, "reads").await else {
        return;
    };
    let created = server.deployment("web", 2).await;
    server.pod("stranger").await;
    let uid = created.metadata.uid.unwrap();
    let cluster = server.cluster();
    let sets = eventually("the replica set", || async {
        let sets = cluster.replica_sets(&server.namespace, &uid).await.unwrap();
        (sets.len() == 1).then_some(sets)
    })
    .await;
    let set = &sets[0];
    let pods = eventually("the pods", || async {
        let uids = [set.uid.clone()];
        let pods = cluster.pods(&server.namespace, &uids).await.unwrap();
        (pods.len() == 2).then_some(pods)
    })
    .await;
    assert!(pods.iter().all(|p| p.key.name.starts_with("web-")));
    assert_eq!(cluster.pods(&server.namespace, &[]).await.unwrap().len(), 0);
    assert_eq!(
        cluster.replica_set(&set.key).await.unwrap().unwrap().uid,
        set.uid
    );
    assert!(
        cluster
            .deployment(&server.key("none"))
            .await
            .unwrap()
            .is_none()
    );
    // A name that would lead elsewhere finds nothing; real servers take it for a subresource, which is not granted.
    let elsewhere = cluster.pod(&server.key("../web")).await;
    assert!(
        matches!(elsewhere, Ok(None) | Err(CallError::Refused(_))),
        "{elsewhere:?}"
    );
    assert!(cluster.node("no-such-node").await.unwrap().is_none());
    let owners = ApiOwners::new(Arc::clone(&server.clients.actions));
    let owner = owners
        .owner_of_replica_set(&set.key, &set.uid)
        .await
        .unwrap();
    assert_eq!(owner.unwrap().unwrap().uid, uid);
    let other = owners
        .owner_of_replica_set(&set.key, "other")
        .await
        .unwrap();
    assert!(other.is_none());
    server.gone().await;
}

async fn fences_and_evicts_under_a_budget(ground: Ground) {
    let Some(server) = Server::connect(ground, "evict").await else {
        return;
    };
    let node = format!("node-{}", server.namespace);
    let pod = server.running_pod("web-1", &node).await;
    let uid = pod.metadata.uid.clone().unwrap();
    let budget = |name: &str, min: i32| {
        json!({
            "metadata": {"name": name},
            "spec": {"minAvailable": min, "selector": {"matchLabels": {"app": "web"}}},
        })
    };
    let _: PodDisruptionBudget = server.create(budget("one", 1)).await;
    let budgets = server.api::<PodDisruptionBudget>();
    eventually("the budget's status", || async {
        let status = budgets.get("one").await.unwrap().status;
        status.filter(|s| s.current_healthy == Some(1))
    })
    .await;
    let cluster = server.cluster();
    let key = server.key("web-1");

    let other = cluster.fence_pod(&key, "another", "f").await;
    assert!(matches!(other, Err(CallError::Gone(_))), "{other:?}");
    let fenced = cluster.fence_pod(&key, &uid, "a1.2.7").await.unwrap();
    // The version from before the fence is that of a paused predecessor.
    let stale = pod.metadata.resource_version.clone().unwrap();
    let refused = cluster
        .evict(&key, &uid, &fenced.resource_version, false)
        .await;
    assert!(matches!(refused, Err(CallError::Budget(_))), "{refused:?}");
    let repeated = server
        .metrics
        .retries
        .get_or_create(&VerbLabel { verb: "evict" })
        .get();
    assert_eq!(repeated, 0, "a budget's refusal was repeated");
    let asked = cluster
        .evict(&key, &uid, &fenced.resource_version, true)
        .await;
    assert!(matches!(asked, Err(CallError::Budget(_))), "{asked:?}");

    let _: PodDisruptionBudget = server.create(budget("two", 0)).await;
    let refused = cluster
        .evict(&key, &uid, &fenced.resource_version, false)
        .await;
    assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
    for name in ["one", "two"] {
        budgets
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }
    // Without a budget the preconditions decide.
    let stale = eventually("the stale eviction's refusal", || async {
        match cluster.evict(&key, &uid, &stale, false).await {
            Err(CallError::Budget(_) | CallError::Refused(_)) => None,
            other => Some(other),
        }
    })
    .await;
    assert!(
        matches!(stale, Err(CallError::Precondition(_))),
        "{stale:?}"
    );
    cluster
        .evict(&key, &uid, &fenced.resource_version, true)
        .await
        .unwrap();
    assert!(cluster.pod(&key).await.unwrap().unwrap().deleted.is_none());
    cluster
        .evict(&key, &uid, &fenced.resource_version, false)
        .await
        .unwrap();
    let again = cluster.evict(&server.key("none"), &uid, "1", false).await;
    assert!(matches!(again, Err(CallError::Gone(_))), "{again:?}");
    server.gone().await;
}

async fn a_pod_without_annotations_is_fenced(ground: Ground) {
    let Some(server) = Server::connect(ground, "fence").await else {
        return;
    };
    let pod = server.pod("bare").await;
    assert_eq!(pod.metadata.annotations, None);
    let cluster = server.cluster();
    let uid = pod.metadata.uid.unwrap();
    cluster
        .fence_pod(&server.key("bare"), &uid, "one")
        .await
        .unwrap();
    cluster
        .fence_pod(&server.key("bare"), &uid, "two")
        .await
        .unwrap();
    let seen = server.api::<Pod>().get("bare").await.unwrap();
    assert_eq!(
        seen.metadata.annotations.unwrap()["aces-eu.github.io/wam-fence"],
        "two"
    );
    let missing = cluster.fence_pod(&server.key("none"), &uid, "one").await;
    assert!(matches!(missing, Err(CallError::Gone(_))), "{missing:?}");
    server.gone().await;
}

async fn one_candidate_leads_and_hands_over(ground: Ground) {
    /// A leader on a slow machine renews it in time.
    const LEASE: Duration = Duration::from_secs(8);
    let Some(server) = Server::connect(ground, "lease").await else {
        return;
    };
    let candidate = |identity: &str| {
        let options = LeaseOptions {
            lease_duration: LEASE,
            renew_deadline: LEASE - Duration::from_secs(2),
            retry_period: Duration::from_millis(200),
            ..LeaseOptions::new(&server.namespace, "wam", identity.to_owned())
        };
        let lease = Arc::clone(&server.clients.lease);
        Arc::new(LeaderElection::new(lease, options).unwrap())
    };
    let (one, two) = (candidate("one"), candidate("two"));
    let run = |election: &Arc<LeaderElection>, seed| {
        let stop = CancellationToken::new();
        let (election, stopped) = (Arc::clone(election), stop.clone());
        (
            stop,
            tokio::spawn(async move { election.run(stopped, seed).await }),
        )
    };
    let (stop_one, task_one) = run(&one, 1);
    eventually("the first leader", || async { one.leads().then_some(()) }).await;
    let (stop_two, task_two) = run(&two, 2);
    // Both tell the truth at every moment of more than a lease's duration.
    let overlaps = AtomicU32::new(0);
    let start = clock::instant();
    while start.elapsed() < LEASE + Duration::from_secs(1) {
        if !one.leads() || two.leads() {
            overlaps.fetch_add(1, Ordering::Relaxed);
        }
        clock::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(overlaps.load(Ordering::Relaxed), 0);

    // Clean: the next one need not wait for the lease to run out.
    stop_one.cancel();
    task_one.await.unwrap();
    assert!(!one.leads());
    let released = clock::instant();
    eventually("the second leader", || async { two.leads().then_some(()) }).await;
    assert!(released.elapsed() < LEASE);

    // Killed: its right ends by the clock although nobody tells it, and before the next one's begins.
    task_two.abort();
    let three = candidate("three");
    let (stop_three, task_three) = run(&three, 3);
    eventually("the third leader", || async {
        assert!(!(two.leads() && three.leads()));
        three.leads().then_some(())
    })
    .await;
    assert!(!two.leads());
    let lease = server
        .api::<Lease>()
        .get("wam")
        .await
        .unwrap()
        .spec
        .unwrap();
    assert_eq!(lease.holder_identity.as_deref(), Some("three"));
    assert_eq!(lease.lease_transitions, Some(2));
    stop_three.cancel();
    stop_two.cancel();
    task_three.await.unwrap();
    let lease = server
        .api::<Lease>()
        .get("wam")
        .await
        .unwrap()
        .spec
        .unwrap();
    assert_eq!(lease.holder_identity.as_deref(), Some(""));
    server.gone().await;
}

async fn watches_tell_what_happens(ground: Ground) {
    let Some(server) = Server::connect(ground, "watch").await else {
        return;
    };
    let before = server.pod("before").await;
    let (events, mut inbox) = mpsc::channel(2);
    let shutdown = CancellationToken::new();
    let watches = Watches::spawn(&server.client, &events, &server.metrics, &shutdown, 1);
    drop(events);
    let mut synced = Vec::new();
    let mut pods = Vec::new();
    let mut made_after = None;
    let uid_of = |pod: &Pod| pod.metadata.uid.clone().unwrap();
    let ends = clock::timeout(PATIENCE, async {
        while let Some(event) = inbox.recv().await {
            match event {
                ClusterEvent::Synced(kind) => {
                    synced.push(kind);
                    if synced.len() == Kind::ALL.len() {
                        let after = server.pod("after").await;
                        made_after = Some(uid_of(&after));
                        let now = DeleteParams::default().grace_period(0);
                        server.api::<Pod>().delete("after", &now).await.unwrap();
                    }
                }
                ClusterEvent::Pod(pod)
                    if pod.metadata.namespace.as_deref() == Some(&server.namespace) =>
                {
                    pods.push(uid_of(&pod));
                }
                ClusterEvent::PodGone(key, uid) if key == server.key("after") => {
                    assert_eq!(Some(uid), made_after);
                    return;
                }
                _ => {}
            }
        }
    })
    .await;
    ends.unwrap();
    synced.sort_unstable();
    assert_eq!(synced, Kind::ALL);
    assert!(pods.contains(&uid_of(&before)) && pods.contains(&made_after.unwrap()));
    assert!(watches.health().iter().all(wam::kube::WatchHealth::is_well));
    shutdown.cancel();
    watches.stopped().await;
    server.gone().await;
}

async fn a_cordoned_node_says_so(ground: Ground) {
    let Some(server) = Server::connect(ground, "node").await else {
        return;
    };
    let nodes: Api<Node> = Api::all(server.client.clone());
    let name = format!("n-{}", server.namespace);
    let node = serde_json::from_value(json!({
        "metadata": {"name": name}, "spec": {"unschedulable": true}}))
    .unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let state = server.cluster().node(&name).await.unwrap().unwrap();
    assert!(state.unschedulable);
    nodes.delete(&name, &DeleteParams::default()).await.unwrap();
    server.gone().await;
}

/// Each test on each ground.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod on_the_sandbox {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(crate::ground::Ground::Sandbox).await;
            })+
        }
        mod on_a_real_control_plane {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(crate::ground::Ground::Real).await;
            })+
        }
    };
}

on_both!(
    a_pod_is_bound_once,
    nobody_binds_who_does_not_lead,
    the_condition_is_written_when_it_is_news,
    equal_events_become_a_series,
    scales_only_what_was_read,
    reads_what_belongs_to_a_workload,
    fences_and_evicts_under_a_budget,
    a_pod_without_annotations_is_fenced,
    one_candidate_leads_and_hands_over,
    watches_tell_what_happens,
    a_cordoned_node_says_so,
);
