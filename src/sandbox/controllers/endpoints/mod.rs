//! Endpoints and EndpointSlices of Services (pkg/controller/endpoint, pkg/controller/endpointslice and
//! k8s.io/endpointslice): which pods are behind a Service, at which addresses and ports.
//!
//! Two controllers upstream, one here: both look at the same pods at the same moments.

pub mod legacy;
pub mod members;
pub mod slices;
pub mod trigger;

use std::collections::BTreeMap;
use std::sync::Arc;

use ::kube::Api;
use ::kube::api::DeleteParams;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use self::trigger::Triggers;
use super::consistency::Written;
use super::informer::{Change, Key};
use super::objects::{has_code, is_namespace_terminating, is_terminating, label, name, namespace};
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, post};

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    queue: Arc<Queue<Key>>,
    triggers: Triggers,
    written: Written,
    written_slices: Written,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            queue: Queue::new(),
            triggers: Triggers::default(),
            written: Written::default(),
            written_slices: Written::default(),
        });
        let hears = Arc::clone(&controller);
        shared.services.on_change(move |change| {
            hears.queue.add(Key::of(change.object().as_ref()));
        });
        let hears = Arc::clone(&controller);
        shared.pods.on_change(move |change| match change {
            Change::Updated(old, new) => {
                if !members::look_alike(old, new) {
                    hears.wake_services_of(old);
                    hears.wake_services_of(new);
                }
            }
            Change::Added(pod) | Change::Deleted(pod) => hears.wake_services_of(pod),
        });
        // Somebody else's changes are undone.
        let hears = Arc::clone(&controller);
        shared.endpoints.on_change(move |change| {
            if let Change::Deleted(endpoints) = change {
                hears.queue.add(Key::of(endpoints.as_ref()));
            }
        });
        let hears = Arc::clone(&controller);
        shared.slices.on_change(move |change| {
            let meta = &change.object().metadata;
            if label(meta, slices::MANAGED_BY) == Some(slices::MANAGER)
                && let Some(service) = label(meta, slices::SERVICE_NAME)
            {
                hears.queue.add(Key::new(namespace(meta), service));
            }
        });
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("endpoints", queue, 5, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    fn wake_services_of(&self, pod: &Pod) {
        let of = format!("ns/{}", namespace(&pod.metadata));
        for service in self.shared.services.indexed(&of) {
            if members::selects(&service, &pod.metadata) {
                self.queue.add(Key::of(service.as_ref()));
            }
        }
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let Some(service) = self.shared.services.get(key) else {
            self.triggers.forget(key);
            return self.remove(key).await;
        };
        let is_external = service
            .spec
            .as_ref()
            .is_some_and(|spec| spec.type_.as_deref() == Some("ExternalName"));
        if is_external || members::selector(&service).is_none() {
            return Ok(());
        }
        if !self.written.is_seen(key, &self.shared.endpoints)
            || !self.written_slices.is_seen(key, &self.shared.slices)
        {
            return Err(Error::Behind);
        }
        let of = format!("ns/{}", key.namespace);
        let pods = Vec::from_iter(
            self.shared
                .pods
                .indexed(&of)
                .into_iter()
                .filter(|pod| members::selects(&service, &pod.metadata)),
        );
        let triggered = self.triggers.of(key, &service, &pods);
        self.sync_endpoints(key, &service, &pods, triggered.as_deref())
            .await?;
        self.sync_slices(key, &service, &pods, triggered.as_deref())
            .await
    }

    /// A Service is gone: its Endpoints go by hand, its slices by the garbage collector.
    async fn remove(&self, key: &Key) -> Result<(), Error> {
        let Some(endpoints) = self.shared.endpoints.get(key) else {
            return Ok(());
        };
        if label(&endpoints.metadata, legacy::MANAGED_BY) != Some(legacy::MANAGER) {
            return Ok(());
        }
        let api: Api<Endpoints> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        match api.delete(&key.name, &DeleteParams::default()).await {
            Err(error) if !has_code(&error, 404) => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn sync_endpoints(
        &self,
        key: &Key,
        service: &Service,
        pods: &[Arc<Pod>],
        triggered: Option<&str>,
    ) -> Result<(), Error> {
        let known = self.shared.endpoints.get(key);
        let Some(wanted) = legacy::wanted(service, pods, known.as_deref(), triggered) else {
            return Ok(());
        };
        let api: Api<Endpoints> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        let answer = match known {
            Some(_) => api.replace(&key.name, &post(), &wanted).await,
            None => api.create(&post(), &wanted).await,
        };
        match answer {
            Ok(stored) => {
                self.written.wrote(key, &stored.metadata);
                Ok(())
            }
            Err(error) if is_namespace_terminating(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn sync_slices(
        &self,
        key: &Key,
        service: &Service,
        pods: &[Arc<Pod>],
        triggered: Option<&str>,
    ) -> Result<(), Error> {
        let known = self
            .shared
            .slices
            .indexed(&format!("service/{}/{}", key.namespace, key.name));
        let known = Vec::from_iter(
            known
                .into_iter()
                .filter(|slice| {
                    label(&slice.metadata, slices::MANAGED_BY) == Some(slices::MANAGER)
                        && !is_terminating(&slice.metadata)
                })
                .map(|slice| (*slice).clone()),
        );
        let node_labels = |node: &str| {
            let node = self.shared.nodes.get(&Key::new("", node))?;
            Some(node.metadata.labels.clone().unwrap_or_default())
        };
        let desired = slices::desired(service, pods, node_labels);
        let plan = slices::plan(service, desired, known);
        let api: Api<EndpointSlice> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        if !is_terminating(&service.metadata) {
            for mut slice in plan.create {
                note(&mut slice.metadata, triggered);
                match api.create(&post(), &slice).await {
                    Ok(stored) => self.written_slices.wrote(key, &stored.metadata),
                    Err(error) if is_namespace_terminating(&error) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        for mut slice in plan.update {
            note(&mut slice.metadata, triggered);
            let stored = api.replace(name(&slice.metadata), &post(), &slice).await?;
            self.written_slices.wrote(key, &stored.metadata);
        }
        for slice in plan.delete {
            match api.delete(&slice, &DeleteParams::default()).await {
                Err(error) if !has_code(&error, 404) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Says in an annotation what change of a pod or the Service led to this one.
fn note(meta: &mut ObjectMeta, triggered: Option<&str>) {
    let annotations: &mut BTreeMap<String, String> = meta.annotations.get_or_insert_default();
    match triggered {
        Some(time) => {
            annotations.insert(trigger::ANNOTATION.to_owned(), time.to_owned());
        }
        None => {
            annotations.remove(trigger::ANNOTATION);
        }
    }
}
