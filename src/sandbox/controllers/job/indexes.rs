//! Sets of completion indexes, as a Job's status has them: `1,3-5` (pkg/controller/job/
//! indexed_job_utils.go). Kept as intervals, so that a huge one costs nothing. Pure.

use std::fmt;

/// A set of indexes: intervals (both ends included) in order, with gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(Vec<(i32, i32)>);

impl Indexes {
    /// Reads the indexes below `completions`. What cannot be read is left out.
    #[must_use]
    pub fn parse(text: &str, completions: i32) -> Self {
        let mut found = Self::default();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) else {
                continue;
            };
            let last = last.min(completions.saturating_sub(1));
            if first >= 0 && first <= last {
                found.add(first, last);
            }
        }
        found
    }

    /// Adds one index.
    pub fn insert(&mut self, index: i32) {
        self.add(index, index);
    }

    fn add(&mut self, mut first: i32, mut last: i32) {
        let touches = |interval: &(i32, i32)| {
            interval.0 <= last.saturating_add(1) && interval.1.saturating_add(1) >= first
        };
        let (touching, mut apart): (Vec<_>, Vec<_>) = self
            .0
            .iter()
            .copied()
            .partition(|interval| touches(interval));
        for (other_first, other_last) in touching {
            first = first.min(other_first);
            last = last.max(other_last);
        }
        let place = apart.partition_point(|interval| interval.0 < first);
        apart.insert(place, (first, last));
        self.0 = apart;
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: &Self) {
        for (first, last) in &other.0 {
            self.add(*first, *last);
        }
    }

    /// Whether the index is in the set.
    #[must_use]
    pub fn has(&self, index: i32) -> bool {
        self.0
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&index))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> i32 {
        let sum = self
            .0
            .iter()
            .map(|(first, last)| i64::from(*last) - i64::from(*first) + 1)
            .sum::<i64>();
        i32::try_from(sum).unwrap_or(i32::MAX)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of them are in `other` too.
    #[must_use]
    pub fn common(&self, other: &Self) -> i32 {
        let pairs = self
            .0
            .iter()
            .flat_map(|a| other.0.iter().map(move |b| (a.0.max(b.0), a.1.min(b.1))));
        pairs
            .map(|(first, last)| (last - first).saturating_add(1).max(0))
            .sum()
    }

    /// The first `count` indexes below `completions` that are not in the set.
    #[must_use]
    pub fn missing(&self, count: usize, completions: i32) -> Vec<i32> {
        let mut found = Vec::new();
        let mut candidate = 0;
        let end = std::iter::once((completions, completions));
        for (first, last) in self.0.iter().copied().chain(end) {
            while candidate < first.min(completions) && found.len() < count {
                found.push(candidate);
                candidate += 1;
            }
            candidate = candidate.max(last.saturating_add(1));
        }
        found
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            match last - first {
                0 => write!(f, "{first}")?,
                1 => write!(f, "{first},{last}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_read_merged_and_written() {
        let mut indexes = Indexes::parse("0,2-4,x,9-20", 12);
        assert_eq!(indexes.to_string(), "0,2-4,9-11");
        indexes.insert(1);
        assert_eq!(
            (indexes.to_string().as_str(), indexes.len()),
            ("0-4,9-11", 8)
        );
        assert_eq!(indexes.missing(3, 12), [5, 6, 7]);
        assert_eq!(indexes.missing(9, 12), [5, 6, 7, 8]);
        indexes.insert(6);
        assert_eq!(indexes.to_string(), "0-4,6,9-11");
        assert!(indexes.has(6) && !indexes.has(5));
        assert_eq!(indexes.common(&Indexes::parse("3-9", 12)), 4);
        assert_eq!(Indexes::parse("0-2147483646", i32::MAX).len(), i32::MAX);
        assert_eq!(Indexes::parse("3,4", 9).to_string(), "3,4");
    }
}
