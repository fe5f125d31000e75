//! `wam`, the Workload Actions Manager: it accepts actions on running workloads over JSON-RPC, keeps
//! them in a durable queue, carries them out exactly once on Kubernetes, and is itself the scheduler
//! of the pods that name it.
//!
//! Dependencies between the modules point one way; `tests/arrows.rs` reads the `use` lines and holds
//! them: `model <- cluster <- scheduler`, `store <- {scheduler, actions}`,
//! `{scheduler, actions} <- api <- app <- cli`; `kube` implements the ports of `scheduler` and
//! `actions`; `sandbox` is known to `cli`, tests and benches alone.

pub mod actions;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod kube;
pub mod model;
pub mod sandbox;
pub mod scheduler;
pub mod store;
