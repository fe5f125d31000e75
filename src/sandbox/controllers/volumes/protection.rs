//! Claims that pods use, and volumes that claims are bound to, are not removed before they are free
//! (pkg/controller/volume/pvcprotection, pvprotection).

use std::sync::Arc;

use ::kube::Api;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use crate::sandbox::controllers::informer::{Change, Key};
use crate::sandbox::controllers::objects::{has_code, is_finished, is_terminating, namespace};
use crate::sandbox::controllers::queue::{Queue, work};
use crate::sandbox::controllers::shared::{Shared, claims_of};
use crate::sandbox::controllers::{Error, post};

const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";

/// See the module. Keys without a namespace are volumes.
#[derive(Debug)]
pub(in crate::sandbox::controllers) struct Controller {
    shared: Arc<Shared>,
    queue: Arc<Queue<Key>>,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(in crate::sandbox::controllers) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            queue: Queue::new(),
        });
        let hears = Arc::clone(&controller);
        shared.claims.on_change(move |change| {
            let claim = change.object();
            if is_terminating(&claim.metadata) {
                hears.queue.add(Key::of(claim.as_ref()));
            }
        });
        let hears = Arc::clone(&controller);
        shared.volumes.on_change(move |change| {
            let volume = change.object();
            if is_terminating(&volume.metadata) {
                hears.queue.add(Key::of(volume.as_ref()));
            }
        });
        let hears = Arc::clone(&controller);
        shared.pods.on_change(move |change| {
            let pod = change.object();
            if matches!(change, Change::Deleted(_)) || is_finished(pod) {
                for claim in claims_of(pod) {
                    hears.queue.add(Key::new(namespace(&pod.metadata), claim));
                }
            }
        });
        controller
    }

    /// Works until `shutdown`.
    pub(in crate::sandbox::controllers) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("storage-protection", queue, 2, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        if key.namespace.is_empty() {
            return self.free_volume(key).await;
        }
        let Some(claim) = self.shared.claims.get(key) else {
            return Ok(());
        };
        let is_used = |pod: &Arc<Pod>| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            node.is_some()
        };
        let users = self
            .shared
            .pods
            .indexed(&format!("claim/{}/{}", key.namespace, key.name));
        if !is_terminating(&claim.metadata) || users.iter().any(is_used) {
            return Ok(());
        }
        let mut changed = (*claim).clone();
        if !remove(&mut changed.metadata, CLAIM_FINALIZER) {
            return Ok(());
        }
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.shared.client.clone(), &key.namespace);
        gone_is_fine(api.replace(&key.name, &post(), &changed).await)
    }

    async fn free_volume(&self, key: &Key) -> Result<(), Error> {
        let Some(volume) = self.shared.volumes.get(key) else {
            return Ok(());
        };
        let phase = volume
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        if !is_terminating(&volume.metadata) || phase == Some("Bound") {
            return Ok(());
        }
        let mut changed = (*volume).clone();
        if !remove(&mut changed.metadata, VOLUME_FINALIZER) {
            return Ok(());
        }
        let api: Api<PersistentVolume> = Api::all(self.shared.client.clone());
        gone_is_fine(api.replace(&key.name, &post(), &changed).await)
    }
}

fn gone_is_fine<K>(answer: ::kube::Result<K>) -> Result<(), Error> {
    match answer {
        Err(error) if !has_code(&error, 404) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Takes the finalizer off; says whether it was there.
fn remove(meta: &mut ObjectMeta, finalizer: &str) -> bool {
    let finalizers = meta.finalizers.get_or_insert_default();
    let before = finalizers.len();
    finalizers.retain(|known| known != finalizer);
    finalizers.len() != before
}
