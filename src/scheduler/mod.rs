//! kube-scheduler's decisions: framework, plugins, queue, cycle, binding. It decides; others act, through
//! the [`ports`].

mod attempt;
pub mod binding;
pub mod config;
pub mod cycle;
pub mod diagnosis;
mod displace;
pub mod explain;
pub mod extender;
pub mod framework;
pub mod intents;
pub mod metrics;
pub mod plugins;
pub mod ports;
pub mod preemption;
pub mod queue;
pub mod run;
pub mod unsupported;
mod volumes;
pub mod whatif;

pub use binding::Ports;
pub use config::{Configuration, Options};
pub use metrics::Metrics;
pub use run::Scheduler;
