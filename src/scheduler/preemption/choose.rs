//! Which candidate (`pickOneNodeForPreemption`).

use std::cmp::Reverse;

use jiff::Timestamp;

use super::Candidate;

/// The best ones, equally good: fewest violated budgets, then the least important most important victim,
/// then the smallest sum of priorities, then fewest victims, then those of the highest priority started
/// last.
#[must_use]
pub fn best(candidates: &[Candidate]) -> Vec<&Candidate> {
    let Some(rank) = candidates.iter().map(rank).min() else {
        return Vec::new();
    };
    candidates
        .iter()
        .filter(|c| self::rank(c) == rank)
        .collect()
}

type Rank = (usize, i32, i64, usize, Reverse<Option<Timestamp>>);

fn rank(candidate: &Candidate) -> Rank {
    let victims = &candidate.victims;
    let highest = victims.first().map_or(i32::MIN, |p| p.spec.priority);
    // Moved up, so that few of a negative priority are fewer than many.
    let sum = victims
        .iter()
        .map(|p| i64::from(p.spec.priority) + (1 << 31))
        .sum();
    let most = victims.iter().filter(|p| p.spec.priority == highest);
    // One that has not started counts as the latest.
    let earliest = most.map(|p| p.spec.started.unwrap_or(Timestamp::MAX)).min();
    (
        candidate.violations,
        highest,
        sum,
        victims.len(),
        Reverse(earliest),
    )
}
