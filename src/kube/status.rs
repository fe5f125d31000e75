//! Writes the condition PodScheduled and the nominated node into pods' status.
//!
//! Invariant: a pod that has been bound meanwhile is never told that it is unscheduled. Each patch
//! carries the resourceVersion of a fresh read, so a binding in between turns it into a 409, after which
//! the pod is read anew. What was written last is remembered by uid, so that a pod that fails for the
//! same reason again costs no request at all (kube-scheduler skips it likewise, `updatePod`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::answers::for_scheduler;
use super::call::{Call, ContentType, path};
use super::transport::Transport;
use crate::clock;
use crate::model::NamespacedName;
use crate::scheduler::ports::{CallError, PodStatus, ScheduledCondition};

/// Memory is forgotten as a whole beyond this many pods: that costs a read each, no more.
const REMEMBERED: usize = 20_000;

/// How often a pod that keeps changing under our hands is read anew.
const TRIES: u32 = 4;

/// [`PodStatus`] on the API server.
#[derive(Debug)]
pub struct ApiPodStatus {
    transport: Arc<Transport>,
    written: Mutex<HashMap<String, ScheduledCondition>>,
}

impl ApiPodStatus {
    /// On this transport.
    #[must_use]
    pub fn new(transport: Arc<Transport>) -> Self {
        Self {
            transport,
            written: Mutex::new(HashMap::new()),
        }
    }

    fn is_written(&self, uid: &str, condition: &ScheduledCondition) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(uid) == Some(condition)
    }

    fn remember(&self, uid: &str, condition: &ScheduledCondition) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() >= REMEMBERED {
            written.clear();
        }
        written.insert(uid.to_owned(), condition.clone());
    }

    fn forget(&self, uid: &str) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.remove(uid);
    }
}

#[async_trait]
impl PodStatus for ApiPodStatus {
    async fn set_unscheduled(
        &self,
        key: &NamespacedName,
        uid: &str,
        condition: &ScheduledCondition,
    ) -> Result<(), CallError> {
        if self.is_written(uid, condition) {
            return Ok(());
        }
        let pod_path = path(&["api", "v1", "namespaces", &key.namespace, "pods", &key.name]);
        let mut tries = 0;
        loop {
            tries += 1;
            let pod: Pod = self
                .transport
                .send(&Call::get(pod_path.clone()))
                .await
                .map_err(for_scheduler)?;
            if pod.metadata.uid.as_deref() != Some(uid) {
                self.forget(uid);
                return Err(CallError::Gone(format!("pod {key} is another one now")));
            }
            let Some(patch) = patch_for(&pod, condition) else {
                self.remember(uid, condition);
                return Ok(());
            };
            let call = Call::patch(
                format!("{pod_path}/status"),
                ContentType::StrategicMergePatch,
                &patch,
            );
            match self.transport.send_raw(&call).await {
                Ok(_) => {
                    self.remember(uid, condition);
                    return Ok(());
                }
                Err(failure) if failure.code() == Some(409) && tries < TRIES => {}
                Err(failure) => return Err(for_scheduler(failure)),
            }
        }
    }
}

/// The strategic merge patch that brings the pod there, `None` if there is nothing to say: it is bound,
/// on its way out, or says so already. Conditions merge by `type`, so no other one is touched.
fn patch_for(pod: &Pod, wanted: &ScheduledCondition) -> Option<Value> {
    let bound = pod
        .spec
        .as_ref()
        .and_then(|s| s.node_name.as_deref())
        .is_some_and(|n| !n.is_empty());
    if bound || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = pod.status.as_ref();
    let present = status
        .and_then(|s| s.conditions.as_ref())
        .and_then(|c| c.iter().find(|c| c.type_ == "PodScheduled"));
    let nominated = status
        .and_then(|s| s.nominated_node_name.as_deref())
        .unwrap_or_default();
    let same_nomination = wanted
        .nominated_node
        .as_deref()
        .is_none_or(|n| n == nominated);
    let same_condition = present.is_some_and(|c| {
        c.status == "False"
            && c.reason.as_deref() == Some(wanted.reason.as_str())
            && c.message.as_deref().unwrap_or_default() == wanted.message
    });
    if same_condition && same_nomination {
        return None;
    }
    let mut condition = json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": wanted.reason,
        "message": wanted.message,
    });
    // The generation that was judged, as kube-scheduler writes it (KEP-5067).
    if let Some(generation) = pod.metadata.generation {
        condition["observedGeneration"] = json!(generation);
    }
    // The transition is the change of `status`; a new reason alone keeps its time.
    if present.is_none_or(|c| c.status != "False") {
        condition["lastTransitionTime"] =
            json!(clock::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
    let mut patched = json!({"conditions": [condition]});
    match wanted.nominated_node.as_deref() {
        Some("") if !same_nomination => patched["nominatedNodeName"] = Value::Null,
        Some(node) if !same_nomination => patched["nominatedNodeName"] = json!(node),
        _ => {}
    }
    Some(json!({
        "metadata": {
            "uid": pod.metadata.uid,
            "resourceVersion": pod.metadata.resource_version,
        },
        "status": patched,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(nominated: Option<&str>) -> ScheduledCondition {
        ScheduledCondition {
            reason: "Unschedulable".into(),
            message: "0/1 nodes are available".into(),
            nominated_node: nominated.map(str::to_owned),
        }
    }

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_bound_or_terminating_pod_is_left_alone() {
        let meta = json!({"uid": "u", "resourceVersion": "7"});
        let bound = json!({"metadata": meta, "spec": {"containers": [], "nodeName": "n"}});
        assert_eq!(patch_for(&pod(bound), &wanted(None)), None);
        let leaving =
            json!({"metadata": {"uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(patch_for(&pod(leaving), &wanted(None)), None);
    }

    #[test]
    fn says_only_what_is_new() {
        let present = |message: &str| {
            pod(json!({
                "metadata": {"uid": "u", "resourceVersion": "7"},
                "status": {"nominatedNodeName": "n1", "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]},
            }))
        };
        let same = "0/1 nodes are available";
        assert_eq!(patch_for(&present(same), &wanted(None)), None);
        assert_eq!(patch_for(&present(same), &wanted(Some("n1"))), None);
        let cleared = patch_for(&present(same), &wanted(Some(""))).unwrap();
        assert_eq!(cleared["status"]["nominatedNodeName"], Value::Null);
        assert!(
            cleared["status"]
                .as_object()
                .unwrap()
                .contains_key("nominatedNodeName")
        );
        let other = patch_for(&present("before"), &wanted(None)).unwrap();
        assert!(
            !other["status"]
                .as_object()
                .unwrap()
                .contains_key("nominatedNodeName")
        );
        assert!(
            other["status"]["conditions"][0]
                .get("lastTransitionTime")
                .is_none()
        );
        assert_eq!(
            other["metadata"],
            json!({"uid": "u", "resourceVersion": "7"})
        );
        let first = patch_for(&pod(json!({"metadata": {"uid": "u"}})), &wanted(None)).unwrap();
        assert!(first["status"]["conditions"][0]["lastTransitionTime"].is_string());
    }
}
