use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sandbox::types::table;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn cells(group: &str, plural: &str, object: Value) -> Vec<Value> {
    let resource = table().resource(group, "v1", plural).unwrap();
    let meta = json!({"resourceVersion": "7"});
    let rendered = render_table(
        (group, &resource.kind),
        &[object],
        &meta,
        IncludeObject::Metadata,
        true,
        now(),
    );
    let columns = rendered["columnDefinitions"].as_array().unwrap().len();
    let cells = rendered["rows"][0]["cells"].as_array().unwrap().clone();
    assert_eq!(cells.len(), columns, "a cell for each column");
    assert_eq!(rendered["metadata"]["resourceVersion"], "7");
    cells
}

#[test]
fn durations_read_as_kubectls() {
    for (seconds, text) in [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (9 * 3600 + 300, "9h"),
        (50 * 3600, "2d2h"),
        (9 * 86400, "9d"),
        (800 * 86400, "2y70d"),
        (4000 * 86400, "10y"),
    ] {
        assert_eq!(text::human_duration(seconds), text);
    }
}

#[test]
fn a_running_pod() {
    let pod = json!({
        "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:58:30Z"},
        "spec": {"containers": [{"name": "c"}, {"name": "d"}], "nodeName": "n1"},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [
            {"name": "c", "ready": true, "restartCount": 0, "state": {"running": {}}},
            {"name": "d", "ready": false, "restartCount": 2, "state": {"running": {}},
             "lastState": {"terminated": {"finishedAt": "2026-01-01T00:59:00Z"}}},
        ]},
    });
    let want = json!([
        "p",
        "1/2",
        "Running",
        "2 (60s ago)",
        "90s",
        "10.0.0.1",
        "n1",
        "<none>",
        "<none>"
    ]);
    assert_eq!(json!(cells("", "pods", pod)), want);
}

#[test]
fn pods_in_trouble() {
    let status = |pod: Value| cells("", "pods", pod)[2].clone();
    assert_eq!(status(json!({"status": {"phase": "Pending"}})), "Pending");
    assert_eq!(
        status(json!({"status": {"phase": "Running"}, "metadata": {"deletionTimestamp": "x"}})),
        "Terminating"
    );
    let waiting = json!({"status": {"phase": "Running", "containerStatuses": [
        {"state": {"waiting": {"reason": "CrashLoopBackOff"}}},
    ]}});
    assert_eq!(status(waiting), "CrashLoopBackOff");
    let failed = json!({"status": {"phase": "Failed", "reason": "OutOfcpu"}});
    assert_eq!(status(failed), "OutOfcpu");
    let init = json!({
        "spec": {"initContainers": [{"name": "i"}, {"name": "j"}]},
        "status": {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]},
    });
    assert_eq!(status(init), "Init:0/2");
}

#[test]
fn nodes_deployments_and_services() {
    let node = json!({
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1"}},
    });
    let got = cells("", "nodes", node);
    assert_eq!(
        got[1..5],
        [
            json!("Ready,SchedulingDisabled"),
            json!("control-plane"),
            json!("<unknown>"),
            json!("v1")
        ]
    );
    assert_eq!(
        cells("", "nodes", json!({"metadata": {"name": "n"}}))[1],
        "Unknown"
    );
    let deployment = json!({
        "metadata": {"name": "d"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "A", "operator": "In", "values": ["y", "x"]},
        ]}, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
        "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
    });
    assert_eq!(
        json!(cells("apps", "deployments", deployment)),
        json!(["d", "1/3", 2, 1, "<unknown>", "c", "i", "A in (x,y),a=b"])
    );
    let service = json!({"metadata": {"name": "s"}, "spec": {
        "type": "NodePort", "clusterIPs": ["10.0.0.9"],
        "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
    }});
    assert_eq!(
        cells("", "services", service)[1..5],
        [
            json!("NodePort"),
            json!("10.0.0.9"),
            json!("<none>"),
            json!("80:30080/TCP"),
        ]
    );
}

#[test]
fn an_autoscaler_an_ingress_and_a_request() {
    let autoscaler = json!({
        "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:59:55Z"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 5,
                 "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
                             {"type": "Pods", "pods": {"target": {"averageValue": "10"}}},
                             {"type": "Strange"}]},
        "status": {"currentReplicas": 2,
                   "currentMetrics": [{"resource": {"current": {"averageUtilization": 7}}}]},
    });
    assert_eq!(
        cells("autoscaling", "horizontalpodautoscalers", autoscaler),
        [
            json!("web"),
            json!("Deployment/web"),
            json!("cpu: 7%/80%, <unknown>/10 + 1 more..."),
            json!("1"),
            json!(5),
            json!(2),
            json!("5s"),
        ]
    );
    let rules: Vec<Value> = ["a", "", "b", "c", "d", "e"]
        .iter()
        .map(|host| json!({"host": host}))
        .collect();
    let ingress = json!({
        "metadata": {"name": "front", "creationTimestamp": "2026-01-01T00:59:55Z"},
        "spec": {"rules": rules, "tls": [{}]},
        "status": {"loadBalancer": {"ingress": [{"hostname": "z.example"}, {"ip": "10.0.0.1"}]}},
    });
    assert_eq!(
        cells("networking.k8s.io", "ingresses", ingress),
        [
            "front",
            "<none>",
            "a,b,c + 3 more...",
            "10.0.0.1,z.example",
            "80, 443",
            "5s"
        ]
    );
    let request = json!({
        "metadata": {"name": "csr", "creationTimestamp": "2026-01-01T00:59:55Z"},
        "spec": {"signerName": "example.com/s", "username": "ann", "expirationSeconds": 3600},
        "status": {"conditions": [{"type": "Approved"}, {"type": "Failed"}], "certificate": "eA=="},
    });
    assert_eq!(
        cells("certificates.k8s.io", "certificatesigningrequests", request),
        [
            "csr",
            "5s",
            "example.com/s",
            "ann",
            "60m",
            "Approved,Failed,Issued"
        ]
    );
}

#[test]
fn rows_carry_what_was_asked_for() {
    let object = json!({"metadata": {"name": "c"}, "data": {"a": "b"}});
    let render = |include, headers| {
        render_table(
            ("", "ConfigMap"),
            std::slice::from_ref(&object),
            &json!({}),
            include,
            headers,
            now(),
        )
    };
    assert_eq!(
        render(IncludeObject::None, true)["rows"][0]["object"],
        Value::Null
    );
    assert_eq!(
        render(IncludeObject::Object, true)["rows"][0]["object"],
        object
    );
    let partial = &render(IncludeObject::Metadata, false)["rows"][0]["object"];
    assert_eq!(partial["kind"], "PartialObjectMetadata");
    assert_eq!(
        render(IncludeObject::None, false)["columnDefinitions"],
        Value::Null
    );
}

proptest! {
    /// Every printer takes every shape: objects are checked by type, not by sense.
    #[test]
    fn no_printer_panics(at in 0usize..200, spec in "[a-z]{0,3}") {
        let all = table().resources();
        let resource = &all[at % all.len()];
        let odd = json!({"metadata": {"name": spec}, "spec": spec, "status": {"conditions": [spec]}});
        let table_ = render_table((&resource.group, &resource.kind), &[odd, json!(null)], &json!({}), IncludeObject::Object, true, now());
        let columns = table_["columnDefinitions"].as_array().unwrap().len();
        for row in table_["rows"].as_array().unwrap() {
            prop_assert_eq!(row["cells"].as_array().unwrap().len(), columns);
        }
    }
}
