//! Settings of `wam serve`: built-in, then the file, then the environment and flags.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;

use super::duration;
use crate::actions::DEFAULT_RETENTION;
use crate::model::names::DEFAULT_SCHEDULER_NAME;
use crate::scheduler;
use crate::scheduler::config::Configuration;
use crate::scheduler::config::duration::GoDuration;

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
    /// A KubeSchedulerConfiguration file (kubescheduler.config.k8s.io/v1): profiles, plugins, extenders,
    /// leader election. Its scheduler names take the place of --scheduler-name; flags override the rest
    #[arg(
        long,
        value_name = "FILE",
        env = "WAM_SCHEDULER_CONFIG",
        conflicts_with = "scheduler_name"
    )]
    pub scheduler_config: Option<PathBuf>,
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
    /// How long an ended action can still be asked for, one hour at least [default: 168h]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub finished_action_retention: Option<Duration>,
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
    scheduler_config: Option<PathBuf>,
    executor_lease_duration: Option<String>,
    finished_action_retention: Option<String>,
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
    /// Profiles, plugins, extenders, the client's budget.
    pub scheduling: Configuration,
    /// Of the executor.
    pub executor_lease: Duration,
    /// How long an ended action can still be asked for.
    pub action_retention: Duration,
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
        let path = self.scheduler_config.or(file.scheduler_config);
        if path.is_some() && file.scheduler_name.is_some() {
            bail!(
                "config file: schedulerName and a scheduler configuration, which has the names, exclude each other"
            );
        }
        let (mut scheduling, given) = match path {
            Some(path) => (scheduler::config::load(&path)?, true),
            None => {
                let name = self.scheduler_name.or(file.scheduler_name);
                (
                    Configuration::for_scheduler(name.as_deref().unwrap_or(DEFAULT_SCHEDULER_NAME)),
                    false,
                )
            }
        };
        // Without a KubeSchedulerConfiguration the Lease is ours, not kube-scheduler's.
        if !given {
            DEFAULT_SCHEDULER_NAME.clone_into(&mut scheduling.leader_election.resource_name);
        }
        let lease = &mut scheduling.leader_election;
        set(
            &mut lease.leader_elect,
            self.leader_elect.or(election.leader_elect),
        );
        for (place, flag, file, name) in [
            (
                &mut lease.lease_duration,
                self.leader_elect_lease_duration,
                election.lease_duration,
                "leaderElection.leaseDuration",
            ),
            (
                &mut lease.renew_deadline,
                self.leader_elect_renew_deadline,
                election.renew_deadline,
                "leaderElection.renewDeadline",
            ),
            (
                &mut lease.retry_period,
                self.leader_elect_retry_period,
                election.retry_period,
                "leaderElection.retryPeriod",
            ),
        ] {
            set(place, span(flag, file, name)?.map(GoDuration::from));
        }
        let name = self.leader_elect_resource_name.or(election.resource_name);
        set(&mut lease.resource_name, name);
        let namespace = self
            .leader_elect_resource_namespace
            .or(election.resource_namespace);
        set(&mut lease.resource_namespace, namespace);
        let kubeconfig = &scheduling.client_connection.kubeconfig;
        let theirs = Some(kubeconfig)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let action_retention = span(
            self.finished_action_retention,
            file.finished_action_retention,
            "finishedActionRetention",
        )?;
        let executor_lease = span(
            self.executor_lease_duration,
            file.executor_lease_duration,
            "executorLeaseDuration",
        )?;
        let settings = Settings {
            kubeconfig: self.kubeconfig.or(file.kubeconfig).or(theirs),
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
            scheduling,
            executor_lease: executor_lease.unwrap_or(Duration::from_secs(10)),
            action_retention: action_retention.unwrap_or(DEFAULT_RETENTION),
            seed: self.seed.or(file.seed),
        };
        if settings.action_retention < Duration::from_secs(3600) {
            bail!(
                "--finished-action-retention must be at least 1h: callers must be able to learn how an action ended"
            );
        }
        if settings.executor_lease < Duration::from_millis(500) {
            bail!("--executor-lease-duration must be at least 500ms");
        }
        if settings
            .namespaces
            .iter()
            .any(|name| name.trim().is_empty())
        {
            bail!("--namespaces has an empty name among its names");
        }
        if !(settings.api || settings.executor || settings.scheduler) {
            bail!("nothing is left to do: API, executor and scheduler are all switched off");
        }
        Ok(settings)
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// A flag's duration, or the file's.
fn span(
    flag: Option<Duration>,
    file: Option<String>,
    name: &str,
) -> anyhow::Result<Option<Duration>> {
    match (flag, file) {
        (Some(flag), _) => Ok(Some(flag)),
        (None, Some(text)) => duration::parse(&text)
            .map(Some)
            .map_err(|why| anyhow::anyhow!("config file: {name}: {why}")),
        (None, None) => Ok(None),
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
        assert!(settings.api && settings.executor && settings.scheduler);
        let lease = &settings.scheduling.leader_election;
        assert!(lease.leader_elect);
        assert_eq!(lease.lease_duration, GoDuration::from_secs(15));
        assert_eq!(lease.renew_deadline, GoDuration::from_secs(10));
        assert_eq!(lease.retry_period, GoDuration::from_secs(2));
        assert_eq!(lease.resource_name, "wam-scheduler");
        assert_eq!(settings.scheduling.scheduler_names(), ["wam-scheduler"]);
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
        let lease = &settings.scheduling.leader_election;
        assert_eq!(lease.lease_duration, GoDuration::from_secs(3));
        assert!(!settings.scheduler && settings.api);
    }

    #[test]
    fn a_scheduler_configuration_names_the_profiles_and_flags_override_its_lease() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
            clientConnection: {kubeconfig: /k}\nleaderElection: {leaseDuration: 30s, resourceName: mine}\n\
            profiles: [{schedulerName: a}, {schedulerName: b}]\n";
        std::fs::write(file.path(), text).unwrap();
        let flags = Flags {
            scheduler_config: Some(file.path().to_owned()),
            leader_elect_resource_name: Some("other".into()),
            ..with_redis()
        };
        let settings = flags.clone().settings(none).unwrap();
        assert_eq!(settings.scheduling.scheduler_names(), ["a", "b"]);
        let lease = &settings.scheduling.leader_election;
        assert_eq!(lease.lease_duration, GoDuration::from_secs(30));
        assert_eq!(lease.resource_name, "other");
        assert_eq!(settings.kubeconfig, Some("/k".into()));
        std::fs::write(file.path(), format!("{text}frob: 1\nparallelism: 0\n")).unwrap();
        let told = flags.settings(none).unwrap_err().to_string();
        assert!(
            told.contains("line 6") && told.contains("line 7, column 1: parallelism"),
            "{told}"
        );
    }

    #[test]
    fn ended_actions_are_kept_for_a_while() {
        let days = |settings: Settings| settings.action_retention.as_secs() / (24 * 3600);
        assert_eq!(days(with_redis().settings(none).unwrap()), 7);
        let flags = |retention| Flags {
            finished_action_retention: Some(Duration::from_secs(retention)),
            ..with_redis()
        };
        assert_eq!(days(flags(24 * 3600).settings(none).unwrap()), 1);
        let text = flags(60).settings(none).unwrap_err().to_string();
        assert!(text.contains("--finished-action-retention"), "{text}");
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
