//! Updates, patches, scale, server-side apply.

use super::*;

#[tokio::test]
async fn updates_are_conditional_on_the_version_they_name() {
    let (server, _) = server().await;
    let (_, created) = post(&server, CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    let mut stale = created.clone();
    assert_eq!(
        merge(&server, &path, json!({"data": {"key": "2"}})).await.0,
        200
    );
    stale["data"]["key"] = json!("3");
    let answer = put(&server, &path, stale.clone()).await;
    assert_eq!(
        message(&answer),
        (
            409,
            "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
        )
    );
    stale["metadata"]["resourceVersion"] = Value::Null;
    assert_eq!(put(&server, &path, stale.clone()).await.0, 200);
    // What changes nothing is no change.
    let before = server.revision();
    let (code, same) = put(&server, &path, stale).await;
    assert_eq!((code, server.revision()), (200, before));
    assert_eq!(same["metadata"]["resourceVersion"], before.to_string());
    let missing = put(&server, &format!("{CONFIG_MAPS}/zz"), config_map("zz", "1")).await;
    assert_eq!(message(&missing), (404, "configmaps \"zz\" not found"));
    assert_eq!(put(&server, &path, config_map("b", "1")).await.0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_patches_all_land() {
    let (server, _) = server().await;
    post(&server, CONFIG_MAPS, config_map("a", "0")).await;
    let path = format!("{CONFIG_MAPS}/a");
    let patches = (0..40).map(|i| {
        let (server, path) = (server.clone(), path.clone());
        tokio::spawn(async move {
            merge(&server, &path, json!({"data": {format!("k{i}"): "1"}}))
                .await
                .0
        })
    });
    let codes = futures::future::join_all(patches).await;
    assert!(codes.into_iter().all(|code| code.unwrap() == 200));
    let (_, map) = get(&server, &path).await;
    assert_eq!(map["data"].as_object().unwrap().len(), 41);
}

#[tokio::test]
async fn a_json_patch_that_does_not_fit_is_unprocessable() {
    let (server, _) = server().await;
    post(&server, CONFIG_MAPS, config_map("a", "1")).await;
    for patch in [
        json!([{"op": "test", "path": "/data/key", "value": "2"}]),
        json!([{"op": "add", "path": "/metadata/annotations/x", "value": "y"}]),
    ] {
        let body = patch.to_string();
        let path = format!("{CONFIG_MAPS}/a");
        let kind = "application/json-patch+json";
        let answer = raw(&server, Method::PATCH, &path, kind, body.as_bytes()).await;
        assert_eq!(
            message(&answer),
            (
                422,
                "the server rejected our request due to an error in our request"
            )
        );
        assert_eq!(answer.1["reason"], "Invalid");
    }
}

#[tokio::test]
async fn generations_count_what_is_desired() {
    let (server, _) = server().await;
    let (_, created) = post(&server, DEPLOYMENTS, deployment("d")).await;
    assert_eq!(created["metadata"]["generation"], 1);
    assert_eq!(created["spec"]["replicas"], 1);
    let path = format!("{DEPLOYMENTS}/d");
    let labelled = merge(&server, &path, json!({"metadata": {"labels": {"x": "y"}}}))
        .await
        .1;
    assert_eq!(labelled["metadata"]["generation"], 1);
    let scaled = merge(&server, &path, json!({"spec": {"replicas": 3}}))
        .await
        .1;
    assert_eq!(scaled["metadata"]["generation"], 2);
    let status = json!({"status": {"replicas": 3}, "spec": {"replicas": 9}});
    let reported = merge(&server, &format!("{path}/status"), status).await.1;
    assert_eq!(reported["metadata"]["generation"], 2);
    assert_eq!(
        (
            &reported["spec"]["replicas"],
            &reported["status"]["replicas"]
        ),
        (&json!(3), &json!(3))
    );
    let moved = merge(
        &server,
        &path,
        json!({"spec": {"selector": {"matchLabels": {"app": "z"}}}}),
    )
    .await;
    assert_eq!(moved.0, 422);
    assert!(
        moved.1["message"]
            .as_str()
            .unwrap()
            .contains("field is immutable")
    );
}

#[tokio::test]
async fn scale_reads_and_writes_replicas() {
    let (server, _) = server().await;
    let (_, created) = post(&server, DEPLOYMENTS, deployment("d")).await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    let (_, scale) = get(&server, &path).await;
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"]),
        (&json!("Scale"), &json!("autoscaling/v1"))
    );
    assert_eq!(
        (&scale["spec"]["replicas"], &scale["status"]["selector"]),
        (&json!(1), &json!("app=d"))
    );
    let mut wanted = scale.clone();
    wanted["spec"]["replicas"] = json!(4);
    assert_eq!(
        put(&server, &path, wanted.clone()).await.1["spec"]["replicas"],
        4
    );
    // The version it named is no longer the one.
    assert_eq!(put(&server, &path, wanted.clone()).await.0, 409);
    wanted["metadata"] = json!({"name": "d", "uid": "other"});
    assert_eq!(put(&server, &path, wanted.clone()).await.0, 409);
    wanted["metadata"] = json!({"name": "d"});
    wanted["spec"]["replicas"] = json!(-1);
    let negative = put(&server, &path, wanted).await;
    assert_eq!(
        message(&negative),
        (
            422,
            "Scale.autoscaling \"d\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        )
    );
    let (_, patched) = merge(&server, &path, json!({"spec": {"replicas": 0}})).await;
    assert_eq!(patched["spec"], json!({}));
    let (_, object) = get(&server, &format!("{DEPLOYMENTS}/d")).await;
    assert_eq!(object["spec"]["replicas"], 0);
    assert_eq!(object["metadata"]["uid"], created["metadata"]["uid"]);
}

#[tokio::test]
async fn apply_creates_shares_and_conflicts() {
    let (server, _) = server().await;
    let apply = |manager: &'static str, value: &'static str, force: bool| {
        let server = &server;
        async move {
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
                "data": {"key": value}});
            let path = format!("{CONFIG_MAPS}/a?fieldManager={manager}&force={force}");
            let kind = "application/apply-patch+yaml";
            raw(
                server,
                Method::PATCH,
                &path,
                kind,
                body.to_string().as_bytes(),
            )
            .await
        }
    };
    assert_eq!(apply("one", "1", false).await.0, 201);
    assert_eq!(apply("one", "1", false).await.0, 200);
    let conflict = apply("two", "2", false).await;
    assert_eq!(
        message(&conflict),
        (
            409,
            "Apply failed with 1 conflict: conflict with \"one\": .data.key"
        )
    );
    assert_eq!(
        conflict.1["details"]["causes"][0]["reason"],
        "FieldManagerConflict"
    );
    let (code, forced) = apply("two", "2", true).await;
    assert_eq!((code, &forced["data"]["key"]), (200, &json!("2")));
    assert_eq!(apply("", "2", true).await.0, 422);
}

#[tokio::test]
async fn unknown_fields_are_warned_of_or_refused() {
    let (server, _) = server().await;
    let mut body = pod("a");
    body["spec"]["typo"] = json!(1);
    let strict = post(
        &server,
        &format!("{PODS}?fieldValidation=Strict"),
        body.clone(),
    )
    .await;
    assert_eq!(
        message(&strict),
        (
            400,
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.typo\""
        )
    );
    let request = Request::builder()
        .method(Method::POST)
        .uri(PODS)
        .body(axum::body::Body::from(body.to_string()))
        .unwrap();
    let response = server.service().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(
        response.headers()["warning"],
        "299 - \"unknown field \\\"spec.typo\\\"\""
    );
}

#[tokio::test]
async fn dry_runs_leave_no_trace() {
    let (server, _) = server().await;
    post(&server, CONFIG_MAPS, config_map("a", "1")).await;
    let before = server.revision();
    let path = format!("{CONFIG_MAPS}/a?dryRun=All");
    assert_eq!(
        post(
            &server,
            &format!("{CONFIG_MAPS}?dryRun=All"),
            config_map("b", "1")
        )
        .await
        .0,
        201
    );
    assert_eq!(
        post(
            &server,
            &format!("{CONFIG_MAPS}?dryRun=All"),
            config_map("a", "1")
        )
        .await
        .0,
        409
    );
    let (_, patched) = merge(&server, &path, json!({"data": {"key": "2"}})).await;
    assert_eq!(patched["data"]["key"], "2");
    assert_eq!(delete(&server, &path, Value::Null).await.0, 200);
    assert_eq!(server.revision(), before);
}

#[tokio::test]
async fn names_are_generated_from_the_seed() {
    let generated = || async {
        let (server, _) = server_with(Options {
            seed: 7,
            ..Options::default()
        })
        .await;
        let body = json!({"metadata": {"generateName": "web-"}});
        let (_, created) = post(&server, CONFIG_MAPS, body).await;
        let name = created["metadata"]["name"].as_str().unwrap().to_owned();
        (name, created["metadata"]["uid"].clone())
    };
    let first = generated().await;
    assert_eq!(first.0.len(), "web-".len() + 5);
    assert_eq!(generated().await, first);
}

#[tokio::test]
async fn the_server_fills_in_what_its_strategies_make() {
    let (server, _) = server().await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}});
    let (_, secret) = post(&server, "/api/v1/namespaces/default/secrets", secret).await;
    assert_eq!(
        (&secret["data"]["a"], secret.get("stringData")),
        (&json!("Yg=="), None)
    );
    let template = json!({"spec": {"restartPolicy": "Never",
        "containers": [{"name": "c", "image": "i"}]}});
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": template}});
    let (_, job) = post(&server, "/apis/batch/v1/namespaces/default/jobs", job).await;
    let uid = &job["metadata"]["uid"];
    let key = "batch.kubernetes.io/controller-uid";
    assert_eq!(&job["spec"]["selector"]["matchLabels"][key], uid);
    assert_eq!(&job["spec"]["template"]["metadata"]["labels"][key], uid);
    let service = |spec: Value| json!({"metadata": {"generateName": "s-"}, "spec": spec});
    let path = "/api/v1/namespaces/default/services";
    let ports = json!([{"port": 80}]);
    let (_, plain) = post(&server, path, service(json!({"ports": ports}))).await;
    assert!(
        plain["spec"]["clusterIP"]
            .as_str()
            .unwrap()
            .starts_with("10.")
    );
    let headless = service(json!({"ports": ports, "clusterIP": "None"}));
    assert_eq!(
        post(&server, path, headless).await.1["spec"]["clusterIPs"],
        json!(["None"])
    );
    let public = service(json!({"ports": ports, "type": "NodePort"}));
    let (_, public) = post(&server, path, public).await;
    assert!((30_000..32_768).contains(&public["spec"]["ports"][0]["nodePort"].as_i64().unwrap()));
}
