//! What the sandbox knows of Kubernetes' types: one generated table of facts, and everything it drives.
//!
//! Pure: no I/O, no async, no locks, no clock (times are passed in). Objects are [`serde_json::Value`]s.
//! The table is immutable and shared by reference; nothing here is written per kind, except the three
//! things no schema states: the Go-side defaults (`defaults`), the printer columns (`printing`), and
//! which fields a subresource resets (`apply`).

mod apply;
mod convert;
mod decode;
mod defaults;
mod descriptions;
mod discovery;
mod facts;
mod merge;
mod openapi;
mod openapi_v2;
mod printing;
mod quantity;
mod schema;

pub use apply::{
    ApplyError, Conflict, server_side_apply, server_side_apply_to, track_update, undeclared,
};
pub use decode::{DecodeError, Decoded, decode, decode_meta, json_syntax_error, prune_and_check};
pub use defaults::apply_defaults;
pub use descriptions::{Descriptions, descriptions};
pub use discovery::{
    aggregated_discovery, api_group, api_group_list, api_resource_list, api_versions,
};
pub use facts::{
    GroupVersionKind, ResourceFacts, SubresourceFacts, api_version, split_api_version,
};
pub use merge::{PatchError, go_text, strategic_merge};
pub use openapi::{openapi_v3_document, openapi_v3_index};
pub use openapi_v2::{OPENAPI_V2_PROTOBUF, openapi_v2_document};
pub use printing::{IncludeObject, render_table};
pub use schema::{Schema, TypeTable, table};

/// Why the table of facts could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not gzip.
    #[error("facts cannot be unpacked: {0}")]
    Unpack(#[source] std::io::Error),
    /// The document does not have the facts' shape.
    #[error("facts cannot be parsed: {0}")]
    Parse(#[source] serde_json::Error),
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod robust;
