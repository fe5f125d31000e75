//! The garbage collector: what its owners have left behind is deleted, in the background, in the
//! foreground, or let go (pkg/controller/garbagecollector/garbagecollector.go).

pub mod graph;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ::kube::Api;
use ::kube::api::{
    DeleteParams, DynamicObject, PartialObjectMeta, Patch, PatchParams, Preconditions,
    PropagationPolicy,
};
use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::graph::{FOREGROUND, Graph, Item, ORPHAN, Task};
use super::informer::{Change, Informer, Key, MetadataOnly};
use super::objects::{has_code, is_terminating, uid};
use super::queue::{Queue, work};
use super::resources::Known;
use super::shared::Shared;
use super::{Error, MANAGER};
use crate::clock;

/// How long the first lists are waited for; what is not listed by then is taken to have nothing.
const SYNC: Duration = Duration::from_secs(30);

/// How an owner that is referred to is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// It is there.
    Solid,
    /// It is not.
    Dangling,
    /// It is being deleted and waits for its dependents.
    Waiting,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    graph: Mutex<Graph>,
    queue: Arc<Queue<Task>>,
}

impl Controller {
    /// A collector that knows nothing yet.
    pub(super) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            graph: Mutex::new(Graph::default()),
            queue: Queue::new(),
        })
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let Some(all) = self.discovered(&shutdown).await else {
            return;
        };
        let watched: Vec<_> = all
            .into_iter()
            // Events are many, and own nothing (`DefaultIgnoredResources`).
            .filter(|known| known.watchable && known.resource.kind != "Event")
            .map(|known| (self.informer(&known), known))
            .collect();
        let watching = join_all(watched.iter().map(|(informer, known)| {
            let api = Api::all_with(self.shared.client.clone(), &known.resource);
            informer.run(MetadataOnly(api), shutdown.clone())
        }));
        let working = async {
            let synced = join_all(watched.iter().map(|(informer, _)| informer.synced()));
            if clock::timeout(SYNC, synced).await.is_err() {
                tracing::warn!("some resources cannot be listed; garbage may stay");
            }
            work(
                "garbage",
                Arc::clone(&self.queue),
                10,
                shutdown.clone(),
                |task| {
                    let collector = Arc::clone(&self);
                    async move {
                        match task {
                            Task::Check(id) => collector.check(&id).await,
                            Task::Orphan(id) => collector.orphan(&id).await,
                        }
                    }
                },
            )
            .await;
        };
        let working = async {
            tokio::select! {
                () = working => {}
                () = shutdown.cancelled() => {}
            }
        };
        tokio::join!(watching, working);
    }

    async fn discovered(&self, shutdown: &CancellationToken) -> Option<Vec<Known>> {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.shared.resources.all(&self.shared.client).await {
                Ok(all) => return Some(all),
                Err(error) => tracing::debug!(%error, "discovery failed"),
            }
            tokio::select! {
                () = clock::sleep(pause) => {}
                () = shutdown.cancelled() => return None,
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    fn informer(
        self: &Arc<Self>,
        known: &Known,
    ) -> Arc<Informer<PartialObjectMeta<DynamicObject>>> {
        let informer = Informer::new(|_: &PartialObjectMeta<DynamicObject>| Vec::new());
        let (collector, known) = (Arc::clone(self), known.clone());
        informer.on_change(move |change| {
            let meta = &change.object().metadata;
            let tasks = match change {
                Change::Deleted(_) => collector.lock().lost(uid(meta)),
                Change::Added(_) | Change::Updated(..) => collector.lock().saw(&known, meta),
            };
            for task in tasks {
                collector.queue.add(task);
            }
        });
        informer
    }

    fn lock(&self) -> MutexGuard<'_, Graph> {
        self.graph
            .lock()
            .expect("no code panics while it holds this lock")
    }

    fn item(&self, id: &str) -> Option<Item> {
        self.lock().get(id).cloned()
    }

    fn api(&self, known: &Known, key: &Key) -> Api<DynamicObject> {
        if known.namespaced {
            let client = self.shared.client.clone();
            Api::namespaced_with(client, &key.namespace, &known.resource)
        } else {
            Api::all_with(self.shared.client.clone(), &known.resource)
        }
    }

    /// The object as the API server has it, if it is still the same one.
    async fn live(&self, id: &str, item: &Item) -> Result<Option<ObjectMeta>, Error> {
        let found = self
            .api(&item.known, &item.key)
            .get_metadata_opt(&item.key.name)
            .await?;
        Ok(found
            .map(|found| found.metadata)
            .filter(|meta| uid(meta) == id))
    }

    /// `attemptToDeleteItem`.
    async fn check(&self, id: &str) -> Result<(), Error> {
        let Some(item) = self.item(id) else {
            return Ok(());
        };
        let Some(live) = self.live(id, &item).await? else {
            return Ok(());
        };
        if is_terminating(&live) {
            let waits = live
                .finalizers
                .iter()
                .flatten()
                .any(|known| known == FOREGROUND);
            return if waits {
                self.check_waiting(id, &item, &live).await
            } else {
                Ok(())
            };
        }
        let owners = live.owner_references.clone().unwrap_or_default();
        if owners.is_empty() {
            return Ok(());
        }
        let mut states = Vec::with_capacity(owners.len());
        for owner in &owners {
            states.push(self.state(&item, owner).await?);
        }
        let is_any = |state: Owner| states.contains(&state);
        if is_any(Owner::Solid) {
            let kept: Vec<OwnerReference> = owners
                .iter()
                .zip(&states)
                .filter(|(_, state)| **state == Owner::Solid)
                .map(|(owner, _)| owner.clone())
                .collect();
            if kept.len() < owners.len() {
                let patch = json!({"metadata": {
                    "resourceVersion": live.resource_version, "ownerReferences": kept}});
                self.patch(&item, &patch).await?;
            }
            return Ok(());
        }
        let has_dependents = self.lock().dependents(id).next().is_some();
        let finalizers = live.finalizers.clone().unwrap_or_default();
        let has = |finalizer: &str| finalizers.iter().any(|known| known == finalizer);
        let policy = if is_any(Owner::Waiting) && has_dependents {
            // A circle of owners that wait for each other is broken here.
            self.unblock_circle(id).await?;
            PropagationPolicy::Foreground
        } else if has(ORPHAN) {
            PropagationPolicy::Orphan
        } else if has(FOREGROUND) {
            PropagationPolicy::Foreground
        } else {
            PropagationPolicy::Background
        };
        self.delete(&item, id, policy).await
    }

    /// `processDeletingDependentsItem`: an owner goes when nothing that blocks it is left.
    async fn check_waiting(&self, id: &str, item: &Item, live: &ObjectMeta) -> Result<(), Error> {
        let blocking = self.lock().blocking(id);
        if blocking.is_empty() {
            return self.take_off(item, live, FOREGROUND).await;
        }
        for dependent in blocking {
            let waits = self
                .item(&dependent)
                .is_some_and(|item| item.waits_for_dependents());
            if !waits {
                self.queue.add(Task::Check(dependent));
            }
        }
        Ok(())
    }

    /// `unblockOwnerReferencesPatch` for dependents that wait themselves.
    async fn unblock_circle(&self, id: &str) -> Result<(), Error> {
        let waiting: Vec<Item> = {
            let graph = self.lock();
            let waiting = graph
                .dependents(id)
                .filter(|(_, item)| item.waits_for_dependents());
            waiting.map(|(_, item)| item.clone()).collect()
        };
        for item in waiting {
            let mut owners = item.owners.clone();
            for owner in &mut owners {
                owner.block_owner_deletion = Some(false);
            }
            self.patch(&item, &json!({"metadata": {"ownerReferences": owners}}))
                .await?;
        }
        Ok(())
    }

    /// `orphanDependents`: the references to the owner are taken off, then its finalizer.
    async fn orphan(&self, id: &str) -> Result<(), Error> {
        let Some(item) = self.item(id) else {
            return Ok(());
        };
        let dependents: Vec<Item> = self
            .lock()
            .dependents(id)
            .map(|(_, item)| item.clone())
            .collect();
        for dependent in dependents {
            let mut kept = dependent.owners.clone();
            kept.retain(|owner| owner.uid != id);
            self.patch(&dependent, &json!({"metadata": {"ownerReferences": kept}}))
                .await?;
        }
        let Some(live) = self.live(id, &item).await? else {
            return Ok(());
        };
        self.take_off(&item, &live, ORPHAN).await
    }

    async fn state(&self, item: &Item, owner: &OwnerReference) -> Result<Owner, Error> {
        if let Some(known) = self.item(&owner.uid) {
            let waits = known.waits_for_dependents();
            return Ok(if waits { Owner::Waiting } else { Owner::Solid });
        }
        let (version, kind) = (&owner.api_version, &owner.kind);
        let client = &self.shared.client;
        let Some(known) = self.shared.resources.of_kind(client, version, kind).await? else {
            // Of a kind nobody serves: nothing can be said about it, so nothing is deleted.
            return Ok(Owner::Solid);
        };
        if known.namespaced && !item.known.namespaced {
            return Ok(Owner::Solid);
        }
        let key = Key::new(&item.key.namespace, &owner.name);
        let found = self.api(&known, &key).get_metadata_opt(&owner.name).await?;
        Ok(match found {
            Some(found) if uid(&found.metadata) == owner.uid => {
                let finalizers = found.metadata.finalizers.iter().flatten();
                let waits = finalizers.into_iter().any(|known| known == FOREGROUND);
                if is_terminating(&found.metadata) && waits {
                    Owner::Waiting
                } else {
                    Owner::Solid
                }
            }
            _ => Owner::Dangling,
        })
    }

    async fn take_off(&self, item: &Item, live: &ObjectMeta, finalizer: &str) -> Result<(), Error> {
        let mut finalizers = live.finalizers.clone().unwrap_or_default();
        finalizers.retain(|known| known != finalizer);
        let patch = json!({"metadata": {
            "resourceVersion": live.resource_version, "finalizers": finalizers}});
        self.patch(item, &patch).await
    }

    /// A merge patch of the metadata; an object that is gone needs none.
    async fn patch(&self, item: &Item, patch: &serde_json::Value) -> Result<(), Error> {
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..PatchParams::default()
        };
        let api = self.api(&item.known, &item.key);
        match api
            .patch_metadata(&item.key.name, &params, &Patch::Merge(patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if has_code(&error, 404) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete(&self, item: &Item, id: &str, policy: PropagationPolicy) -> Result<(), Error> {
        let params = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions {
                uid: Some(id.to_owned()),
                ..Preconditions::default()
            }),
            ..DeleteParams::default()
        };
        let api = self.api(&item.known, &item.key);
        match api.delete(&item.key.name, &params).await {
            Ok(_) => Ok(()),
            Err(error) if has_code(&error, 404) => Ok(()),
            // Another object has the name by now.
            Err(error) if has_code(&error, 409) => match self.live(id, item).await? {
                Some(_) => Err(error.into()),
                None => Ok(()),
            },
            Err(error) => Err(error.into()),
        }
    }
}
