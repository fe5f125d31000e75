//! The answer's form: what `--jsonl` writes and `-o json` shows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::framework::{Code, Status};
use super::super::preemption::Candidate;
use crate::model::NamespacedName;

/// Everything about one decision.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The case's, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `namespace/name`.
    pub pod: String,
    /// `Scheduled`, `Unschedulable` or `Error`.
    pub result: &'static str,
    /// The status that ended PreFilter, if it did.
    pub pre_filter: Option<Verdict>,
    /// The nodes that PreFilter has narrowed the search to, there or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_filter_nodes: Option<Vec<String>>,
    /// Every node, in the order in which they are looked at.
    pub nodes: Vec<NodeAnswer>,
    /// The nodes with the highest total, sorted: one of them is chosen.
    pub candidates: Vec<String>,
    /// Whether the pod's nominated node is taken without comparing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub via_nominated_node: bool,
    /// The text of the condition and the event; empty if the pod is scheduled.
    pub message: String,
    /// Who could go; none if the pod is scheduled or nothing preempts.
    pub preemption: Option<Preemption>,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The first plugin that says no; empty if PreFilter had left the node out.
    pub plugin: &'static str,
    /// `Unschedulable` or `UnschedulableAndUnresolvable`.
    pub code: &'static str,
    /// Its reasons, sorted.
    pub reasons: Vec<String>,
}

impl Verdict {
    pub(super) fn of(status: &Status) -> Self {
        let mut reasons: Vec<String> = status.reasons.iter().map(ToString::to_string).collect();
        reasons.sort();
        Self {
            plugin: status.plugin,
            code: match status.code {
                Code::Unschedulable => "Unschedulable",
                Code::UnschedulableAndUnresolvable => "UnschedulableAndUnresolvable",
                Code::Pending => "Pending",
                Code::Wait => "Wait",
                Code::Skip => "Skip",
                Code::Error => "Error",
            },
            reasons,
        }
    }
}

/// One node.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NodeAnswer {
    /// Its name.
    pub name: String,
    /// Why the pod does not fit; none if it does.
    pub filter: Option<Verdict>,
    /// What each plugin scores, if the pod fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<BTreeMap<String, PluginScore>>,
    /// The sum of the weighted scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
}

/// What a plugin scores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PluginScore {
    /// By itself.
    pub raw: i64,
    /// Within 0 and 100.
    pub normalized: i64,
    /// Times the plugin's weight.
    pub weighted: i64,
}

/// Who could go.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Preemption {
    /// Nodes that could be made to fit.
    pub candidates: Vec<Victims>,
    /// The best of them.
    pub nominated: Option<Nominated>,
}

/// The best node, or several equally good ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Nominated {
    /// This one.
    One(String),
    /// One of these, sorted.
    Any(Vec<String>),
}

impl Nominated {
    pub(super) fn of(mut nodes: Vec<String>) -> Option<Self> {
        nodes.sort();
        match nodes.len() {
            0 => None,
            1 => nodes.pop().map(Self::One),
            _ => Some(Self::Any(nodes)),
        }
    }
}

/// A node and who would have to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Victims {
    /// The node.
    pub node: String,
    /// `namespace/name`, sorted.
    pub victims: Vec<String>,
    /// How many of them a PodDisruptionBudget would keep.
    pub pdb_violations: usize,
}

impl Victims {
    pub(super) fn of(candidate: &Candidate) -> Self {
        let names = candidate.victims.iter().map(|p| p.pod.key.to_string());
        let mut victims: Vec<String> = names.collect();
        victims.sort();
        Self {
            node: candidate.node.to_string(),
            victims,
            pdb_violations: candidate.violations,
        }
    }
}

impl Answer {
    pub(super) fn new(pod: &NamespacedName) -> Self {
        Self {
            pod: pod.to_string(),
            result: "Unschedulable",
            ..Self::default()
        }
    }

    pub(super) fn failed(mut self, message: String) -> Self {
        self.result = "Error";
        self.message = message;
        self
    }

    /// The best nodes, or the promised one.
    pub(super) fn choose(&mut self, promised: Option<&String>) {
        self.result = "Scheduled";
        if let Some(promised) = promised {
            self.via_nominated_node = true;
            self.candidates = vec![promised.clone()];
            return;
        }
        let best = self.nodes.iter().filter_map(|n| n.total).max();
        let best_ones = self
            .nodes
            .iter()
            .filter(|n| n.total.is_some() && n.total == best);
        self.candidates = best_ones.map(|n| n.name.clone()).collect();
        self.candidates.sort();
    }
}
