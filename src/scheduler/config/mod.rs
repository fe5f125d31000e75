//! What can be set about the scheduler: `KubeSchedulerConfiguration` files of `kubescheduler.config.k8s.io/v1`,
//! unchanged, and the settings that the running scheduler takes from one.
//!
//! A file is read strictly: [`load()`] answers a complete [`Configuration`] or every mistake in the file with its
//! place. Nothing here looks at what plugins are built: a file means what it means to kube-scheduler.

pub mod args;
mod args_decode;
mod args_validate;
mod decode;
pub mod duration;
mod encode;
mod known;
mod load;
mod merge;
mod options;
mod reader;
#[cfg(test)]
mod tests;
mod types;
mod validate;
mod yaml;

pub use args::PluginArgs;
pub use load::{Error, Problems, load, parse};
pub use options::Options;
pub use reader::Problem;
pub use types::{
    ClientConnection, Configuration, ExtenderConfig, ExtenderTls, LeaderElection, ManagedResource,
    ProfileConfig,
};
pub use yaml::Position;
