//! `wam serve` is killed in the middle of actions, at any moment, and started again: every action ends
//! truthfully, and replicas and placement are as its outcome says. The cluster is the sandbox's, over a
//! socket; the store is a real Redis; `kubectl` is the witness.
#![allow(clippy::disallowed_methods, missing_docs)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::process::Wam;
use support::rpc::Caller;
use support::scene::{Dice, Scene, Seen, create, node, pod};

/// Short times, so that a takeover is quick.
const QUICK: [&str; 8] = [
    "--executor-lease-duration",
    "1s",
    "--leader-elect-lease-duration",
    "2s",
    "--leader-elect-renew-deadline",
    "1500ms",
    "--leader-elect-retry-period",
    "200ms",
];

/// What happens while the server is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// Another template and back again: the template is the same in the end.
    ThereAndBack,
    /// `kubectl rollout undo` to the revision before: all pods are replaced.
    Undo,
}

/// Both workloads as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Both {
    a: Seen,
    b: Seen,
}

struct Round {
    method: &'static str,
    argument: Value,
    /// The uids of the pods that are to go, and the node each one's successor belongs on (of which
    /// workload); `None`: none.
    goes: Vec<(&'static str, String, Option<String>)>,
    /// What comes without anything going.
    comes: Option<(&'static str, String)>,
}

struct Ordeal {
    // Before the scene, so that it ends first.
    server: Option<(Wam, Caller)>,
    scene: Scene,
    dice: Dice,
}

impl Ordeal {
    async fn both(&self) -> Both {
        Both {
            a: self.scene.settled("test-a").await,
            b: self.scene.settled("test-b").await,
        }
    }

    fn pick<'s>(&mut self, of: &'s Seen) -> (&'s str, &'s str, &'s str) {
        let at = self.dice.roll(of.pods.len());
        let (uid, (node, name)) = of.pods.iter().nth(at).expect("a pod");
        (uid, node, name)
    }

    fn elsewhere(&mut self, than: &str) -> String {
        loop {
            let node = self.dice.roll(8).to_string();
            if node != than {
                return node;
            }
        }
    }

    fn moving(&mut self, before: &Both) -> Round {
        let (uid, from, name) = self.pick(&before.a);
        let to = self.elsewhere(from);
        Round {
            method: "action.Move",
            argument: json!({"pod": pod(name), "node": node(&to)}),
            goes: vec![("test-a", uid.to_owned(), Some(to))],
            comes: None,
        }
    }

    fn creating(&mut self) -> Round {
        let to = self.dice.roll(8).to_string();
        Round {
            method: "action.Create",
            argument: create("test-a", &to),
            goes: vec![],
            comes: Some(("test-a", to)),
        }
    }

    fn deleting(&mut self, before: &Both) -> Round {
        let (uid, _, name) = self.pick(&before.a);
        Round {
            method: "action.Delete",
            argument: json!({"pod": pod(name)}),
            goes: vec![("test-a", uid.to_owned(), None)],
            comes: None,
        }
    }

    fn swapping(&mut self, before: &Both) -> Option<Round> {
        let (x, x_node, x_name) = self.pick(&before.a);
        let (y, y_node, y_name) = self.pick(&before.b);
        (x_node != y_node).then(|| Round {
            method: "action.Swap",
            argument: json!({"x": pod(x_name), "y": [pod(y_name)]}),
            goes: vec![
                ("test-a", x.to_owned(), Some(y_node.to_owned())),
                ("test-b", y.to_owned(), Some(x_node.to_owned())),
            ],
            comes: None,
        })
    }

    /// Submits, kills the server at a random moment, starts it again, and waits for the end.
    async fn interrupted(&mut self, round: &Round, meanwhile: Meanwhile) -> Value {
        let (server, caller) = self.server.take().expect("a server");
        let id = caller.submit(round.method, round.argument.clone()).await;
        if meanwhile == Meanwhile::Nothing {
            // Most of them while it is under way, some when it is over.
            let most = [250, 600][self.dice.roll(2)];
            let moment = Duration::from_millis(self.dice.roll(most) as u64);
            tokio::time::sleep(moment).await;
        } else {
            self.until_scaled(&caller, &id).await;
        }
        server.kill();
        let image = [
            "set",
            "image",
            "deployment/test-a",
            "-n",
            "default",
            "pause=registry.k8s.io/pause:9",
        ];
        let undo = ["rollout", "undo", "deployment/test-a", "-n", "default"];
        match meanwhile {
            Meanwhile::Nothing => {}
            Meanwhile::ThereAndBack => {
                self.scene.kubectl(&image);
                self.scene.kubectl(&undo);
            }
            Meanwhile::Undo => {
                self.scene.kubectl(&undo);
            }
        }
        let (server, caller) = self.scene.serve(&QUICK);
        let action = caller.ended(&id).await;
        self.server = Some((server, caller));
        action
    }

    /// Waits for the replica patch: the step that scales up is not pending any more, and the count moved.
    async fn until_scaled(&self, caller: &Caller, id: &str) {
        let before = self.scene.deployment("test-a")["spec"]["replicas"].clone();
        for _ in 0..200 {
            let action = caller.get(id).await.expect("the action");
            let scaled = action["steps"].as_array().is_some_and(|steps| {
                steps.iter().any(|step| {
                    step["name"]
                        .as_str()
                        .is_some_and(|name| name.contains("by +1"))
                        && step["state"] != "Pending"
                })
            });
            let moved = self.scene.deployment("test-a")["spec"]["replicas"] != before;
            if scaled || moved || action["state"] != "Running" && action["state"] != "Pending" {
                return;
            }
        }
        panic!("the action {id} does not scale");
    }

    async fn check(
        &self,
        round: &Round,
        action: &Value,
        before: &Both,
        meanwhile: Meanwhile,
    ) -> Both {
        let after = self.both().await;
        let story = format!(
            "{} {} while {meanwhile:?}\nbefore {before:#?}\nafter {after:#?}\n{action:#}",
            round.method, round.argument
        );
        let pairs = [
            ("test-a", &before.a, &after.a),
            ("test-b", &before.b, &after.b),
        ];
        let succeeded = action["state"] == "Succeeded";
        if meanwhile == Meanwhile::Nothing {
            assert!(succeeded, "a killed server is no reason to fail\n{story}");
        }
        for (name, before, after) in pairs {
            let change = match (&round.comes, succeeded) {
                (Some((of, _)), true) if *of == name => 1,
                (None, true) => round
                    .goes
                    .iter()
                    .filter(|(of, _, to)| *of == name && to.is_none())
                    .count()
                    .try_into()
                    .map(|gone: i64| -gone)
                    .expect("few"),
                _ => 0,
            };
            assert_eq!(
                after.replicas,
                before.replicas + change,
                "replicas of {name}: {story}"
            );
        }
        let of = |name: &str| {
            if name == "test-a" {
                (&before.a, &after.a)
            } else {
                (&before.b, &after.b)
            }
        };
        if succeeded {
            for (name, uid, _) in &round.goes {
                assert!(
                    !of(name).1.pods.contains_key(uid),
                    "{uid} is there: {story}"
                );
            }
        }
        // A rollout moves pods as it likes; without one, nobody moves but who was told to.
        if meanwhile != Meanwhile::Undo && succeeded {
            let told = action["pods"].as_array().expect("pods");
            let mut wanted: Vec<String> = round
                .goes
                .iter()
                .filter_map(|(_, _, to)| to.clone())
                .collect();
            wanted.extend(round.comes.iter().map(|(_, to)| to.clone()));
            let mut nodes: Vec<String> = told
                .iter()
                .map(|pod| {
                    pod["node"]
                        .as_str()
                        .expect("a node")
                        .trim_start_matches("k3d-aces-agent-")
                        .to_owned()
                })
                .collect();
            wanted.sort();
            nodes.sort();
            assert_eq!(nodes, wanted, "{story}");
        }
        if meanwhile == Meanwhile::Nothing {
            for (name, before, after) in pairs {
                let mut wanted = before.clone();
                for (_, uid, _) in round.goes.iter().filter(|(of, ..)| *of == name) {
                    wanted.pods.remove(uid);
                }
                let stayed = wanted
                    .uids()
                    .iter()
                    .all(|uid| after.pods.contains_key(*uid));
                assert!(
                    stayed,
                    "a pod of nobody's choosing is gone from {name}: {story}"
                );
                let new: Vec<&String> = after
                    .pods
                    .keys()
                    .filter(|uid| !wanted.pods.contains_key(*uid))
                    .collect();
                for uid in new {
                    let told = action["pods"]
                        .as_array()
                        .is_some_and(|pods| pods.iter().any(|pod| pod["uid"] == **uid));
                    assert!(told, "a new pod that nobody spoke of: {uid}: {story}");
                }
            }
        }
        let left = self.scene.leftovers().await;
        assert!(left.is_empty(), "left in Redis: {left:?}\n{story}");
        after
    }

    async fn round(&mut self, round: Round, before: Both, meanwhile: Meanwhile) -> Both {
        let begun = Instant::now();
        let action = self.interrupted(&round, meanwhile).await;
        let ended = begun.elapsed();
        let after = self.check(&round, &action, &before, meanwhile).await;
        println!(
            "{} {meanwhile:?}: {} {} after {ended:.1?}",
            round.method, action["state"], action["message"]
        );
        after
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_every_action_ends_truthfully() {
    let suite = "recovery (kubectl, redis-server)";
    let latencies = ["--start-latency", "50ms", "--stop-latency", "50ms"];
    let Some(scene) = support::require(suite, Scene::start(&latencies)) else {
        return;
    };
    let rounds: usize = std::env::var("WAM_TEST_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(50);
    // A revision to go back to.
    scene.kubectl(&[
        "set",
        "image",
        "deployment/test-a",
        "-n",
        "default",
        "pause=registry.k8s.io/pause:3.9",
    ]);
    let (server, caller) = scene.serve(&QUICK);
    caller.until_ready().await;
    for (name, on) in [
        ("test-a", "1"),
        ("test-a", "2"),
        ("test-a", "3"),
        ("test-b", "4"),
        ("test-b", "5"),
    ] {
        caller.done("action.Create", create(name, on)).await;
    }
    let mut ordeal = Ordeal {
        scene,
        server: Some((server, caller)),
        dice: Dice::seeded(20_261_122),
    };
    let mut before = ordeal.both().await;
    for number in 0..rounds {
        let meanwhile = match number % 10 {
            4 => Meanwhile::ThereAndBack,
            9 => Meanwhile::Undo,
            _ => Meanwhile::Nothing,
        };
        let moving = ordeal.moving(&before);
        print!("{number}: ");
        before = ordeal.round(moving, before, meanwhile).await;
    }
    for _ in 0..(rounds / 10).max(1) {
        let creating = ordeal.creating();
        before = ordeal.round(creating, before, Meanwhile::Nothing).await;
        if let Some(swapping) = ordeal.swapping(&before) {
            before = ordeal.round(swapping, before, Meanwhile::Nothing).await;
        }
        let deleting = ordeal.deleting(&before);
        before = ordeal.round(deleting, before, Meanwhile::Nothing).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_hands_the_action_over_at_once() {
    let suite = "hand-over (kubectl, redis-server)";
    let latencies = ["--start-latency", "6s", "--stop-latency", "50ms"];
    let Some(scene) = support::require(suite, Scene::start(&latencies)) else {
        return;
    };
    // Leases so long that waiting for one to run out would be seen.
    let patient = [
        "--executor-lease-duration",
        "600s",
        "--leader-elect-lease-duration",
        "600s",
    ];
    let (server, caller) = scene.serve(&patient);
    caller.until_ready().await;
    caller.done("action.Create", create("test-a", "1")).await;
    let name = scene
        .settled("test-a")
        .await
        .pods
        .values()
        .next()
        .expect("a pod")
        .1
        .clone();
    let id = caller
        .submit("action.Move", json!({"pod": pod(&name), "node": node("2")}))
        .await;
    until_step(&caller, &id, "await new pod Ready", "Running").await;
    let stopping = Instant::now();
    assert!(server.stop(), "it shuts down cleanly");
    let stopped = stopping.elapsed();
    let (_server, caller) = scene.serve(&patient);
    let begun = Instant::now();
    let action = caller.ended(&id).await;
    let took = begun.elapsed();
    println!("stopped in {stopped:.1?}, ended {took:.1?} after the restart");
    assert_eq!(action["state"], "Succeeded", "{action:#}");
    assert_eq!(scene.settled("test-a").await.nodes(), ["2"]);
    assert!(
        stopped < Duration::from_secs(60),
        "stopping took {stopped:?}"
    );
    assert!(
        took < Duration::from_secs(300),
        "the action waited for a lease: {took:?}"
    );
}

/// Waits until a step is in that state.
async fn until_step(caller: &Caller, id: &str, name: &str, state: &str) {
    for _ in 0..3000 {
        let action = caller.get(id).await.expect("the action");
        let there = action["steps"].as_array().is_some_and(|steps| {
            steps
                .iter()
                .any(|step| step["name"] == name && step["state"] == state)
        });
        if there {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!(
        "{name} is not {state}: {:#}",
        caller.get(id).await.expect("the action")
    );
}
