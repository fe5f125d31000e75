//! Which pods belong to a ReplicaSet, and which ReplicaSets to a Deployment: adoption and release
//! (pkg/controller/controller_ref_manager.go).

use ::kube::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use super::objects::{controller_of, is_terminating, selects, uid};

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
