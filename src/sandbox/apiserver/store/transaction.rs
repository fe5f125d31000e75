//! Changing the store.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Change, Collection, CollectionId, Event, Key, Object, State};
use crate::sandbox::apiserver::meta;

/// The state, open for reading and changing; see [`super::Store::write`].
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    pub(super) state: &'a mut State,
    pub(super) capacity: usize,
}

impl Transaction<'_> {
    pub(crate) fn get(&self, collection: CollectionId, key: &Key) -> Option<&Arc<Object>> {
        self.state.collections[collection.0].objects.get(key)
    }

    /// Objects of a namespace; all if it is empty.
    pub(crate) fn range<'a>(
        &'a self,
        collection: CollectionId,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        self.state.collections[collection.0]
            .range(namespace, None)
            .map(|(_, object)| object)
    }

    /// Stores a new or changed object under the next revision.
    pub(crate) fn put(
        &mut self,
        collection: CollectionId,
        key: Key,
        mut value: Value,
    ) -> Arc<Object> {
        self.state.revision += 1;
        let revision = self.state.revision;
        meta::set(
            &mut value,
            "resourceVersion",
            Some(json!(revision.to_string())),
        );
        let object = Arc::new(Object::new(value, revision));
        let c = &mut self.state.collections[collection.0];
        let previous = c.objects.insert(key.clone(), object.clone());
        for index in &mut c.indexes {
            index.changed(&key, previous.as_deref(), Some(&object));
        }
        let change = if previous.is_some() {
            Change::Modified
        } else {
            Change::Added
        };
        append(
            c,
            self.capacity,
            Event::new(key, change, previous, object.clone()),
        );
        object
    }

    /// Removes an object; its last state carries the revision of the deletion.
    pub(crate) fn remove(&mut self, collection: CollectionId, key: &Key) -> Option<Arc<Object>> {
        let c = &mut self.state.collections[collection.0];
        let previous = c.objects.remove(key)?;
        for index in &mut c.indexes {
            index.changed(key, Some(&previous), None);
        }
        self.state.revision += 1;
        let mut value = previous.value.clone();
        let revision = self.state.revision;
        meta::set(
            &mut value,
            "resourceVersion",
            Some(json!(revision.to_string())),
        );
        let object = Arc::new(Object::new(value, revision));
        let event = Event::new(key.clone(), Change::Deleted, Some(previous), object.clone());
        append(c, self.capacity, event);
        Some(object)
    }
}

fn append(collection: &mut Collection, capacity: usize, event: Event) {
    collection.log.push_back(Arc::new(event));
    if collection.log.len() > capacity
        && let Some(dropped) = collection.log.pop_front()
    {
        collection.first += 1;
        collection.floor = dropped.revision;
    }
    collection.changed.send_replace(());
}
