//! Objects by the value of one field, so that a list that fixes it need not look at the others.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::{Key, Object};

/// See the module. Objects in which the field is empty are not in it.
#[derive(Debug)]
pub(super) struct Index {
    /// As field selectors name it, such as `spec.nodeName`.
    field: &'static str,
    keys: HashMap<String, BTreeSet<Key>>,
}

impl Index {
    pub(super) fn new(field: &'static str) -> Self {
        Self {
            field,
            keys: HashMap::new(),
        }
    }

    pub(super) fn field(&self) -> &'static str {
        self.field
    }

    /// The keys of the objects with this value, in their order.
    pub(super) fn keys(&self, value: &str) -> impl Iterator<Item = &Key> {
        self.keys.get(value).into_iter().flatten()
    }

    /// Takes over what became of one object.
    pub(super) fn changed(&mut self, key: &Key, before: Option<&Object>, after: Option<&Object>) {
        let (before, after) = (self.value(before), self.value(after));
        if before == after {
            return;
        }
        if !before.is_empty()
            && let Some(keys) = self.keys.get_mut(before)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.keys.remove(before);
            }
        }
        if !after.is_empty() {
            let keys = self.keys.entry(after.to_owned()).or_default();
            keys.insert(key.clone());
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
