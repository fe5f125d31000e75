//! `KubeSchedulerConfiguration` files mean here what they mean to kube-scheduler: what it makes of them
//! (`--write-config-to`) stands beside each file in `tests/scheduler_config/`, and is asked of the stock
//! kube-scheduler again where the testbed is there. Every mistake in a file is told at once, with its place.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use wam::scheduler::config;

mod support;

/// The kubeconfig that the files name.
const KUBECONFIG: &str = "/etc/scheduler/kubeconfig";
const GOOD: [&str; 3] = ["minimal", "everything", "json"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scheduler_config")
}

fn text(file: &str) -> String {
    let path = folder().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn upstreams(name: &str) -> Value {
    serde_json::from_str(&text(&format!("{name}.upstream.json"))).expect("it is JSON")
}

/// What differs on purpose: ActionIntent, and the defaults of the client (see `ClientConnection`).
fn without_ours(mut ours: Value, given: &Value) -> Value {
    for profile in ours["profiles"].as_array_mut().expect("a list") {
        let enabled = profile["plugins"]["multiPoint"]["enabled"].as_array_mut();
        enabled
            .expect("a list")
            .retain(|plugin| plugin["name"] != "ActionIntent");
    }
    let client = &mut ours["clientConnection"];
    for (field, left_out) in [
        ("qps", json!(2000.0)),
        ("burst", json!(2000)),
        ("contentType", json!("application/json")),
    ] {
        if client[field] == left_out {
            client[field] = given["clientConnection"][field].clone();
        }
    }
    ours
}

/// Where two values differ first. Go writes 50 where a float is 50.
fn difference(ours: &Value, theirs: &Value, path: &str) -> Option<String> {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs
                .filter_map(|(i, (a, b))| difference(a, b, &format!("{path}[{i}]")))
                .next()
        }
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let of = |map: &serde_json::Map<String, Value>, key| {
                map.get(key).cloned().unwrap_or_default()
            };
            keys.into_iter()
                .filter_map(|key| difference(&of(a, key), &of(b, key), &format!("{path}.{key}")))
                .next()
        }
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path}: {a} here, {b} there")),
    }
}

#[test]
fn files_mean_what_they_mean_to_kube_scheduler() {
    for name in GOOD {
        let read = config::parse(&text(&format!("{name}.yaml")));
        let ours = read
            .unwrap_or_else(|problems| panic!("{name}: {problems}"))
            .to_v1();
        let theirs = upstreams(name);
        let ours = without_ours(ours, &theirs);
        assert_eq!(difference(&ours, &theirs, name), None);
    }
}

#[test]
fn nothing_at_all_is_the_defaults() {
    let minimal = config::parse(&text("minimal.yaml")).expect("it has no mistake");
    let mut defaults = config::Configuration::default();
    KUBECONFIG.clone_into(&mut defaults.client_connection.kubeconfig);
    assert_eq!(minimal, defaults);
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    for name in ["wrong-fields", "wrong-values"] {
        let problems = config::parse(&text(&format!("{name}.yaml"))).expect_err(name);
        let told = format!("{problems}\n");
        let path = folder().join(format!("{name}.told.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &told).expect("the golden file can be written");
        }
        assert_eq!(told, text(&format!("{name}.told.txt")), "{name}");
    }
}

#[test]
fn what_is_no_configuration_is_told_too() {
    for (text, told) in [
        ("", "the file is empty"),
        ("a: [", "line "),
        ("- a", "must be an object, not a list"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        (
            "apiVersion: v1\nkind: ConfigMap\n",
            "must be \"KubeSchedulerConfiguration\", not \"ConfigMap\"",
        ),
    ] {
        let problems = config::parse(text).expect_err(text).to_string();
        assert!(problems.contains(told), "{text:?}: {problems}");
    }
    let deep = "[".repeat(100_000);
    assert!(config::parse(&deep).is_err());
    let laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
         c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
         e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let problems = config::parse(laughs).expect_err("too much").to_string();
    assert!(problems.contains("more than"), "{problems}");
}

/// What the stock kube-scheduler makes of a file, or its words against it.
fn ask_upstream(program: &Path, text: &str) -> Result<Value, String> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = |name: &str| folder.path().join(name);
    let kubeconfig = "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: \"http://127.0.0.1:1\"}}]\n\
         contexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\nusers: [{name: a, user: {}}]\n";
    std::fs::write(path("kubeconfig"), kubeconfig).expect("it can be written");
    let there = path("kubeconfig").display().to_string();
    std::fs::write(path("in.yaml"), text.replace(KUBECONFIG, &there)).expect("it can be written");
    let output = Command::new(program)
        .arg("--config")
        .arg(path("in.yaml"))
        .arg("--write-config-to")
        .arg(path("out.yaml"))
        .output()
        .expect("kube-scheduler can be run");
    match std::fs::read_to_string(path("out.yaml")) {
        Ok(written) => {
            Ok(serde_saphyr::from_str(&written.replace(&there, KUBECONFIG)).expect("it is YAML"))
        }
        Err(_) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn the_stock_kube_scheduler_still_says_so() {
    let Some(testbed) = support::require("scheduler_config", support::testbed::program()) else {
        return;
    };
    let program = testbed.with_file_name("kube-scheduler");
    for name in GOOD {
        let theirs = ask_upstream(&program, &text(&format!("{name}.yaml"))).expect(name);
        let recorded = upstreams(name);
        assert_eq!(difference(&recorded, &theirs, name), None);
    }
    for name in ["wrong-fields", "wrong-values"] {
        let refused = ask_upstream(&program, &text(&format!("{name}.yaml")));
        refused.expect_err("kube-scheduler refuses it, too");
    }
}
