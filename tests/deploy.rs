//! The deployment on a real API server: Helm installs the chart, and `wam serve`, started as the chart starts it and
//! with the token of the chart's own service accounts, does all that it is for; the audit log shows that the rights
//! suffice and that none is too much; the admission policy holds our own account; upgrade and uninstall leave what the
//! documentation says. The original's four lines, as its README has them.
//!
//! There is no container runtime: fake kubelets play the nodes, and the replicas are processes beside the test.
#![allow(clippy::disallowed_methods, missing_docs)]

mod deploy_support;
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use deploy_support::redis::ChartRedis;
use deploy_support::release::{Replica, replica, secret};
use deploy_support::{account, helm_binary, shell, until};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use support::Unavailable;
use support::audit;
use support::kubectl::{kubectl, kubectl_json};
use support::process::Wam;
use support::rpc::Caller;
use support::testbed::{Options, Testbed};

/// The control plane, its nodes, and where files go.
struct Ground {
    testbed: Testbed,
    folder: tempfile::TempDir,
    kubelets: Vec<Wam>,
}

impl Ground {
    fn start() -> Result<Self, Unavailable> {
        helm_binary()?;
        if !deploy_support::redis::is_there() {
            return Err(Unavailable("there is no redis-server".into()));
        }
        let testbed = Testbed::start_with(&Options {
            scheduler: true,
            audit: true,
            ..Options::default()
        })?;
        let mut ground = Self {
            testbed,
            folder: tempfile::tempdir().expect("a folder"),
            kubelets: Vec::new(),
        };
        ground.nodes(&["--nodes", "8"]);
        ground.nodes(&[
            "--nodes",
            "1",
            "--name-prefix",
            "bad-",
            "--never-ready",
            "1",
        ]);
        let wait = [
            "wait",
            "node",
            "--all",
            "--for=condition=Ready",
            "--timeout=120s",
        ];
        kubectl(ground.admin(), &wait).expect("nodes are Ready");
        // Its pods never get Ready.
        kubectl(ground.admin(), &["cordon", "bad-0"]).expect("cordoned");
        Ok(ground)
    }

    fn nodes(&mut self, more: &[&str]) {
        let admin = self.admin().to_str().expect("text").to_owned();
        let mut args = vec!["kubelets", "--kubeconfig", &admin];
        args.extend(["--start-latency", "100ms", "--stop-latency", "100ms"]);
        args.extend(more);
        let mut kubelets = Wam::start(&args, &[]);
        kubelets.line("playing ");
        self.kubelets.push(kubelets);
    }

    fn admin(&self) -> &Path {
        self.testbed.kubeconfig()
    }

    /// A line of the documentation, as the administrator.
    fn run(&self, line: &str) -> String {
        println!("$ {line}");
        shell(line, Some(self.admin()), self.folder.path())
            .unwrap_or_else(|error| panic!("{line}\n{error}"))
    }

    fn apply(&self, object: &Value) {
        let file = self.folder.path().join("object.json");
        std::fs::write(&file, object.to_string()).expect("written");
        kubectl(self.admin(), &["apply", "-f", file.to_str().expect("text")]).expect("applied");
    }

    /// A volume, as a cluster's provisioner would make one.
    fn volume(&self, name: &str, class: &str) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "hostPath": {"path": "/tmp"}, "persistentVolumeReclaimPolicy": "Retain",
            },
        }));
    }

    fn account(&self, namespace: &str, name: &str) -> PathBuf {
        account(self.admin(), namespace, name, self.folder.path())
    }

    fn replica(&self, namespace: &str, name: &str, redis: &ChartRedis) -> Replica {
        let account = self.account(namespace, name);
        replica(self.admin(), &account, namespace, name, redis)
    }

    /// Every object of every kind that can be listed, but what the control plane itself makes and forgets.
    fn objects(&self) -> BTreeSet<String> {
        let kinds = kubectl(
            self.admin(),
            &["api-resources", "--verbs=list", "-o", "name"],
        )
        .expect("the kinds");
        let kinds: Vec<&str> = kinds
            .lines()
            .filter(|kind| !kind.starts_with("events") && !kind.starts_with("componentstatuses"))
            .collect();
        let list = kubectl_json(self.admin(), &["get", &kinds.join(","), "-A"]);
        list["items"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|item| {
                let meta = &item["metadata"];
                let namespace = meta["namespace"].as_str().unwrap_or("-");
                format!(
                    "{} {namespace} {}",
                    item["kind"].as_str().unwrap_or("?"),
                    meta["name"].as_str().unwrap_or("?")
                )
            })
            .collect()
    }

    /// The Deployments test-a and test-b in a namespace.
    fn workloads(&self, namespace: &str) {
        for name in ["test-a", "test-b"] {
            let text = std::fs::read_to_string(
                deploy_support::root().join(format!("deploy/test/{name}.yaml")),
            )
            .expect("a manifest");
            let text = text.replace("namespace: default", &format!("namespace: {namespace}"));
            let file = self.folder.path().join("workload.yaml");
            std::fs::write(&file, text).expect("written");
            kubectl(self.admin(), &["apply", "-f", file.to_str().expect("text")]).expect("applied");
        }
    }
}

fn node(number: u8) -> Value {
    json!({"name": format!("k3d-aces-agent-{number}")})
}

/// What is done with the workloads of a namespace.
struct Walk<'a> {
    ground: &'a Ground,
    caller: &'a Caller,
    namespace: &'a str,
}

impl Walk<'_> {
    fn create(&self, name: &str, on: u8) -> Value {
        json!({
            "workload": {
                "namespace": self.namespace, "apiVersion": "apps/v1", "kind": "Deployment", "name": name
            },
            "node": node(on),
        })
    }

    /// The pods of a workload on a node.
    fn pods(&self, name: &str, on: u8) -> Vec<Value> {
        let (label, field) = (
            format!("app={name}"),
            format!("spec.nodeName=k3d-aces-agent-{on}"),
        );
        let args = [
            "get",
            "pods",
            "-n",
            self.namespace,
            "-l",
            &label,
            "--field-selector",
            &field,
        ];
        kubectl_json(self.ground.admin(), &args)["items"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|pod| json!({"namespace": self.namespace, "name": pod["metadata"]["name"]}))
            .collect()
    }

    fn pod(&self, name: &str, on: u8) -> Value {
        let mut pods = self.pods(name, on);
        assert_eq!(pods.len(), 1, "pods of {name} on {on}");
        pods.remove(0)
    }

    /// Create, delete, move and swap: the original's walk.
    async fn whole(&self) {
        let caller = self.caller;
        caller.done("action.Create", self.create("test-a", 7)).await;
        caller.done("action.Create", self.create("test-a", 4)).await;
        caller
            .done("action.Delete", json!({"pod": self.pod("test-a", 7)}))
            .await;
        let moved = json!({"pod": self.pod("test-a", 4), "node": node(1)});
        caller.done("action.Move", moved).await;
        for (name, on) in [("test-b", 4), ("test-b", 4), ("test-a", 7)] {
            caller.done("action.Create", self.create(name, on)).await;
        }
        let swap = json!({"x": self.pod("test-a", 7), "y": self.pods("test-b", 4)});
        caller.done("action.Swap", swap).await;
        assert_eq!(
            (self.pods("test-a", 1).len(), self.pods("test-a", 4).len()),
            (1, 1)
        );
        assert_eq!(self.pods("test-b", 7).len(), 2);
    }

    /// What goes wrong and is put back, what is refused, what is only asked.
    async fn rest(&self) {
        let caller = self.caller;
        // A dry run asks the budgets.
        let mut asked = json!({"pod": self.pod("test-a", 1), "node": node(2)});
        asked["options"] = json!({"dryRun": true, "strategy": "Recreate"});
        let answer = caller
            .call("action.Move", asked.clone())
            .await
            .expect("an answer");
        assert_eq!(answer["error"], Value::Null, "{answer}");
        assert_eq!(self.pods("test-a", 1).len(), 1);
        asked["options"] = json!({"strategy": "Recreate"});
        caller.done("action.Move", asked).await;
        // A pod that never gets Ready: the way back.
        kubectl(self.ground.admin(), &["uncordon", "bad-0"]).expect("uncordoned");
        let mut never = json!({"pod": self.pod("test-a", 2), "node": {"name": "bad-0"}});
        never["options"] = json!({"deadlineSeconds": 15, "strategy": "Surge"});
        let id = caller.submit("action.Move", never).await;
        let ended = caller.ended(&id).await;
        kubectl(self.ground.admin(), &["cordon", "bad-0"]).expect("cordoned");
        assert_eq!(ended["state"], "Compensated", "{ended:#}");
        assert_eq!(self.pods("test-a", 2).len(), 1, "the old pod stays");
        // A budget forbids it.
        let budget = [
            "create",
            "pdb",
            "nobody",
            "--selector=app=test-b",
            "--min-available=2",
        ];
        kubectl(
            self.ground.admin(),
            &[&budget[..], &["-n", self.namespace]].concat(),
        )
        .expect("a budget");
        until("the budget is counted", async || {
            let found = kubectl_json(
                self.ground.admin(),
                &["get", "pdb", "nobody", "-n", self.namespace],
            );
            match found["status"]["currentHealthy"].as_i64() {
                Some(2) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let mut guarded = json!({"pod": self.pods("test-b", 7)[0]});
        guarded["options"] = json!({"deadlineSeconds": 5});
        let id = caller.submit("action.Delete", guarded).await;
        let ended = caller.ended(&id).await;
        assert_eq!(
            (&ended["state"], &ended["reason"]),
            (&json!("Failed"), &json!("DisruptionBudget")),
            "{ended:#}"
        );
        self.too_big().await;
        self.displaced().await;
        self.volumes().await;
    }

    /// A pod that asks for most of a node, and one of higher priority that asks for it too.
    async fn displaced(&self) {
        let admin = self.ground.admin();
        self.ground.apply(&json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}, "value": 1000,
        }));
        let node = kubectl_json(admin, &["get", "node", "k3d-aces-agent-6"]);
        let room = node["status"]["allocatable"]["cpu"]
            .as_str()
            .expect("its room");
        let room: u64 = match room.strip_suffix('m') {
            Some(milli) => milli.parse().expect("a number"),
            None => room.parse::<u64>().expect("a number") * 1000,
        };
        let pod = |name: &str, class: &str| {
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "schedulerName": "wam-scheduler", "priorityClassName": class, "terminationGracePeriodSeconds": 1,
                    "nodeSelector": {"kubernetes.io/hostname": "k3d-aces-agent-6"},
                    "containers": [{
                        "name": "a", "image": "a",
                        "resources": {"requests": {"cpu": format!("{}m", room * 6 / 10)}},
                    }],
                },
            })
        };
        for (name, class) in [("patient", ""), ("urgent", "urgent")] {
            self.ground.apply(&pod(name, class));
            self.until_bound(name).await;
        }
        let left = kubectl_json(admin, &["get", "pods", "-n", self.namespace]).to_string();
        assert!(!left.contains("\"patient\""), "it was displaced");
        self.gone(&["pod", "urgent"]);
        kubectl(admin, &["delete", "priorityclass", "urgent"]).expect("deleted");
    }

    /// A claim for which a volume waits, and one for which a volume is made on the node that is chosen.
    async fn volumes(&self) {
        let admin = self.ground.admin();
        for (class, provisioner) in [
            ("waits", "kubernetes.io/no-provisioner"),
            ("makes", "example.com/makes"),
        ] {
            let name = format!("{}-{class}", self.namespace);
            let metadata = json!({"name": name, "namespace": self.namespace});
            self.ground.apply(&json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
                "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer",
            }));
            if class == "waits" {
                self.ground.volume(&name, &name);
            }
            self.ground.apply(&json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata,
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "storageClassName": name,
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            }));
            self.ground.apply(&json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
                "spec": {
                    "schedulerName": "wam-scheduler",
                    "containers": [{"name": "a", "image": "a"}],
                    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}],
                },
            }));
            if class == "makes" {
                until("the claim has its node", async || {
                    let claim = kubectl_json(admin, &["get", "pvc", &name, "-n", self.namespace]);
                    let annotations = &claim["metadata"]["annotations"];
                    match annotations["volume.kubernetes.io/selected-node"].as_str() {
                        Some(_) => Ok(()),
                        None => Err(annotations.to_string()),
                    }
                })
                .await;
                // The provisioner's part.
                self.ground.volume(&name, &name);
                let claim =
                    json!({"spec": {"claimRef": {"namespace": self.namespace, "name": name}}});
                let args = [
                    "patch",
                    "pv",
                    &name,
                    "--type=merge",
                    "-p",
                    &claim.to_string(),
                ];
                kubectl(admin, &args).expect("the claim's");
            }
            self.until_bound(&name).await;
            for kind in ["pod", "pvc"] {
                self.gone(&[kind, &name]);
            }
            for kind in ["pv", "storageclass"] {
                kubectl(admin, &["delete", kind, &name]).expect("deleted");
            }
        }
    }

    async fn until_bound(&self, name: &str) {
        until("the pod is bound", async || {
            let args = ["get", "pod", name, "-n", self.namespace];
            let pod = kubectl_json(self.ground.admin(), &args);
            match pod["spec"]["nodeName"].as_str() {
                Some(_) => Ok(()),
                None => {
                    let of = ["get", "pv,pvc", "-A"];
                    let volumes = kubectl(self.ground.admin(), &of).unwrap_or_default();
                    Err(format!("{name}: {:#}\n{volumes}", pod["status"]))
                }
            }
        })
        .await;
    }

    fn gone(&self, object: &[&str]) {
        let args = [&["delete", "-n", self.namespace, "--now"], object].concat();
        kubectl(self.ground.admin(), &args).expect("deleted");
    }

    /// A pod for which no node has room says so: a condition, an event, and a series when it happens again.
    async fn too_big(&self) {
        let admin = self.ground.admin();
        self.ground.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "too-big", "namespace": self.namespace},
            "spec": {
                "schedulerName": "wam-scheduler",
                "containers": [{"name": "a", "image": "a", "resources": {"requests": {"cpu": "1000"}}}],
            },
        }));
        // A node with enough room that takes nobody: its coming makes the scheduler look again.
        let big = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "big"},
            "spec": {"taints": [{"key": "big", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "4000", "memory": "1Ti", "pods": "100"}},
        });
        let mut there = false;
        until("the same event is a series", async || {
            let events = kubectl_json(
                admin,
                &["get", "events.events.k8s.io", "-n", self.namespace],
            );
            let series = events["items"]
                .as_array()
                .expect("a list")
                .iter()
                .any(|event| {
                    event["regarding"]["name"] == "too-big"
                        && event["reason"] == "FailedScheduling"
                        && event["series"]["count"].as_i64() > Some(1)
                });
            if series {
                return Ok(());
            }
            if there {
                kubectl(admin, &["delete", "node", "big"])?;
            } else {
                self.ground.apply(&big);
            }
            there = !there;
            Err(format!("{:#}", events["items"]))
        })
        .await;
        if there {
            kubectl(admin, &["delete", "node", "big"]).expect("deleted");
        }
        let pod = kubectl_json(admin, &["get", "pod", "too-big", "-n", self.namespace]);
        let conditions = pod["status"]["conditions"].as_array().expect("conditions");
        assert!(
            conditions
                .iter()
                .any(|c| c["type"] == "PodScheduled" && c["reason"] == "Unschedulable"),
            "{conditions:#?}"
        );
        kubectl(
            admin,
            &["delete", "pod", "too-big", "-n", self.namespace, "--now"],
        )
        .expect("deleted");
    }

    /// A pod of a ReplicaSet that no watch brings: the scheduler waits for it, then asks. A finalizer keeps the pod from
    /// the garbage collector meanwhile.
    async fn stranger(&self, log: &Path, namespace: &str, scheduler: &str) {
        let admin = self.ground.admin();
        self.ground.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "stranger", "namespace": self.namespace, "finalizers": ["example.com/stay"],
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true, "name": "unknown",
                    "uid": "00000000-0000-4000-8000-000000000001",
                }],
            },
            "spec": {"schedulerName": "wam-scheduler", "containers": [{"name": "a", "image": "a"}]},
        }));
        until("the scheduler asked for a ReplicaSet", async || {
            let used = audit::asked(log, namespace, scheduler).used;
            let asked = used
                .iter()
                .any(|right| right.verb == "get" && right.resource == "replicasets");
            asked.then_some(()).ok_or_else(|| format!("{used:#?}"))
        })
        .await;
        let patch = r#"{"metadata":{"finalizers":null}}"#;
        let args = [
            "patch",
            "pod",
            "stranger",
            "--type=merge",
            "-p",
            patch,
            "-n",
        ];
        kubectl(admin, &[&args[..], &[self.namespace]].concat()).expect("let go");
    }
}

/// Helm's release, with everything in it.
async fn release(ground: &Ground) -> (Vec<Replica>, ChartRedis) {
    ground.run(
        "helm install wam deploy/chart --namespace wam-system --create-namespace \
         --set redis.persistence.storageClass=testbed --wait --timeout 4m",
    );
    let admin = ground.admin().to_owned();
    let password = secret(&admin, "wam-system", "wam-redis", "redis-password");
    assert_eq!(password.len(), 32);

    // The Service leads to both replicas, which are on two nodes.
    until("the Service has its endpoints", async || {
        let args = [
            "get",
            "endpointslices",
            "-n",
            "wam-system",
            "-l",
            "kubernetes.io/service-name=wam",
        ];
        let slices = kubectl_json(&admin, &args);
        let slice = &slices["items"][0];
        let ready = slice["endpoints"].as_array().map_or(0, |endpoints| {
            endpoints
                .iter()
                .filter(|e| e["conditions"]["ready"] == true)
                .count()
        });
        let port = &slice["ports"][0];
        if ready == 2 && port["port"] == 3000 && port["name"] == "http" {
            Ok(())
        } else {
            Err(format!("{slices:#}"))
        }
    })
    .await;
    let pods = kubectl_json(
        &admin,
        &[
            "get",
            "pods",
            "-n",
            "wam-system",
            "-l",
            "app.kubernetes.io/name=wam",
        ],
    );
    let nodes: BTreeSet<&str> = pods["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|pod| pod["spec"]["nodeName"].as_str())
        .collect();
    assert_eq!(nodes.len(), 2, "the replicas are spread");
    let budget = kubectl_json(&admin, &["get", "pdb", "wam", "-n", "wam-system"]);
    assert_eq!(budget["status"]["disruptionsAllowed"], 1);

    let config = kubectl_json(
        &admin,
        &["get", "configmap", "wam-redis", "-n", "wam-system"],
    );
    let redis = ChartRedis::start(&config, &password);
    assert!(!redis.ping("another"), "another password is refused");
    assert_eq!(redis.setting("appendfsync"), "always");
    assert_eq!(redis.setting("maxmemory-policy"), "noeviction");
    let replicas = vec![
        ground.replica("wam-system", "wam", &redis),
        ground.replica("wam-system", "wam", &redis),
    ];
    for replica in &replicas {
        replica.health.until_ready().await;
    }
    (replicas, redis)
}

/// One replica dies in the middle of an action; the other ends it.
async fn takeover(ground: &Ground, replicas: &mut Vec<Replica>) {
    let last = replicas.pop().expect("a replica");
    let walk = Walk {
        ground,
        caller: last.caller.as_ref().expect("an API"),
        namespace: "default",
    };
    let id = walk
        .caller
        .submit(
            "action.Move",
            json!({"pod": walk.pod("test-a", 2), "node": node(3)}),
        )
        .await;
    last.process.kill();
    let caller = replicas[0].caller.as_ref().expect("an API");
    let ended = caller.ended(&id).await;
    assert_eq!(ended["state"], "Succeeded", "{ended:#}");
}

/// Our own account, by kubectl: what the rights to patch would allow and the policy does not.
async fn policy(ground: &Ground) {
    let own = ground.account("wam-system", "wam");
    let admin = ground.admin();
    let warnings = kubectl(
        admin,
        &[
            "get",
            "validatingadmissionpolicies",
            "-o",
            "jsonpath={range .items[*]}{.status.typeChecking.expressionWarnings}{end}",
        ],
    )
    .expect("the policies");
    assert_eq!(
        warnings, "",
        "the policies' expressions make sense to the API server"
    );
    let pods = kubectl_json(admin, &["get", "pods", "-l", "app=test-b"]);
    let pod = pods["items"][0]["metadata"]["name"]
        .as_str()
        .expect("a pod")
        .to_owned();
    let refused = [
        (
            vec!["set", "image", "deployment/test-b", "pause=evil"],
            "may change replicas alone",
        ),
        (
            vec![
                "patch",
                "deployment",
                "test-b",
                "--type=json",
                "-p",
                r#"[{"op":"replace","path":"/spec/paused","value":true}]"#,
            ],
            "may change replicas alone",
        ),
        (
            vec!["label", "deployment", "test-b", "a=b"],
            "wam-ledger alone",
        ),
        (
            vec!["label", "deployment", "test-b", "app-"],
            "wam-ledger alone",
        ),
        (
            vec!["annotate", "deployment", "test-b", "a=b"],
            "may change its label alone",
        ),
        (
            vec![
                "patch",
                "deployment",
                "test-b",
                "-p",
                r#"{"metadata":{"finalizers":["a/b"]}}"#,
            ],
            "may change its label alone",
        ),
        (
            vec!["set", "image", "pod", &pod, "pause=evil"],
            "may not change the spec",
        ),
        (vec!["annotate", "pod", &pod, "a=b"], "wam-fence alone"),
        (
            vec!["label", "pod", &pod, "app-"],
            "may change its annotation alone",
        ),
        // What is not granted at all.
        (vec!["delete", "pod", &pod], "marked as displaced"),
        (
            vec!["scale", "deployment", "test-b", "--replicas=0"],
            "cannot patch resource \"deployments/scale\"",
        ),
        (vec!["get", "secrets"], "cannot list resource \"secrets\""),
    ];
    for (args, wanted) in &refused {
        let said = kubectl(&own, args).expect_err(&format!("kubectl {args:?} is refused"));
        assert!(said.contains(wanted), "kubectl {args:?}: {said}");
    }
    status(&own, &pod).await;
    let allowed = [
        vec![
            "patch",
            "deployment",
            "test-b",
            "-p",
            r#"{"spec":{"replicas":2}}"#,
        ],
        vec![
            "label",
            "deployment",
            "test-b",
            "--overwrite",
            "aces-eu.github.io/wam-ledger=a.0.1",
        ],
        vec![
            "annotate",
            "pod",
            &pod,
            "--overwrite",
            "aces-eu.github.io/wam-fence=a.0.1",
        ],
    ];
    for args in &allowed {
        kubectl(&own, args).unwrap_or_else(|error| panic!("kubectl {args:?}: {error}"));
    }
    // A foreign mark on a binding.
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": "gated", "annotations": {"a": "b"}}, "target": {"kind": "Node", "name": "k3d-aces-agent-0"},
    });
    let file = ground.folder.path().join("binding.json");
    std::fs::write(&file, binding.to_string()).expect("written");
    let said = kubectl(
        &own,
        &[
            "create",
            "--raw",
            "/api/v1/namespaces/default/pods/gated/binding",
            "-f",
            file.to_str().expect("text"),
        ],
    )
    .expect_err("a foreign mark is refused");
    assert!(said.contains("wam-action alone"), "{said}");
    // Nobody else is concerned: an account that may do as much, and the administrator.
    for args in [
        vec!["create", "serviceaccount", "other"],
        vec![
            "create",
            "clusterrolebinding",
            "other",
            "--clusterrole=edit",
            "--serviceaccount=default:other",
        ],
    ] {
        kubectl(admin, &args).expect("made");
    }
    let other = ground.account("default", "other");
    kubectl(&other, &["annotate", "deployment", "test-b", "a=b"]).expect("another account may");
    kubectl(admin, &["annotate", "deployment", "test-b", "a-"]).expect("the administrator may");
    for kind in ["clusterrolebinding", "serviceaccount"] {
        kubectl(admin, &["delete", kind, "other"]).expect("deleted");
    }
    println!(
        "policy: {} writes refused to our own account, {} allowed",
        refused.len() + 4,
        allowed.len() + 1
    );
}

/// The scheduler's condition alone; kubectl would read `pods/status` first, which is not granted.
async fn status(own: &Path, pod: &str) {
    let pods: kube::Api<Pod> =
        kube::Api::namespaced(support::testbed::client(own).await, "default");
    let refused = [
        (
            json!({"status": {"phase": "Failed"}}),
            "PodScheduled and nominatedNodeName alone",
        ),
        (
            json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
            "may change PodScheduled and DisruptionTarget alone",
        ),
        (
            json!({"metadata": {"labels": {"a": "b"}}}),
            "may not change its metadata",
        ),
    ];
    for (patch, wanted) in refused {
        let said = pods
            .patch_status(pod, &PatchParams::default(), &Patch::Strategic(&patch))
            .await
            .expect_err("refused")
            .to_string();
        assert!(said.contains(wanted), "{patch}: {said}");
    }
    let allowed = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "True", "reason": "Test"}]}});
    pods.patch_status(pod, &PatchParams::default(), &Patch::Strategic(&allowed))
        .await
        .expect("the scheduler's own condition");
}

/// Values change, the password stays; then all of it goes but what the documentation names.
async fn upgrade_and_uninstall(ground: &Ground, before: &BTreeSet<String>) {
    let admin = ground.admin();
    let password = secret(admin, "wam-system", "wam-redis", "redis-password");
    let uid = |kind: &str, name: &str| {
        kubectl_json(admin, &["get", kind, name, "-n", "wam-system"])["metadata"]["uid"].clone()
    };
    let claim = uid("pvc", "data-wam-redis-0");
    ground.run(
        "helm upgrade wam deploy/chart --namespace wam-system --reuse-values \
         --set replicas=3 --set log=debug --wait --timeout 4m",
    );
    let found = kubectl_json(admin, &["get", "deployment", "wam", "-n", "wam-system"]);
    assert_eq!(found["status"]["readyReplicas"], 3);
    assert_eq!(
        secret(admin, "wam-system", "wam-redis", "redis-password"),
        password,
        "the password is kept"
    );
    assert_eq!(uid("pvc", "data-wam-redis-0"), claim);
    ground.run("helm uninstall wam --namespace wam-system --wait --timeout 4m");
    // The controllers need a moment for what belonged to it.
    until(
        "nothing is left but what the documentation names",
        async || {
            let left: BTreeSet<String> = ground.objects().difference(before).cloned().collect();
            let documented: BTreeSet<String> = [
                "PersistentVolumeClaim wam-system data-wam-redis-0",
                "Lease wam-system wam-leader",
                // Of --create-namespace.
                "Namespace - wam-system",
                "ServiceAccount wam-system default",
                "ConfigMap wam-system kube-root-ca.crt",
            ]
            .map(str::to_owned)
            .into();
            if left == documented {
                Ok(())
            } else {
                let missing: Vec<&String> = documented.difference(&left).collect();
                Err(format!("left: {left:#?}, not left: {missing:#?}"))
            }
        },
    )
    .await;
    // And that goes by the lines that the documentation has.
    let text =
        std::fs::read_to_string(deploy_support::root().join("docs/deploy.md")).expect("docs");
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.split('`').nth_back(1))
        .filter(|line| line.starts_with("kubectl "))
        .collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for line in lines {
        ground.run(line);
    }
    let left = kubectl(
        admin,
        &[
            "get",
            "deployments",
            "-A",
            "-o",
            "jsonpath={.items[*].metadata.labels}",
        ],
    );
    assert!(!left.expect("labels").contains("wam-ledger"));
}

/// Every part apart, with an account of its own, and writes in one namespace alone.
async fn apart(ground: &Ground) {
    let admin = ground.admin();
    kubectl(admin, &["create", "namespace", "team-a"]).expect("a namespace");
    ground.run(
        "helm install team deploy/chart --namespace team --create-namespace --set fullnameOverride=team \
         --set 'apart={api,executor,scheduler}' --set 'namespaces={team-a}' \
         --set redis.persistence.enabled=false \
         --set-json 'schedulerConfiguration={\"profiles\":[{\"schedulerName\":\"wam-scheduler\"}]}' --wait --timeout 4m",
    );
    let config = kubectl_json(admin, &["get", "configmap", "team-redis", "-n", "team"]);
    let redis = ChartRedis::start(
        &config,
        &secret(admin, "team", "team-redis", "redis-password"),
    );
    let parts = ["team-api", "team-executor", "team-scheduler"];
    let replicas: Vec<Replica> = parts
        .iter()
        .map(|part| ground.replica("team", part, &redis))
        .collect();
    for replica in &replicas {
        replica.health.until_ready().await;
    }
    ground.workloads("team-a");
    let caller = replicas[0].caller.as_ref().expect("the API");
    assert!(replicas[1].caller.is_none() && replicas[2].caller.is_none());
    let walk = Walk {
        ground,
        caller,
        namespace: "team-a",
    };
    walk.whole().await;
    walk.rest().await;
    let log = ground.testbed.audit_log();
    walk.stranger(&log, "team", "team-scheduler").await;
    // Another namespace is refused, by name; its pods are nobody's.
    let elsewhere = Walk {
        ground,
        caller,
        namespace: "default",
    };
    let said = caller
        .refused("action.Create", elsewhere.create("test-a", 1))
        .await;
    assert_eq!(
        said,
        "namespace default is not among those where actions are taken (team-a)"
    );
    let own = ground.account("team", "team-executor");
    let said = kubectl(
        &own,
        &[
            "patch",
            "deployment",
            "test-a",
            "-n",
            "default",
            "-p",
            r#"{"spec":{"replicas":9}}"#,
        ],
    )
    .expect_err("the API server refuses it too");
    assert!(said.contains("forbidden"), "{said}");
    for replica in replicas {
        assert!(replica.process.stop(), "it shuts down cleanly");
    }
    for part in parts {
        audit::compare(admin, &log, "team", part);
    }
    ground.run("helm uninstall team --namespace team --wait --timeout 4m");
    kubectl(admin, &["delete", "namespace", "team", "team-a"]).expect("deleted");
}

/// The four lines of the original's README, as written there, and a Create.
async fn original(ground: &Ground) {
    let admin = ground.admin();
    ground.volume("original", "");
    for line in [
        "helm install wam-redis deploy/redis",
        "kubectl apply -f deploy/wam-scheduler",
        "kubectl apply -f deploy/wam",
        "kubectl apply -f deploy/test",
    ] {
        ground.run(line);
    }
    for name in ["wam", "wam-scheduler"] {
        ground.run(&format!(
            "kubectl rollout status deployment/{name} --timeout 4m"
        ));
    }
    ground.run("kubectl rollout status statefulset/wam-redis --timeout 4m");
    // The address that the manifests name is the Service that the chart made.
    let found = kubectl_json(admin, &["get", "deployment", "wam", "-n", "default"]);
    let env = found["spec"]["template"]["spec"]["containers"][0]["env"].to_string();
    assert!(
        env.contains(r#"{"name":"REDIS_HOST","value":"wam-redis"}"#),
        "{env}"
    );
    let service = kubectl_json(admin, &["get", "service", "wam-redis", "-n", "default"]);
    assert_eq!(service["spec"]["ports"][0]["port"], 6379);

    let config = kubectl_json(admin, &["get", "configmap", "wam-redis", "-n", "default"]);
    let redis = ChartRedis::start(
        &config,
        &secret(admin, "default", "wam-redis", "redis-password"),
    );
    let (wam, scheduler) = (
        ground.replica("default", "wam", &redis),
        ground.replica("default", "wam-scheduler", &redis),
    );
    for replica in [&wam, &scheduler] {
        replica.health.until_ready().await;
    }
    let caller = wam.caller.as_ref().expect("an API");
    let walk = Walk {
        ground,
        caller,
        namespace: "default",
    };
    caller.done("action.Create", walk.create("test-b", 5)).await;
    assert_eq!(walk.pods("test-b", 5).len(), 1);
    for replica in [wam, scheduler] {
        assert!(replica.process.stop(), "it shuts down cleanly");
    }
    let log = ground.testbed.audit_log();
    for name in ["wam", "wam-scheduler"] {
        audit::nothing_forbidden(&log, "default", name);
    }
    ground.run("kubectl delete -f deploy/test -f deploy/wam -f deploy/wam-scheduler");
    ground.run("helm uninstall wam-redis --wait --timeout 4m");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_control_plane() {
    let Some(mut ground) =
        support::require("deployment (testbed, Helm, redis-server)", Ground::start())
    else {
        return;
    };
    ground.workloads("default");
    ground.volume("wam-redis", "testbed");
    let before = ground.objects();
    let (mut replicas, redis) = release(&ground).await;
    {
        let caller = replicas[0].caller.clone().expect("an API");
        let walk = Walk {
            ground: &ground,
            caller: &caller,
            namespace: "default",
        };
        walk.whole().await;
        walk.rest().await;
    }
    takeover(&ground, &mut replicas).await;
    for replica in replicas {
        assert!(replica.process.stop(), "it shuts down cleanly");
    }
    audit::compare(
        ground.admin(),
        &ground.testbed.audit_log(),
        "wam-system",
        "wam",
    );
    policy(&ground).await;
    drop(redis);
    // What the walk left is no part of the release.
    for args in [
        vec!["delete", "pdb", "nobody"],
        vec!["scale", "deployment", "test-a", "test-b", "--replicas=0"],
    ] {
        kubectl(ground.admin(), &args).expect("done");
    }
    upgrade_and_uninstall(&ground, &before).await;
    apart(&ground).await;
    original(&ground).await;
    for kubelets in ground.kubelets.drain(..) {
        assert!(kubelets.stop(), "the kubelets shut down cleanly");
    }
}
