//! The JSON-RPC 1.0 dialect of the original, byte for byte: one row for each behaviour that was
//! recorded on a gorilla/rpc server and on the original service, with requests of our own.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod rpc_support;

use axum::body::Body;
use axum::http::Request;
use rpc_support::{Api, ID};
use wam::actions::request::{NodeArg, PodArg, WorkloadArg};
use wam::actions::{Arguments, SubmitError};

const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A create that is taken.
const CREATE: &str = r#"{"method":"action.Create","params":[{"workload":{"namespace":"shop","apiVersion":"apps/v1","kind":"Deployment","name":"cart"},"node":{"name":"n1"}}],"id":"1"}"#;

fn create(params: &str, id: &str) -> String {
    format!(r#"{{"method":"action.Create","params":{params},"id":{id}}}"#)
}

fn cart() -> &'static str {
    r#"{"workload":{"apiVersion":"apps/v1","kind":"Deployment","name":"cart"},"node":{"name":"n1"}}"#
}

fn taken(id: &str) -> String {
    format!(
        "{{\"result\":{{\"message\":\"ok\",\"actionId\":\"{ID}\"}},\"error\":null,\"id\":{id}}}\n"
    )
}

fn refused(error: &str) -> String {
    format!("{{\"result\":null,\"error\":\"{error}\",\"id\":\"1\"}}\n")
}

/// Status, content type, nosniff, body.
async fn answer(api: &Api, request: Request<Body>) -> (u16, Option<String>, bool, String) {
    let answer = api.send(request).await;
    (
        answer.status.as_u16(),
        answer.header("content-type").map(str::to_owned),
        answer.header("x-content-type-options") == Some("nosniff"),
        answer.body,
    )
}

fn post(body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/rpc").header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

async fn says(body: &str, status: u16, text: &str) {
    let api = Api::new();
    let kind = if status == 200 { JSON } else { TEXT };
    assert_eq!(
        answer(&api, post(body.to_owned())).await,
        (
            status,
            Some(kind.to_owned()),
            status == 200,
            text.to_owned()
        ),
        "{body}"
    );
}

#[tokio::test]
async fn the_id_comes_back_compacted_and_escaped() {
    for (id, echo) in [
        (r#""1""#, r#""1""#),
        ("7", "7"),
        ("1.50e+3", "1.50e+3"),
        (r#"{ "a" : [ 1 , 2.0 ] }"#, r#"{"a":[1,2.0]}"#),
        (r#""<é> &""#, "\"\\u003cé\\u003e \\u0026\""),
        (r#""\u003c\"\\ x""#, r#""\u003c\"\\ x""#),
        ("false", "false"),
        ("[]", "[]"),
        ("\"a\u{2028}b\"", "\"a\\u2028b\""),
    ] {
        says(&create(&format!("[{}]", cart()), id), 200, &taken(echo)).await;
    }
}

#[tokio::test]
async fn without_an_id_the_method_runs_and_the_answer_is_empty() {
    for (body, requests) in [
        (create(&format!("[{}]", cart()), "null"), 1),
        (CREATE.replace(r#","id":"1""#, ""), 1),
        (
            r#"{"method":"action.Delete","params":[{"pod":{}}]}"#.to_owned(),
            0,
        ),
        (
            r#"{"method":"action.Delete","params":[{"pod":{}}],"id":null}"#.to_owned(),
            0,
        ),
    ] {
        let api = Api::new();
        assert_eq!(
            answer(&api, post(body.clone())).await,
            (200, None, true, String::new()),
            "{body}"
        );
        assert_eq!(api.facade.requests().len(), requests, "{body}");
    }
}

#[tokio::test]
async fn verbs_and_content_types_are_checked_before_the_body() {
    for verb in ["GET", "PUT", "OPTIONS", "DELETE", "PATCH"] {
        let request = Request::builder().method(verb).uri("/rpc");
        assert_eq!(
            answer(&Api::new(), request.body(Body::from("{")).unwrap()).await,
            (
                405,
                Some(TEXT.into()),
                false,
                format!("rpc: POST method required, received {verb}")
            )
        );
    }
    for (kind, unrecognized) in [
        (Some("application/json; charset=utf-8"), None),
        (Some("APPLICATION/json;"), None),
        (Some(""), None),
        (None, None),
        (
            Some("application/json ; charset=utf-8"),
            Some("application/json "),
        ),
        (Some("text/plain"), Some("text/plain")),
        (Some("Text/Plain; x"), Some("Text/Plain")),
        (
            Some("application/x-www-form-urlencoded"),
            Some("application/x-www-form-urlencoded"),
        ),
    ] {
        let mut request = Request::post("/rpc");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let want = match unrecognized {
            None => (200, Some(JSON.into()), true, taken("\"1\"")),
            Some(kind) => {
                let text = format!("rpc: unrecognized Content-Type: {kind}");
                (415, Some(TEXT.into()), false, text)
            }
        };
        let got = answer(&Api::new(), request.body(Body::from(CREATE)).unwrap()).await;
        assert_eq!(got, want, "{kind:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_request_is_told_in_go_words() {
    for (body, text) in [
        ("", "EOF"),
        (" \n", "EOF"),
        ("{", "unexpected EOF"),
        (r#"{"method":"action.Cre"#, "unexpected EOF"),
        (
            "{bad}",
            "invalid character 'b' looking for beginning of object key string",
        ),
        (
            r#"{"method":nope}"#,
            "invalid character 'o' in literal null (expecting 'u')",
        ),
        (
            "[{\"method\":\"action.Delete\",\"params\":[{}],\"id\":1}]",
            "json: cannot unmarshal array into Go value of type json.serverRequest",
        ),
        (
            "\"x\"",
            "json: cannot unmarshal string into Go value of type json.serverRequest",
        ),
        (
            "12",
            "json: cannot unmarshal number into Go value of type json.serverRequest",
        ),
        (
            "true",
            "json: cannot unmarshal bool into Go value of type json.serverRequest",
        ),
        ("null", "rpc: service/method request ill-formed: \"\""),
        ("{}", "rpc: service/method request ill-formed: \"\""),
        (
            r#"{"method":1,"params":[{}],"id":"1"}"#,
            "json: cannot unmarshal number into Go struct field serverRequest.method of type string",
        ),
        (
            r#"{"method":"create"}"#,
            "rpc: service/method request ill-formed: \"create\"",
        ),
        (
            r#"{"method":"a.b.c"}"#,
            "rpc: service/method request ill-formed: \"a.b.c\"",
        ),
        (
            r#"{"method":"a\"\n"}"#,
            "rpc: service/method request ill-formed: \"a\\\"\\n\"",
        ),
        (
            r#"{"method":"x.Create","params":[{}]}"#,
            "rpc: can't find service \"x.Create\"",
        ),
        (
            r#"{"method":"Action.Create","params":[{}]}"#,
            "rpc: can't find service \"Action.Create\"",
        ),
        (
            r#"{"method":"action.Nope","params":[{}],"id":7}"#,
            "rpc: can't find method \"action.Nope\"",
        ),
        (
            r#"{"method":"action.Nope"}"#,
            "rpc: can't find method \"action.Nope\"",
        ),
        (
            r#"{"method":"action.create","params":[{}]}"#,
            "rpc: can't find method \"action.create\"",
        ),
        (
            r#"{"method":"action.","params":[{}]}"#,
            "rpc: can't find method \"action.\"",
        ),
        (
            r#"{"method":"action.Create","id":"1"}"#,
            "rpc: method request ill-formed: missing params field",
        ),
        (
            &create("null", "1"),
            "rpc: method request ill-formed: missing params field",
        ),
        (
            &create(cart(), "1"),
            "json: cannot unmarshal object into Go value of type [1]interface {}",
        ),
        (
            &create("\"x\"", "1"),
            "json: cannot unmarshal string into Go value of type [1]interface {}",
        ),
        (
            &create("3", "1"),
            "json: cannot unmarshal number into Go value of type [1]interface {}",
        ),
    ] {
        says(body, 400, text).await;
    }
}

#[tokio::test]
async fn arguments_of_a_wrong_type_are_told_in_go_words() {
    for (method, argument, text) in [
        (
            "Create",
            "\"x\"",
            "string into Go value of type actions.CreateArgs",
        ),
        (
            "Delete",
            "[]",
            "array into Go value of type actions.DeleteArgs",
        ),
        (
            "Move",
            "true",
            "bool into Go value of type actions.MoveArgs",
        ),
        ("Swap", "1", "number into Go value of type actions.SwapArgs"),
        (
            "Create",
            r#"{"workload":"x"}"#,
            "string into Go struct field CreateArgs.workload of type actions.Workload",
        ),
        (
            "Create",
            r#"{"workload":1}"#,
            "number into Go struct field CreateArgs.workload of type actions.Workload",
        ),
        (
            "Create",
            r#"{"node":{"name":7}}"#,
            "number into Go struct field Node.node.name of type string",
        ),
        (
            "Create",
            r#"{"workload":{"apiVersion":{}}}"#,
            "object into Go struct field Workload.workload.apiVersion of type string",
        ),
        (
            "Move",
            r#"{"node":[]}"#,
            "array into Go struct field MoveArgs.node of type actions.Node",
        ),
        (
            "Swap",
            r#"{"y":{}}"#,
            "object into Go struct field SwapArgs.y of type []actions.Pod",
        ),
        (
            "Swap",
            r#"{"y":["a"]}"#,
            "string into Go struct field SwapArgs.y of type actions.Pod",
        ),
        (
            "Swap",
            r#"{"y":[{"name":[]}],"x":3}"#,
            "array into Go struct field Pod.y.name of type string",
        ),
        (
            "Get",
            r#"{"actionId":1}"#,
            "number into Go struct field GetArgs.actionId of type string",
        ),
        (
            "List",
            r#"{"limit":"9"}"#,
            "string into Go struct field ListArgs.limit of type int",
        ),
        (
            "List",
            r#"{"limit":1.5}"#,
            "number 1.5 into Go struct field ListArgs.limit of type int",
        ),
    ] {
        let body = format!(r#"{{"method":"action.{method}","params":[{argument}],"id":"1"}}"#);
        says(&body, 400, &format!("json: cannot unmarshal {text}")).await;
    }
}

#[tokio::test]
async fn arguments_are_checked_in_the_order_of_the_original() {
    let api_version = "only apps/v1 workload API version is supported";
    let workload = |rest: &str| {
        format!(r#"{{"workload":{{"apiVersion":"apps/v1"{rest}}},"node":{{"name":"n1"}}}}"#)
    };
    for (method, params, error) in [
        ("Create", "[]".to_owned(), api_version),
        ("Create", "[null]".to_owned(), api_version),
        ("Create", "[{}]".to_owned(), api_version),
        (
            "Create",
            r#"[{"workload":{"apiVersion":"v1","kind":"Deployment","name":"a"}}]"#.to_owned(),
            api_version,
        ),
        (
            "Create",
            format!("[{}]", workload(r#","kind":"StatefulSet","name":"a""#)),
            "only Deployment kind is supported",
        ),
        (
            "Create",
            format!("[{}]", workload(r#","kind":"Deployment""#)),
            "workload name is required",
        ),
        (
            "Create",
            r#"[{"workload":{"apiVersion":"apps/v1","kind":"Deployment","name":"a"},"node":{}}]"#
                .to_owned(),
            "node name is required",
        ),
        (
            "Delete",
            r#"[{"pod":{}}]"#.to_owned(),
            "pod's name must be specified",
        ),
        (
            "Delete",
            r#"[{"pod":{"namespace":"x"},"force":true}]"#.to_owned(),
            "pod's name must be specified",
        ),
        (
            "Move",
            r#"[{"node":{"name":"n"}}]"#.to_owned(),
            "pod's name must be specified",
        ),
        (
            "Move",
            r#"[{"pod":{"name":"p"}}]"#.to_owned(),
            "node name is required",
        ),
        (
            "Swap",
            r#"[{"y":[{"name":"p"}]}]"#.to_owned(),
            "x pod's name must be specified",
        ),
        (
            "Swap",
            r#"[{"x":{"name":"p"},"y":[]}]"#.to_owned(),
            "y pods must be specified",
        ),
        (
            "Swap",
            r#"[{"x":{"name":"p"},"y":[{"name":"q"},{"namespace":"q"}]}]"#.to_owned(),
            "y pod's, at index 1, name must be specified",
        ),
        ("Get", "[{}]".to_owned(), "actionId is required"),
        (
            "List",
            r#"[{"limit":-1}]"#.to_owned(),
            "limit must not be negative",
        ),
    ] {
        let body = format!(r#"{{"method":"action.{method}","params":{params},"id":"1"}}"#);
        says(&body, 200, &refused(error)).await;
    }
}

#[tokio::test]
async fn what_go_overlooks_is_overlooked() {
    let cart = cart();
    for (body, id) in [
        (format!("{CREATE} garbage"), "1"),
        (format!("{CREATE}{CREATE}"), "1"),
        (create(&format!("[{cart}, {{\"node\":3}}]"), "\"1\""), "1"),
        (
            CREATE.replace("{\"method\"", r#"{"jsonrpc":"2.0","extra":[1],"method""#),
            "1",
        ),
        (
            CREATE
                .replace("method", "METHOD")
                .replace("params", "Params")
                .replace("workload", "WorkLoad")
                .replace("apiVersion", "APIVERSION")
                .replace("\"id\"", "\"ID\""),
            "1",
        ),
        (
            CREATE
                .replace("{\"method\"", r#"{"id":"7","method":"x","method""#)
                .replace("\"id\":\"1\"", "\"id\":\"2\""),
            "2",
        ),
    ] {
        let api = Api::new();
        let want = (
            200,
            Some(JSON.to_owned()),
            true,
            taken(&format!("\"{id}\"")),
        );
        assert_eq!(answer(&api, post(body.clone())).await, want, "{body}");
        let requests = api.facade.requests();
        assert_eq!(requests.len(), 1, "{body}");
        let Arguments::Create { workload, node } = &requests[0].arguments else {
            panic!("{requests:?}");
        };
        assert_eq!((workload.name.as_str(), node.name.as_str()), ("cart", "n1"));
    }
}

#[tokio::test]
async fn the_facade_gets_what_was_asked_for_with_namespaces_filled_in() {
    let api = Api::new();
    for body in [
        CREATE,
        r#"{"method":"action.Delete","params":[{"pod":{"namespace":"shop","name":"p","uid":"u"},"options":{"dryRun":false,"x":[1]}}],"id":1}"#,
        r#"{"method":"action.Move","params":[{"pod":{"name":"p"},"node":{"name":"n"},"options":null}],"id":1}"#,
        r#"{"method":"action.Swap","params":[{"x":{"name":"p"},"y":[{"name":"q"},{"namespace":"m","name":"r"}]}],"id":1}"#,
    ] {
        let answer = api.rpc(body).await;
        assert!(
            answer.body.starts_with("{\"result\":{\"message\":\"ok\""),
            "{}",
            answer.body
        );
    }
    let pod = |namespace: &str, name: &str, uid: &str| PodArg {
        namespace: namespace.into(),
        name: name.into(),
        uid: uid.into(),
    };
    let requests = api.facade.requests();
    let arguments: Vec<_> = requests.iter().map(|r| r.arguments.clone()).collect();
    assert_eq!(
        arguments,
        [
            Arguments::Create {
                workload: WorkloadArg {
                    namespace: "shop".into(),
                    api_version: "apps/v1".into(),
                    kind: "Deployment".into(),
                    name: "cart".into(),
                },
                node: NodeArg { name: "n1".into() },
            },
            Arguments::Delete {
                pod: pod("shop", "p", "u")
            },
            Arguments::Move {
                pod: pod("default", "p", ""),
                node: NodeArg { name: "n".into() },
            },
            Arguments::Swap {
                x: pod("default", "p", ""),
                y: vec![pod("default", "q", ""), pod("m", "r", "")],
            },
        ]
    );
    let options: Vec<_> = requests.iter().map(|r| r.options.clone()).collect();
    assert_eq!(
        options[1],
        Some(serde_json::json!({"dryRun": false, "x": [1]}))
    );
    assert_eq!([&options[0], &options[2], &options[3]], [&None; 3]);
}

#[tokio::test]
async fn the_methods_errors_have_status_200_and_are_escaped() {
    let api = Api::new();
    for error in [
        SubmitError::Invalid("bad & <node>".into()),
        SubmitError::Unavailable("bad & <node>".into()),
    ] {
        *api.facade.refuse.lock().unwrap() = Some(error);
        assert_eq!(
            answer(&api, post(CREATE)).await,
            (
                200,
                Some(JSON.into()),
                true,
                refused("bad \\u0026 \\u003cnode\\u003e")
            )
        );
    }
}

#[tokio::test]
async fn a_dry_run_answers_the_plan() {
    let api = Api::new();
    *api.facade.plan.lock().unwrap() = serde_json::json!({"steps": [{"name": "evict <a>"}]});
    api.facade
        .dry_run
        .store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(
        api.rpc(CREATE).await.body,
        "{\"result\":{\"message\":\"ok\",\"dryRun\":true,\
         \"plan\":{\"steps\":[{\"name\":\"evict \\u003ca\\u003e\"}]}},\"error\":null,\"id\":\"1\"}\n"
    );
}

#[tokio::test]
async fn other_paths_are_not_found_as_in_go() {
    for path in ["/rpc/", "/rpcs", "/api/v1"] {
        let request = Request::post(path).body(Body::from(CREATE)).unwrap();
        assert_eq!(
            answer(&Api::new(), request).await,
            (404, Some(TEXT.into()), true, "404 page not found\n".into())
        );
    }
}
