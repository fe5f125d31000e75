//! Places in the event stream, and the mark that tells a repeated write from a new one.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::{ActionRecord, NewEvent};

/// `<milliseconds>-<sequence>`, as a Redis stream spells it. Zero lies before every event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    millis: u64,
    sequence: u64,
}

impl Position {
    /// No event comes after it.
    pub(super) const MAX: Self = Self {
        millis: u64::MAX,
        sequence: u64::MAX,
    };

    /// The place of an event that comes after this one at the wall-clock time `millis`: never
    /// before, even if the clock was set back.
    pub(super) fn next(self, millis: u64) -> Self {
        if millis > self.millis {
            Self {
                millis,
                sequence: 0,
            }
        } else {
            Self {
                millis: self.millis,
                sequence: self.sequence + 1,
            }
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

/// The text is no position.
#[derive(Debug)]
pub(super) struct NotAPosition;

impl FromStr for Position {
    type Err = NotAPosition;
    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        // As strict as Redis, and stricter than `u64`, which takes a plus sign.
        let number = |digits: &str| -> Result<u64, NotAPosition> {
            if digits.bytes().all(|b| b.is_ascii_digit()) {
                digits.parse().map_err(|_| NotAPosition)
            } else {
                Err(NotAPosition)
            }
        };
        let (millis, sequence) = text.split_once('-').ok_or(NotAPosition)?;
        Ok(Self {
            millis: number(millis)?,
            sequence: number(sequence)?,
        })
    }
}

/// What makes a write "the very same": the ids of its events, or without events the record itself.
pub(super) fn write_mark(record: &ActionRecord, events: &[NewEvent]) -> String {
    let mut hash = Sha256::new();
    if events.is_empty() {
        let json = serde_json::to_vec(record).unwrap_or_default();
        hash.update(b"record");
        hash.update(&json);
    } else {
        hash.update(b"events");
        for event in events {
            hash.update(event.id.len().to_le_bytes());
            hash.update(event.id.as_bytes());
        }
    }
    hex(&hash.finalize())
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_never_go_back() {
        let first = Position::default().next(10);
        assert_eq!(first.to_string(), "10-0");
        assert_eq!(first.next(10).to_string(), "10-1");
        assert_eq!(first.next(9).to_string(), "10-1");
        assert_eq!(first.next(11).to_string(), "11-0");
    }

    #[test]
    fn only_positions_are_read() {
        assert_eq!("10-2".parse::<Position>().unwrap().to_string(), "10-2");
        for bad in [
            "", "10", "-", "1-", "-1", "a-b", "1-2-3", "+1-1", "1- 1", "$",
        ] {
            assert!(bad.parse::<Position>().is_err(), "{bad:?}");
        }
    }
}
