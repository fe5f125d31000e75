//! Pods, as the scheduler and the actions need them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as api;

use super::Error;
use super::names::{ACTION_ANNOTATION, NamespacedName, OwnerRef};

/// `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodPhase {
    /// Accepted, not all containers started.
    Pending,
    /// Bound, at least one container running.
    Running,
    /// All containers ended well.
    Succeeded,
    /// All containers ended, one of them badly, or the kubelet refused the pod.
    Failed,
    /// The node cannot be asked.
    Unknown,
}

/// A pod.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Namespace and name.
    pub key: NamespacedName,
    /// The uid: a pod made again under the same name is another one.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// The controlling owner, if any.
    pub controller: Option<OwnerRef>,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `metadata.deletionTimestamp`: set while the pod terminates.
    pub deleted: Option<Timestamp>,
    /// `spec.schedulerName`.
    pub scheduler_name: String,
    /// `spec.nodeName`, if assigned.
    pub node_name: Option<String>,
    /// `status.phase`.
    pub phase: PodPhase,
    /// `status.reason`, for example `OutOfcpu`.
    pub reason: Option<String>,
    /// Whether the condition `Ready` is `True`.
    pub ready: bool,
    /// The value of [`ACTION_ANNOTATION`].
    pub action: Option<String>,
    /// Whether it is a mirror of a static pod (annotation `kubernetes.io/config.mirror`).
    pub mirror: bool,
}

impl Pod {
    /// Reads a pod of the API.
    ///
    /// # Errors
    /// [`Error`] naming the field, when something in it cannot be understood.
    pub fn from_api(pod: &api::Pod) -> Result<Self, Error> {
        let meta = &pod.metadata;
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let annotation = |name: &str| meta.annotations.as_ref().and_then(|a| a.get(name)).cloned();
        let phase = match status.and_then(|s| s.phase.as_deref()) {
            Some("Running") => PodPhase::Running,
            Some("Succeeded") => PodPhase::Succeeded,
            Some("Failed") => PodPhase::Failed,
            Some("Unknown") => PodPhase::Unknown,
            _ => PodPhase::Pending,
        };
        let ready = status
            .and_then(|s| s.conditions.as_ref())
            .is_some_and(|c| c.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
        Ok(Self {
            key: NamespacedName::new(
                meta.namespace.clone().unwrap_or_default(),
                meta.name.clone().unwrap_or_default(),
            ),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            controller: controller_of(meta),
            created: meta.creation_timestamp.as_ref().map(|t| t.0),
            deleted: meta.deletion_timestamp.as_ref().map(|t| t.0),
            scheduler_name: spec
                .and_then(|s| s.scheduler_name.clone())
                .unwrap_or_else(|| "default-scheduler".to_owned()),
            node_name: spec
                .and_then(|s| s.node_name.clone())
                .filter(|n| !n.is_empty()),
            phase,
            reason: status.and_then(|s| s.reason.clone()),
            ready,
            action: annotation(ACTION_ANNOTATION),
            mirror: annotation("kubernetes.io/config.mirror").is_some(),
        })
    }

    /// Neither finished nor terminating: what a ReplicaSet counts (`FilterActivePods`).
    #[must_use]
    pub fn is_active(&self) -> bool {
        !matches!(self.phase, PodPhase::Succeeded | PodPhase::Failed) && self.deleted.is_none()
    }
}

/// The owner reference with `controller: true`.
#[must_use]
pub fn controller_of(
    meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
) -> Option<OwnerRef> {
    let owner = meta
        .owner_references
        .as_ref()?
        .iter()
        .find(|o| o.controller == Some(true))?;
    Some(OwnerRef {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    })
}
