//! From the facts file to the arena: every `$ref` followed once, Go's struct tags laid beside OpenAPI.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{
    Field, ListKind, ObjectType, PatchStrategy, ProtoField, ProtoMessage, ProtoType, Schema, Type,
    TypeId, TypeTable, reference,
};
use crate::sandbox::types::defaults;
use crate::sandbox::types::facts::{
    FactsFile, GroupVersionKind, ProtoFacts, ProtoFieldFacts, SchemaFacts,
};

/// Compiles a whole facts file.
pub(super) fn compile(file: FactsFile) -> TypeTable {
    Compiler::run(file)
}

/// The well-known leaf types, by the end of their model name.
fn special(name: &str) -> Option<Type> {
    let ends = |suffix: &str| name.ends_with(suffix);
    Some(if ends(".api.resource.Quantity") || name == "Quantity" {
        Type::Quantity
    } else if ends(".intstr.IntOrString") || name == "IntOrString" {
        Type::IntOrString
    } else if ends(".meta.v1.Time") || name == "Time" {
        Type::Time
    } else if ends(".meta.v1.MicroTime") || name == "MicroTime" {
        Type::MicroTime
    } else if ends(".meta.v1.Duration") || name == "Duration" {
        Type::Duration
    } else if ends(".meta.v1.FieldsV1")
        || ends(".runtime.RawExtension")
        || name == "FieldsV1"
        || name == "RawExtension"
        || ends(".apiextensions.v1.JSON")
        || name == "JSON"
        || name.contains("JSONSchemaPropsOr")
    {
        Type::Any
    } else {
        return None;
    })
}

struct Compiler<'f> {
    facts: &'f BTreeMap<String, SchemaFacts>,
    types: Vec<Type>,
    names: HashMap<String, TypeId>,
    /// Leaf types are shared.
    any: TypeId,
}

impl<'f> Compiler<'f> {
    fn run(file: FactsFile) -> TypeTable {
        let mut this = Compiler {
            facts: &file.schemas,
            types: vec![Type::Any],
            names: HashMap::new(),
            any: TypeId(0),
        };
        for name in file.schemas.keys() {
            let id = this.push(Type::Any);
            this.names.insert(name.clone(), id);
        }
        for (name, facts) in &file.schemas {
            let id = this.names[name];
            let ty = match special(name) {
                Some(leaf) => leaf,
                // A Go slice with a name of its own is a message with one repeated field.
                None if facts.proto.as_ref().is_some_and(|p| p.special == "List") => {
                    let item = this.push(Type::String);
                    Type::List {
                        item,
                        kind: ListKind::Atomic,
                    }
                }
                None => match &facts.openapi {
                    Some(openapi) => this.ty(openapi, name, facts.proto.as_ref()),
                    None => Type::Object(ObjectType {
                        go_type: go_type_of(name).into(),
                        ..ObjectType::default()
                    }),
                },
            };
            this.types[id.0 as usize] = ty;
        }
        this.defaults();
        this.list_key_defaults();
        for (name, facts) in &file.schemas {
            if let Some(proto) = &facts.proto {
                this.proto(this.names[name], proto);
            }
        }
        let Compiler { types, names, .. } = this;
        finish(file, types, &names)
    }

    fn push(&mut self, ty: Type) -> TypeId {
        let id = TypeId(u32::try_from(self.types.len()).expect("fewer than 2^32 types"));
        self.types.push(ty);
        id
    }

    /// A schema at a place where it is used: a reference gives the named type's id.
    fn id(&mut self, schema: &Value) -> TypeId {
        match reference(schema) {
            Some(name) => self.names.get(name).copied().unwrap_or(self.any),
            None => {
                let ty = self.ty(schema, "", None);
                if matches!(ty, Type::Any) {
                    self.any
                } else {
                    self.push(ty)
                }
            }
        }
    }

    fn ty(&mut self, schema: &Value, name: &str, proto: Option<&ProtoFacts>) -> Type {
        let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or("");
        let format = text("format");
        if format == "int-or-string" {
            return Type::IntOrString;
        }
        match text("type") {
            "string" => match format {
                "byte" => Type::Bytes,
                "date-time" => Type::Time,
                _ => Type::String,
            },
            "boolean" => Type::Bool,
            "integer" if format == "int32" => Type::Int32,
            "integer" => Type::Int64,
            "number" => Type::Float,
            "array" => self.list(schema),
            "object" => {
                if let Some(values) = schema.get("additionalProperties").filter(|v| v.is_object()) {
                    let value = self.id(values);
                    let atomic = text("x-kubernetes-map-type") == "atomic";
                    return Type::Map { value, atomic };
                }
                if schema.get("properties").is_none() && name.is_empty() {
                    return Type::Any;
                }
                if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
                    return Type::Any;
                }
                self.object(schema, name, proto)
            }
            _ => Type::Any,
        }
    }

    fn list(&mut self, schema: &Value) -> Type {
        let item = match schema.get("items") {
            Some(items) => self.id(items),
            None => self.any,
        };
        let kind = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => ListKind::Set,
            Some("map") => {
                let keys = schema
                    .get("x-kubernetes-list-map-keys")
                    .and_then(Value::as_array);
                let keys = keys.into_iter().flatten().filter_map(Value::as_str);
                ListKind::Map(keys.map(|key| (key.into(), None)).collect())
            }
            _ => ListKind::Atomic,
        };
        Type::List { item, kind }
    }

    fn object(&mut self, schema: &Value, name: &str, proto: Option<&ProtoFacts>) -> Type {
        let mut object = ObjectType {
            hook: defaults::hook(name),
            go_type: go_type_of(name).into(),
            atomic: schema.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
            ..ObjectType::default()
        };
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut tags = HashMap::new();
        if let Some(proto) = proto {
            go_tags(self.facts, proto, &mut tags, 0);
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (field, property) in properties.into_iter().flatten() {
            let strategy = property
                .get("x-kubernetes-patch-strategy")
                .and_then(Value::as_str);
            let merge_key = property
                .get("x-kubernetes-patch-merge-key")
                .and_then(Value::as_str);
            let strategy = strategy.unwrap_or("");
            let has = |word: &str| strategy.split(',').any(|s| s == word);
            let ty = self.id(property);
            let tag = tags.get(field.as_str()).copied();
            let omit_zero = match tag {
                Some(tag) if tag.omitempty => !tag.pointer,
                Some(_) => false,
                // Without the Go tag: Kubernetes' optional lists and maps are never kept empty.
                None => {
                    matches!(
                        self.types[ty.0 as usize],
                        Type::List { .. } | Type::Map { .. }
                    ) && !required.contains(&field.as_str())
                }
            };
            let default = property.get("default").cloned();
            // The facts do not tell `omitzero` apart; this is the one time that has it.
            let by_value = tag.is_some_and(|tag| !tag.pointer) && field != "creationTimestamp";
            let field_facts = Field {
                ty,
                default,
                required: required.contains(&field.as_str()),
                strategy: PatchStrategy {
                    merge: has("merge"),
                    retain_keys: has("retainKeys"),
                },
                merge_key: merge_key.map(Into::into),
                omit_zero,
                by_value,
                go_type: tag
                    .filter(|t| !t.go_type.is_empty())
                    .map(|t| t.go_type.as_str().into()),
            };
            object.fields.insert(field.as_str().into(), field_facts);
        }
        Type::Object(object)
    }

    /// A default `{}` is a statement about structs only: it is not given to maps, times and the like.
    fn defaults(&mut self) {
        for at in 0..self.types.len() {
            let Type::Object(object) = &self.types[at] else {
                continue;
            };
            let mut defaults: Vec<(Box<str>, Value)> = Vec::new();
            for (name, field) in &object.fields {
                let ty = &self.types[field.ty.0 as usize];
                if field.by_value && matches!(ty, Type::Time | Type::MicroTime) {
                    defaults.push((name.clone(), Value::Null));
                }
                let Some(default) = &field.default else {
                    continue;
                };
                let fits = match &self.types[field.ty.0 as usize] {
                    Type::Object(_) => default.is_object(),
                    _ => !default.is_object() && !default.is_array(),
                };
                // A zero that Go would leave out again is no default to set.
                let zero = *default == Value::Bool(false)
                    || default.as_f64() == Some(0.0)
                    || default.as_str() == Some("");
                if fits && !(zero && field.omit_zero) {
                    defaults.push((name.clone(), default.clone()));
                }
            }
            defaults.sort_by(|a, b| a.0.cmp(&b.0));
            if let Type::Object(object) = &mut self.types[at] {
                object.defaults = defaults;
            }
        }
    }

    /// An element that leaves out a key field is identified by that field's default.
    fn list_key_defaults(&mut self) {
        for at in 0..self.types.len() {
            let Type::List {
                item,
                kind: ListKind::Map(keys),
            } = &self.types[at]
            else {
                continue;
            };
            let Type::Object(object) = &self.types[item.0 as usize] else {
                continue;
            };
            let keys: Vec<_> = keys
                .iter()
                .map(|(key, _)| {
                    let default = object.fields.get(key).and_then(|f| f.default.clone());
                    (key.clone(), default)
                })
                .collect();
            let item = *item;
            self.types[at] = Type::List {
                item,
                kind: ListKind::Map(keys),
            };
        }
    }

    fn proto(&mut self, id: TypeId, proto: &ProtoFacts) {
        let mut message = ProtoMessage::default();
        for (number, facts) in &proto.fields {
            let Ok(number) = number.parse::<u32>() else {
                continue;
            };
            let ty = match &facts.map {
                Some(map) => ProtoType::Map(Box::new(self.proto_type(&map.value, &map.value_wire))),
                None => self.proto_type(&facts.ty, &facts.wire),
            };
            let field = ProtoField {
                json: facts.json.as_str().into(),
                ty,
                repeated: facts.repeated,
                inline: facts.inline,
                omit_zero: facts.omitempty && !facts.pointer,
            };
            message.fields.insert(number, field);
        }
        if let Type::Object(object) = &mut self.types[id.0 as usize] {
            object.proto = Some(message);
        }
    }

    fn proto_type(&self, name: &str, wire: &str) -> ProtoType {
        match name {
            "string" => return ProtoType::String,
            "bool" => return ProtoType::Bool,
            "int32" | "uint32" | "int8" | "uint8" | "int16" | "uint16" => return ProtoType::Int32,
            "int64" | "uint64" | "int" => return ProtoType::Int64,
            "float64" => return ProtoType::Double,
            "float32" => return ProtoType::Float,
            "bytes" => return ProtoType::Bytes,
            _ => {}
        }
        // Either this or that, each with wire numbers of its own: custom resource definitions come as
        // JSON, and in protobuf lose these members.
        if name.contains("JSONSchemaPropsOr") {
            return ProtoType::Unknown;
        }
        match special(name) {
            Some(Type::Quantity) => ProtoType::Quantity,
            Some(Type::IntOrString) => ProtoType::IntOrString,
            Some(Type::Time) => ProtoType::Time,
            Some(Type::MicroTime) => ProtoType::MicroTime,
            Some(Type::Duration) => ProtoType::Duration,
            Some(_) => ProtoType::RawJson,
            None => match self.names.get(name) {
                Some(id) => ProtoType::Message(*id),
                None if wire == "varint" => ProtoType::Int64,
                None => ProtoType::Unknown,
            },
        }
    }
}

fn finish(file: FactsFile, types: Vec<Type>, names: &HashMap<String, TypeId>) -> TypeTable {
    let mut by_plural: HashMap<String, Vec<usize>> = HashMap::new();
    let mut by_kind: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, resource) in file.resources.iter().enumerate() {
        by_plural.entry(resource.name.clone()).or_default().push(at);
        by_kind.entry(resource.kind.clone()).or_default().push(at);
    }
    let mut kinds: HashMap<String, Vec<(GroupVersionKind, String)>> = HashMap::new();
    let mut schemas = BTreeMap::new();
    for (name, facts) in file.schemas {
        for gvk in &facts.gvk {
            kinds
                .entry(gvk.kind.clone())
                .or_default()
                .push((gvk.clone(), name.clone()));
        }
        let schema = Schema {
            ty: names[&name],
            openapi: facts.openapi,
            gvks: facts.gvk,
        };
        schemas.insert(name, schema);
    }
    for resource in &file.resources {
        let entry = kinds.entry(resource.kind.clone()).or_default();
        let known = entry
            .iter()
            .any(|(gvk, _)| gvk.group == resource.group && gvk.version == resource.version);
        if !known && !resource.schema.is_empty() {
            let gvk = GroupVersionKind {
                group: resource.group.clone(),
                version: resource.version.clone(),
                kind: resource.kind.clone(),
            };
            entry.push((gvk, resource.schema.clone()));
        }
    }
    let with_status = file
        .resources
        .iter()
        .filter(|r| r.subresource("status").is_some())
        .map(|r| r.schema.clone())
        .collect();
    TypeTable {
        with_status,
        kubernetes_version: file.kubernetes_version,
        resources: file.resources,
        by_plural,
        by_kind,
        kinds,
        schemas,
        types,
    }
}

/// Go's struct tags of a type's fields by their JSON names, those of inlined structs among them.
fn go_tags<'f>(
    facts: &'f BTreeMap<String, SchemaFacts>,
    proto: &'f ProtoFacts,
    found: &mut HashMap<&'f str, &'f ProtoFieldFacts>,
    depth: usize,
) {
    for field in proto.fields.values() {
        if !field.inline {
            found.insert(&field.json, field);
        } else if depth < 8
            && let Some(inner) = facts.get(&field.ty).and_then(|f| f.proto.as_ref())
        {
            go_tags(facts, inner, found, depth + 1);
        }
    }
}

/// `v1.DeploymentSpec` of `io.k8s.api.apps.v1.DeploymentSpec`.
fn go_type_of(name: &str) -> String {
    let mut parts = name.rsplit('.');
    match (parts.next(), parts.next()) {
        (Some(kind), Some(package)) => format!("{package}.{kind}"),
        _ => name.to_owned(),
    }
}
