//! Binding claims to volumes (pkg/controller/volume/persistentvolume), and the provisioner of the
//! sandbox's own storage class: volumes that exist in name only.

pub mod matching;
pub mod protection;

use std::collections::BTreeMap;
use std::sync::Arc;

use ::kube::Api;
use ::kube::api::DeleteParams;
use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus,
    PersistentVolumeStatus,
};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::matching::{best, class_of, mismatch, refers};
use super::events::Recorder;
use super::informer::Key;
use super::objects::{
    annotation, has_code, is_finished, is_terminating, name, namespace, now, uid,
};
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, post};

/// The provisioner whose volumes the sandbox makes itself.
pub const PROVISIONER: &str = "aces-eu.github.io/wam-sandbox";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const STORAGE_PROVISIONER: [&str; 2] = [
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
];

/// See the module. Keys without a namespace are volumes.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    queue: Arc<Queue<Key>>,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>, recorder: Recorder) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            recorder,
            queue: Queue::new(),
        });
        let hears = Arc::clone(&controller);
        shared.claims.on_change(move |change| {
            let claim = change.object();
            hears.queue.add(Key::of(claim.as_ref()));
            if let Some(volume) = claim
                .spec
                .as_ref()
                .and_then(|spec| spec.volume_name.clone())
            {
                hears.queue.add(Key::new("", volume));
            }
        });
        let hears = Arc::clone(&controller);
        shared.volumes.on_change(move |change| {
            let volume = change.object();
            hears.queue.add(Key::of(volume.as_ref()));
            let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone());
            match reference {
                Some(claim) => hears.queue.add(Key::new(
                    claim.namespace.unwrap_or_default(),
                    claim.name.unwrap_or_default(),
                )),
                None => hears.wake_unbound(),
            }
        });
        let hears = Arc::clone(&controller);
        shared.classes.on_change(move |_| hears.wake_unbound());
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        // One after the other: two claims must not find the same volume.
        work("persistentvolume", queue, 1, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move {
                match controller.shared.claims.get(&key) {
                    Some(claim) => controller.sync_claim(&claim).await,
                    None if key.namespace.is_empty() => controller.sync_volume(&key).await,
                    None => Ok(()),
                }
            }
        })
        .await;
    }

    fn wake_unbound(&self) {
        for claim in self.shared.claims.all() {
            if annotation(&claim.metadata, BIND_COMPLETED).is_none() {
                self.queue.add(Key::of(claim.as_ref()));
            }
        }
    }

    async fn sync_volume(&self, key: &Key) -> Result<(), Error> {
        let Some(volume) = self.shared.volumes.get(key) else {
            return Ok(());
        };
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone());
        let Some(reference) = reference else {
            return self.volume_phase(&volume, "Available").await;
        };
        if reference.uid.as_deref().unwrap_or_default().is_empty() {
            return self.volume_phase(&volume, "Available").await;
        }
        let claim_key = Key::new(
            reference.namespace.clone().unwrap_or_default(),
            reference.name.clone().unwrap_or_default(),
        );
        let claim = self.shared.claims.get(&claim_key);
        if let Some(claim) = claim.filter(|claim| refers(&reference, claim)) {
            let bound = claim
                .spec
                .as_ref()
                .and_then(|spec| spec.volume_name.as_ref());
            return match bound {
                Some(bound) if bound == &key.name => self.volume_phase(&volume, "Bound").await,
                _ => Ok(()),
            };
        }
        // The cache of claims may be behind that of volumes.
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.shared.client.clone(), &claim_key.namespace);
        let claim = api.get_opt(&claim_key.name).await?;
        if claim.is_some_and(|claim| refers(&reference, &claim)) {
            return Ok(());
        }
        self.volume_phase(&volume, "Released").await?;
        let spec = volume.spec.as_ref();
        let policy = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
        let is_ours = annotation(&volume.metadata, PROVISIONED_BY) == Some(PROVISIONER);
        if policy == Some("Delete") && is_ours && !is_terminating(&volume.metadata) {
            let api: Api<PersistentVolume> = Api::all(self.shared.client.clone());
            match api.delete(&key.name, &DeleteParams::default()).await {
                Err(error) if !has_code(&error, 404) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn volume_phase(&self, volume: &PersistentVolume, phase: &str) -> Result<(), Error> {
        let known = volume
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        if known == Some(phase) {
            return Ok(());
        }
        let mut changed = volume.clone();
        changed.status = Some(PersistentVolumeStatus {
            phase: Some(phase.to_owned()),
            last_phase_transition_time: Some(now()),
            ..PersistentVolumeStatus::default()
        });
        let api: Api<PersistentVolume> = Api::all(self.shared.client.clone());
        api.replace_status(name(&volume.metadata), &post(), &changed)
            .await?;
        Ok(())
    }

    async fn sync_claim(&self, claim: &PersistentVolumeClaim) -> Result<(), Error> {
        let wanted = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.volume_name.as_deref())
            .filter(|wanted| !wanted.is_empty());
        if annotation(&claim.metadata, BIND_COMPLETED).is_some() {
            let volume = wanted.and_then(|wanted| self.shared.volumes.get(&Key::new("", wanted)));
            return match volume {
                Some(volume) => self.bind(claim, &volume).await,
                None => self.lose(claim).await,
            };
        }
        if is_terminating(&claim.metadata) {
            return Ok(());
        }
        let Some(wanted) = wanted else {
            return self.find_volume(claim).await;
        };
        let Some(volume) = self.shared.volumes.get(&Key::new("", wanted)) else {
            return Ok(());
        };
        let reference = volume
            .spec
            .as_ref()
            .and_then(|spec| spec.claim_ref.as_ref());
        if reference.is_some_and(|reference| !refers(reference, claim)) {
            let message = format!("volume \"{wanted}\" already bound to a different claim.");
            self.recorder.warning(claim, "FailedBinding", message);
            return Ok(());
        }
        if let Some(problem) = mismatch(&volume, claim).filter(|_| reference.is_none()) {
            let message = format!("Cannot bind to requested volume \"{wanted}\": {problem}");
            self.recorder.warning(claim, "VolumeMismatch", message);
            return Ok(());
        }
        self.bind(claim, &volume).await
    }

    async fn find_volume(&self, claim: &PersistentVolumeClaim) -> Result<(), Error> {
        let class = self.shared.classes.get(&Key::new("", class_of(claim)));
        let mode = class
            .as_ref()
            .and_then(|class| class.volume_binding_mode.as_deref());
        let delayed = mode == Some("WaitForFirstConsumer");
        let selected = annotation(&claim.metadata, SELECTED_NODE);
        if let Some(volume) = best(claim, &self.shared.volumes.all(), delayed) {
            return self.bind(claim, &volume).await;
        }
        if delayed && selected.is_none() {
            self.tell_waiting(claim);
            return Ok(());
        }
        match (class_of(claim), class) {
            ("", _) => {
                let message =
                    "no persistent volumes available for this claim and no storage class is set";
                self.recorder.normal(claim, "FailedBinding", message);
                Ok(())
            }
            (missing, None) => {
                let message = format!("storageclass.storage.k8s.io \"{missing}\" not found");
                self.recorder.warning(claim, "ProvisioningFailed", message);
                Ok(())
            }
            (_, Some(class)) => self.provision(claim, &class).await,
        }
    }

    /// Nobody uses the claim yet, or who does has no node.
    fn tell_waiting(&self, claim: &PersistentVolumeClaim) {
        let key = Key::of(claim);
        let users = self
            .shared
            .pods
            .indexed(&format!("claim/{}/{}", key.namespace, key.name));
        let waiting = users.iter().find(|pod| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            node.is_none() && !is_finished(pod)
        });
        match waiting {
            Some(pod) => {
                let pod = name(&pod.metadata);
                let message = format!("waiting for pod {pod} to be scheduled");
                self.recorder.normal(claim, "WaitForPodScheduled", message);
            }
            None => {
                let message = "waiting for first consumer to be created before binding";
                self.recorder.normal(claim, "WaitForFirstConsumer", message);
            }
        }
    }

    async fn provision(
        &self,
        claim: &PersistentVolumeClaim,
        class: &StorageClass,
    ) -> Result<(), Error> {
        if class.provisioner == "kubernetes.io/no-provisioner" {
            return Ok(());
        }
        let mut changed = claim.clone();
        let annotations = changed.metadata.annotations.get_or_insert_default();
        let mut is_told = true;
        for key in STORAGE_PROVISIONER {
            let old = annotations.insert(key.to_owned(), class.provisioner.clone());
            is_told &= old.as_deref() == Some(class.provisioner.as_str());
        }
        if !is_told {
            self.replace(&changed).await?;
            let provisioner = &class.provisioner;
            let message = format!(
                "Waiting for a volume to be created either by the external provisioner \
                 '{provisioner}' or manually by the system administrator. If volume creation is \
                 delayed, please verify that the provisioner is running and correctly registered."
            );
            self.recorder.normal(claim, "ExternalProvisioning", message);
            // The change comes back by the watch and is gone on with then.
            return Ok(());
        }
        if class.provisioner != PROVISIONER {
            return Ok(());
        }
        let api: Api<PersistentVolume> = Api::all(self.shared.client.clone());
        match api.create(&post(), &provisioned(claim, class)).await {
            Ok(volume) => {
                let message = format!("Successfully provisioned volume {}", name(&volume.metadata));
                self.recorder
                    .normal(claim, "ProvisioningSucceeded", message);
                Ok(())
            }
            Err(error) if has_code(&error, 409) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn replace(&self, claim: &PersistentVolumeClaim) -> Result<PersistentVolumeClaim, Error> {
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.shared.client.clone(), namespace(&claim.metadata));
        Ok(api.replace(name(&claim.metadata), &post(), claim).await?)
    }

    /// Binds both to each other, as far as they are not yet: volume, claim, and their statuses.
    async fn bind(
        &self,
        claim: &PersistentVolumeClaim,
        volume: &PersistentVolume,
    ) -> Result<(), Error> {
        let volumes: Api<PersistentVolume> = Api::all(self.shared.client.clone());
        let volume_name = name(&volume.metadata).to_owned();
        let mut volume = volume.clone();
        let reference = volume
            .spec
            .as_ref()
            .and_then(|spec| spec.claim_ref.as_ref());
        if reference.is_none_or(|reference| reference.uid.as_deref() != Some(uid(&claim.metadata)))
        {
            if reference.is_none() {
                let annotations = volume.metadata.annotations.get_or_insert_default();
                annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
            }
            volume.spec.get_or_insert_default().claim_ref = Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("PersistentVolumeClaim".to_owned()),
                name: claim.metadata.name.clone(),
                namespace: claim.metadata.namespace.clone(),
                uid: claim.metadata.uid.clone(),
                resource_version: claim.metadata.resource_version.clone(),
                ..ObjectReference::default()
            });
            volume = volumes.replace(&volume_name, &post(), &volume).await?;
        }
        self.volume_phase(&volume, "Bound").await?;
        let mut claim = claim.clone();
        if annotation(&claim.metadata, BIND_COMPLETED).is_none() {
            let spec = claim.spec.get_or_insert_default();
            let chosen_here = spec.volume_name.as_deref().is_none_or(str::is_empty);
            spec.volume_name = Some(volume_name);
            let annotations = claim.metadata.annotations.get_or_insert_default();
            annotations.insert(BIND_COMPLETED.to_owned(), "yes".to_owned());
            if chosen_here {
                annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
            }
            claim = self.replace(&claim).await?;
        }
        let spec = volume.spec.unwrap_or_default();
        let mut status = claim.status.clone().unwrap_or_default();
        status.phase = Some("Bound".to_owned());
        status.access_modes = spec.access_modes;
        status.capacity = spec.capacity;
        self.claim_status(claim, status).await
    }

    async fn lose(&self, claim: &PersistentVolumeClaim) -> Result<(), Error> {
        let status = claim.status.clone().unwrap_or_default();
        if status.phase.as_deref() == Some("Lost") {
            return Ok(());
        }
        let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        self.recorder.warning(claim, "ClaimLost", message);
        let status = PersistentVolumeClaimStatus {
            phase: Some("Lost".to_owned()),
            ..PersistentVolumeClaimStatus::default()
        };
        self.claim_status(claim.clone(), status).await
    }

    async fn claim_status(
        &self,
        mut claim: PersistentVolumeClaim,
        status: PersistentVolumeClaimStatus,
    ) -> Result<(), Error> {
        if claim.status.as_ref() == Some(&status) {
            return Ok(());
        }
        claim.status = Some(status);
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.shared.client.clone(), namespace(&claim.metadata));
        api.replace_status(name(&claim.metadata), &post(), &claim)
            .await?;
        Ok(())
    }
}

/// The volume that is made for a claim; on the node that was selected for it, if one was.
fn provisioned(claim: &PersistentVolumeClaim, class: &StorageClass) -> PersistentVolume {
    let spec = claim.spec.clone().unwrap_or_default();
    let storage = spec
        .resources
        .and_then(|resources| resources.requests)
        .unwrap_or_default();
    let volume_name = format!("pvc-{}", uid(&claim.metadata));
    let affinity = annotation(&claim.metadata, SELECTED_NODE).map(|node| {
        json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}})
    });
    let inner = json!({
        "capacity": storage,
        "accessModes": spec.access_modes,
        "volumeMode": spec.volume_mode,
        "storageClassName": class.metadata.name,
        "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
        "mountOptions": class.mount_options,
        "nodeAffinity": affinity,
        "hostPath": {"path": format!("/var/lib/wam-sandbox/{volume_name}"),
                     "type": "DirectoryOrCreate"},
        "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                     "name": claim.metadata.name, "namespace": claim.metadata.namespace,
                     "uid": claim.metadata.uid},
    });
    let annotations = BTreeMap::from([(PROVISIONED_BY.to_owned(), PROVISIONER.to_owned())]);
    let mut volume = PersistentVolume {
        // The fields above are a volume's.
        spec: serde_json::from_value(inner).ok(),
        ..PersistentVolume::default()
    };
    volume.metadata.name = Some(volume_name);
    volume.metadata.annotations = Some(annotations);
    volume
}
