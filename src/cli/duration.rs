//! Durations on the command line and in files: `500ms`, `15s`, `2m`, `1h30m`.

use std::time::Duration;

/// Reads a duration.
///
/// # Errors
/// A text that says how one looks.
pub fn parse(text: &str) -> Result<Duration, String> {
    let hint = || format!("{text:?} is no duration; write it like 500ms, 15s or 2m");
    let signed: jiff::SignedDuration = text.parse().map_err(|_| hint())?;
    Duration::try_from(signed).map_err(|_| hint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_ones() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn others_are_refused_with_a_hint() {
        for text in ["", "5", "-3s", "soon"] {
            assert!(parse(text).unwrap_err().contains("500ms"), "{text}");
        }
    }
}
