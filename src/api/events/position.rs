//! Places in the store's stream of events, ordered.

use std::fmt;
use std::str::FromStr;

/// `<milliseconds>-<sequence>`, as a Redis stream spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    milliseconds: u64,
    sequence: u64,
}

impl Position {
    /// Before all events.
    pub(super) const BEGINNING: Self = Self {
        milliseconds: 0,
        sequence: 0,
    };
}

/// The text is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a position: want <milliseconds>-<sequence>")]
pub(super) struct Error(String);

impl FromStr for Position {
    type Err = Error;

    /// Without a sequence it is 0, as in Redis.
    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |digits: &str| {
            digits
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| digits.parse().ok())
                .flatten()
        };
        let (milliseconds, sequence) = text.split_once('-').unwrap_or((text, "0"));
        match (number(milliseconds), number(sequence)) {
            (Some(milliseconds), Some(sequence)) => Ok(Self {
                milliseconds,
                sequence,
            }),
            _ => Err(Error(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_as_numbers() {
        let at = |text: &str| text.parse::<Position>().unwrap();
        assert!(at("9-0") < at("10-0"));
        assert!(at("10-9") < at("10-10"));
        assert_eq!(at("0"), Position::BEGINNING);
        for bad in [
            "",
            "-",
            "1-",
            "-1",
            "+1-0",
            "1-2-3",
            "18446744073709551616-0",
            "$",
            "1 -2",
        ] {
            assert!(bad.parse::<Position>().is_err(), "{bad:?}");
        }
    }
}
