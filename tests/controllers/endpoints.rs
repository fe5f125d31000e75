//! Endpoints and EndpointSlices, and what kubelets tell of pods.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::ground::{Place, template};

pub async fn follow_readiness(place: &Place) {
    place
        .create::<Service>(
            json!({"metadata": {"name": "s", "labels": {"l": "v"}}, "spec": {
            "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}),
        )
        .await;
    place
        .until("an empty slice is there", async || {
            place.all::<EndpointSlice>().await.len() == 1
        })
        .await;
    let over = json!({"spec": {
        "readinessGates": [{"conditionType": "example.com/gate"}],
        "containers": [{"name": "c", "image": "i", "ports": [
            {"name": "http", "containerPort": 8080}]}]}});
    place
        .create::<Deployment>(json!({"metadata": {"name": "web"}, "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": template("web", "i", over)}}))
        .await;
    // How many are ready, how many are not, in the Endpoints and in the slice.
    let told = async || {
        let Some(endpoints) = place.api::<Endpoints>().get_opt("s").await.unwrap() else {
            return [0; 4];
        };
        let mut counts = [0; 4];
        for subset in endpoints.subsets.unwrap_or_default() {
            counts[0] += subset.addresses.map_or(0, |all| all.len());
            counts[1] += subset.not_ready_addresses.map_or(0, |all| all.len());
            assert_eq!(subset.ports.unwrap()[0].port, 8080);
        }
        let slices: Vec<EndpointSlice> = place.all().await;
        for endpoint in slices
            .iter()
            .flat_map(|slice| slice.endpoints.iter().flatten())
        {
            let ready = endpoint.conditions.as_ref().unwrap().ready == Some(true);
            counts[if ready { 2 } else { 3 }] += 1;
        }
        counts
    };
    place
        .until("two are not ready", async || told().await == [0, 2, 0, 2])
        .await;
    let pods: Vec<Pod> = place.all().await;
    let name = pods[0].metadata.name.as_deref().unwrap();
    let open = json!({"status": {"conditions": [
        {"type": "example.com/gate", "status": "True"}]}});
    place
        .api::<Pod>()
        .patch_status(name, &PatchParams::default(), &Patch::Strategic(&open))
        .await
        .unwrap();
    place
        .until("one is ready", async || told().await == [1, 1, 1, 1])
        .await;
    let slices: Vec<EndpointSlice> = place.all().await;
    assert_eq!(slices.len(), 1);
    let labels = slices[0].metadata.labels.as_ref().unwrap();
    assert_eq!(labels["kubernetes.io/service-name"], "s");
    assert_eq!(
        labels["endpointslice.kubernetes.io/managed-by"],
        "endpointslice-controller.k8s.io"
    );
    assert_eq!(labels["l"], "v");
    place.hears("Pod", "Started", "Container started").await;
    let one = json!({"spec": {"replicas": 0}});
    place.merge::<Deployment>("web", one).await;
    place
        .until("no address is left", async || told().await == [0; 4])
        .await;
    place.hears("Pod", "Killing", "Stopping container c").await;
    let services: Api<Service> = place.api();
    services
        .delete("s", &DeleteParams::default())
        .await
        .unwrap();
    place
        .until("nothing is left of it", async || {
            place.all::<EndpointSlice>().await.is_empty()
                && place.all::<Endpoints>().await.is_empty()
        })
        .await;
}
