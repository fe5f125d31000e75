//! What can be set about the scheduler.

pub mod args;
pub mod duration;
mod options;

pub use args::PluginArgs;
pub use options::Options;
