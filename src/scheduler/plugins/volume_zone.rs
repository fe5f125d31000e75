//! VolumeZone: volumes that carry zone labels are only reached from nodes in these zones.

use std::collections::BTreeSet;

use crate::cluster::{NodeInfo, PodInfo, Snapshot};
use crate::model::NamespacedName;
use crate::scheduler::framework::plugin::{Filter, NodeNames, Plugin, PreFilter};
use crate::scheduler::framework::{CycleState, Events, Status};

const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";
const BETA_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
const BETA_REGION: &str = "failure-domain.beta.kubernetes.io/region";

/// See the module.
#[derive(Debug)]
pub struct VolumeZone;

/// The labels that a node must have, with the values allowed.
struct Zones(Vec<(&'static str, BTreeSet<String>)>);

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD | Events::NODE_LABEL | Events::OBJECT
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl PreFilter for VolumeZone {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<NodeNames, Status> {
        let storage = &snapshot.objects.storage;
        let mut zones = Vec::new();
        for claim in pod.spec.volumes.claims.iter().filter(|c| !c.ephemeral) {
            let name = &claim.name;
            if name.is_empty() {
                return Err(Status::unresolvable("PersistentVolumeClaim had no name"));
            }
            let key = NamespacedName::new(&pod.pod.key.namespace, name);
            let Some(claim) = storage.claims.get(&key) else {
                let reason = format!("persistentvolumeclaim {name:?} not found");
                return Err(Status::unresolvable(reason));
            };
            if claim.volume.is_empty() {
                if claim.class.is_empty() {
                    let reason = "PersistentVolumeClaim had no pv name and storageClass name";
                    return Err(Status::unresolvable(reason));
                }
                let class = &claim.class;
                let Some(found) = storage.classes.get(class) else {
                    let reason = format!("storageclass.storage.k8s.io {class:?} not found");
                    return Err(Status::unresolvable(reason));
                };
                match found.waits {
                    None => {
                        let reason =
                            format!("VolumeBindingMode not set for StorageClass {class:?}");
                        return Err(Status::unresolvable(reason));
                    }
                    Some(true) => continue,
                    Some(false) => {
                        return Err(Status::unresolvable("PersistentVolume had no name"));
                    }
                }
            }
            let Some(volume) = storage.volumes.get(&claim.volume) else {
                let reason = format!("persistentvolume {:?} not found", claim.volume);
                return Err(Status::unresolvable(reason));
            };
            zones.extend(volume.zones.iter().cloned());
        }
        if zones.is_empty() {
            return Err(Status::skip());
        }
        state.put(Zones(zones));
        Ok(None)
    }
}

impl Filter for VolumeZone {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        let Some(Zones(zones)) = state.get::<Zones>() else {
            return Ok(());
        };
        let labels = &node.node.labels;
        // A node without any such label is in a cluster of one zone.
        if [BETA_ZONE, BETA_REGION, ZONE, REGION]
            .iter()
            .all(|key| !labels.contains_key(*key))
        {
            return Ok(());
        }
        for (key, values) in zones {
            let current = match *key {
                BETA_ZONE => ZONE,
                BETA_REGION => REGION,
                other => other,
            };
            let value = labels.get(*key).or_else(|| labels.get(current));
            if !value.is_some_and(|v| values.contains(v)) {
                return Err(Status::unresolvable("node(s) had no available volume zone"));
            }
        }
        Ok(())
    }
}
