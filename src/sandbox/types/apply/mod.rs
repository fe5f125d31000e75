//! Server-side apply, and the record of who set which field (`metadata.managedFields`).
//!
//! Rules: KEP-555; sigs.k8s.io/structured-merge-diff merge/update.go; apimachinery/pkg/util/managedfields.
//! Each write passes here once: an apply through [`server_side_apply`], every other write through
//! [`track_update`]. Where nothing changed nothing is built.

mod managers;
mod set;
mod walk;

use jiff::Timestamp;
use serde_json::Value;

use self::managers::Manager;
use self::set::FieldSet;
use super::convert;
use super::schema::{ListKind, Type, TypeTable};

/// A field that another manager has set to another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager's name.
    pub manager: String,
    /// The field, `.spec.replicas`.
    pub field: String,
    /// Version in which the other manager wrote.
    pub api_version: String,
    /// The cause's message in the `Status`: `conflict with "kubectl" using apps/v1`.
    pub message: String,
}

/// Why an apply is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Fields belong to others and have other values there; the answer is 409.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The applied object carries managedFields; the answer is 400.
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
    /// The applied configuration is no object; the answer is 400.
    #[error("error decoding YAML: the applied configuration is not an object")]
    NotAnObject,
}

/// As managedfields/internal/conflict.go words it.
fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!(
            "Apply failed with 1 conflict: {}: {}",
            one.message, one.field
        );
    }
    let mut managers: Vec<&str> = conflicts.iter().map(|c| c.message.as_str()).collect();
    managers.sort_unstable();
    managers.dedup();
    let lines: Vec<String> = managers
        .iter()
        .map(|message| {
            let fields = conflicts.iter().filter(|c| c.message == *message);
            let fields: String = fields.map(|c| format!("\n- {}", c.field)).collect();
            format!(
                "conflicts{}:{fields}",
                message.strip_prefix("conflict").unwrap_or(message)
            )
        })
        .collect();
    format!(
        "Apply failed with {} conflicts: {}",
        conflicts.len(),
        lines.join("\n")
    )
}

/// Where a strict decoding error lies, as structured-merge-diff says it: elements of keyed lists by their
/// keys. `None` for errors that are not about unknown fields.
#[must_use]
pub fn undeclared(
    table: &TypeTable,
    schema: &str,
    object: &Value,
    strict_error: &str,
) -> Option<String> {
    let path = strict_error
        .strip_prefix("unknown field \"")?
        .strip_suffix('"')?;
    let mut ty = table.type_of(schema).unwrap_or(&Type::Any);
    let mut at = object;
    let mut text = String::new();
    for segment in path.split('.') {
        let (field, indices) = segment.split_once('[').unwrap_or((segment, ""));
        text.push('.');
        text.push_str(field);
        at = at.get(field).unwrap_or(&Value::Null);
        ty = match ty {
            Type::Object(object) => object
                .fields
                .get(field)
                .map_or(&Type::Any, |f| table.ty(f.ty)),
            Type::Map { value, .. } => table.ty(*value),
            _ => &Type::Any,
        };
        for index in indices.trim_end_matches(']').split("][") {
            let Ok(index) = index.parse::<usize>() else {
                continue;
            };
            at = at.get(index).unwrap_or(&Value::Null);
            let keys = match ty {
                Type::List {
                    kind: ListKind::Map(keys),
                    ..
                } => keys.as_slice(),
                _ => &[],
            };
            let named: Vec<String> = keys
                .iter()
                .filter_map(|(key, default)| {
                    let value = at.get(&**key).or(default.as_ref())?;
                    Some(format!("{key}={value}"))
                })
                .collect();
            text.push_str(&match named.is_empty() {
                true => format!("[{index}]"),
                false => format!("[{}]", named.join(",")),
            });
            if let Type::List { item, .. } = ty {
                ty = table.ty(*item);
            }
        }
    }
    Some(format!("{text}: field not declared in schema"))
}

/// Metadata that is never owned (managedfields/internal/stripmeta.go).
const UNOWNED_METADATA: [&str; 9] = [
    "f:name",
    "f:namespace",
    "f:creationTimestamp",
    "f:selfLink",
    "f:uid",
    "f:clusterName",
    "f:generation",
    "f:managedFields",
    "f:resourceVersion",
];

/// Takes out what nobody owns, and what a write through this subresource cannot change: `status`
/// through the object itself, `spec` through `/status` (the strategies' `GetResetFields`).
fn strip(table: &TypeTable, schema: &str, subresource: &str, set: &mut FieldSet) {
    set.owned = false;
    set.children.remove("f:apiVersion");
    set.children.remove("f:kind");
    if let Some(metadata) = set.children.get_mut("f:metadata") {
        metadata.owned = false;
        for field in UNOWNED_METADATA {
            metadata.children.remove(field);
        }
        if metadata.is_empty() {
            set.children.remove("f:metadata");
        }
    }
    match subresource {
        "" if table.has_status_subresource(schema) => set.remove(&["f:status"]),
        "status" => set.remove(&["f:spec"]),
        _ => {}
    }
}

fn api_version_of(table: &TypeTable, schema: &str, object: &Value) -> String {
    if let Some(version) = object.get("apiVersion").and_then(Value::as_str) {
        return version.to_owned();
    }
    let gvk = table.schema(schema).and_then(|s| s.gvks().first());
    gvk.map(|g| super::facts::api_version(&g.group, &g.version))
        .unwrap_or_default()
}

/// Records a write that is no apply: `manager` owns from now on what it changed, nobody owns what it
/// removed. `new` is the object as it will be stored (defaulted), `live` the one before; `None` on
/// create. `subresource` is empty for the object itself.
pub fn track_update(
    table: &TypeTable,
    schema: &str,
    live: Option<&Value>,
    new: &mut Value,
    manager: &str,
    subresource: &str,
    now: Timestamp,
) {
    let ty = table.type_of(schema).unwrap_or(&Type::Any);
    if !matches!(ty, Type::Object(_)) {
        return;
    }
    let zero;
    let before = match live {
        Some(live) => live,
        None => {
            zero = walk::zero_object(table, ty);
            &zero
        }
    };
    let mut difference = walk::compare(table, ty, Some(before), Some(new));
    for set in [&mut difference.changed, &mut difference.removed] {
        if let Some(mut inner) = set.take() {
            strip(table, schema, subresource, &mut inner);
            *set = inner.non_empty();
        }
    }
    // A client may rewrite or empty the record itself, but not through a subresource.
    let stated = new
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let recorded = live.and_then(|l| l.pointer("/metadata/managedFields"));
    let stated = stated.filter(|entries| subresource.is_empty() && !entries.is_empty());
    let unchanged = difference.changed.is_none() && difference.removed.is_none();
    if unchanged {
        match stated {
            Some(entries) if Some(entries) == recorded.and_then(Value::as_array) => return,
            // `[{}]` is how a client says: forget all of it.
            Some(entries) if entries.iter().all(|e| e.get("fieldsV1").is_none()) => {
                managers::put(new, Value::Array(Vec::new()));
            }
            Some(_) => {}
            None => {
                let recorded = recorded
                    .cloned()
                    .unwrap_or_else(|| Value::Array(Vec::new()));
                managers::put(new, recorded);
            }
        }
        return;
    }
    let untracked = recorded.and_then(Value::as_array).is_none_or(Vec::is_empty);
    if live.is_some() && untracked && stated.is_none() {
        // Nobody's from the start, and until the first apply.
        return;
    }
    let mut managers = match (stated, live) {
        (Some(_), _) => managers::read(new),
        (None, Some(live)) => managers::read(live),
        (None, None) => Vec::new(),
    };
    for other in &mut managers {
        for set in [&difference.changed, &difference.removed]
            .into_iter()
            .flatten()
        {
            other.fields.subtract(set);
        }
    }
    if let Some(changed) = difference.changed {
        let this = Manager {
            name: manager.to_owned(),
            apply: false,
            api_version: api_version_of(table, schema, new),
            subresource: subresource.to_owned(),
            time: Some(convert::time(now)),
            fields: changed,
        };
        add(&mut managers, this);
    }
    managers::write(new, managers, now);
}

/// Joins an updater's new fields to what it had.
fn add(managers: &mut Vec<Manager>, this: Manager) {
    match managers.iter_mut().find(|m| m.is(&this)) {
        Some(known) => {
            known.fields.union(&this.fields);
            known.time = this.time;
        }
        None => managers.push(this),
    }
}

/// Applies a configuration to the live object (`None`: there is none yet). The result carries the new
/// record of managers; it is not defaulted, which the caller does next.
///
/// # Errors
/// [`ApplyError::Conflicts`] if other managers own fields with other values and `force` is not set.
pub fn server_side_apply(
    table: &TypeTable,
    schema: &str,
    live: Option<&Value>,
    applied: &Value,
    manager: &str,
    force: bool,
    now: Timestamp,
) -> Result<Value, ApplyError> {
    server_side_apply_to(table, schema, "", live, applied, (manager, force), now)
}

/// The same for a part of the object that a subresource serves, such as `status`; `by` is the manager and
/// whether it takes by force what is another's.
///
/// # Errors
/// As [`server_side_apply`].
pub fn server_side_apply_to(
    table: &TypeTable,
    schema: &str,
    subresource: &str,
    live: Option<&Value>,
    applied: &Value,
    (manager, force): (&str, bool),
    now: Timestamp,
) -> Result<Value, ApplyError> {
    if !applied.is_object() {
        return Err(ApplyError::NotAnObject);
    }
    let entries = applied
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    if entries.is_some_and(|entries| !entries.is_empty()) {
        return Err(ApplyError::ManagedFields);
    }
    let ty = table.type_of(schema).unwrap_or(&Type::Any);
    let before = live
        .cloned()
        .unwrap_or_else(|| walk::zero_object(table, ty));
    let mut object = match live {
        Some(live) => live.clone(),
        None => Value::Object(serde_json::Map::new()),
    };
    walk::merge(table, ty, &mut object, applied);
    let mut managers = live.map(managers::read).unwrap_or_default();
    // Until the pruning is done, what nobody can own counts as stated: a name is not taken away.
    let fields = walk::field_set(table, ty, applied);
    let mut this = Manager {
        name: manager.to_owned(),
        apply: true,
        api_version: api_version_of(table, schema, applied),
        subresource: subresource.to_owned(),
        time: Some(convert::time(now)),
        fields,
    };
    let last = managers
        .iter()
        .position(|m| m.is(&this))
        .map(|at| managers.remove(at));
    if let Some(last) = &last {
        let mut owned = this.fields.clone();
        managers.iter().for_each(|m| owned.union(&m.fields));
        walk::prune(table, ty, &mut object, &last.fields, &owned);
    }
    strip(table, schema, subresource, &mut this.fields);
    let mut difference = walk::compare(table, ty, Some(&before), Some(&object));
    if let Some(changed) = &mut difference.changed {
        strip(table, schema, subresource, changed);
        let mut conflicts = Vec::new();
        for other in &managers {
            for field in other.fields.intersection(changed).paths() {
                conflicts.push(Conflict {
                    manager: other.name.clone(),
                    field,
                    api_version: other.api_version.clone(),
                    message: format!("conflict with {}", other.describe()),
                });
            }
        }
        if !force && !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(conflicts));
        }
        managers.iter_mut().for_each(|m| m.fields.subtract(changed));
    }
    if let Some(removed) = &difference.removed {
        managers.iter_mut().for_each(|m| m.fields.subtract(removed));
    }
    // An apply that changes nothing but claims is not dated.
    if difference.changed.as_ref().is_none_or(FieldSet::is_empty) && difference.removed.is_none() {
        this.time = last.and_then(|last| last.time);
    }
    managers.push(this);
    managers::write(&mut object, managers, now);
    Ok(object)
}

#[cfg(test)]
mod tests;
