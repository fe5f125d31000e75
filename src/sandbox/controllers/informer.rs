//! A shared cache of one kind of object, kept current by list and watch.
//!
//! One task ([`Informer::run`]) owns the connection and is the only writer; everybody else reads
//! immutable `Arc`s. A change is in the cache before its handlers hear of it, and handlers hear of
//! changes in the order in which the API server made them. After a re-list (410, or the first time)
//! what vanished is reported as deleted, so a handler sees no gap.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ::kube::api::{ListParams, WatchEvent, WatchParams};
use ::kube::core::{DynamicObject, PartialObjectMeta};
use ::kube::{Api, Resource};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// Namespace (empty for cluster-scoped objects) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of these two names.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        )
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// What an informer can hold.
pub trait Object: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static {}
impl<K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static> Object for K {}

/// Where the objects come from: the list and the watch of one resource.
#[async_trait::async_trait]
pub trait Source: Send + Sync + 'static {
    /// What it lists.
    type Object: Object;
    /// All objects and the resource version of that list.
    async fn list(&self) -> ::kube::Result<(Vec<Self::Object>, String)>;
    /// The changes after `version`.
    async fn watch(
        &self,
        version: &str,
    ) -> ::kube::Result<BoxStream<'static, ::kube::Result<WatchEvent<Self::Object>>>>;
}

/// Whole objects of one API.
#[derive(Clone, Debug)]
pub struct Whole<K> {
    api: Api<K>,
    labels: Option<String>,
}

impl<K> Whole<K> {
    /// Every object of `api`.
    pub fn new(api: Api<K>) -> Self {
        Self { api, labels: None }
    }
}

#[async_trait::async_trait]
impl<K: Object> Source for Whole<K> {
    type Object = K;

    async fn list(&self) -> ::kube::Result<(Vec<K>, String)> {
        let params = ListParams {
            label_selector: self.labels.clone(),
            ..ListParams::default()
        };
        let list = self.api.list(&params).await?;
        Ok((
            list.items,
            list.metadata.resource_version.unwrap_or_default(),
        ))
    }

    async fn watch(
        &self,
        version: &str,
    ) -> ::kube::Result<BoxStream<'static, ::kube::Result<WatchEvent<K>>>> {
        let params = WatchParams {
            label_selector: self.labels.clone(),
            ..WatchParams::default()
        };
        Ok(self.api.watch(&params, version).await?.boxed())
    }
}

/// The metadata alone of every object of one API, whatever its kind.
#[derive(Clone, Debug)]
pub struct MetadataOnly(pub Api<DynamicObject>);

#[async_trait::async_trait]
impl Source for MetadataOnly {
    type Object = PartialObjectMeta<DynamicObject>;

    async fn list(&self) -> ::kube::Result<(Vec<Self::Object>, String)> {
        let list = self.0.list_metadata(&ListParams::default()).await?;
        Ok((
            list.items,
            list.metadata.resource_version.unwrap_or_default(),
        ))
    }

    async fn watch(
        &self,
        version: &str,
    ) -> ::kube::Result<BoxStream<'static, ::kube::Result<WatchEvent<Self::Object>>>> {
        Ok(self
            .0
            .watch_metadata(&WatchParams::default(), version)
            .await?
            .boxed())
    }
}

/// What list and watch report.
#[derive(Debug)]
pub enum Delta<K> {
    /// This is everything there is now.
    Replace(Vec<K>),
    /// This object was added or changed.
    Apply(K),
    /// This object is gone; this was its last state.
    Delete(K),
}

/// Shortest and longest pause after a failed list or a broken watch.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// Lists, then watches, for ever: closed watches are resumed where they ended, expired ones (410)
/// are listed again, errors are retried with a growing pause.
pub async fn list_and_watch<S: Source>(
    source: S,
    shutdown: CancellationToken,
    mut sink: impl FnMut(Delta<S::Object>) + Send,
) {
    let mut pause = PAUSES.0;
    'list: while !shutdown.is_cancelled() {
        let listed = tokio::select! {
            listed = source.list() => listed,
            () = shutdown.cancelled() => return,
        };
        let mut version = match listed {
            Ok((items, version)) => {
                sink(Delta::Replace(items));
                version
            }
            Err(error) => {
                tracing::debug!(%error, "list failed");
                rest(&mut pause, &shutdown).await;
                continue;
            }
        };
        while !shutdown.is_cancelled() {
            let opened = tokio::select! {
                opened = source.watch(&version) => opened,
                () = shutdown.cancelled() => return,
            };
            let mut stream = match opened {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(%error, "watch was not opened");
                    rest(&mut pause, &shutdown).await;
                    if matches!(&error, ::kube::Error::Api(status) if status.code == 410) {
                        continue 'list;
                    }
                    continue;
                }
            };
            loop {
                let event = tokio::select! {
                    event = stream.next() => event,
                    () = shutdown.cancelled() => return,
                };
                match event {
                    Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                        pause = PAUSES.0;
                        version_of(&object, &mut version);
                        sink(Delta::Apply(object));
                    }
                    Some(Ok(WatchEvent::Deleted(object))) => {
                        pause = PAUSES.0;
                        version_of(&object, &mut version);
                        sink(Delta::Delete(object));
                    }
                    Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                        pause = PAUSES.0;
                        version = bookmark.metadata.resource_version;
                    }
                    Some(Ok(WatchEvent::Error(status))) => {
                        tracing::debug!(%status, "watch ended by the server");
                        rest(&mut pause, &shutdown).await;
                        continue 'list;
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "watch broke");
                        rest(&mut pause, &shutdown).await;
                        // What could not be read would be sent again: only a list gets past it.
                        if matches!(error, ::kube::Error::SerdeError(_)) {
                            continue 'list;
                        }
                        break;
                    }
                    None => {
                        rest(&mut pause, &shutdown).await;
                        break;
                    }
                }
            }
        }
    }
}

fn version_of<K: Resource>(object: &K, version: &mut String) {
    if let Some(seen) = &object.meta().resource_version {
        version.clone_from(seen);
    }
}

async fn rest(pause: &mut Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = clock::sleep(*pause) => {}
        () = shutdown.cancelled() => {}
    }
    *pause = (*pause * 2).min(PAUSES.1);
}

/// A change of one object in the cache.
#[derive(Debug)]
pub enum Change<K> {
    /// Seen for the first time.
    Added(Arc<K>),
    /// Changed: before, after.
    Updated(Arc<K>, Arc<K>),
    /// Gone: the last state that was seen.
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The newest state.
    #[must_use]
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(new) | Self::Updated(_, new) | Self::Deleted(new) => new,
        }
    }
}

/// Says under which index values an object is found, for example `node/n1`.
pub type Indexer<K> = fn(&K) -> Vec<String>;
type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

struct Cache<K> {
    objects: BTreeMap<Key, Arc<K>>,
    index: BTreeMap<String, BTreeSet<Key>>,
}

/// See the module.
pub struct Informer<K> {
    cache: Mutex<Cache<K>>,
    handlers: Mutex<Vec<Handler<K>>>,
    indexer: Indexer<K>,
    synced: watch::Sender<bool>,
}

impl<K: Object> Informer<K> {
    /// An empty cache; [`Self::run`] fills it.
    #[must_use]
    pub fn new(indexer: Indexer<K>) -> Arc<Self> {
        Arc::new(Self {
            cache: Mutex::new(Cache {
                objects: BTreeMap::new(),
                index: BTreeMap::new(),
            }),
            handlers: Mutex::new(Vec::new()),
            indexer,
            synced: watch::Sender::new(false),
        })
    }

    /// Calls `handler` at every change from now on. Handlers must be quick: they run in the
    /// informer's own task.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.handlers
            .lock()
            .expect("no handler panics")
            .push(Box::new(handler));
    }

    /// The object of this key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.lock().objects.get(key).cloned()
    }

    /// All objects, ordered by namespace and name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.lock().objects.values().cloned().collect()
    }

    /// The objects for which the indexer gave `value`, ordered by namespace and name.
    #[must_use]
    pub fn indexed(&self, value: &str) -> Vec<Arc<K>> {
        let cache = self.lock();
        let keys = cache.index.get(value);
        keys.into_iter()
            .flatten()
            .filter_map(|key| cache.objects.get(key).cloned())
            .collect()
    }

    /// Waits until the first list is in the cache.
    pub async fn synced(&self) {
        // An error means that the sender is gone, and it lives in `self`.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Keeps the cache current until `shutdown`.
    pub async fn run<S: Source<Object = K>>(&self, source: S, shutdown: CancellationToken) {
        list_and_watch(source, shutdown, |delta| self.apply(delta)).await;
    }

    /// Takes over what list and watch report, and tells the handlers.
    pub fn apply(&self, delta: Delta<K>) {
        let mut changes = Vec::new();
        let mut listed = false;
        {
            let mut cache = self.lock();
            match delta {
                Delta::Replace(objects) => {
                    listed = true;
                    let seen: BTreeSet<Key> = objects.iter().map(Key::of).collect();
                    let gone: Vec<Key> = cache
                        .objects
                        .keys()
                        .filter(|key| !seen.contains(key))
                        .cloned()
                        .collect();
                    changes.extend(gone.iter().filter_map(|key| self.remove(&mut cache, key)));
                    for object in objects {
                        self.insert(&mut cache, object, &mut changes);
                    }
                }
                Delta::Apply(object) => self.insert(&mut cache, object, &mut changes),
                Delta::Delete(object) => {
                    let key = Key::of(&object);
                    self.remove(&mut cache, &key);
                    changes.push(Change::Deleted(Arc::new(object)));
                }
            }
        }
        let handlers = self.handlers.lock().expect("no handler panics");
        for change in &changes {
            for handler in handlers.iter() {
                handler(change);
            }
        }
        if listed {
            self.synced.send_replace(true);
        }
    }

    fn insert(&self, cache: &mut Cache<K>, object: K, changes: &mut Vec<Change<K>>) {
        let key = Key::of(&object);
        let new = Arc::new(object);
        let old = cache.objects.get(&key).cloned();
        if let Some(old) = &old {
            let same = old.meta().resource_version.is_some()
                && old.meta().resource_version == new.meta().resource_version;
            if same {
                return;
            }
            self.unindex(cache, &key, old);
        }
        for value in (self.indexer)(&new) {
            cache.index.entry(value).or_default().insert(key.clone());
        }
        cache.objects.insert(key, Arc::clone(&new));
        match old {
            // One name, two lives: the deletion in between was not seen.
            Some(old) if old.meta().uid != new.meta().uid => {
                changes.push(Change::Deleted(old));
                changes.push(Change::Added(new));
            }
            Some(old) => changes.push(Change::Updated(old, new)),
            None => changes.push(Change::Added(new)),
        }
    }

    fn remove(&self, cache: &mut Cache<K>, key: &Key) -> Option<Change<K>> {
        let old = cache.objects.remove(key)?;
        self.unindex(cache, key, &old);
        Some(Change::Deleted(old))
    }

    fn unindex(&self, cache: &mut Cache<K>, key: &Key, old: &K) {
        for value in (self.indexer)(old) {
            if let Some(keys) = cache.index.get_mut(&value) {
                keys.remove(key);
                if keys.is_empty() {
                    cache.index.remove(&value);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cache<K>> {
        self.cache
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

impl<K> Debug for Informer<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Informer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn pod(name: &str, uid: &str, version: &str, node: &str) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "namespace": "d", "uid": uid, "resourceVersion": version},
            "spec": {"nodeName": node, "containers": []},
        }))
        .unwrap()
    }

    fn by_node(pod: &Pod) -> Vec<String> {
        pod.spec
            .iter()
            .filter_map(|spec| spec.node_name.clone())
            .collect()
    }

    fn heard(informer: &Arc<Informer<Pod>>) -> Arc<Mutex<Vec<String>>> {
        let log = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&log);
        informer.on_change(move |change| {
            let word = match change {
                Change::Added(_) => "added",
                Change::Updated(..) => "updated",
                Change::Deleted(_) => "deleted",
            };
            let name = change.object().metadata.name.clone().unwrap_or_default();
            sink.lock().unwrap().push(format!("{word} {name}"));
        });
        log
    }

    #[test]
    fn a_second_list_reports_what_vanished() {
        let informer = Informer::new(by_node);
        let log = heard(&informer);
        informer.apply(Delta::Replace(vec![
            pod("a", "1", "1", "n1"),
            pod("b", "2", "2", "n1"),
        ]));
        informer.apply(Delta::Replace(vec![
            pod("b", "2", "2", "n1"),
            pod("c", "3", "3", "n2"),
        ]));
        assert_eq!(
            *log.lock().unwrap(),
            ["added a", "added b", "deleted a", "added c"]
        );
        assert_eq!(informer.indexed("n1").len(), 1);
        assert_eq!(informer.all().len(), 2);
    }

    #[test]
    fn a_new_life_of_a_name_is_a_deletion_and_an_addition() {
        let informer = Informer::new(by_node);
        let log = heard(&informer);
        informer.apply(Delta::Apply(pod("a", "1", "1", "n1")));
        informer.apply(Delta::Apply(pod("a", "9", "5", "n2")));
        assert_eq!(*log.lock().unwrap(), ["added a", "deleted a", "added a"]);
        assert!(informer.indexed("n1").is_empty());
        assert_eq!(informer.indexed("n2").len(), 1);
    }

    #[tokio::test]
    async fn synced_waits_for_the_first_list() {
        let informer = Informer::new(by_node);
        assert!(futures::FutureExt::now_or_never(informer.synced()).is_none());
        informer.apply(Delta::Replace(vec![]));
        informer.synced().await;
    }
}
