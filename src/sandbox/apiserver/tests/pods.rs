//! Pods: creation with its admission, binding, what may change.

use ::kube::api::{Api, PostParams, WatchEvent, WatchParams};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;

use super::*;

fn binding(name: &str, node: &str) -> Value {
    json!({"metadata": {"name": name, "annotations": {"mark": "1"}},
           "target": {"kind": "Node", "name": node}})
}

#[tokio::test]
async fn a_pod_is_created_watched_and_bound_through_the_kube_client() {
    let (server, client) = server().await;
    let pods: Api<Pod> = Api::default_namespaced(client);
    let mut watch = pods
        .watch(&WatchParams::default(), "0")
        .await
        .unwrap()
        .boxed();
    let created = pods
        .create(&PostParams::default(), &from(pod("a")))
        .await
        .unwrap();
    let spec = created.spec.as_ref().unwrap();
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    assert_eq!(spec.priority, Some(0));
    assert_eq!(spec.termination_grace_period_seconds, Some(30));
    assert_eq!(spec.tolerations.as_ref().map(Vec::len), Some(2));
    assert_eq!(created.metadata.generation, Some(1));
    assert_eq!(
        created.status.as_ref().unwrap().phase.as_deref(),
        Some("Pending")
    );
    assert_eq!(
        created.status.as_ref().unwrap().qos_class.as_deref(),
        Some("BestEffort")
    );
    match watch.try_next().await.unwrap().unwrap() {
        WatchEvent::Added(pod) => assert_eq!(pod.metadata.name.as_deref(), Some("a")),
        other => panic!("{other:?}"),
    }
    let body = binding("a", "n-1");
    let status: ::kube::core::Status = pods
        .create_subresource("binding", "a", &PostParams::default(), &body)
        .await
        .unwrap();
    assert!(status.is_success());
    match watch.try_next().await.unwrap().unwrap() {
        WatchEvent::Modified(pod) => {
            assert_eq!(pod.spec.unwrap().node_name.as_deref(), Some("n-1"));
            assert_eq!(pod.metadata.annotations.unwrap()["mark"], "1");
            let conditions = pod.status.unwrap().conditions.unwrap();
            assert_eq!(
                (&*conditions[0].type_, &*conditions[0].status),
                ("PodScheduled", "True")
            );
        }
        other => panic!("{other:?}"),
    }
    let again = post(&server, &format!("{PODS}/a/binding"), binding("a", "n-2")).await;
    assert_eq!(
        message(&again),
        (
            409,
            "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"n-1\""
        )
    );
}

#[tokio::test]
async fn bindings_have_preconditions() {
    let (server, _) = server().await;
    for name in ["a", "gated"] {
        let mut body = pod(name);
        if name == "gated" {
            body["spec"]["schedulingGates"] = json!([{"name": "x/y"}]);
        }
        assert_eq!(post(&server, PODS, body).await.0, 201);
    }
    let path = format!("{PODS}/a/binding");
    for (field, found) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let mut body = binding("a", "n");
        body["metadata"][field] = json!("1");
        let answer = post(&server, &path, body).await;
        let (code, text) = message(&answer);
        assert_eq!(code, 409);
        assert!(
            text.contains(&format!("Precondition failed: {found} in precondition: 1")),
            "{text}"
        );
    }
    let missing = post(&server, &format!("{PODS}/zz/binding"), binding("zz", "n")).await;
    assert_eq!(message(&missing), (404, "pods \"zz\" not found"));
    let gated = post(
        &server,
        &format!("{PODS}/gated/binding"),
        binding("gated", "n"),
    )
    .await;
    assert_eq!(gated.0, 409);
    assert_eq!(post(&server, &path, binding("a", "")).await.0, 500);
    assert_eq!(post(&server, &path, binding("b", "n")).await.0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_schedulers_one_wins() {
    let (server, _) = server().await;
    post(&server, PODS, pod("a")).await;
    let tries = (0..20).map(|i| {
        let (server, body) = (server.clone(), binding("a", &format!("n-{i}")));
        tokio::spawn(async move { post(&server, &format!("{PODS}/a/binding"), body).await.0 })
    });
    let codes = futures::future::join_all(tries).await;
    let codes: Vec<u16> = codes.into_iter().map(Result::unwrap).collect();
    assert_eq!(codes.iter().filter(|c| **c == 201).count(), 1);
    assert_eq!(codes.iter().filter(|c| **c == 409).count(), 19);
}

#[tokio::test]
async fn admission_refuses_and_fills_in() {
    let server = ApiServer::new(Options::default());
    let orphan = post(&server, PODS, pod("a")).await;
    assert_eq!(
        message(&orphan),
        (
            403,
            "pods \"a\" is forbidden: error looking up service account default/default: serviceaccount \"default\" not found"
        )
    );
    let (server, _) = self::server().await;
    let elsewhere = post(&server, "/api/v1/namespaces/nope/pods", pod("a")).await;
    assert_eq!(message(&elsewhere), (404, "namespaces \"nope\" not found"));
    let mut critical = pod("a");
    critical["spec"]["priorityClassName"] = json!("system-node-critical");
    let (_, created) = post(&server, PODS, critical.clone()).await;
    assert_eq!(created["spec"]["priority"], 2_000_001_000);
    critical["spec"]["priorityClassName"] = json!("nope");
    let refused = post(&server, PODS, critical).await;
    assert_eq!(
        message(&refused),
        (
            403,
            "pods \"a\" is forbidden: no PriorityClass with name nope was found"
        )
    );
}

#[tokio::test]
async fn quota_counts_pods_until_they_are_gone() {
    let (server, _) = server().await;
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}});
    assert_eq!(
        post(&server, "/api/v1/namespaces/default/resourcequotas", quota)
            .await
            .0,
        201
    );
    assert_eq!(post(&server, PODS, pod("a")).await.0, 201);
    let refused = post(&server, PODS, pod("b")).await;
    assert_eq!(
        message(&refused),
        (
            403,
            "pods \"b\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"
        )
    );
    let (_, quota) = get(&server, "/api/v1/namespaces/default/resourcequotas/q").await;
    assert_eq!(quota["status"]["used"]["pods"], "1");
    assert_eq!(
        delete(&server, &format!("{PODS}/a"), Value::Null).await.0,
        200
    );
    assert_eq!(post(&server, PODS, pod("b")).await.0, 201);
}

#[tokio::test]
async fn a_pods_spec_is_nearly_immutable() {
    let (server, _) = server().await;
    post(&server, PODS, pod("a")).await;
    let path = format!("{PODS}/a");
    let answer = merge(&server, &path, json!({"spec": {"nodeName": "n"}})).await;
    let (code, text) = message(&answer);
    assert_eq!(code, 422);
    assert!(text.starts_with(
        "Pod \"a\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
    ));
    let patch = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "nginx:2"}]);
    let (code, patched) = raw(
        &server,
        Method::PATCH,
        &path,
        "application/json-patch+json",
        patch.to_string().as_bytes(),
    )
    .await;
    assert_eq!((code, &patched["metadata"]["generation"]), (200, &json!(2)));
    // The status subresource changes nothing else, and the main resource no status.
    let both = json!({"spec": {"nodeName": "n"}, "status": {"phase": "Running"}});
    let (_, patched) = merge(&server, &format!("{path}/status"), both.clone()).await;
    assert_eq!(patched["status"]["phase"], "Running");
    assert!(patched["spec"].get("nodeName").is_none());
    let (_, patched) = merge(&server, &path, json!({"status": {"phase": "Failed"}})).await;
    assert_eq!(patched["status"]["phase"], "Running");
}

#[tokio::test]
async fn pods_carry_the_topology_of_their_node() {
    let (server, _) = server().await;
    let node = json!({"metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z"}}});
    let (_, node) = post(&server, "/api/v1/nodes", node).await;
    assert_eq!(
        node["spec"]["taints"][0]["key"],
        "node.kubernetes.io/not-ready"
    );
    post(&server, PODS, pod("a")).await;
    post(&server, &format!("{PODS}/a/binding"), binding("a", "n")).await;
    let mut placed = pod("b");
    placed["spec"]["nodeName"] = json!("n");
    post(&server, PODS, placed).await;
    for name in ["a", "b"] {
        let (_, pod) = get(&server, &format!("{PODS}/{name}")).await;
        assert_eq!(
            pod["metadata"]["labels"]["topology.kubernetes.io/zone"], "z",
            "{name}"
        );
    }
}
