//! What can be set about the scheduler.

use super::framework::Profile;
use super::queue::Backoff;
use crate::model::names::DEFAULT_SCHEDULER_NAME;

/// The scheduler's settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// The pods that are ours.
    pub scheduler_name: String,
    /// Profiles in place of the default plugins for `scheduler_name`, one per scheduler name; none usually.
    pub profiles: Vec<Profile>,
    /// Pods of other namespaces are not ours, whatever they name; empty: of all namespaces.
    pub namespaces: Vec<String>,
    /// How rejected pods wait.
    pub backoff: Backoff,
    /// Of the generator that decides between equally good nodes.
    pub seed: u64,
    /// How many pods are decided on one reading of the intents.
    pub batch: usize,
    /// How many bindings are under way at most.
    pub binds_in_flight: usize,
    /// How many status patches are under way at most.
    pub patches_in_flight: usize,
    /// Place pods of controlling workloads even while the store of the intents is away. They may then
    /// miss an intent that is for them.
    pub without_store: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scheduler_name: DEFAULT_SCHEDULER_NAME.to_owned(),
            profiles: Vec::new(),
            namespaces: Vec::new(),
            backoff: Backoff::default(),
            seed: 0,
            batch: 128,
            binds_in_flight: 64,
            patches_in_flight: 16,
            without_store: false,
        }
    }
}
