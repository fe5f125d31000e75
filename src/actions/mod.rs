//! What an action means: requests, validation, the plan it compiles to, and its execution.
//!
//! The flow is one way: a request is validated into an [`order::Order`] with fixed identities and stored
//! ([`service`]); the [`executor`] takes it, compiles its [`plan`], and a [`runner`] carries the steps out,
//! writing each ahead ([`journal`]); a failure compiles the steps [`back`].

pub mod back;
pub mod choose;
pub mod context;
pub mod end;
pub mod event;
pub mod executor;
pub mod facade;
#[cfg(test)]
mod fake;
pub mod journal;
pub mod ledger;
mod line;
mod locks;
pub mod metrics;
pub mod op;
pub mod options;
pub mod order;
pub mod plan;
pub mod ports;
pub mod request;
pub mod runner;
pub mod service;
pub mod steps;
pub mod validate;
mod view;

pub use context::Parts;
pub use executor::{DEFAULT_RETENTION, Executor, Settings};
pub use facade::{Accepted, Facade, SubmitError};
pub use metrics::Metrics;
pub use request::{Arguments, Request};
pub use service::Service;
