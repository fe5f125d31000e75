//! `list`: pages, versions, selectors, and how the answer is represented.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use crate::case::Case;
use crate::things::*;

cases![
    pages,
    the_pages_of_one_list_are_of_one_moment,
    tokens_that_are_none,
    versions,
    combinations_that_are_refused,
    label_selectors,
    bad_selectors,
    field_selectors,
    fields_that_pods_can_be_selected_by,
    metadata_only,
    tables,
];

async fn secrets(t: &mut Case, names: &[&str]) {
    for name in names {
        t.make(SECRETS, secret(name, json!({"set": "s"}))).await;
    }
}

async fn pages(t: &mut Case) {
    secrets(t, &["a", "b", "c", "d", "e"]).await;
    let first = t.get(&format!("{SECRETS}?limit=2")).await;
    let token = first.text("/metadata/continue");
    t.names.mask(&token, "{first}");
    let second = t.get(&format!("{SECRETS}?limit=2&continue={token}")).await;
    assert_eq!(first.version(), second.version());
    let token = second.text("/metadata/continue");
    t.names.mask(&token, "{second}");
    t.get(&format!("{SECRETS}?limit=2&continue={token}")).await;
    t.note("no limit, a limit that is just enough, one that is more");
    t.get(&format!("{SECRETS}?limit=0")).await;
    t.get(&format!("{SECRETS}?limit=5")).await;
    t.get(&format!("{SECRETS}?limit=6")).await;
    t.get(&format!("{SECRETS}?limit=-1")).await;
    t.get(&format!("{SECRETS}?limit=x")).await;
    t.get(&format!("{SECRETS}?limit=1.5")).await;
    t.note("selected ones");
    let page = t
        .get(&format!("{SECRETS}?limit=2&fieldSelector=metadata.name!%3Db"))
        .await;
    assert_eq!(page.names(), ["a", "c"]);
    let token = page.text("/metadata/continue");
    t.names.mask(&token, "{third}");
    let page = t
        .get(&format!("{SECRETS}?limit=5&fieldSelector=metadata.name!%3Db&continue={token}"))
        .await;
    assert_eq!(page.names(), ["d", "e"]);
    t.get(&format!("{SECRETS}?limit=1&fieldSelector=metadata.name%3Db"))
        .await;
}

async fn the_pages_of_one_list_are_of_one_moment(t: &mut Case) {
    secrets(t, &["a", "b", "c", "d"]).await;
    let first = t.look(&format!("{SECRETS}?limit=1")).await;
    t.quietly(Method::DELETE, &format!("{SECRETS}/c"), &[], "").await;
    secrets(t, &["bb", "e"]).await;
    let changed = t.change(&format!("{SECRETS}/d"), json!({"metadata": {"labels": {"new": "1"}}}))
        .await;
    assert_ne!(first.version(), changed.version());
    let token = first.text("/metadata/continue");
    t.names.mask(&token, "{token}");
    let rest = t.get(&format!("{SECRETS}?continue={token}")).await;
    assert_eq!(rest.names(), ["b", "c", "d"]);
    assert_eq!(rest.version(), first.version());
    let now = t.get(SECRETS).await;
    assert_eq!(now.names(), ["a", "b", "bb", "d", "e"]);
}

async fn tokens_that_are_none(t: &mut Case) {
    secrets(t, &["a", "b"]).await;
    let token = |text: &str| URL_SAFE_NO_PAD.encode(text);
    for bad in [
        "x".to_owned(),
        "%25%25".to_owned(),
        token(""),
        token("{}"),
        token("[]"),
        token(r#"{"v":"meta.k8s.io/v1","rv":5}"#),
        token(r#"{"v":"meta.k8s.io/v2","rv":5,"start":"a"}"#),
        token(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#),
        token(r#"{"v":"meta.k8s.io/v1","rv":"x","start":"a"}"#),
        token(r#"{"v":"meta.k8s.io/v1","rv":5,"start":"../../x"}"#),
    ] {
        t.get(&format!("{SECRETS}?limit=1&continue={bad}")).await;
    }
    t.note("a token of no revision goes on with what there is now");
    let loose = token(r#"{"v":"meta.k8s.io/v1","rv":-1,"start":"a\u0000"}"#);
    let went_on = t.get(&format!("{SECRETS}?limit=1&continue={loose}")).await;
    assert_eq!(went_on.names(), ["b"]);
}

async fn versions(t: &mut Case) {
    secrets(t, &["a"]).await;
    let old = t.look(SECRETS).await;
    secrets(t, &["b"]).await;
    let rv = old.version();
    t.names.mask(&format!("resourceVersion={rv}&"), "resourceVersion={rv}&");
    let any = t.get(&format!("{SECRETS}?resourceVersion=0&")).await;
    t.note("not older than");
    let got = t.get(&format!("{SECRETS}?resourceVersion={rv}&")).await;
    assert!(got.version().parse::<u64>().unwrap() >= any.version().parse::<u64>().unwrap());
    t.get(&format!("{SECRETS}?resourceVersion={rv}&resourceVersionMatch=NotOlderThan"))
        .await;
    t.note("exactly");
    let exact = t
        .get(&format!("{SECRETS}?resourceVersion={rv}&resourceVersionMatch=Exact"))
        .await;
    assert_eq!((exact.version(), exact.names()), (rv.clone(), vec!["a".to_owned()]));
    let limited = t
        .get(&format!("{SECRETS}?resourceVersion={rv}&limit=5"))
        .await;
    assert_eq!(limited.version(), rv);
    t.note("of one object");
    t.get(&format!("{SECRETS}/a?resourceVersion=0&")).await;
    t.get(&format!("{SECRETS}/a?resourceVersion={rv}&x")).await;
    t.note("the future");
    let future = t.get(&format!("{SECRETS}?resourceVersion=999999999")).await;
    assert_eq!(future.code, 504);
    t.get(&format!("{SECRETS}/a?resourceVersion=999999999")).await;
    t.get(&format!("{SECRETS}?resourceVersion=999999999&resourceVersionMatch=Exact"))
        .await;
}

async fn combinations_that_are_refused(t: &mut Case) {
    secrets(t, &["a", "b"]).await;
    for query in [
        "resourceVersionMatch=Exact",
        "resourceVersionMatch=NotOlderThan",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "resourceVersion=5&resourceVersionMatch=Nonsense",
        "resourceVersion=x",
        "resourceVersion=-1",
        "resourceVersion=1.5",
        "resourceVersion=99999999999999999999",
        "sendInitialEvents=true",
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
        "timeoutSeconds=x",
        "watch=true&sendInitialEvents=true",
        "watch=true&resourceVersionMatch=NotOlderThan",
        "watch=true&resourceVersionMatch=NotOlderThan&resourceVersion=0",
        "watch=true&resourceVersionMatch=Exact&sendInitialEvents=true&resourceVersion=1",
        "watch=true&resourceVersion=x",
        "watch=true&limit=x",
        "watch=true&continue=x&timeoutSeconds=1&resourceVersion=0",
    ] {
        t.get(&format!("{SECRETS}?{query}")).await;
    }
    let page = t.look(&format!("{SECRETS}?limit=1")).await;
    let token = page.text("/metadata/continue");
    t.names.mask(&token, "{token}");
    for query in ["resourceVersion=5", "resourceVersion=0", "resourceVersionMatch=Exact"] {
        t.get(&format!("{SECRETS}?continue={token}&{query}")).await;
    }
}

async fn label_selectors(t: &mut Case) {
    for (name, labels) in [
        ("a", json!({"env": "prod", "tier": "web", "n": "1"})),
        ("b", json!({"env": "prod", "tier": "db", "n": "2"})),
        ("c", json!({"env": "test", "n": "10"})),
        ("d", json!({"example.com/x": "", "n": "x"})),
        ("e", json!({})),
    ] {
        t.make(SECRETS, secret(name, labels)).await;
    }
    for selector in [
        "env=prod",
        "env==prod",
        "env!=prod",
        "env=prod,tier=web",
        "env in (prod,test)",
        "env in (prod, test),tier",
        "env notin (prod)",
        "tier",
        "!tier",
        "! tier",
        "!env,!n",
        "n>1",
        "n<2",
        "n>1,n<10",
        "env=",
        "example.com/x=",
        "example.com/x",
        "env in ()",
        "env in (,prod)",
        "env notin ()",
        " env = prod ",
        "",
        "env=prod,env=test",
    ] {
        let path = format!("{SECRETS}?labelSelector={}", selector.replace(' ', "%20").replace(',', "%2C").replace('>', "%3E").replace('<', "%3C").replace('!', "%21"));
        let found = t.look(&path).await;
        t.found(selector, &json!([found.code, found.names()]));
    }
}

async fn bad_selectors(t: &mut Case) {
    for selector in [
        "a in b", "a in (b", "a in (b c)", ",", "a,", "=b", "a b", "a=b=c", "!", "a>x", "a=b c", "-a=b",
        "a=-", "a/b/c=d", "a!", "a=b,,c=d", "(", "a in", "a notin", "!a=b", "a>", "a!b", "é=1",
    ] {
        let path = format!("{SECRETS}?labelSelector={}", percent(selector));
        t.get(&path).await;
    }
    for selector in [
        "a", "=", "a=b=c", "metadata.name", "spec.foo=1", "metadata.labels.app=x", "metadata.name=a,spec.foo!=1",
        "metadata.name=a\\", "metadata.name=a\\b", "metadata.name=a\\,b", "metadata.uid=1", "status.phase=Running",
        "metadata.name in (a)", ",", "metadata.name=", "type=Opaque",
    ] {
        let path = format!("{SECRETS}?fieldSelector={}", percent(selector));
        t.get(&path).await;
    }
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b == b'.' {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

async fn field_selectors(t: &mut Case) {
    t.note("which fields a kind can be selected by");
    let asked: [(&str, &[&str]); 12] = [
        (NODES, &["metadata.name", "spec.unschedulable", "spec.providerID", "metadata.namespace"]),
        ("/api/v1/namespaces", &["metadata.name", "status.phase", "spec.finalizers"]),
        (SECRETS, &["type", "metadata.namespace", "data"]),
        (CONFIG_MAPS, &["metadata.name", "data"]),
        ("/api/v1/namespaces/{ns}/services", &["spec.clusterIP", "spec.type", "spec.ports"]),
        ("/api/v1/namespaces/{ns}/events", &["involvedObject.kind", "involvedObject.uid", "reason", "type",
            "source", "reportingComponent", "reportingController", "message"]),
        ("/apis/events.k8s.io/v1/namespaces/{ns}/events", &["regarding.kind", "reason", "type",
            "reportingController", "reportingComponent", "involvedObject.kind", "source"]),
        (REPLICA_SETS, &["status.replicas", "spec.replicas"]),
        (DEPLOYMENTS, &["metadata.name", "status.replicas"]),
        ("/apis/batch/v1/namespaces/{ns}/jobs", &["status.successful", "status.succeeded"]),
        (BUDGETS, &["metadata.name", "status.disruptionsAllowed"]),
        (LEASES, &["metadata.name", "spec.holderIdentity"]),
    ];
    for (path, fields) in asked {
        for field in fields {
            let answer = t.look(&format!("{path}?fieldSelector={field}%3Dnothing")).await;
            let what = format!("{} by {field}", path.rsplit('/').next().unwrap());
            t.found(&what, &json!([answer.code, answer.text("/message")]));
        }
    }
}

async fn fields_that_pods_can_be_selected_by(t: &mut Case) {
    t.with_account().await;
    t.make(PODS, pod("a")).await;
    t.bound_pod("b", "n-1").await;
    t.running_pod("c", true).await;
    let mut host = pod("d");
    host["spec"]["hostNetwork"] = json!(true);
    host["spec"]["restartPolicy"] = json!("Never");
    t.make(PODS, host).await;
    t.kubelet_says("c", json!({"podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]})).await;
    t.kubelet_says("a", json!({"nominatedNodeName": "n-9"})).await;
    for selector in [
        "spec.nodeName=n-1",
        "spec.nodeName=",
        "spec.nodeName!=",
        "spec.nodeName=n-1,status.phase=Running",
        "status.phase=Pending",
        "status.phase!=Running",
        "spec.schedulerName=nobody",
        "spec.schedulerName=default-scheduler",
        "spec.restartPolicy=Never",
        "spec.hostNetwork=true",
        "spec.hostNetwork=false",
        "spec.serviceAccountName=default",
        "status.podIP=10.1.2.3",
        "status.podIPs=10.1.2.3",
        "status.nominatedNodeName=n-9",
        "metadata.namespace!=x",
        "metadata.name=a,metadata.name=b",
        "status.qosClass=BestEffort",
        "spec.priority=0",
    ] {
        let found = t.look(&format!("{PODS}?fieldSelector={}", percent(selector))).await;
        t.found(selector, &json!([found.code, found.names(), found.text("/message")]));
    }
    let everywhere = t
        .look(&format!("/api/v1/pods?fieldSelector={}", percent(&format!("metadata.namespace={}", t.namespace))))
        .await;
    t.found("in all namespaces", &json!(everywhere.names()));
}

async fn metadata_only(t: &mut Case) {
    secrets(t, &["a", "b"]).await;
    let of = |kind: &str| format!("application/json;as={kind};g=meta.k8s.io;v=v1");
    let list = of("PartialObjectMetadataList");
    let one = of("PartialObjectMetadata");
    t.send(Method::GET, SECRETS, &[("accept", &list)], "").await;
    t.send(Method::GET, &format!("{SECRETS}/a"), &[("accept", &one)], "").await;
    t.send(Method::GET, &format!("{SECRETS}/nope"), &[("accept", &one)], "").await;
    t.note("what cannot be had");
    for accept in [
        "application/json;as=Nonsense;g=meta.k8s.io;v=v1",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v2",
        "text/html",
        "application/xml, text/plain",
    ] {
        t.send(Method::GET, &format!("{SECRETS}/a"), &[("accept", accept)], "").await;
    }
    t.note("a second choice");
    let choice = format!("text/html, {one}");
    t.send(Method::GET, &format!("{SECRETS}/a"), &[("accept", &choice)], "").await;
    t.send(Method::GET, &format!("{SECRETS}/a"), &[("accept", "*/*")], "").await;
}

async fn tables(t: &mut Case) {
    const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";
    t.with_account().await;
    t.names.ignored = vec!["columnDefinitions"];
    secrets(t, &["a"]).await;
    t.make(PODS, pod("p")).await;
    for (path, select) in [
        (SECRETS, ""),
        (PODS, ""),
        (PODS, "?includeObject=None"),
        (PODS, "?includeObject=Object&fieldSelector=metadata.name=none"),
        (PODS, "?includeObject=Nonsense"),
        (PODS, "?limit=1&includeObject=None"),
        (BUDGETS, "?includeObject=None"),
        (&format!("{PODS}/p"), ""),
    ] {
        let answer = t
            .quietly(Method::GET, &format!("{path}{select}"), &[("accept", TABLE)], "")
            .await;
        let mut body: Value = answer.body.clone();
        // The age depends on the moment.
        for row in body["rows"].as_array_mut().into_iter().flatten() {
            let cells = row["cells"].as_array_mut().unwrap();
            for cell in cells {
                let age = cell.as_str().is_some_and(|s| s.ends_with('s') && s[..s.len() - 1].parse::<u32>().is_ok());
                if age {
                    *cell = json!("{age}");
                }
            }
        }
        t.found(&format!("{path}{select}"), &json!([answer.code, body]));
    }
}
