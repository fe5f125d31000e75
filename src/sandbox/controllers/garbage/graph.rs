//! Who owns whom, by uid: what the garbage collector knows of the cluster
//! (pkg/controller/garbagecollector/graph.go). Pure; the collector owns it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::sandbox::controllers::informer::Key;
use crate::sandbox::controllers::objects::{is_terminating, uid};
use crate::sandbox::controllers::resources::Known;

/// The finalizer of an owner that waits for its dependents to be gone.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner whose dependents are to be let go.
pub const ORPHAN: &str = "orphan";

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// Whether the object with this uid is garbage, or, if it waits for its dependents, whether it
    /// still has to.
    Check(String),
    /// The object with this uid lets its dependents go.
    Orphan(String),
}

/// One object.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its resource.
    pub known: Known,
    /// Its name.
    pub key: Key,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// Whether its deletion has begun.
    pub terminating: bool,
    /// Its finalizers.
    pub finalizers: Vec<String>,
}

impl Item {
    fn of(known: &Known, meta: &ObjectMeta) -> Self {
        Self {
            known: known.clone(),
            key: Key::new(
                meta.namespace.clone().unwrap_or_default(),
                meta.name.clone().unwrap_or_default(),
            ),
            owners: meta.owner_references.clone().unwrap_or_default(),
            terminating: is_terminating(meta),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
        }
    }

    fn has(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|known| known == finalizer)
    }

    /// Whether it waits for its dependents to be deleted.
    #[must_use]
    pub fn waits_for_dependents(&self) -> bool {
        self.terminating && self.has(FOREGROUND)
    }

    /// Whether its dependents are to be let go.
    #[must_use]
    pub fn lets_go(&self) -> bool {
        self.terminating && self.has(ORPHAN)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Graph {
    items: BTreeMap<String, Item>,
    dependents: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// The object with this uid.
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<&Item> {
        self.items.get(uid)
    }

    /// The objects that name this uid as an owner.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = (&String, &Item)> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.items.get(uid).map(|item| (uid, item)))
    }

    /// The dependents whose presence keeps an owner that waits for them.
    #[must_use]
    pub fn blocking(&self, owner: &str) -> Vec<String> {
        let blocks = |item: &Item| {
            item.owners.iter().any(|reference| {
                reference.uid == owner && reference.block_owner_deletion == Some(true)
            })
        };
        self.dependents(owner)
            .filter(|(_, item)| blocks(item))
            .map(|(uid, _)| uid.clone())
            .collect()
    }

    /// An object was added or changed. Says what is to be looked at now.
    pub fn saw(&mut self, known: &Known, meta: &ObjectMeta) -> Vec<Task> {
        let id = uid(meta).to_owned();
        let new = Item::of(known, meta);
        let old = self.items.insert(id.clone(), new.clone());
        let before: BTreeSet<&str> = old
            .iter()
            .flat_map(|old| &old.owners)
            .map(|owner| owner.uid.as_str())
            .collect();
        let after: BTreeSet<&str> = new.owners.iter().map(|owner| owner.uid.as_str()).collect();
        for gone in before.difference(&after) {
            self.unlink(gone, &id);
        }
        for owner in &after {
            self.dependents
                .entry((*owner).to_owned())
                .or_default()
                .insert(id.clone());
        }
        let mut tasks = Vec::new();
        // An owner that waits may wait no longer when a reference is gone or blocks no more.
        if old.as_ref().is_some_and(|old| old.owners != new.owners) {
            for owner in before.union(&after) {
                if self
                    .items
                    .get(*owner)
                    .is_some_and(Item::waits_for_dependents)
                {
                    tasks.push(Task::Check((*owner).to_owned()));
                }
            }
        }
        let suspicious = new.owners.iter().any(|owner| {
            self.items
                .get(&owner.uid)
                .is_none_or(Item::waits_for_dependents)
        });
        if suspicious {
            tasks.push(Task::Check(id.clone()));
        }
        let begins = |is: fn(&Item) -> bool| is(&new) && !old.as_ref().is_some_and(is);
        if begins(Item::lets_go) {
            tasks.push(Task::Orphan(id.clone()));
        }
        if begins(Item::waits_for_dependents) {
            tasks.push(Task::Check(id));
        }
        tasks
    }

    /// An object is gone. Says what is to be looked at now.
    pub fn lost(&mut self, id: &str) -> Vec<Task> {
        let Some(item) = self.items.remove(id) else {
            return Vec::new();
        };
        let mut tasks: Vec<Task> = self
            .dependents(id)
            .map(|(uid, _)| Task::Check(uid.clone()))
            .collect();
        for owner in &item.owners {
            self.unlink(&owner.uid, id);
            if self
                .items
                .get(&owner.uid)
                .is_some_and(Item::waits_for_dependents)
            {
                tasks.push(Task::Check(owner.uid.clone()));
            }
        }
        tasks
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ::kube::api::ApiResource;
    use serde_json::{Value, json};

    use super::*;

    fn known() -> Known {
        Known {
            resource: ApiResource {
                group: String::new(),
                version: "v1".into(),
                api_version: "v1".into(),
                kind: "Pod".into(),
                plural: "pods".into(),
            },
            namespaced: true,
            watchable: true,
        }
    }

    fn meta(uid: &str, owner: Option<&str>, extra: Value) -> ObjectMeta {
        let owners = owner.map_or_else(
            || json!([]),
            |owner| {
                json!([{"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": owner,
                    "blockOwnerDeletion": true}])
            },
        );
        let mut value =
            json!({"name": uid, "namespace": "d", "uid": uid, "ownerReferences": owners});
        json_patch::merge(&mut value, &extra);
        serde_json::from_value(value).unwrap()
    }

    fn dying(finalizer: &str) -> Value {
        json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [finalizer]})
    }

    #[test]
    fn a_dependent_is_suspicious_without_its_owner() {
        let mut graph = Graph::default();
        let check = |uid: &str| Task::Check(uid.into());
        assert_eq!(
            graph.saw(&known(), &meta("p", Some("o"), json!({}))),
            [check("p")]
        );
        assert_eq!(graph.saw(&known(), &meta("o", None, json!({}))), []);
        assert_eq!(graph.saw(&known(), &meta("p", Some("o"), json!({}))), []);
        assert_eq!(graph.lost("o"), [check("p")]);
    }

    #[test]
    fn foreground_deletion_waits_for_what_blocks() {
        let mut graph = Graph::default();
        let check = |uid: &str| Task::Check(uid.into());
        graph.saw(&known(), &meta("o", None, json!({})));
        graph.saw(&known(), &meta("p", Some("o"), json!({})));
        let dying = meta("o", None, dying(FOREGROUND));
        assert_eq!(graph.saw(&known(), &dying), [check("o")]);
        assert_eq!(graph.blocking("o"), ["p"]);
        assert_eq!(graph.lost("p"), [check("o")]);
        assert!(graph.blocking("o").is_empty());
    }

    #[test]
    fn orphaning_is_a_task_of_its_own() {
        let mut graph = Graph::default();
        graph.saw(&known(), &meta("o", None, json!({})));
        let dying = meta("o", None, dying(ORPHAN));
        assert_eq!(graph.saw(&known(), &dying), [Task::Orphan("o".into())]);
        assert_eq!(graph.saw(&known(), &dying), []);
    }

    #[test]
    fn a_released_dependent_is_nobodys() {
        let mut graph = Graph::default();
        graph.saw(&known(), &meta("o", None, json!({})));
        graph.saw(&known(), &meta("p", Some("o"), json!({})));
        graph.saw(&known(), &meta("p", None, json!({})));
        assert_eq!(graph.lost("o"), []);
    }
}
