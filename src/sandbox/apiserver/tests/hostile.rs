//! Bad input: each gets an answer, none a panic.

use super::*;

#[tokio::test]
async fn paths_that_name_nothing() {
    let (server, _) = server().await;
    for (path, code) in [
        ("/nope", 404),
        ("/apis/nope/v1/foos", 404),
        ("/api/v1/nope", 404),
        ("/api/v1/namespaces/default/nodes", 404),
        ("/api/v1/pods/a", 404),
        ("/api/v1/namespaces/default/pods/a/nope", 404),
        ("/api/v1/namespaces/default/pods/%ff%00", 404),
        ("//api//v1//namespaces", 200),
        ("/healthz", 200),
        ("/readyz?verbose", 200),
        ("/version", 200),
    ] {
        assert_eq!(get(&server, path).await.0, code, "{path}");
    }
    let unknown = get(&server, "/api/v1/nope").await;
    assert_eq!(
        message(&unknown).1,
        "the server could not find the requested resource"
    );
    assert_eq!(raw(&server, Method::PUT, PODS, "", b"{}").await.0, 405);
    assert_eq!(raw(&server, Method::OPTIONS, PODS, "", b"").await.0, 405);
}

#[tokio::test]
async fn bodies_of_every_wrong_kind() {
    let (server, _) = server().await;
    post(&server, PODS, pod("a")).await;
    post(&server, CONFIG_MAPS, config_map("a", "1")).await;
    post(&server, DEPLOYMENTS, deployment("a")).await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(20_000), "}".repeat(20_000));
    let bodies = [
        "",
        "{",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{}",
        "{\"metadata\":1}",
        "{\"metadata\":[]}",
        "{\"metadata\":{\"name\":1}}",
        "{\"metadata\":{\"name\":\"a\",\"labels\":[1]}}",
        "{\"metadata\":{\"name\":\"a\"},\"spec\":\"x\",\"status\":3}",
        "{\"metadata\":{\"name\":\"a\",\"finalizers\":[1,null]},\"spec\":{\"containers\":[null,1]}}",
        "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"x\"},\"target\":[]}",
        "[{\"op\":\"replace\",\"path\":\"\",\"value\":1}]",
        "[{\"op\":\"remove\",\"path\":\"/metadata\"}]",
        "[{\"op\":\"replace\",\"path\":\"/spec\",\"value\":[]}]",
        "[{\"op\":\"copy\",\"from\":\"/metadata\",\"path\":\"/metadata/labels\"}]",
        "{\"kind\":\"Status\"}",
        "{\"deleteOptions\":1,\"metadata\":{\"name\":\"a\"}}",
        "{\"spec\":{\"replicas\":99999999999999999999}}",
        "k8s\0garbage",
        "\u{0}\u{1}\u{2}",
        deep.as_str(),
        deep_object.as_str(),
    ];
    let kinds = [
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "text/html",
        "",
    ];
    let paths = [
        (Method::POST, PODS.to_owned()),
        (Method::POST, format!("{PODS}/a/binding")),
        (Method::POST, format!("{PODS}/a/eviction?dryRun=All")),
        (Method::PUT, format!("{PODS}/a")),
        (Method::PATCH, format!("{PODS}/a?fieldManager=m")),
        (Method::PATCH, format!("{PODS}/a/status")),
        (Method::PATCH, format!("{DEPLOYMENTS}/a/scale")),
        (Method::PUT, format!("{DEPLOYMENTS}/a/scale")),
        (Method::PATCH, format!("{DEPLOYMENTS}/a")),
        (Method::PUT, format!("{CONFIG_MAPS}/a")),
        (Method::DELETE, format!("{CONFIG_MAPS}/missing")),
        (
            Method::POST,
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
        ),
    ];
    for (method, path) in &paths {
        for kind in kinds {
            for body in bodies {
                let (code, _) = raw(&server, method.clone(), path, kind, body.as_bytes()).await;
                let head: String = body.chars().take(60).collect();
                assert!(
                    (200..501).contains(&code),
                    "{method} {path} {kind} {head}: {code}"
                );
            }
        }
    }
    // And it all still works.
    assert_eq!(get(&server, "/api/v1/pods").await.0, 200);
    assert_eq!(post(&server, PODS, pod("b")).await.0, 201);
}

#[tokio::test]
async fn too_large_a_body() {
    let (server, _) = server().await;
    let mut body = config_map("a", "");
    body["data"]["key"] = json!("x".repeat(3 * 1024 * 1024));
    let answer = post(&server, CONFIG_MAPS, body).await;
    assert_eq!(
        message(&answer),
        (413, "Request entity too large: limit is 3145728")
    );
}

#[tokio::test(start_paused = true)]
async fn a_revision_from_the_future_is_waited_for_and_refused() {
    let (server, _) = server().await;
    let (code, status) = get(&server, &format!("{PODS}?resourceVersion=999999")).await;
    assert_eq!(code, 504);
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    for query in [
        "resourceVersion=-1",
        "limit=x",
        "continue=%25",
        "resourceVersionMatch=Exact",
    ] {
        let (code, _) = get(&server, &format!("{PODS}?{query}")).await;
        assert!(matches!(code, 400 | 422), "{query}: {code}");
    }
}

#[tokio::test]
async fn invalid_objects_are_explained() {
    let (server, _) = server().await;
    let mut body = deployment("d");
    body["spec"]["replicas"] = json!(-1);
    body["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    let answer = post(&server, DEPLOYMENTS, body).await;
    assert_eq!(
        message(&answer),
        (
            422,
            "Deployment.apps \"d\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.template.metadata.labels: Invalid value: {\"app\":\"d\"}: `selector` does not match template `labels`]"
        )
    );
    assert_eq!(answer.1["details"]["kind"], "Deployment");
    let nameless = post(&server, CONFIG_MAPS, json!({})).await;
    assert_eq!(
        message(&nameless),
        (
            422,
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"
        )
    );
    let wrong = json!({"metadata": {"name": "d"}, "spec": {"replicas": "two"}});
    let (code, status) = post(&server, DEPLOYMENTS, wrong).await;
    assert_eq!(code, 400);
    let text = status["message"].as_str().unwrap();
    assert!(text.starts_with("Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string"), "{text}");
}
