//! Times as Kubernetes spells them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Whether the text is already `2006-01-02T15:04:05Z` in form (the ranges are not looked at twice:
/// the caller parses what is not of this form, and a wrong range fails there).
fn has_seconds_form(text: &[u8]) -> bool {
    text.len() == 20
        && text.iter().enumerate().all(|(at, b)| match at {
            4 | 7 => *b == b'-',
            10 => *b == b'T',
            13 | 16 => *b == b':',
            19 => *b == b'Z',
            _ => b.is_ascii_digit(),
        })
}

/// Brings an RFC 3339 time to UTC, whole seconds (or microseconds); `None` if it already was.
/// The error is Go's text. The empty text is Go's zero time and is left alone.
pub(super) fn canonical_time(text: &str, micro: bool) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let layout = if micro {
        "2006-01-02T15:04:05.000000Z07:00"
    } else {
        "2006-01-02T15:04:05Z07:00"
    };
    let bytes = text.as_bytes();
    let failed = |rest: &str, expected: &str| {
        Err(format!(
            "parsing time {text:?} as \"{layout}\": cannot parse {rest:?} as \"{expected}\""
        ))
    };
    if bytes.len() < 20 || !has_seconds_form(&[&bytes[..19], b"Z"].concat()) {
        return failed(text, "2006");
    }
    // Go's layout wants exactly six digits of a second, not more and not fewer.
    let rest = &text[19..];
    let six = |b: &[u8]| b.len() > 7 && b[0] == b'.' && b[1..7].iter().all(u8::is_ascii_digit);
    if micro && !six(rest.as_bytes()) {
        return failed(rest, ".000000");
    }
    let Ok(parsed) = text.parse::<Timestamp>() else {
        return failed(rest, "Z07:00");
    };
    if !micro && has_seconds_form(bytes) {
        return Ok(None);
    }
    Ok(Some(if micro {
        micro_time(parsed)
    } else {
        time(parsed)
    }))
}

/// `metav1.Time`: UTC, whole seconds.
pub(super) fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// `metav1.MicroTime`: UTC, always six digits of a second.
pub(super) fn micro_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_to_utc_seconds() {
        assert_eq!(canonical_time("2026-01-02T03:04:05Z", false), Ok(None));
        let utc = |text: &str, micro| canonical_time(text, micro).unwrap().unwrap();
        assert_eq!(
            utc("2026-01-02T03:04:05.987Z", false),
            "2026-01-02T03:04:05Z"
        );
        assert_eq!(
            utc("2026-01-02T03:04:05+02:00", false),
            "2026-01-02T01:04:05Z"
        );
        assert_eq!(
            utc("2026-01-02T03:04:05.500000+01:00", true),
            "2026-01-02T02:04:05.500000Z"
        );
    }

    #[test]
    fn what_is_no_time_is_refused_in_gos_words() {
        assert_eq!(
            canonical_time("soon", false).unwrap_err(),
            "parsing time \"soon\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"soon\" as \"2006\""
        );
        assert_eq!(
            canonical_time("2026-01-02T03:04:05.5Z", true).unwrap_err(),
            "parsing time \"2026-01-02T03:04:05.5Z\" as \"2006-01-02T15:04:05.000000Z07:00\": \
             cannot parse \".5Z\" as \".000000\""
        );
        assert!(canonical_time("2026-13-02T03:04:05Z", false).is_err());
        assert!(canonical_time("äöüäöüäöüäöüäöüäöüäöü", false).is_err());
    }
}
