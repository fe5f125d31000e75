//! Syntax and value of resource quantities: `k8s.io/apimachinery/pkg/api/resource`.

use serde_json::Value;

/// The real server's words for a malformed quantity.
pub(crate) const SYNTAX: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// Thousandths of a quantity, rounded up; `None` if malformed or beyond 128 bits.
pub(crate) fn milli(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        _ => None,
    }
}

fn parse(text: &str) -> Option<i128> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (numerator, denominator): (i128, i128) = match suffix {
        "n" => (1, 1_000_000),
        "u" => (1, 1_000),
        "m" => (1, 1),
        "" => (1_000, 1),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (10i128.pow(15), 1),
        "P" => (10i128.pow(18), 1),
        "E" => (10i128.pow(21), 1),
        "Ki" => (1_000 << 10, 1),
        "Mi" => (1_000 << 20, 1),
        "Gi" => (1_000 << 30, 1),
        "Ti" => (1_000 << 40, 1),
        "Pi" => (1_000 << 50, 1),
        "Ei" => (1_000 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10i128.checked_pow(exponent.unsigned_abs())?;
            if exponent >= 0 {
                (power.checked_mul(1_000)?, 1)
            } else {
                (1_000, power)
            }
        }
    };
    // Digits past the eighteenth of a fraction cannot matter to a thousandth rounded up, except by
    // being there.
    let kept = &fraction[..fraction.len().min(18)];
    let digits = format!("{whole}{kept}");
    let digits: i128 = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    let scale = 10i128.checked_pow(u32::try_from(kept.len()).ok()?)?;
    let product = digits.checked_mul(numerator)?;
    let divisor = denominator.checked_mul(scale)?;
    let value = (product + divisor - 1) / divisor;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_kubernetes_reads() {
        for (text, expected) in [
            ("1", 1_000),
            ("100m", 100),
            ("1.5Gi", 1_610_612_736_000),
            ("0.0001", 1),
            ("1e3", 1_000_000),
            ("1E", 10i128.pow(21)),
            ("8Ei", 8_000 << 60),
            (".5", 500),
            ("-1", -1_000),
            ("25n", 1),
        ] {
            assert_eq!(milli(&json!(text)), Some(expected), "{text}");
        }
        assert_eq!(milli(&json!(2)), Some(2_000));
        for bad in ["", "m", "1.2.3", "1Kb", "e3", "1 ", "x", "1e999999"] {
            assert_eq!(milli(&json!(bad)), None, "{bad}");
        }
    }
}
