//! The natural logarithm to the last bit as Go's on amd64 (the argument reduction and polynomial of FreeBSD's
//! `e_log.c`), which the C library's differs from now and then: a score that lies right at a half would be
//! rounded to the other side.

// The digits are those of the original.
#[allow(clippy::excessive_precision)]
/// `ln x` for finite `x` >= 1.
pub(super) fn ln(x: f64) -> f64 {
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const L: [f64; 7] = [
        0.666_666_666_666_673_5,
        0.399_999_999_994_094_2,
        0.285_714_287_436_623_9,
        0.222_221_984_321_497_84,
        0.181_835_721_616_180_5,
        0.153_138_376_992_093_73,
        0.147_981_986_051_165_86,
    ];
    // x = 2^k * (1 + f), with sqrt(2)/2 <= 1 + f < sqrt(2).
    let bits = x.to_bits();
    let mut k = ((bits >> 52) & 0x7ff) as i64 - 1022;
    let mut fraction = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | (1022 << 52));
    if fraction < std::f64::consts::FRAC_1_SQRT_2 {
        fraction *= 2.0;
        k -= 1;
    }
    let (f, k) = (fraction - 1.0, k as f64);
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let odd = s2 * (L[0] + s4 * (L[2] + s4 * (L[4] + s4 * L[6])));
    let even = s4 * (L[1] + s4 * (L[3] + s4 * L[5]));
    let rest = odd + even;
    let half = 0.5 * f * f;
    k * LN2_HIGH - ((half - (s * (half + rest) + k * LN2_LOW)) - f)
}

#[cfg(test)]
mod tests {
    use super::ln;

    #[test]
    fn is_the_logarithm() {
        for n in 1..20_000_u32 {
            let (own, library) = (ln(f64::from(n)), f64::from(n).ln());
            assert!((own - library).abs() <= 2.0 * f64::EPSILON * library, "{n}");
        }
    }
}
