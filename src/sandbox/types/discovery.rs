//! Discovery documents, old and aggregated, rendered from the facts.

use serde_json::{Value, json};

use super::facts::{ResourceFacts, api_version};
use super::schema::TypeTable;

/// `GET /api`: the core group's versions.
#[must_use]
pub fn api_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [
            {"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}
        ],
    })
}

/// One group and its versions, the preferred one first.
struct Group<'t> {
    name: &'t str,
    versions: Vec<&'t str>,
}

/// Groups in the order in which the facts name them; the core group is left out.
fn groups(table: &TypeTable) -> Vec<Group<'_>> {
    let mut found: Vec<Group<'_>> = Vec::new();
    for resource in table.resources().iter().filter(|r| !r.group.is_empty()) {
        let at = match found.iter().position(|g| g.name == resource.group) {
            Some(at) => at,
            None => {
                found.push(Group {
                    name: &resource.group,
                    versions: Vec::new(),
                });
                found.len() - 1
            }
        };
        let versions = &mut found[at].versions;
        if !versions.contains(&resource.version.as_str()) {
            if resource.preferred {
                versions.insert(0, &resource.version);
            } else {
                versions.push(&resource.version);
            }
        }
    }
    found
}

fn group_document(group: &Group<'_>) -> Value {
    let version = |v: &&str| json!({"groupVersion": api_version(group.name, v), "version": v});
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    json!({"name": group.name, "preferredVersion": versions.first(), "versions": versions})
}

/// `GET /apis`: all named groups.
#[must_use]
pub fn api_group_list(table: &TypeTable) -> Value {
    let groups: Vec<Value> = groups(table).iter().map(group_document).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `GET /apis/GROUP`: one named group.
#[must_use]
pub fn api_group(table: &TypeTable, group: &str) -> Option<Value> {
    let groups = groups(table);
    let mut document = group_document(groups.iter().find(|g| g.name == group)?);
    document["kind"] = json!("APIGroup");
    document["apiVersion"] = json!("v1");
    Some(document)
}

fn of_version<'t>(
    table: &'t TypeTable,
    group: &'t str,
    version: &'t str,
) -> impl Iterator<Item = &'t ResourceFacts> {
    table
        .resources()
        .iter()
        .filter(move |r| r.group == group && r.version == version)
}

/// `GET /api/v1` and `GET /apis/GROUP/VERSION`: the resources of one version.
#[must_use]
pub fn api_resource_list(table: &TypeTable, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for resource in of_version(table, group, version) {
        let mut entry = json!({
            "name": resource.name,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": resource.verbs,
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        if !resource.storage_version_hash.is_empty() {
            entry["storageVersionHash"] = json!(resource.storage_version_hash);
        }
        resources.push(entry);
        for sub in &resource.subresources {
            let mut entry = json!({
                "name": format!("{}/{}", resource.name, sub.name),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": sub.kind,
                "verbs": sub.verbs,
            });
            // A foreign body names its own group and version; one of the parent's leaves them out.
            if (sub.group.as_str(), sub.version.as_str()) != (group, version)
                && !sub.version.is_empty()
            {
                entry["group"] = json!(sub.group);
                entry["version"] = json!(sub.version);
            }
            resources.push(entry);
        }
    }
    if resources.is_empty() {
        return None;
    }
    let mut list = json!({
        "kind": "APIResourceList",
        "groupVersion": api_version(group, version),
        "resources": resources,
    });
    // The core group's list is older than the habit of stating a version.
    if !group.is_empty() {
        list["apiVersion"] = json!("v1");
    }
    Some(list)
}

fn aggregated_resource(resource: &ResourceFacts) -> Value {
    // The group's own kinds leave group and version empty, as the real server does.
    let kind = |group: &str, version: &str, kind: &str| {
        let own = group == resource.group && version == resource.version;
        let (group, version) = if own { ("", "") } else { (group, version) };
        json!({"group": group, "version": version, "kind": kind})
    };
    let mut entry = json!({
        "resource": resource.name,
        "responseKind": kind(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    if !resource.subresources.is_empty() {
        let subresources: Vec<Value> = resource
            .subresources
            .iter()
            .map(|sub| {
                json!({
                    "subresource": sub.name,
                    "responseKind": kind(&sub.group, &sub.version, &sub.kind),
                    "verbs": sub.verbs,
                })
            })
            .collect();
        entry["subresources"] = json!(subresources);
    }
    entry
}

/// `apidiscovery.k8s.io/v2` `APIGroupDiscoveryList`: the core group for `/api`, the named groups for
/// `/apis`. The caller sets the media type's `g`, `v` and `as` parameters.
#[must_use]
pub fn aggregated_discovery(table: &TypeTable, core: bool) -> Value {
    let groups = if core {
        vec![Group {
            name: "",
            versions: vec!["v1"],
        }]
    } else {
        groups(table)
    };
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let versions: Vec<Value> = group
                .versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = of_version(table, group.name, version)
                        .map(aggregated_resource)
                        .collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let metadata = if group.name.is_empty() {
                json!({})
            } else {
                json!({"name": group.name})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::types::table;

    #[test]
    fn both_kinds_of_discovery_name_the_same_resources() {
        let table = table();
        for (core, documents) in [
            (true, 1),
            (
                false,
                api_group_list(table)["groups"].as_array().unwrap().len(),
            ),
        ] {
            let aggregated = aggregated_discovery(table, core);
            assert_eq!(aggregated["items"].as_array().unwrap().len(), documents);
            for item in aggregated["items"].as_array().unwrap() {
                let group = item["metadata"]["name"].as_str().unwrap_or("");
                for version in item["versions"].as_array().unwrap() {
                    let list =
                        api_resource_list(table, group, version["version"].as_str().unwrap())
                            .unwrap();
                    let plain = list["resources"].as_array().unwrap().iter();
                    let plain = plain
                        .filter(|r| !r["name"].as_str().unwrap().contains('/'))
                        .count();
                    assert_eq!(
                        version["resources"].as_array().unwrap().len(),
                        plain,
                        "{group}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_not_served_is_not_found() {
        assert!(api_resource_list(table(), "apps", "v9").is_none());
        assert!(api_group(table(), "nope").is_none());
        assert_eq!(
            api_group(table(), "apps").unwrap()["preferredVersion"]["groupVersion"],
            "apps/v1"
        );
    }

    #[test]
    fn foreign_bodies_of_subresources_name_their_group() {
        let list = api_resource_list(table(), "apps", "v1").unwrap();
        let scale = list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["name"] == "deployments/scale");
        assert_eq!(scale.unwrap()["group"], "autoscaling");
    }
}
