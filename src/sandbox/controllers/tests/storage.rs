//! Claims and volumes.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

use super::*;
use crate::sandbox::controllers::volumes::PROVISIONER;

fn claim(name: &str, class: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": class,
        "resources": {"requests": {"storage": "1Gi"}}}})
}

impl Cluster {
    async fn create_everywhere<K>(&self, object: Value)
    where
        K: ::kube::Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + DeserializeOwned
            + serde::Serialize
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let object: K = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    async fn phase_of(&self, name: &str) -> (String, String) {
        let claim = self.api::<PersistentVolumeClaim>().get(name).await.unwrap();
        let phase = claim.status.and_then(|status| status.phase);
        let volume = claim.spec.and_then(|spec| spec.volume_name);
        (phase.unwrap_or_default(), volume.unwrap_or_default())
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_bound_and_its_volume_goes_with_it() {
    let cluster = Cluster::start().await;
    cluster
        .create_everywhere::<StorageClass>(json!({
            "metadata": {"name": "here"}, "provisioner": PROVISIONER}))
        .await;
    cluster
        .create_everywhere::<PersistentVolume>(json!({
            "metadata": {"name": "static"},
            "spec": {"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"],
                     "storageClassName": "by-hand", "hostPath": {"path": "/x"},
                     "persistentVolumeReclaimPolicy": "Retain"}}))
        .await;
    cluster
        .create::<PersistentVolumeClaim>(claim("made", "here"))
        .await;
    cluster
        .create::<PersistentVolumeClaim>(claim("found", "by-hand"))
        .await;
    for name in ["made", "found"] {
        cluster
            .until("the claim is bound", || async {
                cluster.phase_of(name).await.0 == "Bound"
            })
            .await;
    }
    assert_eq!(cluster.phase_of("found").await.1, "static");
    assert!(cluster.phase_of("made").await.1.starts_with("pvc-"));
    // In use, a claim stays until its pod is gone.
    cluster
        .create::<Pod>(json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "made"}}]}}))
        .await;
    cluster
        .until("the pod runs", || async {
            is_ready(&cluster.api::<Pod>().get("p").await.unwrap())
        })
        .await;
    let claims: Api<PersistentVolumeClaim> = cluster.api();
    for name in ["made", "found"] {
        claims.delete(name, &DeleteParams::default()).await.unwrap();
    }
    cluster
        .until("the free claim is gone", || async {
            claims.get_opt("found").await.unwrap().is_none()
        })
        .await;
    assert!(claims.get_opt("made").await.unwrap().is_some());
    cluster
        .api::<Pod>()
        .delete("p", &DeleteParams::default())
        .await
        .unwrap();
    cluster
        .until("only the volume that is to be kept is left", || async {
            let volumes: Vec<PersistentVolume> = cluster.all().await;
            let phase = |volume: &PersistentVolume| volume.status.clone().unwrap().phase.unwrap();
            volumes.len() == 1 && phase(&volumes[0]) == "Released"
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_may_wait_for_its_first_consumer() {
    let cluster = Cluster::start().await;
    cluster
        .create_everywhere::<StorageClass>(json!({
            "metadata": {"name": "late"}, "provisioner": PROVISIONER,
            "volumeBindingMode": "WaitForFirstConsumer"}))
        .await;
    cluster
        .create::<PersistentVolumeClaim>(claim("c", "late"))
        .await;
    cluster
        .until("it is told to wait", || async {
            let events: Vec<k8s_openapi::api::core::v1::Event> = cluster.all().await;
            events
                .iter()
                .any(|event| event.reason.as_deref() == Some("WaitForFirstConsumer"))
        })
        .await;
    let node = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}});
    let claims: Api<PersistentVolumeClaim> = cluster.api();
    claims
        .patch("c", &PatchParams::default(), &Patch::Merge(&node))
        .await
        .unwrap();
    cluster
        .until("it is bound", || async {
            cluster.phase_of("c").await.0 == "Bound"
        })
        .await;
    let volumes: Vec<PersistentVolume> = cluster.all().await;
    assert!(volumes[0].spec.as_ref().unwrap().node_affinity.is_some());
}
