//! What the tests of the deployment share: Helm, accounts, what is deployed as local processes, the audit log.
// Each test binary uses its own part of it.
#![allow(dead_code, unreachable_pub)]

pub mod redis;
pub mod release;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::Unavailable;
use crate::support::account::kubeconfig;
use crate::support::kubectl::{kubectl, kubectl_binary};

/// The root of the project, where the README's lines are run.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Helm, built from its Go module if it is not built yet.
///
/// # Errors
/// [`Unavailable`] without Go.
pub fn helm_binary() -> Result<&'static Path, Unavailable> {
    static HELM: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    let built = HELM.get_or_init(|| {
        let output = Command::new(root().join("tools/helm/build.sh"))
            .output()
            .map_err(|error| Unavailable(format!("cannot run tools/helm/build.sh: {error}")))?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            Ok(PathBuf::from(said(&output.stdout)))
        } else {
            Err(Unavailable(said(&output.stderr)))
        }
    });
    match built {
        Ok(path) => Ok(path),
        Err(reason) => Err(reason.clone()),
    }
}

/// Runs a line as a user would, from the project's root, with `helm` and `kubectl` on the PATH and nothing but
/// this cluster configured; what it printed, or what it complained of.
pub fn shell(line: &str, kubeconfig: Option<&Path>, folder: &Path) -> Result<String, String> {
    let helm = helm_binary().expect("the test began with it");
    let tools = [Some(helm.to_owned()), kubectl_binary().ok()];
    let mut path: Vec<PathBuf> = tools
        .iter()
        .flatten()
        .filter_map(|tool| Some(tool.parent()?.to_owned()))
        .collect();
    path.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .current_dir(root())
        .env("PATH", std::env::join_paths(path).expect("a PATH"))
        .env("KUBERC", "off")
        .env("HOME", folder)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null());
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(name, folder.join(name));
    }
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    let output = command.output().expect("a shell");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    if output.status.success() {
        Ok(out)
    } else {
        Err(format!("{out}{err}"))
    }
}

/// Writes a kubeconfig of a service account, with a fresh token, and answers where it is.
///
/// # Panics
/// If there is no such account.
pub fn account(admin: &Path, namespace: &str, name: &str, folder: &Path) -> PathBuf {
    let token = kubectl(
        admin,
        &["create", "token", name, "-n", namespace, "--duration=4h"],
    )
    .unwrap_or_else(|error| panic!("no token of {namespace}/{name}: {error}"));
    let path = folder.join(format!("{namespace}-{name}.kubeconfig"));
    kubeconfig(admin, token.trim(), &path)
}

/// Polls until something is so; panics after three minutes, with what it said last.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<(), String>) {
    let begun = Instant::now();
    loop {
        let Err(why) = holds().await else {
            return;
        };
        assert!(
            begun.elapsed() < Duration::from_secs(180),
            "waited in vain until {what}: {why}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
