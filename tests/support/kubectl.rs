//! The real kubectl as a witness, of the testbed's version: it reads no configuration and no cache but
//! what the test gives it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{Unavailable, testbed};

/// What a kubectl command did.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code 0.
    pub ok: bool,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// kubectl against one cluster. It is asynchronous, because the API server that it asks may run in the
/// test's own runtime.
#[derive(Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// kubectl with a kubeconfig. Blocks while the testbed is built.
    ///
    /// # Errors
    /// As [`kubectl_binary`].
    pub fn new(kubeconfig: &Path) -> Result<Self, Unavailable> {
        Ok(Self {
            program: kubectl_binary()?,
            kubeconfig: kubeconfig.to_owned(),
        })
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// If kubectl cannot be started.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "").await
    }

    /// Runs a command that must succeed, and returns what it printed.
    ///
    /// # Panics
    /// If it fails, with what it said.
    pub async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(
            output.ok,
            "kubectl {} failed: {}{}",
            arguments.join(" "),
            output.stdout,
            output.stderr
        );
        output.stdout
    }

    /// Runs a command with a text on its standard input (`apply -f -`).
    ///
    /// # Panics
    /// If kubectl cannot be started.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let write = async move {
            // A command that reads no input closes its end: no concern of ours.
            let _ = stdin.write_all(input.as_bytes()).await;
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        let output = output.expect("kubectl can be waited for");
        Output {
            ok: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The command itself, for a test that watches its output while it runs. It is killed when dropped.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(configuration(&self.kubeconfig))
            .args(arguments)
            .env_remove("KUBECONFIG")
            .env("KUBERC", "off")
            .kill_on_drop(true);
        command
    }
}

/// kubectl: the one in `KUBEBUILDER_ASSETS` where that is given, else the testbed's, which is built if
/// need be.
///
/// # Errors
/// [`Unavailable`] where there is neither.
pub fn kubectl_binary() -> Result<PathBuf, Unavailable> {
    let assets =
        std::env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join("kubectl"));
    match assets.filter(|candidate| candidate.is_file()) {
        Some(program) => Ok(program),
        None => Ok(testbed::program()?.with_file_name("kubectl")),
    }
}

/// Runs a command to its end and returns what it printed. It blocks its thread: the API server that it
/// asks must not need that thread.
///
/// # Errors
/// What the command complained of, if it fails or there is no kubectl.
pub fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> Result<String, String> {
    let program = kubectl_binary().map_err(|Unavailable(reason)| reason)?;
    let output = std::process::Command::new(&program)
        .args(configuration(kubeconfig))
        .args(arguments)
        .env_remove("KUBECONFIG")
        .env("KUBERC", "off")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Runs a command with `-o json` to its end; it blocks as [`kubectl`] does.
///
/// # Panics
/// If it fails or prints no JSON.
pub fn kubectl_json(kubeconfig: &Path, arguments: &[&str]) -> Value {
    let text = kubectl(kubeconfig, &[arguments, &["-o", "json"]].concat())
        .unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")));
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("kubectl {}: {error}: {text}", arguments.join(" ")))
}

/// The kubeconfig, and a cache beside it. The usual one is shared and keyed by host and port: there
/// another test's server may have had our port, and been of another kind.
fn configuration(kubeconfig: &Path) -> [std::ffi::OsString; 4] {
    let cache = kubeconfig.with_file_name("kubectl-cache");
    [
        "--kubeconfig".into(),
        kubeconfig.into(),
        "--cache-dir".into(),
        cache.into(),
    ]
}
