//! How the watches are doing, one entry a kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cluster::event::Kind;

/// How the watch of one kind is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchHealth {
    /// The kind.
    pub kind: Kind,
    /// Whether its first list is complete.
    pub synced: bool,
    /// Why it is not working now, `None` while it is.
    pub problem: Option<String>,
}

impl WatchHealth {
    /// Synced and working.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.synced && self.problem.is_none()
    }
}

/// The entries; each task writes its own.
#[derive(Debug, Clone)]
pub(super) struct Board(Arc<Mutex<BTreeMap<Kind, WatchHealth>>>);

impl Default for Board {
    fn default() -> Self {
        let entry = |kind| WatchHealth {
            kind,
            synced: false,
            problem: None,
        };
        Self(Arc::new(Mutex::new(
            Kind::ALL.into_iter().map(|k| (k, entry(k))).collect(),
        )))
    }
}

impl Board {
    pub(super) fn read(&self) -> Vec<WatchHealth> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.values().cloned().collect()
    }

    pub(super) fn write(&self, kind: Kind, change: impl FnOnce(&mut WatchHealth)) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&kind) {
            change(entry);
        }
    }
}
