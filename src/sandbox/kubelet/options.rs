//! What can be set about the kubelets: their nodes, how quick they are, what goes wrong on purpose.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The annotation that says which run of `wam` plays the kubelet of a node. Only nodes that carry it
/// are ever touched.
pub const NODE_ANNOTATION: &str = "aces-eu.github.io/wam-kubelets";
/// The label or annotation by which one pod, or one node, is told to misbehave: see [`Behaviour`]. On
/// a node, `silent` stops its heartbeats and everything about its pods, as if it had lost its network.
pub const BEHAVIOUR: &str = "aces-eu.github.io/wam-sandbox";

/// A node that is to be.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Its name, and its `kubernetes.io/hostname`.
    pub name: String,
    /// Labels besides the ones that every kubelet sets.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Capacity, and allocatable just so, as quantities.
    pub capacity: BTreeMap<String, String>,
}

impl NodeSpec {
    /// A node with 4 CPUs, 16 GiB, 100 GiB of disk and room for 110 pods.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let capacity = [
            ("cpu", "4"),
            ("memory", "16Gi"),
            ("pods", "110"),
            ("ephemeral-storage", "100Gi"),
        ];
        Self {
            name: name.into(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            capacity: capacity
                .map(|(name, amount)| (name.to_owned(), amount.to_owned()))
                .into(),
        }
    }

    /// `count` such nodes, named by the prefix and their number from 0.
    #[must_use]
    pub fn numbered(prefix: &str, count: usize) -> Vec<Self> {
        (0..count)
            .map(|number| Self::new(format!("{prefix}{number}")))
            .collect()
    }
}

/// What goes wrong on purpose, for the share (0 to 1) of pods that is given; which pods, the seed
/// decides.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// These run but never become ready.
    pub never_ready: f64,
    /// These crash, again and again.
    pub crash: f64,
    /// These take `slow_by` longer to start.
    pub slow: f64,
    /// How much longer.
    pub slow_by: Duration,
}

/// What can be set about the kubelets.
#[derive(Clone, Debug)]
pub struct KubeletOptions {
    /// The nodes to register.
    pub nodes: Vec<NodeSpec>,
    /// Written into [`NODE_ANNOTATION`]. A node with another instance's name there is not ours.
    pub instance: String,
    /// From a pod's admission to its being Running and Ready.
    pub start_latency: Duration,
    /// From a pod's deletion to its end; never longer than its grace period.
    pub stop_latency: Duration,
    /// What goes wrong on purpose.
    pub failures: Failures,
    /// Decides what is random.
    pub seed: u64,
    /// Whether to delete the nodes at the end.
    pub delete_nodes: bool,
    /// How many requests about pods are under way at once.
    pub concurrency: usize,
    /// Whether to post events, as kubelets do: three for each container that is started. Measurements of
    /// something else go without.
    pub events: bool,
}

impl Default for KubeletOptions {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            instance: "wam".into(),
            start_latency: Duration::from_secs(1),
            stop_latency: Duration::from_secs(1),
            failures: Failures::default(),
            seed: 0,
            delete_nodes: false,
            concurrency: 32,
            events: true,
        }
    }
}

/// How one pod behaves.
///
/// Written in a pod's label or annotation [`BEHAVIOUR`], several separated by commas (in a label: by
/// nothing, labels have no commas): `never-ready`, `crash` or `crash=3s` (crashes after that time),
/// `slow=5s` (starts so much later), `complete=5s` and `fail=5s` (ends so long after its start). A
/// label takes `.` for `=`: `slow.5s`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// Runs but never becomes ready.
    pub never_ready: bool,
    /// Crashes so long after each start.
    pub crash: Option<Duration>,
    /// Starts so much later.
    pub slow: Duration,
    /// Ends so long after its start, with this exit code.
    pub ends: Option<(Duration, i32)>,
}

impl Behaviour {
    /// What the object's metadata ask for. `None` if they ask for nothing; what cannot be read is
    /// ignored.
    #[must_use]
    pub fn asked(meta: &ObjectMeta) -> Option<Self> {
        let text = asked(meta)?;
        let mut behaviour = Self::default();
        for word in text.split(',') {
            let (name, value) = word
                .split_once(['=', '.'])
                .map_or((word, None), |(name, value)| (name, Some(value)));
            let time = |otherwise: Duration| {
                let given = value.and_then(|value| value.parse::<jiff::SignedDuration>().ok());
                given
                    .and_then(|given| Duration::try_from(given).ok())
                    .unwrap_or(otherwise)
            };
            match name.trim() {
                "never-ready" => behaviour.never_ready = true,
                "crash" => behaviour.crash = Some(time(Duration::from_secs(1))),
                "slow" => behaviour.slow = time(Duration::from_secs(30)),
                "complete" => behaviour.ends = Some((time(Duration::from_secs(1)), 0)),
                "fail" => behaviour.ends = Some((time(Duration::from_secs(1)), 1)),
                _ => {}
            }
        }
        Some(behaviour)
    }
}

/// The value of [`BEHAVIOUR`]: the annotation, else the label.
#[must_use]
pub fn asked(meta: &ObjectMeta) -> Option<&str> {
    let annotation = meta
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(BEHAVIOUR));
    annotation
        .or_else(|| {
            meta.labels
                .as_ref()
                .and_then(|labels| labels.get(BEHAVIOUR))
        })
        .map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn behaviour_is_read_from_annotation_and_label() {
        let asked = |value: serde_json::Value| {
            Behaviour::asked(&serde_json::from_value::<ObjectMeta>(value).unwrap())
        };
        assert_eq!(asked(json!({})), None);
        let both = asked(json!({"annotations": {BEHAVIOUR: "slow=1500ms,never-ready"}})).unwrap();
        assert_eq!(both.slow, Duration::from_millis(1500));
        assert!(both.never_ready);
        let label = asked(json!({"labels": {BEHAVIOUR: "crash.3s"}})).unwrap();
        assert_eq!(label.crash, Some(Duration::from_secs(3)));
        let nonsense = asked(json!({"labels": {BEHAVIOUR: "what=ever"}})).unwrap();
        assert_eq!(nonsense, Behaviour::default());
    }
}
