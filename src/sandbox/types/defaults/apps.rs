//! `SetDefaults_*` of the other groups (apps, batch, autoscaling, policy, networking), by type.

use serde_json::{Value, json};

use super::{Members, child, set, set_text, text};

pub(super) fn hook(model: &str) -> Option<fn(&mut Members)> {
    Some(match model {
        "io.k8s.api.apps.v1.DeploymentSpec" => deployment,
        "io.k8s.api.apps.v1.ReplicaSetSpec" => |m| set(m, "replicas", 1),
        "io.k8s.api.apps.v1.StatefulSetSpec" => stateful_set,
        "io.k8s.api.apps.v1.DaemonSetSpec" => daemon_set,
        "io.k8s.api.batch.v1.Job" => job,
        "io.k8s.api.batch.v1.CronJobSpec" => |m| {
            set_text(m, "concurrencyPolicy", "Allow");
            set(m, "suspend", false);
            set(m, "successfulJobsHistoryLimit", 3);
            set(m, "failedJobsHistoryLimit", 1);
        },
        "io.k8s.api.batch.v1.PodFailurePolicyOnPodConditionsPattern" => {
            |m| set_text(m, "status", "True")
        }
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerSpec" => autoscaler,
        "io.k8s.api.autoscaling.v1.HorizontalPodAutoscalerSpec" => |m| set(m, "minReplicas", 1),
        "io.k8s.api.networking.v1.NetworkPolicySpec" => |m| {
            let egress = m.contains_key("egress");
            let types = if egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            };
            set(m, "policyTypes", types);
        },
        "io.k8s.api.discovery.v1.EndpointPort" => |m| {
            set(m, "name", "");
            set_text(m, "protocol", "TCP");
        },
        "io.k8s.api.networking.v1.NetworkPolicyPort" => |m| set_text(m, "protocol", "TCP"),
        "io.k8s.api.scheduling.v1.PriorityClass" => {
            |m| set(m, "preemptionPolicy", "PreemptLowerPriority")
        }
        "io.k8s.api.rbac.v1.RoleRef" => |m| set_text(m, "apiGroup", "rbac.authorization.k8s.io"),
        "io.k8s.api.rbac.v1.Subject" => |m| {
            let group = match text(m, "kind") {
                "User" | "Group" => "rbac.authorization.k8s.io",
                _ => return,
            };
            set_text(m, "apiGroup", group);
        },
        "io.k8s.api.storage.v1.StorageClass" => |m| {
            set(m, "reclaimPolicy", "Delete");
            set(m, "volumeBindingMode", "Immediate");
        },
        _ => return None,
    })
}

fn deployment(spec: &mut Members) {
    set(spec, "replicas", 1);
    if let Some(strategy) = child(spec, "strategy") {
        set_text(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            set(rolling, "maxUnavailable", "25%");
            set(rolling, "maxSurge", "25%");
        }
    }
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "progressDeadlineSeconds", 600);
}

fn stateful_set(spec: &mut Members) {
    set_text(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = child(spec, "updateStrategy") {
        let unset = text(strategy, "type").is_empty();
        set_text(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && (unset || strategy.contains_key("rollingUpdate"))
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            set(rolling, "partition", 0);
        }
    }
    if let Some(policy) = child(spec, "persistentVolumeClaimRetentionPolicy") {
        set_text(policy, "whenDeleted", "Retain");
        set_text(policy, "whenScaled", "Retain");
    }
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
}

fn daemon_set(spec: &mut Members) {
    if let Some(strategy) = child(spec, "updateStrategy") {
        set_text(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            set(rolling, "maxUnavailable", 1);
            set(rolling, "maxSurge", 0);
        }
    }
    set(spec, "revisionHistoryLimit", 10);
}

fn job(job: &mut Members) {
    let Some(spec) = child(job, "spec") else {
        return;
    };
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    let per_index = spec.contains_key("backoffLimitPerIndex");
    set(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    let policy = spec.contains_key("podFailurePolicy");
    set(
        spec,
        "podReplacementPolicy",
        if policy {
            "Failed"
        } else {
            "TerminatingOrFailed"
        },
    );
    set(spec, "manualSelector", false);
    let labels = spec
        .get("template")
        .and_then(|t| t.pointer("/metadata/labels"))
        .cloned();
    if let (Some(labels), Some(metadata)) = (labels, child(job, "metadata")) {
        set(metadata, "labels", labels);
    }
}

fn autoscaler(spec: &mut Members) {
    set(spec, "minReplicas", 1);
    let without = spec
        .get("metrics")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty);
    if without {
        let cpu = json!([{
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
        }]);
        spec.insert("metrics".to_owned(), cpu);
    }
    let Some(behavior) = spec.get_mut("behavior").and_then(Value::as_object_mut) else {
        return;
    };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    if let Some(up) = child(behavior, "scaleUp") {
        set(up, "stabilizationWindowSeconds", 0);
        set(up, "selectPolicy", "Max");
        set(up, "policies", json!([pods, percent]));
    }
    if let Some(down) = child(behavior, "scaleDown") {
        set(down, "selectPolicy", "Max");
        set(down, "policies", json!([percent]));
    }
}
