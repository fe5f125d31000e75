//! The verbs on whole objects and collections; nothing here is written per kind.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod get;
mod json_patch;
pub(crate) mod list;
pub(crate) mod patch;
mod token;
pub(crate) mod update;
pub(crate) mod watch;
