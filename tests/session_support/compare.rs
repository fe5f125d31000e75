//! Holds the answers of the two sides against each other and against the list of accepted differences.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::script;
use super::side::Answer;

/// A difference that is known, and why it stays.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// The step's name.
    pub step: String,
    /// Why it is as it is.
    pub reason: String,
    /// The lines that only the real cluster says, as they are compared.
    #[serde(default)]
    pub real: Vec<String>,
    /// The lines that only the sandbox says.
    #[serde(default)]
    pub sandbox: Vec<String>,
}

/// The list, `differences.yaml`.
///
/// # Panics
/// If it cannot be read.
pub fn accepted() -> Vec<Accepted> {
    let path = script::folder().join("differences.yaml");
    let text = std::fs::read_to_string(&path).expect("the list of differences");
    serde_saphyr::from_str(&text).expect("the list of differences is well formed")
}

/// What the comparison found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many answers were compared.
    pub steps: usize,
    /// How many accepted differences were met.
    pub accepted: usize,
    /// Everything that must not be, as text.
    pub problems: Vec<String>,
}

/// Compares step by step. `whole`: an accepted difference that is not met is a problem too.
pub fn compare(real: &[Answer], sandbox: &[Answer], list: &[Accepted], whole: bool) -> Report {
    let mut report = Report::default();
    let mut open: BTreeMap<&str, &Accepted> = BTreeMap::new();
    for one in list {
        if one.reason.trim().is_empty() {
            report
                .problems
                .push(format!("listed without a reason: {}", one.step));
        }
        if open.insert(&one.step, one).is_some() {
            report.problems.push(format!("listed twice: {}", one.step));
        }
    }
    let ours: BTreeMap<&str, &Answer> = sandbox.iter().map(|a| (a.name.as_str(), a)).collect();
    let theirs: BTreeMap<&str, &Answer> = real.iter().map(|a| (a.name.as_str(), a)).collect();
    for answer in real {
        report.steps += 1;
        if !answer.held {
            report.problems.push(format!(
                "{}: the script waits in vain on the real cluster: {}: {}",
                answer.place, answer.name, answer.raw
            ));
            continue;
        }
        let Some(other) = ours.get(answer.name.as_str()) else {
            report
                .problems
                .push(format!("{}: not run in the sandbox", answer.name));
            continue;
        };
        let (left, right) = differing(&answer.text, &other.text);
        let known = open.remove(answer.name.as_str());
        if let Some(known) = known
            && known.real == left
            && known.sandbox == right
            && (left.len() + right.len()) > 0
        {
            report.accepted += 1;
            continue;
        }
        if left.is_empty() && right.is_empty() {
            if known.is_some() {
                report.problems.push(format!(
                    "{}: $ {}\n  is listed in differences.yaml and no longer differs",
                    answer.place, answer.name
                ));
            }
            continue;
        }
        let mut text = format!("{}: $ {}\n", answer.place, answer.name);
        if known.is_some() {
            text.push_str("  differs otherwise than differences.yaml says\n");
        }
        for line in &left {
            let _ = writeln!(text, "  real    | {line}");
        }
        for line in &right {
            let _ = writeln!(text, "  sandbox | {line}");
        }
        report.problems.push(text);
    }
    for answer in sandbox {
        if !theirs.contains_key(answer.name.as_str()) {
            report.problems.push(format!(
                "{}: only in the sandbox: {}: {}",
                answer.place, answer.name, answer.raw
            ));
        }
    }
    if whole {
        for step in open.keys() {
            report.problems.push(format!(
                "differences.yaml lists a step that is none: {step}"
            ));
        }
    }
    report
}

/// The lines of each text that the other has not, by their longest common subsequence.
fn differing(left: &str, right: &str) -> (Vec<String>, Vec<String>) {
    let (left, right): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let head = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    let (left, right) = (&left[head..], &right[head..]);
    let ends = left.iter().rev().zip(right.iter().rev());
    let tail = ends.take_while(|(a, b)| a == b).count();
    let (left, right) = (&left[..left.len() - tail], &right[..right.len() - tail]);
    // How much the rests from here on have in common.
    let mut common = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for l in (0..left.len()).rev() {
        for r in (0..right.len()).rev() {
            common[l][r] = if left[l] == right[r] {
                common[l + 1][r + 1] + 1
            } else {
                common[l + 1][r].max(common[l][r + 1])
            };
        }
    }
    let (mut l, mut r) = (0, 0);
    let (mut only_left, mut only_right) = (Vec::new(), Vec::new());
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() && left[l] == right[r] {
            l += 1;
            r += 1;
        } else if r == right.len() || (l < left.len() && common[l + 1][r] >= common[l][r + 1]) {
            only_left.push(left[l].to_owned());
            l += 1;
        } else {
            only_right.push(right[r].to_owned());
            r += 1;
        }
    }
    (only_left, only_right)
}

#[test]
fn differing_lines_are_told_once() {
    let (left, right) = differing("a\nb\nc\nd", "a\nx\nc\nd\ne");
    assert_eq!(left, ["b"]);
    assert_eq!(right, ["x", "e"]);
    assert_eq!(differing("a\nb", "a\nb"), (Vec::new(), Vec::new()));
}

#[test]
fn a_listed_difference_must_be_just_as_listed() {
    let answer = |text: &str| {
        vec![Answer {
            name: "get x".into(),
            place: String::new(),
            raw: String::new(),
            text: text.into(),
            held: true,
        }]
    };
    let list = [Accepted {
        step: "get x".into(),
        reason: "because".into(),
        real: vec!["b".into()],
        sandbox: Vec::new(),
    }];
    let report = compare(&answer("a\nb"), &answer("a"), &list, true);
    assert_eq!((report.accepted, report.problems.len()), (1, 0));
    for (real, sandbox) in [("a", "a"), ("a\nb", "a\nc"), ("a\nc", "a")] {
        let report = compare(&answer(real), &answer(sandbox), &list, true);
        assert_eq!(
            (report.accepted, report.problems.len()),
            (0, 1),
            "{real} {sandbox}"
        );
    }
    let report = compare(&answer("a\nb"), &answer("a"), &[], true);
    assert_eq!(report.problems.len(), 1);
}
