//! Which volume suits a claim (k8s.io/component-helpers/storage/volume, `FindMatchingVolume`). Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::sandbox::controllers::objects::{is_terminating, name, namespace, selects, uid};
use crate::sandbox::kubelet::quantity::units;

/// The claim's storage class; empty if it has none.
#[must_use]
pub fn class_of(claim: &PersistentVolumeClaim) -> &str {
    let spec = claim.spec.as_ref();
    spec.and_then(|spec| spec.storage_class_name.as_deref())
        .unwrap_or_default()
}

/// Whether a reference is to this claim; one without a uid is to any claim of the name.
#[must_use]
pub fn refers(reference: &ObjectReference, claim: &PersistentVolumeClaim) -> bool {
    let same_uid = reference.uid.as_deref().unwrap_or_default();
    reference.name.as_deref() == Some(name(&claim.metadata))
        && reference.namespace.as_deref() == Some(namespace(&claim.metadata))
        && (same_uid.is_empty() || same_uid == uid(&claim.metadata))
}

fn amount(quantity: Option<&Quantity>) -> i128 {
    quantity
        .and_then(|quantity| units(&quantity.0))
        .unwrap_or(0)
}

/// How much the claim asks for, in bytes.
#[must_use]
pub fn request(claim: &PersistentVolumeClaim) -> i128 {
    let requests = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    amount(requests.and_then(|requests| requests.get("storage")))
}

fn capacity(volume: &PersistentVolume) -> i128 {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
    amount(capacity.and_then(|capacity| capacity.get("storage")))
}

/// Why the volume does not suit the claim, if it does not (`checkVolumeSatisfyClaim`).
#[must_use]
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let (Some(offered), Some(wanted)) = (&volume.spec, &claim.spec) else {
        return Some("it has no spec");
    };
    if capacity(volume) < request(claim) {
        return Some("requested PV is too small");
    }
    if offered.storage_class_name.as_deref().unwrap_or_default() != class_of(claim) {
        return Some("storageClassName does not match");
    }
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    if mode(&offered.volume_mode) != mode(&wanted.volume_mode) {
        return Some("incompatible volumeMode");
    }
    let modes = offered.access_modes.as_deref().unwrap_or_default();
    let mut asked = wanted.access_modes.iter().flatten();
    if asked.any(|mode| !modes.contains(mode)) {
        return Some("incompatible accessMode");
    }
    None
}

/// The smallest volume that suits; one that is reserved for the claim before all others. With
/// `delayed` binding only a reserved one: the others are the scheduler's to choose.
#[must_use]
pub fn best(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    delayed: bool,
) -> Option<Arc<PersistentVolume>> {
    let suits = |volume: &&Arc<PersistentVolume>| {
        !is_terminating(&volume.metadata) && mismatch(volume, claim).is_none()
    };
    let reference = |volume: &PersistentVolume| volume.spec.as_ref()?.claim_ref.clone();
    let suitable = Vec::from_iter(volumes.iter().filter(suits));
    let reserved = suitable
        .iter()
        .find(|volume| reference(volume).is_some_and(|reference| refers(&reference, claim)));
    if let Some(reserved) = reserved {
        return Some(Arc::clone(reserved));
    }
    if delayed {
        return None;
    }
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    suitable
        .into_iter()
        .filter(|volume| {
            let phase = volume
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            phase == Some("Available")
                && reference(volume).is_none()
                && selector.is_none_or(|selector| selects(selector, &volume.metadata))
        })
        .min_by_key(|volume| capacity(volume))
        .cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn volume(name: &str, size: &str, more: Value) -> Arc<PersistentVolume> {
        let mut volume = json!({
            "metadata": {"name": name},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                     "storageClassName": "fast"},
            "status": {"phase": "Available"},
        });
        json_patch::merge(&mut volume, &more);
        Arc::new(serde_json::from_value(volume).unwrap())
    }

    #[test]
    fn the_smallest_that_suits_unless_one_is_reserved() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "d", "uid": "u"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                     "resources": {"requests": {"storage": "2Gi"}}}}))
        .unwrap();
        let mut volumes = vec![
            volume("big", "9Gi", json!({})),
            volume("good", "3Gi", json!({})),
            volume("small", "1Gi", json!({})),
            volume("slow", "2Gi", json!({"spec": {"storageClassName": "slow"}})),
            volume(
                "taken",
                "2Gi",
                json!({"spec": {"claimRef": {"name": "x", "namespace": "d"}}}),
            ),
            volume(
                "shared",
                "2Gi",
                json!({"spec": {"accessModes": ["ReadOnlyMany"]}}),
            ),
        ];
        let best_of = |volumes: &[Arc<PersistentVolume>], delayed| {
            best(&claim, volumes, delayed).and_then(|volume| volume.metadata.name.clone())
        };
        assert_eq!(best_of(&volumes, false).as_deref(), Some("good"));
        assert_eq!(best_of(&volumes, true), None);
        let mine = json!({"spec": {"claimRef": {"name": "c", "namespace": "d"}}});
        volumes.push(volume("mine", "20Gi", mine));
        assert_eq!(best_of(&volumes, true).as_deref(), Some("mine"));
    }
}
