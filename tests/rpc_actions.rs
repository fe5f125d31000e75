//! `action.Get`, `action.List`, health and metrics.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod rpc_support;

use std::sync::atomic::Ordering;

use rpc_support::{Api, ID};
use serde_json::{Value, json};
use wam::store::{ActionId, ActionRecord, ActionState, Direction, PodRef, StepRecord, StepState};

fn record(id: &str, state: ActionState) -> ActionRecord {
    let at = |second: i64| jiff::Timestamp::from_second(1_800_000_000 + second).unwrap();
    ActionRecord {
        id: id.parse().unwrap(),
        method: "action.Move".into(),
        request: json!({"secret": "not shown"}),
        state,
        reason: "Deadline".into(),
        message: "no room <here>".into(),
        created_at: at(0),
        started_at: Some(at(1)),
        finished_at: None,
        deadline: at(300),
        pods: vec![PodRef {
            namespace: "default".into(),
            name: "p".into(),
            uid: "u".into(),
            node: "n".into(),
        }],
        steps: vec![StepRecord {
            name: "evict default/p".into(),
            op: json!({"not": "shown"}),
            needs: vec![],
            state: StepState::Running,
            started_at: Some(at(2)),
            finished_at: None,
            detail: "asked".into(),
            memo: json!({"not": "shown"}),
        }],
        direction: Direction::Forward,
        forward_from: 0,
        back_from: 0,
        restores: false,
        version: 3,
        fence: 1,
    }
}

async fn call(api: &Api, method: &str, argument: Value) -> Value {
    let body = json!({"method": method, "params": [argument], "id": 1});
    let answer = api.rpc(body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn get_shows_the_action_in_a_fixed_order() {
    let api = Api::new();
    api.facade
        .records
        .lock()
        .unwrap()
        .push(record(ID, ActionState::Running));
    let body = format!(r#"{{"method":"action.Get","params":[{{"actionId":"{ID}"}}],"id":1}}"#);
    let want = format!(
        "{{\"result\":{{\"actionId\":\"{ID}\",\"method\":\"action.Move\",\"state\":\"Running\",\
         \"reason\":\"Deadline\",\"message\":\"no room \\u003chere\\u003e\",\
         \"createdAt\":\"2027-01-15T08:00:00Z\",\"startedAt\":\"2027-01-15T08:00:01Z\",\"finishedAt\":null,\
         \"pods\":[{{\"namespace\":\"default\",\"name\":\"p\",\"uid\":\"u\",\"node\":\"n\"}}],\
         \"steps\":[{{\"name\":\"evict default/p\",\"state\":\"Running\",\
         \"startedAt\":\"2027-01-15T08:00:02Z\",\"finishedAt\":null,\"detail\":\"asked\"}}]}},\
         \"error\":null,\"id\":1}}\n"
    );
    assert_eq!(api.rpc(body).await.body, want);
}

#[tokio::test]
async fn an_unknown_action_is_named() {
    let api = Api::new();
    for id in [ID, "nonsense"] {
        let answer = call(&api, "action.Get", json!({"actionId": id})).await;
        assert_eq!(answer["error"], format!("action {id} not found"));
        assert_eq!(answer["result"], Value::Null);
    }
    let long = call(&api, "action.Get", json!({"actionId": "x".repeat(9999)})).await;
    assert!(long["error"].as_str().unwrap().len() < 120);
}

#[tokio::test]
async fn list_pages() {
    let api = Api::new();
    let ids: Vec<String> = (0..3)
        .map(|_| ActionId::new(jiff::Timestamp::UNIX_EPOCH).to_string())
        .collect();
    for id in &ids {
        let record = record(id, ActionState::Failed);
        api.facade.records.lock().unwrap().push(record);
    }
    let all = call(&api, "action.List", json!({})).await;
    assert_eq!(all["result"]["actions"].as_array().unwrap().len(), 3);
    assert_eq!(all["result"]["continue"], "");
    assert_eq!(all["result"]["actions"][1]["actionId"], ids[1]);
    let page = call(&api, "action.List", json!({"limit": 2})).await;
    assert_eq!(page["result"]["actions"].as_array().unwrap().len(), 2);
    assert_eq!(page["result"]["continue"], "after-2");
    let bad = call(&api, "action.List", json!({"continue": "bad"})).await;
    assert_eq!(bad["error"], "bad continue");
}

#[tokio::test]
async fn health_is_told_check_by_check() {
    let api = Api::new();
    for path in ["/livez", "/readyz", "/healthz"] {
        let answer = api.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "ok"));
    }
    let answer = api.get("/readyz?verbose").await;
    assert_eq!(
        answer.body,
        "[+]ping ok\n[+]store ok\nreadyz check passed\n"
    );
    api.store.away.store(true, Ordering::SeqCst);
    for path in ["/readyz", "/readyz?verbose=1"] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 500);
        assert_eq!(
            answer.body,
            "[+]ping ok\n[-]store failed: the store is unavailable: connection refused\nreadyz check failed\n"
        );
    }
    assert_eq!(
        api.get("/livez?verbose").await.body,
        "[+]ping ok\nlivez check passed\n"
    );
}

#[tokio::test]
async fn metrics_count_by_method_and_answer() {
    let api = Api::new();
    api.rpc(r#"{"method":"action.Delete","params":[{"pod":{"name":"p"}}],"id":1}"#)
        .await;
    api.rpc(r#"{"method":"action.Delete","params":[{"pod":{}}],"id":1}"#)
        .await;
    api.rpc(r#"{"method":"action.Delete","id":1}"#).await;
    api.rpc(r#"{"method":"action.\n","id":1}"#).await;
    let answer = api.get("/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    for line in [
        r#"wam_rpc_requests_total{method="action.Delete",code="ok"} 1"#,
        r#"wam_rpc_requests_total{method="action.Delete",code="error"} 1"#,
        r#"wam_rpc_requests_total{method="action.Delete",code="400"} 1"#,
        r#"wam_rpc_requests_total{method="unknown",code="400"} 1"#,
        r#"wam_rpc_request_duration_seconds_count{method="action.Delete"} 3"#,
        "wam_event_clients 0",
    ] {
        assert!(
            answer.body.lines().any(|found| found == line),
            "{line}\n{}",
            answer.body
        );
    }
    assert!(answer.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_index_names_the_paths() {
    let answer = Api::new().get("/").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("POST /rpc"));
}
