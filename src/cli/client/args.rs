//! The arguments of the commands, and how their texts are read.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::output::Format;

/// Which server, which namespace, which output.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The server's address
    #[arg(
        long,
        env = "WAM_SERVER",
        default_value = "http://127.0.0.1:3000",
        value_name = "URL"
    )]
    pub server: String,
    /// How to write the result
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// How an action is submitted, and whether its end is awaited.
#[derive(Debug, Clone, Args)]
pub struct SubmitArgs {
    /// Which server, which output.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The namespace of names that do not say theirs
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,
    /// The same key with the same request again is the same action
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// When to give up and put back: seconds, or for example 90s, 2m, 1h30m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub deadline: Option<Duration>,
    /// How a pod's place is taken by a new one
    #[arg(long, value_enum, value_name = "STRATEGY")]
    pub strategy: Option<StrategyArg>,
    /// Say what would be done; do nothing
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    /// Wait until the action has ended; exit code 0 if it succeeded
    #[arg(short, long)]
    pub wait: bool,
    /// With --wait: how long to wait at most (the action goes on): seconds, or for example 2m
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "wait")]
    pub timeout: Option<Duration>,
}

/// `options.strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StrategyArg {
    /// Surge if there is room and it is allowed, else recreate
    Auto,
    /// The new pod first; the old one goes when it is Ready
    Surge,
    /// The old pod first
    Recreate,
}

impl SubmitArgs {
    /// `options` on the wire; `None` if nothing was said.
    #[must_use]
    pub fn options(&self) -> Option<Value> {
        let mut options = serde_json::Map::new();
        if let Some(key) = &self.idempotency_key {
            options.insert("idempotencyKey".into(), json!(key));
        }
        if let Some(deadline) = self.deadline {
            options.insert("deadlineSeconds".into(), json!(deadline.as_secs()));
        }
        if let Some(strategy) = self.strategy {
            let strategy = match strategy {
                StrategyArg::Auto => "Auto",
                StrategyArg::Surge => "Surge",
                StrategyArg::Recreate => "Recreate",
            };
            options.insert("strategy".into(), json!(strategy));
        }
        if self.dry_run {
            options.insert("dryRun".into(), json!(true));
        }
        (!options.is_empty()).then_some(Value::Object(options))
    }
}

/// `wam create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The workload, for example deployment/web
    #[arg(value_name = "deployment/NAME")]
    pub workload: Workload,
    /// The node of the new pod
    #[arg(long, value_name = "NODE")]
    pub node: String,
    /// How to submit.
    #[command(flatten)]
    pub submit: SubmitArgs,
}

/// `wam delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The pod: NAME, pod/NAME or NAMESPACE/NAME
    pub pod: PodName,
    /// Only if the pod has this uid
    #[arg(long, value_name = "UID")]
    pub uid: Option<String>,
    /// How to submit.
    #[command(flatten)]
    pub submit: SubmitArgs,
}

/// `wam move`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The pod: NAME, pod/NAME or NAMESPACE/NAME
    pub pod: PodName,
    /// The node of the new pod
    #[arg(long, value_name = "NODE")]
    pub node: String,
    /// Only if the pod has this uid
    #[arg(long, value_name = "UID")]
    pub uid: Option<String>,
    /// How to submit.
    #[command(flatten)]
    pub submit: SubmitArgs,
}

/// `wam swap`.
#[derive(Debug, Args)]
pub struct SwapArgs {
    /// The pod on the one side: NAME, pod/NAME or NAMESPACE/NAME
    pub pod: PodName,
    /// The pods on the other side, all on one node
    #[arg(
        long,
        value_name = "POD[,POD…]",
        value_delimiter = ',',
        required = true
    )]
    pub with: Vec<PodName>,
    /// Only if the pod on the one side has this uid
    #[arg(long, value_name = "UID")]
    pub uid: Option<String>,
    /// How to submit.
    #[command(flatten)]
    pub submit: SubmitArgs,
}

/// `wam get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The action's id
    pub id: String,
    /// Which server, which output.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `wam list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How many actions
    #[arg(long, default_value_t = 20, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// Where a former page ended
    #[arg(long, value_name = "TOKEN")]
    pub r#continue: Option<String>,
    /// Which server, which output.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `wam watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The action's id; without it all actions are followed, without end
    pub id: Option<String>,
    /// Begin after this event id instead of now; 0 is the oldest event kept
    #[arg(long, value_name = "EVENT-ID")]
    pub since: Option<String>,
    /// Which server, which output.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// A workload on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The name of a Deployment.
    pub name: String,
}

/// A text on the command line is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl FromStr for Workload {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (kind, name) = text
            .split_once('/')
            .ok_or_else(|| Error(format!("want deployment/{text}")))?;
        match kind.to_ascii_lowercase().as_str() {
            "deployment" | "deployments" | "deploy" | "deployment.apps" | "deployments.apps" => {}
            _ => {
                return Err(Error(format!(
                    "{kind:?} is no kind that can be created here; want deployment/NAME"
                )));
            }
        }
        if name.is_empty() || name.contains('/') {
            return Err(Error("want deployment/NAME".to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
        })
    }
}

/// A pod on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodName {
    /// If it was said.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl PodName {
    /// The pod on the wire.
    #[must_use]
    pub fn wire(&self, namespace: &str, uid: Option<&str>) -> Value {
        let namespace = self.namespace.as_deref().unwrap_or(namespace);
        let mut pod = json!({"namespace": namespace, "name": self.name});
        if let Some(uid) = uid {
            pod["uid"] = json!(uid);
        }
        pod
    }
}

impl FromStr for PodName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (namespace, name) = match text.split_once('/') {
            None | Some(("pod" | "pods" | "po", _)) => (None, text.rsplit('/').next()),
            Some((namespace, name)) => (Some(namespace), Some(name)),
        };
        let name = name.unwrap_or_default();
        if name.is_empty() || name.contains('/') || namespace == Some("") {
            return Err(Error("want NAME, pod/NAME or NAMESPACE/NAME".to_owned()));
        }
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

/// Whole seconds, or what `jiff` reads (`2m`, `1h30m`), of at least a second.
fn duration(text: &str) -> Result<Duration, Error> {
    let wrong = || Error("want seconds, or for example 90s, 2m, 1h30m".to_owned());
    let duration = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => text
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|signed| Duration::try_from(signed).ok())
            .ok_or_else(wrong)?,
    };
    if duration < Duration::from_secs(1) {
        return Err(Error("must be at least one second".to_owned()));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_kubectl_spells_them() {
        for text in [
            "deployment/web",
            "deploy/web",
            "Deployments/web",
            "deployment.apps/web",
        ] {
            assert_eq!(text.parse::<Workload>().unwrap().name, "web");
        }
        for bad in ["web", "deployment/", "statefulset/web", "deployment/a/b"] {
            assert!(bad.parse::<Workload>().is_err(), "{bad}");
        }
        for (text, namespace) in [("p", "default"), ("pod/p", "default"), ("shop/p", "shop")] {
            let pod: PodName = text.parse().unwrap();
            assert_eq!(
                pod.wire("default", None),
                json!({"namespace": namespace, "name": "p"})
            );
        }
        for bad in ["", "/p", "shop/", "a/b/c", "pod/"] {
            assert!(bad.parse::<PodName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_seconds_or_spelled_out() {
        assert_eq!(duration("90").unwrap().as_secs(), 90);
        assert_eq!(duration("1h30m").unwrap().as_secs(), 5400);
        for bad in ["0", "-5s", "soon", "10ms", ""] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
