//! Extenders: services that decide with us, over HTTP (`pkg/scheduler/extender.go`, `schedule_one.go`).
//!
//! What is asked of them and what their answers mean is here; `app` speaks to them. They are asked one after
//! another, those that can be ignored last; a pod that requests nothing they manage is none of their business.

mod decide;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use tracing::{debug, warn};

use super::config::ExtenderConfig;
use super::diagnosis::FitError;
use super::framework::Status;
use super::framework::plugin::MAX_SCORE;
use super::ports::Binding;
use super::preemption::Candidate;
use crate::cluster::{NodeInfo, PodInfo, Snapshot};

pub use decide::schedule;

/// Stands for all of them among the rejectors of a pod (`framework.ExtenderName`).
pub const EXTENDER: &str = "Extender";
/// The largest score an extender gives.
const MAX_EXTENDER_SCORE: i64 = 10;

/// An extender did not answer as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

/// What an extender says about nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filtered {
    /// Those that pass.
    pub nodes: Vec<String>,
    /// Those that do not, and why.
    pub failed: BTreeMap<String, String>,
    /// Those that no preemption would help, and why.
    pub unresolvable: BTreeMap<String, String>,
}

/// Who would have to go from a node: uids, and how many of them a PodDisruptionBudget would keep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Victims {
    /// Their uids.
    pub pods: Vec<String>,
    /// How many are protected.
    pub violations: i64,
}

/// One extender.
#[async_trait]
pub trait Extender: Send + Sync {
    /// What it is configured to do.
    fn config(&self) -> &ExtenderConfig;

    /// Which of these nodes pass.
    async fn filter(&self, pod: &PodInfo, nodes: &[Arc<NodeInfo>]) -> Result<Filtered, Unanswered>;

    /// What the nodes are worth, 0 to 10.
    async fn prioritize(
        &self,
        pod: &PodInfo,
        nodes: &[Arc<NodeInfo>],
    ) -> Result<Vec<(String, i64)>, Unanswered>;

    /// Which of these nodes may be preempted on, and whom.
    async fn preempt(
        &self,
        pod: &PodInfo,
        candidates: &BTreeMap<String, Victims>,
    ) -> Result<BTreeMap<String, Victims>, Unanswered>;

    /// Binds the pod.
    async fn bind(&self, binding: &Binding) -> Result<(), Unanswered>;
}

/// Whether the pod requests, or is limited in, something that the extender manages; a manager of nothing
/// minds everything.
#[must_use]
pub fn is_interested(config: &ExtenderConfig, pod: &PodInfo) -> bool {
    let managed = &config.managed_resources;
    managed.is_empty()
        || managed.iter().any(|resource| {
            let has = |amounts: &crate::model::Resources| amounts.scalar(&resource.name) != 0;
            has(&pod.spec.requests.total) || pod.spec.limits.as_deref().is_some_and(has)
        })
}

/// All extenders, in the order in which they are asked.
#[derive(Clone, Default)]
pub struct Extenders(Vec<Arc<dyn Extender>>);

impl Extenders {
    /// Puts those that can be ignored last.
    #[must_use]
    pub fn new(mut extenders: Vec<Arc<dyn Extender>>) -> Self {
        extenders.sort_by_key(|extender| extender.config().ignorable);
        Self(extenders)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them filters.
    fn filters(&self) -> bool {
        self.0.iter().any(|e| !e.config().filter_verb.is_empty())
    }

    fn minding(&self, pod: &PodInfo) -> impl Iterator<Item = &Arc<dyn Extender>> {
        let all = self.0.iter();
        all.filter(|extender| is_interested(extender.config(), pod))
    }

    /// Those of the nodes that all let pass. Who does not pass is noted in `error`.
    async fn filter(
        &self,
        pod: &PodInfo,
        mut feasible: Vec<Arc<NodeInfo>>,
        error: &mut FitError,
    ) -> Result<Vec<Arc<NodeInfo>>, Status> {
        let before = feasible.len();
        for extender in self.minding(pod) {
            if feasible.is_empty() {
                break;
            }
            let config = extender.config();
            if config.filter_verb.is_empty() {
                continue;
            }
            let answer = match extender.filter(pod, &feasible).await {
                Ok(answer) => choose_among(&feasible, answer.nodes, config).map(|nodes| {
                    note(error, answer.failed, Status::unschedulable);
                    note(error, answer.unresolvable, Status::unresolvable);
                    nodes
                }),
                Err(problem) => Err(problem),
            };
            match answer {
                Ok(nodes) => feasible = nodes,
                Err(problem) if config.ignorable => {
                    warn!(extender = config.url_prefix, %problem, "an extender is left out");
                }
                Err(problem) => return Err(failure(problem)),
            }
        }
        if feasible.len() != before {
            error.rejectors.insert(EXTENDER);
        }
        Ok(feasible)
    }

    /// What the extenders add to the nodes' scores. One that does not answer adds nothing.
    async fn scores(&self, pod: &PodInfo, nodes: &[Arc<NodeInfo>]) -> HashMap<String, i64> {
        let asked = self
            .minding(pod)
            .filter(|e| !e.config().prioritize_verb.is_empty());
        let answers = asked.map(|extender| async move {
            (extender.config(), extender.prioritize(pod, nodes).await)
        });
        let mut sums = HashMap::new();
        for (config, answer) in futures::future::join_all(answers).await {
            match answer {
                Ok(scores) => {
                    for (node, score) in scores {
                        let scaled = score
                            .saturating_mul(config.weight)
                            .saturating_mul(MAX_SCORE / MAX_EXTENDER_SCORE);
                        let sum: &mut i64 = sums.entry(node).or_default();
                        *sum = sum.saturating_add(scaled);
                    }
                }
                Err(problem) => debug!(extender = config.url_prefix, %problem, "gave no scores"),
            }
        }
        sums
    }

    /// Those of the candidates that all agree to, with the victims they have chosen.
    async fn preempt(
        &self,
        pod: &PodInfo,
        mut candidates: Vec<Candidate>,
        snapshot: &Snapshot,
    ) -> Result<Vec<Candidate>, Status> {
        for extender in self
            .minding(pod)
            .filter(|e| !e.config().preempt_verb.is_empty())
        {
            if candidates.is_empty() {
                break;
            }
            let config = extender.config();
            let asked = candidates.iter().map(|candidate| {
                let victims = Victims {
                    pods: candidate
                        .victims
                        .iter()
                        .map(|p| p.uid().to_owned())
                        .collect(),
                    violations: i64::try_from(candidate.violations).unwrap_or(i64::MAX),
                };
                (candidate.node.to_string(), victims)
            });
            let answer = extender.preempt(pod, &asked.collect()).await;
            match answer.and_then(|answer| understood(answer, snapshot, config)) {
                Ok(agreed) => candidates = agreed,
                Err(problem) if config.ignorable => {
                    warn!(extender = config.url_prefix, %problem, "an extender is left out");
                }
                Err(problem) => return Err(failure(problem)),
            }
        }
        Ok(candidates)
    }
}

fn failure(problem: Unanswered) -> Status {
    Status::new(super::framework::Code::Error, problem.0).by(EXTENDER)
}

/// The nodes of these names; an extender may not make any up.
fn choose_among(
    nodes: &[Arc<NodeInfo>],
    names: Vec<String>,
    config: &ExtenderConfig,
) -> Result<Vec<Arc<NodeInfo>>, Unanswered> {
    let by_name: HashMap<&str, &Arc<NodeInfo>> =
        nodes.iter().map(|node| (&**node.name(), node)).collect();
    let found = names.into_iter().map(|name| match by_name.get(name.as_str()) {
        Some(node) => Ok(Arc::clone(node)),
        None => Err(Unanswered(format!(
            "extender {:?} claims a filtered node {name:?} which is not found in the input node list",
            config.url_prefix
        ))),
    });
    found.collect()
}

fn note(error: &mut FitError, failed: BTreeMap<String, String>, status: fn(String) -> Status) {
    for (node, reason) in failed {
        error
            .rejected
            .insert(node.into(), status(reason).by(EXTENDER));
    }
}

/// The candidates that an extender means.
fn understood(
    answer: BTreeMap<String, Victims>,
    snapshot: &Snapshot,
    config: &ExtenderConfig,
) -> Result<Vec<Candidate>, Unanswered> {
    let mut candidates = Vec::new();
    for (name, victims) in answer {
        let node = snapshot.node(&name).ok_or_else(|| {
            Unanswered(format!(
                "node {name:?} of an extender's answer is not there"
            ))
        })?;
        let pods: Result<Vec<_>, Unanswered> = victims
            .pods
            .iter()
            .map(|uid| {
                let pod = node.pods.iter().find(|pod| pod.uid() == uid).cloned();
                pod.ok_or_else(|| {
                    Unanswered(format!(
                        "extender: {} claims to preempt pod (UID: {uid}) on node: {name}, but the pod is not \
                         found on that node",
                        config.url_prefix
                    ))
                })
            })
            .collect();
        let pods = pods?;
        if pods.is_empty() {
            if config.ignorable {
                continue;
            }
            return Err(Unanswered(format!(
                "expected at least one victim pod on node {name:?}"
            )));
        }
        candidates.push(Candidate {
            node: Arc::clone(node.name()),
            victims: pods,
            violations: usize::try_from(victims.violations).unwrap_or(0),
        });
    }
    Ok(candidates)
}
