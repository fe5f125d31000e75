//! The served resources and the collections that hold their objects.
//!
//! A collection belongs to a group and plural name; versions of it are views ([`super::conversion`]).
//! `events` of the core group and of `events.k8s.io` are one collection, as in the real server.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::GroupResource;
use super::store::CollectionId;
use crate::sandbox::types::{ResourceFacts, TypeTable};

/// A served resource in one version.
#[derive(Debug)]
pub(crate) struct Resource {
    /// Facts of the requested version.
    pub(crate) facts: &'static ResourceFacts,
    /// Facts of the version objects are kept in.
    pub(crate) stored: &'static ResourceFacts,
    /// Where the objects are. Resources that keep none have a collection that stays empty.
    pub(crate) collection: CollectionId,
    /// `apiVersion` of the requested version.
    pub(crate) api_version: String,
    /// `"kind":"Pod","apiVersion":"v1"`.
    pub(crate) type_meta: String,
    /// `"kind":"PodList","apiVersion":"v1"`.
    pub(crate) list_type_meta: String,
}

impl Resource {
    /// Group and plural, for messages.
    pub(crate) fn group_resource(&self) -> GroupResource<'static> {
        GroupResource {
            group: &self.facts.group,
            resource: &self.facts.name,
        }
    }

    /// Whether the requested version is the stored one, so that stored bytes can be sent.
    pub(crate) fn is_stored_version(&self) -> bool {
        std::ptr::eq(self.facts, self.stored)
    }

    /// Group (of the stored version) and plural: what rules are chosen by.
    pub(crate) fn rule_key(&self) -> (&'static str, &'static str) {
        (&self.stored.group, &self.stored.name)
    }
}

/// All served resources.
#[derive(Debug)]
pub(crate) struct Registry {
    /// By plural name; few groups share one.
    resources: HashMap<&'static str, Vec<Arc<Resource>>>,
    collections: usize,
}

/// The group whose collection holds the objects of `group`'s resource.
fn stored_group<'a>(group: &'a str, plural: &str) -> &'a str {
    if group == "events.k8s.io" && plural == "events" {
        ""
    } else {
        group
    }
}

impl Registry {
    pub(crate) fn new(table: &'static TypeTable) -> Self {
        let mut ids: HashMap<(&str, &str), usize> = HashMap::new();
        let mut stored: Vec<&'static ResourceFacts> = Vec::new();
        for facts in table.resources() {
            let key = (facts.group.as_str(), facts.name.as_str());
            if stored_group(key.0, key.1) != key.0 {
                continue;
            }
            match ids.get(&key) {
                Some(&id) if facts.preferred => stored[id] = facts,
                Some(_) => {}
                None => {
                    ids.insert(key, stored.len());
                    stored.push(facts);
                }
            }
        }
        let mut resources: HashMap<&'static str, Vec<Arc<Resource>>> = HashMap::new();
        for facts in table.resources() {
            let key = (stored_group(&facts.group, &facts.name), facts.name.as_str());
            let Some(&id) = ids.get(&key) else { continue };
            let api_version = facts.api_version();
            let type_meta = format!(
                "\"kind\":\"{}\",\"apiVersion\":\"{api_version}\"",
                facts.kind
            );
            let list_type_meta = format!(
                "\"kind\":\"{}List\",\"apiVersion\":\"{api_version}\"",
                facts.kind
            );
            resources
                .entry(facts.name.as_str())
                .or_default()
                .push(Arc::new(Resource {
                    facts,
                    stored: stored[id],
                    collection: CollectionId(id),
                    api_version,
                    type_meta,
                    list_type_meta,
                }));
        }
        Self {
            resources,
            collections: stored.len(),
        }
    }

    /// How many collections there are.
    pub(crate) fn collections(&self) -> usize {
        self.collections
    }

    pub(crate) fn resource(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<&Arc<Resource>> {
        let candidates = self.resources.get(plural)?;
        candidates
            .iter()
            .find(|r| r.facts.group == group && r.facts.version == version)
    }

    /// A resource that the server itself depends on, in version `v1`.
    pub(crate) fn core(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resource(group, "v1", plural)
    }

    /// Whether any version of this group is served.
    pub(crate) fn serves_group(&self, group: &str) -> bool {
        self.resources
            .values()
            .flatten()
            .any(|r| r.facts.group == group)
    }

    /// Whether any resource of this group and version is served.
    pub(crate) fn serves(&self, group: &str, version: &str) -> bool {
        self.resources
            .values()
            .flatten()
            .any(|r| r.facts.group == group && r.facts.version == version)
    }
}
