//! The table of facts, compiled: every schema resolved once into a compact arena of types.
//!
//! References are indices, so that recursive schemas need no reference counting and no request ever
//! follows a `$ref`. The arena is owned by [`TypeTable`] and never changes after loading.

mod compile;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::OnceLock;

use serde_json::Value;

use super::Error;
use super::facts::{self, GroupVersionKind, ResourceFacts};

static FACTS: &[u8] = include_bytes!("facts.json.gz");

/// The embedded facts, loaded on first use.
///
/// # Panics
/// Never: the embedded file is a build input and a test loads it.
#[must_use]
pub fn table() -> &'static TypeTable {
    static TABLE: OnceLock<TypeTable> = OnceLock::new();
    TABLE.get_or_init(|| TypeTable::load(FACTS).expect("the embedded facts are tested to load"))
}

/// Index of a [`Type`] in the table's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TypeId(u32);

/// `x-kubernetes-list-type`; absent means atomic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    Atomic,
    Set,
    /// Keys that identify an element, with the default of each where the schema has one.
    Map(Vec<(Box<str>, Option<Value>)>),
}

/// One resolved type.
#[derive(Debug)]
pub(super) enum Type {
    Object(ObjectType),
    Map {
        value: TypeId,
        atomic: bool,
    },
    List {
        item: TypeId,
        kind: ListKind,
    },
    String,
    Bool,
    Int32,
    Int64,
    Float,
    Bytes,
    IntOrString,
    Quantity,
    Time,
    MicroTime,
    Duration,
    /// Anything: `RawExtension`, `FieldsV1`, schemas without a type.
    Any,
}

/// A struct: named fields, all else is unknown.
#[derive(Debug, Default)]
pub(super) struct ObjectType {
    /// The Go type as error texts print it, `v1.PodSpec`.
    pub(super) go_type: Box<str>,
    pub(super) fields: HashMap<Box<str>, Field>,
    /// Values of absent fields: the schema's defaults, and the zero values that Go never omits.
    pub(super) defaults: Vec<(Box<str>, Value)>,
    /// The defaults of this type that only Go code states.
    pub(super) hook: Option<fn(&mut serde_json::Map<String, Value>)>,
    /// `x-kubernetes-map-type: atomic`.
    pub(super) atomic: bool,
    pub(super) proto: Option<ProtoMessage>,
}

impl ObjectType {
    /// `PodSpec` of `v1.PodSpec`.
    pub(super) fn go_name(&self) -> &str {
        self.go_type.rsplit('.').next().unwrap_or("")
    }
}

/// `x-kubernetes-patch-strategy` of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PatchStrategy {
    pub(super) merge: bool,
    pub(super) retain_keys: bool,
}

/// One field of an [`ObjectType`].
#[derive(Debug)]
pub(super) struct Field {
    pub(super) ty: TypeId,
    pub(super) default: Option<Value>,
    pub(super) required: bool,
    pub(super) strategy: PatchStrategy,
    pub(super) merge_key: Option<Box<str>>,
    /// Whether Go drops the zero value when it writes the object (not a pointer, `omitempty`).
    pub(super) omit_zero: bool,
    /// Whether Go holds it by value: then a time that is not set is written as `null`.
    pub(super) by_value: bool,
    /// The Go type of the field for error texts, where the facts have it.
    pub(super) go_type: Option<Box<str>>,
}

/// Wire form of a message: fields by number.
#[derive(Debug, Default)]
pub(super) struct ProtoMessage {
    pub(super) fields: HashMap<u32, ProtoField>,
}

/// One field on the wire.
#[derive(Debug)]
pub(super) struct ProtoField {
    pub(super) json: Box<str>,
    pub(super) ty: ProtoType,
    pub(super) repeated: bool,
    /// Nested on the wire, flattened in JSON.
    pub(super) inline: bool,
    /// Zero values of this field are not shown in JSON.
    pub(super) omit_zero: bool,
}

/// What a field's bytes mean.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ProtoType {
    String,
    Bool,
    Int32,
    Int64,
    Double,
    Float,
    Bytes,
    Quantity,
    Time,
    MicroTime,
    Duration,
    IntOrString,
    /// JSON bytes in field 1 (`FieldsV1`, `RawExtension`).
    RawJson,
    Message(TypeId),
    Map(Box<ProtoType>),
    /// A type the facts do not describe; skipped.
    Unknown,
}

/// A named schema.
#[derive(Debug)]
pub struct Schema {
    pub(super) ty: TypeId,
    pub(super) openapi: Option<Value>,
    gvks: Vec<GroupVersionKind>,
}

impl Schema {
    /// Groups, versions and kinds whose bodies have this schema.
    #[must_use]
    pub fn gvks(&self) -> &[GroupVersionKind] {
        &self.gvks
    }

    /// The OpenAPI v3 schema object, without descriptions; absent for types known only on the wire.
    #[must_use]
    pub fn openapi(&self) -> Option<&Value> {
        self.openapi.as_ref()
    }
}

/// The facts: resources and schemas. Immutable; share it by reference.
#[derive(Debug)]
pub struct TypeTable {
    kubernetes_version: String,
    resources: Vec<ResourceFacts>,
    by_plural: HashMap<String, Vec<usize>>,
    by_kind: HashMap<String, Vec<usize>>,
    kinds: HashMap<String, Vec<(GroupVersionKind, String)>>,
    schemas: BTreeMap<String, Schema>,
    with_status: HashSet<String>,
    types: Vec<Type>,
}

impl TypeTable {
    /// Loads a gzipped facts document.
    ///
    /// # Errors
    /// If it is not gzip or not a facts document.
    pub fn load(gzipped: &[u8]) -> Result<Self, Error> {
        Ok(compile::compile(facts::parse(gzipped)?))
    }

    /// Version of the API server the facts were printed from, `v1.36.3`.
    #[must_use]
    pub fn kubernetes_version(&self) -> &str {
        &self.kubernetes_version
    }

    /// All served resources, in discovery's order.
    #[must_use]
    pub fn resources(&self) -> &[ResourceFacts] {
        &self.resources
    }

    /// The resource with this plural name.
    #[must_use]
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&ResourceFacts> {
        self.find(&self.by_plural, group, version, plural)
    }

    /// The resource whose objects are of this kind.
    #[must_use]
    pub fn resource_of_kind(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Option<&ResourceFacts> {
        self.find(&self.by_kind, group, version, kind)
    }

    fn find(
        &self,
        index: &HashMap<String, Vec<usize>>,
        group: &str,
        version: &str,
        name: &str,
    ) -> Option<&ResourceFacts> {
        let candidates = index.get(name)?.iter().map(|&at| &self.resources[at]);
        candidates
            .into_iter()
            .find(|r| r.group == group && r.version == version)
    }

    /// Name of the schema of a kind: resources' kinds, and also `DeleteOptions`, `Binding`,
    /// `Eviction`, `Scale`, `Status` and the like.
    #[must_use]
    pub fn schema_of_kind(&self, group: &str, version: &str, kind: &str) -> Option<&str> {
        self.kinds
            .get(kind)?
            .iter()
            .find(|(gvk, _)| gvk.group == group && gvk.version == version)
            .map(|(_, schema)| schema.as_str())
    }

    /// The schema of this OpenAPI model name.
    #[must_use]
    pub fn schema(&self, name: &str) -> Option<&Schema> {
        self.schemas.get(name)
    }

    /// Whether objects of this schema have a `status` subresource.
    pub(super) fn has_status_subresource(&self, schema: &str) -> bool {
        self.with_status.contains(schema)
    }

    pub(super) fn schemas(&self) -> &BTreeMap<String, Schema> {
        &self.schemas
    }

    pub(super) fn ty(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// The type of a named schema; anything goes where the name is unknown.
    pub(super) fn type_of(&self, schema: &str) -> Option<&Type> {
        self.schemas.get(schema).map(|s| self.ty(s.ty))
    }

    /// The struct behind an id, if it is one.
    pub(super) fn object(&self, id: TypeId) -> Option<&ObjectType> {
        match self.ty(id) {
            Type::Object(object) => Some(object),
            _ => None,
        }
    }
}

/// Model name of a `$ref`, direct or as the only member of `allOf`.
pub(super) fn reference(schema: &Value) -> Option<&str> {
    let target = schema
        .get("$ref")
        .or_else(|| schema.get("allOf")?.get(0)?.get("$ref"))?;
    let target = target.as_str()?;
    Some(target.rsplit('/').next().unwrap_or(target))
}
