//! Which volume for which claim (`plugins/volumebinding/binder.go`,
//! `component-helpers/storage/volume/pv_helpers.go`).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cluster::{NodeInfo, PodInfo, Storage};
use crate::model::NamespacedName;
use crate::model::quantity::Quantity;
use crate::model::storage::{Claim, NO_PROVISIONER, StorageClass, Volume};

const NOT_REACHED: &str = "node(s) didn't match PersistentVolume's node affinity";
const NOTHING_TO_BIND: &str = "node(s) didn't find available persistent volumes to bind";
const NO_ROOM: &str = "node(s) did not have enough free storage";
const NO_VOLUME: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

/// A pod's claims, by what is to be done for them.
#[derive(Debug, Default)]
pub(super) struct Claims {
    bound: Vec<Arc<Claim>>,
    /// Not bound, and waiting for a node.
    waiting: Vec<Arc<Claim>>,
    /// Whether some should be bound and are not.
    pub(super) immediate: bool,
}

/// What is to be done if the pod goes to a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Decision {
    /// These volumes are for these claims.
    pub(super) bind: Vec<(Arc<Volume>, Arc<Claim>)>,
    /// Volumes are to be made for these claims.
    pub(super) provision: Vec<Arc<Claim>>,
}

impl Decision {
    pub(super) fn is_nothing(&self) -> bool {
        self.bind.is_empty() && self.provision.is_empty()
    }
}

type Reasons = Vec<&'static str>;

impl Claims {
    /// Those of a pod.
    ///
    /// # Errors
    /// What is wrong with a claim or its class.
    pub(super) fn of(pod: &PodInfo, storage: &Storage) -> Result<Self, String> {
        let mut claims = Self::default();
        for used in &pod.spec.volumes.claims {
            let key = NamespacedName::new(&pod.pod.key.namespace, &used.name);
            let Some(claim) = storage.claim(&key) else {
                return Err(format!("error getting PVC \"{key}\": not found"));
            };
            if claim.is_bound() {
                claims.bound.push(claim.clone());
                continue;
            }
            let class = storage
                .classes
                .get(&claim.class)
                .filter(|_| !claim.class.is_empty());
            let waits = match class.map(|c| c.waits) {
                None => false,
                Some(Some(waits)) => waits,
                Some(None) => {
                    let class = &claim.class;
                    return Err(format!(
                        "VolumeBindingMode not set for StorageClass {class:?}"
                    ));
                }
            };
            if waits && claim.volume.is_empty() {
                claims.waiting.push(claim.clone());
            } else {
                claims.immediate = true;
            }
        }
        Ok(claims)
    }

    /// What is to be done if the pod goes to this node, or the reasons against it.
    ///
    /// # Errors
    /// What is wrong with a claim or its class.
    pub(super) fn on(
        &self,
        node: &NodeInfo,
        storage: &Storage,
    ) -> Result<Result<Decision, Reasons>, String> {
        let labels = &node.node.labels;
        let mut reasons = Reasons::new();
        let mut missing = false;
        for claim in &self.bound {
            match storage.volume(&claim.volume) {
                None => {
                    missing = true;
                    break;
                }
                Some(volume) if !volume.reachable(labels) => {
                    reasons.push(NOT_REACHED);
                    break;
                }
                Some(_) => {}
            }
        }
        let found = self.find(node, storage)?;
        let decision = match found {
            Ok(decision) => decision,
            Err(reason) => {
                reasons.push(reason);
                Decision::default()
            }
        };
        if missing {
            reasons.push(NO_VOLUME);
        }
        Ok(if reasons.is_empty() {
            Ok(decision)
        } else {
            Err(reasons)
        })
    }

    fn find(
        &self,
        node: &NodeInfo,
        storage: &Storage,
    ) -> Result<Result<Decision, &'static str>, String> {
        let mut to_match = Vec::new();
        let mut to_make = Vec::new();
        for claim in &self.waiting {
            match &claim.selected_node {
                Some(selected) if **selected != **node.name() => return Ok(Err(NOTHING_TO_BIND)),
                Some(_) => to_make.push(claim),
                None => to_match.push(claim),
            }
        }
        // The smallest first, so that each gets the smallest that fits.
        to_match.sort_by_key(|c| c.requested.unwrap_or_default());
        let mut decision = Decision::default();
        let mut taken = BTreeSet::new();
        for claim in to_match {
            match matching(claim, node, storage, &taken) {
                Some(volume) => {
                    taken.insert(volume.name.clone());
                    decision.bind.push((volume.clone(), claim.clone()));
                }
                None => to_make.push(claim),
            }
        }
        for claim in to_make {
            if claim.class.is_empty() {
                return Err(format!("no class for claim \"{}\"", claim.key));
            }
            let Some(class) = storage.classes.get(&claim.class) else {
                return Err(format!("failed to find storage class {:?}", claim.class));
            };
            let makes = !class.provisioner.is_empty() && class.provisioner != NO_PROVISIONER;
            if !makes || !class.allows(&node.node.labels) {
                return Ok(Err(NOTHING_TO_BIND));
            }
            if !has_room(claim, class, node, storage) {
                return Ok(Err(NO_ROOM));
            }
            decision.provision.push(claim.clone());
        }
        Ok(Ok(decision))
    }
}

/// The volume that is meant for the claim, or the smallest that fits.
fn matching<'a>(
    claim: &'a Claim,
    node: &NodeInfo,
    storage: &'a Storage,
    taken: &BTreeSet<String>,
) -> Option<&'a Arc<Volume>> {
    let requested = claim.requested.unwrap_or_default();
    let mut smallest: Option<&Arc<Volume>> = None;
    for volume in storage.volumes_of(&claim.class) {
        let is_for = volume.is_for(claim);
        if taken.contains(&volume.name)
            || (volume.claim.is_some() && !is_for)
            || volume.capacity < requested
            || volume.mode != claim.mode
            || volume.attributes_class != claim.attributes_class
            || volume.deleting
        {
            continue;
        }
        let reachable = volume.reachable(&node.node.labels);
        if is_for {
            return reachable.then_some(volume);
        }
        let selected = claim
            .selector
            .as_ref()
            .is_none_or(|s| s.matches(&volume.labels));
        let modes = || {
            claim
                .access_modes
                .iter()
                .all(|m| volume.access_modes.contains(m))
        };
        if !volume.available || !selected || !reachable || !modes() {
            continue;
        }
        if smallest.is_none_or(|s| s.capacity > volume.capacity) {
            smallest = Some(volume);
        }
    }
    smallest
}

/// Whether there is room for a new volume, as far as the driver tells.
fn has_room(claim: &Claim, class: &StorageClass, node: &NodeInfo, storage: &Storage) -> bool {
    let Some(wanted) = claim.requested.map(Quantity::value) else {
        return true;
    };
    let driver = storage.csi_drivers.get(&class.provisioner);
    if !driver.is_some_and(|d| d.tracks_capacity) {
        return true;
    }
    storage.capacities.values().any(|capacity| {
        capacity.class == class.name
            && capacity.limit.is_some_and(|limit| limit.value() >= wanted)
            && capacity
                .nodes
                .as_ref()
                .is_some_and(|s| s.matches(&node.node.labels))
    })
}
