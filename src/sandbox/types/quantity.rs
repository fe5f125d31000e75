//! Canonical spelling of quantities, as `resource.Quantity` writes what it has read.
//!
//! Rules: apimachinery/pkg/api/resource/quantity.go (`ParseQuantity`, `CanonicalizeBytes`). Written
//! apart from `model`'s parser on purpose: the sandbox is what `model` is tested against.

/// Why a text is no quantity; the texts are the API server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QuantityError {
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Binary,
    DecimalSi,
    DecimalExponent,
}

const BINARY: [(&str, u32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

/// The canonical spelling: no fraction digits, no leading zeros, the largest suffix that keeps the
/// number whole. Precision below nano is rounded up, away from zero; what no i128 of nanos holds is
/// capped, as upstream caps it.
pub(super) fn canonical(text: &str) -> Result<String, QuantityError> {
    // The common case needs no arithmetic: "250m" and "100" as they are.
    if !text.is_empty() && text.len() < 10 && text.bytes().all(|b| b.is_ascii_digit()) {
        let digits = text.trim_start_matches('0');
        if digits.is_empty() {
            return Ok("0".to_owned());
        }
        if !digits.ends_with("000") {
            return Ok(digits.to_owned());
        }
    }
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        Some(_) => (false, text),
        None => return Err(QuantityError::Format),
    };
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(QuantityError::Format);
    }
    let (format, scale) = parse_suffix(suffix)?;
    let nanos = to_nanos(whole, fraction, format, scale);
    Ok(render(negative, nanos, format))
}

/// Binary: the exponent of two; else the exponent of ten.
fn parse_suffix(suffix: &str) -> Result<(Format, i32), QuantityError> {
    if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Ok((Format::Binary, i32::try_from(*shift).unwrap_or(0)));
    }
    if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((Format::DecimalSi, *exponent));
    }
    if !suffix
        .chars()
        .all(|c| "eEinumkKMGTP+-0123456789".contains(c))
    {
        return Err(QuantityError::Format);
    }
    let exponent = suffix
        .strip_prefix(['e', 'E'])
        .ok_or(QuantityError::Suffix)?;
    let exponent: i32 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
    Ok((Format::DecimalExponent, exponent))
}

/// The largest amount upstream keeps: 2^63-1 whole units.
const CAP: i128 = (i64::MAX as i128) * 1_000_000_000;

fn to_nanos(whole: &str, fraction: &str, format: Format, scale: i32) -> i128 {
    let mut mantissa: i128 = 0;
    let mut exponent: i32 = 0;
    let mut inexact = false;
    let fraction = fraction.trim_end_matches('0');
    for (at, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let digit = i128::from(digit - b'0');
        let in_fraction = at >= whole.len();
        if mantissa < 10_i128.pow(28) {
            mantissa = mantissa * 10 + digit;
            exponent -= i32::from(in_fraction);
        } else {
            exponent += i32::from(!in_fraction);
            inexact |= digit != 0;
        }
    }
    if mantissa == 0 {
        return 0;
    }
    let decimal_scale = if format == Format::Binary { 0 } else { scale };
    let mut nano_exponent = exponent.saturating_add(decimal_scale).saturating_add(9);
    let mut nanos = mantissa;
    if format == Format::Binary {
        let factor = 1_i128 << scale.clamp(0, 60);
        // Digits that cannot matter at nano precision make room for the factor.
        while nanos.checked_mul(factor).is_none() && nano_exponent < 0 {
            inexact |= nanos % 10 != 0;
            nanos /= 10;
            nano_exponent += 1;
        }
        match nanos.checked_mul(factor) {
            Some(product) => nanos = product,
            None => return CAP,
        }
    }
    while nano_exponent > 0 {
        match nanos.checked_mul(10) {
            Some(product) if product <= CAP => nanos = product,
            _ => return CAP,
        }
        nano_exponent -= 1;
    }
    while nano_exponent < 0 {
        inexact |= nanos % 10 != 0;
        nanos /= 10;
        nano_exponent += 1;
        if nanos == 0 {
            break;
        }
    }
    (nanos + i128::from(inexact)).min(CAP)
}

fn render(negative: bool, nanos: i128, format: Format) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    let sign = if negative { "-" } else { "" };
    const UNIT: i128 = 1_000_000_000;
    // A binary quantity below 1024 or with a fraction is written in decimal.
    if format == Format::Binary && nanos % UNIT == 0 && nanos / UNIT >= 1024 {
        let units = nanos / UNIT;
        let best = BINARY
            .iter()
            .rev()
            .find(|(_, shift)| units % (1_i128 << shift) == 0);
        return match best {
            Some((suffix, shift)) => format!("{sign}{}{suffix}", units >> shift),
            None => format!("{sign}{units}"),
        };
    }
    let best = DECIMAL
        .iter()
        .rev()
        .find(|(_, exponent)| nanos % 10_i128.pow(u32::try_from(exponent + 9).unwrap_or(0)) == 0)
        .unwrap_or(&DECIMAL[0]);
    let number = nanos / 10_i128.pow(u32::try_from(best.1 + 9).unwrap_or(0));
    if format == Format::DecimalExponent && best.1 != 0 {
        format!("{sign}{number}e{}", best.1)
    } else {
        format!("{sign}{number}{}", best.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spelling_is_what_the_api_server_prints() {
        for (given, want) in [
            ("1", "1"),
            ("0", "0"),
            ("007", "7"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1500m", "1500m"),
            ("250m", "250m"),
            ("1000", "1k"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("512Ki", "512Ki"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("1.5e3", "1500"),
            ("-1.5", "-1500m"),
            ("+2", "2"),
            (".5", "500m"),
            ("5.", "5"),
            ("0.0000000001", "1n"),
            ("9223372036854775808", "9223372036854775807"),
            ("16Gi", "16Gi"),
            ("110", "110"),
        ] {
            assert_eq!(canonical(given).as_deref(), Ok(want), "{given}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        assert_eq!(canonical(""), Err(QuantityError::Format));
        assert_eq!(canonical("x"), Err(QuantityError::Format));
        assert_eq!(canonical("1 Gi"), Err(QuantityError::Format));
        assert_eq!(canonical("1.2.3"), Err(QuantityError::Format));
        assert_eq!(canonical("1KiMi"), Err(QuantityError::Suffix));
        assert_eq!(canonical("1ex"), Err(QuantityError::Format));
    }

    proptest! {
        #[test]
        fn canonical_is_idempotent_and_total(text in "[+-]?[0-9]{0,25}[.]?[0-9]{0,14}(|n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[+-]?[0-9]{1,3})") {
            if let Ok(once) = canonical(&text) {
                prop_assert_eq!(canonical(&once).expect("canonical"), once);
            }
        }
    }
}
