//! DaemonSets.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::ground::{CASE, Place, template};

pub async fn follow_the_nodes(place: &Place) {
    place.more_nodes("a", 2).await;
    let over = json!({"spec": {"nodeSelector": {CASE: place.namespace}}});
    place
        .create::<DaemonSet>(json!({"metadata": {"name": "d"}, "spec": {
            "selector": {"matchLabels": {"app": "d"}}, "template": template("d", "i:1", over)}}))
        .await;
    let runs_on = async |number: i32| {
        let set: DaemonSet = place.get("d").await;
        let status = set.status.unwrap_or_default();
        status.observed_generation == set.metadata.generation
            && status.desired_number_scheduled == number
            && status.current_number_scheduled == number
            && status.updated_number_scheduled == Some(number)
            && status.number_available == Some(number)
            && status.number_misscheduled == 0
            && place.all::<Pod>().await.len() == usize::try_from(number).unwrap()
    };
    place.until("two run", async || runs_on(2).await).await;
    place
        .hears("DaemonSet", "SuccessfulCreate", "Created pod: d-")
        .await;
    let pods: Vec<Pod> = place.all().await;
    let spec = pods[0].spec.as_ref().unwrap();
    let tolerations = spec.tolerations.as_ref().unwrap();
    assert_eq!(tolerations.len(), 6);
    assert!(
        pods[0]
            .metadata
            .labels
            .as_ref()
            .unwrap()
            .contains_key("pod-template-generation")
    );

    place.more_nodes("b", 1).await;
    place.until("three run", async || runs_on(3).await).await;
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}});
    place.merge::<DaemonSet>("d", image).await;
    place
        .until("all are updated", async || runs_on(3).await)
        .await;
    let revisions: Vec<ControllerRevision> = place.all().await;
    let mut numbers = Vec::from_iter(revisions.iter().filter_map(|known| known.revision));
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);

    // A cordoned node keeps its pod, one with a taint for others does not.
    let nodes: Api<Node> = Api::all(place.client.clone());
    let patch = async |node: &str, patch: Value| {
        let name = format!("{}-{node}", place.namespace);
        let patch = Patch::Strategic(&patch);
        nodes
            .patch(&name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    };
    patch("a0", json!({"spec": {"unschedulable": true}})).await;
    let taint = json!([{"key": "for", "value": "others", "effect": "NoExecute"}]);
    patch("b0", json!({"spec": {"taints": taint}})).await;
    place.until("two are left", async || runs_on(2).await).await;

    let sets: Api<DaemonSet> = place.api();
    sets.delete("d", &DeleteParams::background()).await.unwrap();
    place
        .until("nothing is left", async || {
            place.all::<Pod>().await.is_empty()
                && place.all::<ControllerRevision>().await.is_empty()
        })
        .await;
}
