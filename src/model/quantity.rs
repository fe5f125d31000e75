//! Quantities: `0.5`, `250m`, `1Gi`, `1e3`.
//!
//! Invariant: a [`Quantity`] is exact to 1n, as Kubernetes keeps it (`apimachinery/pkg/api/resource`):
//! what is finer is rounded away from zero, what is larger than 2^63-1 units is that. Every reading of it
//! is checked; nothing here goes through floating point.

use std::str::FromStr;

const NANOS: i128 = 1_000_000_000;
const CAP: i128 = (i64::MAX as i128) * NANOS;
const MAX_TEXT: usize = 256;

/// An exact amount, in billionths of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(i128);

/// The text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a quantity: {problem}")]
pub struct NotAQuantity {
    /// The text, shortened.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Quantity {
    /// The amount in billionths.
    #[must_use]
    pub fn nanos(self) -> i128 {
        self.0
    }

    /// Whole units, rounded away from zero (Go's `Value()`); always fits.
    #[must_use]
    pub fn value(self) -> i64 {
        self.scaled(NANOS)
    }

    /// Thousandths, rounded away from zero (Go's `MilliValue()`), saturating where i64 ends.
    #[must_use]
    pub fn milli_value(self) -> i64 {
        self.scaled(NANOS / 1000)
    }

    fn scaled(self, unit: i128) -> i64 {
        let whole = self.0 / unit;
        let rest = self.0 % unit;
        let rounded = if rest == 0 {
            whole
        } else {
            whole + rest.signum()
        };
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }
}

impl FromStr for Quantity {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        parse(text).map_err(|problem| NotAQuantity {
            text: text.chars().take(80).collect(),
            problem,
        })
    }
}

fn parse(text: &str) -> Result<Quantity, &'static str> {
    if text.len() > MAX_TEXT {
        return Err("it is too long");
    }
    let (negative, rest) = match text.as_bytes().first() {
        None => return Err("it is empty"),
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        Some(_) => (false, text),
    };
    let number_end = rest
        .bytes()
        .position(|b| !b.is_ascii_digit() && b != b'.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') {
        return Err("it has two decimal points");
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err("it has no digits");
    }
    let (mut ten, two) = scale(suffix)?;
    ten -= i64::try_from(fraction.len()).map_err(|_| "it is too long")?;
    let mut digits = Natural::default();
    for digit in whole.bytes().chain(fraction.bytes()) {
        digits.multiply(10);
        digits.add(u32::from(digit - b'0'));
    }
    if digits.is_zero() {
        return Ok(Quantity(0));
    }
    let magnitude = magnitude(digits, ten + 9, two);
    Ok(Quantity(if negative { -magnitude } else { magnitude }))
}

/// `digits * 10^ten * 2^two`, rounded up, at most [`CAP`].
fn magnitude(mut digits: Natural, ten: i64, two: u32) -> i128 {
    // A number of 256 digits at most: beyond these exponents the answer is known.
    if ten > 300 {
        return CAP;
    }
    if ten < -600 {
        return 1;
    }
    for _ in 0..two {
        digits.multiply(2);
    }
    let mut inexact = false;
    if ten >= 0 {
        for _ in 0..ten {
            digits.multiply(10);
        }
    } else {
        for _ in 0..-ten {
            inexact |= digits.divide(10) != 0;
        }
    }
    match digits.to_u128().and_then(|n| i128::try_from(n).ok()) {
        Some(n) if n < CAP => n + i128::from(inexact),
        _ => CAP,
    }
}

/// The power of ten and of two that a suffix stands for.
fn scale(suffix: &str) -> Result<(i64, u32), &'static str> {
    Ok(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => {
            let exponent = suffix
                .strip_prefix(['e', 'E'])
                .ok_or("its suffix is unknown")?;
            let exponent: i64 = exponent.parse().map_err(|_| "its exponent is malformed")?;
            (exponent.clamp(-100_000, 100_000), 0)
        }
    })
}

/// A natural number of any size, little-endian; only what parsing needs.
#[derive(Default)]
struct Natural(Vec<u32>);

impl Natural {
    fn is_zero(&self) -> bool {
        self.0.iter().all(|limb| *limb == 0)
    }

    fn multiply(&mut self, by: u32) {
        let mut carry = 0_u64;
        for limb in &mut self.0 {
            let product = u64::from(*limb) * u64::from(by) + carry;
            *limb = (product & 0xffff_ffff) as u32;
            carry = product >> 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    fn add(&mut self, term: u32) {
        let mut carry = term;
        for limb in &mut self.0 {
            let (sum, overflow) = limb.overflowing_add(carry);
            *limb = sum;
            carry = u32::from(overflow);
            if carry == 0 {
                return;
            }
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    fn divide(&mut self, by: u32) -> u32 {
        let mut rest = 0_u64;
        for limb in self.0.iter_mut().rev() {
            let dividend = (rest << 32) | u64::from(*limb);
            *limb = (dividend / u64::from(by)) as u32;
            rest = dividend % u64::from(by);
        }
        rest as u32
    }

    fn to_u128(&self) -> Option<u128> {
        let mut value = 0_u128;
        for (index, limb) in self.0.iter().enumerate() {
            if *limb == 0 {
                continue;
            }
            let shift = u32::try_from(index * 32).ok().filter(|s| *s < 128)?;
            value |= u128::from(*limb) << shift;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn q(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn reads_every_spelling() {
        for (text, milli, value) in [
            ("0", 0, 0),
            ("0.5", 500, 1),
            (".5", 500, 1),
            ("5.", 5000, 5),
            ("+1", 1000, 1),
            ("-1.5", -1500, -2),
            ("100m", 100, 1),
            ("1e3", 1_000_000, 1000),
            ("1E3", 1_000_000, 1000),
            ("1e-3", 1, 1),
            ("12e+2", 1_200_000, 1200),
            ("1k", 1_000_000, 1000),
            ("1Ki", 1_024_000, 1024),
            ("0.5Gi", 536_870_912_000, 536_870_912),
            ("33554432500m", 33_554_432_500, 33_554_433),
            ("1n", 1, 1),
            ("1u", 1, 1),
            ("0.0000000001", 1, 1),
        ] {
            assert_eq!(q(text).milli_value(), milli, "{text}");
            assert_eq!(q(text).value(), value, "{text}");
        }
        assert_eq!(q("1E").value(), 1_000_000_000_000_000_000);
        assert_eq!(q("1Ei").value(), 1 << 60);
    }

    #[test]
    fn is_capped_and_saturates() {
        for text in ["8Ei", "1e100", "9223372036854775808", "1e99999999"] {
            assert_eq!(q(text).value(), i64::MAX, "{text}");
            assert_eq!(q(text).milli_value(), i64::MAX, "{text}");
        }
        assert_eq!(q("-1e100").value(), -i64::MAX);
        assert_eq!(q("1e-99999999").nanos(), 1);
        assert_eq!(q("0e99999999").nanos(), 0);
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "", "-", "+", ".", "m", "1.2.3", "1 Gi", "1gi", "1KI", "1e", "1e1.5", "1ee3", "1mm",
            "٣", "1i", "--1", "0x10", "1K",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
        assert!("1".repeat(300).parse::<Quantity>().is_err());
    }

    proptest! {
        #[test]
        fn agrees_with_a_rational_oracle(
            whole in 0_u32..2_000_000,
            fraction in 0_u32..1_000_000,
            // More places would overflow the oracle's own numbers.
            places in 1_u32..11,
            suffix in 0_usize..12,
            negative: bool,
        ) {
            // value = numerator / denominator, kept as an exact ratio
            let (name, up, down) = [
                ("n", 1_i128, 1_000_000_000_i128), ("u", 1, 1_000_000), ("m", 1, 1000), ("", 1, 1),
                ("k", 1000, 1), ("M", 1_000_000, 1), ("Ki", 1024, 1), ("Mi", 1 << 20, 1),
                ("Gi", 1 << 30, 1), ("e2", 100, 1), ("E-2", 1, 100), ("Ti", 1 << 40, 1),
            ][suffix];
            let digits = format!("{fraction:0width$}", width = places as usize);
            let sign = if negative { "-" } else { "" };
            let text = format!("{sign}{whole}.{digits}{name}");
            let ten = 10_i128.pow(u32::try_from(digits.len()).unwrap());
            let numerator = (i128::from(whole) * ten + i128::from(fraction)) * up;
            let denominator = ten * down;
            let ceil = |n: i128, d: i128| (n + d - 1) / d;
            let sign = if negative { -1 } else { 1 };
            let nanos = ceil(numerator * NANOS, denominator).min(CAP);
            let got = q(&text);
            prop_assert_eq!(got.nanos(), sign * nanos);
            prop_assert_eq!(i128::from(got.value()), sign * ceil(nanos, NANOS));
            if numerator * 1000 / denominator < i128::from(i64::MAX) {
                prop_assert_eq!(i128::from(got.milli_value()), sign * ceil(nanos, NANOS / 1000));
            }
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
