//! The testbed is a real control plane: what tests build on it holds.

// Clippy's exemption for tests does not reach their helper functions.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Binding, Namespace, Node, ObjectReference, Pod, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::json;
use support::require;
use support::testbed::{Options, Testbed, program};
use wam::clock;

/// Far more than any step takes, for machines under load.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_created_bound_and_seen_by_kubectl() {
    let Some(testbed) = require("testbed", Testbed::shared()) else {
        return;
    };
    let client = testbed.client().await;

    let version = client.apiserver_version().await.unwrap();
    let facts = include_str!("../testbed/go.mod");
    assert!(
        facts.contains(&format!("k8s.io/kubernetes {}", version.git_version)),
        "the API server calls itself {}, which is not what go.mod names",
        version.git_version
    );

    let namespace: Namespace = object(json!({"metadata": {"name": "smoke"}}));
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "smoke");
    clock::timeout(
        PATIENCE,
        await_condition(accounts, "default", |account: Option<&ServiceAccount>| {
            account.is_some()
        }),
    )
    .await
    .expect("the controller manager makes the ServiceAccount")
    .unwrap();

    let node: Node = object(json!({"metadata": {"name": "smoke-node"}}));
    Api::all(client.clone())
        .create(&PostParams::default(), &node)
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "smoke");
    let pod: Pod = object(json!({
        "metadata": {"name": "solo"},
        "spec": {"schedulerName": "wam-scheduler", "containers": [{"name": "c", "image": "registry.example/c:1"}]}
    }));
    let created = pods.create(&PostParams::default(), &pod).await.unwrap();
    let spec = created.spec.unwrap();
    assert_eq!(spec.node_name, None);
    assert_eq!(
        spec.service_account_name.as_deref(),
        Some("default"),
        "admission is on"
    );

    let binding = Binding {
        metadata: object(json!({"name": "solo", "annotations": {"example.com/mark": "m"}})),
        target: ObjectReference {
            kind: Some("Node".into()),
            name: Some("smoke-node".into()),
            ..Default::default()
        },
    };
    let status: serde_json::Value = pods
        .create_subresource("binding", "solo", &PostParams::default(), &binding)
        .await
        .unwrap();
    assert_eq!(status["status"], "Success");
    let again = pods
        .create_subresource::<_, serde_json::Value>(
            "binding",
            "solo",
            &PostParams::default(),
            &binding,
        )
        .await;
    assert!(
        matches!(&again, Err(kube::Error::Api(status)) if status.code == 409),
        "{again:?}"
    );

    let kubectl = testbed.kubectl();
    let seen = kubectl
        .ok(&[
            "get",
            "pod",
            "solo",
            "-n",
            "smoke",
            "-o",
            "jsonpath={.spec.nodeName} {.metadata.annotations.example\\.com/mark}",
        ])
        .await;
    assert_eq!(seen, "smoke-node m");
    let applied = kubectl
        .run_with_input(
            &["create", "-f", "-"],
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"typo":1}}"#,
        )
        .await;
    assert!(
        !applied.ok && applied.stderr.contains("unknown field \"spec.typo\""),
        "{applied:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_testbeds_run_side_by_side() {
    let Some(first) = require("testbed", Testbed::shared()) else {
        return;
    };
    let Some(second) = require(
        "testbed",
        tokio::task::spawn_blocking(Testbed::start).await.unwrap(),
    ) else {
        return;
    };
    for testbed in [first, &second] {
        let namespaces: Api<Namespace> = Api::all(testbed.client().await);
        namespaces.get("default").await.unwrap();
    }
    let kubeconfig = second.kubeconfig().to_owned();
    drop(second);
    assert!(!kubeconfig.exists(), "a testbed leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandboxs_facts_are_the_api_servers() {
    let Some(testbed) = require("testbed", Testbed::shared()) else {
        return;
    };
    let checked = Command::new(program().unwrap())
        .args(["facts", "--check", "src/sandbox/types/facts.json.gz"])
        .arg("--kubeconfig")
        .arg(testbed.kubeconfig())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_tells_who_wrote_what() {
    let options = Options {
        audit: true,
        controller_manager: false,
        ..Options::default()
    };
    let start = tokio::task::spawn_blocking(move || Testbed::start_with(&options));
    let Some(testbed) = require("testbed", start.await.unwrap()) else {
        return;
    };
    let namespace: Namespace = object(json!({"metadata": {"name": "audited"}}));
    Api::all(testbed.client().await)
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    // The log is written before the request is answered.
    let log = std::fs::read_to_string(testbed.audit_log()).unwrap();
    let create = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|event| event["verb"] == "create" && event["objectRef"]["name"] == "audited")
        .expect("the creation is in the log");
    assert_eq!(create["user"]["username"], "testbed-admin");
    assert_eq!(create["responseStatus"]["code"], 201);
}

/// An object as its JSON says.
fn object<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> T {
    serde_json::from_value(json).expect("the test's object is of its type")
}
