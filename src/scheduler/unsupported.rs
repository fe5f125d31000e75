//! Constraints that need a plugin which is not there yet: such a pod is not placed wrongly but left
//! alone, with an event that names the constraint and the plugin.
//!
//! This list shrinks with every plugin added: what is asked is only whether the profile wants a
//! plugin that is not built. A plugin that the profile has switched off is not missed, as upstream.
//! Default soft topology spreading (of pods without constraints of their own) only scores, so its absence
//! holds nobody back.

use super::framework::{Framework, Status};
use crate::cluster::{PodInfo, Snapshot};

const INTER_POD_AFFINITY: &str = "InterPodAffinity";

/// The first constraint of the pod, or of pods already placed that may repel it, that this profile cannot
/// honour; the status names the plugin.
#[must_use]
pub fn unsupported(framework: &Framework, pod: &PodInfo, snapshot: &Snapshot) -> Option<Status> {
    if let Some(missing) = pod
        .spec
        .constraints
        .iter()
        .find(|c| framework.lacks(c.plugin))
    {
        let reason = format!("{} needs the plugin {}", missing.field, missing.plugin);
        return Some(
            Status::unresolvable(format!("{reason}, which this scheduler does not have yet"))
                .by(missing.plugin),
        );
    }
    if !framework.lacks(INTER_POD_AFFINITY) {
        return None;
    }
    let (namespace, labels) = (&pod.pod.key.namespace, &pod.pod.labels);
    let (other, _) = snapshot.repelling.iter().find(|(other, _)| {
        other.uid() != pod.uid()
            && other
                .spec
                .anti_affinity
                .iter()
                .any(|term| term.may_repel(namespace, labels))
    })?;
    let reason = format!(
        "spec.affinity.podAntiAffinity of pod {} may repel this pod and needs the plugin \
         {INTER_POD_AFFINITY}, which this scheduler does not have yet",
        other.pod.key
    );
    Some(Status::unschedulable(reason).by(INTER_POD_AFFINITY))
}
