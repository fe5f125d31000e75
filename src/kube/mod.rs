//! The only module that calls the Kubernetes client: watches, binds, evictions, scaling, events, leases.
//!
//! Invariants: every request has a deadline, a budget of its own kind and an entry in the metrics; what
//! is repeated, and when, is decided in [`retry`] alone (the client's own retries are off, because they
//! would repeat evictions that a budget refused). Nothing here decides anything about pods: this module
//! implements the ports that `scheduler` and `actions` declare and turns the API server's answers into
//! their errors.

pub mod bind;
pub mod budget;
pub mod call;
pub mod client;
pub mod cluster_ops;
pub mod events;
pub mod failure;
pub mod lease;
pub mod metrics;
pub mod owner;
pub mod retry;
pub mod status;
pub mod transport;
pub mod victims;
pub mod volumes;
pub mod watches;

mod answers;

pub use bind::ApiBinder;
pub use budget::BudgetOptions;
pub use client::{ClientOptions, Clients, Error, Source};
pub use cluster_ops::ApiCluster;
pub use events::ApiEvents;
pub use lease::{LeaderElection, LeaseOptions, host_identity};
pub use metrics::Metrics;
pub use owner::ApiOwners;
pub use status::ApiPodStatus;
pub use victims::ApiVictims;
pub use volumes::ApiVolumes;
pub use watches::{WatchHealth, Watches};
