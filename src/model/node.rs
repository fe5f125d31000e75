//! Nodes.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;

use super::Error;
use super::resources::{Resources, intern};
use super::selector::Labels;
use super::taint::Taint;
use super::topology::Domains;

/// A node, as the scheduler needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// Its uid.
    pub uid: String,
    /// Its labels.
    pub labels: Labels,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`: cordoned.
    pub unschedulable: bool,
    /// `status.allocatable`.
    pub allocatable: Resources,
    /// Names of the images it holds, with their size in bytes, sorted by name.
    pub images: Vec<(Arc<str>, i64)>,
    /// Its labels, as numbers.
    pub domains: Domains,
    /// `status.declaredFeatures`, sorted.
    pub features: Vec<String>,
    /// Region and zone in one, empty when it has neither (`component-helpers/node/topology`).
    pub zone: Arc<str>,
}

impl Node {
    /// Reads a node of the API.
    ///
    /// # Errors
    /// [`Error`] naming the field, when something in it cannot be understood.
    pub fn from_api(node: &api::Node) -> Result<Self, Error> {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let error = |field: String, problem: String| Error {
            object: format!("node {name}"),
            field,
            problem,
        };
        if name.is_empty() {
            return Err(error("metadata.name".into(), "is missing".into()));
        }
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let taints = spec
            .and_then(|s| s.taints.as_ref())
            .into_iter()
            .flatten()
            .enumerate();
        let taints = taints
            .map(|(i, t)| Taint::from_api(t).map_err(|p| error(format!("spec.taints[{i}]"), p)));
        let allocatable = match status.and_then(|s| s.allocatable.as_ref()) {
            None => Resources::default(),
            Some(list) => Resources::from_api(list)
                .map_err(|(key, problem)| error(format!("status.allocatable[{key}]"), problem))?,
        };
        let images = status.and_then(|s| s.images.as_ref()).into_iter().flatten();
        let mut images: Vec<(Arc<str>, i64)> = images
            .flat_map(|image| {
                let size = image.size_bytes.unwrap_or_default();
                image
                    .names
                    .iter()
                    .flatten()
                    .map(move |name| (intern(name), size))
            })
            .collect();
        images.sort();
        images.dedup_by(|a, b| a.0 == b.0);
        Ok(Self {
            name: intern(name),
            uid: node.metadata.uid.clone().unwrap_or_default(),
            zone: zone_of(&labels),
            domains: Domains::of(&labels),
            features: {
                let features = status.and_then(|s| s.declared_features.clone());
                let mut features = features.unwrap_or_default();
                features.sort();
                features
            },
            labels,
            taints: taints.collect::<Result<_, _>>()?,
            unschedulable: spec.and_then(|s| s.unschedulable).unwrap_or_default(),
            allocatable,
            images,
        })
    }

    /// The size of an image if the node holds it.
    #[must_use]
    pub fn image_size(&self, name: &str) -> Option<i64> {
        let at = self
            .images
            .binary_search_by(|(n, _)| n.as_ref().cmp(name))
            .ok()?;
        Some(self.images[at].1)
    }
}

/// The deprecated labels win if present, as upstream.
fn zone_of(labels: &Labels) -> Arc<str> {
    let either = |old: &str, new: &str| {
        labels
            .get(old)
            .or_else(|| labels.get(new))
            .map_or("", String::as_str)
    };
    let region = either(
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/region",
    );
    let zone = either(
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/zone",
    );
    if region.is_empty() && zone.is_empty() {
        return intern("");
    }
    intern(&format!("{region}:\u{0}:{zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_node() {
        let node: api::Node = serde_json::from_value(serde_json::json!({
            "metadata":{"name":"n","labels":{"topology.kubernetes.io/zone":"a"}},
            "spec":{"unschedulable":true,"taints":[{"key":"k","effect":"NoExecute"}]},
            "status":{"allocatable":{"cpu":"4","pods":"110"},
                "images":[{"names":["b:1","a:1"],"sizeBytes":7}]}}))
        .unwrap();
        let node = Node::from_api(&node).unwrap();
        assert!(node.unschedulable);
        assert_eq!(
            (node.allocatable.milli_cpu, node.allocatable.pods),
            (4000, 110)
        );
        assert_eq!(
            (node.image_size("a:1"), node.image_size("c")),
            (Some(7), None)
        );
        assert_eq!(&*node.zone, ":\u{0}:a");
    }

    #[test]
    fn names_the_malformed_field() {
        for (json, field) in [
            (
                serde_json::json!({"metadata":{"name":"n"},"status":{"allocatable":{"cpu":"?"}}}),
                "status.allocatable[cpu]",
            ),
            (
                serde_json::json!({"metadata":{"name":"n"},"spec":{"taints":[{"key":"k","effect":"?"}]}}),
                "spec.taints[0]",
            ),
            (serde_json::json!({"metadata":{}}), "metadata.name"),
        ] {
            let error = Node::from_api(&serde_json::from_value(json).unwrap()).unwrap_err();
            assert_eq!(error.field, field);
        }
    }
}
