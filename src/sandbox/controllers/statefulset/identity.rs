//! Who a StatefulSet's pods are: ordinals, names, labels, and the pod for an ordinal
//! (pkg/controller/statefulset/stateful_set_utils.go). Pure.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume};

use super::claims::claim_name;
use crate::sandbox::controllers::history::REVISION_LABEL;
use crate::sandbox::controllers::objects::{label, name};
use crate::sandbox::controllers::pods::from_template;

/// The label with the pod's name, for Services that want one pod.
pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// The label with the pod's ordinal.
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// A template and the name of the revision it is of.
#[derive(Clone, Debug)]
pub struct Version {
    /// The revision's name.
    pub revision: String,
    /// Its template.
    pub template: PodTemplateSpec,
}

/// The ordinal in a pod's name, if it is a name that `set` gives.
#[must_use]
pub fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let rest = name(&pod.metadata).strip_prefix(name(&set.metadata))?;
    let digits = rest.strip_prefix('-')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// The name of the pod with this ordinal.
#[must_use]
pub fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", name(&set.metadata))
}

/// The first ordinal.
#[must_use]
pub fn first(set: &StatefulSet) -> i32 {
    let ordinals = set.spec.ordinals.as_ref();
    ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0)
}

/// How many replicas are wanted.
#[must_use]
pub fn wanted(set: &StatefulSet) -> i32 {
    let replicas = set.spec.replicas;
    replicas.unwrap_or(1).max(0)
}

/// Whether a pod with this ordinal is wanted.
#[must_use]
pub fn is_in_range(set: &StatefulSet, ordinal: i32) -> bool {
    let first = first(set);
    ordinal >= first && ordinal < first.saturating_add(wanted(set))
}

/// The name of the revision that a pod is of.
#[must_use]
pub fn revision_of(pod: &Pod) -> &str {
    label(&pod.metadata, REVISION_LABEL).unwrap_or_default()
}

/// The pod for an ordinal: of the current revision below the partition, of the new one elsewhere
/// (`newVersionedStatefulSetPod`).
#[must_use]
pub fn pod_for(set: &StatefulSet, current: &Version, update: &Version, ordinal: i32) -> Pod {
    let spec = &set.spec;
    let strategy = spec.update_strategy.as_ref();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let is_rolling = strategy
        .and_then(|strategy| strategy.type_.as_deref())
        .is_none_or(|kind| kind == "RollingUpdate");
    let kept = match rolling {
        Some(rolling) => rolling.partition.unwrap_or(0),
        None if is_rolling => {
            let status = set.status.as_ref();
            status
                .and_then(|status| status.current_replicas)
                .unwrap_or(0)
        }
        None => 0,
    };
    let version = if ordinal < first(set).saturating_add(kept) {
        current
    } else {
        update
    };
    let mut pod = from_template(set, &version.template);
    pod.metadata.name = Some(pod_name(set, ordinal));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(REVISION_LABEL.to_owned(), version.revision.clone());
    identify(set, &mut pod, ordinal);
    furnish(set, &mut pod, ordinal);
    let inner = pod.spec.get_or_insert_default();
    inner.hostname = Some(pod_name(set, ordinal));
    inner.subdomain = spec
        .service_name
        .clone()
        .filter(|service| !service.is_empty());
    pod
}

/// Gives a pod the labels of its ordinal (`updateIdentity`).
pub fn identify(set: &StatefulSet, pod: &mut Pod, ordinal: i32) {
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.to_owned(), pod_name(set, ordinal));
    labels.insert(POD_INDEX.to_owned(), ordinal.to_string());
}

/// Whether a pod has the identity of its ordinal (`identityMatches`).
#[must_use]
pub fn is_identified(pod: &Pod) -> bool {
    label(&pod.metadata, POD_NAME) == Some(name(&pod.metadata))
}

/// Gives a pod the volumes of its claims (`updateStorage`).
pub fn furnish(set: &StatefulSet, pod: &mut Pod, ordinal: i32) {
    let templates = claim_templates(set);
    let spec = pod.spec.get_or_insert_default();
    let mut volumes = Vec::from_iter(templates.iter().map(|template| Volume {
        name: name(&template.metadata).to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim_name(set, template, ordinal),
            read_only: None,
        }),
        ..Volume::default()
    }));
    let is_templates = |volume: &Volume| {
        templates
            .iter()
            .any(|template| name(&template.metadata) == volume.name)
    };
    let others = spec.volumes.take().unwrap_or_default();
    volumes.extend(others.into_iter().filter(|volume| !is_templates(volume)));
    spec.volumes = (!volumes.is_empty()).then_some(volumes);
}

/// Whether a pod has the volumes of its claims (`storageMatches`).
#[must_use]
pub fn is_furnished(set: &StatefulSet, pod: &Pod, ordinal: i32) -> bool {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref());
    claim_templates(set).iter().all(|template| {
        let volume = volumes
            .unwrap_or_default()
            .iter()
            .find(|volume| volume.name == name(&template.metadata));
        volume
            .and_then(|volume| volume.persistent_volume_claim.as_ref())
            .is_some_and(|claim| claim.claim_name == claim_name(set, template, ordinal))
    })
}

/// The templates of the claims of each pod.
#[must_use]
pub fn claim_templates(set: &StatefulSet) -> &[k8s_openapi::api::core::v1::PersistentVolumeClaim] {
    let spec = &set.spec;
    spec.volume_claim_templates.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_has_the_name_the_labels_and_the_volumes_of_its_ordinal() {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "d", "uid": "u"},
            "spec": {"serviceName": "svc", "ordinals": {"start": 3}, "replicas": 2,
                "selector": {}, "template": {}, "updateStrategy": {"type": "RollingUpdate",
                    "rollingUpdate": {"partition": 1}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}]},
        }))
        .unwrap();
        let version = |revision: &str, image: &str| Version {
            revision: revision.to_owned(),
            template: serde_json::from_value(json!({"spec": {
                "containers": [{"name": "c", "image": image}],
                "volumes": [{"name": "data", "emptyDir": {}}, {"name": "x", "emptyDir": {}}]}}))
            .unwrap(),
        };
        let (old, new) = (version("web-1", "i:1"), version("web-2", "i:2"));
        let pod = pod_for(&set, &old, &new, 4);
        assert_eq!(ordinal(&set, &pod), Some(4));
        assert_eq!(revision_of(&pod), "web-2");
        assert!(is_identified(&pod) && is_furnished(&set, &pod, 4));
        let spec = pod.spec.clone().unwrap();
        assert_eq!(spec.hostname.as_deref(), Some("web-4"));
        assert_eq!(spec.subdomain.as_deref(), Some("svc"));
        assert_eq!(spec.volumes.unwrap().len(), 2);
        // Below the partition.
        assert_eq!(revision_of(&pod_for(&set, &old, &new, 3)), "web-1");
        assert!(is_in_range(&set, 4) && !is_in_range(&set, 5) && !is_in_range(&set, 2));
    }
}
