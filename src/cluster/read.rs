//! From the API's objects to events: typed ones as the watches bring them, and plain JSON as `kubectl get -o
//! json` prints it.

use std::sync::Arc;

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::policy::v1 as policy;
use k8s_openapi::api::storage::v1 as storage;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::event::ClusterEvent;
use super::objects::Object;
use crate::model::selector::LabelSelector;
use crate::model::storage::{
    Attachment, Claim, CsiCapacity, CsiDriver, CsiNode, StorageClass, Volume,
};
use crate::model::{Deployment, NamespacedName, ReplicaSet};

fn key_of(meta: &ObjectMeta) -> NamespacedName {
    NamespacedName::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// A namespace.
#[must_use]
pub fn namespace(object: core::Namespace) -> Object {
    let name = object.metadata.name.unwrap_or_default();
    Object::Namespace(name, Arc::new(object.metadata.labels.unwrap_or_default()))
}

/// A Service.
#[must_use]
pub fn service(object: core::Service) -> Object {
    let key = key_of(&object.metadata);
    Object::Service(key, object.spec.and_then(|s| s.selector).map(Arc::new))
}

/// A ReplicationController.
#[must_use]
pub fn replication_controller(object: core::ReplicationController) -> Object {
    let key = key_of(&object.metadata);
    let selector = object.spec.and_then(|s| s.selector).unwrap_or_default();
    Object::ReplicationController(key, Arc::new(selector))
}

/// A StatefulSet.
///
/// # Errors
/// What is wrong with its selector.
pub fn stateful_set(object: apps::StatefulSet) -> Result<Object, String> {
    let key = key_of(&object.metadata);
    let selector = LabelSelector::from_api(&object.spec.selector)
        .map_err(|(at, problem)| format!("statefulset {key}: spec.selector{at}: {problem}"))?;
    Ok(Object::StatefulSet(key, Arc::new(selector)))
}

/// A PersistentVolumeClaim.
///
/// # Errors
/// The field that cannot be understood.
pub fn claim(object: &core::PersistentVolumeClaim) -> Result<Object, String> {
    let claim = Claim::from_api(object).map_err(|e| e.to_string())?;
    Ok(Object::Claim(Arc::new(claim)))
}

/// A PersistentVolume.
///
/// # Errors
/// The field that cannot be understood.
pub fn volume(object: &core::PersistentVolume) -> Result<Object, String> {
    let volume = Volume::from_api(object).map_err(|e| e.to_string())?;
    Ok(Object::Volume(Arc::new(volume)))
}

/// A CSIStorageCapacity.
///
/// # Errors
/// The field that cannot be understood.
pub fn csi_capacity(object: &storage::CSIStorageCapacity) -> Result<Object, String> {
    let capacity = CsiCapacity::from_api(object).map_err(|e| e.to_string())?;
    Ok(Object::CsiCapacity(Arc::new(capacity)))
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|e| e.to_string())
}

/// The event that an object appeared. `None` for kinds that no decision depends on.
///
/// # Errors
/// What is wrong with the object.
pub fn event_of(value: Value) -> Result<Option<ClusterEvent>, String> {
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    let name = |meta: &Value| {
        let part = |key: &str| meta[key].as_str().unwrap_or_default().to_owned();
        NamespacedName::new(part("namespace"), part("name"))
    };
    let key = name(&value["metadata"]);
    let event = read(&kind, value).map_err(|problem| {
        let place = if key.namespace.is_empty() {
            key.name.clone()
        } else {
            key.to_string()
        };
        format!("{kind} {place}: {problem}")
    })?;
    Ok(event)
}

fn read(kind: &str, value: Value) -> Result<Option<ClusterEvent>, String> {
    let object = match kind {
        "Node" => return Ok(Some(ClusterEvent::Node(Arc::new(typed(value)?)))),
        "Pod" => return Ok(Some(ClusterEvent::Pod(Arc::new(typed(value)?)))),
        "ReplicaSet" => {
            let set = ReplicaSet::from_api(&typed::<apps::ReplicaSet>(value)?);
            let set = set.map_err(|e| e.to_string())?;
            return Ok(Some(ClusterEvent::ReplicaSet(Arc::new(set))));
        }
        "Deployment" => {
            let deployment = Deployment::from_api(&typed::<apps::Deployment>(value)?);
            let deployment = deployment.map_err(|e| e.to_string())?;
            return Ok(Some(ClusterEvent::Deployment(Arc::new(deployment))));
        }
        "PodDisruptionBudget" => {
            let budget = typed::<policy::PodDisruptionBudget>(value)?;
            return Ok(Some(ClusterEvent::PodDisruptionBudget(Arc::new(budget))));
        }
        "Namespace" => namespace(typed(value)?),
        "Service" => service(typed(value)?),
        "ReplicationController" => replication_controller(typed(value)?),
        "StatefulSet" => stateful_set(typed(value)?)?,
        "PersistentVolumeClaim" => claim(&typed(value)?)?,
        "PersistentVolume" => volume(&typed(value)?)?,
        "CSIStorageCapacity" => csi_capacity(&typed(value)?)?,
        "StorageClass" => {
            let class = typed::<storage::StorageClass>(value)?;
            Object::StorageClass(Arc::new(StorageClass::from_api(&class)))
        }
        "CSINode" => {
            let node = typed::<storage::CSINode>(value)?;
            Object::CsiNode(Arc::new(CsiNode::from_api(&node)))
        }
        "CSIDriver" => {
            let driver = typed::<storage::CSIDriver>(value)?;
            Object::CsiDriver(Arc::new(CsiDriver::from_api(&driver)))
        }
        "VolumeAttachment" => {
            let attachment = typed::<storage::VolumeAttachment>(value)?;
            Object::Attachment(Arc::new(Attachment::from_api(&attachment)))
        }
        _ => return Ok(None),
    };
    Ok(Some(ClusterEvent::Object(object)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_the_object_that_makes_no_sense() {
        let claim = json!({"kind":"PersistentVolumeClaim","metadata":{"namespace":"n","name":"c"},
            "spec":{"resources":{"requests":{"storage":"lots"}}}});
        let problem = event_of(claim).unwrap_err();
        assert!(
            problem.starts_with("PersistentVolumeClaim n/c: "),
            "{problem}"
        );
        let unknown = event_of(json!({"kind":"Secret","metadata":{"name":"s"}}));
        assert!(unknown.unwrap().is_none());
    }
}
