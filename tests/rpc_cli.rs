//! The client commands against the API on a socket, as a person would type them.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod rpc_support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Parser;
use rpc_support::{Api, ID};
use serde_json::{Value, json};
use wam::actions::Arguments;
use wam::cli::client::{ClientCommand, run_to};
use wam::store::{ActionRecord, ActionState, Direction, PodRef, StepRecord, StepState};

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: ClientCommand,
}

/// A server on a free port of loopback; it ends with the test's runtime.
async fn serve(api: &Api) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = api.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// Exit code 0 or not, standard output, standard error.
async fn wam(server: &str, line: &str) -> Result<(bool, String, String), String> {
    let words = ["wam"].into_iter().chain(line.split_whitespace());
    let words = words.chain(["--server", server]);
    let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let done = run_to(cli.command, &mut out, &mut err)
        .await
        .map_err(|error| error.to_string())?;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ok((done, text(out), text(err)))
}

fn record(state: ActionState) -> ActionRecord {
    let at = |second: i64| jiff::Timestamp::from_second(1_800_000_000 + second).unwrap();
    let finished = state.is_final().then(|| at(3));
    ActionRecord {
        id: ID.parse().unwrap(),
        method: "action.Move".into(),
        request: Value::Null,
        state,
        reason: String::new(),
        message: "moved".into(),
        created_at: at(0),
        started_at: Some(at(1)),
        finished_at: finished,
        deadline: at(300),
        pods: vec![PodRef {
            namespace: "shop".into(),
            name: "web-2".into(),
            uid: "u2".into(),
            node: "n2".into(),
        }],
        steps: vec![StepRecord {
            name: "evict shop/web-1".into(),
            op: Value::Null,
            needs: vec![],
            state: if state.is_final() {
                StepState::Done
            } else {
                StepState::Running
            },
            started_at: Some(at(1)),
            finished_at: finished,
            detail: String::new(),
            memo: Value::Null,
        }],
        direction: Direction::Forward,
        forward_from: 0,
        back_from: 0,
        restores: false,
        version: 1,
        fence: 1,
    }
}

fn set(api: &Api, state: ActionState) {
    *api.facade.records.lock().unwrap() = vec![record(state)];
}

#[tokio::test]
async fn submissions_say_on_the_wire_what_was_typed() {
    let api = Api::new();
    let server = serve(&api).await;
    for line in [
        "create deploy/web -n shop --node n1 --deadline 2m --strategy surge --idempotency-key k",
        "delete pod/web-1 --uid u",
        "move shop/web-1 --node n2",
        "swap web-1 --with worker-1,other/worker-2 -n shop",
    ] {
        let (done, out, err) = wam(&server, line).await.unwrap();
        assert!(done);
        assert_eq!(out, format!("action {ID} accepted\n"));
        assert_eq!(err, format!("Follow it with: wam watch {ID}\n"));
    }
    let requests = api.facade.requests();
    let arguments: Vec<Value> = requests
        .iter()
        .map(|request| serde_json::to_value(&request.arguments).unwrap()["args"].clone())
        .collect();
    let pod = |namespace: &str, name: &str, uid: &str| json!({"namespace": namespace, "name": name, "uid": uid});
    assert_eq!(
        arguments,
        [
            json!({
                "workload": {"namespace": "shop", "apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "node": {"name": "n1"},
            }),
            json!({"pod": pod("default", "web-1", "u")}),
            json!({"pod": pod("shop", "web-1", ""), "node": {"name": "n2"}}),
            json!({
                "x": pod("shop", "web-1", ""),
                "y": [pod("shop", "worker-1", ""), pod("other", "worker-2", "")],
            }),
        ]
    );
    assert_eq!(
        requests[0].options,
        Some(json!({"deadlineSeconds": 120, "strategy": "Surge", "idempotencyKey": "k"}))
    );
    assert_eq!(requests[1].options, None);
    assert!(matches!(requests[3].arguments, Arguments::Swap { .. }));
}

#[tokio::test]
async fn formats_are_for_programs_too() {
    let api = Api::new();
    let server = serve(&api).await;
    let (_, out, _) = wam(&server, "delete p -o name").await.unwrap();
    assert_eq!(out, format!("{ID}\n"));
    let (_, out, _) = wam(&server, "delete p -o json").await.unwrap();
    let result: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(result, json!({"message": "ok", "actionId": ID}));
    let (_, out, _) = wam(&server, "delete p -o yaml").await.unwrap();
    assert!(out.contains("message: ok"), "{out}");
    api.facade.dry_run.store(true, Ordering::SeqCst);
    for (plan, want) in [
        (
            json!({"feasible": true, "steps": [{"name": "a", "needs": []}, {"name": "b", "needs": [0]}]}),
            (
                true,
                "Nothing was done. This would be done:\n  1.   a\n  2.   b   after 1\n",
            ),
        ),
        (
            json!({"feasible": false, "reason": "NoRoom", "message": "full", "steps": []}),
            (false, "Nothing was done. It would fail (NoRoom): full\n"),
        ),
    ] {
        *api.facade.plan.lock().unwrap() = plan;
        let (done, out, _) = wam(&server, "delete p --dry-run").await.unwrap();
        assert_eq!((done, out.as_str()), want);
    }
    let options = api.facade.requests().last().unwrap().options.clone();
    assert_eq!(options, Some(json!({"dryRun": true})));
}

#[tokio::test]
async fn waiting_ends_with_the_action_and_tells_how() {
    for (state, done) in [
        (ActionState::Succeeded, true),
        (ActionState::Compensated, false),
    ] {
        let api = Arc::new(Api::new());
        let server = serve(&api).await;
        set(&api, ActionState::Running);
        let ending = {
            let api = Arc::clone(&api);
            async move {
                // Once the client has looked at the running action, it ends.
                let looked = r#"wam_rpc_requests_total{method="action.Get",code="ok"}"#;
                while !api.get("/metrics").await.body.contains(looked) {
                    tokio::task::yield_now().await;
                }
                set(&api, state);
            }
        };
        let (answer, ()) = tokio::join!(wam(&server, "move shop/web-1 --node n2 --wait"), ending);
        let (exit, out, err) = answer.unwrap();
        assert_eq!(exit, done);
        assert_eq!(out, format!("action {ID} {state:?}: moved\n"));
        assert_eq!(
            err,
            format!(
                "action {ID} accepted\n  Running  evict shop/web-1\n  Done     evict shop/web-1\n"
            )
        );
    }
}

#[tokio::test]
async fn waiting_may_be_limited() {
    let api = Api::new();
    let server = serve(&api).await;
    set(&api, ActionState::Running);
    let (exit, out, err) = wam(&server, "delete p --wait --timeout 1").await.unwrap();
    assert_eq!((exit, out.as_str()), (false, ""));
    assert!(err.contains("the action goes on"), "{err}");
}

#[tokio::test]
async fn actions_are_shown_and_listed() {
    let api = Api::new();
    let server = serve(&api).await;
    let (done, out, err) = wam(&server, "list").await.unwrap();
    assert_eq!(
        (done, out.as_str(), err.as_str()),
        (true, "", "No actions found.\n")
    );
    set(&api, ActionState::Succeeded);
    let (_, out, _) = wam(&server, &format!("get {ID}")).await.unwrap();
    assert_eq!(
        out,
        format!(
            "Action:   {ID}\nMethod:   action.Move\nState:    Succeeded\nMessage:  moved\n\
             Created:  2027-01-15T08:00:00Z\nStarted:  2027-01-15T08:00:01Z\n\
             Finished: 2027-01-15T08:00:03Z (took 3s)\nPod:      shop/web-2 on n2 (u2)\nSteps:\n  \
             Done   evict shop/web-1   2s\n"
        )
    );
    let (_, out, _) = wam(&server, &format!("get {ID} -o json")).await.unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap()["state"],
        "Succeeded"
    );
    let (_, out, _) = wam(&server, "list -o wide").await.unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[0].starts_with("ID ") && lines[0].ends_with("MESSAGE"),
        "{out}"
    );
    assert!(
        lines[1].starts_with(ID) && lines[1].contains("shop/web-2 on n2"),
        "{out}"
    );
    let page = wam(&server, "list --continue bad").await;
    assert_eq!(page.unwrap_err(), "bad continue");
    let (_, out, _) = wam(&server, "list -o name --limit 1").await.unwrap();
    assert_eq!(out, format!("{ID}\n"));
}

#[tokio::test]
async fn watching_an_action_ends_with_it() {
    let api = Arc::new(Api::new());
    let server = serve(&api).await;
    set(&api, ActionState::Running);
    let line = format!("watch {ID}");
    let ending = {
        let api = Arc::clone(&api);
        async move {
            let looked = r#"wam_rpc_requests_total{method="action.Get",code="ok"}"#;
            while !api.get("/metrics").await.body.contains(looked) {
                tokio::task::yield_now().await;
            }
            api.store.append("1-0", "wam.action.step.v1", "another");
            api.store.append("1-1", "wam.action.step.v1", ID);
            set(&api, ActionState::Succeeded);
            api.store.append("1-2", "wam.action.succeeded.v1", ID);
        }
    };
    let (answer, ()) = tokio::join!(wam(&server, &line), ending);
    let (done, out, _) = answer.unwrap();
    assert!(done);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert!(lines[0].contains(ID) && lines[0].ends_with("step"), "{out}");
    assert_eq!(lines[2], format!("action {ID} Succeeded: moved"));

    // An action that has ended already; and its events again from the beginning.
    let (done, out, _) = wam(&server, &line).await.unwrap();
    assert_eq!((done, out.lines().count()), (true, 1));
    let (_, out, _) = wam(&server, &format!("{line} --since 0 -o json"))
        .await
        .unwrap();
    let kinds: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone())
        .collect();
    assert_eq!(kinds, ["wam.action.step.v1", "wam.action.succeeded.v1"]);
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let api = Api::new();
    let server = serve(&api).await;
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for line in ["list", "watch", "delete p --wait"] {
        let error = wam(&gone, line).await.unwrap_err();
        assert!(
            error.starts_with(&format!("cannot reach {gone}: Connection refused")),
            "{error}"
        );
        assert!(
            error.contains("Is `wam sandbox` or `wam serve` running there?"),
            "{error}"
        );
    }
    let error = wam(&server, &format!("get {ID}")).await.unwrap_err();
    assert_eq!(error, format!("action {ID} not found"));
    let error = wam(&server, &format!("watch {ID}")).await.unwrap_err();
    assert_eq!(error, format!("action {ID} not found"));
    let error = wam("ftp://x", "list").await.unwrap_err();
    assert_eq!(error, "--server \"ftp://x\": want http://HOST:PORT");
    // The scheme and the path may be left out or given.
    for server in [
        server.replace("http://", ""),
        format!("{server}/rpc"),
        format!("{server}/"),
    ] {
        assert!(wam(&server, "list").await.is_ok(), "{server}");
    }
    for (line, said) in [
        ("create web --node n", "want deployment/web"),
        ("create statefulset/web --node n", "want deployment/NAME"),
        ("create deployment/web", "--node"),
        ("swap p", "--with"),
        ("delete p --deadline soon", "want seconds"),
        ("delete p --wait --dry-run", "cannot be used with"),
        ("list --limit 0", "0 is not in 1..=500"),
    ] {
        let error = wam(&server, line).await.unwrap_err();
        assert!(error.contains(said), "{line}: {error}");
    }
}
