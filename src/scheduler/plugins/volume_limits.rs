//! NodeVolumeLimits: no more volumes of a CSI driver on a node than the driver can attach there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::{NodeInfo, PodInfo, Snapshot, Storage};
use crate::model::NamespacedName;
use crate::model::storage::{Claim, CsiNode};
use crate::model::volumes::driver_of;
use crate::scheduler::framework::plugin::{Filter, NodeNames, Plugin, PreFilter};
use crate::scheduler::framework::{Code, CycleState, Events, Status};

/// See the module.
#[derive(Debug)]
pub struct NodeVolumeLimits;

/// Volumes by their unique name (driver and handle), with their driver.
type Volumes = BTreeMap<(String, String), ()>;

struct Tables(Arc<Storage>);

impl Plugin for NodeVolumeLimits {
    fn name(&self) -> &'static str {
        "NodeVolumeLimits"
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

impl PreFilter for NodeVolumeLimits {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<NodeNames, Status> {
        let volumes = &pod.spec.volumes;
        if volumes.claims.is_empty() && volumes.in_tree.is_empty() {
            return Err(Status::skip());
        }
        state.put(Tables(snapshot.objects.storage.clone()));
        Ok(None)
    }
}

impl Filter for NodeVolumeLimits {
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        let Some(Tables(storage)) = state.get::<Tables>() else {
            return Ok(());
        };
        let on_node = OnNode {
            storage,
            csi: storage.csi_nodes.get(&**node.name()).map(|n| &**n),
        };
        let mut new = Volumes::new();
        on_node.attachable(pod, true, &mut new)?;
        let limits = on_node.csi.map(|n| &n.limits).filter(|l| !l.is_empty());
        let (Some(limits), false) = (limits, new.is_empty()) else {
            return Ok(());
        };
        let mut there = Volumes::new();
        if node.mounts {
            for other in &node.pods {
                on_node.attachable(other, false, &mut there)?;
            }
        }
        let shared: Vec<_> = new
            .keys()
            .filter(|v| there.contains_key(*v))
            .cloned()
            .collect();
        for volume in shared {
            new.remove(&volume);
        }
        // Attached still, though no pod uses them any more.
        there.extend(on_node.attached(node.name()));
        for (driver, limit) in limits {
            let of = |volumes: &Volumes| volumes.keys().filter(|(d, _)| d == driver).count();
            let (wanted, used) = (of(&new), of(&there));
            if wanted > 0 && i64::try_from(wanted + used).unwrap_or(i64::MAX) > *limit {
                return Err(Status::unschedulable("node(s) exceed max volume count"));
            }
        }
        Ok(())
    }
}

struct OnNode<'a> {
    storage: &'a Storage,
    csi: Option<&'a CsiNode>,
}

impl OnNode<'_> {
    /// The volumes of a pod that CSI drivers attach.
    fn attachable(&self, pod: &PodInfo, incoming: bool, to: &mut Volumes) -> Result<(), Status> {
        let namespace = &pod.pod.key.namespace;
        for volume in &pod.spec.volumes.in_tree {
            if let Some(driver) = driver_of(volume.plugin).filter(|_| self.csi.is_some()) {
                to.insert((driver.to_owned(), volume.handle.clone()), ());
            }
        }
        for claim in &pod.spec.volumes.claims {
            if claim.name.is_empty() {
                let reason = "PersistentVolumeClaim had no name";
                return Err(Status::new(Code::Error, reason));
            }
            let key = NamespacedName::new(namespace, &claim.name);
            let Some(found) = self.storage.claims.get(&key) else {
                if !incoming {
                    continue;
                }
                let name = &claim.name;
                let reason =
                    format!("looking up PVC {key}: persistentvolumeclaim {name:?} not found");
                return Err(Status::unresolvable(reason));
            };
            if claim.ephemeral && found.owner.as_deref() != Some(pod.uid()) {
                let reason = not_for_pod(&key, pod);
                return Err(Status::new(Code::Error, reason));
            }
            if let Some(volume) = self.volume_of(found) {
                to.insert(volume, ());
            }
        }
        Ok(())
    }

    /// Driver and handle of a claim's volume; of one that is not there yet, a handle of its own.
    fn volume_of(&self, claim: &Claim) -> Option<(String, String)> {
        let Some(volume) = self.storage.volumes.get(&claim.volume) else {
            let class = self.storage.classes.get(&claim.class)?;
            let driver = match driver_of(&class.provisioner) {
                Some(driver) => self.csi.map(|_| driver.to_owned())?,
                None => class.provisioner.clone(),
            };
            return Some((driver, format!("claim {}", claim.key)));
        };
        if let Some((driver, handle)) = &volume.csi {
            let known = !driver.is_empty() && !handle.is_empty();
            return known.then(|| (driver.clone(), handle.clone()));
        }
        let (plugin, handle) = volume.in_tree.as_ref()?;
        let driver = driver_of(plugin).filter(|_| self.csi.is_some())?;
        Some((driver.to_owned(), handle.clone()))
    }

    fn attached(&self, node: &str) -> Volumes {
        let here = self.storage.attachments.values().filter(|a| a.node == node);
        here.filter(|a| !a.attacher.is_empty())
            .filter_map(|a| {
                let volume = self.storage.volumes.get(a.volume.as_ref()?)?;
                let (_, handle) = volume.csi.as_ref()?;
                Some(((a.attacher.clone(), handle.clone()), ()))
            })
            .collect()
    }
}

/// The claim of an ephemeral volume that was made for another.
pub(super) fn not_for_pod(key: &NamespacedName, pod: &PodInfo) -> String {
    format!(
        "PVC {key} was not created for pod {} (pod is not owner)",
        pod.pod.key
    )
}
