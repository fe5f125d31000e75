//! kube-scheduler's framework: the extension points, their contracts, and the runtime that runs a
//! profile's plugins at them.

pub mod event;
pub mod plugin;
pub mod profile;
pub mod runtime;
pub mod state;
pub mod status;
mod watched;

pub use event::Events;
pub use plugin::Plugin;
pub use profile::{PluginSet, Point, Profile};
pub use runtime::Framework;
pub use state::CycleState;
pub use status::{Code, Status};
