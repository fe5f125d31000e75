//! Defaults, as the API server sets them on every object it reads.
//!
//! Two sources. The schema's own (`default` in OpenAPI), among them the zero values that Go always
//! writes, such as `status: {}`. And a table of functions by *type*, because Kubernetes keeps the rest
//! in Go (`SetDefaults_*` in pkg/apis/*/v1/defaults.go): each runs wherever its type occurs, so that a
//! pod template in any kind is defaulted as a pod's spec is.

mod apps;
mod core;

use serde_json::{Map, Value};

use super::schema::{ObjectType, Type, TypeTable};

type Members = Map<String, Value>;

/// Sets `key` where it is absent.
fn set(members: &mut Members, key: &str, value: impl Into<Value>) {
    if !members.contains_key(key) {
        members.insert(key.to_owned(), value.into());
    }
}

/// Sets `key` where it is absent or the empty text.
fn set_text(members: &mut Members, key: &str, value: &str) {
    if members
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or("")
        .is_empty()
    {
        members.insert(key.to_owned(), Value::String(value.to_owned()));
    }
}

fn text<'m>(members: &'m Members, key: &str) -> &'m str {
    members.get(key).and_then(Value::as_str).unwrap_or("")
}

/// The member `key` as an object, made if absent; `None` if it is something else.
fn child<'m>(members: &'m mut Members, key: &str) -> Option<&'m mut Members> {
    members
        .entry(key)
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()
}

/// The function for a Go type (`v1.Container`), found once when the table is compiled.
pub(super) fn hook(model: &str) -> Option<fn(&mut Members)> {
    core::hook(model).or_else(|| apps::hook(model))
}

/// Fills in what the API server fills in. Idempotent. What admission sets (priority, tolerations,
/// the service account) is not set here.
pub fn apply_defaults(
    table: &TypeTable,
    group: &str,
    version: &str,
    kind: &str,
    object: &mut Value,
) {
    let Some(schema) = table.schema_of_kind(group, version, kind) else {
        return;
    };
    if let Some(ty) = table.type_of(schema) {
        walk(table, ty, object);
    }
}

fn walk(table: &TypeTable, ty: &Type, value: &mut Value) {
    match (ty, value) {
        (Type::Object(object), Value::Object(members)) => walk_object(table, object, members),
        (Type::Map { value: of, .. }, Value::Object(members)) => {
            let of = table.ty(*of);
            if matches!(of, Type::Object(_)) {
                members.values_mut().for_each(|v| walk(table, of, v));
            }
        }
        (Type::List { item, .. }, Value::Array(items)) => {
            let item = table.ty(*item);
            if matches!(item, Type::Object(_)) {
                items.iter_mut().for_each(|v| walk(table, item, v));
            }
        }
        _ => {}
    }
}

fn walk_object(table: &TypeTable, object: &ObjectType, members: &mut Members) {
    if let Some(hook) = object.hook {
        hook(members);
    }
    for (name, default) in &object.defaults {
        if !members.contains_key(&**name) {
            members.insert(name.to_string(), default.clone());
        }
    }
    for (name, value) in members.iter_mut() {
        if matches!(value, Value::Object(_) | Value::Array(_))
            && let Some(field) = object.fields.get(name.as_str())
        {
            walk(table, table.ty(field.ty), value);
        }
    }
}

#[cfg(test)]
mod tests;
