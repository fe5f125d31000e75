//! Objects by the value of one field or of each label, so that a list that fixes one need not look at the others.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::{Key, Object};

/// Stands for all labels: an index of it knows the fields `metadata.labels/<label>`.
pub(crate) const LABELS: &str = "metadata.labels";

/// See the module. Objects in which the field is empty are not in it.
#[derive(Debug)]
pub(super) struct Index {
    /// As field selectors name it, such as `spec.nodeName`; or [`LABELS`].
    field: &'static str,
    /// By value; of labels by `<label>=<value>`.
    keys: HashMap<String, BTreeSet<Key>>,
}

impl Index {
    pub(super) fn new(field: &'static str) -> Self {
        Self {
            field,
            keys: HashMap::new(),
        }
    }

    /// The keys of the objects with this value of this field, in their order; `None` if this index does not know.
    pub(super) fn keys(&self, field: &str, value: &str) -> Option<&BTreeSet<Key>> {
        static NONE: BTreeSet<Key> = BTreeSet::new();
        let found = if let Some(label) = field.strip_prefix(LABELS) {
            let label = label.strip_prefix('/').filter(|_| self.field == LABELS)?;
            self.keys.get(&format!("{label}={value}"))
        } else {
            (self.field == field && !value.is_empty()).then(|| self.keys.get(value))?
        };
        Some(found.unwrap_or(&NONE))
    }

    /// Takes over what became of one object.
    pub(super) fn changed(&mut self, key: &Key, before: Option<&Object>, after: Option<&Object>) {
        if self.field == LABELS {
            self.labels_changed(key, before, after);
            return;
        }
        let (before, after) = (self.value(before), self.value(after));
        if before == after {
            return;
        }
        if !before.is_empty() {
            self.leave(before, key);
        }
        if !after.is_empty() {
            self.enter(after.to_owned(), key);
        }
    }

    fn labels_changed(&mut self, key: &Key, before: Option<&Object>, after: Option<&Object>) {
        let (before, after) = (labels(before), labels(after));
        if before == after {
            return;
        }
        for (pairs, comes) in [(before, false), (after, true)] {
            for (label, value) in pairs.into_iter().flatten() {
                let pair = format!("{label}={}", value.as_str().unwrap_or_default());
                if comes {
                    self.enter(pair, key);
                } else {
                    self.leave(&pair, key);
                }
            }
        }
    }

    fn enter(&mut self, value: String, key: &Key) {
        self.keys.entry(value).or_default().insert(key.clone());
    }

    fn leave(&mut self, value: &str, key: &Key) {
        if let Some(keys) = self.keys.get_mut(value) {
            keys.remove(key);
            if keys.is_empty() {
                self.keys.remove(value);
            }
        }
    }

    fn value<'a>(&self, object: Option<&'a Object>) -> &'a str {
        let value = object.and_then(|object| {
            let mut path = self.field.split('.');
            path.try_fold(&object.value, |value: &Value, part| value.get(part))
        });
        value.and_then(Value::as_str).unwrap_or_default()
    }
}

fn labels(object: Option<&Object>) -> Option<&serde_json::Map<String, Value>> {
    object?.value.get("metadata")?.get("labels")?.as_object()
}
