//! wam in every kind of bad weather: the four actions under faults at the API server's edge, each kind for itself. All
//! end Succeeded, and kubectl, to whom nothing happens, sees what they promise: by uid the pods that
//! were named are gone and no others, the new ones are where they belong, nothing is left behind.
//!
//! Faults strike by chance from a seed; which calls they meet depends on the machine. `STORM_SEED` throws other dice.
#![allow(clippy::disallowed_methods, missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};
use support::require;
use support::rpc::Caller;
use support::scene::{Scene, Seen, node, pod};

/// Deployments of a scene: what the actions of one storm are about is apart from each other.
const WORKLOADS: [&str; 5] = ["storm-1", "storm-2", "storm-3", "storm-4", "storm-5"];
const REPLICAS: usize = 2;

fn manifests() -> String {
    let mut text = String::new();
    for name in WORKLOADS {
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "replicas": REPLICAS,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"schedulerName": "wam-scheduler", "containers": [{
                        "name": "pause", "image": "registry.k8s.io/pause:3.10",
                        "resources": {"requests": {"cpu": "10m"}},
                    }]},
                },
            },
        });
        writeln!(text, "---\n{deployment}").expect("text");
    }
    text
}

/// The sandbox's weather.
struct Weather {
    url: String,
    http: reqwest::Client,
}

impl Weather {
    fn of(scene: &Scene) -> Self {
        let text = std::fs::read_to_string(&scene.kubeconfig).expect("a kubeconfig");
        let server = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("server: "));
        Self {
            url: format!("{}/sandbox/faults", server.expect("an address")),
            http: reqwest::Client::new(),
        }
    }

    /// These rules hold; they are about wam alone.
    async fn becomes(&self, rules: &[&str]) {
        let lines: Vec<String> = rules
            .iter()
            .map(|rule| match rule.contains(" refused") {
                true => (*rule).to_owned(),
                false => format!("{rule} agent=wam/*"),
            })
            .collect();
        let put = self.http.put(&self.url).body(lines.join("\n"));
        let answer = put.send().await.expect("an answer");
        assert_eq!(
            answer.status(),
            200,
            "{}",
            answer.text().await.expect("text")
        );
    }

    /// It is fine again; how often it struck.
    async fn clears(&self) -> u64 {
        let told = self.http.get(&self.url).send().await.expect("an answer");
        let told: Value = told.json().await.expect("JSON");
        let answer = self.http.delete(&self.url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let struck = |rule: &Value| rule["injected"].as_u64().expect("a count");
        told["faults"]
            .as_array()
            .expect("rules")
            .iter()
            .map(struck)
            .sum()
    }
}

struct Walk<'a> {
    scene: &'a Scene,
    caller: &'a Caller,
    weather: Weather,
    rounds: usize,
}

/// A node where the workload has no pod, and that differs with `salt`.
fn elsewhere(seen: &Seen, salt: usize) -> String {
    let taken: BTreeSet<&str> = seen.nodes().into_iter().collect();
    let mut free = (0..8)
        .map(|n| n.to_string())
        .filter(|n| !taken.contains(n.as_str()));
    free.nth(salt % 3).expect("there are more nodes than pods")
}

fn first(seen: &Seen) -> (&str, &str, &str) {
    let (uid, (node, name)) = seen.pods.iter().next().expect("a pod");
    (uid, node, name)
}

/// The uids that went and the nodes of those that came.
fn difference<'a>(before: &'a Seen, after: &'a Seen) -> (Vec<&'a str>, Vec<&'a str>) {
    let went = before.uids().difference(&after.uids()).copied().collect();
    let came = after
        .pods
        .iter()
        .filter(|(uid, _)| !before.pods.contains_key(*uid))
        .map(|(_, (node, _))| node.as_str())
        .collect();
    (went, came)
}

impl Walk<'_> {
    async fn seen(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        for name in WORKLOADS {
            all.push(self.scene.settled(name).await);
        }
        all
    }

    /// Two pods that can change places, in good weather.
    async fn apart(&self) {
        let (x, y) = (
            self.scene.settled(WORKLOADS[3]).await,
            self.scene.settled(WORKLOADS[4]).await,
        );
        let (_, y_node, y_name) = first(&y);
        if first(&x).1 == y_node {
            let to = node(&elsewhere(&y, 0));
            self.caller
                .done("action.Move", json!({"pod": pod(y_name), "node": to}))
                .await;
        }
    }

    /// Create, Delete, Move and Swap at once, while this weather lasts.
    async fn storm(&mut self, rules: &[&str]) {
        self.rounds += 1;
        let before = loop {
            self.apart().await;
            let seen = self.seen().await;
            if first(&seen[3]).1 != first(&seen[4]).1 {
                break seen;
            }
        };
        // What grows in one round shrinks in the next.
        let (grows, shrinks) = if self.rounds % 2 == 1 { (0, 1) } else { (1, 0) };
        let on = elsewhere(&before[grows], self.rounds);
        let (gone, _, gone_name) = first(&before[shrinks]);
        let (moved, _, moved_name) = first(&before[2]);
        let to = elsewhere(&before[2], self.rounds);
        let (x, x_node, x_name) = first(&before[3]);
        let (y, y_node, y_name) = first(&before[4]);
        let create = json!({"workload": {"namespace": "default", "apiVersion": "apps/v1",
            "kind": "Deployment", "name": WORKLOADS[grows]}, "node": node(&on)});
        let calls = [
            ("action.Create", create),
            ("action.Delete", json!({"pod": pod(gone_name)})),
            (
                "action.Move",
                json!({"pod": pod(moved_name), "node": node(&to)}),
            ),
            ("action.Swap", json!({"x": pod(x_name), "y": [pod(y_name)]})),
        ];
        self.weather.becomes(rules).await;
        let mut ids = Vec::new();
        for (method, argument) in calls {
            ids.push(self.submitted(method, &argument).await);
        }
        let mut story = format!("{rules:?}\n");
        let mut states = Vec::new();
        for id in &ids {
            let action = self.caller.ended(id).await;
            writeln!(story, "{action:#}").expect("text");
            states.push(action["state"].as_str().expect("a state").to_owned());
        }
        let struck = self.weather.clears().await;
        println!("{rules:?} struck {struck} times: {states:?}");
        assert!(states.iter().all(|state| state == "Succeeded"), "{story}");
        assert!(struck > 0, "the weather was fine: {rules:?}");
        let after = self.seen().await;
        writeln!(story, "before {before:#?}\nafter {after:#?}").expect("text");

        let (none, one_more) = difference(&before[grows], &after[grows]);
        assert_eq!(
            (none, one_more),
            (vec![], vec![on.as_str()]),
            "Create: {story}"
        );
        assert_eq!(after[grows].replicas, before[grows].replicas + 1, "{story}");
        let (went, came) = difference(&before[shrinks], &after[shrinks]);
        assert_eq!((went, came), (vec![gone], vec![]), "Delete: {story}");
        assert_eq!(
            after[shrinks].replicas,
            before[shrinks].replicas - 1,
            "{story}"
        );
        let (went, came) = difference(&before[2], &after[2]);
        assert_eq!(
            (went, came),
            (vec![moved], vec![to.as_str()]),
            "Move: {story}"
        );
        let (went, came) = difference(&before[3], &after[3]);
        assert_eq!((went, came), (vec![x], vec![y_node]), "Swap: {story}");
        let (went, came) = difference(&before[4], &after[4]);
        assert_eq!((went, came), (vec![y], vec![x_node]), "Swap: {story}");
        for (before, after) in before.iter().zip(&after).skip(2) {
            assert_eq!(before.replicas, after.replicas, "{story}");
        }
        let left = self.scene.leftovers().await;
        assert!(left.is_empty(), "{left:?} {story}");
    }

    /// A call is refused while the API server cannot be asked, and nothing is stored: its caller tries again.
    async fn submitted(&self, method: &str, argument: &Value) -> String {
        let mut last = Value::Null;
        for _ in 0..600 {
            let answer = self.caller.call(method, argument.clone()).await;
            let answer = answer.expect("an answer");
            if let Some(id) = answer["result"]["actionId"].as_str() {
                return id.to_owned();
            }
            last = answer["error"].clone();
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("{method} is not taken: {last}");
    }
}

async fn storms(suite: &str, kinds: &[&[&str]]) {
    let seed = std::env::var("STORM_SEED").unwrap_or_else(|_| "0".to_owned());
    println!("seed {seed} (STORM_SEED)");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("storm.yaml");
    std::fs::write(&file, manifests()).expect("written");
    let args = [
        "--start-latency",
        "50ms",
        "--stop-latency",
        "50ms",
        "--seed",
        &seed,
        "--apply",
        file.to_str().expect("text"),
    ];
    let Some(scene) = require(suite, Scene::start(&args)) else {
        return;
    };
    let (server, caller) = scene.serve(&[]);
    caller.until_ready().await;
    let mut walk = Walk {
        scene: &scene,
        caller: &caller,
        weather: Weather::of(&scene),
        rounds: 0,
    };
    for rules in kinds {
        walk.storm(rules).await;
    }
    assert!(server.stop(), "it shuts down cleanly");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_late_or_refuse() {
    storms(
        "storm: refusals",
        &[
            &["* * latency=20ms..300ms"],
            &["write * 409 p=0.3"],
            &["* * 429 retry-after=1s p=0.3"],
            &["* * 429 body=status p=0.3"],
            &["* * 500 p=0.3"],
            &["* * 503 p=0.3"],
            &["* * 504 p=0.3"],
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_never_come_or_lie() {
    storms(
        "storm: lost replies",
        &[
            &["write * lost-reply p=0.3"],
            &["* * reset p=0.3"],
            &["* * refused for=3s"],
            &["write * 500 done=true p=0.3"],
            &["write * 504 done=true p=0.3"],
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_end_and_lists_of_the_past() {
    storms(
        "storm: watches",
        &[
            &["watch * cut after=2"],
            &["watch * cut after=2 torn=true"],
            &["watch * 410 after=2"],
            &["watch * 410 as=http p=0.5", "watch * cut after=3"],
            &["list * 410 p=0.3", "watch * 410 after=3"],
            &[
                // What watches begin with. (A list that asks for the newest state gets it from every real
                // server, and the executor relies on that.)
                "list /api/v1/pods stale behind=10 quorum=true",
                "list /apis/apps/v1/replicasets stale behind=10 quorum=true",
                "list /apis/apps/v1/deployments stale behind=10 quorum=true",
                "watch * 410 after=3",
            ],
        ],
    )
    .await;
}
