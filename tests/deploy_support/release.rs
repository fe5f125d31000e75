//! A Deployment of the cluster as local processes: its own arguments, its own environment, its own account.

use std::path::Path;

use super::redis::ChartRedis;
use crate::support::kubectl::kubectl_json;
use crate::support::process::Wam;
use crate::support::rpc::Caller;

/// One replica.
pub struct Replica {
    pub process: Wam,
    /// Where it takes actions, if it does.
    pub caller: Option<Caller>,
    /// Where it says how it is.
    pub health: Caller,
}

/// Starts one replica of a Deployment here: what its container would be told, with its account's token; the
/// addresses alone are changed, because a test has no pod network.
pub fn replica(
    admin: &Path,
    account: &Path,
    namespace: &str,
    name: &str,
    redis: &ChartRedis,
) -> Replica {
    let found = kubectl_json(admin, &["get", "deployment", name, "-n", namespace]);
    let pod = &found["spec"]["template"]["spec"];
    let folder = account.parent().expect("it is in a folder");
    let container = &pod["containers"][0];
    let mut args: Vec<String> = container["args"]
        .as_array()
        .expect("arguments")
        .iter()
        .map(|arg| arg.as_str().expect("text").to_owned())
        .map(|arg| match arg.split_once("=:") {
            Some((flag, _)) if flag.ends_with("listen") => format!("{flag}=127.0.0.1:0"),
            _ => arg,
        })
        .collect();
    args.push(format!("--kubeconfig={}", account.display()));
    let config = folder.join(format!("{name}-scheduler.yaml"));
    for arg in &mut args {
        if arg.starts_with("--scheduler-config=") {
            let map = &pod["volumes"][0]["configMap"]["name"];
            let map = map.as_str().expect("a ConfigMap");
            let found = kubectl_json(admin, &["get", "configmap", map, "-n", namespace]);
            let text = found["data"]["config.yaml"].as_str().expect("a file");
            std::fs::write(&config, text).expect("written");
            *arg = format!("--scheduler-config={}", config.display());
        }
    }
    let serves = args.iter().any(|arg| arg.starts_with("--listen="));
    let mut env = Vec::new();
    for variable in container["env"].as_array().expect("variables") {
        let name = variable["name"].as_str().expect("a name");
        let value = match name {
            "REDIS_HOST" => "127.0.0.1".to_owned(),
            "REDIS_PORT" => redis.port.to_string(),
            "REDIS_PASSWORD" => {
                let key = &variable["valueFrom"]["secretKeyRef"];
                secret(
                    admin,
                    namespace,
                    key["name"].as_str().expect("a Secret"),
                    key["key"].as_str().expect("a key"),
                )
            }
            _ => variable["value"].as_str().expect("a value").to_owned(),
        };
        env.push((name.to_owned(), value));
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let env: Vec<(&str, &str)> = env.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let mut process = Wam::start(&args, &env);
    let caller = serves.then(|| {
        let rpc = process.word("serving JSON-RPC on", "http://");
        Caller::new(&format!("http://{}", rpc.trim_end_matches("/rpc")))
    });
    let health = process.word("serving health and metrics on", "http://");
    Replica {
        process,
        caller,
        health: Caller::new(&format!("http://{health}")),
    }
}

/// A Secret's value.
pub fn secret(admin: &Path, namespace: &str, name: &str, key: &str) -> String {
    let found = kubectl_json(admin, &["get", "secret", name, "-n", namespace]);
    let text = found["data"][key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in {name}"));
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text);
    String::from_utf8(bytes.expect("base64")).expect("text")
}
