//! On which nodes a DaemonSet's pods belong, and the pod for a node
//! (pkg/controller/daemon/util/daemonset_util.go, daemon_controller.go `NodeShouldRunDaemonPod`). Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration,
};

use crate::sandbox::controllers::history::REVISION_LABEL;
use crate::sandbox::controllers::objects::{annotation, label, name};
use crate::sandbox::controllers::pods::from_template;
use crate::sandbox::kubelet::admission::tolerates;
use crate::sandbox::kubelet::affinity::suits;

/// The annotation that counts templates, from the days before revisions.
const GENERATION: &str = "deprecated.daemonset.template.generation";
/// The label that pods carry for it.
const GENERATION_LABEL: &str = "pod-template-generation";
/// The field by which a pod's affinity names its node.
const NAME_FIELD: &str = "metadata.name";

/// Whether a node should get a pod, and whether one that runs there may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// A pod should run there.
    pub run: bool,
    /// One that does may go on.
    pub stay: bool,
}

/// Judges a node.
#[must_use]
pub fn judge(set: &DaemonSet, node: &Node) -> Verdict {
    let no = Verdict {
        run: false,
        stay: false,
    };
    let Some(spec) = &set.spec.template.spec else {
        return no;
    };
    let node_name = name(&node.metadata);
    let elsewhere = spec
        .node_name
        .as_deref()
        .is_some_and(|wanted| !wanted.is_empty() && wanted != node_name);
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&NONE);
    if elsewhere || !suits(spec, node_name, labels) {
        return no;
    }
    let tolerations = tolerations(spec);
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref());
    let repels = |effects: &[&str]| {
        let counts = |taint: &&Taint| effects.contains(&taint.effect.as_str());
        let mut taints = taints.unwrap_or_default().iter().filter(counts);
        taints.any(|taint| {
            !tolerations
                .iter()
                .any(|toleration| tolerates(toleration, taint))
        })
    };
    Verdict {
        run: !repels(&["NoSchedule", "NoExecute"]),
        stay: !repels(&["NoExecute"]),
    }
}

/// The template's tolerations and those that all daemon pods have
/// (`AddOrUpdateDaemonPodTolerations`).
fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut tolerations = spec.tolerations.clone().unwrap_or_default();
    let mut taints = vec![
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ];
    if spec.host_network == Some(true) {
        taints.push(("network-unavailable", "NoSchedule"));
    }
    for (key, effect) in taints {
        let toleration = Toleration {
            key: Some(format!("node.kubernetes.io/{key}")),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        let same = |known: &Toleration| {
            known.key == toleration.key
                && known.effect == toleration.effect
                && known.operator == toleration.operator
                && known.value.as_deref().unwrap_or_default().is_empty()
        };
        match tolerations.iter_mut().find(|known| same(known)) {
            Some(known) => *known = toleration,
            None => tolerations.push(toleration),
        }
    }
    tolerations
}

/// The pod for a node: bound by the scheduler, which its affinity leaves no choice
/// (`ReplaceDaemonSetPodNodeNameNodeAffinity`).
#[must_use]
pub fn pod_for(set: &DaemonSet, node: &str, hash: &str) -> Pod {
    let mut pod = from_template(set, &set.spec.template);
    let labels = pod.metadata.labels.get_or_insert_default();
    if let Some(generation) = generation(set) {
        labels.insert(GENERATION_LABEL.to_owned(), generation.to_string());
    }
    labels.insert(REVISION_LABEL.to_owned(), hash.to_owned());
    let spec = pod.spec.get_or_insert_default();
    spec.tolerations = Some(tolerations(spec));
    let required = spec
        .affinity
        .get_or_insert_default()
        .node_affinity
        .get_or_insert_default()
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_default();
    required.node_selector_terms = vec![NodeSelectorTerm {
        match_fields: Some(vec![NodeSelectorRequirement {
            key: NAME_FIELD.to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![node.to_owned()]),
        }]),
        ..NodeSelectorTerm::default()
    }];
    pod
}

/// The node that a pod runs on or is meant for (`GetTargetNodeName`).
#[must_use]
pub fn node_of(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
        return Some(node);
    }
    let required = spec
        .affinity
        .as_ref()?
        .node_affinity
        .as_ref()?
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let fields = required
        .node_selector_terms
        .iter()
        .flat_map(|term| term.match_fields.iter().flatten());
    let named = fields
        .filter(|field| field.key == NAME_FIELD && field.operator == "In")
        .find_map(|field| field.values.as_deref());
    match named {
        Some([node]) => Some(node),
        _ => None,
    }
}

fn generation(set: &DaemonSet) -> Option<i64> {
    annotation(&set.metadata, GENERATION)?.parse().ok()
}

/// Whether a pod is of the present template.
#[must_use]
pub fn is_updated(set: &DaemonSet, pod: &Pod, hash: &str) -> bool {
    let same_hash = !hash.is_empty() && label(&pod.metadata, REVISION_LABEL) == Some(hash);
    let same_generation = generation(set).is_some_and(|generation| {
        label(&pod.metadata, GENERATION_LABEL) == Some(generation.to_string().as_str())
    });
    same_hash || same_generation
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judged(spec: Value, node: Value) -> (bool, bool) {
        let set: DaemonSet = serde_json::from_value(json!({"metadata": {"name": "d"},
            "spec": {"selector": {}, "template": {"spec": spec}}}))
        .unwrap();
        let Verdict { run, stay } = judge(&set, &serde_json::from_value(node).unwrap());
        (run, stay)
    }

    #[test]
    fn taints_selectors_and_names_decide() {
        let plain = json!({"containers": []});
        let node = |taint: Value| json!({"metadata": {"name": "n1", "labels": {"disk": "ssd"}}, "spec": {"taints": [taint]}});
        let taint = |key: &str, effect: &str| node(json!({"key": key, "effect": effect}));
        assert_eq!(
            judged(plain.clone(), taint("k", "PreferNoSchedule")),
            (true, true)
        );
        assert_eq!(
            judged(plain.clone(), taint("k", "NoSchedule")),
            (false, true)
        );
        assert_eq!(
            judged(plain.clone(), taint("k", "NoExecute")),
            (false, false)
        );
        let cordoned = taint("node.kubernetes.io/unschedulable", "NoSchedule");
        assert_eq!(judged(plain.clone(), cordoned.clone()), (true, true));
        let unplugged = taint("node.kubernetes.io/network-unavailable", "NoSchedule");
        assert_eq!(judged(plain, unplugged.clone()), (false, true));
        let host = json!({"containers": [], "hostNetwork": true});
        assert_eq!(judged(host, unplugged), (true, true));
        let choosy = json!({"containers": [], "nodeSelector": {"disk": "hdd"}});
        assert_eq!(judged(choosy, cordoned.clone()), (false, false));
        let named = json!({"containers": [], "nodeName": "n2"});
        assert_eq!(judged(named, cordoned), (false, false));
    }

    #[test]
    fn a_pod_names_its_node() {
        let set: DaemonSet = serde_json::from_value(json!({
            "metadata": {"name": "d", "annotations": {GENERATION: "4"}},
            "spec": {"selector": {}, "template": {"spec": {"containers": [], "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [
                        {"key": "a", "operator": "Exists"}]}]}}}}}}}))
        .unwrap();
        let mut pod = pod_for(&set, "n1", "h");
        assert_eq!(node_of(&pod), Some("n1"));
        assert!(is_updated(&set, &pod, "h") && is_updated(&set, &pod, "other"));
        assert_eq!(
            pod.spec
                .as_ref()
                .unwrap()
                .tolerations
                .as_ref()
                .unwrap()
                .len(),
            6
        );
        pod.spec.as_mut().unwrap().node_name = Some("n2".into());
        assert_eq!(node_of(&pod), Some("n2"));
    }
}
