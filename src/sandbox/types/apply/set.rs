//! Sets of field paths, as `FieldsV1` writes them.
//!
//! A path element is kept in its written form: `f:name` a field, `k:{…}` a list element by its keys,
//! `v:…` an element of a set. A node may be a member itself (`.`) and have members below it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of paths, as a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    /// Whether the path to this node is a member.
    pub(super) owned: bool,
    pub(super) children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// The set whose only member is its root.
    pub(super) fn leaf() -> Self {
        Self {
            owned: true,
            children: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.owned && self.children.is_empty()
    }

    /// `None` instead of an empty set, so that nothing is built where nothing is a member.
    pub(super) fn non_empty(self) -> Option<Self> {
        if self.is_empty() { None } else { Some(self) }
    }

    /// Reads `FieldsV1`. What is no object counts as a leaf: the document comes from clients.
    pub(super) fn from_fields_v1(fields: &Value) -> Self {
        let mut root = Self::node(fields, 0);
        if root.children.is_empty() {
            root.owned = false;
        }
        root
    }

    fn node(value: &Value, depth: usize) -> Self {
        let members = match value {
            Value::Object(members) if !members.is_empty() && depth < 100 => members,
            _ => return Self::leaf(),
        };
        let mut set = Self::default();
        for (key, value) in members {
            if key == "." {
                set.owned = true;
            } else {
                set.children
                    .insert(key.clone(), Self::node(value, depth + 1));
            }
        }
        set
    }

    /// Writes `FieldsV1`.
    pub(super) fn to_fields_v1(&self) -> Value {
        let mut members = Map::new();
        if self.owned && !self.children.is_empty() {
            members.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (key, child) in &self.children {
            members.insert(key.clone(), child.to_fields_v1());
        }
        Value::Object(members)
    }

    pub(super) fn union(&mut self, other: &Self) {
        self.owned |= other.owned;
        for (key, child) in &other.children {
            match self.children.get_mut(key) {
                Some(mine) => mine.union(child),
                None => {
                    self.children.insert(key.clone(), child.clone());
                }
            }
        }
    }

    /// Removes every member that `other` has, path by path.
    pub(super) fn subtract(&mut self, other: &Self) {
        if other.owned {
            self.owned = false;
        }
        for (key, child) in &other.children {
            if let Some(mine) = self.children.get_mut(key) {
                mine.subtract(child);
                if mine.is_empty() {
                    self.children.remove(key);
                }
            }
        }
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut set = Self {
            owned: self.owned && other.owned,
            children: BTreeMap::new(),
        };
        for (key, child) in &self.children {
            if let Some(common) = other
                .children
                .get(key)
                .and_then(|theirs| child.intersection(theirs).non_empty())
            {
                set.children.insert(key.clone(), common);
            }
        }
        set
    }

    /// Removes a node with all below it.
    pub(super) fn remove(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.children.remove(*last);
            }
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(*first) {
                    child.remove(rest);
                    if child.is_empty() {
                        self.children.remove(*first);
                    }
                }
            }
        }
    }

    /// All members as people read them: `.spec.containers[name="a"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect("", &mut found);
        found
    }

    fn collect(&self, prefix: &str, found: &mut Vec<String>) {
        if self.owned {
            found.push(prefix.to_owned());
        }
        for (key, child) in &self.children {
            child.collect(&format!("{prefix}{}", readable(key)), found);
        }
    }
}

fn readable(element: &str) -> String {
    match element.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some(("v:", value)) => format!("[={value}]"),
        Some(("i:", index)) => format!("[{index}]"),
        Some(("k:", keys)) => match serde_json::from_str::<Map<String, Value>>(keys) {
            Ok(keys) => {
                let keys: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("[{}]", keys.join(","))
            }
            Err(_) => format!("[{keys}]"),
        },
        _ => format!(".{element}"),
    }
}
