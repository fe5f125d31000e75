//! The annotations with which a Deployment and its ReplicaSets keep history: revisions, and the
//! numbers a ReplicaSet was last scaled for (util/deployment_util.go). Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest, Sha256};

use super::rolling::{fenceposts, wanted};
use crate::sandbox::controllers::objects::annotation;

/// The number of the revision, counted up by every new template.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// The numbers a ReplicaSet had before it was rolled back to.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// `spec.replicas` of the Deployment when the ReplicaSet was scaled.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The same, with the surge.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// The label that tells the ReplicaSets of one Deployment apart.
pub const TEMPLATE_HASH: &str = "pod-template-hash";

/// Annotations of a Deployment that its ReplicaSets do not get.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];
/// So many characters of history are kept.
const HISTORY_LIMIT: usize = 2000;

/// Names use no vowels and no digits that look like letters (k8s.io/apimachinery/pkg/util/rand).
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash in the name and the label of the ReplicaSet of `template`. It is not upstream's number
/// (that one hashes Go's memory layout), but as stable; `collisions` makes it another one.
#[must_use]
pub fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(serde_json::to_vec(template).unwrap_or_default());
    if let Some(collisions) = collisions {
        hasher.update(collisions.to_le_bytes());
    }
    let letters = hasher.finalize();
    letters.iter().take(10).map(safe_letter).collect()
}

/// Letters without bad words in them, one for each byte of `text` (`SafeEncodeString`).
#[must_use]
pub fn safe_letters(text: &str) -> String {
    text.as_bytes().iter().map(safe_letter).collect()
}

fn safe_letter(byte: &u8) -> char {
    char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])
}

/// Whether two templates differ in no more than the hash label (`EqualIgnoreHash`).
#[must_use]
pub fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let bare = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        let mut meta = template.metadata.take().unwrap_or_default();
        let mut labels = meta.labels.take().unwrap_or_default();
        labels.remove(TEMPLATE_HASH);
        meta.labels = (!labels.is_empty()).then_some(labels);
        meta.annotations = meta
            .annotations
            .filter(|annotations| !annotations.is_empty());
        meta.creation_timestamp = None;
        template.metadata = Some(meta);
        template
    };
    bare(a) == bare(b)
}

/// The revision number of an object, 0 if it has none.
#[must_use]
pub fn revision(meta: &ObjectMeta) -> i64 {
    annotation(meta, REVISION)
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// What the Deployment wanted when this ReplicaSet was scaled.
#[must_use]
pub fn desired_replicas(meta: &ObjectMeta) -> Option<i32> {
    annotation(meta, DESIRED_REPLICAS)?.parse().ok()
}

/// How many pods the Deployment might have had at most when this ReplicaSet was scaled.
#[must_use]
pub fn max_replicas(meta: &ObjectMeta) -> Option<i32> {
    annotation(meta, MAX_REPLICAS)?.parse().ok()
}

/// Writes the replica annotations; says whether they changed.
pub fn set_replica_annotations(deployment: &Deployment, set: &mut ReplicaSet) -> bool {
    let desired = wanted(deployment);
    let most = desired + fenceposts(deployment).surge;
    let annotations = annotations(&mut set.metadata);
    let mut changed = false;
    for (key, value) in [(DESIRED_REPLICAS, desired), (MAX_REPLICAS, most)] {
        let value = value.to_string();
        if annotations.get(key) != Some(&value) {
            annotations.insert(key.to_owned(), value);
            changed = true;
        }
    }
    changed
}

/// Brings the annotations of the new ReplicaSet up to date (`SetNewReplicaSetAnnotations`): copies
/// the Deployment's, and gives it the newest revision number, keeping the numbers it had before.
/// `exists` is false for one that is about to be created. Says whether something changed.
pub fn set_new_annotations(
    deployment: &Deployment,
    set: &mut ReplicaSet,
    new_revision: i64,
    exists: bool,
) -> bool {
    let copied = deployment.metadata.annotations.clone().unwrap_or_default();
    let target = annotations(&mut set.metadata);
    let mut changed = false;
    for (key, value) in copied {
        if !NOT_COPIED.contains(&key.as_str()) && target.get(&key) != Some(&value) {
            target.insert(key, value);
            changed = true;
        }
    }
    let old = target.get(REVISION).cloned();
    let old_number = match &old {
        Some(text) if !text.is_empty() => match text.parse::<i64>() {
            Ok(number) => number,
            // Somebody wrote there; it is left alone.
            Err(_) => return false,
        },
        _ => 0,
    };
    if old_number < new_revision {
        target.insert(REVISION.to_owned(), new_revision.to_string());
        changed = true;
        if let Some(old) = old {
            remember(target, &old);
        }
    }
    if !exists && set_replica_annotations(deployment, set) {
        changed = true;
    }
    changed
}

fn remember(annotations: &mut BTreeMap<String, String>, old: &str) {
    let history = annotations
        .get(REVISION_HISTORY)
        .cloned()
        .unwrap_or_default();
    if history.is_empty() {
        annotations.insert(REVISION_HISTORY.to_owned(), old.to_owned());
        return;
    }
    let mut numbers: Vec<&str> = history.split(',').collect();
    let mut length = history.len() + old.len() + 1;
    while length > HISTORY_LIMIT && !numbers.is_empty() {
        length -= numbers.remove(0).len() + 1;
    }
    if length <= HISTORY_LIMIT {
        numbers.push(old);
        annotations.insert(REVISION_HISTORY.to_owned(), numbers.join(","));
    }
}

/// Gives the Deployment its revision number; says whether it changed.
pub fn set_deployment_revision(deployment: &mut Deployment, revision: &str) -> bool {
    let annotations = annotations(&mut deployment.metadata);
    if annotations.get(REVISION).is_some_and(|old| old == revision) {
        return false;
    }
    annotations.insert(REVISION.to_owned(), revision.to_owned());
    true
}

fn annotations(meta: &mut ObjectMeta) -> &mut BTreeMap<String, String> {
    meta.annotations.get_or_insert_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(image: &str, label: Option<&str>) -> PodTemplateSpec {
        let mut labels = json!({"app": "a"});
        if let Some(hash) = label {
            labels[TEMPLATE_HASH] = json!(hash);
        }
        serde_json::from_value(json!({
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": image}]},
        }))
        .unwrap()
    }

    fn set(annotations: serde_json::Value) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"annotations": annotations}, "spec": {"selector": {}}}))
        .unwrap()
    }

    fn deployment() -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "d", "annotations": {"team": "x", REVISION: "1",
                "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": {"replicas": 4, "selector": {}, "template": {}},
        }))
        .unwrap()
    }

    #[test]
    fn the_hash_label_is_not_part_of_a_template() {
        assert!(same_template(
            &template("i", None),
            &template("i", Some("abc"))
        ));
        assert!(!same_template(&template("i", None), &template("j", None)));
        let hash = template_hash(&template("i", None), None);
        assert_eq!(hash.len(), 10);
        assert_ne!(hash, template_hash(&template("i", None), Some(1)));
        assert_ne!(hash, template_hash(&template("j", None), None));
    }

    #[test]
    fn a_new_set_gets_copies_revision_and_numbers() {
        let mut new = set(json!({}));
        assert!(set_new_annotations(&deployment(), &mut new, 3, false));
        assert_eq!(
            new.metadata.annotations.unwrap(),
            BTreeMap::from([
                ("team".to_owned(), "x".to_owned()),
                (REVISION.to_owned(), "3".to_owned()),
                (DESIRED_REPLICAS.to_owned(), "4".to_owned()),
                (MAX_REPLICAS.to_owned(), "5".to_owned()),
            ])
        );
    }

    #[test]
    fn a_rollback_keeps_the_old_number_as_history() {
        let mut old = set(json!({"team": "x", REVISION: "2", REVISION_HISTORY: "1"}));
        assert!(set_new_annotations(&deployment(), &mut old, 5, true));
        assert_eq!(revision(&old.metadata), 5);
        assert_eq!(annotation(&old.metadata, REVISION_HISTORY), Some("1,2"));
        assert!(!set_new_annotations(&deployment(), &mut old, 5, true));
        assert!(!set_new_annotations(&deployment(), &mut old, 4, true));
    }
}
