//! A real control plane for tests: etcd, kube-apiserver and kube-controller-manager from `testbed/`.
//!
//! [`Testbed`] owns the process; it ends with the value, and with the test process whatever ends that:
//! the testbed stops when its standard input, a pipe that we hold, is closed.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::Unavailable;
use super::kubectl::Kubectl;
pub use super::kubectl::kubectl_binary;
pub use super::missing;

/// Which parts of a control plane to start besides etcd and kube-apiserver.
#[derive(Debug, Clone)]
pub struct Options {
    /// kube-controller-manager: workloads get their pods, namespaces their ServiceAccounts.
    pub controller_manager: bool,
    /// The stock kube-scheduler, for comparison.
    pub scheduler: bool,
    /// Keep an audit log; [`Testbed::audit_log`] says where.
    pub audit: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controller_manager: true,
            scheduler: false,
            audit: false,
        }
    }
}

/// A running control plane, nobody else's.
#[derive(Debug)]
pub struct Testbed {
    child: Child,
    kubeconfig: PathBuf,
    audit: Option<tempfile::TempDir>,
}

impl Testbed {
    /// Starts a control plane with the controller manager and returns when it is ready: 3 to 10 s, and
    /// some minutes before that where the testbed is not built yet. Blocks.
    ///
    /// # Errors
    /// [`Unavailable`] where the testbed can be neither found nor built.
    ///
    /// # Panics
    /// If it is there and does not start.
    pub fn start() -> Result<Self, Unavailable> {
        Self::start_with(&Options::default())
    }

    /// As [`Testbed::start`], with a say in what is started.
    ///
    /// # Errors
    /// As [`Testbed::start`].
    pub fn start_with(options: &Options) -> Result<Self, Unavailable> {
        let program = program()?;
        let mut command = Command::new(program);
        command
            .arg("up")
            .arg(format!(
                "--controller-manager={}",
                options.controller_manager
            ))
            .arg(format!("--scheduler={}", options.scheduler));
        // All else is in a folder that the testbed removes itself, however we end.
        let audit = options.audit.then(|| {
            tempfile::Builder::new()
                .prefix("wam-testbed-audit-")
                .tempdir()
                .expect("a temporary folder can be made")
        });
        if let Some(folder) = &audit {
            command.arg("--audit-log").arg(audit_log(folder));
        }
        // Standard error goes to the test's: when the testbed cannot start it says why there.
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let mut kubeconfig = None;
        let mut ready = false;
        // The testbed bounds its own start and ends when it fails: then the output ends too.
        for line in BufReader::new(child.stdout.take().expect("stdout is piped")).lines() {
            let line = line.expect("the testbed prints text");
            if let Some(path) = line.strip_prefix("KUBECONFIG=") {
                kubeconfig = Some(PathBuf::from(path));
            } else if line == "ready" {
                ready = true;
                break;
            }
        }
        match kubeconfig {
            Some(kubeconfig) if ready => Ok(Self {
                child,
                kubeconfig,
                audit,
            }),
            _ => panic!(
                "the testbed did not start ({:?}); its last words are above",
                child.wait()
            ),
        }
    }

    /// One control plane for all tests of this process, started by the first that asks. Its tests keep
    /// to namespaces of their own.
    ///
    /// # Errors
    /// As [`Testbed::start`].
    pub fn shared() -> Result<&'static Self, Unavailable> {
        static SHARED: OnceLock<Result<Testbed, Unavailable>> = OnceLock::new();
        SHARED
            .get_or_init(Self::start)
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The administrator's kubeconfig (group `system:masters`).
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The audit log, one JSON event a line.
    ///
    /// # Panics
    /// If [`Options::audit`] did not ask for one.
    pub fn audit_log(&self) -> PathBuf {
        audit_log(self.audit.as_ref().expect("the audit log was asked for"))
    }

    /// A client with the administrator's rights.
    pub async fn client(&self) -> ::kube::Client {
        client(&self.kubeconfig).await
    }

    /// kubectl, of the control plane's version, with the administrator's rights.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubeconfig).expect("kubectl is part of the testbed that is running")
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        drop(self.child.stdin.take()); // it stops on that, with all its children
        let _ = self.child.wait();
    }
}

/// A client as a kubeconfig describes it.
///
/// # Panics
/// If the kubeconfig is none.
pub async fn client(kubeconfig: &Path) -> ::kube::Client {
    // One TLS provider for the process; another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read =
        ::kube::config::Kubeconfig::read_from(kubeconfig).expect("the kubeconfig can be read");
    let options = ::kube::config::KubeConfigOptions::default();
    let config = ::kube::Config::from_custom_kubeconfig(read, &options)
        .await
        .expect("the kubeconfig is complete");
    ::kube::Client::try_from(config).expect("the kubeconfig makes a client")
}

/// The testbed's binary; built once, if Go is there.
///
/// # Errors
/// [`Unavailable`] with the reason, if it cannot be built.
pub fn program() -> Result<&'static Path, Unavailable> {
    static PROGRAM: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    PROGRAM.get_or_init(build).as_deref().map_err(again)
}

fn audit_log(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("audit.log")
}

fn again(reason: &Unavailable) -> Unavailable {
    Unavailable(reason.0.clone())
}

fn build() -> Result<PathBuf, Unavailable> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("testbed/build.sh");
    let output = Command::new(&script)
        .output()
        .map_err(|error| Unavailable(format!("cannot run {}: {error}", script.display())))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // A compiler's last words are its errors.
        let lines: Vec<&str> = said.trim().lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("; ");
        return Err(Unavailable(last.trim_start_matches("testbed: ").to_owned()));
    }
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim(),
    ))
}
