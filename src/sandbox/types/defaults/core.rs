//! `SetDefaults_*` of the core group (pkg/apis/core/v1/defaults.go), by type.

use serde_json::{Value, json};

use super::{Members, child, set, set_text, text};

pub(super) fn hook(model: &str) -> Option<fn(&mut Members)> {
    Some(match model {
        "io.k8s.api.core.v1.Pod" => pod,
        "io.k8s.api.core.v1.PodSpec" => pod_spec,
        "io.k8s.api.core.v1.Container" | "io.k8s.api.core.v1.EphemeralContainer" => container,
        "io.k8s.api.core.v1.Probe" => probe,
        "io.k8s.api.core.v1.HTTPGetAction" => |m| {
            set_text(m, "path", "/");
            set_text(m, "scheme", "HTTP");
        },
        "io.k8s.api.core.v1.GRPCAction" => |m| set(m, "service", ""),
        "io.k8s.api.core.v1.ObjectFieldSelector" => |m| set_text(m, "apiVersion", "v1"),
        "io.k8s.api.core.v1.Volume" => volume,
        "io.k8s.api.core.v1.SecretVolumeSource"
        | "io.k8s.api.core.v1.ConfigMapVolumeSource"
        | "io.k8s.api.core.v1.DownwardAPIVolumeSource"
        | "io.k8s.api.core.v1.ProjectedVolumeSource" => |m| set(m, "defaultMode", 0o644),
        "io.k8s.api.core.v1.HostPathVolumeSource" => |m| set(m, "type", ""),
        "io.k8s.api.core.v1.ServiceAccountTokenProjection" => |m| set(m, "expirationSeconds", 3600),
        "io.k8s.api.core.v1.Service" => service,
        "io.k8s.api.core.v1.Namespace" => namespace,
        "io.k8s.api.core.v1.NamespaceStatus" => |m| set_text(m, "phase", "Active"),
        // The conversion's, not a default's: the first range is also the list's.
        "io.k8s.api.core.v1.NodeSpec" => |m| {
            if let Some(range) = m.get("podCIDR").cloned() {
                set(m, "podCIDRs", Value::Array(vec![range]));
            }
        },
        "io.k8s.api.core.v1.NodeStatus" => |m| {
            if let Some(capacity) = m.get("capacity").cloned() {
                set(m, "allocatable", capacity);
            }
        },
        "io.k8s.api.core.v1.Secret" => |m| set_text(m, "type", "Opaque"),
        "io.k8s.api.core.v1.PersistentVolumeSpec" => |m| {
            set_text(m, "persistentVolumeReclaimPolicy", "Retain");
            set(m, "volumeMode", "Filesystem");
        },
        "io.k8s.api.core.v1.PersistentVolumeClaimSpec" => |m| set(m, "volumeMode", "Filesystem"),
        "io.k8s.api.core.v1.PersistentVolumeStatus"
        | "io.k8s.api.core.v1.PersistentVolumeClaimStatus" => |m| set_text(m, "phase", "Pending"),
        "io.k8s.api.core.v1.ReplicationController" => replication_controller,
        "io.k8s.api.core.v1.LimitRangeItem" => limit_range_item,
        _ => return None,
    })
}

fn pod(pod: &mut Members) {
    // A pod that was just made waits; pkg/registry/core/pod/strategy.go PrepareForCreate.
    if let Some(status) = child(pod, "status") {
        set_text(status, "phase", "Pending");
    }
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    set(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
}

/// A resource with a limit and no request requests its limit.
fn requests_from_limits(container: &mut Members) {
    let Some(resources) = container
        .get_mut("resources")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    let Some(requests) = child(resources, "requests") else {
        return;
    };
    for (name, amount) in limits {
        set(requests, &name, amount);
    }
}

fn host_ports(container: &mut Members) {
    let ports = container.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        let unset = port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) == 0;
        if let (true, Some(number)) = (unset, port.get("containerPort").cloned()) {
            port.insert("hostPort".to_owned(), number);
        }
    }
}

fn pod_spec(spec: &mut Members) {
    set_text(spec, "dnsPolicy", "ClusterFirst");
    set_text(spec, "restartPolicy", "Always");
    set(spec, "securityContext", json!({}));
    set(spec, "terminationGracePeriodSeconds", 30);
    set_text(spec, "schedulerName", "default-scheduler");
    // The API server writes both names of the account (core/v1 conversion.go).
    let account = text(spec, "serviceAccountName").to_owned();
    let account = if account.is_empty() {
        text(spec, "serviceAccount").to_owned()
    } else {
        account
    };
    if !account.is_empty() {
        spec.insert("serviceAccount".to_owned(), Value::String(account.clone()));
        spec.insert("serviceAccountName".to_owned(), Value::String(account));
    }
}

/// Tag of an image reference; `latest` where it has neither tag nor digest.
fn image_tag(image: &str) -> &str {
    let (name, digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag,
        None if digest => "",
        None => "latest",
    }
}

fn pull_policy(image: &str) -> &'static str {
    if image_tag(image) == "latest" {
        "Always"
    } else {
        "IfNotPresent"
    }
}

fn container(container: &mut Members) {
    let policy = pull_policy(text(container, "image"));
    set_text(container, "imagePullPolicy", policy);
    set_text(container, "terminationMessagePath", "/dev/termination-log");
    set_text(container, "terminationMessagePolicy", "File");
}

fn probe(probe: &mut Members) {
    for (key, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if probe.get(key).and_then(Value::as_i64).unwrap_or(0) == 0 {
            probe.insert(key.to_owned(), Value::from(value));
        }
    }
}

fn volume(volume: &mut Members) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    if let Some(image) = volume.get_mut("image").and_then(Value::as_object_mut) {
        let policy = pull_policy(text(image, "reference"));
        set_text(image, "pullPolicy", policy);
    }
}

fn service(service: &mut Members) {
    let Some(spec) = child(service, "spec") else {
        return;
    };
    set_text(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => {
            spec.remove("sessionAffinityConfig");
        }
        "ClientIP" => {
            if let Some(config) = child(spec, "sessionAffinityConfig")
                && let Some(client) = child(config, "clientIP")
            {
                set(client, "timeoutSeconds", 10800);
            }
        }
        _ => {}
    }
    set_text(spec, "type", "ClusterIP");
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let Some(port) = port.as_object_mut() else {
            continue;
        };
        set_text(port, "protocol", "TCP");
        let unset = match port.get("targetPort") {
            None => true,
            Some(target) => target.as_i64() == Some(0) || target.as_str() == Some(""),
        };
        if unset {
            let number = port.get("port").cloned().unwrap_or_else(|| Value::from(0));
            port.insert("targetPort".to_owned(), number);
        }
    }
    let kind = text(spec, "type").to_owned();
    let external_ips = spec
        .get("externalIPs")
        .and_then(Value::as_array)
        .is_some_and(|ips| !ips.is_empty());
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && external_ips)
    {
        set_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn namespace(namespace: &mut Members) {
    let Some(metadata) = namespace.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let name = text(metadata, "name").to_owned();
    let stored = metadata.contains_key("uid") || metadata.contains_key("creationTimestamp");
    if !name.is_empty()
        && let Some(labels) = child(metadata, "labels")
    {
        labels.insert(
            "kubernetes.io/metadata.name".to_owned(),
            Value::String(name),
        );
    }
    // Only a new namespace gets the finalizer (pkg/registry/core/namespace/strategy.go).
    if !stored && let Some(spec) = child(namespace, "spec") {
        set(spec, "finalizers", json!(["kubernetes"]));
    }
}

fn replication_controller(controller: &mut Members) {
    let Some(spec) = child(controller, "spec") else {
        return;
    };
    set(spec, "replicas", 1);
    let labels = spec
        .get("template")
        .and_then(|t| t.pointer("/metadata/labels"))
        .cloned();
    let Some(labels) = labels else { return };
    set(spec, "selector", labels.clone());
    if let Some(metadata) = child(controller, "metadata") {
        set(metadata, "labels", labels);
    }
}

fn limit_range_item(item: &mut Members) {
    if text(item, "type") != "Container" {
        return;
    }
    for (from, to) in [
        ("max", "default"),
        ("default", "defaultRequest"),
        ("min", "defaultRequest"),
    ] {
        let Some(amounts) = item.get(from).and_then(Value::as_object).cloned() else {
            continue;
        };
        let Some(target) = child(item, to) else {
            continue;
        };
        for (name, amount) in amounts {
            set(target, &name, amount);
        }
    }
}
