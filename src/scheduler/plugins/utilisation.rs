//! From how full a node would be to a score: the strategies of NodeResourcesFit
//! (`plugins/noderesources/{least_allocated,most_allocated,requested_to_capacity_ratio}.go`).

use crate::scheduler::config::args::{ScoringStrategy, ShapePoint, StrategyType};
use crate::scheduler::framework::plugin::MAX_SCORE;

/// Scores of shapes go to 10, ours to 100.
const SCALE: i64 = 10;

/// One of the strategies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Curve {
    /// The emptier the better.
    Least,
    /// The fuller the better.
    Most,
    /// Linear between these points of (percent, score).
    Points(Vec<(i64, i64)>),
}

impl Curve {
    pub(super) fn new(strategy: &ScoringStrategy) -> Self {
        let point = |p: &ShapePoint| (i64::from(p.utilization), i64::from(p.score) * SCALE);
        match (strategy.kind, &strategy.requested_to_capacity_ratio) {
            (StrategyType::LeastAllocated, _) => Self::Least,
            (StrategyType::MostAllocated, _) => Self::Most,
            (StrategyType::RequestedToCapacityRatio, ratio) => {
                let shape = ratio.iter().flat_map(|r| &r.shape);
                Self::Points(shape.map(point).collect())
            }
        }
    }

    /// The score for this much of all, which is not 0.
    pub(super) fn score(&self, requested: i64, all: i64) -> i64 {
        // In i128: bytes times a hundred leave i64 behind at 80 PiB.
        let share = |part: i64| {
            let share = i128::from(part) * i128::from(MAX_SCORE) / i128::from(all);
            i64::try_from(share).unwrap_or(0)
        };
        match self {
            Self::Least if requested > all => 0,
            Self::Least => share(all - requested),
            Self::Most => share(requested.min(all)),
            Self::Points(points) if requested > all => at(points, MAX_SCORE),
            Self::Points(points) => at(points, share(requested)),
        }
    }
}

fn at(points: &[(i64, i64)], percent: i64) -> i64 {
    let Some(next) = points.iter().position(|(x, _)| percent <= *x) else {
        return points.last().map_or(0, |(_, y)| *y);
    };
    let (x1, y1) = points[next];
    match next.checked_sub(1).map(|before| points[before]) {
        None => y1,
        Some((x0, y0)) => y0 + (y1 - y0) * (percent - x0) / (x1 - x0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies() {
        assert_eq!(Curve::Least.score(30, 40), 25);
        assert_eq!(Curve::Least.score(41, 40), 0);
        assert_eq!(Curve::Most.score(30, 40), 75);
        assert_eq!(Curve::Most.score(90, 40), 100);
        let points = Curve::Points(vec![(10, 20), (50, 100), (80, 0)]);
        // level before the first point, linear between, level after the last
        let scores = [
            (0, 20),
            (10, 20),
            (20, 40),
            (50, 100),
            (65, 50),
            (80, 0),
            (95, 0),
            (200, 0),
        ];
        for (percent, score) in scores {
            assert_eq!(points.score(percent, 100), score, "{percent}");
        }
    }
}
