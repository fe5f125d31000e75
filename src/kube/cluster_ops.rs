//! Fresh reads and conditional writes for the actions.
//!
//! Invariant: a write is repeated only where the API server certainly did not carry it out; every write
//! names the identity and the version that it was decided on, and a refusal for that reason is
//! [`CallError::Precondition`].

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answers::for_actions;
use super::call::{Call, ContentType, encode, path};
use super::failure::Failure;
use super::transport::Transport;
use crate::actions::ports::{CallError, Cluster, NodeState, ScalePatch};
use crate::model::names::{FENCE_ANNOTATION, LEDGER_LABEL};
use crate::model::pod::controller_of;
use crate::model::{self, Deployment, NamespacedName, Pod, ReplicaSet};

/// As many items a page as kubectl asks for.
const PAGE: &str = "500";

/// A list whose continue token expired is begun anew this often.
const LISTS: u32 = 3;

/// [`Cluster`] on the API server.
#[derive(Debug, Clone)]
pub struct ApiCluster {
    transport: Arc<Transport>,
}

impl ApiCluster {
    /// On this transport.
    #[must_use]
    pub fn new(transport: Arc<Transport>) -> Self {
        Self { transport }
    }

    async fn get<T: DeserializeOwned>(&self, path: String) -> Result<Option<T>, CallError> {
        match self.transport.send(&Call::get(path)).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.code() == Some(404) => Ok(None),
            Err(failure) => Err(for_actions(failure)),
        }
    }

    /// All items of a collection at one revision.
    async fn list<T: DeserializeOwned>(&self, collection: &str) -> Result<Vec<T>, CallError> {
        let mut begun = 0;
        'anew: loop {
            begun += 1;
            let mut items = Vec::new();
            let mut token = String::new();
            loop {
                let mut uri = format!("{collection}?limit={PAGE}");
                if !token.is_empty() {
                    uri.push_str("&continue=");
                    encode(&token, &mut uri);
                }
                let page: Page<T> = match self.transport.send(&Call::list(uri)).await {
                    Ok(page) => page,
                    Err(failure) if failure.code() == Some(410) && begun < LISTS => continue 'anew,
                    Err(failure) => return Err(for_actions(failure)),
                };
                items.extend(page.items.unwrap_or_default());
                match page.metadata.token.filter(|t| !t.is_empty()) {
                    Some(next) => token = next,
                    None => return Ok(items),
                }
            }
        }
    }

    async fn patch_json<T: DeserializeOwned>(
        &self,
        path: String,
        operations: &Value,
    ) -> Result<T, Failure> {
        self.transport
            .send(&Call::patch(path, ContentType::JsonPatch, operations))
            .await
    }
}

#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: PageMeta,
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
struct PageMeta {
    #[serde(rename = "continue")]
    token: Option<String>,
}

fn unreadable(error: model::Error) -> CallError {
    CallError::Refused(error.to_string())
}

fn namespaced(group: &[&str], namespace: &str, rest: &[&str]) -> String {
    let mut segments = group.to_vec();
    segments.extend(["namespaces", namespace]);
    segments.extend(rest);
    path(&segments)
}

const CORE: &[&str] = &["api", "v1"];
const APPS: &[&str] = &["apis", "apps", "v1"];

fn pod_path(key: &NamespacedName) -> String {
    namespaced(CORE, &key.namespace, &["pods", &key.name])
}

/// Escapes a map's key for a JSON pointer (RFC 6901).
fn pointer_key(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The JSON patch of a [`ScalePatch`].
fn scale_operations(patch: &ScalePatch) -> Value {
    let ledger = format!("/metadata/labels/{}", pointer_key(LEDGER_LABEL));
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": patch.uid}),
        json!({"op": "test", "path": "/metadata/generation", "value": patch.generation}),
        json!({"op": "test", "path": "/spec/replicas", "value": patch.replicas_before}),
    ];
    match &patch.ledger_before {
        Some(before) => {
            operations.push(json!({"op": "test", "path": ledger, "value": before}));
        }
        // Absence cannot be tested; the version stands in for it.
        None => operations.push(json!({
            "op": "test", "path": "/metadata/resourceVersion", "value": patch.resource_version,
        })),
    }
    if !patch.has_labels {
        operations.push(json!({"op": "add", "path": "/metadata/labels", "value": {}}));
    }
    operations.push(json!({"op": "add", "path": ledger, "value": patch.ledger_after}));
    if patch.replicas_after != patch.replicas_before {
        operations.push(
            json!({"op": "replace", "path": "/spec/replicas", "value": patch.replicas_after}),
        );
    }
    Value::Array(operations)
}

#[async_trait]
impl Cluster for ApiCluster {
    async fn deployment(&self, key: &NamespacedName) -> Result<Option<Deployment>, CallError> {
        let uri = namespaced(APPS, &key.namespace, &["deployments", &key.name]);
        let found: Option<apps::Deployment> = self.get(uri).await?;
        found
            .map(|o| Deployment::from_api(&o).map_err(unreadable))
            .transpose()
    }

    async fn pod(&self, key: &NamespacedName) -> Result<Option<Pod>, CallError> {
        let found: Option<core::Pod> = self.get(pod_path(key)).await?;
        found
            .map(|o| Pod::from_api(&o).map_err(unreadable))
            .transpose()
    }

    async fn node(&self, name: &str) -> Result<Option<NodeState>, CallError> {
        let found: Option<core::Node> = self.get(path(&["api", "v1", "nodes", name])).await?;
        Ok(found.map(|node| NodeState {
            unschedulable: node.spec.and_then(|s| s.unschedulable).unwrap_or_default(),
        }))
    }

    async fn replica_sets(
        &self,
        namespace: &str,
        controller_uid: &str,
    ) -> Result<Vec<ReplicaSet>, CallError> {
        let uri = namespaced(APPS, namespace, &["replicasets"]);
        let found: Vec<apps::ReplicaSet> = self.list(&uri).await?;
        found
            .iter()
            .filter(|o| controller_of(&o.metadata).is_some_and(|c| c.uid == controller_uid))
            .map(|o| ReplicaSet::from_api(o).map_err(unreadable))
            .collect()
    }

    async fn pods(
        &self,
        namespace: &str,
        controller_uids: &[String],
    ) -> Result<Vec<Pod>, CallError> {
        let found: Vec<core::Pod> = self.list(&namespaced(CORE, namespace, &["pods"])).await?;
        found
            .iter()
            .filter(|o| {
                controller_of(&o.metadata).is_some_and(|c| controller_uids.contains(&c.uid))
            })
            .map(|o| Pod::from_api(o).map_err(unreadable))
            .collect()
    }

    async fn replica_set(&self, key: &NamespacedName) -> Result<Option<ReplicaSet>, CallError> {
        let uri = namespaced(APPS, &key.namespace, &["replicasets", &key.name]);
        let found: Option<apps::ReplicaSet> = self.get(uri).await?;
        found
            .map(|o| ReplicaSet::from_api(&o).map_err(unreadable))
            .transpose()
    }

    async fn scale(&self, patch: &ScalePatch) -> Result<Deployment, CallError> {
        let uri = namespaced(
            APPS,
            &patch.key.namespace,
            &["deployments", &patch.key.name],
        );
        let patched: apps::Deployment = self
            .patch_json(uri, &scale_operations(patch))
            .await
            .map_err(for_actions)?;
        Deployment::from_api(&patched).map_err(unreadable)
    }

    async fn fence_pod(
        &self,
        key: &NamespacedName,
        uid: &str,
        fence: &str,
    ) -> Result<Pod, CallError> {
        let uri = pod_path(key);
        let annotation = format!("/metadata/annotations/{}", pointer_key(FENCE_ANNOTATION));
        let test = json!({"op": "test", "path": "/metadata/uid", "value": uid});
        let add = json!([test, {"op": "add", "path": annotation, "value": fence}]);
        let patched: core::Pod = match self.patch_json(uri.clone(), &add).await {
            Ok(pod) => pod,
            // A failed test and a missing map are answered alike; the pod itself tells them apart.
            Err(failure) if failure.code() == Some(422) => {
                let found: Option<core::Pod> = self.get(uri.clone()).await?;
                let meta = found.map(|p| p.metadata).unwrap_or_default();
                if meta.uid.as_deref() != Some(uid) {
                    return Err(CallError::Gone(format!("pod {key} is another one now")));
                }
                if meta.annotations.is_some() {
                    return Err(for_actions(failure));
                }
                let version = meta.resource_version.unwrap_or_default();
                let whole = json!([
                    test,
                    {"op": "test", "path": "/metadata/resourceVersion", "value": version},
                    {"op": "add", "path": "/metadata/annotations", "value": {FENCE_ANNOTATION: fence}},
                ]);
                self.patch_json(uri, &whole).await.map_err(for_actions)?
            }
            Err(failure) => return Err(for_actions(failure)),
        };
        Pod::from_api(&patched).map_err(unreadable)
    }

    async fn evict(
        &self,
        key: &NamespacedName,
        uid: &str,
        resource_version: &str,
        dry_run: bool,
    ) -> Result<(), CallError> {
        let mut options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        });
        let mut uri = format!("{}/eviction", pod_path(key));
        if dry_run {
            // Said in both places, as client-go does: the server honours the query, older ones the body.
            options["dryRun"] = json!(["All"]);
            uri.push_str("?dryRun=All");
        }
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": key.namespace, "name": key.name},
            "deleteOptions": options,
        });
        let call = Call::create(uri, &eviction).named("evict");
        self.transport
            .send_raw(&call)
            .await
            .map(drop)
            .map_err(|failure| {
                // A 500 for good: kubernetes/pkg/registry/core/pod/storage/eviction.go.
                if failure.code() == Some(500)
                    && failure
                        .to_string()
                        .contains("more than one PodDisruptionBudget")
                {
                    CallError::Refused(failure.to_string())
                } else {
                    for_actions(failure)
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(ledger: Option<&str>, has_labels: bool) -> ScalePatch {
        ScalePatch {
            key: NamespacedName::new("default", "web"),
            uid: "u".into(),
            generation: 3,
            ledger_before: ledger.map(str::to_owned),
            has_labels,
            resource_version: "9".into(),
            replicas_before: 1,
            replicas_after: 2,
            ledger_after: "a.1.1".into(),
        }
    }

    fn object(labels: Value) -> Value {
        json!({
            "metadata": {"uid": "u", "generation": 3, "resourceVersion": "9", "labels": labels},
            "spec": {"replicas": 1},
        })
    }

    fn apply(object: &mut Value, patch: &ScalePatch) -> bool {
        let operations: json_patch::Patch =
            serde_json::from_value(scale_operations(patch)).unwrap();
        json_patch::patch(object, &operations).is_ok()
    }

    #[test]
    fn scale_applies_only_to_what_was_read() {
        let mut seen = object(json!({"app": "web", LEDGER_LABEL: "a.0.1"}));
        assert!(apply(&mut seen, &patch(Some("a.0.1"), true)));
        assert_eq!(
            seen["metadata"]["labels"],
            json!({"app": "web", LEDGER_LABEL: "a.1.1"})
        );
        assert_eq!(seen["spec"]["replicas"], 2);

        let mut moved_on = object(json!({LEDGER_LABEL: "a.0.2"}));
        assert!(!apply(&mut moved_on, &patch(Some("a.0.1"), true)));
        let mut other_generation = object(json!({LEDGER_LABEL: "a.0.1"}));
        other_generation["metadata"]["generation"] = json!(4);
        assert!(!apply(&mut other_generation, &patch(Some("a.0.1"), true)));
    }

    #[test]
    fn the_first_entry_needs_no_labels() {
        let mut bare = object(json!({}));
        bare["metadata"].as_object_mut().unwrap().remove("labels");
        assert!(apply(&mut bare, &patch(None, false)));
        assert_eq!(bare["metadata"]["labels"], json!({LEDGER_LABEL: "a.1.1"}));
        let mut changed = object(json!({}));
        changed["metadata"]["resourceVersion"] = json!("10");
        assert!(!apply(&mut changed, &patch(None, true)));
    }
}
