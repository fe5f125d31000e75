//! Binds pods: `POST pods/binding` with the pod's uid.
//!
//! The API server assigns a pod at most once: a second binding is answered 409, whatever its node. So a
//! bind may be repeated after a lost answer, and a 409 is settled by reading the pod: our node and our
//! annotations mean that an earlier try of ours went through.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::answers::for_scheduler;
use super::call::{Call, path};
use super::failure::Failure;
use super::retry::Repeat;
use super::transport::Transport;
use crate::clock;
use crate::scheduler::ports::{Binder, Binding, CallError, Leadership};

/// [`Binder`] on the API server.
pub struct ApiBinder {
    transport: Arc<Transport>,
    leadership: Arc<dyn Leadership>,
}

impl ApiBinder {
    /// `leadership` is asked before every try: no bind leaves after the renew deadline, a repeated one
    /// neither.
    #[must_use]
    pub fn new(transport: Arc<Transport>, leadership: Arc<dyn Leadership>) -> Self {
        Self {
            transport,
            leadership,
        }
    }

    /// What became of a binding whose answer was a conflict or got lost.
    async fn settle(&self, binding: &Binding) -> Result<Settled, Failure> {
        let call = Call::get(pod_path(binding, &[]));
        let pod: Pod = match self.transport.send(&call).await {
            Ok(pod) => pod,
            Err(failure) if failure.code() == Some(404) => return Ok(Settled::Gone),
            Err(failure) => return Err(failure),
        };
        Ok(settled(binding, &pod))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Settled {
    /// Ours.
    Bound,
    /// Nobody's yet.
    Unbound,
    /// Assigned, and not by this binding.
    Elsewhere(String),
    /// Another pod, or none.
    Gone,
}

fn settled(binding: &Binding, pod: &Pod) -> Settled {
    if pod.metadata.uid.as_deref() != Some(binding.uid.as_str()) {
        return Settled::Gone;
    }
    let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
    let Some(node) = node.filter(|n| !n.is_empty()) else {
        return Settled::Unbound;
    };
    let annotations = pod.metadata.annotations.as_ref();
    let marked = binding
        .annotations
        .iter()
        .all(|(key, value)| annotations.and_then(|a| a.get(key)) == Some(value));
    if node == binding.node && marked {
        Settled::Bound
    } else {
        Settled::Elsewhere(node.to_owned())
    }
}

fn pod_path(binding: &Binding, rest: &[&str]) -> String {
    let mut segments = vec![
        "api",
        "v1",
        "namespaces",
        &binding.pod.namespace,
        "pods",
        &binding.pod.name,
    ];
    segments.extend(rest);
    path(&segments)
}

#[async_trait]
impl Binder for ApiBinder {
    async fn bind(&self, binding: &Binding) -> Result<(), CallError> {
        let mut metadata = json!({
            "namespace": binding.pod.namespace,
            "name": binding.pod.name,
            "uid": binding.uid,
        });
        if !binding.annotations.is_empty() {
            metadata["annotations"] = json!(binding.annotations);
        }
        let body = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": metadata,
            "target": {"apiVersion": "v1", "kind": "Node", "name": binding.node},
        });
        let call = Call::create(pod_path(binding, &["binding"]), &body).named("bind");
        let mut tries = 0;
        let mut lost = None;
        loop {
            if !self.leadership.leads() {
                return Err(match lost {
                    Some(text) => CallError::Unavailable(text),
                    None => CallError::Refused("this scheduler does not lead any more".into()),
                });
            }
            tries += 1;
            let failure = match self.transport.send_once(&call).await {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            if let Some(delay) = self.transport.pause(&call, tries, Repeat::Safe, &failure) {
                if !failure.was_not_done() {
                    lost = Some(failure.to_string());
                }
                clock::sleep(delay).await;
                continue;
            }
            let conflict = failure.code() == Some(409);
            if !conflict && failure.was_not_done() && lost.is_none() {
                return Err(for_scheduler(failure));
            }
            return match self.settle(binding).await {
                Ok(Settled::Bound) => Ok(()),
                Ok(Settled::Gone) => Err(CallError::Gone(failure.to_string())),
                Ok(Settled::Elsewhere(node)) => Err(CallError::Conflict(format!(
                    "pod {} is already assigned to node {node}",
                    binding.pod
                ))),
                // Being deleted, or a quarrel inside the API server.
                Ok(Settled::Unbound) if conflict => Err(CallError::Conflict(failure.to_string())),
                Ok(Settled::Unbound) => Err(for_scheduler(failure)),
                Err(unread) => Err(CallError::Unavailable(format!(
                    "{failure}; whether the pod is bound could not be read: {unread}"
                ))),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NamespacedName;

    fn binding() -> Binding {
        Binding {
            pod: NamespacedName::new("default", "web-1"),
            uid: "u1".into(),
            node: "n1".into(),
            annotations: [("a".to_owned(), "1".to_owned())].into(),
        }
    }

    fn pod(value: serde_json::Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_our_own_binding_counts_as_ours() {
        let cases = [
            (json!({"metadata": {"uid": "u2"}}), Settled::Gone),
            (json!({"metadata": {"uid": "u1"}}), Settled::Unbound),
            (
                json!({"metadata": {"uid": "u1", "annotations": {"a": "1", "b": "2"}},
                       "spec": {"containers": [], "nodeName": "n1"}}),
                Settled::Bound,
            ),
            (
                json!({"metadata": {"uid": "u1"}, "spec": {"containers": [], "nodeName": "n1"}}),
                Settled::Elsewhere("n1".into()),
            ),
            (
                json!({"metadata": {"uid": "u1", "annotations": {"a": "1"}},
                       "spec": {"containers": [], "nodeName": "n2"}}),
                Settled::Elsewhere("n2".into()),
            ),
        ];
        for (object, expected) in cases {
            assert_eq!(
                settled(&binding(), &pod(object.clone())),
                expected,
                "{object}"
            );
        }
    }
}
