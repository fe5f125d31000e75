//! Kubernetes quantities, as far as a kubelet counts with them: in thousandths of a unit, rounded up.

/// A quantity in thousandths. `None` if the text is none (the API server would have refused it).
#[must_use]
pub fn milli(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (factor, exponent) = match suffix {
        "Ki" => (1_i128 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?),
    };
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let places = i32::try_from(fraction.len()).ok()?;
    let joined: i128 = format!("{whole}{fraction}").parse().ok()?;
    let power = exponent.checked_add(3)?.checked_sub(places)?;
    let value = joined.checked_mul(factor)?;
    let value = if power >= 0 {
        value.checked_mul(10_i128.checked_pow(u32::try_from(power).ok()?)?)?
    } else {
        let divisor = 10_i128.checked_pow(power.unsigned_abs());
        match divisor {
            Some(divisor) => -(-value).div_euclid(divisor),
            None => i128::from(value > 0),
        }
    };
    Some(sign * value)
}

/// A quantity in whole units, rounded up.
#[must_use]
pub fn units(text: &str) -> Option<i128> {
    milli(text).map(|milli| -(-milli).div_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_of_all_notations() {
        assert_eq!(milli("100m"), Some(100));
        assert_eq!(milli("1.5"), Some(1500));
        assert_eq!(milli("4"), Some(4000));
        assert_eq!(units("16Gi"), Some(16 << 30));
        assert_eq!(units("1.5Gi"), Some(3 << 29));
        assert_eq!(units("1e3"), Some(1000));
        assert_eq!(units("8Ei"), Some(8 << 60));
        assert_eq!(units("1E"), Some(10_i128.pow(18)));
        assert_eq!(milli("1n"), Some(1));
        assert_eq!(units("100m"), Some(1));
        assert_eq!(milli("-1"), Some(-1000));
        for bad in ["", "x", "1x", "1.2.3", "--1", "1e", "1e99999999999"] {
            assert_eq!(milli(bad), None, "{bad}");
        }
    }
}
