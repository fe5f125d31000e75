//! Settings of `wam serve`: built-in, then the file, then the environment and flags.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;

use super::duration;

/// Flags of `wam serve`; what is not given comes from `--config FILE`, then from the defaults.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// A YAML file with the same settings (apiserver, redis, listen, ...); flags override it
    #[arg(long, value_name = "FILE", env = "WAM_CONFIG")]
    pub config: Option<PathBuf>,
    /// The cluster's kubeconfig. Default: as kubectl finds it, or the pod's service account
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig. Default: its current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The store: `redis://[:PASSWORD@]HOST:PORT[/DB]`, or `memory` (loses everything at the end)
    #[arg(long, value_name = "URL", env = "REDIS_URL", hide_env_values = true)]
    pub redis: Option<String>,
    /// Where to serve JSON-RPC and events [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR", env = "SERVER_ADDRESS")]
    pub listen: Option<String>,
    /// Where to serve /livez, /readyz and /metrics, besides --listen: for probes, and for a process without the API
    /// [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    pub health_listen: Option<String>,
    /// Take actions and schedule pods in these namespaces alone [default: in all]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub namespaces: Option<Vec<String>>,
    /// Do not serve JSON-RPC and events
    #[arg(long)]
    pub no_api: bool,
    /// Do not carry actions out
    #[arg(long)]
    pub no_executor: bool,
    /// Do not schedule pods
    #[arg(long)]
    pub no_scheduler: bool,
    /// The pods that name this in spec.schedulerName are ours [default: wam-scheduler]
    #[arg(long, value_name = "NAME")]
    pub scheduler_name: Option<String>,
    /// Stand for election before scheduling, so that one of several replicas schedules [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub leader_elect: Option<bool>,
    /// How long others wait for a leader that is silent [default: 15s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub leader_elect_lease_duration: Option<Duration>,
    /// How long a leader tries to renew before it stops [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub leader_elect_renew_deadline: Option<Duration>,
    /// The pause between two tries [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub leader_elect_retry_period: Option<Duration>,
    /// The Lease's name [default: wam-scheduler]
    #[arg(long, value_name = "NAME")]
    pub leader_elect_resource_name: Option<String>,
    /// The Lease's namespace [default: kube-system]
    #[arg(long, value_name = "NAMESPACE")]
    pub leader_elect_resource_namespace: Option<String>,
    /// How long an action stays with an executor that is silent [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub executor_lease_duration: Option<Duration>,
    /// Of the random choices (ties, jitter) [default: from the clock]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct File {
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    redis: Option<String>,
    listen: Option<String>,
    health_listen: Option<String>,
    namespaces: Option<Vec<String>>,
    api: Option<bool>,
    executor: Option<bool>,
    scheduler: Option<bool>,
    scheduler_name: Option<String>,
    executor_lease_duration: Option<String>,
    seed: Option<u64>,
    leader_election: LeaderElection,
}

/// As in KubeSchedulerConfiguration.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct LeaderElection {
    leader_elect: Option<bool>,
    lease_duration: Option<String>,
    renew_deadline: Option<String>,
    retry_period: Option<String>,
    resource_name: Option<String>,
    resource_namespace: Option<String>,
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChoice {
    /// In this process.
    Memory,
    /// A Redis URL.
    Redis(String),
}

/// All settings, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The kubeconfig, if one was named.
    pub kubeconfig: Option<PathBuf>,
    /// Its context.
    pub context: Option<String>,
    /// The store.
    pub store: StoreChoice,
    /// Where to serve.
    pub listen: String,
    /// Where to serve health and metrics besides.
    pub health_listen: Option<String>,
    /// Where actions are taken and pods scheduled; empty: everywhere.
    pub namespaces: Vec<String>,
    /// Serve the API.
    pub api: bool,
    /// Carry actions out.
    pub executor: bool,
    /// Schedule.
    pub scheduler: bool,
    /// Whose pods are ours.
    pub scheduler_name: String,
    /// Stand for election.
    pub leader_elect: bool,
    /// Of the lease.
    pub lease_duration: Duration,
    /// Of the lease.
    pub renew_deadline: Duration,
    /// Of the lease.
    pub retry_period: Duration,
    /// Of the lease.
    pub lease_name: String,
    /// Of the lease.
    pub lease_namespace: String,
    /// Of the executor.
    pub executor_lease: Duration,
    /// Of random choices.
    pub seed: Option<u64>,
}

impl Flags {
    /// Reads the file, if one is named, and lays the layers over each other.
    ///
    /// # Errors
    /// What is wrong in the file with its line, or which setting makes no sense.
    pub fn settings(self, env: impl Fn(&str) -> Option<String>) -> anyhow::Result<Settings> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        let election = file.leader_election;
        let span = |flag: Option<Duration>, file: Option<String>, name: &str, default: u64| match (
            flag, file,
        ) {
            (Some(flag), _) => Ok(flag),
            (None, Some(text)) => {
                duration::parse(&text).map_err(|why| anyhow::anyhow!("config file: {name}: {why}"))
            }
            (None, None) => Ok(Duration::from_secs(default)),
        };
        let settings = Settings {
            kubeconfig: self.kubeconfig.or(file.kubeconfig),
            context: self.context.or(file.context),
            store: store(self.redis.or(file.redis), &env)?,
            listen: listen(self.listen.or(file.listen)),
            health_listen: self
                .health_listen
                .or(file.health_listen)
                .map(|text| listen(Some(text))),
            namespaces: self.namespaces.or(file.namespaces).unwrap_or_default(),
            api: !self.no_api && file.api.unwrap_or(true),
            executor: !self.no_executor && file.executor.unwrap_or(true),
            scheduler: !self.no_scheduler && file.scheduler.unwrap_or(true),
            scheduler_name: self
                .scheduler_name
                .or(file.scheduler_name)
                .unwrap_or_else(|| "wam-scheduler".to_owned()),
            leader_elect: self.leader_elect.or(election.leader_elect).unwrap_or(true),
            lease_duration: span(
                self.leader_elect_lease_duration,
                election.lease_duration,
                "leaderElection.leaseDuration",
                15,
            )?,
            renew_deadline: span(
                self.leader_elect_renew_deadline,
                election.renew_deadline,
                "leaderElection.renewDeadline",
                10,
            )?,
            retry_period: span(
                self.leader_elect_retry_period,
                election.retry_period,
                "leaderElection.retryPeriod",
                2,
            )?,
            lease_name: self
                .leader_elect_resource_name
                .or(election.resource_name)
                .unwrap_or_else(|| "wam-scheduler".to_owned()),
            lease_namespace: self
                .leader_elect_resource_namespace
                .or(election.resource_namespace)
                .unwrap_or_else(|| "kube-system".to_owned()),
            executor_lease: span(
                self.executor_lease_duration,
                file.executor_lease_duration,
                "executorLeaseDuration",
                10,
            )?,
            seed: self.seed.or(file.seed),
        };
        if settings.executor_lease < Duration::from_millis(500) {
            bail!("--executor-lease-duration must be at least 500ms");
        }
        if settings.namespaces.iter().any(|name| name.trim().is_empty()) {
            bail!("--namespaces has an empty name among its names");
        }
        if !(settings.api || settings.executor || settings.scheduler) {
            bail!("nothing is left to do: API, executor and scheduler are all switched off");
        }
        Ok(settings)
    }
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the config file {}", path.display()))?;
    serde_saphyr::from_str(&text)
        .map_err(|error| anyhow::anyhow!("config file {}: {error}", path.display()))
}

/// `:3030`, as the original takes it, means all addresses.
fn listen(text: Option<String>) -> String {
    match text {
        None => "127.0.0.1:3000".to_owned(),
        Some(text) if text.starts_with(':') => format!("0.0.0.0{text}"),
        Some(text) => text,
    }
}

/// `REDIS_HOST`, `REDIS_PORT` and `REDIS_PASSWORD` are the original's.
fn store(
    url: Option<String>,
    env: &impl Fn(&str) -> Option<String>,
) -> anyhow::Result<StoreChoice> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    match url {
        Some(url) if url == "memory" => return Ok(StoreChoice::Memory),
        Some(url) => return Ok(StoreChoice::Redis(url)),
        None => {}
    }
    let Some(host) = set("REDIS_HOST") else {
        bail!(
            "no store: give --redis redis://HOST:PORT, or set REDIS_HOST (and REDIS_PORT, REDIS_PASSWORD), \
             or --redis memory to try things out"
        );
    };
    let port = set("REDIS_PORT").unwrap_or_else(|| "6379".to_owned());
    let port: u16 = port
        .parse()
        .with_context(|| format!("REDIS_PORT {port:?} is no port"))?;
    let password = set("REDIS_PASSWORD").map(|secret| format!(":{}@", percent(&secret)));
    Ok(StoreChoice::Redis(format!(
        "redis://{}{host}:{port}",
        password.unwrap_or_default()
    )))
}

/// Percent-encodes what a URL's password may not contain.
fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    fn with_redis() -> Flags {
        Flags {
            redis: Some("redis://r:1".into()),
            ..Flags::default()
        }
    }

    #[test]
    fn defaults_are_kube_schedulers() {
        let settings = with_redis().settings(none).unwrap();
        assert!(settings.leader_elect && settings.api && settings.executor && settings.scheduler);
        assert_eq!(settings.lease_duration, Duration::from_secs(15));
        assert_eq!(settings.renew_deadline, Duration::from_secs(10));
        assert_eq!(settings.retry_period, Duration::from_secs(2));
        assert_eq!(settings.listen, "127.0.0.1:3000");
    }

    #[test]
    fn the_originals_environment_is_honoured() {
        let env = |name: &str| {
            match name {
                "REDIS_HOST" => Some("wam-redis"),
                "REDIS_PORT" => Some("7000"),
                "REDIS_PASSWORD" => Some("p@ss/word"),
                _ => None,
            }
            .map(str::to_owned)
        };
        let flags = Flags {
            listen: Some(":3030".into()),
            ..Flags::default()
        };
        let settings = flags.settings(env).unwrap();
        assert_eq!(
            settings.store,
            StoreChoice::Redis("redis://:p%40ss%2Fword@wam-redis:7000".into())
        );
        assert_eq!(settings.listen, "0.0.0.0:3030");
    }

    #[test]
    fn flags_override_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "listen: 10.0.0.1:1\nscheduler: false\nleaderElection:\n  leaseDuration: 3s\n",
        )
        .unwrap();
        let flags = Flags {
            config: Some(file.path().to_owned()),
            listen: Some("127.0.0.1:2".into()),
            ..with_redis()
        };
        let settings = flags.settings(none).unwrap();
        assert_eq!(settings.listen, "127.0.0.1:2");
        assert_eq!(settings.lease_duration, Duration::from_secs(3));
        assert!(!settings.scheduler && settings.api);
    }

    #[test]
    fn mistakes_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "listen: x\nlisten_address: y\n").unwrap();
        let flags = Flags {
            config: Some(file.path().to_owned()),
            ..with_redis()
        };
        let text = format!("{:#}", flags.settings(none).unwrap_err());
        assert!(text.contains("listen_address"), "{text}");
        let text = Flags::default().settings(none).unwrap_err().to_string();
        assert!(text.contains("--redis"), "{text}");
        let off = Flags {
            no_api: true,
            no_executor: true,
            no_scheduler: true,
            ..with_redis()
        };
        assert!(
            off.settings(none)
                .unwrap_err()
                .to_string()
                .contains("nothing is left")
        );
    }
}
