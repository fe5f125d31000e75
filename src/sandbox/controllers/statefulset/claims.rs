//! The PersistentVolumeClaims of a StatefulSet's pods, and who owns them under the retention policy
//! (pkg/controller/statefulset/stateful_set_utils.go, `isClaimOwnerUpToDate`). Pure.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::identity::{claim_templates, is_in_range};
use crate::sandbox::controllers::claim::controller_reference;
use crate::sandbox::controllers::objects::{name, uid};

/// The name of the claim that a template makes for the pod with this ordinal.
#[must_use]
pub fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    let (claim, set) = (name(&template.metadata), name(&set.metadata));
    format!("{claim}-{set}-{ordinal}")
}

/// The claims of the pod with this ordinal.
#[must_use]
pub fn claims_for(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let selected = set.spec.selector.match_labels.clone().unwrap_or_default();
    let claim = |template: &PersistentVolumeClaim| {
        let mut labels = template.metadata.labels.clone().unwrap_or_default();
        labels.extend(selected.clone());
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(claim_name(set, template, ordinal)),
                namespace: set.metadata.namespace.clone(),
                labels: Some(labels),
                annotations: template.metadata.annotations.clone(),
                finalizers: template.metadata.finalizers.clone(),
                ..ObjectMeta::default()
            },
            spec: template.spec.clone(),
            status: None,
        }
    };
    claim_templates(set).iter().map(claim).collect()
}

/// Whether claims are to be deleted with the set, and with a pod that is scaled away.
fn policy(set: &StatefulSet) -> (bool, bool) {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
    let deletes = |word: Option<&String>| word.is_some_and(|word| word == "Delete");
    (
        deletes(policy.and_then(|policy| policy.when_deleted.as_ref())),
        deletes(policy.and_then(|policy| policy.when_scaled.as_ref())),
    )
}

/// Whether claims of pods that are scaled away are deleted.
#[must_use]
pub fn deletes_when_scaled(set: &StatefulSet) -> bool {
    policy(set).1
}

fn refers(reference: &OwnerReference, api_version: &str, kind: &str, meta: &ObjectMeta) -> bool {
    reference.api_version == api_version && reference.kind == kind && reference.name == name(meta)
}

/// Whether a claim is owned by an earlier life of the pod's name.
#[must_use]
pub fn has_stale_pod(claim: &PersistentVolumeClaim, pod_name: &str, pod_uid: &str) -> bool {
    let owners = claim.metadata.owner_references.as_deref();
    owners.unwrap_or_default().iter().any(|owner| {
        owner.api_version == "v1"
            && owner.kind == "Pod"
            && owner.name == pod_name
            && owner.uid != pod_uid
    })
}

/// The owners that the claim should have, if it has others.
#[must_use]
pub fn owners(
    claim: &PersistentVolumeClaim,
    set: &StatefulSet,
    pod: &Pod,
    ordinal: i32,
) -> Option<Vec<OwnerReference>> {
    let known = claim.metadata.owner_references.clone().unwrap_or_default();
    let is_set = |owner: &OwnerReference| refers(owner, "apps/v1", "StatefulSet", &set.metadata);
    let is_pod = |owner: &OwnerReference| refers(owner, "v1", "Pod", &pod.metadata);
    let (set_uid, pod_uid) = (uid(&set.metadata), uid(&pod.metadata));
    let stale = known.iter().any(|owner| {
        (is_set(owner) && owner.uid != set_uid) || (is_pod(owner) && owner.uid != pod_uid)
    });
    if stale {
        return None;
    }
    let (when_deleted, when_scaled) = policy(set);
    let mut wanted = known.clone();
    wanted.retain(|owner| !is_set(owner) && !is_pod(owner));
    let is_foreign =
        (when_deleted || when_scaled) && wanted.iter().any(|owner| owner.controller == Some(true));
    if !is_foreign {
        let scaled_away = !is_in_range(set, ordinal);
        if when_deleted && !(when_scaled && scaled_away) {
            wanted.push(controller_reference(set));
        }
        if when_scaled && scaled_away {
            wanted.push(controller_reference(pod));
        }
    }
    let uids = |owners: &[OwnerReference]| {
        let mut uids = Vec::from_iter(
            owners
                .iter()
                .map(|owner| (owner.uid.clone(), owner.controller)),
        );
        uids.sort();
        uids
    };
    (uids(&known) != uids(&wanted)).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn owners_of(policy: Value, replicas: i32, known: Value) -> Option<Vec<String>> {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "d", "uid": "set"},
            "spec": {"replicas": replicas, "selector": {}, "template": {},
                     "persistentVolumeClaimRetentionPolicy": policy}}))
        .unwrap();
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "web-1", "uid": "pod"}})).unwrap();
        let claim: PersistentVolumeClaim =
            serde_json::from_value(json!({"metadata": {"ownerReferences": known}})).unwrap();
        let owners = owners(&claim, &set, &pod, 1)?;
        Some(owners.into_iter().map(|owner| owner.uid).collect())
    }

    #[test]
    fn owners_follow_the_retention_policy() {
        let policy =
            |deleted: &str, scaled: &str| json!({"whenDeleted": deleted, "whenScaled": scaled});
        let of = |uid: &str, name: &str, kind: &str, version: &str| {
            json!([{"apiVersion": version, "kind": kind, "name": name, "uid": uid,
                    "controller": true, "blockOwnerDeletion": true}])
        };
        let set = || of("set", "web", "StatefulSet", "apps/v1");
        assert_eq!(owners_of(policy("Retain", "Retain"), 2, json!([])), None);
        assert_eq!(
            owners_of(policy("Retain", "Retain"), 2, set()),
            Some(vec![])
        );
        assert_eq!(
            owners_of(policy("Delete", "Retain"), 2, json!([])),
            Some(vec!["set".to_owned()])
        );
        assert_eq!(owners_of(policy("Delete", "Retain"), 2, set()), None);
        assert_eq!(
            owners_of(policy("Delete", "Delete"), 1, set()),
            Some(vec!["pod".to_owned()])
        );
        assert_eq!(owners_of(policy("Retain", "Delete"), 2, json!([])), None);
        let stale = of("old", "web", "StatefulSet", "apps/v1");
        assert_eq!(owners_of(policy("Delete", "Delete"), 2, stale), None);
        let foreign = of("f", "f", "Deployment", "apps/v1");
        assert_eq!(owners_of(policy("Delete", "Delete"), 2, foreign), None);
    }
}
