//! What plugins need to know of the cluster besides nodes and pods: namespaces, what selects pods, storage.
//!
//! Invariant: tables only change through [`Objects::put`] and [`Objects::remove`]; each table is shared
//! with snapshots and copied only while an earlier snapshot holds it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::event::Kind;
use crate::model::NamespacedName;
use crate::model::selector::{LabelSelector, Labels};
use crate::model::storage::{
    Attachment, Claim, CsiCapacity, CsiDriver, CsiNode, StorageClass, Volume,
};

/// One object, read.
#[derive(Debug, Clone)]
pub enum Object {
    /// A namespace with its labels.
    Namespace(String, Arc<Labels>),
    /// A Service with its selector; `None`: it selects nothing.
    Service(NamespacedName, Option<Arc<Labels>>),
    /// A ReplicationController with its selector.
    ReplicationController(NamespacedName, Arc<Labels>),
    /// A StatefulSet with its selector.
    StatefulSet(NamespacedName, Arc<LabelSelector>),
    /// A PersistentVolumeClaim.
    Claim(Arc<Claim>),
    /// A PersistentVolume.
    Volume(Arc<Volume>),
    /// A StorageClass.
    StorageClass(Arc<StorageClass>),
    /// A CSINode.
    CsiNode(Arc<CsiNode>),
    /// A CSIDriver.
    CsiDriver(Arc<CsiDriver>),
    /// A CSIStorageCapacity.
    CsiCapacity(Arc<CsiCapacity>),
    /// A VolumeAttachment.
    Attachment(Arc<Attachment>),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Namespace(..) => Kind::Namespace,
            Self::Service(..) => Kind::Service,
            Self::ReplicationController(..) => Kind::ReplicationController,
            Self::StatefulSet(..) => Kind::StatefulSet,
            Self::Claim(_) => Kind::PersistentVolumeClaim,
            Self::Volume(_) => Kind::PersistentVolume,
            Self::StorageClass(_) => Kind::StorageClass,
            Self::CsiNode(_) => Kind::CsiNode,
            Self::CsiDriver(_) => Kind::CsiDriver,
            Self::CsiCapacity(_) => Kind::CsiStorageCapacity,
            Self::Attachment(_) => Kind::VolumeAttachment,
        }
    }
}

/// What selects pods, for default spread constraints.
#[derive(Debug, Clone, Default)]
pub struct Selectors {
    /// Services.
    pub services: BTreeMap<NamespacedName, Option<Arc<Labels>>>,
    /// ReplicationControllers.
    pub replication_controllers: HashMap<NamespacedName, Arc<Labels>>,
    /// ReplicaSets.
    pub replica_sets: HashMap<NamespacedName, Arc<LabelSelector>>,
    /// StatefulSets.
    pub stateful_sets: HashMap<NamespacedName, Arc<LabelSelector>>,
}

/// Claims, volumes and what provides them.
#[derive(Debug, Clone, Default)]
pub struct Storage {
    /// PersistentVolumeClaims.
    pub claims: HashMap<NamespacedName, Arc<Claim>>,
    /// PersistentVolumes, by name.
    pub volumes: BTreeMap<String, Arc<Volume>>,
    /// StorageClasses.
    pub classes: HashMap<String, Arc<StorageClass>>,
    /// CSINodes, by node.
    pub csi_nodes: HashMap<String, Arc<CsiNode>>,
    /// CSIDrivers.
    pub csi_drivers: HashMap<String, Arc<CsiDriver>>,
    /// CSIStorageCapacities.
    pub capacities: BTreeMap<NamespacedName, Arc<CsiCapacity>>,
    /// VolumeAttachments.
    pub attachments: BTreeMap<String, Arc<Attachment>>,
    /// Volumes that the scheduler has promised to claims, as they will be, until a watch shows a newer
    /// version than the one promised.
    pub assumed_volumes: HashMap<String, Arc<Volume>>,
    /// Claims for which the scheduler has chosen the node of their volume, likewise.
    pub assumed_claims: HashMap<NamespacedName, Arc<Claim>>,
}

impl Storage {
    /// A claim, as it is or as it is assumed to become.
    #[must_use]
    pub fn claim(&self, key: &NamespacedName) -> Option<&Arc<Claim>> {
        self.assumed_claims
            .get(key)
            .or_else(|| self.claims.get(key))
    }

    /// A volume, as it is or as it is assumed to become.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&Arc<Volume>> {
        self.assumed_volumes
            .get(name)
            .or_else(|| self.volumes.get(name))
    }

    /// The volumes of a class, likewise.
    pub fn volumes_of<'a>(&'a self, class: &'a str) -> impl Iterator<Item = &'a Arc<Volume>> {
        let current = self.volumes.iter();
        let current = current.map(|(name, v)| self.assumed_volumes.get(name).unwrap_or(v));
        current.filter(move |v| v.class == class)
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// The labels of namespaces.
    pub namespaces: Arc<HashMap<String, Arc<Labels>>>,
    /// What selects pods.
    pub selectors: Arc<Selectors>,
    /// Claims and volumes.
    pub storage: Arc<Storage>,
}

impl Objects {
    /// Puts an object in its place; the former one is handed back.
    pub(super) fn put(&mut self, object: Object) -> Option<Object> {
        match object {
            Object::Namespace(name, labels) => Arc::make_mut(&mut self.namespaces)
                .insert(name.clone(), labels)
                .map(|old| Object::Namespace(name, old)),
            Object::Service(key, selector) => Arc::make_mut(&mut self.selectors)
                .services
                .insert(key.clone(), selector)
                .map(|old| Object::Service(key, old)),
            Object::ReplicationController(key, selector) => Arc::make_mut(&mut self.selectors)
                .replication_controllers
                .insert(key.clone(), selector)
                .map(|old| Object::ReplicationController(key, old)),
            Object::StatefulSet(key, selector) => Arc::make_mut(&mut self.selectors)
                .stateful_sets
                .insert(key.clone(), selector)
                .map(|old| Object::StatefulSet(key, old)),
            stored => {
                let storage = Arc::make_mut(&mut self.storage);
                match stored {
                    Object::Claim(new) => {
                        let assumed = storage.assumed_claims.get(&new.key);
                        if assumed.is_some_and(|a| a.resource_version != new.resource_version) {
                            storage.assumed_claims.remove(&new.key);
                        }
                        let old = storage.claims.insert(new.key.clone(), new);
                        old.map(Object::Claim)
                    }
                    Object::Volume(new) => {
                        let assumed = storage.assumed_volumes.get(&new.name);
                        if assumed.is_some_and(|a| a.resource_version != new.resource_version) {
                            storage.assumed_volumes.remove(&new.name);
                        }
                        let old = storage.volumes.insert(new.name.clone(), new);
                        old.map(Object::Volume)
                    }
                    Object::StorageClass(new) => storage
                        .classes
                        .insert(new.name.clone(), new)
                        .map(Object::StorageClass),
                    Object::CsiNode(new) => storage
                        .csi_nodes
                        .insert(new.name.clone(), new)
                        .map(Object::CsiNode),
                    Object::CsiDriver(new) => storage
                        .csi_drivers
                        .insert(new.name.clone(), new)
                        .map(Object::CsiDriver),
                    Object::CsiCapacity(new) => storage
                        .capacities
                        .insert(new.key.clone(), new)
                        .map(Object::CsiCapacity),
                    Object::Attachment(new) => storage
                        .attachments
                        .insert(new.name.clone(), new)
                        .map(Object::Attachment),
                    // Above.
                    _ => None,
                }
            }
        }
    }

    /// Takes an object away.
    pub(super) fn remove(&mut self, kind: Kind, key: &NamespacedName) -> Option<Object> {
        let name = key.name.as_str();
        match kind {
            Kind::Namespace => Arc::make_mut(&mut self.namespaces)
                .remove(name)
                .map(|old| Object::Namespace(name.to_owned(), old)),
            Kind::Service => Arc::make_mut(&mut self.selectors)
                .services
                .remove(key)
                .map(|old| Object::Service(key.clone(), old)),
            Kind::ReplicationController => Arc::make_mut(&mut self.selectors)
                .replication_controllers
                .remove(key)
                .map(|old| Object::ReplicationController(key.clone(), old)),
            Kind::StatefulSet => Arc::make_mut(&mut self.selectors)
                .stateful_sets
                .remove(key)
                .map(|old| Object::StatefulSet(key.clone(), old)),
            Kind::Node
            | Kind::Pod
            | Kind::ReplicaSet
            | Kind::Deployment
            | Kind::PodDisruptionBudget => None,
            stored => {
                let storage = Arc::make_mut(&mut self.storage);
                match stored {
                    Kind::PersistentVolumeClaim => {
                        storage.assumed_claims.remove(key);
                        storage.claims.remove(key).map(Object::Claim)
                    }
                    Kind::PersistentVolume => {
                        storage.assumed_volumes.remove(name);
                        storage.volumes.remove(name).map(Object::Volume)
                    }
                    Kind::StorageClass => storage.classes.remove(name).map(Object::StorageClass),
                    Kind::CsiNode => storage.csi_nodes.remove(name).map(Object::CsiNode),
                    Kind::CsiDriver => storage.csi_drivers.remove(name).map(Object::CsiDriver),
                    Kind::CsiStorageCapacity => {
                        storage.capacities.remove(key).map(Object::CsiCapacity)
                    }
                    _ => storage.attachments.remove(name).map(Object::Attachment),
                }
            }
        }
    }
}
