//! Binds volumes to claims, as the scheduler has decided.
//!
//! Every write carries the resourceVersion that was decided on: what has changed meanwhile answers 409 and is
//! decided anew.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use super::answers::for_scheduler;
use super::call::{Call, ContentType, path};
use super::transport::Transport;
use crate::model::storage::{BOUND_BY_CONTROLLER, Claim, SELECTED_NODE, Volume};
use crate::scheduler::ports::{CallError, Volumes};

/// [`Volumes`] on the API server.
#[derive(Debug, Clone)]
pub struct ApiVolumes {
    transport: Arc<Transport>,
}

impl ApiVolumes {
    /// On this transport.
    #[must_use]
    pub fn new(transport: Arc<Transport>) -> Self {
        Self { transport }
    }
}

#[async_trait]
impl Volumes for ApiVolumes {
    async fn bind(&self, volume: &Volume, claim: &Claim) -> Result<(), CallError> {
        let mut metadata = json!({"resourceVersion": volume.resource_version});
        // A volume that a person meant for the claim stays marked as that.
        if !volume.is_for(claim) {
            metadata["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
        }
        let patch = json!({
            "metadata": metadata,
            "spec": {"claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.key.namespace,
                "name": claim.key.name,
                "uid": claim.uid,
                "resourceVersion": claim.resource_version,
            }},
        });
        let at = path(&["api", "v1", "persistentvolumes", &volume.name]);
        let call = Call::patch(at, ContentType::MergePatch, &patch);
        self.transport
            .send_raw(&call)
            .await
            .map_err(for_scheduler)?;
        Ok(())
    }

    async fn provision(&self, claim: &Claim, node: &str) -> Result<(), CallError> {
        let patch = json!({"metadata": {
            "resourceVersion": claim.resource_version,
            "annotations": {SELECTED_NODE: node},
        }});
        let (namespace, name) = (&claim.key.namespace, &claim.key.name);
        let at = path(&[
            "api",
            "v1",
            "namespaces",
            namespace,
            "persistentvolumeclaims",
            name,
        ]);
        let call = Call::patch(at, ContentType::MergePatch, &patch);
        self.transport
            .send_raw(&call)
            .await
            .map_err(for_scheduler)?;
        Ok(())
    }
}
