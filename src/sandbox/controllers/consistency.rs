//! What a controller has written for an owner and may not have read yet: as long as the caches are
//! behind the controller's own writes, the owner is left alone, or it would be done twice
//! (pkg/controller/util/consistency).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::informer::{Informer, Key, Object};

/// The newest resource version that was written of one kind of dependents, by owner.
#[derive(Debug, Default)]
pub struct Written(Mutex<BTreeMap<Key, u64>>);

impl Written {
    /// The API server answered a write on behalf of `owner` with this object.
    pub fn wrote(&self, owner: &Key, object: &ObjectMeta) {
        let version = object.resource_version.as_ref();
        if let Some(version) = version.and_then(|version| version.parse::<u64>().ok()) {
            let mut map = self.map();
            let newest = map.entry(owner.clone()).or_default();
            *newest = version.max(*newest);
        }
    }

    /// Whether `informer` has everything that was written for `owner`.
    pub fn is_seen<K: Object>(&self, owner: &Key, informer: &Informer<K>) -> bool {
        let mut map = self.map();
        let seen = map
            .get(owner)
            .is_none_or(|version| informer.has_seen(*version));
        if seen {
            map.remove(owner);
        }
        seen
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<Key, u64>> {
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
    }
}
