//! Which dependents (pods, ReplicaSets, ControllerRevisions) belong to an owner: adoption and release
//! (pkg/controller/controller_ref_manager.go).

use std::sync::Arc;

use ::kube::api::{Patch, PatchParams};
use ::kube::{Api, Client, Resource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use super::Error;
use super::informer::{Informer, Namespaced};
use super::objects::{
    controller_of, has_code, is_controlled_by, is_terminating, name, namespace, selects, uid,
};

/// What an owner does about an object of the kind it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the owner's.
    Keep,
    /// Nobody's, and it matches: the owner takes it.
    Adopt,
    /// The owner's, but it matches no longer: the owner lets it go.
    Release,
    /// No business of this owner.
    Ignore,
}

/// Decides on one object.
#[must_use]
pub fn claim(owner: &ObjectMeta, selector: &LabelSelector, object: &ObjectMeta) -> Claim {
    match controller_of(object) {
        Some(reference) if reference.uid != uid(owner) => Claim::Ignore,
        Some(_) if selects(selector, object) => Claim::Keep,
        Some(_) if is_terminating(owner) => Claim::Ignore,
        Some(_) => Claim::Release,
        None if is_terminating(owner) || is_terminating(object) => Claim::Ignore,
        None if selects(selector, object) => Claim::Adopt,
        None => Claim::Ignore,
    }
}

/// The reference with which `owner` controls its dependents.
#[must_use]
pub fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The strategic merge patch that makes `owner` the controller of the object with `object_uid`.
#[must_use]
pub fn adoption(owner: &OwnerReference, object_uid: &str) -> Value {
    json!({"metadata": {"ownerReferences": [owner], "uid": object_uid}})
}

/// The strategic merge patch that takes the owner's reference off the object.
#[must_use]
pub fn release(owner_uid: &str, object_uid: &str) -> Value {
    json!({"metadata": {
        "ownerReferences": [{"$patch": "delete", "uid": owner_uid}],
        "uid": object_uid,
    }})
}

/// The objects that an owner in this namespace controls or might adopt. The informer must have
/// `Shared`'s index.
#[must_use]
pub fn candidates<D: Namespaced>(informer: &Informer<D>, owner: &ObjectMeta) -> Vec<Arc<D>> {
    let mut found = informer.indexed(&format!("owner/{}", uid(owner)));
    found.extend(informer.indexed(&format!("orphan/{}", namespace(owner))));
    found
}

/// The dependents among `candidates` that are `owner`'s, after adoption of those that match the
/// selector (as far as `may_adopt` lets it) and release of those that match no longer.
///
/// # Errors
/// If the API server cannot be asked; what is gone meanwhile is no error.
pub async fn claimed<O: Namespaced, D: Namespaced>(
    client: &Client,
    owner: &O,
    selector: &LabelSelector,
    candidates: Vec<Arc<D>>,
    may_adopt: impl Fn(&D) -> bool,
) -> Result<Vec<Arc<D>>, Error> {
    let api: Api<D> = Api::namespaced(client.clone(), namespace(owner.meta()));
    let owner_uid = uid(owner.meta());
    let mut claimed = Vec::with_capacity(candidates.len());
    let mut owner_lives = None;
    for candidate in candidates {
        let meta = candidate.meta();
        let patch = match claim(owner.meta(), selector, meta) {
            Claim::Keep => {
                claimed.push(candidate);
                continue;
            }
            Claim::Ignore => continue,
            Claim::Release => release(owner_uid, uid(meta)),
            Claim::Adopt if !may_adopt(&candidate) => continue,
            Claim::Adopt => {
                let lives = match owner_lives {
                    Some(lives) => lives,
                    None => lives(client, owner).await?,
                };
                owner_lives = Some(lives);
                if !lives {
                    continue;
                }
                adoption(&controller_reference(owner), uid(meta))
            }
        };
        match api
            .patch(
                name(meta),
                &PatchParams::default(),
                &Patch::Strategic(&patch),
            )
            .await
        {
            Ok(patched) if is_controlled_by(patched.meta(), owner_uid) => {
                claimed.push(Arc::new(patched));
            }
            Ok(_) => {}
            // Gone, or another life of the name, or the reference is not there any more.
            Err(error) if [404, 409, 422].iter().any(|code| has_code(&error, *code)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(claimed)
}

/// Whether the API server still has `owner`, and not on its way out: asked before adopting.
async fn lives<O: Namespaced>(client: &Client, owner: &O) -> Result<bool, Error> {
    let api: Api<O> = Api::namespaced(client.clone(), namespace(owner.meta()));
    let fresh = api.get_opt(name(owner.meta())).await?;
    Ok(fresh
        .is_some_and(|fresh| fresh.meta().uid == owner.meta().uid && !is_terminating(fresh.meta())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn claims_follow_reference_selector_and_deletion() {
        let owner = meta(json!({"name": "o", "uid": "u"}));
        let dying = meta(json!({"name": "o", "uid": "u",
            "deletionTimestamp": "2026-01-01T00:00:00Z"}));
        let selector: LabelSelector =
            serde_json::from_value(json!({"matchLabels": {"app": "a"}})).unwrap();
        let reference = |uid: &str| {
            json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "o", "uid": uid,
                    "controller": true}])
        };
        let mine = meta(json!({"labels": {"app": "a"}, "ownerReferences": reference("u")}));
        let strayed = meta(json!({"labels": {"app": "b"}, "ownerReferences": reference("u")}));
        let others = meta(json!({"labels": {"app": "a"}, "ownerReferences": reference("v")}));
        let orphan = meta(json!({"labels": {"app": "a"}}));
        let stranger = meta(json!({"labels": {"app": "b"}}));
        assert_eq!(claim(&owner, &selector, &mine), Claim::Keep);
        assert_eq!(claim(&owner, &selector, &strayed), Claim::Release);
        assert_eq!(claim(&owner, &selector, &others), Claim::Ignore);
        assert_eq!(claim(&owner, &selector, &orphan), Claim::Adopt);
        assert_eq!(claim(&owner, &selector, &stranger), Claim::Ignore);
        assert_eq!(claim(&dying, &selector, &orphan), Claim::Ignore);
        assert_eq!(claim(&dying, &selector, &strayed), Claim::Ignore);
    }
}
