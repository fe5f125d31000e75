//! Displaces pods for others of higher priority.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use super::answers::for_scheduler;
use super::call::{Call, ContentType, path};
use super::retry::Repeat;
use super::transport::Transport;
use crate::clock;
use crate::model::NamespacedName;
use crate::scheduler::ports::{CallError, Victims};

/// [`Victims`] on the API server.
#[derive(Debug, Clone)]
pub struct ApiVictims {
    transport: Arc<Transport>,
}

impl ApiVictims {
    /// On this transport.
    #[must_use]
    pub fn new(transport: Arc<Transport>) -> Self {
        Self { transport }
    }
}

#[async_trait]
impl Victims for ApiVictims {
    async fn displace(&self, pod: &NamespacedName, uid: &str, why: &str) -> Result<(), CallError> {
        let at = path(&["api", "v1", "namespaces", &pod.namespace, "pods", &pod.name]);
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": why,
            "lastTransitionTime": clock::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        // The uid in the patch: a pod made again under the name answers 409.
        let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [condition]}});
        let say = Call::patch(
            format!("{at}/status"),
            ContentType::StrategicMergePatch,
            &patch,
        );
        let say = say.repeated(Repeat::Safe);
        match self.transport.send_raw(&say).await {
            Ok(_) => {}
            Err(failure) if gone(failure.code()) => return Ok(()),
            Err(failure) => return Err(for_scheduler(failure)),
        }
        let options = json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid},
        });
        match self.transport.send_raw(&Call::delete(at, &options)).await {
            Ok(_) => Ok(()),
            Err(failure) if gone(failure.code()) => Ok(()),
            Err(failure) => Err(for_scheduler(failure)),
        }
    }
}

/// Not there, or another one.
fn gone(code: Option<u16>) -> bool {
    matches!(code, Some(404 | 409))
}
