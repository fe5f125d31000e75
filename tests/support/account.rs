//! A service account with the rights that the deployment grants `wam`, and under its admission policy: suites that run
//! `wam` on the testbed run it so, not as the administrator.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::kubectl::{kubectl, kubectl_binary};

/// What `wam serve` needs to be told besides: the lease that this account may hold.
pub const LEASE: [&str; 4] = [
    "--leader-elect-resource-namespace",
    "default",
    "--leader-elect-resource-name",
    "wam-scheduler-leader",
];

/// Its name, in the namespace `default`.
pub const NAME: &str = "wam-suite";

/// Makes the account, with the committed rules of `deploy/wam` and `deploy/wam-scheduler` both, and writes its
/// kubeconfig beside the administrator's.
///
/// # Panics
/// If the API server takes none of that.
pub fn restricted(admin: &Path) -> PathBuf {
    for part in ["wam", "wam-scheduler"] {
        for file in ["rbac", "admission-policy"] {
            let path =
                Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("deploy/{part}/{file}.yaml"));
            let text = std::fs::read_to_string(&path).expect("a manifest");
            // The same rules and the same policy, of this account.
            let account = format!("system:serviceaccount:default:{part}\"");
            let text = text
                .replace(&account, &format!("system:serviceaccount:default:{NAME}\""))
                .replace(
                    &format!("\"kind\":\"ServiceAccount\",\"name\":\"{part}\""),
                    &format!("\"kind\":\"ServiceAccount\",\"name\":\"{NAME}\""),
                );
            assert!(text.contains(NAME), "{} names its account", path.display());
            apply(admin, &text);
        }
    }
    kubectl(admin, &["create", "serviceaccount", NAME, "-n", "default"]).expect("an account");
    let token = kubectl(
        admin,
        &["create", "token", NAME, "-n", "default", "--duration=8h"],
    )
    .expect("a token");
    kubeconfig(
        admin,
        token.trim(),
        &admin.with_file_name(format!("{NAME}.kubeconfig")),
    )
}

/// Writes the administrator's kubeconfig with another token; answers where it is.
///
/// # Panics
/// If it cannot be written.
pub fn kubeconfig(admin: &Path, token: &str, path: &Path) -> PathBuf {
    let text = kubectl(admin, &["config", "view", "--raw", "-o", "json"]).expect("a kubeconfig");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for user in config["users"].as_array_mut().expect("users") {
        user["user"] = serde_json::json!({"token": token});
    }
    std::fs::write(path, config.to_string()).expect("written");
    path.to_owned()
}

fn apply(admin: &Path, text: &str) {
    use std::io::Write as _;
    let program = kubectl_binary().expect("kubectl is part of the testbed");
    let mut child = std::process::Command::new(program)
        .arg("--kubeconfig")
        .arg(admin)
        .args(["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("kubectl starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("written");
    drop(stdin);
    assert!(child.wait().expect("it ends").success(), "applied");
}
