//! `metadata.managedFields`: who owns which fields.
//!
//! Rules: apimachinery/pkg/util/managedfields/internal. An entry is identified by manager, operation
//! and subresource, and an updater's also by its version; times never identify.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::set::FieldSet;
use crate::sandbox::types::convert;

/// More updaters than this are joined into one (`NewCapManagersManager`).
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) apply: bool,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

impl Manager {
    pub(super) fn is(&self, other: &Self) -> bool {
        self.name == other.name
            && self.apply == other.apply
            && self.subresource == other.subresource
            && (self.apply || self.api_version == other.api_version)
    }

    /// How conflicts name it (managedfields/internal/conflict.go `printManager`).
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.apply {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// Reads the entries of an object; entries of another shape are left out.
pub(super) fn read(object: &Value) -> Vec<Manager> {
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let read = |entry: &Value| {
        let text = |key: &str| {
            entry
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned()
        };
        let fields = entry.get("fieldsV1")?;
        Some(Manager {
            name: text("manager"),
            apply: text("operation") == "Apply",
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
            fields: FieldSet::from_fields_v1(fields),
        })
    };
    entries.into_iter().flatten().filter_map(read).collect()
}

/// Writes the entries into the object: appliers first, then by time and name.
pub(super) fn write(object: &mut Value, mut managers: Vec<Manager>, now: Timestamp) {
    managers.retain(|m| !m.fields.is_empty());
    cap(&mut managers, now);
    managers.sort_by(|a, b| {
        b.apply
            .cmp(&a.apply)
            .then_with(|| a.time.cmp(&b.time))
            .then_with(|| a.name.cmp(&b.name))
            .then_with(|| a.api_version.cmp(&b.api_version))
            .then_with(|| a.subresource.cmp(&b.subresource))
    });
    let entries: Vec<Value> = managers
        .iter()
        .map(|m| {
            let mut entry = json!({
                "manager": m.name,
                "operation": if m.apply { "Apply" } else { "Update" },
                "apiVersion": m.api_version,
                "fieldsType": "FieldsV1",
                "fieldsV1": m.fields.to_fields_v1(),
            });
            if let Some(time) = &m.time {
                entry["time"] = json!(time);
            }
            if !m.subresource.is_empty() {
                entry["subresource"] = json!(m.subresource);
            }
            entry
        })
        .collect();
    put(object, Value::Array(entries));
}

/// Sets or, if empty, removes `metadata.managedFields`.
pub(super) fn put(object: &mut Value, entries: Value) {
    let Some(members) = object.as_object_mut() else {
        return;
    };
    let metadata = members
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    if entries.as_array().is_some_and(|e| !e.is_empty()) {
        metadata.insert("managedFields".to_owned(), entries);
    } else {
        metadata.remove("managedFields");
    }
}

/// Joins the oldest updaters into one entry when there are too many.
fn cap(managers: &mut Vec<Manager>, now: Timestamp) {
    let updaters = |managers: &[Manager]| managers.iter().filter(|m| !m.apply).count();
    if updaters(managers) <= MAX_UPDATERS {
        return;
    }
    managers.sort_by(|a, b| a.time.cmp(&b.time));
    while updaters(managers) > MAX_UPDATERS {
        let oldest = managers.iter().position(|m| !m.apply && m.name != ANCIENT);
        let Some(oldest) = oldest else { return };
        let oldest = managers.remove(oldest);
        let same = |m: &&mut Manager| m.name == ANCIENT && m.api_version == oldest.api_version;
        match managers.iter_mut().find(same) {
            Some(ancient) => {
                ancient.fields.union(&oldest.fields);
                ancient.time = oldest.time;
            }
            None => managers.push(Manager {
                name: ANCIENT.to_owned(),
                subresource: String::new(),
                time: oldest.time.or_else(|| Some(convert::time(now))),
                ..oldest
            }),
        }
    }
}
