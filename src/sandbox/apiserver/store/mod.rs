//! The store: every object, one global revision, a bounded log of events per collection.
//!
//! Invariants: [`State`] changes only inside [`Store::write`], under one lock; each change takes the
//! next revision, which becomes the object's `metadata.resourceVersion`, and leaves one [`Event`].
//! Objects are immutable and shared (`Arc`), so readers and watchers copy pointers; an object's JSON
//! is made once, by whoever sends it first. A write costs O(log n), whatever the number of objects
//! and watchers.

pub(crate) mod event;
mod index;
pub(crate) mod object;
mod transaction;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::watch;

pub(crate) use event::{Change, Event};
use index::Index;
pub(crate) use index::LABELS;
pub(crate) use object::Object;
pub(crate) use transaction::Transaction;

/// Index of a collection, given by the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CollectionId(pub(crate) usize);

/// Identifies an object in its collection. The namespace of cluster-scoped objects is empty. Cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// The asked revision is older than the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOld {
    /// The oldest revision that can still be asked for.
    pub(crate) oldest: u64,
}

/// One consistent reading of a collection.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) objects: Vec<(Key, Arc<Object>)>,
    /// The revision at which this was the state.
    pub(crate) revision: u64,
}

#[derive(Debug)]
struct Collection {
    objects: BTreeMap<Key, Arc<Object>>,
    indexes: Vec<Index>,
    log: VecDeque<Arc<Event>>,
    /// Sequence number of the log's first event.
    first: u64,
    /// Events up to this revision may be missing from the log.
    floor: u64,
    /// Tells watchers that the log grew.
    changed: watch::Sender<()>,
}

impl Collection {
    fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            indexes: Vec::new(),
            log: VecDeque::new(),
            first: 0,
            floor: 0,
            changed: watch::Sender::new(()),
        }
    }

    fn end(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    /// Objects of a namespace (all if empty), after `start` if given.
    fn range<'a>(
        &'a self,
        namespace: &'a str,
        start: Option<&Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> {
        let low = match start {
            Some(key) => Bound::Excluded(key.clone()),
            None => Bound::Included(Key::new(namespace, "")),
        };
        self.objects
            .range((low, Bound::Unbounded))
            .take_while(move |(key, _)| namespace.is_empty() || &*key.namespace == namespace)
    }
}

/// A field (or `metadata.labels/<label>`) and the value that it must have.
pub(crate) type Fixed<'a> = (Cow<'a, str>, &'a str);

impl Collection {
    /// The objects of a namespace (all if empty), without those that an index knows to differ in one of these
    /// fields: the smallest of the sets that indexes give.
    fn candidates<'a>(
        &'a self,
        namespace: &'a str,
        fixed: &[Fixed<'_>],
    ) -> Box<dyn Iterator<Item = (&'a Key, &'a Arc<Object>)> + 'a> {
        let sets = fixed.iter().flat_map(|(field, value)| {
            let indexes = self.indexes.iter();
            indexes.filter_map(move |index| index.keys(field, value))
        });
        match sets.min_by_key(|keys| keys.len()) {
            Some(keys) => Box::new(
                keys.iter()
                    .filter(move |key| namespace.is_empty() || &*key.namespace == namespace)
                    .filter_map(|key| Some((key, self.objects.get(key)?))),
            ),
            None => Box::new(self.range(namespace, None)),
        }
    }
}

#[derive(Debug)]
struct State {
    revision: u64,
    collections: Vec<Collection>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Store {
    state: RwLock<State>,
    /// Events kept per collection.
    capacity: usize,
}

/// A watcher's place in a collection's log.
#[derive(Debug)]
pub(crate) struct Subscription {
    collection: CollectionId,
    next: u64,
    changed: watch::Receiver<()>,
}

impl Subscription {
    /// Waits until the log may have grown. Cancel-safe.
    pub(crate) async fn changed(&mut self) {
        // The sender lives in the store, which outlives every subscription's server; should it be
        // gone, nothing will ever change again.
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The watcher was so slow that events it had not seen left the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lagged;

impl Store {
    /// An empty store at revision 1.
    pub(crate) fn new(collections: usize, capacity: usize) -> Self {
        let collections = (0..collections).map(|_| Collection::new()).collect();
        Self {
            state: RwLock::new(State {
                revision: 1,
                collections,
            }),
            capacity: capacity.max(1),
        }
    }

    /// Keeps the objects of a collection by this field, named as field selectors name it.
    pub(crate) fn index(&self, collection: CollectionId, field: &'static str) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let c = &mut state.collections[collection.0];
        let mut index = Index::new(field);
        for (key, object) in &c.objects {
            index.changed(key, None, Some(object));
        }
        c.indexes.push(index);
    }

    // A panic while the lock was held cannot leave a half-done change that matters more than going on.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.read().revision
    }

    /// The oldest revision of which a collection's state is still known.
    pub(crate) fn oldest(&self, collection: CollectionId) -> u64 {
        self.read().collections[collection.0].floor
    }

    pub(crate) fn get(&self, collection: CollectionId, key: &Key) -> Option<Arc<Object>> {
        self.read().collections[collection.0]
            .objects
            .get(key)
            .cloned()
    }

    /// Newest objects of a namespace (all if empty). Copies pointers only.
    pub(crate) fn list(&self, collection: CollectionId, namespace: &str) -> Snapshot {
        self.list_fixed(collection, namespace, &[])
    }

    /// The same, but objects that differ in one of these fields may be left out: as far as an index helps.
    pub(crate) fn list_fixed(
        &self,
        collection: CollectionId,
        namespace: &str,
        fixed: &[Fixed<'_>],
    ) -> Snapshot {
        let state = self.read();
        let objects = state.collections[collection.0]
            .candidates(namespace, fixed)
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        Snapshot {
            objects,
            revision: state.revision,
        }
    }

    /// Up to `limit` objects after `start` that satisfy `keep` (which includes `fixed`), as they were at
    /// `revision`, and how many more may follow. What was there is found by undoing the newer events of the log.
    #[allow(clippy::too_many_arguments)] // What a page is.
    pub(crate) fn list_at(
        &self,
        collection: CollectionId,
        namespace: &str,
        start: Option<&Key>,
        revision: u64,
        fixed: &[Fixed<'_>],
        keep: impl Fn(&Object) -> bool,
        limit: usize,
    ) -> Result<(Snapshot, usize), TooOld> {
        let state = self.read();
        let c = &state.collections[collection.0];
        if revision < c.floor {
            return Err(TooOld { oldest: c.floor });
        }
        let newer = c.log.partition_point(|event| event.revision <= revision);
        let mut undone: BTreeMap<&Key, Option<&Arc<Object>>> = BTreeMap::new();
        for event in c.log.range(newer..) {
            if (namespace.is_empty() || &*event.key.namespace == namespace)
                && start.is_none_or(|start| event.key > *start)
            {
                undone.entry(&event.key).or_insert(event.previous.as_ref());
            }
        }
        let mut objects = Vec::new();
        let mut rest = 0;
        let mut take = |key: &Key, object: &Arc<Object>| {
            if objects.len() < limit {
                if keep(object) {
                    objects.push((key.clone(), object.clone()));
                }
            } else {
                rest += 1;
            }
        };
        if undone.is_empty() && start.is_none() && !fixed.is_empty() {
            for (key, object) in c.candidates(namespace, fixed) {
                take(key, object);
            }
            return Ok((Snapshot { objects, revision }, rest));
        }
        let mut undone = undone.into_iter().peekable();
        for (key, object) in c.range(namespace, start) {
            while let Some((old_key, old)) = undone.next_if(|(old_key, _)| *old_key < key) {
                if let Some(old) = old {
                    take(old_key, old);
                }
            }
            match undone.next_if(|(old_key, _)| *old_key == key) {
                Some((_, Some(old))) => take(key, old),
                Some((_, None)) => {}
                None => take(key, object),
            }
        }
        for (key, old) in undone {
            if let Some(old) = old {
                take(key, old);
            }
        }
        Ok((Snapshot { objects, revision }, rest))
    }

    /// Follows a collection from just after `revision`.
    pub(crate) fn subscribe(
        &self,
        collection: CollectionId,
        revision: u64,
    ) -> Result<Subscription, TooOld> {
        let state = self.read();
        let c = &state.collections[collection.0];
        if revision < c.floor {
            return Err(TooOld { oldest: c.floor });
        }
        let at = c.log.partition_point(|event| event.revision <= revision);
        Ok(Subscription {
            collection,
            next: c.first + at as u64,
            changed: c.changed.subscribe(),
        })
    }

    /// Reads a collection and follows it from there, with nothing in between lost or seen twice.
    pub(crate) fn list_and_subscribe(
        &self,
        collection: CollectionId,
        namespace: &str,
        fixed: &[Fixed<'_>],
    ) -> (Snapshot, Subscription) {
        let state = self.read();
        let c = &state.collections[collection.0];
        let objects = c
            .candidates(namespace, fixed)
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        let subscription = Subscription {
            collection,
            next: c.end(),
            changed: c.changed.subscribe(),
        };
        (
            Snapshot {
                objects,
                revision: state.revision,
            },
            subscription,
        )
    }

    /// Up to `max` further events, and the revision up to which the caller has now seen everything.
    pub(crate) fn poll(
        &self,
        subscription: &mut Subscription,
        max: usize,
    ) -> Result<(Vec<Arc<Event>>, u64), Lagged> {
        subscription.changed.mark_unchanged();
        let state = self.read();
        let c = &state.collections[subscription.collection.0];
        let Some(skip) = subscription.next.checked_sub(c.first) else {
            return Err(Lagged);
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(c.log.len());
        let events: Vec<_> = c.log.range(skip..).take(max).cloned().collect();
        subscription.next += events.len() as u64;
        let seen = if subscription.next < c.end() {
            events.last().map_or(state.revision, |event| event.revision)
        } else {
            state.revision
        };
        Ok((events, seen))
    }

    /// Forgets how the present state came about: lists and watches can begin now at the earliest.
    pub(crate) fn forget_history(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let revision = state.revision;
        for collection in &mut state.collections {
            collection.first += collection.log.len() as u64;
            collection.log.clear();
            collection.floor = revision;
        }
    }

    /// Runs `body` with the whole state locked against other writers. It must check everything before
    /// its first change: what it has changed stays, also when it fails.
    pub(crate) fn write<T>(&self, body: impl FnOnce(&mut Transaction<'_>) -> T) -> T {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        body(&mut Transaction {
            state: &mut state,
            capacity: self.capacity,
        })
    }
}

#[cfg(test)]
mod tests;
