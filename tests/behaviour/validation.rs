//! What is valid: pods, workloads, budgets, nodes and the rest that schedulers and actions rely on.

use serde_json::{Value, json};

use crate::case::Case;
use crate::things::*;

cases![containers, resources, scheduling_fields, affinity, spreading, deployments, jobs, budgets, nodes, leases, priorities, deletion_cost];

fn with(path: &str, value: Value) -> Value {
    let mut pod = pod("p");
    let (parent, last) = path.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap()[last] = value;
    pod
}

async fn each(t: &mut Case, pods: Vec<Value>) {
    t.with_account().await;
    for pod in pods {
        t.post(&format!("{PODS}?dryRun=All"), pod).await;
    }
}

async fn containers(t: &mut Case) {
    let c = "/spec/containers/0";
    each(t, vec![
        with("/spec/containers", json!([])),
        with("/spec/containers", json!(null)),
        with("/spec/containers", json!([{"name": "a", "image": "i"}, {"name": "a", "image": "i"}])),
        with("/spec/containers", json!([{"image": "i"}])),
        with("/spec/containers", json!([{"name": "A b", "image": "i"}])),
        with(&format!("{c}/image"), json!("")),
        with(&format!("{c}/image"), json!(" x ")),
        with(&format!("{c}/imagePullPolicy"), json!("Sometimes")),
        with(&format!("{c}/ports"), json!([{"containerPort": 0}])),
        with(&format!("{c}/ports"), json!([{"containerPort": 70000}])),
        with(&format!("{c}/ports"), json!([{"containerPort": 80, "protocol": "XTP"}])),
        with(&format!("{c}/ports"), json!([{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": 8080}])),
        with(&format!("{c}/ports"), json!([{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}])),
        with(&format!("{c}/env"), json!([{"name": ""}])),
        with(&format!("{c}/volumeMounts"), json!([{"name": "none", "mountPath": "/x"}])),
        with("/spec/restartPolicy", json!("Perhaps")),
        with("/spec/initContainers", json!([{"name": "c", "image": "i"}])),
        with("/spec/volumes", json!([{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}])),
        with("/spec/dnsPolicy", json!("Mine")),
        with("/spec/activeDeadlineSeconds", json!(0)),
    ]).await;
}

async fn resources(t: &mut Case) {
    let r = "/spec/containers/0/resources";
    each(t, vec![
        with(r, json!({"requests": {"cpu": "-1"}})),
        with(r, json!({"requests": {"cpu": "x"}})),
        with(r, json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
        with(r, json!({"requests": {"nonsense": "1"}})),
        with(r, json!({"requests": {"example.com/gpu": "1"}})),
        with(r, json!({"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "2"}})),
        with(r, json!({"limits": {"example.com/gpu": "1.5"}})),
        with(r, json!({"limits": {"hugepages-2Mi": "2Mi"}})),
        with(r, json!({"limits": {"a b/c": "1"}})),
        with("/spec/overhead", json!({"cpu": "-1"})),
    ]).await;
}

async fn scheduling_fields(t: &mut Case) {
    each(t, vec![
        with("/spec/nodeName", json!("A B")),
        with("/spec/nodeSelector", json!({"a b": "c"})),
        with("/spec/nodeSelector", json!({"a": "b c"})),
        with("/spec/tolerations", json!([{"operator": "Equal", "value": "x"}])),
        with("/spec/tolerations", json!([{"key": "a b"}])),
        with("/spec/tolerations", json!([{"key": "a", "operator": "Exists", "value": "x"}])),
        with("/spec/tolerations", json!([{"key": "a", "operator": "Sometimes"}])),
        with("/spec/tolerations", json!([{"key": "a", "effect": "Never"}])),
        with("/spec/tolerations", json!([{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}])),
        with("/spec/priorityClassName", json!("no-such-class")),
        with("/spec/priority", json!(77)),
        with("/spec/preemptionPolicy", json!("Maybe")),
        with("/spec/serviceAccountName", json!("no-such-account")),
        with("/spec/schedulingGates", json!([{"name": ""}])),
    ]).await;
}

async fn affinity(t: &mut Case) {
    let required = |terms: Value| json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    let pods = |term: Value| json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    each(t, vec![
        with("/spec/affinity", required(json!([]))),
        with("/spec/affinity", required(json!([{"matchExpressions": [{"key": "a", "operator": "In"}]}]))),
        with("/spec/affinity", required(json!([{"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}]))),
        with("/spec/affinity", required(json!([{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["x", "y"]}]}]))),
        with("/spec/affinity", required(json!([{"matchExpressions": [{"key": "a", "operator": "Like", "values": ["x"]}]}]))),
        with("/spec/affinity", required(json!([{"matchExpressions": [{"key": "a b", "operator": "Exists"}]}]))),
        with("/spec/affinity", required(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a", "b"]}]}]))),
        with("/spec/affinity", required(json!([{"matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["a"]}]}]))),
        with("/spec/affinity", json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {}}]}})),
        with("/spec/affinity", pods(json!({"labelSelector": {}}))),
        with("/spec/affinity", pods(json!({"topologyKey": "a b", "labelSelector": {}}))),
        with("/spec/affinity", pods(json!({"topologyKey": "a", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}))),
        with("/spec/affinity", pods(json!({"topologyKey": "a", "labelSelector": {}, "namespaces": ["A B"]}))),
        with("/spec/affinity", json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 101, "podAffinityTerm": {"topologyKey": "a", "labelSelector": {}}}]}})),
    ]).await;
}

async fn spreading(t: &mut Case) {
    let spread = |constraint: Value| with("/spec/topologySpreadConstraints", json!([constraint]));
    each(t, vec![
        spread(json!({"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"})),
        spread(json!({"maxSkew": 1, "topologyKey": "", "whenUnsatisfiable": "DoNotSchedule"})),
        spread(json!({"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "Sometimes"})),
        spread(json!({"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 0})),
        spread(json!({"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2})),
        spread(json!({"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "nodeTaintsPolicy": "Perhaps"})),
        with("/spec/topologySpreadConstraints", json!([
            {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"},
            {"maxSkew": 2, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}])),
    ]).await;
}

async fn deployments(t: &mut Case) {
    let change = |path: &str, value: Value| {
        let mut object = deployment("d", 1);
        let (parent, last) = path.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[last] = value;
        object
    };
    for object in [
        change("/spec/replicas", json!(-1)),
        change("/spec/selector", json!(null)),
        change("/spec/selector", json!({})),
        change("/spec/selector", json!({"matchLabels": {"app": "other"}})),
        change("/spec/selector", json!({"matchExpressions": [{"key": "a", "operator": "Is"}]})),
        change("/spec/template/metadata/labels", json!({"app": "d", "a b": "c"})),
        change("/spec/template/spec/restartPolicy", json!("Never")),
        change("/spec/template/spec/containers", json!([])),
        change("/spec/strategy", json!({"type": "Sometimes"})),
        change("/spec/strategy", json!({"type": "Recreate", "rollingUpdate": {"maxSurge": 1}})),
        change("/spec/strategy", json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}})),
        change("/spec/strategy", json!({"rollingUpdate": {"maxSurge": "x%"}})),
        change("/spec/strategy", json!({"rollingUpdate": {"maxSurge": -1}})),
        change("/spec/strategy", json!({"rollingUpdate": {"maxUnavailable": "101%"}})),
        change("/spec/minReadySeconds", json!(-1)),
        change("/spec/progressDeadlineSeconds", json!(0)),
        change("/spec/minReadySeconds", json!(600)),
        change("/spec/revisionHistoryLimit", json!(-1)),
    ] {
        t.post(&format!("{DEPLOYMENTS}?dryRun=All"), object).await;
    }
}

async fn jobs(t: &mut Case) {
    const JOBS: &str = "/apis/batch/v1/namespaces/{ns}/jobs";
    let job = |spec: Value| {
        let mut all = json!({"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
        for (key, value) in spec.as_object().unwrap() {
            all[key] = value.clone();
        }
        json!({"metadata": {"name": "j"}, "spec": all})
    };
    t.names.mask("controller-uid", "controller-uid");
    for spec in [
        json!({"parallelism": -1}),
        json!({"completions": -1}),
        json!({"backoffLimit": -1}),
        json!({"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}),
        json!({"template": {"spec": {"restartPolicy": "Always", "containers": [{"name": "c", "image": "i"}]}}}),
    ] {
        t.post(&format!("{JOBS}?dryRun=All"), job(spec)).await;
    }
}

async fn budgets(t: &mut Case) {
    for spec in [
        json!({"minAvailable": -1}),
        json!({"maxUnavailable": "x"}),
        json!({"minAvailable": "101%"}),
        json!({"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "Sometimes"}),
    ] {
        t.post(&format!("{BUDGETS}?dryRun=All"), budget("b", spec)).await;
    }
    let mut bad = budget("b", json!({"minAvailable": 1}));
    bad["spec"]["selector"] = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
    t.post(&format!("{BUDGETS}?dryRun=All"), bad).await;
    t.note("both");
    let both = budget("b", json!({"minAvailable": 1, "maxUnavailable": 1}));
    let answer = t.quietly(http::Method::POST, BUDGETS, &[("content-type", "application/json")], both.to_string()).await;
    t.found("code", &json!([answer.code, answer.text("/reason"), answer.body.pointer("/details/causes/0/field")]));
}

async fn nodes(t: &mut Case) {
    for spec in [
        json!({"taints": [{"key": "a b", "effect": "NoSchedule"}]}),
        json!({"taints": [{"key": "a", "effect": "Never"}]}),
        json!({"taints": [{"key": "a"}]}),
        json!({"taints": [{"key": "a", "value": "b c", "effect": "NoSchedule"}]}),
        json!({"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule", "value": "x"}]}),
    ] {
        t.post(&format!("{NODES}?dryRun=All"), json!({"metadata": {"name": "n-{id}"}, "spec": spec})).await;
    }
    t.post(NODES, json!({"metadata": {"name": "n-{id}"}, "spec": {"unschedulable": true}, "status": {"capacity": {"cpu": "4"}}})).await;
    let path = format!("{NODES}/n-{{id}}");
    t.note("cordoned and tainted by patches");
    for patch in [
        json!({"spec": {"unschedulable": false}}),
        json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
        json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}}),
        json!({"spec": {"providerID": "x"}}),
        json!({"spec": {"providerID": "y"}}),
        json!({"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}}),
        json!({"spec": {"podCIDR": "10.0.1.0/24", "podCIDRs": ["10.0.1.0/24"]}}),
        json!({"status": {"capacity": {"cpu": "8"}}}),
    ] {
        let kind = [("content-type", crate::case::STRATEGIC)];
        let answer = t.quietly(http::Method::PATCH, &path, &kind, patch.to_string()).await;
        let mut spec = answer.body["spec"].clone();
        // The node lifecycle controller adds its own, in its own time.
        if let Some(taints) = spec["taints"].as_array_mut() {
            taints.retain(|t| t["key"] == "a");
        }
        if spec["taints"] == json!([]) {
            spec.as_object_mut().unwrap().remove("taints");
        }
        t.found(&patch.to_string(), &json!([answer.code, answer.text("/message"), spec]));
    }
    t.quietly(http::Method::DELETE, &path, &[], "").await;
}

async fn leases(t: &mut Case) {
    t.post(LEASES, json!({"metadata": {"name": "a"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.123456Z", "renewTime": "2026-01-01T00:00:00.000000Z", "leaseTransitions": 1}})).await;
    for spec in [
        json!({"leaseDurationSeconds": 0}),
        json!({"leaseDurationSeconds": -1}),
        json!({"leaseTransitions": -1}),
        json!({"renewTime": "2026-01-01T00:00:00Z"}),
        json!({"renewTime": "yesterday"}),
    ] {
        t.post(LEASES, json!({"metadata": {"name": "b"}, "spec": spec})).await;
    }
    t.note("two candidates");
    let seen = t.look(&format!("{LEASES}/a")).await;
    let mut mine = seen.body.clone();
    mine["spec"]["holderIdentity"] = json!("one");
    t.put(&format!("{LEASES}/a"), mine.clone()).await;
    mine["spec"]["holderIdentity"] = json!("two");
    t.put(&format!("{LEASES}/a"), mine).await;
}

async fn priorities(t: &mut Case) {
    const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
    t.with_account().await;
    t.names.ignored = vec!["containers", "volumes", "tolerations"];
    t.post(CLASSES, json!({"metadata": {"name": "high-{id}"}, "value": 1000, "preemptionPolicy": "Never"})).await;
    let mut important = pod("p");
    important["spec"]["priorityClassName"] = json!("high-{id}");
    t.post(PODS, important.clone()).await;
    important["metadata"]["name"] = json!("q");
    important["spec"]["priority"] = json!(5);
    t.post(PODS, important.clone()).await;
    important["spec"]["priority"] = json!(1000);
    important["spec"]["preemptionPolicy"] = json!("PreemptLowerPriority");
    t.post(PODS, important).await;
    t.post(CLASSES, json!({"metadata": {"name": "system-{id}"}, "value": 1})).await;
    t.post(CLASSES, json!({"metadata": {"name": "odd-{id}"}, "value": 1, "preemptionPolicy": "Maybe"})).await;
    t.delete(&format!("{CLASSES}/high-{{id}}"), Value::Null).await;
    let mut system = pod("s");
    system["spec"]["priorityClassName"] = json!("system-cluster-critical");
    t.post(PODS, system).await;
}

async fn deletion_cost(t: &mut Case) {
    t.with_account().await;
    for cost in ["5", "-5", "x", "1.5", "99999999999", "+5", "05", ""] {
        let mut costly = pod("p");
        costly["metadata"]["annotations"] = json!({"controller.kubernetes.io/pod-deletion-cost": cost});
        let body = costly.to_string();
        let answer = t.quietly(http::Method::POST, &format!("{PODS}?dryRun=All"), &[("content-type", "application/json")], body).await;
        t.found(&format!("{cost:?}"), &json!([answer.code, answer.text("/message")]));
    }
}
