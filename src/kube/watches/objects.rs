//! The kinds that arrive as [`Object`]s.

use std::sync::Arc;

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::storage::v1 as storage;

use super::task::Watched;
use crate::cluster::event::Kind;
use crate::cluster::{ClusterEvent, Object, read};
use crate::model::NamespacedName;
use crate::model::storage::{Attachment, CsiDriver, CsiNode, StorageClass};

impl Watched for core::Namespace {
    fn changed(self) -> Result<ClusterEvent, String> {
        Ok(ClusterEvent::Object(read::namespace(self)))
    }
    fn gone(key: NamespacedName, _uid: String) -> ClusterEvent {
        ClusterEvent::ObjectGone(Kind::Namespace, key)
    }
}

impl Watched for core::Service {
    fn changed(self) -> Result<ClusterEvent, String> {
        Ok(ClusterEvent::Object(read::service(self)))
    }
    fn gone(key: NamespacedName, _uid: String) -> ClusterEvent {
        ClusterEvent::ObjectGone(Kind::Service, key)
    }
}

impl Watched for core::ReplicationController {
    fn changed(self) -> Result<ClusterEvent, String> {
        Ok(ClusterEvent::Object(read::replication_controller(self)))
    }
    fn gone(key: NamespacedName, _uid: String) -> ClusterEvent {
        ClusterEvent::ObjectGone(Kind::ReplicationController, key)
    }
}

impl Watched for apps::StatefulSet {
    fn changed(self) -> Result<ClusterEvent, String> {
        read::stateful_set(self).map(ClusterEvent::Object)
    }
    fn gone(key: NamespacedName, _uid: String) -> ClusterEvent {
        ClusterEvent::ObjectGone(Kind::StatefulSet, key)
    }
}

impl Watched for core::PersistentVolumeClaim {
    fn changed(self) -> Result<ClusterEvent, String> {
        read::claim(&self).map(ClusterEvent::Object)
    }
    fn gone(key: NamespacedName, _uid: String) -> ClusterEvent {
        ClusterEvent::ObjectGone(Kind::PersistentVolumeClaim, key)
    }
}

impl Watched for core::PersistentVolume {
    fn changed(self) -> Result<ClusterEvent, String> {
        read::volume(&self).map(ClusterEvent::Object)
    }
    fn gone(key: NamespacedName, _uid: String) -> ClusterEvent {
        ClusterEvent::ObjectGone(Kind::PersistentVolume, key)
    }
}

impl Watched for storage::StorageClass {
    fn changed(self) -> Result<ClusterEvent, String> {
        let row = Arc::new(StorageClass::from_api(&self));
        Ok(ClusterEvent::Object(Object::StorageClass(row)))
    }
    fn gone(key: NamespacedName, _uid: String) -> ClusterEvent {
        ClusterEvent::ObjectGone(Kind::StorageClass, key)
    }
}

impl Watched for storage::CSINode {
    fn changed(self) -> Result<ClusterEvent, String> {
        let row = Arc::new(CsiNode::from_api(&self));
        Ok(ClusterEvent::Object(Object::CsiNode(row)))
    }
    fn gone(key: NamespacedName, _uid: String) -> ClusterEvent {
        ClusterEvent::ObjectGone(Kind::CsiNode, key)
    }
}

impl Watched for storage::CSIDriver {
    fn changed(self) -> Result<ClusterEvent, String> {
        let row = Arc::new(CsiDriver::from_api(&self));
        Ok(ClusterEvent::Object(Object::CsiDriver(row)))
    }
    fn gone(key: NamespacedName, _uid: String) -> ClusterEvent {
        ClusterEvent::ObjectGone(Kind::CsiDriver, key)
    }
}

impl Watched for storage::VolumeAttachment {
    fn changed(self) -> Result<ClusterEvent, String> {
        let row = Arc::new(Attachment::from_api(&self));
        Ok(ClusterEvent::Object(Object::Attachment(row)))
    }
    fn gone(key: NamespacedName, _uid: String) -> ClusterEvent {
        ClusterEvent::ObjectGone(Kind::VolumeAttachment, key)
    }
}

impl Watched for storage::CSIStorageCapacity {
    fn changed(self) -> Result<ClusterEvent, String> {
        read::csi_capacity(&self).map(ClusterEvent::Object)
    }
    fn gone(key: NamespacedName, _uid: String) -> ClusterEvent {
        ClusterEvent::ObjectGone(Kind::CsiStorageCapacity, key)
    }
}
