//! One side of the comparison: a cluster, kubelets and a scheduler on it, and kubectl that walks the
//! script.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::sync::CancellationToken;
use wam::app::{App, Settings};
use wam::kube::{ClientOptions, Clients, Metrics, Source};
use wam::sandbox::cluster::nodes;
use wam::sandbox::kubelet::{self, KubeletOptions};
use wam::sandbox::{Cluster, ClusterOptions};

use super::normal::Normal;
use super::script::{self, Line, Placed};
use crate::support::kubectl::Kubectl;
use crate::support::testbed::{self, Testbed};

/// How long a command, and what is waited for, may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what is waited for.
const INTERVAL: Duration = Duration::from_millis(100);
/// Workers besides the control plane's node.
const WORKERS: usize = 2;
/// From a pod's admission to its being Ready, and from its deletion to its end.
const LATENCY: Duration = Duration::from_millis(100);

/// What one line of the script came to.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Which: the command, and a number behind it where the session has given it before.
    pub name: String,
    /// The file and line of it.
    pub place: String,
    /// Exit code, standard output and standard error as they were.
    pub raw: String,
    /// The same, comparable.
    pub text: String,
    /// False where the script could not go on as it is written: what was waited for did not come.
    pub held: bool,
}

/// A cluster that a session is run on.
pub enum Ground {
    Sandbox(Cluster),
    Real(Testbed),
}

impl Ground {
    fn kubeconfig(&self, folder: &Path) -> PathBuf {
        match self {
            Self::Sandbox(cluster) => {
                let path = folder.join("kubeconfig");
                std::fs::write(&path, cluster.kubeconfig()).expect("written");
                path
            }
            Self::Real(testbed) => testbed.kubeconfig().to_owned(),
        }
    }
}

/// The sandbox, its kubelets as quick as those of the other side.
pub async fn sandbox() -> Ground {
    let options = ClusterOptions {
        nodes: WORKERS,
        start_latency: LATENCY,
        stop_latency: LATENCY,
        ..ClusterOptions::default()
    };
    Ground::Sandbox(Cluster::start(options).await.expect("the sandbox starts"))
}

/// Runs the whole script on a cluster.
pub async fn run(ground: Ground, script: Vec<Placed>) -> Vec<Answer> {
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = ground.kubeconfig(folder.path());
    let stop = CancellationToken::new();
    let mut tasks = Vec::new();
    if let Ground::Real(_) = &ground {
        let client = testbed::client(&kubeconfig).await;
        let options = KubeletOptions {
            nodes: nodes(WORKERS),
            instance: "sandbox".to_owned(),
            start_latency: LATENCY,
            stop_latency: LATENCY,
            ..KubeletOptions::default()
        };
        let stop = stop.clone();
        tasks.push(tokio::spawn(async move {
            Box::pin(kubelet::run(client, options, stop))
                .await
                .expect("the kubelets run");
        }));
    }
    let scheduler = Box::pin(scheduler(&kubeconfig)).await;
    let mut session = Session {
        kubectl: Kubectl::new(&kubeconfig).expect("kubectl is there"),
        normal: Normal::new(),
        kept: BTreeMap::new(),
        given: BTreeMap::new(),
        started: None,
    };
    let mut answers = Vec::new();
    for placed in script {
        answers.extend(session.line(&placed).await);
    }
    scheduler.stop().await;
    stop.cancel();
    for task in tasks {
        task.await.expect("the kubelets end");
    }
    match ground {
        Ground::Sandbox(cluster) => cluster.stop().await,
        // It waits for its processes, and blocks the while.
        Ground::Real(testbed) => tokio::task::spawn_blocking(move || drop(testbed))
            .await
            .expect("the testbed stops"),
    }
    answers
}

/// Our scheduler, for the pods that name none: neither cluster has one of its own.
async fn scheduler(kubeconfig: &Path) -> App {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let source = Source::Kubeconfig {
        path: kubeconfig.to_owned(),
        context: None,
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clients = Clients::connect(&source, &ClientOptions::default(), &metrics)
        .await
        .expect("the API server answers");
    let settings = Settings {
        listen: None,
        health_listen: None,
        namespaces: Vec::new(),
        executor: false,
        scheduler: true,
        lease: None,
        scheduling: wam::scheduler::Configuration::for_scheduler("default-scheduler"),
        identity: "default-scheduler".to_owned(),
        executor_lease: Duration::from_secs(10),
        action_retention: wam::actions::DEFAULT_RETENTION,
        seed: 0,
    };
    let store = Arc::new(wam::store::memory::MemoryStore::new());
    let app = App::start(settings, clients, metrics, registry, store)
        .await
        .expect("the scheduler starts");
    app.synced().await;
    app
}

/// A command that goes on in the background.
struct Started {
    name: String,
    place: String,
    child: Child,
    reader: BufReader<ChildStdout>,
    text: String,
    lines: usize,
}

struct Session {
    kubectl: Kubectl,
    normal: Normal,
    kept: BTreeMap<String, String>,
    /// How often each command was given.
    given: BTreeMap<String, usize>,
    started: Option<Started>,
}

impl Session {
    async fn line(&mut self, placed: &Placed) -> Option<Answer> {
        let place = format!("{}.session:{}", placed.file, placed.number);
        match &placed.line {
            Line::Step { args, input } => {
                let name = self.name(args);
                let (code, out, err) = self.call(args, &self.filled(input)).await;
                let out = if args.contains("--raw") {
                    sorted(out)
                } else {
                    out
                };
                Some(self.answer(name, place, &code, &out, &err))
            }
            Line::Until { args, text } => {
                let text = self.filled(text);
                let last = self.until(args, &text).await?;
                // Only what did not come is worth an answer.
                let name = self.name(&format!("(wait) {args}"));
                let mut answer = self.answer(name, place, "", &last, "");
                answer.held = false;
                Some(answer)
            }
            Line::Keep { name, args } => {
                let (_, out, _) = self.call(args, "").await;
                self.kept.insert(name.clone(), out.trim().to_owned());
                None
            }
            Line::Start { args, lines } => {
                let name = self.name(args);
                let words = self.words(args);
                let mut child = self.command(&words).spawn().expect("kubectl starts");
                let stdout = child.stdout.take().expect("stdout is piped");
                let mut started = Started {
                    name,
                    place,
                    child,
                    reader: BufReader::new(stdout),
                    text: String::new(),
                    lines: *lines,
                };
                // What is done from here on, it sees.
                started.read(1).await;
                self.started = Some(started);
                None
            }
            Line::End => {
                let mut started = self.started.take().expect("something was started");
                started.read(started.lines).await;
                let said = ended(started.child).await;
                Some(self.answer(started.name, started.place, "", &started.text, &said))
            }
        }
    }

    fn answer(&mut self, name: String, place: String, code: &str, out: &str, err: &str) -> Answer {
        let mut raw = String::new();
        if !code.is_empty() {
            raw = format!("exit {code}\n");
        }
        raw.push_str(out);
        if !err.is_empty() {
            if !raw.ends_with('\n') {
                raw.push('\n');
            }
            raw.push_str(
                &err.lines()
                    .map(|line| format!("! {line}\n"))
                    .collect::<String>(),
            );
        }
        Answer {
            text: self.normal.text(&raw),
            name,
            place,
            raw,
            held: true,
        }
    }

    fn name(&mut self, args: &str) -> String {
        let given = self.given.entry(args.to_owned()).or_default();
        *given += 1;
        match given {
            1 => args.to_owned(),
            count => format!("{args} #{count}"),
        }
    }

    /// Puts what was kept in its place.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // Longer names first: one may begin as another does.
        for (name, value) in self.kept.iter().rev() {
            text = text.replace(&format!("${name}"), value);
        }
        text
    }

    fn words(&self, args: &str) -> Vec<String> {
        script::words(args)
            .iter()
            .map(|word| self.filled(word))
            .collect()
    }

    fn command(&self, words: &[String]) -> Command {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = self.kubectl.command(&words);
        command
            .current_dir(script::folder())
            .env("TZ", "UTC")
            .env("KUBE_EDITOR", "./editor.sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    async fn call(&self, args: &str, input: &str) -> (String, String, String) {
        let words = self.words(args);
        let mut child = self.command(&words).spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let write = async move {
            // A command that reads no input closes its end: no concern of ours.
            let _ = stdin.write_all(input.as_bytes()).await;
        };
        let run = async { tokio::join!(write, child.wait_with_output()).1 };
        match tokio::time::timeout(PATIENCE, run).await {
            Ok(output) => {
                let output = output.expect("kubectl can be waited for");
                (
                    code(output.status),
                    String::from_utf8_lossy(&output.stdout).into_owned(),
                    String::from_utf8_lossy(&output.stderr).into_owned(),
                )
            }
            Err(_) => (
                "never: it does not end".to_owned(),
                String::new(),
                String::new(),
            ),
        }
    }

    /// `None` when the command prints the text; what it printed last if it never does.
    async fn until(&self, args: &str, text: &str) -> Option<String> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let (_, out, err) = self.call(args, "").await;
            if out.trim() == text {
                return None;
            }
            if tokio::time::Instant::now() > deadline {
                return Some(format!(
                    "never {text:?}, at last {:?}",
                    format!("{out}{err}")
                ));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

fn code(status: ExitStatus) -> String {
    status
        .code()
        .map_or_else(|| "by a signal".to_owned(), |code| code.to_string())
}

impl Started {
    /// Waits until so many lines have come, those that came before included.
    async fn read(&mut self, lines: usize) {
        let (reader, text) = (&mut self.reader, &mut self.text);
        let read = async {
            while text.lines().count() < lines {
                if !matches!(reader.read_line(text).await, Ok(1..)) {
                    break;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, read).await.is_err() {
            self.text.push_str("(and no more)\n");
        }
    }
}

/// Ends a command, and returns what it complained of.
async fn ended(mut child: Child) -> String {
    let _ = child.kill().await;
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut said).await;
    }
    said
}

/// The order of an object's fields means nothing in JSON, so a raw answer is brought into one.
fn sorted(text: String) -> String {
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(value) if value.is_object() => format!("{value:#}\n"),
        _ => text,
    }
}
