//! A whole cluster in the process: API server, controllers, kubelets, faults.
//!
//! It is the newcomer's first minute, the test double that is never a mock, and the simulator. It is
//! no production cluster. It shares no parser with `model`: what it knows of Kubernetes' types is one
//! generated table of facts ([`types`]).

pub mod apiserver;
pub mod cluster;
pub mod controllers;
pub mod faults;
pub mod kubelet;
pub mod types;

pub use cluster::{Cluster, ClusterOptions};
