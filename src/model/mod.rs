//! Pure values: what the program knows of Kubernetes' objects, in the shape it computes with.
//!
//! Invariant: nothing here does I/O, awaits, or asks the time. Objects of the API are turned into
//! these compact values once, when they arrive; a value that cannot be understood is an [`Error`]
//! naming the object and the field, never a panic and never a silent default.

pub mod affinity;
pub mod limits;
pub mod names;
pub mod node;
pub mod pod;
pub mod pod_affinity;
pub mod pod_spec;
pub mod ports;
pub mod quantity;
pub mod requests;
pub mod resources;
pub mod selector;
pub mod spread;
pub mod storage;
pub mod taint;
pub mod topology;
pub mod volumes;
pub mod workload;

pub use names::{NamespacedName, OwnerRef, WorkloadRef};
pub use node::Node;
pub use pod::{Pod, PodPhase};
pub use pod_spec::PodSpec;
pub use quantity::Quantity;
pub use resources::Resources;
pub use workload::{Deployment, ReplicaSet};

/// An object that the API server handed over but that makes no sense to us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {field}: {problem}")]
pub struct Error {
    /// Which object, for example `pod default/web-1`.
    pub object: String,
    /// The field's path, for example `spec.containers[0].resources.requests[cpu]`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}
