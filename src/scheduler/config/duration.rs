//! Durations as Go writes and reads them (`time.ParseDuration`, `Duration.String`): `1h30m`, `300ms`.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// A signed time span with nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct GoDuration(i64);

/// In nanoseconds, longest first.
const UNITS: [(&str, i64); 8] = [
    ("h", 3_600_000_000_000),
    ("ms", 1_000_000),
    ("m", 60_000_000_000),
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("s", 1_000_000_000),
];

impl GoDuration {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// As Go's `time.ParseDuration` reads it; `None` if it does not.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, mut rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Some(Self(0));
        }
        if rest.is_empty() {
            return None;
        }
        let mut total = 0_i64;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let (unit, nanos) = UNITS.iter().find(|(unit, _)| {
                tail.strip_prefix(unit)
                    .is_some_and(|t| !t.starts_with(|c: char| c.is_alphabetic()))
            })?;
            total = total.checked_add(scaled(number, *nanos)?)?;
            rest = &tail[unit.len()..];
        }
        Some(Self(if negative { -total } else { total }))
    }

    /// The time span, if it is not negative.
    #[must_use]
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }

    /// Whether it is no time at all.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl From<Duration> for GoDuration {
    fn from(span: Duration) -> Self {
        Self(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// `number` (digits with at most one point) times `unit`, the rest below a nanosecond cut off.
fn scaled(number: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = match whole {
        "" => 0,
        digits => digits.parse::<i64>().ok()?,
    };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        total = total.checked_add(place * i64::from(digit - b'0'))?;
    }
    Some(total)
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let decimal = |whole: u64, rest: u64, width: usize| {
            let text = format!("{whole}.{rest:0width$}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(nanos / 1_000, nanos % 1_000, 3)),
            1_000_000..1_000_000_000 => {
                write!(f, "{}ms", decimal(nanos / 1_000_000, nanos % 1_000_000, 6))
            }
            _ => {
                let seconds = nanos / 1_000_000_000;
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if seconds >= 60 {
                    write!(f, "{minutes}m")?;
                }
                write!(f, "{}s", decimal(seconds % 60, nanos % 1_000_000_000, 9))
            }
        }
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_as_go() {
        for (text, canonical) in [
            ("15s", "15s"),
            ("0", "0s"),
            ("600s", "10m0s"),
            ("1.5h", "1h30m0s"),
            ("1h2m3.25s", "1h2m3.25s"),
            ("300ms", "300ms"),
            ("1500us", "1.5ms"),
            ("-2s", "-2s"),
            ("+1µs", "1µs"),
            (".5s", "500ms"),
        ] {
            let parsed = GoDuration::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(parsed.to_string(), canonical, "{text}");
        }
        for text in [
            "",
            "-",
            "3",
            "1x",
            "s",
            ".s",
            "1..2s",
            "1 s",
            "99999999999h",
        ] {
            assert_eq!(GoDuration::parse(text), None, "{text}");
        }
    }
}
