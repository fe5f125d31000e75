//! A shared cache of one kind of object, kept current by list and watch.
//!
//! One task ([`Informer::run`]) owns the connection and is the only writer; everybody else reads
//! immutable `Arc`s. A change is in the cache before its handlers hear of it, and handlers hear of
//! changes in the order in which the API server made them. After a re-list (410, or the first time)
//! what vanished is reported as deleted, so a handler sees no gap.

mod reflect;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ::kube::Resource;
use k8s_openapi::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::reflect::{Delta, list_and_watch};
pub use self::source::{MetadataOnly, Source, Whole};

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

/// An object of a built-in kind whose objects live in namespaces.
pub trait Namespaced: Object + Resource<DynamicType = (), Scope = NamespaceResourceScope> {}
impl<K: Object + Resource<DynamicType = (), Scope = NamespaceResourceScope>> Namespaced for K {}

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
    /// The newest resource version that is in the cache. API servers of Kubernetes number theirs
    /// (KEP-5504).
    version: AtomicU64,
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
            version: AtomicU64::new(0),
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

    /// Whether the state after the write that was answered with this resource version is in the
    /// cache.
    #[must_use]
    pub fn has_seen(&self, version: u64) -> bool {
        self.version.load(Ordering::Acquire) >= version
    }

    fn saw(&self, version: Option<&String>) {
        if let Some(version) = version.and_then(|version| version.parse().ok()) {
            // The one writer holds the cache's lock until the change is in.
            self.version.store(version, Ordering::Release);
        }
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
                Delta::Replace(objects, version) => {
                    self.saw(Some(&version));
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
                Delta::Apply(object) => {
                    self.saw(object.meta().resource_version.as_ref());
                    self.insert(&mut cache, object, &mut changes);
                }
                Delta::Delete(object) => {
                    self.saw(object.meta().resource_version.as_ref());
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
        informer.apply(Delta::Replace(
            vec![pod("a", "1", "1", "n1"), pod("b", "2", "2", "n1")],
            "2".to_owned(),
        ));
        informer.apply(Delta::Replace(
            vec![pod("b", "2", "2", "n1"), pod("c", "3", "3", "n2")],
            "4".to_owned(),
        ));
        assert!(informer.has_seen(4) && !informer.has_seen(5));
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
        informer.apply(Delta::Replace(vec![], String::new()));
        informer.synced().await;
    }
}
