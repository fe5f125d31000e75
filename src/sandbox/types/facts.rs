//! The shape of the generated facts file, and nothing else.
//!
//! `testbed facts` prints it from a real kube-apiserver (discovery, OpenAPI v3) and from the protobuf
//! struct tags of the Go types; `schema.rs` compiles it. It is read once per process.

use std::collections::BTreeMap;
use std::io::Read as _;

use serde::Deserialize;
use serde_json::Value;

use super::Error;

/// One served resource of one group and version, as the API server's discovery states it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceFacts {
    /// API group; empty for the core group.
    pub group: String,
    /// Version within the group, e.g. `v1`.
    pub version: String,
    /// Whether this version is the group's preferred one.
    pub preferred: bool,
    /// Plural, lower-case name: the path segment.
    pub name: String,
    /// Singular, lower-case name.
    pub singular: String,
    /// Kind of the objects.
    pub kind: String,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Verbs in discovery's order.
    pub verbs: Vec<String>,
    /// Short names kubectl accepts, e.g. `deploy`.
    pub short_names: Vec<String>,
    /// Categories, e.g. `all`.
    pub categories: Vec<String>,
    /// Hash of the storage version, as discovery prints it.
    pub storage_version_hash: String,
    /// OpenAPI model name of the objects.
    pub schema: String,
    /// OpenAPI model name of the list; empty for virtual resources.
    pub list_schema: String,
    /// Subresources such as `status` and `scale`.
    pub subresources: Vec<SubresourceFacts>,
}

impl ResourceFacts {
    /// `group/version`, or only the version for the core group: the `apiVersion` of its objects.
    #[must_use]
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// The subresource of this name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&SubresourceFacts> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether discovery lists this verb for the resource.
    #[must_use]
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

/// One subresource. Its group, version and kind may differ from its parent's (`Scale`, `Eviction`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubresourceFacts {
    /// Name after the slash, e.g. `status`.
    pub name: String,
    /// Group of the body's kind.
    pub group: String,
    /// Version of the body's kind.
    pub version: String,
    /// Kind of the body.
    pub kind: String,
    /// Verbs in discovery's order.
    pub verbs: Vec<String>,
    /// OpenAPI model name of the body, where it has one.
    pub schema: Option<String>,
}

/// `group/version`, or only the version for the core group.
#[must_use]
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// Splits an `apiVersion` into group and version; the core group is empty.
#[must_use]
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FactsFile {
    pub(super) kubernetes_version: String,
    pub(super) resources: Vec<ResourceFacts>,
    pub(super) schemas: BTreeMap<String, SchemaFacts>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SchemaFacts {
    #[serde(default)]
    pub(super) openapi: Option<Value>,
    #[serde(default)]
    pub(super) gvk: Vec<GroupVersionKind>,
    #[serde(default)]
    pub(super) proto: Option<ProtoFacts>,
}

/// Group, version and kind of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct GroupVersionKind {
    /// API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ProtoFacts {
    /// Names a type whose JSON form does not follow from its fields.
    #[serde(default)]
    pub(super) special: String,
    #[serde(default)]
    pub(super) fields: BTreeMap<String, ProtoFieldFacts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ProtoFieldFacts {
    pub(super) json: String,
    pub(super) wire: String,
    pub(super) repeated: bool,
    #[serde(rename = "type")]
    pub(super) ty: String,
    pub(super) map: Option<ProtoMapFacts>,
    pub(super) inline: bool,
    pub(super) pointer: bool,
    pub(super) omitempty: bool,
    /// Go type of a scalar that has a name of its own.
    #[serde(rename = "go")]
    pub(super) go_type: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ProtoMapFacts {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) value_wire: String,
}

/// Reads the gzipped facts document.
pub(super) fn parse(gzipped: &[u8]) -> Result<FactsFile, Error> {
    let mut text = Vec::with_capacity(gzipped.len() * 16);
    flate2::read::GzDecoder::new(gzipped)
        .read_to_end(&mut text)
        .map_err(Error::Unpack)?;
    serde_json::from_slice(&text).map_err(Error::Parse)
}
