use serde_json::json;

use super::*;
use crate::sandbox::types::table;

fn defaulted(group: &str, kind: &str, mut object: Value) -> Value {
    apply_defaults(table(), group, "v1", kind, &mut object);
    let mut again = object.clone();
    apply_defaults(table(), group, "v1", kind, &mut again);
    assert_eq!(object, again, "defaulting is idempotent");
    object
}

#[test]
fn a_pod_gets_what_the_api_server_gives_it() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{
        "name": "c", "image": "nginx:1.27",
        "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": "1"}},
        "readinessProbe": {"httpGet": {"port": 80}},
    }]}});
    let pod = defaulted("", "Pod", pod);
    assert_eq!(
        pod["spec"],
        json!({
            "containers": [{
                "name": "c", "image": "nginx:1.27", "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                "readinessProbe": {
                    "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1,
                },
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
        })
    );
    assert_eq!(pod["status"], json!({"phase": "Pending"}));
}

#[test]
fn a_deployment_and_its_template() {
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}},
    }});
    let deployment = defaulted("apps", "Deployment", deployment);
    let spec = &deployment["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(
        spec["strategy"],
        json!({
            "type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
        })
    );
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    let container = &spec["template"]["spec"]["containers"][0];
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["resources"], json!({}));
    assert!(
        spec["template"]["spec"].get("enableServiceLinks").is_none(),
        "pods only"
    );
    assert_eq!(deployment["status"], json!({}));
}

#[test]
fn only_a_new_namespace_gets_the_finalizer() {
    let fresh = defaulted("", "Namespace", json!({"metadata": {"name": "n"}}));
    assert_eq!(fresh["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(
        fresh["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "n"
    );
    assert_eq!(fresh["status"]["phase"], "Active");
    let stored = json!({"metadata": {"name": "n", "uid": "u"}, "spec": {}});
    assert_eq!(defaulted("", "Namespace", stored)["spec"], json!({}));
}

#[test]
fn a_service_targets_its_own_port() {
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let service = defaulted("", "Service", service);
    assert_eq!(
        service["spec"],
        json!({
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster",
        })
    );
}

#[test]
fn odd_shapes_are_left_alone() {
    for spec in [
        json!(null),
        json!([]),
        json!("x"),
        json!({"containers": "x"}),
    ] {
        defaulted("", "Pod", json!({"spec": spec}));
    }
    defaulted("", "Nothing", json!({}));
}
