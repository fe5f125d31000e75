//! The chart without a cluster: it lints, what cannot work is refused in words, the plain manifests and the table of
//! rights in the documentation are what the chart says, and no Secret is committed.
#![allow(clippy::disallowed_methods, missing_docs)]

mod deploy_support;
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use deploy_support::{helm_binary, root, shell};
use serde_json::Value;

/// Runs a line with Helm on the PATH, if there is Helm.
fn helm(line: &str) -> Option<Result<String, String>> {
    support::require("the chart (Helm)", helm_binary())?;
    let folder = tempfile::tempdir().expect("a folder");
    Some(shell(line, None, folder.path()))
}

/// The documents of a rendering.
fn rendered(values: &str) -> Option<Vec<Value>> {
    let text = helm(&format!(
        "helm template wam deploy/chart -n wam-system {values}"
    ))?
    .unwrap_or_else(|error| panic!("{values}: {error}"));
    Some(documents(&text))
}

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .map(|part| {
            serde_saphyr::from_str::<Value>(part)
                .unwrap_or_else(|error| panic!("{error} in\n{part}"))
        })
        .filter(|document| !document.is_null())
        .collect()
}

fn find<'d>(documents: &'d [Value], kind: &str, name: &str) -> &'d Value {
    documents
        .iter()
        .find(|document| document["kind"] == kind && document["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn both_charts_lint() {
    for chart in ["deploy/chart", "deploy/redis"] {
        let Some(said) = helm(&format!("helm lint --strict {chart}")) else {
            return;
        };
        let said = said.unwrap_or_else(|error| panic!("{error}"));
        assert!(said.contains("0 chart(s) failed"), "{said}");
    }
}

#[test]
fn what_cannot_work_is_refused_in_words() {
    let cases = [
        (
            "--set replicas=1 --set podDisruptionBudget.minAvailable=1",
            "'/podDisruptionBudget/minAvailable': maximum: got 1, want 0",
        ),
        (
            "--set podDisruptionBudget.minAvailable=2",
            "podDisruptionBudget.minAvailable=2 forbids every eviction of wam, which has 2 replicas",
        ),
        (
            "--set podDisruptionBudget.maxUnavailable=0",
            "'/podDisruptionBudget/maxUnavailable': minimum: got 0, want 1",
        ),
        (
            "--set podDisruptionBudget.maxUnavailable=null",
            "'/podDisruptionBudget/minAvailable': got null",
        ),
        ("--set replicas=0", "'/replicas': minimum: got 0, want 1"),
        (
            "--set redis.enabled=false",
            "'/externalRedis/host': minLength: got 0, want 1",
        ),
        (
            "--set redis.enabled=false --set externalRedis.host=redis",
            "'/externalRedis/password': minLength: got 0, want 1",
        ),
        ("--set redis.auth=null", "missing property 'auth'"),
        ("--set redis.auth.password=short", "'/auth/password'"),
        (
            "--set replcias=2",
            "additional properties 'replcias' not allowed",
        ),
        (
            "--set image.name=wam",
            "'/image': additional properties 'name' not allowed",
        ),
        (
            "--set redis.replicas=3",
            "additional properties 'replicas' not allowed",
        ),
        (
            "--set 'parts={api,skeduler}'",
            "'/parts/1': value must be one of 'api', 'executor', 'scheduler'",
        ),
        ("--set-json 'parts=[]'", "'/parts': minItems: got 0, want 1"),
        ("--set schedulerName=default-scheduler", "'/schedulerName'"),
        (
            "--set schedulerConfiguration.kind=KubeSchedulerConfiguration",
            "'/schedulerConfiguration/kind'",
        ),
        (
            "--set leaderElection.leaseDuration=15",
            "'/leaderElection/leaseDuration'",
        ),
        ("--set 'namespaces={Team A}'", "'/namespaces/0'"),
        (
            "--set networkPolicy.enabled=true",
            "'/networkPolicy/from': minItems: got 0, want 1",
        ),
        (
            "--kube-version 1.29.0",
            "incompatible with Kubernetes v1.29.0",
        ),
    ];
    for (values, wanted) in cases {
        let Some(said) = helm(&format!("helm template wam deploy/chart {values}")) else {
            return;
        };
        let said = said.expect_err(&format!("{values} is refused"));
        assert!(said.contains(wanted), "{values}: {said}");
    }
}

#[test]
fn every_choice_renders() {
    let parts = |documents: &[Value]| -> BTreeMap<String, Vec<String>> {
        let deployments = documents.iter().filter(|d| d["kind"] == "Deployment");
        deployments
            .map(|d| {
                let args = &d["spec"]["template"]["spec"]["containers"][0]["args"];
                let off = args.as_array().expect("arguments").iter();
                let off =
                    off.filter_map(|arg| arg.as_str()?.strip_prefix("--no-").map(str::to_owned));
                (
                    d["metadata"]["name"].as_str().expect("a name").to_owned(),
                    off.collect(),
                )
            })
            .collect()
    };
    let Some(all) = rendered("") else {
        return;
    };
    assert_eq!(parts(&all), BTreeMap::from([("wam".to_owned(), vec![])]));
    let apart = rendered("--set 'apart={scheduler}' --set replicasOf.scheduler=5").expect("Helm");
    assert_eq!(
        parts(&apart),
        BTreeMap::from([
            ("wam".to_owned(), vec!["scheduler".to_owned()]),
            (
                "wam-scheduler".to_owned(),
                vec!["api".to_owned(), "executor".to_owned()]
            ),
        ])
    );
    assert_eq!(
        find(&apart, "Deployment", "wam-scheduler")["spec"]["replicas"],
        5
    );

    // Writes are granted in the namespaces alone, and nothing reads a Secret.
    let narrow = rendered("--set 'namespaces={a,b}'").expect("Helm");
    let roles = narrow
        .iter()
        .filter(|d| d["kind"] == "ClusterRole" || d["kind"] == "Role");
    let mut written = Vec::new();
    for role in roles {
        for rule in role["rules"].as_array().expect("rules") {
            // Volumes are in no namespace.
            if rule["resources"][0] == "persistentvolumes" {
                continue;
            }
            let verbs = rule["verbs"].to_string();
            assert!(
                !verbs.contains('*') && !rule.to_string().contains("secrets"),
                "{rule}"
            );
            if ["create", "patch", "update", "delete"]
                .iter()
                .any(|verb| verbs.contains(verb))
            {
                written.push((role["kind"].clone(), role["metadata"]["namespace"].clone()));
            }
        }
    }
    assert!(
        written.iter().all(|(kind, _)| kind == "Role"),
        "{written:?}"
    );
    let external =
        "--set redis.enabled=false --set externalRedis.host=r --set externalRedis.password=secret";
    let external = rendered(external).expect("Helm");
    assert!(external.iter().all(|d| d["kind"] != "StatefulSet"));
    assert_eq!(
        find(&external, "Secret", "wam-redis")["stringData"]["redis-password"],
        "secret"
    );
    let peers = "--set networkPolicy.enabled=true --set 'networkPolicy.from[0].podSelector.matchLabels.a=b'";
    find(&rendered(peers).expect("Helm"), "NetworkPolicy", "wam");
    let profile = r#"--set-json 'schedulerConfiguration={"profiles":[{"schedulerName":"mine"}]}'"#;
    let configured = rendered(profile).expect("Helm");
    let config = &find(&configured, "ConfigMap", "wam-scheduler")["data"]["config.yaml"];
    let config: Value = serde_saphyr::from_str(config.as_str().expect("text")).expect("YAML");
    assert_eq!(config["kind"], "KubeSchedulerConfiguration");
    assert_eq!(config["profiles"][0]["schedulerName"], "mine");
    let unguarded = rendered("--set admissionPolicy.enabled=false").expect("Helm");
    assert!(
        unguarded
            .iter()
            .all(|d| d["kind"] != "ValidatingAdmissionPolicy")
    );
    let budget =
        rendered("--set replicas=3 --set podDisruptionBudget.minAvailable=2").expect("Helm");
    assert_eq!(
        find(&budget, "PodDisruptionBudget", "wam")["spec"]["minAvailable"],
        2
    );
    let pinned = format!(
        "--set image.repository=registry.example.com/wam --set image.digest=sha256:{}",
        "a".repeat(64)
    );
    let pinned = rendered(&pinned).expect("Helm");
    let image =
        &find(&pinned, "Deployment", "wam")["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(
        *image,
        format!("registry.example.com/wam@sha256:{}", "a".repeat(64))
    );
}

/// No pod of ours is root, writes to its root file system, or has a capability.
#[test]
fn every_pod_is_confined() {
    let Some(all) = rendered("") else {
        return;
    };
    let mut seen = 0;
    for workload in &all {
        let pod = &workload["spec"]["template"]["spec"];
        if pod.is_null() {
            continue;
        }
        seen += 1;
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        assert_eq!(pod["enableServiceLinks"], false);
        for container in pod["containers"].as_array().expect("containers") {
            let context = &container["securityContext"];
            assert_eq!(context["readOnlyRootFilesystem"], true);
            assert_eq!(context["allowPrivilegeEscalation"], false);
            assert_eq!(context["capabilities"]["drop"][0], "ALL");
            for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
                assert!(container[field].is_object(), "{field}");
            }
            assert!(container["resources"]["requests"]["memory"].is_string());
        }
    }
    assert_eq!(seen, 2);
}

fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read_to_string(&path).expect("text"));
        }
    }
    found
}

/// `deploy/render.sh` gives, byte for byte, what is committed.
#[test]
fn the_plain_manifests_are_the_charts() {
    let Some(helm) = support::require("the chart (Helm)", helm_binary()) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let status = Command::new(root().join("deploy/render.sh"))
        .arg(folder.path())
        .env("HELM", helm)
        .status()
        .expect("a shell");
    assert!(status.success());
    for name in ["wam", "wam-scheduler"] {
        let named = |base: &Path| -> BTreeMap<PathBuf, String> {
            let relative = |(path, text): (PathBuf, String)| {
                (path.strip_prefix(base).expect("below").to_owned(), text)
            };
            files(&base.join(name)).into_iter().map(relative).collect()
        };
        assert!(
            named(folder.path()) == named(&root().join("deploy")),
            "deploy/{name} is not what the chart renders: run deploy/render.sh"
        );
    }
}

/// `kubectl apply -f` takes every file of these folders.
#[test]
fn the_plain_folders_hold_manifests_and_no_secret() {
    for name in ["wam", "wam-scheduler", "test"] {
        let found = files(&root().join("deploy").join(name));
        assert!(!found.is_empty());
        for (path, text) in found {
            assert_eq!(
                path.extension().and_then(|e| e.to_str()),
                Some("yaml"),
                "{}",
                path.display()
            );
            for document in documents(&text) {
                assert!(document["kind"].is_string(), "{}", path.display());
                assert_ne!(document["kind"], "Secret", "{}", path.display());
                assert_eq!(document["metadata"]["labels"]["helm.sh/chart"], Value::Null);
            }
        }
    }
}

/// The table of rights in docs/deploy.md, made of the chart's own rules.
#[test]
fn the_documented_rights_are_the_charts() {
    let rules = std::fs::read_to_string(root().join("deploy/chart/templates/_rules.tpl"))
        .expect("the rules");
    let mut table = String::from("| right | of | where | why |\n|---|---|---|---|\n");
    let mut place = "";
    for line in rules.lines() {
        if let Some(name) = line.strip_prefix("{{- define \"wam.rules.") {
            place = match name.trim_end_matches("\" -}}") {
                "cluster" => "cluster",
                "namespaced" => "`namespaces`, or cluster",
                "lease" => "the release's namespace",
                "leaseByName" => "that one lease",
                other => panic!("rules of an unknown place: {other}"),
            };
        } else if line.starts_with("{{") {
            place = "";
        } else if !place.is_empty() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let [part, verbs, resource, why] = words[..] else {
                panic!("no rule: {line}");
            };
            let part = if part == "all" { "all parts" } else { part };
            let resource = resource.trim_start_matches("core/");
            table.push_str(&format!(
                "| {} `{resource}` | {part} | {place} | {why} |\n",
                verbs.replace(',', ", ")
            ));
        }
    }
    let path = root().join("docs/deploy.md");
    let text = std::fs::read_to_string(&path).expect("docs/deploy.md");
    let (begin, end) = ("<!-- rights -->\n", "<!-- /rights -->");
    let (before, rest) = text.split_once(begin).expect("where the table begins");
    let (there, after) = rest.split_once(end).expect("where it ends");
    if there != table && std::env::var_os("WAM_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{table}{end}{after}")).expect("written");
        return;
    }
    assert_eq!(
        there, table,
        "WAM_BLESS=1 cargo test --test deploy_chart writes it"
    );
}
