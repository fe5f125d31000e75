//! OpenAPI v3 documents, rendered from the facts: the schemas verbatim, and as much of `paths` as
//! clients read (kubectl looks for a kind's PATCH and its `fieldValidation` parameter, `kubectl
//! explain` for any operation that names the kind).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::descriptions::describe;
use super::facts::{ResourceFacts, api_version};
use super::schema::{TypeTable, reference};

/// Changed when the documents change although the facts do not.
const FORM: &str = "2";

/// Path of a group and version below `/openapi/v3/`: `api/v1`, `apis/apps/v1`.
fn document_path(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// `GET /openapi/v3`: where each group's document is. The hash in the address changes with the facts,
/// so that clients may keep documents for ever.
#[must_use]
pub fn openapi_v3_index(table: &TypeTable) -> Value {
    let mut seen = BTreeSet::new();
    for resource in table.resources() {
        seen.insert((resource.group.as_str(), resource.version.as_str()));
    }
    let mut paths = Map::new();
    for (group, version) in seen {
        let path = document_path(group, version);
        let mut hash = Sha256::new();
        hash.update(FORM);
        hash.update(table.kubernetes_version());
        hash.update(api_version(group, version));
        let schemas = table.schemas().values().filter_map(|s| s.openapi());
        hash.update(schemas.count().to_le_bytes());
        let hash: String = hash.finalize().iter().map(|b| format!("{b:02X}")).collect();
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// `GET /openapi/v3/api/v1` and `/openapi/v3/apis/GROUP/VERSION`.
#[must_use]
pub fn openapi_v3_document(table: &TypeTable, group: &str, version: &str) -> Option<Value> {
    let mut paths = Map::new();
    let mut wanted: Vec<&str> = Vec::new();
    for resource in table.resources() {
        if resource.group != group || resource.version != version {
            continue;
        }
        resource_paths(table, resource, &mut paths);
        wanted.extend([resource.schema.as_str(), resource.list_schema.as_str()]);
        wanted.extend(
            resource
                .subresources
                .iter()
                .filter_map(|s| s.schema.as_deref()),
        );
    }
    if paths.is_empty() {
        return None;
    }
    wanted.extend(
        [("v1", "Status"), ("v1", "DeleteOptions")]
            .iter()
            .filter_map(|(version, kind)| table.schema_of_kind("", version, kind)),
    );
    wanted.push(PATCH);
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": table.kubernetes_version()},
        "paths": paths,
        "components": {"schemas": closure(table, wanted)},
    }))
}

/// The named schemas and all that they refer to.
fn closure<'t>(table: &'t TypeTable, mut wanted: Vec<&'t str>) -> Map<String, Value> {
    let mut schemas = Map::new();
    while let Some(name) = wanted.pop() {
        if schemas.contains_key(name) {
            continue;
        }
        let Some(schema) = table.schema(name) else {
            continue;
        };
        // A schema of nothing but a description allows everything.
        let mut openapi = schema.openapi().cloned().unwrap_or_else(|| json!({}));
        describe(name, &mut openapi);
        schemas.insert(name.to_owned(), openapi);
        if let Some(openapi) = schema.openapi() {
            references(openapi, &mut wanted);
        }
    }
    schemas
}

fn references<'v>(schema: &'v Value, found: &mut Vec<&'v str>) {
    match schema {
        Value::Object(members) => {
            if let Some(name) = reference(schema) {
                found.push(name);
            }
            members.values().for_each(|v| references(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

/// The name that OpenAPI gives to a patch's body.
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

const MEDIA: [&str; 2] = ["application/json", "application/yaml"];
const PATCH_MEDIA: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

fn query(name: &str, kind: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn path_parameter(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}})
}

fn content(media: &[&str], schema: &str) -> Value {
    let schema = json!({"schema": {"$ref": format!("#/components/schemas/{schema}")}});
    media
        .iter()
        .map(|m| ((*m).to_owned(), schema.clone()))
        .collect::<Map<_, _>>()
        .into()
}

/// What one operation is about.
struct Operation<'a> {
    gvk: Value,
    schema: &'a str,
    tag: String,
}

impl Operation<'_> {
    fn render(&self, verb: &str) -> Value {
        let action = match verb {
            "create" => "post",
            "update" => "put",
            other => other,
        };
        let mut operation = json!({
            "tags": [self.tag],
            "responses": {
                "200": {"description": "OK", "content": content(&MEDIA, self.schema)},
                "401": {"description": "Unauthorized"},
            },
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": self.gvk,
        });
        let writing = || {
            vec![
                query("dryRun", "string"),
                query("fieldManager", "string"),
                query("fieldValidation", "string"),
            ]
        };
        let mut parameters = match verb {
            "create" | "update" => writing(),
            "patch" => {
                let mut all = writing();
                all.push(query("force", "boolean"));
                all
            }
            "list" | "watch" | "deletecollection" => vec![
                query("allowWatchBookmarks", "boolean"),
                query("continue", "string"),
                query("fieldSelector", "string"),
                query("labelSelector", "string"),
                query("limit", "integer"),
                query("resourceVersion", "string"),
                query("resourceVersionMatch", "string"),
                query("sendInitialEvents", "boolean"),
                query("timeoutSeconds", "integer"),
                query("watch", "boolean"),
            ],
            "delete" => vec![
                query("dryRun", "string"),
                query("gracePeriodSeconds", "integer"),
                query("orphanDependents", "boolean"),
                query("propagationPolicy", "string"),
            ],
            _ => Vec::new(),
        };
        if matches!(verb, "list" | "create" | "patch" | "update" | "get") {
            parameters.push(query("pretty", "string"));
        }
        operation["parameters"] = Value::Array(parameters);
        let body = match verb {
            "create" | "update" => Some(content(&MEDIA, self.schema)),
            "patch" => Some(content(&PATCH_MEDIA, PATCH)),
            _ => None,
        };
        if let Some(content) = body {
            operation["requestBody"] = json!({"content": content, "required": true});
        }
        operation
    }
}

fn resource_paths(table: &TypeTable, resource: &ResourceFacts, paths: &mut Map<String, Value>) {
    let root = format!("/{}", document_path(&resource.group, &resource.version));
    let base = if resource.namespaced {
        format!("{root}/namespaces/{{namespace}}/{}", resource.name)
    } else {
        format!("{root}/{}", resource.name)
    };
    let tag = format!("{}_{}", group_tag(&resource.group), resource.version);
    let gvk = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let own = gvk(&resource.group, &resource.version, &resource.kind);
    let operation = |schema| Operation {
        gvk: own.clone(),
        schema,
        tag: tag.clone(),
    };
    let place = |named: bool| {
        let mut parameters = Vec::new();
        if named {
            parameters.push(path_parameter("name"));
        }
        if resource.namespaced {
            parameters.push(path_parameter("namespace"));
        }
        Value::Array(parameters)
    };
    let mut collection = Map::new();
    let mut item = Map::new();
    for verb in &resource.verbs {
        match verb.as_str() {
            "list" => {
                collection.insert("get".into(), operation(&resource.list_schema).render(verb));
            }
            "create" => {
                collection.insert("post".into(), operation(&resource.schema).render(verb));
            }
            "deletecollection" => {
                let status = table.schema_of_kind("", "v1", "Status").unwrap_or("");
                collection.insert("delete".into(), operation(status).render(verb));
            }
            "get" | "patch" | "delete" => {
                item.insert(verb.clone(), operation(&resource.schema).render(verb));
            }
            "update" => {
                item.insert("put".into(), operation(&resource.schema).render(verb));
            }
            _ => {}
        }
    }
    if let (true, Some(list)) = (resource.namespaced, collection.get("get")) {
        paths.insert(format!("{root}/{}", resource.name), json!({"get": list}));
    }
    if !collection.is_empty() {
        collection.insert("parameters".into(), place(false));
        paths.insert(base.clone(), Value::Object(collection));
    }
    if !item.is_empty() {
        item.insert("parameters".into(), place(true));
        paths.insert(format!("{base}/{{name}}"), Value::Object(item));
    }
    for sub in &resource.subresources {
        let schema = sub.schema.as_deref().unwrap_or(&resource.schema);
        let gvk = gvk(&sub.group, &sub.version, &sub.kind);
        let operation = Operation {
            gvk,
            schema,
            tag: tag.clone(),
        };
        let mut item = Map::new();
        for verb in &sub.verbs {
            let method = match verb.as_str() {
                "get" | "patch" | "delete" => verb.as_str(),
                "update" => "put",
                "create" => "post",
                _ => continue,
            };
            item.insert(method.into(), operation.render(verb));
        }
        item.insert("parameters".into(), place(true));
        paths.insert(format!("{base}/{{name}}/{}", sub.name), Value::Object(item));
    }
}

/// `appsV1`-style tags begin with the group's first label, `core` for the core group.
fn group_tag(group: &str) -> &str {
    if group.is_empty() {
        "core"
    } else {
        group.split('.').next().unwrap_or(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::types::table;

    /// kubectl's query parameter verifier and `kubectl explain` read exactly this.
    #[test]
    fn a_kinds_patch_names_the_kind_and_field_validation() {
        let document = openapi_v3_document(table(), "apps", "v1").unwrap();
        let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
        let patch = &document["paths"][path]["patch"];
        let gvk = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
        assert_eq!(patch["x-kubernetes-group-version-kind"], gvk);
        let parameters = patch["parameters"].as_array().unwrap();
        assert!(
            parameters
                .iter()
                .any(|p| p["name"] == "fieldValidation" && p["in"] == "query")
        );
    }

    #[test]
    fn every_reference_has_its_schema() {
        for resource in table().resources() {
            let document =
                openapi_v3_document(table(), &resource.group, &resource.version).unwrap();
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(!found.is_empty());
            for name in found {
                assert!(
                    document["components"]["schemas"].get(name).is_some(),
                    "{name}"
                );
            }
        }
        assert!(openapi_v3_document(table(), "apps", "v9").is_none());
    }

    #[test]
    fn the_index_leads_to_every_document() {
        let index = openapi_v3_index(table());
        let apps = &index["paths"]["apis/apps/v1"]["serverRelativeURL"];
        assert!(
            apps.as_str()
                .unwrap()
                .starts_with("/openapi/v3/apis/apps/v1?hash=")
        );
        assert!(index["paths"].get("api/v1").is_some());
    }
}
