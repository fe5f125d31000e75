//! The objects that cases are made of.

use serde_json::{Value, json};

use crate::case::{Case, STRATEGIC};

pub(crate) const PODS: &str = "/api/v1/namespaces/{ns}/pods";
pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/{ns}/configmaps";
pub(crate) const SECRETS: &str = "/api/v1/namespaces/{ns}/secrets";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/{ns}/deployments";
pub(crate) const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/{ns}/replicasets";
pub(crate) const BUDGETS: &str = "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets";
pub(crate) const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases";
pub(crate) const NODES: &str = "/api/v1/nodes";

/// A pod that nobody schedules.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {
            "schedulerName": "nobody",
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "i"}],
        },
    })
}

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": name}}, "data": {"key": value}})
}

/// A Secret is a plain object that no controller makes or changes.
pub(crate) fn secret(name: &str, labels: Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}})
}

/// A Deployment whose pods nobody schedules.
pub(crate) fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"schedulerName": "nobody", "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "c", "image": "i"}]},
            },
        },
    })
}

/// A ReplicaSet whose pods nobody schedules.
pub(crate) fn replica_set(name: &str, replicas: i64) -> Value {
    deployment(name, replicas)
}

pub(crate) fn budget(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    json!({"metadata": {"name": name}, "spec": spec})
}

impl Case {
    /// A pod, bound to a node that is not there.
    pub(crate) async fn bound_pod(&mut self, name: &str, node: &str) {
        self.make(PODS, pod(name)).await;
        let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
        self.make(&format!("{PODS}/{name}/binding"), binding).await;
    }

    /// What a kubelet would say about a pod.
    pub(crate) async fn kubelet_says(&mut self, name: &str, status: Value) {
        let body = json!({"status": status}).to_string();
        let path = format!("{PODS}/{name}/status");
        let headers = [("content-type", STRATEGIC)];
        let said = self
            .quietly(http::Method::PATCH, &path, &headers, body)
            .await;
        assert_eq!(said.code, 200, "{}", said.body);
    }

    /// A pod that runs and is ready, or not.
    pub(crate) async fn running_pod(&mut self, name: &str, ready: bool) {
        self.bound_pod(name, "n-1").await;
        let ready = if ready { "True" } else { "False" };
        let status =
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]});
        self.kubelet_says(name, status).await;
    }
}
