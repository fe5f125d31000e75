//! Asks for a ReplicaSet that the watch has not brought yet.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::ReplicaSet;

use super::answers::for_scheduler;
use super::call::{Call, path};
use super::transport::Transport;
use crate::model::pod::controller_of;
use crate::model::{NamespacedName, OwnerRef};
use crate::scheduler::ports::{CallError, OwnerLookup};

/// [`OwnerLookup`] on the API server.
#[derive(Debug, Clone)]
pub struct ApiOwners {
    transport: Arc<Transport>,
}

impl ApiOwners {
    /// On this transport.
    #[must_use]
    pub fn new(transport: Arc<Transport>) -> Self {
        Self { transport }
    }
}

#[async_trait]
impl OwnerLookup for ApiOwners {
    async fn owner_of_replica_set(
        &self,
        key: &NamespacedName,
        uid: &str,
    ) -> Result<Option<Option<OwnerRef>>, CallError> {
        let call = Call::get(path(&[
            "apis",
            "apps",
            "v1",
            "namespaces",
            &key.namespace,
            "replicasets",
            &key.name,
        ]));
        match self.transport.send::<ReplicaSet>(&call).await {
            Ok(found) if found.metadata.uid.as_deref() == Some(uid) => {
                Ok(Some(controller_of(&found.metadata)))
            }
            Ok(_) => Ok(None),
            Err(failure) if failure.code() == Some(404) => Ok(None),
            Err(failure) => Err(for_scheduler(failure)),
        }
    }
}
