//! Why a pod fits nowhere, in kube-scheduler's words (`framework/types.go`, `FitError`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::framework::Status;
use super::framework::plugin::Nomination;

/// Events keep so many bytes of a note.
const MAX_NOTE: usize = 1024;

/// No node fits.
#[derive(Debug, Clone, Default)]
pub struct FitError {
    /// How many nodes there are.
    pub nodes: usize,
    /// Why the nodes that were filtered do not fit.
    pub rejected: BTreeMap<Arc<str>, Status>,
    /// Why all other nodes do not.
    pub absent: Option<Status>,
    /// What PreFilter said, if it ended the search.
    pub pre_filter: Option<String>,
    /// What PostFilter said.
    pub post_filter: String,
    /// What PostFilter wants done.
    pub nomination: Nominate,
    /// Whom an event must help.
    pub rejectors: BTreeSet<&'static str>,
}

/// What becomes of the pod's nominated node.
#[derive(Debug, Clone, Default)]
pub enum Nominate {
    /// It stays as it is.
    #[default]
    Leave,
    /// It is void.
    Clear,
    /// It is this one, as soon as the victims are gone.
    Node(Nomination),
}

impl FitError {
    /// Why this node does not fit, as far as it was looked at.
    #[must_use]
    pub fn status(&self, node: &str) -> Option<&Status> {
        self.rejected.get(node).or(self.absent.as_ref())
    }

    /// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
    #[must_use]
    pub fn message(&self) -> String {
        let mut text = format!("0/{} nodes are available:", self.nodes);
        match &self.pre_filter {
            Some(said) => text.push_str(&format!(" {said}.")),
            None => {
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                for reason in self.rejected.values().flat_map(|s| &s.reasons) {
                    *counts.entry(reason).or_default() += 1;
                }
                let others = self.nodes.saturating_sub(self.rejected.len());
                for reason in self
                    .absent
                    .iter()
                    .flat_map(|s| &s.reasons)
                    .filter(|_| others > 0)
                {
                    *counts.entry(reason).or_default() += others;
                }
                let mut lines: Vec<String> = counts
                    .into_iter()
                    .map(|(reason, count)| format!("{count} {reason}"))
                    .collect();
                // Sorted as strings, count first, as upstream.
                lines.sort();
                if !lines.is_empty() {
                    text.push_str(&format!(" {}.", lines.join(", ")));
                }
            }
        }
        if !self.post_filter.is_empty() {
            text.push_str(&format!(" {}", self.post_filter));
        }
        text
    }
}

/// Cuts a note to what an event keeps.
#[must_use]
pub fn truncated(note: &str) -> String {
    const MORE: &str = " ...";
    if note.len() <= MAX_NOTE {
        return note.to_owned();
    }
    let mut end = MAX_NOTE - MORE.len();
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MORE}", &note[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_reasons_and_sorts_them_as_strings() {
        let mut error = FitError {
            nodes: 14,
            ..FitError::default()
        };
        for i in 0..11 {
            let reason = if i < 2 {
                "Insufficient memory"
            } else {
                "Insufficient cpu"
            };
            error
                .rejected
                .insert(format!("n{i}").into(), Status::unschedulable(reason));
        }
        error.absent = Some(Status::unresolvable("node(s) didn't satisfy plugin(s) [X]"));
        assert_eq!(
            error.message(),
            "0/14 nodes are available: 2 Insufficient memory, \
             3 node(s) didn't satisfy plugin(s) [X], 9 Insufficient cpu."
        );
        error.post_filter = "preemption: none.".into();
        assert!(error.message().ends_with("cpu. preemption: none."));
    }

    #[test]
    fn what_prefilter_says_stands_alone() {
        let error = FitError {
            nodes: 3,
            pre_filter: Some("pod affinity terms conflict".into()),
            ..FitError::default()
        };
        assert_eq!(
            error.message(),
            "0/3 nodes are available: pod affinity terms conflict."
        );
    }

    #[test]
    fn notes_are_cut_at_a_character() {
        assert_eq!(truncated("short"), "short");
        let cut = truncated(&"ü".repeat(600));
        assert!(cut.len() <= 1024 && cut.ends_with("ü ..."));
    }
}
