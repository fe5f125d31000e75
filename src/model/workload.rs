//! Workloads: Deployments and their ReplicaSets.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::Error;
use super::names::{LEDGER_LABEL, NamespacedName, OwnerRef, WorkloadRef};
use super::pod::controller_of;
use super::selector::LabelSelector;

/// A Deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Namespace and name.
    pub key: NamespacedName,
    /// The uid.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.generation`: moves with every change of the spec.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// `metadata.labels`, if there is such a map at all (a JSON patch must know).
    pub labels: Option<BTreeMap<String, String>>,
    /// `spec.replicas` (1 when absent).
    pub replicas: i32,
    /// `spec.paused`.
    pub paused: bool,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// `status.replicas`.
    pub status_replicas: i32,
    /// `status.updatedReplicas`.
    pub updated_replicas: i32,
    /// `status.readyReplicas`.
    pub ready_replicas: i32,
    /// `status.unavailableReplicas`.
    pub unavailable_replicas: i32,
    /// The pod template, for what-ifs.
    pub template: Arc<PodTemplateSpec>,
}

impl Deployment {
    /// Reads a Deployment of the API.
    ///
    /// # Errors
    /// [`Error`] when identity is missing.
    pub fn from_api(object: &apps::Deployment) -> Result<Self, Error> {
        let meta = &object.metadata;
        let key = key_of(meta);
        let status = object.status.clone().unwrap_or_default();
        let uid = meta.uid.clone().ok_or_else(|| Error {
            object: format!("deployment {key}"),
            field: "metadata.uid".into(),
            problem: "is missing".into(),
        })?;
        Ok(Self {
            key,
            uid,
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            observed_generation: status.observed_generation.unwrap_or_default(),
            labels: meta.labels.clone(),
            replicas: object.spec.replicas.unwrap_or(1),
            paused: object.spec.paused.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            status_replicas: status.replicas.unwrap_or_default(),
            updated_replicas: status.updated_replicas.unwrap_or_default(),
            ready_replicas: status.ready_replicas.unwrap_or_default(),
            unavailable_replicas: status.unavailable_replicas.unwrap_or_default(),
            template: Arc::new(object.spec.template.clone()),
        })
    }

    /// What names it in actions, locks and intents.
    #[must_use]
    pub fn workload(&self) -> WorkloadRef {
        WorkloadRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
            uid: self.uid.clone(),
        }
    }

    /// The mark of the last step done to the replica count, if any.
    #[must_use]
    pub fn ledger(&self) -> Option<&str> {
        self.labels.as_ref()?.get(LEDGER_LABEL).map(String::as_str)
    }

    /// `spec.template.spec.schedulerName`, `default-scheduler` when absent.
    #[must_use]
    pub fn scheduler_name(&self) -> &str {
        self.template
            .spec
            .as_ref()
            .and_then(|s| s.scheduler_name.as_deref())
            .unwrap_or("default-scheduler")
    }

    /// Whether the controller has seen the present spec and no rollout is in progress: all replicas
    /// that exist are of the present template and as many as asked for.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.observed_generation >= self.generation
            && self.updated_replicas == self.replicas
            && self.status_replicas == self.replicas
    }
}

/// A ReplicaSet.
#[derive(Debug, Clone)]
pub struct ReplicaSet {
    /// Namespace and name.
    pub key: NamespacedName,
    /// The uid.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// The controlling owner (a Deployment), if any.
    pub controller: Option<OwnerRef>,
    /// `spec.replicas` (1 when absent).
    pub replicas: i32,
    /// `status.replicas`.
    pub status_replicas: i32,
    /// `status.terminatingReplicas`.
    pub terminating_replicas: i32,
    /// `spec.selector`.
    pub selector: Arc<LabelSelector>,
    /// The message of the condition `ReplicaFailure` with reason `FailedCreate`, while it is `True`.
    pub failed_create: Option<String>,
}

impl ReplicaSet {
    /// Reads a ReplicaSet of the API.
    ///
    /// # Errors
    /// [`Error`] when identity is missing.
    pub fn from_api(object: &apps::ReplicaSet) -> Result<Self, Error> {
        let meta = &object.metadata;
        let key = key_of(meta);
        let status = object.status.clone().unwrap_or_default();
        let uid = meta.uid.clone().ok_or_else(|| Error {
            object: format!("replicaset {key}"),
            field: "metadata.uid".into(),
            problem: "is missing".into(),
        })?;
        let selector = LabelSelector::from_api(&object.spec.selector);
        let selector = selector.map_err(|(at, problem)| Error {
            object: format!("replicaset {key}"),
            field: format!("spec.selector{at}"),
            problem,
        })?;
        let failed_create = status.conditions.iter().flatten().find_map(|c| {
            (c.type_.as_deref() == Some("ReplicaFailure")
                && c.status.as_deref() == Some("True")
                && c.reason.as_deref() == Some("FailedCreate"))
            .then(|| c.message.clone().unwrap_or_default())
        });
        Ok(Self {
            key,
            uid,
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            observed_generation: status.observed_generation.unwrap_or_default(),
            controller: controller_of(meta),
            replicas: object.spec.replicas.unwrap_or(1),
            status_replicas: status.replicas,
            terminating_replicas: status.terminating_replicas.unwrap_or_default(),
            selector: Arc::new(selector),
            failed_create,
        })
    }
}

fn key_of(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> NamespacedName {
    NamespacedName::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}
