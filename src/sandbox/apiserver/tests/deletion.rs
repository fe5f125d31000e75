//! Grace, finalizers, preconditions, namespaces.

use super::*;

#[tokio::test]
async fn assigned_pods_go_when_their_kubelet_says_so() {
    let (server, _) = server().await;
    post(&server, PODS, pod("free")).await;
    let (code, _) = delete(&server, &format!("{PODS}/free"), Value::Null).await;
    assert_eq!(
        (code, get(&server, &format!("{PODS}/free")).await.0),
        (200, 404)
    );

    let mut assigned = pod("a");
    assigned["spec"]["nodeName"] = json!("n");
    post(&server, PODS, assigned).await;
    let path = format!("{PODS}/a");
    let (code, going) = delete(&server, &path, Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(going["metadata"]["generation"], 2);
    // A longer period is ignored, a shorter one taken.
    delete(&server, &path, json!({"gracePeriodSeconds": 60})).await;
    let (_, going) = delete(&server, &path, json!({"gracePeriodSeconds": 5})).await;
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 5);
    let body = json!({"metadata": {"name": "a"}, "target": {"name": "n"}});
    let bound = post(&server, &format!("{path}/binding"), body).await;
    assert_eq!(
        message(&bound),
        (
            409,
            "Operation cannot be fulfilled on pods/binding \"a\": pod a is being deleted, cannot be assigned to a host"
        )
    );
    let uid = going["metadata"]["uid"].clone();
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
    assert_eq!(delete(&server, &path, options).await.0, 200);
    assert_eq!(get(&server, &path).await.0, 404);
}

#[tokio::test]
async fn preconditions_name_the_object_that_is_meant() {
    let (server, _) = server().await;
    let (_, created) = post(&server, CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    let uid = created["metadata"]["uid"].as_str().unwrap();
    let answer = delete(&server, &path, json!({"preconditions": {"uid": "x"}})).await;
    let expected = format!(
        "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (x) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
    );
    assert_eq!(message(&answer), (409, expected.as_str()));
    let answer = delete(
        &server,
        &path,
        json!({"preconditions": {"resourceVersion": "1"}}),
    )
    .await;
    assert_eq!(answer.0, 409);
    let (code, status) = delete(&server, &path, json!({"preconditions": {"uid": uid}})).await;
    assert_eq!(code, 200);
    assert_eq!(
        (&status["status"], &status["details"]),
        (
            &json!("Success"),
            &json!({"name": "a", "kind": "configmaps", "uid": uid})
        )
    );
}

#[tokio::test]
async fn finalizers_hold_and_propagation_asks_the_collector() {
    let (server, _) = server().await;
    let mut held = config_map("a", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    post(&server, CONFIG_MAPS, held).await;
    let path = format!("{CONFIG_MAPS}/a");
    let (_, going) = delete(&server, &path, json!({"propagationPolicy": "Foreground"})).await;
    assert_eq!(
        going["metadata"]["finalizers"],
        json!(["example.com/hold", "foregroundDeletion"])
    );
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    assert_eq!(merge(&server, &path, more).await.0, 422);
    let (code, last) = merge(&server, &path, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!((code, last["metadata"]["name"].as_str()), (200, Some("a")));
    assert_eq!(get(&server, &path).await.0, 404);
    post(&server, CONFIG_MAPS, config_map("b", "1")).await;
    let (_, going) = delete(
        &server,
        &format!("{CONFIG_MAPS}/b"),
        json!({"propagationPolicy": "Orphan"}),
    )
    .await;
    assert_eq!(going["metadata"]["finalizers"], json!(["orphan"]));
    let bad = delete(&server, &path, json!({"propagationPolicy": "Sideways"})).await;
    assert_eq!(bad.0, 422);
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let (server, _) = server().await;
    for name in ["a", "b"] {
        post(&server, CONFIG_MAPS, config_map(name, "1")).await;
    }
    let (code, list) = delete(
        &server,
        &format!("{CONFIG_MAPS}?labelSelector=app%3Da"),
        Value::Null,
    )
    .await;
    assert_eq!((code, list["items"].as_array().unwrap().len()), (200, 1));
    let (_, rest) = get(&server, CONFIG_MAPS).await;
    assert_eq!(rest["items"][0]["metadata"]["name"], "b");
    assert_eq!(
        delete(&server, "/api/v1/configmaps", Value::Null).await.0,
        405
    );
}

#[tokio::test]
async fn namespaces_end_when_they_are_finalized() {
    let (server, _) = server().await;
    let (_, created) = post(
        &server,
        "/api/v1/namespaces",
        json!({"metadata": {"name": "a"}}),
    )
    .await;
    assert_eq!(created["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(
        created["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "a"
    );
    let (_, going) = delete(&server, "/api/v1/namespaces/a", Value::Null).await;
    assert_eq!(going["status"]["phase"], "Terminating");
    let refused = post(
        &server,
        "/api/v1/namespaces/a/configmaps",
        config_map("x", "1"),
    )
    .await;
    assert_eq!(
        message(&refused),
        (
            403,
            "configmaps \"x\" is forbidden: unable to create new content in namespace a because it is being terminated"
        )
    );
    assert_eq!(
        refused.1["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
    let body = json!({"metadata": {"name": "a"}, "spec": {"finalizers": []}});
    assert_eq!(
        put(&server, "/api/v1/namespaces/a/finalize", body).await.0,
        200
    );
    assert_eq!(get(&server, "/api/v1/namespaces/a").await.0, 404);
    let system = delete(&server, "/api/v1/namespaces/kube-system", Value::Null).await;
    assert_eq!(
        message(&system),
        (
            403,
            "namespaces \"kube-system\" is forbidden: this namespace may not be deleted"
        )
    );
}
