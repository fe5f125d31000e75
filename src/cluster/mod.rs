//! The state of the cluster as the watches tell it: one writer ([`Cache`]), immutable snapshots for
//! every reader.
//!
//! Invariants: objects are turned into compact rows once, when they arrive; a pod that takes room counts
//! on exactly one node, from the moment the scheduler assumes it until a watch says it is gone or finished
//! (terminating pods count); a snapshot never changes; listeners hear changes in the order they were made.

pub mod cache;
pub mod change;
pub mod class;
pub mod event;
pub mod objects;
pub mod read;
pub mod rows;
mod state;
mod tree;

pub use cache::{Cache, Workload};
pub use change::Change;
pub use class::PodClass;
pub use event::ClusterEvent;
pub use objects::{Object, Objects, Storage};
pub use rows::{NodeInfo, PodInfo, Snapshot};
