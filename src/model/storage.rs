//! Claims, volumes and what provides them, as rows.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::storage::v1 as storage;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Error;
use super::names::NamespacedName;
use super::pod::controller_of;
use super::quantity::Quantity;
use super::selector::{LabelSelector, Labels, NodeSelectorTerm};
use super::volumes::aws_handle;

/// The annotation that names a class the old way; it wins over the field.
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// The annotation of a claim that is bound from both sides.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The annotation that asks a provisioner for a volume that this node can reach.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// The annotation of a PersistentVolume whose binding a controller (or scheduler) has made.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// A provisioner that provisions nothing.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// The labels that tie a PersistentVolume to zones.
const ZONE_LABELS: [&str; 4] = [
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];

fn quantity(
    list: Option<&BTreeMap<String, ApiQuantity>>,
    error: &dyn Fn(&str, String) -> Error,
    field: &str,
) -> Result<Option<Quantity>, Error> {
    let found = list.and_then(|l| l.get("storage"));
    found.map(|q| read(q, error, field)).transpose()
}

fn read(
    quantity: &ApiQuantity,
    error: &dyn Fn(&str, String) -> Error,
    field: &str,
) -> Result<Quantity, Error> {
    let parsed: Result<Quantity, super::quantity::NotAQuantity> = quantity.0.parse();
    parsed.map_err(|e| error(field, e.to_string()))
}

fn key_of(meta: &ObjectMeta) -> NamespacedName {
    NamespacedName::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

fn annotation(meta: &ObjectMeta, name: &str) -> Option<String> {
    meta.annotations.as_ref()?.get(name).cloned()
}

/// A PersistentVolumeClaim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Namespace and name.
    pub key: NamespacedName,
    /// The uid.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// The volume it is, or wants to be, bound to; empty if none.
    pub volume: String,
    /// Whether the binding is complete.
    pub bind_completed: bool,
    /// Its class; empty if none.
    pub class: String,
    /// Access modes.
    pub access_modes: Vec<String>,
    /// How much it asks for.
    pub requested: Option<Quantity>,
    /// The volumes it accepts.
    pub selector: Option<LabelSelector>,
    /// `Filesystem` or `Block`.
    pub mode: String,
    /// `volumeAttributesClassName`; empty if none.
    pub attributes_class: String,
    /// Whether its volume is lost.
    pub lost: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The node a volume is being made for.
    pub selected_node: Option<String>,
    /// The uid of its controlling owner, if any.
    pub owner: Option<String>,
}

impl Claim {
    /// Reads one.
    ///
    /// # Errors
    /// [`Error`] naming the field that cannot be understood.
    pub fn from_api(claim: &core::PersistentVolumeClaim) -> Result<Self, Error> {
        let meta = &claim.metadata;
        let key = key_of(meta);
        let error = |field: &str, problem: String| Error {
            object: format!("persistentvolumeclaim {key}"),
            field: field.to_owned(),
            problem,
        };
        let spec = claim.spec.clone().unwrap_or_default();
        let selector = spec
            .selector
            .as_ref()
            .map(LabelSelector::from_api)
            .transpose();
        let selector = selector.map_err(|(at, p)| error(&format!("spec.selector{at}"), p))?;
        let requests = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
        let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref());
        Ok(Self {
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            volume: spec.volume_name.unwrap_or_default(),
            bind_completed: annotation(meta, BIND_COMPLETED).is_some(),
            class: annotation(meta, BETA_CLASS)
                .or(spec.storage_class_name)
                .unwrap_or_default(),
            access_modes: spec.access_modes.unwrap_or_default(),
            requested: quantity(requests, &error, "spec.resources.requests[storage]")?,
            selector,
            mode: spec.volume_mode.unwrap_or_else(|| "Filesystem".to_owned()),
            attributes_class: spec.volume_attributes_class_name.unwrap_or_default(),
            lost: phase == Some("Lost"),
            deleting: meta.deletion_timestamp.is_some(),
            selected_node: annotation(meta, SELECTED_NODE),
            owner: controller_of(meta).map(|o| o.uid),
            key,
        })
    }

    /// Bound from both sides.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        !self.volume.is_empty() && self.bind_completed
    }
}

/// The claim that a PersistentVolume is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRef {
    /// Namespace and name.
    pub key: NamespacedName,
    /// Its uid; empty when a person has named the claim.
    pub uid: String,
}

/// A PersistentVolume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// Labels.
    pub labels: Labels,
    /// Its class; empty if none.
    pub class: String,
    /// How much it holds.
    pub capacity: Quantity,
    /// Access modes.
    pub access_modes: Vec<String>,
    /// `Filesystem` or `Block`.
    pub mode: String,
    /// `volumeAttributesClassName`; empty if none.
    pub attributes_class: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether its phase is `Available`.
    pub available: bool,
    /// Whether it has the annotation [`BOUND_BY_CONTROLLER`].
    pub bound_by_controller: bool,
    /// Whose it is.
    pub claim: Option<ClaimRef>,
    /// The nodes that reach it; `None`: all.
    pub nodes: Option<Vec<NodeSelectorTerm>>,
    /// The zone labels with the values each allows.
    pub zones: Vec<(&'static str, BTreeSet<String>)>,
    /// CSI driver and handle.
    pub csi: Option<(String, String)>,
    /// In-tree plugin, and the handle as its CSI driver calls it.
    pub in_tree: Option<(&'static str, String)>,
}

impl Volume {
    /// Reads one.
    ///
    /// # Errors
    /// [`Error`] naming the field that cannot be understood.
    pub fn from_api(volume: &core::PersistentVolume) -> Result<Self, Error> {
        let meta = &volume.metadata;
        let name = meta.name.clone().unwrap_or_default();
        let error = |field: &str, problem: String| Error {
            object: format!("persistentvolume {name}"),
            field: field.to_owned(),
            problem,
        };
        let labels = meta.labels.clone().unwrap_or_default();
        let spec = volume.spec.clone().unwrap_or_default();
        let required = spec
            .node_affinity
            .as_ref()
            .and_then(|a| a.required.as_ref());
        let terms = required.map(|r| {
            let terms = r.node_selector_terms.iter().enumerate();
            let read = |(i, t)| {
                NodeSelectorTerm::from_api(t).map_err(|(at, p)| {
                    error(
                        &format!("spec.nodeAffinity.required.nodeSelectorTerms[{i}]{at}"),
                        p,
                    )
                })
            };
            terms.map(read).collect::<Result<Vec<_>, _>>()
        });
        let capacity = quantity(spec.capacity.as_ref(), &error, "spec.capacity[storage]")?;
        let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref());
        Ok(Self {
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            class: annotation(meta, BETA_CLASS)
                .or_else(|| spec.storage_class_name.clone())
                .unwrap_or_default(),
            capacity: capacity.unwrap_or_default(),
            access_modes: spec.access_modes.clone().unwrap_or_default(),
            mode: spec
                .volume_mode
                .clone()
                .unwrap_or_else(|| "Filesystem".to_owned()),
            attributes_class: spec
                .volume_attributes_class_name
                .clone()
                .unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            available: phase == Some("Available"),
            bound_by_controller: annotation(meta, BOUND_BY_CONTROLLER).is_some(),
            claim: spec.claim_ref.as_ref().map(|c| ClaimRef {
                key: NamespacedName::new(
                    c.namespace.clone().unwrap_or_default(),
                    c.name.clone().unwrap_or_default(),
                ),
                uid: c.uid.clone().unwrap_or_default(),
            }),
            nodes: terms.transpose()?,
            zones: zones(&labels),
            csi: spec
                .csi
                .as_ref()
                .map(|c| (c.driver.clone(), c.volume_handle.clone())),
            in_tree: in_tree(&spec, &labels),
            labels,
            name,
        })
    }

    /// Whether a node with these labels reaches it.
    #[must_use]
    pub fn reachable(&self, labels: &Labels) -> bool {
        let terms = self.nodes.as_ref();
        terms.is_none_or(|terms| terms.iter().any(|t| t.matches("", labels)))
    }

    /// Whether it is bound, or meant, for this claim.
    #[must_use]
    pub fn is_for(&self, claim: &Claim) -> bool {
        self.claim
            .as_ref()
            .is_some_and(|c| c.key == claim.key && (c.uid.is_empty() || c.uid == claim.uid))
    }
}

/// Zones are listed with `__` between them; a list with an empty one says nothing.
fn zones(labels: &Labels) -> Vec<(&'static str, BTreeSet<String>)> {
    let listed = ZONE_LABELS.iter().filter_map(|key| {
        let values = labels.get(*key)?.split("__").map(|v| v.trim().to_owned());
        let values: BTreeSet<String> = values.collect();
        (!values.contains("")).then_some((*key, values))
    });
    listed.collect()
}

fn in_tree(spec: &core::PersistentVolumeSpec, labels: &Labels) -> Option<(&'static str, String)> {
    if let Some(v) = &spec.aws_elastic_block_store {
        return Some(("kubernetes.io/aws-ebs", aws_handle(&v.volume_id)));
    }
    if let Some(v) = &spec.gce_persistent_disk {
        let zone = labels
            .get("topology.kubernetes.io/zone")
            .or_else(|| labels.get("failure-domain.beta.kubernetes.io/zone"));
        let place = match zone.map(|z| z.split("__").collect::<Vec<_>>()).as_deref() {
            Some([zone]) => format!("zones/{zone}"),
            Some([zone, ..]) => match zone.rsplit_once('-') {
                Some((region, _)) => format!("regions/{region}"),
                None => "zones/UNSPECIFIED".to_owned(),
            },
            _ => "zones/UNSPECIFIED".to_owned(),
        };
        let handle = format!("projects/UNSPECIFIED/{place}/disks/{}", v.pd_name);
        return Some(("kubernetes.io/gce-pd", handle));
    }
    if let Some(v) = &spec.azure_disk {
        return Some(("kubernetes.io/azure-disk", v.disk_uri.clone()));
    }
    if let Some(v) = &spec.cinder {
        return Some(("kubernetes.io/cinder", v.volume_id.clone()));
    }
    let v = spec.portworx_volume.as_ref()?;
    Some(("kubernetes.io/portworx-volume", v.volume_id.clone()))
}

/// A StorageClass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageClass {
    /// Its name.
    pub name: String,
    /// Who makes its volumes.
    pub provisioner: String,
    /// `WaitForFirstConsumer` (rather than `Immediate`); `None` when the object does not say.
    pub waits: Option<bool>,
    /// Terms of (label, values) of which a node must satisfy one, if there are any.
    pub topologies: Vec<Vec<(String, Vec<String>)>>,
}

impl StorageClass {
    /// Reads one.
    #[must_use]
    pub fn from_api(class: &storage::StorageClass) -> Self {
        let terms = class.allowed_topologies.iter().flatten();
        let topologies = terms.map(|term| {
            let expressions = term.match_label_expressions.iter().flatten();
            expressions
                .map(|e| (e.key.clone(), e.values.clone()))
                .collect()
        });
        Self {
            name: class.metadata.name.clone().unwrap_or_default(),
            provisioner: class.provisioner.clone(),
            waits: class
                .volume_binding_mode
                .as_ref()
                .map(|mode| mode == "WaitForFirstConsumer"),
            topologies: topologies.collect(),
        }
    }

    /// Whether volumes can be made for a node with these labels.
    #[must_use]
    pub fn allows(&self, labels: &Labels) -> bool {
        let holds = |(key, values): &(String, Vec<String>)| {
            labels.get(key).is_some_and(|value| values.contains(value))
        };
        self.topologies.is_empty()
            || self
                .topologies
                .iter()
                .any(|term| !term.is_empty() && term.iter().all(holds))
    }
}

/// A CSINode: the drivers on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsiNode {
    /// The node's name.
    pub name: String,
    /// How many volumes of a driver the node can hold, where that is limited.
    pub limits: BTreeMap<String, i64>,
    /// In-tree plugins whose volumes CSI drivers serve on this node.
    pub migrated: BTreeSet<String>,
}

impl CsiNode {
    /// Reads one.
    #[must_use]
    pub fn from_api(node: &storage::CSINode) -> Self {
        let migrated = annotation(
            &node.metadata,
            "storage.alpha.kubernetes.io/migrated-plugins",
        );
        let plugins = migrated.iter().flat_map(|m| m.split(','));
        let limits = node.spec.drivers.iter().filter_map(|d| {
            let count = d.allocatable.as_ref()?.count?;
            Some((d.name.clone(), i64::from(count)))
        });
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            limits: limits.collect(),
            migrated: plugins
                .filter(|p| !p.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// A CSIDriver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsiDriver {
    /// Its name.
    pub name: String,
    /// Whether it publishes how much room there is.
    pub tracks_capacity: bool,
}

impl CsiDriver {
    /// Reads one.
    #[must_use]
    pub fn from_api(driver: &storage::CSIDriver) -> Self {
        Self {
            name: driver.metadata.name.clone().unwrap_or_default(),
            tracks_capacity: driver.spec.storage_capacity.unwrap_or_default(),
        }
    }
}

/// A CSIStorageCapacity: the room for volumes of one class, for some nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsiCapacity {
    /// Namespace and name.
    pub key: NamespacedName,
    /// The class.
    pub class: String,
    /// The largest volume there is room for, if known.
    pub limit: Option<Quantity>,
    /// The nodes; `None`: none.
    pub nodes: Option<LabelSelector>,
}

impl CsiCapacity {
    /// Reads one.
    ///
    /// # Errors
    /// [`Error`] naming the field that cannot be understood.
    pub fn from_api(capacity: &storage::CSIStorageCapacity) -> Result<Self, Error> {
        let key = key_of(&capacity.metadata);
        let error = |field: &str, problem: String| Error {
            object: format!("csistoragecapacity {key}"),
            field: field.to_owned(),
            problem,
        };
        let nodes = capacity
            .node_topology
            .as_ref()
            .map(LabelSelector::from_api)
            .transpose();
        let nodes = nodes.map_err(|(at, p)| error(&format!("nodeTopology{at}"), p))?;
        // The size of a single volume says more than the sum.
        let limit = capacity
            .maximum_volume_size
            .as_ref()
            .or(capacity.capacity.as_ref());
        let limit = limit.map(|q| read(q, &error, "capacity")).transpose()?;
        Ok(Self {
            class: capacity.storage_class_name.clone(),
            limit,
            nodes,
            key,
        })
    }
}

/// A VolumeAttachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// The node.
    pub node: String,
    /// The CSI driver.
    pub attacher: String,
    /// The PersistentVolume, if it is one.
    pub volume: Option<String>,
}

impl Attachment {
    /// Reads one.
    #[must_use]
    pub fn from_api(attachment: &storage::VolumeAttachment) -> Self {
        Self {
            name: attachment.metadata.name.clone().unwrap_or_default(),
            node: attachment.spec.node_name.clone(),
            attacher: attachment.spec.attacher.clone(),
            volume: attachment.spec.source.persistent_volume_name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_a_volume() {
        let pv = json!({"metadata":{"name":"v","labels":{"topology.kubernetes.io/zone":"a__b"}},
            "spec":{"capacity":{"storage":"1Gi"},"storageClassName":"c","claimRef":{"namespace":"n","name":"x"},
                "nodeAffinity":{"required":{"nodeSelectorTerms":[
                    {"matchExpressions":[{"key":"k","operator":"In","values":["1"]}]}]}}},
            "status":{"phase":"Available"}});
        let pv = Volume::from_api(&serde_json::from_value(pv).unwrap()).unwrap();
        assert!(pv.available && pv.mode == "Filesystem");
        assert_eq!(pv.zones[0].1.len(), 2);
        let labels = |v: &str| Labels::from([("k".into(), v.to_owned())]);
        assert!(pv.reachable(&labels("1")) && !pv.reachable(&labels("2")));
        let claim = json!({"metadata":{"namespace":"n","name":"x","uid":"u",
            "annotations":{"volume.beta.kubernetes.io/storage-class":"old"}},
            "spec":{"storageClassName":"new"}});
        let claim = Claim::from_api(&serde_json::from_value(claim).unwrap()).unwrap();
        assert!(pv.is_for(&claim) && !claim.is_bound());
        assert_eq!(claim.class, "old");
    }

    #[test]
    fn topologies_are_alternatives() {
        let class = json!({"metadata":{"name":"c"},"provisioner":"p","allowedTopologies":[
            {"matchLabelExpressions":[{"key":"z","values":["a","b"]},{"key":"r","values":["1"]}]}, {}]});
        let class = StorageClass::from_api(&serde_json::from_value(class).unwrap());
        let labels =
            |z: &str, r: &str| Labels::from([("z".into(), z.into()), ("r".into(), r.into())]);
        assert!(class.allows(&labels("b", "1")) && !class.allows(&labels("b", "2")));
        assert_eq!(class.waits, None);
    }

    #[test]
    fn names_the_malformed_field() {
        let pv = json!({"metadata":{"name":"v"},"spec":{"capacity":{"storage":"much"}}});
        let error = Volume::from_api(&serde_json::from_value(pv).unwrap()).unwrap_err();
        assert_eq!(error.field, "spec.capacity[storage]");
    }
}
