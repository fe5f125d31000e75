//! VolumeBinding: the volumes of a pod's claims must be reachable from its node; claims that wait for their
//! first consumer get a volume, there already or to be made, when the node is known.
//!
//! Filter notes per node which volume goes to which claim; PreBind says so as work to be done before the
//! pod is bound. It scores nothing in v1.36 (feature gate StorageCapacityScoring is off).

mod find;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use self::find::{Claims, Decision};
use super::volume_limits::not_for_pod;
use crate::cluster::{NodeInfo, PodInfo, Snapshot, Storage};
use crate::model::NamespacedName;
use crate::scheduler::framework::plugin::{
    Filter, NodeNames, Plugin, PreBind, PreBindWork, PreFilter, PreScore, Score,
};
use crate::scheduler::framework::{Code, CycleState, Events, Status};

/// See the module.
#[derive(Debug)]
pub struct VolumeBinding {
    /// For how many seconds a pod may wait for its volumes.
    pub timeout_seconds: i64,
}

struct Pods {
    storage: Arc<Storage>,
    claims: Claims,
    /// What goes where, by node. Shared by the clones of the state, as upstream: a what-if asks of the same
    /// node the same.
    decisions: Mutex<HashMap<Arc<str>, Decision>>,
}

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
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
    fn as_pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
    fn as_pre_bind(&self) -> Option<&dyn PreBind> {
        Some(self)
    }
}

/// Whether the pod's claims are there and usable.
fn usable(pod: &PodInfo, storage: &Storage) -> Result<(), String> {
    for claim in &pod.spec.volumes.claims {
        let key = NamespacedName::new(&pod.pod.key.namespace, &claim.name);
        let name = &claim.name;
        let Some(found) = storage.claims.get(&key) else {
            return Err(if claim.ephemeral {
                format!(
                    "waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}"
                )
            } else {
                format!("persistentvolumeclaim {name:?} not found")
            });
        };
        if found.lost {
            let volume = &found.volume;
            return Err(format!(
                "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
            ));
        }
        if found.deleting {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        if claim.ephemeral && found.owner.as_deref() != Some(pod.uid()) {
            return Err(not_for_pod(&key, pod));
        }
    }
    Ok(())
}

impl PreFilter for VolumeBinding {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<NodeNames, Status> {
        if pod.spec.volumes.claims.is_empty() {
            return Err(Status::skip());
        }
        let storage = snapshot.objects.storage.clone();
        usable(pod, &storage).map_err(Status::unresolvable)?;
        let claims = Claims::of(pod, &storage).map_err(|p| Status::new(Code::Error, p))?;
        if claims.immediate {
            let reason = "pod has unbound immediate PersistentVolumeClaims";
            return Err(Status::unresolvable(reason));
        }
        state.put(Pods {
            storage,
            claims,
            decisions: Mutex::default(),
        });
        Ok(None)
    }
}

impl Filter for VolumeBinding {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Result<(), Status> {
        let Some(pods) = state.get::<Pods>() else {
            return Ok(());
        };
        match pods.claims.on(node, &pods.storage) {
            Err(problem) => Err(Status::new(Code::Error, problem)),
            Ok(Err(reasons)) => {
                let reasons = reasons.into_iter().map(Into::into).collect();
                Err(Status {
                    code: Code::UnschedulableAndUnresolvable,
                    reasons,
                    plugin: "",
                })
            }
            Ok(Ok(decision)) => {
                if !decision.is_nothing() {
                    let mut all = pods
                        .decisions
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    all.insert(node.name().clone(), decision);
                }
                Ok(())
            }
        }
    }
}

impl PreScore for VolumeBinding {
    fn pre_score(
        &self,
        _: &mut CycleState,
        _: &PodInfo,
        _: &[Arc<NodeInfo>],
        _: &Snapshot,
    ) -> Result<(), Status> {
        Err(Status::skip())
    }
}

impl Score for VolumeBinding {
    fn score(&self, _: &CycleState, _: &PodInfo, _: &NodeInfo, _: &Snapshot) -> i64 {
        0
    }
}

impl PreBind for VolumeBinding {
    fn pre_bind(
        &self,
        state: &CycleState,
        _: &PodInfo,
        node: &str,
        work: &mut PreBindWork,
    ) -> Result<(), Status> {
        let Some(pods) = state.get::<Pods>() else {
            return Ok(());
        };
        let all = pods
            .decisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(decision) = all.get(node) {
            work.volumes.clone_from(&decision.bind);
            work.provisions.clone_from(&decision.provision);
            work.volume_timeout_seconds = self.timeout_seconds;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
