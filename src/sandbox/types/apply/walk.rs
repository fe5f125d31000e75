//! Walks over objects by their schema: which fields differ, which fields an object states.
//!
//! Rules: sigs.k8s.io/structured-merge-diff typed/compare.go and typed/tofieldset.go. Nothing is
//! allocated for what is equal.

use serde_json::{Map, Value};

use super::set::FieldSet;
use crate::sandbox::types::schema::{ListKind, Type, TypeTable};

/// What differs between two objects; a side that is empty is absent.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Fields that were added or got another value.
    pub(super) changed: Option<FieldSet>,
    /// Fields that are gone.
    pub(super) removed: Option<FieldSet>,
}

impl Difference {
    fn leaf(lhs: Option<&Value>, rhs: Option<&Value>) -> Self {
        match (lhs, rhs) {
            (Some(lhs), Some(rhs)) if lhs == rhs => Self::default(),
            (_, Some(_)) => Self {
                changed: Some(FieldSet::leaf()),
                removed: None,
            },
            (Some(_), None) => Self {
                changed: None,
                removed: Some(FieldSet::leaf()),
            },
            (None, None) => Self::default(),
        }
    }

    fn add(&mut self, element: impl FnOnce() -> String, inner: Self) {
        if inner.changed.is_none() && inner.removed.is_none() {
            return;
        }
        let element = element();
        if let Some(removed) = inner.removed {
            let set = self.removed.get_or_insert_default();
            set.children.insert(element.clone(), removed);
        }
        if let Some(changed) = inner.changed {
            self.changed
                .get_or_insert_default()
                .children
                .insert(element, changed);
        }
    }
}

/// The element's name in a path, `None` for a list whose elements have none.
pub(super) fn list_element(kind: &ListKind, item: &Value) -> Option<String> {
    match kind {
        ListKind::Atomic => None,
        ListKind::Set => Some(format!("v:{item}")),
        ListKind::Map(keys) => {
            let mut id = Map::new();
            for (key, default) in keys {
                if let Some(value) = item.get(&**key).or(default.as_ref()) {
                    id.insert(key.to_string(), value.clone());
                }
            }
            Some(format!("k:{}", Value::Object(id)))
        }
    }
}

/// Whether two elements are the same one, without building their names.
fn same_element(kind: &ListKind, a: &Value, b: &Value) -> bool {
    match kind {
        ListKind::Atomic => false,
        ListKind::Set => a == b,
        ListKind::Map(keys) => keys.iter().all(|(key, default)| {
            let of = |item| -> Option<&Value> { Value::get(item, &**key).or(default.as_ref()) };
            of(a) == of(b)
        }),
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(_) => false,
    }
}

/// Compares two values of one type.
pub(super) fn compare(
    table: &TypeTable,
    ty: &Type,
    lhs: Option<&Value>,
    rhs: Option<&Value>,
) -> Difference {
    let empty = is_empty(lhs) && is_empty(rhs);
    let granular = match ty {
        Type::Object(object) => !object.atomic,
        Type::Map { atomic, .. } => !atomic,
        Type::List { kind, .. } => *kind != ListKind::Atomic,
        _ => false,
    };
    if !granular || empty {
        return Difference::leaf(lhs, rhs);
    }
    let mut difference = match ty {
        Type::List { item, kind } => {
            let (Some(left), Some(right)) = (as_list(lhs), as_list(rhs)) else {
                return Difference::leaf(lhs, rhs);
            };
            compare_lists(table, table.ty(*item), kind, left, right)
        }
        _ => {
            let (Some(left), Some(right)) = (as_map(lhs), as_map(rhs)) else {
                return Difference::leaf(lhs, rhs);
            };
            compare_maps(table, ty, left, right)
        }
    };
    if lhs.is_none() {
        difference.changed.get_or_insert_default().owned = true;
    } else if rhs.is_none() {
        difference.removed.get_or_insert_default().owned = true;
    }
    difference
}

static NO_ITEMS: Vec<Value> = Vec::new();

/// The members of a value; none for what is absent, `None` for what is something else.
fn as_list(value: Option<&Value>) -> Option<&[Value]> {
    match value {
        None | Some(Value::Null) => Some(&NO_ITEMS),
        Some(Value::Array(items)) => Some(items),
        Some(_) => None,
    }
}

fn as_map(value: Option<&Value>) -> Option<Option<&Map<String, Value>>> {
    match value {
        None | Some(Value::Null) => Some(None),
        Some(Value::Object(members)) => Some(Some(members)),
        Some(_) => None,
    }
}

fn member_type<'t>(table: &'t TypeTable, ty: &'t Type, key: &str) -> &'t Type {
    match ty {
        Type::Object(object) => object
            .fields
            .get(key)
            .map_or(&Type::Any, |f| table.ty(f.ty)),
        Type::Map { value, .. } => table.ty(*value),
        _ => &Type::Any,
    }
}

fn compare_maps(
    table: &TypeTable,
    ty: &Type,
    left: Option<&Map<String, Value>>,
    right: Option<&Map<String, Value>>,
) -> Difference {
    let mut difference = Difference::default();
    for (key, value) in left.into_iter().flatten() {
        let other = right.and_then(|r| r.get(key));
        let inner = compare(table, member_type(table, ty, key), Some(value), other);
        difference.add(|| format!("f:{key}"), inner);
    }
    for (key, value) in right.into_iter().flatten() {
        if left.is_none_or(|l| !l.contains_key(key)) {
            let inner = compare(table, member_type(table, ty, key), None, Some(value));
            difference.add(|| format!("f:{key}"), inner);
        }
    }
    difference
}

fn compare_lists(
    table: &TypeTable,
    item: &Type,
    kind: &ListKind,
    left: &[Value],
    right: &[Value],
) -> Difference {
    let mut difference = Difference::default();
    let aligned = left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(a, b)| same_element(kind, a, b));
    let name = |value: &Value| list_element(kind, value).unwrap_or_default();
    if aligned {
        for (a, b) in left.iter().zip(right) {
            difference.add(|| name(b), compare(table, item, Some(a), Some(b)));
        }
        return difference;
    }
    let mut taken = vec![false; right.len()];
    for a in left {
        let twin = (0..right.len()).find(|at| !taken[*at] && same_element(kind, a, &right[*at]));
        let twin = twin.map(|at| {
            taken[at] = true;
            &right[at]
        });
        difference.add(|| name(a), compare(table, item, Some(a), twin));
    }
    for (b, taken) in right.iter().zip(taken) {
        if !taken {
            difference.add(|| name(b), compare(table, item, None, Some(b)));
        }
    }
    difference
}

/// The fields an object states: what an applier owns.
pub(super) fn field_set(table: &TypeTable, ty: &Type, value: &Value) -> FieldSet {
    match (ty, value) {
        (Type::List { item, kind }, Value::Array(items)) if *kind != ListKind::Atomic => {
            let item_type = table.ty(*item);
            let mut set = FieldSet::default();
            for item in items {
                let Some(name) = list_element(kind, item) else {
                    continue;
                };
                let mut inner = field_set(table, item_type, item);
                inner.owned = true;
                set.children.insert(name, inner);
            }
            set
        }
        (Type::Object(object), Value::Object(members)) if !object.atomic => {
            members_set(table, ty, members)
        }
        (Type::Map { atomic: false, .. }, Value::Object(members)) => {
            members_set(table, ty, members)
        }
        _ => FieldSet::leaf(),
    }
}

fn members_set(table: &TypeTable, ty: &Type, members: &Map<String, Value>) -> FieldSet {
    let mut set = FieldSet::default();
    let entries = matches!(ty, Type::Map { .. });
    for (key, value) in members {
        let mut inner = field_set(table, member_type(table, ty, key), value);
        if entries || value.is_null() || value.as_object().is_some_and(Map::is_empty) {
            inner.owned = true;
        }
        if !inner.is_empty() {
            set.children.insert(format!("f:{key}"), inner);
        }
    }
    set
}

/// What Go has before anything is created: the structs that are there by value, the zero values that are
/// always written, null for lists and maps among them. A created object is compared with this.
pub(super) fn zero_object(table: &TypeTable, ty: &Type) -> Value {
    let mut members = Map::new();
    if let Type::Object(object) = ty {
        for (name, default) in &object.defaults {
            if default.is_null()
                || matches!(default, Value::String(text) if text.is_empty())
                || *default == Value::Bool(false)
                || default.as_f64() == Some(0.0)
            {
                members.insert(name.to_string(), default.clone());
            } else if default.as_object().is_some_and(Map::is_empty)
                && let Some(field) = object.fields.get(name)
            {
                members.insert(name.to_string(), zero_object(table, table.ty(field.ty)));
            }
        }
        for (name, field) in &object.fields {
            let container = matches!(table.ty(field.ty), Type::List { .. } | Type::Map { .. });
            if field.required && container {
                members.insert(name.to_string(), Value::Null);
            }
        }
    }
    Value::Object(members)
}

/// Merges what is applied into what is there: stated fields win, lists merge by their keys, all else
/// stays (typed/merge.go).
pub(super) fn merge(table: &TypeTable, ty: &Type, live: &mut Value, applied: &Value) {
    match (ty, live, applied) {
        (Type::List { item, kind }, Value::Array(live), Value::Array(applied))
            if *kind != ListKind::Atomic =>
        {
            merge_lists(table, table.ty(*item), kind, live, applied);
        }
        (Type::Object(object), Value::Object(live), Value::Object(applied)) if !object.atomic => {
            merge_members(table, ty, live, applied);
        }
        (Type::Map { atomic: false, .. }, Value::Object(live), Value::Object(applied)) => {
            merge_members(table, ty, live, applied);
        }
        // Nothing said of what has members: they stay.
        (Type::List { .. } | Type::Object(_) | Type::Map { .. }, live, Value::Null)
            if !live.is_null() => {}
        (_, live, applied) => *live = applied.clone(),
    }
}

fn merge_members(
    table: &TypeTable,
    ty: &Type,
    live: &mut Map<String, Value>,
    applied: &Map<String, Value>,
) {
    for (key, value) in applied {
        match live.get_mut(key) {
            Some(old) => merge(table, member_type(table, ty, key), old, value),
            None => {
                live.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Applied elements stand in the applied order; live ones keep their places between them.
fn merge_lists(
    table: &TypeTable,
    item: &Type,
    kind: &ListKind,
    live: &mut Vec<Value>,
    applied: &[Value],
) {
    let mut old: Vec<Option<Value>> = std::mem::take(live).into_iter().map(Some).collect();
    let shared = |value: &Value| applied.iter().any(|a| same_element(kind, a, value));
    let mut at = 0;
    let flush = |old: &mut Vec<Option<Value>>, at: &mut usize, live: &mut Vec<Value>| {
        // Live elements that were not applied go in front of the next one that was.
        while let Some(slot) = old.get_mut(*at) {
            match slot {
                Some(value) if shared(value) => break,
                _ => live.extend(slot.take()),
            }
            *at += 1;
        }
    };
    for value in applied {
        flush(&mut old, &mut at, live);
        let twin = old
            .iter_mut()
            .find(|o| o.as_ref().is_some_and(|o| same_element(kind, o, value)));
        match twin.and_then(Option::take) {
            Some(mut merged) => {
                merge(table, item, &mut merged, value);
                live.push(merged);
            }
            None => live.push(value.clone()),
        }
    }
    live.extend(old.into_iter().flatten());
}

/// Takes away what was applied last time, is not applied now, and belongs to nobody else.
pub(super) fn prune(
    table: &TypeTable,
    ty: &Type,
    value: &mut Value,
    last: &FieldSet,
    others: &FieldSet,
) {
    match (ty, value) {
        (Type::List { item, kind }, Value::Array(items)) if *kind != ListKind::Atomic => {
            let item_type = table.ty(*item);
            items.retain_mut(|item| {
                let Some(name) = list_element(kind, item) else {
                    return true;
                };
                let Some(last) = last.children.get(&name) else {
                    return true;
                };
                keep(table, item_type, item, last, others.children.get(&name))
            });
        }
        (Type::Object(_) | Type::Map { .. }, Value::Object(members)) => {
            members.retain(|key, value| {
                let name = format!("f:{key}");
                let Some(last) = last.children.get(&name) else {
                    return true;
                };
                let inner = member_type(table, ty, key);
                keep(table, inner, value, last, others.children.get(&name))
            });
        }
        _ => {}
    }
}

fn keep(
    table: &TypeTable,
    ty: &Type,
    value: &mut Value,
    last: &FieldSet,
    others: Option<&FieldSet>,
) -> bool {
    match others {
        Some(others) => {
            prune(table, ty, value, last, others);
            true
        }
        None => false,
    }
}
