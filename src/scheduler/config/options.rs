//! The settings of the running scheduler.

use std::time::Duration;

use super::types::Configuration;
use crate::model::names::DEFAULT_SCHEDULER_NAME;
use crate::scheduler::framework::Profile;
use crate::scheduler::queue::Backoff;

/// The scheduler's settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// One per scheduler name; the pods that name one of them are ours.
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
            profiles: vec![Profile::new(DEFAULT_SCHEDULER_NAME)],
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

impl Options {
    /// What a configuration says; all else has its default.
    #[must_use]
    pub fn new(configuration: &Configuration) -> Self {
        let seconds = |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Self {
            profiles: configuration.profiles(),
            backoff: Backoff {
                initial: seconds(configuration.pod_initial_backoff_seconds),
                max: seconds(configuration.pod_max_backoff_seconds),
                ..Backoff::default()
            },
            ..Self::default()
        }
    }
}
