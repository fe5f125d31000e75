//! VolumeRestrictions: disks that only one node may mount, and claims that only one pod may use
//! (ReadWriteOncePod).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cluster::{NodeInfo, PodInfo, Snapshot};
use crate::model::NamespacedName;
use crate::scheduler::framework::plugin::{Filter, NodeNames, Plugin, PreFilter};
use crate::scheduler::framework::{CycleState, Events, Status};

const DISK: &str = "node(s) had no available disk";
const IN_USE: &str = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode \
                      already in-use by another pod";

/// See the module.
#[derive(Debug)]
pub struct VolumeRestrictions;

#[derive(Debug, Clone)]
struct Exclusive {
    /// The pod's claims that only one pod may use.
    claims: Arc<BTreeSet<String>>,
    /// How often pods on nodes use them.
    uses: i64,
}

impl Exclusive {
    fn uses_of(&self, pod: &PodInfo, other: &PodInfo) -> i64 {
        if pod.pod.key.namespace != other.pod.key.namespace {
            return 0;
        }
        let claims = other.spec.volumes.claims.iter().filter(|c| !c.ephemeral);
        i64::try_from(claims.filter(|c| self.claims.contains(&c.name)).count()).unwrap_or(i64::MAX)
    }
}

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }
    fn events(&self) -> Events {
        Events::NODE_ADD | Events::POD_GONE | Events::OBJECT
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl PreFilter for VolumeRestrictions {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<NodeNames, Status> {
        let storage = &snapshot.objects.storage;
        let namespace = &pod.pod.key.namespace;
        let mut claims = BTreeSet::new();
        for claim in pod.spec.volumes.claims.iter().filter(|c| !c.ephemeral) {
            let key = NamespacedName::new(namespace, &claim.name);
            let Some(found) = storage.claims.get(&key) else {
                let reason = format!("persistentvolumeclaim {:?} not found", claim.name);
                return Err(Status::unresolvable(reason));
            };
            if found.access_modes.iter().any(|m| m == "ReadWriteOncePod") {
                claims.insert(claim.name.clone());
            }
        }
        let used = |claim: &&String| {
            let pods = snapshot
                .nodes
                .iter()
                .filter(|n| n.mounts)
                .flat_map(|n| &n.pods);
            let mut others = pods.filter(|p| p.pod.key.namespace == *namespace);
            others.any(|p| {
                let mut claims = p.spec.volumes.claims.iter().filter(|c| !c.ephemeral);
                claims.any(|c| c.name == **claim)
            })
        };
        let uses = claims.iter().filter(used).count();
        if pod.spec.volumes.disks.is_empty() && uses == 0 {
            return Err(Status::skip());
        }
        state.put(Exclusive {
            claims: Arc::new(claims),
            uses: i64::try_from(uses).unwrap_or(i64::MAX),
        });
        Ok(None)
    }

    fn add_pod(&self, state: &mut CycleState, pod: &PodInfo, added: &PodInfo, _: &NodeInfo) {
        state.update(|e: &mut Exclusive| e.uses += e.uses_of(pod, added));
    }

    fn remove_pod(&self, state: &mut CycleState, pod: &PodInfo, removed: &PodInfo, _: &NodeInfo) {
        state.update(|e: &mut Exclusive| e.uses -= e.uses_of(pod, removed));
    }
}

impl Filter for VolumeRestrictions {
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        let disks = &pod.spec.volumes.disks;
        if !disks.is_empty() {
            let mut there = node.pods.iter().flat_map(|p| &p.spec.volumes.disks);
            if there.any(|other| disks.iter().any(|disk| disk.conflicts(other))) {
                return Err(Status::unschedulable(DISK));
            }
        }
        match state.get::<Exclusive>() {
            Some(exclusive) if exclusive.uses > 0 => Err(Status::unschedulable(IN_USE)),
            _ => Ok(()),
        }
    }
}
