//! ControllerRevisions: the templates that a StatefulSet or DaemonSet had, so that pods can be told
//! apart and rollouts undone (pkg/controller/history/controller_history.go).

use std::sync::Arc;

use ::kube::api::{DeleteParams, Patch, PatchParams};
use ::kube::{Api, Client};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};

use super::claim::{candidates, claimed, controller_reference};
use super::deployment::revision::safe_letters;
use super::informer::{Informer, Namespaced};
use super::objects::{has_code, name, namespace, seconds};
use super::{Error, MANAGER, post};

/// The label that says of which revision a pod is.
pub const REVISION_LABEL: &str = "controller-revision-hash";
/// The label of a revision that holds the hash of what it holds.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// What a revision holds: the strategic merge patch that brings a template back.
#[must_use]
pub fn snapshot(template: &PodTemplateSpec) -> Value {
    let mut template = json!(template);
    if let Value::Object(members) = &mut template {
        members.insert("$patch".to_owned(), json!("replace"));
    }
    json!({"spec": {"template": template}})
}

/// The template that a revision brings back.
#[must_use]
pub fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// Whether a revision holds this.
#[must_use]
pub fn holds(revision: &ControllerRevision, data: &Value) -> bool {
    revision.data.0 == *data
}

/// FNV-1 over the data as Go prints it, and the number of collisions (`HashControllerRevision`).
#[must_use]
pub fn hash(data: &Value, collisions: i32) -> String {
    let printed = data
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026");
    let bytes = printed.bytes().chain(collisions.to_string().into_bytes());
    let number = bytes.fold(0x811c_9dc5_u32, |hash, byte| {
        hash.wrapping_mul(0x0100_0193) ^ u32::from(byte)
    });
    safe_letters(&number.to_string())
}

/// Oldest first: by number, then by creation, then by name.
pub fn sort(revisions: &mut [ControllerRevision]) {
    revisions.sort_by(|a, b| {
        let by_age = a
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| seconds(time.0))
            .cmp(
                &b.metadata
                    .creation_timestamp
                    .as_ref()
                    .map(|time| seconds(time.0)),
            );
        a.revision
            .cmp(&b.revision)
            .then(by_age)
            .then_with(|| a.metadata.name.cmp(&b.metadata.name))
    });
}

/// A revision of `owner`, named by its hash.
#[must_use]
pub fn new<O: Namespaced>(
    owner: &O,
    template: &PodTemplateSpec,
    revision: i64,
    collisions: i32,
) -> ControllerRevision {
    let data = snapshot(template);
    let hash = hash(&data, collisions);
    let mut labels = template
        .metadata
        .as_ref()
        .and_then(|meta| meta.labels.clone())
        .unwrap_or_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let prefix: String = name(owner.meta()).chars().take(223).collect();
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{prefix}-{hash}")),
            namespace: owner.meta().namespace.clone(),
            labels: Some(labels),
            annotations: owner.meta().annotations.clone(),
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        data: RawExtension(data),
        revision: Some(revision),
    }
}

/// The revisions that are `owner`'s, after adoption, oldest first.
///
/// # Errors
/// If the API server cannot be asked.
pub async fn of<O: Namespaced>(
    client: &Client,
    informer: &Informer<ControllerRevision>,
    owner: &O,
    selector: &LabelSelector,
) -> Result<Vec<ControllerRevision>, Error> {
    let found = candidates(informer, owner.meta());
    let found: Vec<Arc<ControllerRevision>> =
        claimed(client, owner, selector, found, |_| true).await?;
    let mut revisions = Vec::from_iter(found.iter().map(|revision| (**revision).clone()));
    sort(&mut revisions);
    Ok(revisions)
}

/// Stores a revision. One of the same name that holds the same is as good; `None` if one that holds
/// something else has the name.
///
/// # Errors
/// If the API server refuses for another reason.
pub async fn create(
    client: &Client,
    revision: &ControllerRevision,
) -> Result<Option<ControllerRevision>, Error> {
    let api: Api<ControllerRevision> =
        Api::namespaced(client.clone(), namespace(&revision.metadata));
    match api.create(&post(), revision).await {
        Ok(created) => Ok(Some(created)),
        Err(error) if has_code(&error, 409) => {
            let found = api.get(name(&revision.metadata)).await?;
            Ok((found.data == revision.data).then_some(found))
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives a revision another number.
///
/// # Errors
/// If the API server refuses.
pub async fn renumber(
    client: &Client,
    revision: &ControllerRevision,
    number: i64,
) -> Result<ControllerRevision, Error> {
    let api: Api<ControllerRevision> =
        Api::namespaced(client.clone(), namespace(&revision.metadata));
    let patch = json!({"revision": number});
    let params = PatchParams {
        field_manager: Some(MANAGER.into()),
        ..PatchParams::default()
    };
    let patched = api
        .patch(name(&revision.metadata), &params, &Patch::Merge(&patch))
        .await?;
    Ok(patched)
}

/// Removes a revision; one that is gone already is as good.
///
/// # Errors
/// If the API server refuses.
pub async fn remove(client: &Client, revision: &ControllerRevision) -> Result<(), Error> {
    let api: Api<ControllerRevision> =
        Api::namespaced(client.clone(), namespace(&revision.metadata));
    match api
        .delete(name(&revision.metadata), &DeleteParams::default())
        .await
    {
        Err(error) if !has_code(&error, 404) => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_survives_its_snapshot() {
        let template: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}))
        .unwrap();
        let set: k8s_openapi::api::apps::v1::StatefulSet =
            serde_json::from_value(json!({"metadata": {"name": "web", "uid": "u"}})).unwrap();
        let revision = new(&set, &template, 3, 0);
        assert_eq!(template_of(&revision), Some(template.clone()));
        assert!(holds(&revision, &snapshot(&template)));
        let other = new(&set, &template, 3, 1);
        assert_ne!(revision.metadata.name, other.metadata.name);
    }
}
