//! Strategic merge patch, driven by the merge keys in the facts.
//!
//! Rules: apimachinery/pkg/util/strategicpatch/patch.go, as the API server runs it (parallel lists are
//! merged, unmatched nulls are dropped). The patch is data from outside: every shape of it gives an
//! answer or an error.

use serde_json::{Map, Value};

use super::schema::{Field, ObjectType, Type, TypeTable};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// Why a patch cannot be applied. The texts are apimachinery's (util/mergepatch/errors.go).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch is no JSON object.
    #[error("invalid JSON document")]
    BadDocument,
    /// `$patch` has a value that is none of `merge`, `replace`, `delete`.
    #[error("unknown patch type: {directive} in map: {map}")]
    BadPatchType {
        /// The value.
        directive: String,
        /// The map that has it, as Go prints it.
        map: String,
    },
    /// An element of a list lacks the key by which the list is merged.
    #[error("map: {element} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The element, as Go prints it.
        element: String,
        /// The key's name.
        key: String,
    },
    /// A delete list is no list of scalars.
    #[error("invalid patch format of primitive list")]
    BadPrimitiveList,
    /// `$retainKeys` is no list, or lacks a key that the patch sets.
    #[error("invalid patch format of retainKeys")]
    BadRetainKeys,
    /// `$setElementOrder` is no list.
    #[error("invalid patch format of setElementOrder list")]
    BadSetElementOrder,
    /// The patch's elements are not in the order that `$setElementOrder` states.
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    WrongOrder {
        /// The patch's list, as Go prints it.
        patch: String,
        /// The stated order, as Go prints it.
        order: String,
    },
}

/// Applies a strategic merge patch to an object of `schema`; `original` is not changed.
///
/// # Errors
/// If the patch or one of its directives is malformed.
pub fn strategic_merge(
    table: &TypeTable,
    schema: &str,
    original: &Value,
    patch: &Value,
) -> Result<Value, PatchError> {
    let (Value::Object(members), Value::Object(patch)) = (original, patch) else {
        return Err(PatchError::BadDocument);
    };
    let ty = table.type_of(schema).unwrap_or(&Type::Any);
    Merger { table }
        .map(members.clone(), patch, ty)
        .map(Value::Object)
}

/// How a list merges: not at all, by value, or by a key of its elements.
enum ListMerge<'f> {
    Replace,
    Scalars,
    ByKey(&'f str, &'f Type),
}

struct Merger<'t> {
    table: &'t TypeTable,
}

impl<'t> Merger<'t> {
    fn field(&self, ty: &'t Type, key: &str) -> (Option<&'t Field>, &'t Type) {
        match ty {
            Type::Object(ObjectType { fields, .. }) => match fields.get(key) {
                Some(field) => (Some(field), self.table.ty(field.ty)),
                None => (None, &Type::Any),
            },
            Type::Map { value, .. } => (None, self.table.ty(*value)),
            _ => (None, &Type::Any),
        }
    }

    fn list_merge(&self, field: Option<&'t Field>, ty: &'t Type) -> ListMerge<'t> {
        let (Some(field), Type::List { item, .. }) = (field, ty) else {
            return ListMerge::Replace;
        };
        if !field.strategy.merge {
            return ListMerge::Replace;
        }
        match &field.merge_key {
            Some(key) => ListMerge::ByKey(key, self.table.ty(*item)),
            None => ListMerge::Scalars,
        }
    }

    fn map(
        &self,
        mut original: Map<String, Value>,
        patch: &Map<String, Value>,
        ty: &'t Type,
    ) -> Result<Map<String, Value>, PatchError> {
        match patch
            .get(PATCH)
            .map(|directive| (directive, directive.as_str()))
        {
            None | Some((_, Some("merge"))) => {}
            Some((_, Some("replace"))) => {
                return Ok(match clean(&Value::Object(patch.clone())) {
                    Value::Object(members) => members,
                    _ => Map::new(),
                });
            }
            Some((_, Some("delete"))) => return Ok(Map::new()),
            Some((other, _)) => return Err(bad_patch_type(other, patch)),
        }
        if let Some(retain) = patch.get(RETAIN_KEYS) {
            self.retain_keys(&mut original, patch, retain)?;
        }
        // Lists whose order the patch states are finished here and not looked at again.
        let mut done: Vec<&str> = Vec::new();
        for (key, order) in patch {
            if let Some(name) = key.strip_prefix(SET_ORDER) {
                let order = order.as_array().ok_or(PatchError::BadSetElementOrder)?;
                self.ordered_list(&mut original, patch, name, order, ty)?;
                done.push(name);
            }
        }
        for (key, value) in patch {
            if key == PATCH || key == RETAIN_KEYS || key.starts_with(SET_ORDER) {
                continue;
            }
            if let Some(name) = key.strip_prefix(DELETE_PRIMITIVES) {
                let deleted = value.as_array().ok_or(PatchError::BadPrimitiveList)?;
                if let Some(Value::Array(items)) = original.get_mut(name) {
                    items.retain(|item| !deleted.contains(item));
                }
                continue;
            }
            if done.contains(&key.as_str()) {
                continue;
            }
            if value.is_null() {
                original.remove(key);
                continue;
            }
            let merged = match original.remove(key) {
                None => clean(value),
                Some(old) => self.value(old, value, ty, key)?,
            };
            original.insert(key.clone(), merged);
        }
        Ok(original)
    }

    fn value(
        &self,
        old: Value,
        patch: &Value,
        ty: &'t Type,
        key: &str,
    ) -> Result<Value, PatchError> {
        let (field, ty) = self.field(ty, key);
        match (old, patch) {
            (Value::Object(old), Value::Object(patch)) => {
                self.map(old, patch, ty).map(Value::Object)
            }
            (Value::Array(old), Value::Array(patch)) => self
                .list(old, patch, &self.list_merge(field, ty))
                .map(Value::Array),
            _ => Ok(clean(patch)),
        }
    }

    fn retain_keys(
        &self,
        original: &mut Map<String, Value>,
        patch: &Map<String, Value>,
        retain: &Value,
    ) -> Result<(), PatchError> {
        let retain = retain.as_array().ok_or(PatchError::BadRetainKeys)?;
        let kept = |key: &str| retain.iter().any(|r| r.as_str() == Some(key));
        let directive = |key: &str| key.starts_with('$');
        if patch
            .iter()
            .any(|(key, value)| !directive(key) && !value.is_null() && !kept(key))
        {
            return Err(PatchError::BadRetainKeys);
        }
        original.retain(|key, _| kept(key));
        Ok(())
    }

    fn ordered_list(
        &self,
        original: &mut Map<String, Value>,
        patch: &Map<String, Value>,
        name: &str,
        order: &[Value],
        ty: &'t Type,
    ) -> Result<(), PatchError> {
        let (field, ty) = self.field(ty, name);
        let how = self.list_merge(field, ty);
        let patch = match patch.get(name) {
            Some(Value::Array(items)) => Some(items),
            Some(Value::Null) => {
                original.remove(name);
                return Ok(());
            }
            _ => None,
        };
        let key = match &how {
            ListMerge::ByKey(key, _) => Some(*key),
            _ => None,
        };
        check_order(patch.map_or(&[], Vec::as_slice), order, key)?;
        let deleted = original.get(name).is_none() && patch.is_none();
        if deleted {
            return Ok(());
        }
        let old = match original.remove(name) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        let merged = match patch {
            Some(patch) => self.list(old.clone(), patch, &how)?,
            None => old.clone(),
        };
        let ordered = normalise(merged, order, &old, key);
        original.insert(name.to_owned(), Value::Array(ordered));
        Ok(())
    }

    fn list(
        &self,
        old: Vec<Value>,
        patch: &[Value],
        how: &ListMerge<'t>,
    ) -> Result<Vec<Value>, PatchError> {
        match how {
            ListMerge::Replace => Ok(patch.iter().map(clean).collect()),
            ListMerge::Scalars => {
                let mut merged = old.clone();
                for item in patch {
                    if !merged.contains(item) {
                        merged.push(item.clone());
                    }
                }
                Ok(normalise(merged, patch, &old, None))
            }
            ListMerge::ByKey(key, item) => self.keyed_list(old, patch, key, item),
        }
    }

    fn keyed_list(
        &self,
        old: Vec<Value>,
        patch: &[Value],
        key: &str,
        item_type: &'t Type,
    ) -> Result<Vec<Value>, PatchError> {
        let mut merged = old.clone();
        let mut replace = false;
        let mut plain: Vec<&Map<String, Value>> = Vec::new();
        for item in patch {
            let Value::Object(members) = item else {
                return Err(PatchError::BadDocument);
            };
            match members.get(PATCH).and_then(Value::as_str) {
                Some("replace") => replace = true,
                Some("delete") => {
                    let id = merge_key(members, key)?;
                    merged.retain(|m| m.get(key) != Some(id));
                }
                Some("merge") | None => plain.push(members),
                Some(_) => return Err(bad_patch_type(&members[PATCH], members)),
            }
        }
        if replace {
            return Ok(plain
                .into_iter()
                .map(|m| clean(&Value::Object(m.clone())))
                .collect());
        }
        for members in plain {
            let id = merge_key(members, key)?;
            match merged.iter_mut().find(|m| m.get(key) == Some(id)) {
                Some(slot) => {
                    if let Value::Object(old) = slot.take() {
                        *slot = Value::Object(self.map(old, members, item_type)?);
                    }
                }
                None => merged.push(clean(&Value::Object(members.clone()))),
            }
        }
        Ok(normalise(merged, patch, &old, Some(key)))
    }
}

fn merge_key<'m>(members: &'m Map<String, Value>, key: &str) -> Result<&'m Value, PatchError> {
    members.get(key).ok_or_else(|| PatchError::NoMergeKey {
        element: go_text(&Value::Object(members.clone())),
        key: key.to_owned(),
    })
}

fn bad_patch_type(directive: &Value, map: &Map<String, Value>) -> PatchError {
    PatchError::BadPatchType {
        directive: go_text(directive),
        map: go_text(&Value::Object(map.clone())),
    }
}

/// The patch's elements (deleted ones aside) must come in the stated order.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    let deleted = |item: &Value| item.get(PATCH).and_then(Value::as_str) == Some("delete");
    let mut rest = order;
    for item in patch.iter().filter(|item| !deleted(item)) {
        match position(rest, item, key) {
            Some(at) => rest = &rest[at + 1..],
            None => {
                return Err(PatchError::WrongOrder {
                    patch: go_text(&Value::Array(patch.to_vec())),
                    order: go_text(&Value::Array(order.to_vec())),
                });
            }
        }
    }
    Ok(())
}

/// A value as Go's `%v` prints it.
#[must_use]
pub fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_text).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_text(value)));
            format!("map[{}]", members.collect::<Vec<String>>().join(" "))
        }
        other => other.to_string(),
    }
}

fn position(list: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    match key {
        Some(key) => list
            .iter()
            .position(|other| other.get(key) == item.get(key)),
        None => list.iter().position(|other| other == item),
    }
}

/// Elements of the patch stand in the patch's order, the others in the original's; between the two
/// kinds the original's order decides where it knows both, else the patch's element goes first.
fn normalise(
    merged: Vec<Value>,
    order: &[Value],
    original: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for item in merged {
        match position(order, &item, key) {
            Some(at) => ours.push((at, item)),
            None => theirs.push((position(original, &item, key).unwrap_or(usize::MAX), item)),
        }
    }
    ours.sort_by_key(|(at, _)| *at);
    theirs.sort_by_key(|(at, _)| *at);
    let mut result = Vec::with_capacity(ours.len() + theirs.len());
    let mut theirs = theirs.into_iter().peekable();
    for (_, item) in ours {
        let at = position(original, &item, key);
        while let (Some(at), Some((other, _))) = (at, theirs.peek()) {
            if *other == usize::MAX || *other >= at {
                break;
            }
            result.extend(theirs.next().map(|(_, item)| item));
        }
        result.push(item);
    }
    result.extend(theirs.map(|(_, item)| item));
    result
}

/// A value taken from the patch as it is: without directives and nulls.
fn clean(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members
                .iter()
                .filter(|(key, value)| !value.is_null() && !is_directive(key))
                .map(|(key, value)| (key.clone(), clean(value)));
            Value::Object(kept.collect())
        }
        Value::Array(items) => {
            let deleted = |item: &&Value| item.get(PATCH).and_then(Value::as_str) != Some("delete");
            Value::Array(items.iter().filter(deleted).map(clean).collect())
        }
        other => other.clone(),
    }
}

fn is_directive(key: &str) -> bool {
    key == PATCH
        || key == RETAIN_KEYS
        || key.starts_with(SET_ORDER)
        || key.starts_with(DELETE_PRIMITIVES)
}

#[cfg(test)]
mod tests;
