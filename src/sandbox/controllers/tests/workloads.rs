//! StatefulSets, DaemonSets and Services.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{Endpoints, PersistentVolumeClaim, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::*;

impl Cluster {
    pub(super) async fn create<K>(&self, object: Value) -> K
    where
        K: ::kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + serde::Serialize
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    async fn merge<K>(&self, name: &str, patch: Value)
    where
        K: ::kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// The names of the pods that are there, sorted, with their images.
    async fn images(&self) -> Vec<(String, String)> {
        let pods = self.pods().await;
        let mut told = Vec::from_iter(pods.into_iter().map(|pod| {
            let image = pod.spec.unwrap().containers.remove(0).image.unwrap();
            (pod.metadata.name.unwrap(), image)
        }));
        told.sort();
        told
    }

    async fn set_is_complete(&self, name: &str) {
        self.until("the StatefulSet is complete", || async {
            let set = self.api::<StatefulSet>().get(name).await.unwrap();
            let Some(status) = set.status else {
                return false;
            };
            let all = set.spec.replicas;
            status.observed_generation == set.metadata.generation
                && Some(status.replicas) == all
                && status.ready_replicas.unwrap_or(0) == all.unwrap()
                && status.updated_replicas.unwrap_or(0) == all.unwrap()
                && status.current_revision == status.update_revision
        })
        .await;
    }
}

fn template(name: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": name}},
           "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn stateful(name: &str, replicas: i32, extra: Value) -> Value {
    let mut set = json!({
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "serviceName": name,
                 "selector": {"matchLabels": {"app": name}}, "template": template(name, "i:1")},
    });
    json_patch::merge(&mut set, &extra);
    set
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_comes_changes_and_goes_in_order() {
    let cluster = Cluster::start().await;
    let order: Arc<Mutex<Vec<String>>> = Arc::default();
    let watched: Arc<Informer<Pod>> = Informer::new(|_| Vec::new());
    let log = Arc::clone(&order);
    watched.on_change(move |change| {
        let pod = change.object();
        let name = pod.metadata.name.clone().unwrap();
        let told = match change {
            Change::Added(_) => format!("+{name}"),
            Change::Deleted(_) => format!("-{name}"),
            Change::Updated(old, new) if !is_ready(old) && is_ready(new) => format!("={name}"),
            Change::Updated(..) => return,
        };
        log.lock().unwrap().push(told);
    });
    let source = Whole::new(Api::all(cluster.client.clone()));
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(async move { watched.run(source, stop).await });
    cluster
        .create::<StatefulSet>(stateful("web", 3, json!({})))
        .await;
    cluster.set_is_complete("web").await;
    let up = ["+web-0", "=web-0", "+web-1", "=web-1", "+web-2", "=web-2"];
    assert_eq!(std::mem::take(&mut *order.lock().unwrap()), up);
    let pods: Api<Pod> = cluster.api();
    let pod = pods.get("web-1").await.unwrap();
    let labels = pod.metadata.labels.unwrap();
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "1");
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-1");
    let first = labels["controller-revision-hash"].clone();
    assert_eq!(pod.spec.unwrap().subdomain.as_deref(), Some("web"));

    let image = json!({"spec": {"template": template("web", "i:2")}});
    cluster.merge::<StatefulSet>("web", image).await;
    cluster.set_is_complete("web").await;
    let rolled = [
        "-web-2", "+web-2", "=web-2", "-web-1", "+web-1", "=web-1", "-web-0", "+web-0", "=web-0",
    ];
    assert_eq!(std::mem::take(&mut *order.lock().unwrap()), rolled);
    let revisions: Vec<ControllerRevision> = cluster.all().await;
    assert_eq!(revisions.len(), 2);

    // Back to the first template: its revision is used again, as the newest.
    let image = json!({"spec": {"template": template("web", "i:1")}});
    cluster.merge::<StatefulSet>("web", image).await;
    cluster.set_is_complete("web").await;
    let set = cluster.api::<StatefulSet>().get("web").await.unwrap();
    assert_eq!(set.status.unwrap().current_revision, Some(first.clone()));
    let revisions: Vec<ControllerRevision> = cluster.all().await;
    let newest = revisions.iter().max_by_key(|revision| revision.revision);
    assert_eq!(newest.unwrap().metadata.name, Some(first));
    assert_eq!(revisions.len(), 2);

    order.lock().unwrap().clear();
    cluster
        .merge::<StatefulSet>("web", json!({"spec": {"replicas": 1}}))
        .await;
    cluster.set_is_complete("web").await;
    assert_eq!(*order.lock().unwrap(), ["-web-2", "-web-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_keeps_the_pods_below_it_at_the_old_revision() {
    let cluster = Cluster::start().await;
    let strategy = json!({"spec": {"podManagementPolicy": "Parallel", "updateStrategy": {
        "type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}});
    cluster
        .create::<StatefulSet>(stateful("web", 3, strategy))
        .await;
    cluster.set_is_complete("web").await;
    let image = json!({"spec": {"template": template("web", "i:2")}});
    cluster.merge::<StatefulSet>("web", image).await;
    cluster
        .until("two are updated", || async {
            let set = cluster.api::<StatefulSet>().get("web").await.unwrap();
            let status = set.status.unwrap();
            status.updated_replicas == Some(2) && status.ready_replicas == Some(3)
        })
        .await;
    let image_of = |name: &str, image: &str| (name.to_owned(), image.to_owned());
    let mixed = [
        image_of("web-0", "i:1"),
        image_of("web-1", "i:2"),
        image_of("web-2", "i:2"),
    ];
    assert_eq!(cluster.images().await, mixed);
    // One below the partition that is replaced comes back as it was.
    cluster
        .api::<Pod>()
        .delete("web-0", &DeleteParams::default())
        .await
        .unwrap();
    let before = cluster.pods_ever.lock().unwrap().len();
    cluster
        .until("it is replaced", || async {
            cluster.pods_ever.lock().unwrap().len() > before
                && cluster.pods().await.iter().all(is_ready)
        })
        .await;
    assert_eq!(cluster.images().await, mixed);
}

#[tokio::test(start_paused = true)]
async fn claims_stay_or_go_as_the_retention_policy_says() {
    let cluster = Cluster::start().await;
    let claims = json!({"spec": {
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Retain"},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}}]}});
    cluster
        .create::<StatefulSet>(stateful("web", 2, claims))
        .await;
    cluster.set_is_complete("web").await;
    let names = async || {
        let claims: Vec<PersistentVolumeClaim> = cluster.all().await;
        Vec::from_iter(claims.into_iter().filter_map(|claim| claim.metadata.name))
    };
    assert_eq!(names().await, ["data-web-0", "data-web-1"]);
    cluster
        .merge::<StatefulSet>("web", json!({"spec": {"replicas": 1}}))
        .await;
    cluster
        .until("the claim of the pod that went is gone", || async {
            names().await == ["data-web-0"]
        })
        .await;
    let sets: Api<StatefulSet> = cluster.api();
    sets.delete("web", &DeleteParams::background())
        .await
        .unwrap();
    cluster
        .until("the pods are gone", || async {
            cluster.pods().await.is_empty()
        })
        .await;
    assert_eq!(names().await, ["data-web-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_set_runs_on_every_node_that_suits() {
    let cluster = Cluster::start().await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let label = json!({"metadata": {"labels": {"skip": "me"}}});
    nodes
        .patch("n2", &PatchParams::default(), &Patch::Merge(&label))
        .await
        .unwrap();
    let mut template = template("d", "i:1");
    template["spec"]["affinity"] = json!({"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]}]}}});
    cluster
        .create::<DaemonSet>(json!({"metadata": {"name": "d"}, "spec": {
            "selector": {"matchLabels": {"app": "d"}}, "template": template}}))
        .await;
    let complete = async |number: i32| {
        let set = cluster.api::<DaemonSet>().get("d").await.unwrap();
        let status = set.status.unwrap_or_default();
        status.observed_generation == set.metadata.generation
            && status.desired_number_scheduled == number
            && status.updated_number_scheduled == Some(number)
            && status.number_available == Some(number)
            && status.number_misscheduled == 0
    };
    cluster.until("two run", || complete(2)).await;
    let unlabel = json!({"metadata": {"labels": {"skip": null}}});
    nodes
        .patch("n2", &PatchParams::default(), &Patch::Merge(&unlabel))
        .await
        .unwrap();
    cluster.until("three run", || complete(3)).await;
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}});
    cluster.merge::<DaemonSet>("d", image).await;
    cluster.until("all are updated", || complete(3)).await;
    assert!(
        cluster
            .images()
            .await
            .iter()
            .all(|(_, image)| image == "i:2")
    );
    nodes
        .patch("n2", &PatchParams::default(), &Patch::Merge(&label))
        .await
        .unwrap();
    cluster
        .until("the pod on the unsuitable node is gone", || async {
            complete(2).await && cluster.pods().await.len() == 2
        })
        .await;
    assert_eq!(cluster.pods_ever.lock().unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn endpoints_follow_the_readiness_of_the_pods() {
    let cluster = Cluster::start().await;
    cluster
        .create::<Service>(json!({"metadata": {"name": "s"}, "spec": {
            "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}))
        .await;
    cluster
        .until("an empty slice is there", || async {
            cluster.all::<EndpointSlice>().await.len() == 1
        })
        .await;
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                     "readinessGates": [{"conditionType": "example.com/gate"}],
                     "containers": [{"name": "c", "image": "i", "ports": [
                         {"name": "http", "containerPort": 8080}]}]}}},
    }))
    .unwrap();
    cluster
        .api::<Deployment>()
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    // How many are ready, how many are not, in the Endpoints and in the slice.
    let told = async || {
        let endpoints = cluster.api::<Endpoints>().get("s").await.unwrap();
        let mut counts = [0; 4];
        for subset in endpoints.subsets.unwrap_or_default() {
            counts[0] += subset.addresses.map_or(0, |all| all.len());
            counts[1] += subset.not_ready_addresses.map_or(0, |all| all.len());
            assert_eq!(subset.ports.unwrap()[0].port, 8080);
        }
        let slices: Vec<EndpointSlice> = cluster.all().await;
        assert_eq!(slices.len(), 1);
        for endpoint in slices[0].endpoints.iter().flatten() {
            let ready = endpoint.conditions.as_ref().unwrap().ready == Some(true);
            counts[if ready { 2 } else { 3 }] += 1;
        }
        counts
    };
    cluster
        .until("two are not ready", || async {
            told().await == [0, 2, 0, 2]
        })
        .await;
    let pods = cluster.pods().await;
    let open = json!({"status": {"conditions": [
        {"type": "example.com/gate", "status": "True"}]}});
    cluster
        .api::<Pod>()
        .patch_status(
            pods[0].metadata.name.as_deref().unwrap(),
            &PatchParams::default(),
            &Patch::Strategic(&open),
        )
        .await
        .unwrap();
    cluster
        .until("one is ready", || async { told().await == [1, 1, 1, 1] })
        .await;
    let services: Api<Service> = cluster.api();
    services
        .delete("s", &DeleteParams::default())
        .await
        .unwrap();
    cluster
        .until("nothing is left of it", || async {
            cluster.all::<EndpointSlice>().await.is_empty()
                && cluster.all::<Endpoints>().await.is_empty()
        })
        .await;
}
