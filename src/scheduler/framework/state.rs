//! What plugins remember during one scheduling cycle of one pod.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

/// One value per type, written in PreFilter and PreScore, read later. Cloning is cheap: values are shared,
/// and a plugin that changes one (AddPod, RemovePod) puts a new one in its place.
#[derive(Debug, Clone, Default)]
pub struct CycleState {
    values: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    pub(super) skipped_filters: Vec<&'static str>,
    pub(super) skipped_scores: Vec<&'static str>,
}

impl CycleState {
    /// Puts a value, replacing the former one of this type.
    pub fn put<T: Any + Send + Sync>(&mut self, value: T) {
        self.values.insert(TypeId::of::<T>(), Arc::new(value));
    }

    /// Changes the value of this type, if there is one; other clones of the state keep theirs.
    pub fn update<T: Any + Send + Sync + Clone>(&mut self, change: impl FnOnce(&mut T)) {
        let id = TypeId::of::<T>();
        let Some(value) = self.values.remove(&id) else {
            return;
        };
        // The key says of which type it is.
        if let Ok(mut value) = value.downcast::<T>() {
            change(Arc::make_mut(&mut value));
            self.values.insert(id, value);
        }
    }

    /// The value of this type.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.values.get(&TypeId::of::<T>())?.downcast_ref()
    }
}
