//! The two API servers, and connections to them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use wam::sandbox::{Cluster, ClusterOptions};

use crate::support;
use crate::support::account;
use crate::support::kubectl::kubectl;
use crate::support::testbed::Testbed;

/// An API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// The sandbox's, with its controllers; one for all tests of this process.
    Sandbox,
    /// kube-apiserver and kube-controller-manager: the testbed's, or those whose kubeconfig
    /// `WAM_TEST_KUBECONFIG` names. No kubelet serves the nodes that the tests speak of.
    Real,
}

impl Ground {
    /// Its kubeconfig; `None` (said aloud) where there is no such server.
    pub(crate) fn kubeconfig(self, test: &str) -> Option<PathBuf> {
        match self {
            Self::Sandbox => Some(sandbox().to_owned()),
            Self::Real => match std::env::var_os("WAM_TEST_KUBECONFIG") {
                Some(path) => Some(path.into()),
                None => support::require(test, Testbed::shared())
                    .map(|testbed| testbed.kubeconfig().to_owned()),
            },
        }
    }

    /// The kubeconfig with which our own client module asks: on the testbed, of an account with the rights that the
    /// deployment grants, and those of the election in every namespace, since each test has a lease of its own. The
    /// sandbox enforces no rights, and somebody's own cluster is left as it is.
    pub(crate) fn own(self, admin: &Path) -> PathBuf {
        static OWN: OnceLock<PathBuf> = OnceLock::new();
        if self == Self::Sandbox || std::env::var_os("WAM_TEST_KUBECONFIG").is_some() {
            return admin.to_owned();
        }
        let make = || {
            let own = account::restricted(admin);
            let subject = format!("--serviceaccount=default:{}", account::NAME);
            let role = [
                "create",
                "clusterrole",
                "lease",
                "--resource=leases.coordination.k8s.io",
            ];
            let bind = [
                "create",
                "clusterrolebinding",
                "lease",
                "--clusterrole=lease",
            ];
            for (args, last) in [(role, "--verb=create,get,update"), (bind, subject.as_str())] {
                kubectl(admin, &[&args[..], &[last]].concat()).expect("made");
            }
            own
        };
        OWN.get_or_init(make).clone()
    }

    /// A client that repeats nothing by itself.
    pub(crate) async fn client(self, test: &str) -> Option<Client> {
        // The testbed's start blocks.
        let name = test.to_owned();
        let path = tokio::task::spawn_blocking(move || self.kubeconfig(&name))
            .await
            .expect("it starts or says why not")?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read = Kubeconfig::read_from(path).expect("the kubeconfig can be read");
        let mut config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
            .await
            .expect("the kubeconfig is complete");
        config.default_retry = false;
        Some(Client::try_from(config).expect("the kubeconfig makes a client"))
    }
}

/// One sandbox for all tests of this process, in a runtime of its own: each test's ends with the test.
fn sandbox() -> &'static Path {
    static KUBECONFIG: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = KUBECONFIG.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async move {
                let options = ClusterOptions {
                    nodes: 0,
                    ..ClusterOptions::default()
                };
                let cluster = Cluster::start(options).await.expect("the sandbox starts");
                sender.send(cluster.kubeconfig()).expect("somebody waits");
                std::future::pending::<()>().await;
            });
        });
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kubeconfig");
        let text = receiver.recv().expect("the sandbox starts");
        std::fs::write(&path, text).expect("written");
        (folder, path)
    });
    path
}
