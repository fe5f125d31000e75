//! Lets a deleted claim go when no pod uses it any more (pkg/controller/volume/pvcprotection): the API server
//! puts a finalizer on each that only this takes off.

use std::sync::Arc;

use ::kube::Api;
use ::kube::api::{Patch, PatchParams};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::informer::{Change, Key};
use super::objects::{has_code, is_finished, is_terminating, namespace};
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, MANAGER};

const FINALIZER: &str = "kubernetes.io/pvc-protection";

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    queue: Arc<Queue<Key>>,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            queue: Queue::new(),
        });
        let hears = Arc::clone(&controller);
        shared.claims.on_change(move |change| {
            let claim = change.object();
            if is_terminating(&claim.metadata) && !matches!(change, Change::Deleted(_)) {
                hears.queue.add(Key::of(claim.as_ref()));
            }
        });
        let hears = Arc::clone(&controller);
        shared.pods.on_change(move |change| {
            let pod = change.object();
            if matches!(change, Change::Deleted(_)) || is_finished(pod) {
                for claim in claims(pod) {
                    let key = Key::new(namespace(&pod.metadata), claim);
                    hears.queue.add(key);
                }
            }
        });
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("pvc-protection", queue, 1, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let Some(claim) = self.shared.claims.get(key) else {
            return Ok(());
        };
        let finalizers = claim.metadata.finalizers.as_deref().unwrap_or_default();
        if !is_terminating(&claim.metadata) || !finalizers.iter().any(|f| f == FINALIZER) {
            return Ok(());
        }
        let pods = self.shared.pods.indexed(&format!("ns/{}", key.namespace));
        let uses = |pod: &Pod| !is_finished(pod) && claims(pod).any(|used| used == key.name);
        if pods.iter().any(|pod| uses(pod)) {
            return Ok(());
        }
        let rest = Vec::from_iter(finalizers.iter().filter(|f| *f != FINALIZER));
        let patch = json!({"metadata": {
            "uid": claim.metadata.uid,
            "resourceVersion": claim.metadata.resource_version,
            "finalizers": rest,
        }});
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..PatchParams::default()
        };
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.shared.client.clone(), &key.namespace);
        match api.patch(&key.name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(error) if has_code(&error, 404) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The claims that a pod names.
fn claims(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| {
        let claim = volume.persistent_volume_claim.as_ref()?;
        Some(claim.claim_name.as_str())
    })
}
