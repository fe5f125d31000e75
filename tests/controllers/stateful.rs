//! StatefulSets.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::ground::{Place, is_ready, template};

fn set(replicas: i32, over: Value) -> Value {
    let mut set = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "serviceName": "web",
                 "selector": {"matchLabels": {"app": "web"}},
                 "template": template("web", "i:1", json!({}))},
    });
    json_patch::merge(&mut set["spec"], &over);
    set
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})
}

async fn is_complete(place: &Place) -> bool {
    let set: StatefulSet = place.get("web").await;
    let (status, wanted) = (set.status.unwrap_or_default(), set.spec.replicas.unwrap());
    status.observed_generation == set.metadata.generation
        && status.replicas == wanted
        && status.ready_replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.current_revision == status.update_revision
}

pub async fn comes_rolls_and_goes_in_order(place: &Place) {
    let diary = place.diary().await;
    place.create::<StatefulSet>(set(3, json!({}))).await;
    place
        .until("it is complete", async || is_complete(place).await)
        .await;
    let up = ["+web-0", "=web-0", "+web-1", "=web-1", "+web-2", "=web-2"];
    diary.tells(place, &up).await;
    let message = "Create Pod web-2 in StatefulSet web successful";
    place
        .hears("StatefulSet", "SuccessfulCreate", message)
        .await;
    let pod: Pod = place.get("web-1").await;
    let labels = pod.metadata.labels.unwrap();
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "1");
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-1");
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("web-"));
    assert_eq!(pod.spec.unwrap().hostname.as_deref(), Some("web-1"));
    let first = labels["controller-revision-hash"].clone();

    place.merge::<StatefulSet>("web", image("i:2")).await;
    place
        .until("the update is complete", async || is_complete(place).await)
        .await;
    let rolled = [
        "-web-2", "+web-2", "=web-2", "-web-1", "+web-1", "=web-1", "-web-0", "+web-0", "=web-0",
    ];
    diary.tells(place, &rolled).await;

    place.merge::<StatefulSet>("web", image("i:1")).await;
    place
        .until("it is as it was", async || is_complete(place).await)
        .await;
    let set: StatefulSet = place.get("web").await;
    assert_eq!(set.status.unwrap().current_revision.as_ref(), Some(&first));
    let revisions: Vec<ControllerRevision> = place.all().await;
    assert_eq!(revisions.len(), 2);
    let newest = revisions
        .iter()
        .max_by_key(|revision| revision.revision)
        .unwrap();
    assert_eq!(
        (newest.metadata.name.as_ref(), newest.revision),
        (Some(&first), Some(3))
    );

    diary.tells(place, &rolled).await;
    let one = json!({"spec": {"replicas": 1}});
    place.merge::<StatefulSet>("web", one).await;
    place
        .until("one is left", async || is_complete(place).await)
        .await;
    diary.tells(place, &["-web-2", "-web-1"]).await;
}

pub async fn keeps_to_its_partition(place: &Place) {
    let strategy = json!({"podManagementPolicy": "Parallel", "updateStrategy": {
        "type": "RollingUpdate", "rollingUpdate": {"partition": 1}}});
    place.create::<StatefulSet>(set(3, strategy)).await;
    place
        .until("it is complete", async || is_complete(place).await)
        .await;
    let before: Pod = place.get("web-0").await;
    place.merge::<StatefulSet>("web", image("i:2")).await;
    let images = async || {
        let mut pods: Vec<Pod> = place.all().await;
        pods.sort_by_key(|pod| pod.metadata.name.clone());
        let told = pods.into_iter().map(|pod| {
            let image = pod.spec.as_ref().unwrap().containers[0].image.clone();
            format!(
                "{}{}",
                image.unwrap(),
                if is_ready(&pod) { "" } else { "?" }
            )
        });
        Vec::from_iter(told)
    };
    place
        .until("two are updated", async || {
            images().await == ["i:1", "i:2", "i:2"]
        })
        .await;
    let set: StatefulSet = place.get("web").await;
    let status = set.status.unwrap();
    assert_ne!(status.current_revision, status.update_revision);
    // One below the partition that is replaced comes back as it was.
    place
        .api::<Pod>()
        .delete("web-0", &DeleteParams::default())
        .await
        .unwrap();
    place
        .until("it is back", async || {
            let pod = place.api::<Pod>().get_opt("web-0").await.unwrap();
            pod.is_some_and(|pod| pod.metadata.uid != before.metadata.uid && is_ready(&pod))
        })
        .await;
    assert_eq!(images().await, ["i:1", "i:2", "i:2"]);
}

pub async fn claims_follow_the_retention_policy(place: &Place) {
    let claims = json!({
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Retain"},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "none",
            "resources": {"requests": {"storage": "1Gi"}}}}]});
    place.create::<StatefulSet>(set(2, claims)).await;
    place
        .until("it is complete", async || is_complete(place).await)
        .await;
    let names = async || {
        let claims: Vec<PersistentVolumeClaim> = place.all().await;
        Vec::from_iter(claims.into_iter().filter_map(|claim| claim.metadata.name))
    };
    assert_eq!(names().await, ["data-web-0", "data-web-1"]);
    let message = "Create Claim data-web-0 Pod web-0 in StatefulSet web success";
    place
        .hears("StatefulSet", "SuccessfulCreate", message)
        .await;
    let one = json!({"spec": {"replicas": 1}});
    place.merge::<StatefulSet>("web", one).await;
    place
        .until("the claim of the pod that went is gone", async || {
            names().await == ["data-web-0"]
        })
        .await;
}
