//! Elementary functions of [`Wide`] numbers: power series after a reduction of the argument, with no tables but of constants.
//!
//! Each is off by less than 2^-115 of the result, so that rounded to 64 bits it is the correctly rounded function value except
//! with a chance of about 2^-50: the error is below 0.5000001 units in the last place. The same code on every host gives the same
//! bits.

use std::cmp::Ordering;

use crate::fp::wide::Wide;

/// Pi.
pub(crate) const PI: Wide = Wide::constant(1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);
/// ln 2
const LN_2: Wide = Wide::constant(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);
/// 1 / ln 2
const LOG2_E: Wide = Wide::constant(0, 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e88);
/// atan 1/4
const ATAN_1_4: Wide = Wide::constant(-3, 0xfadb_afc9_6406_eb15_6dc7_9ef5_f7a2_17e5);
/// atan 1/2
const ATAN_1_2: Wide = Wide::constant(-2, 0xed63_382b_0dda_7b45_6fe4_45ec_bc3a_8d03);
/// atan 3/4
const ATAN_3_4: Wide = Wide::constant(-1, 0xa4bc_7d19_34f7_0924_19a8_7f2a_457d_ac9e);
/// Half of the square root of two is the smallest significand whose logarithm is taken as it is.
const SQRT_1_2: Wide = Wide::constant(-1, 0xb504_f333_f9de_6484_597d_89b3_754a_be9f);

/// Sine and cosine of an angle: any number of 64 significant bits below 2^63 in magnitude, reduced by as many bits of pi as it
/// takes.
pub(crate) fn sine_cosine(angle: Wide) -> (Wide, Wide) {
    let (quadrant, rest) = reduce(angle);
    let (sine, cosine) = (sine_series(rest), cosine_series(rest));
    match quadrant {
        0 => (sine, cosine),
        1 => (cosine, sine.negated()),
        2 => (sine.negated(), cosine.negated()),
        _ => (cosine.negated(), sine),
    }
}

/// Tangent of such an angle.
pub(crate) fn tangent(angle: Wide) -> Wide {
    if angle.exponent() < -32 {
        // x + x^3 / 3: a quotient would not tell on which side of x it lies.
        return angle.times(Wide::ONE.plus(angle.times(angle).over_integer(3)));
    }
    let (sine, cosine) = sine_cosine(angle);
    sine.over(cosine)
}

/// The quadrant, modulo 4, and what is left: at most pi / 4 in magnitude.
fn reduce(angle: Wide) -> (u8, Wide) {
    let magnitude = angle.abs();
    if magnitude.compare_magnitude(PI.scaled(-2)) != Ordering::Greater {
        return (0, angle);
    }
    let (whole, fraction) = times_two_over_pi(magnitude);
    let half = 1 << 127;
    let (whole, fraction) = if fraction.0 & half != 0 {
        // The complement to one, from the other side.
        let low = fraction.1.wrapping_neg();
        let high = (!fraction.0).wrapping_add(u128::from(low == 0));
        (whole.wrapping_add(1), from_fraction(high, low).negated())
    } else {
        (whole, from_fraction(fraction.0, fraction.1))
    };
    let rest = fraction.times(PI.scaled(-1));
    let quadrant = (whole & 3) as u8;
    if angle.is_negative() { (quadrant.wrapping_neg() & 3, rest.negated()) } else { (quadrant, rest) }
}

/// Integer part and 256 bits of fraction of a number between pi / 4 and 2^63, with 64 significant bits, times 2 / pi. Since the
/// constant has 256 bits, the fraction is off by less than 2^-192; no such number comes closer to a multiple of pi / 2 than about
/// 2^-66.
fn times_two_over_pi(magnitude: Wide) -> (u64, (u128, u128)) {
    const TWO_OVER_PI: [u64; 4] =
        [0xfe51_63ab_debb_c561, 0xdb62_9599_3c43_9041, 0xfc27_57d1_f534_ddc0, 0xa2f9_836e_4e44_1529];
    let factor = magnitude.leading_64_bits();
    // The product as limbs of 64 bits, lowest first.
    let mut product = [0u64; 5];
    let mut carry = 0;
    for (limb, constant) in product.iter_mut().zip(TWO_OVER_PI) {
        let sum = u128::from(factor) * u128::from(constant) + carry;
        (*limb, carry) = (sum as u64, sum >> 64);
    }
    product[4] = carry as u64;
    // `factor` counts units of 2^(exponent - 63).
    let shift = (63 - magnitude.exponent()) as u32;
    let limb = |i: usize| product.get(i).copied().unwrap_or(0);
    let shifted = |i: usize| {
        let i = i + (shift / 64) as usize;
        ((u128::from(limb(i)) | u128::from(limb(i + 1)) << 64) >> (shift % 64)) as u64
    };
    let pair = |i: usize| u128::from(shifted(i)) | u128::from(shifted(i + 1)) << 64;
    (shifted(4), (pair(2), pair(0)))
}

/// A fraction of 256 bits, of which the leading 128 from the first one on are kept.
fn from_fraction(high: u128, low: u128) -> Wide {
    let zeros = high.leading_zeros();
    if zeros == 128 {
        return Wide::normalized(-129, low);
    }
    let bits = high << zeros | low.unbounded_shr(128 - zeros);
    Wide::normalized(-1 - zeros as i32, bits)
}

/// x - x^3 / 3! + ... for x up to pi / 4 in magnitude.
fn sine_series(x: Wide) -> Wide {
    let square = x.times(x);
    let term = |sum: Wide, k: u32| Wide::ONE.minus(square.times(sum).over_integer(2 * k * (2 * k + 1)));
    x.times((1..=17).rev().fold(Wide::ONE, term))
}

/// 1 - x^2 / 2! + ... for x up to pi / 4 in magnitude.
fn cosine_series(x: Wide) -> Wide {
    let square = x.times(x);
    let term = |sum: Wide, k: u32| Wide::ONE.minus(square.times(sum).over_integer(2 * k * (2 * k - 1)));
    (1..=17).rev().fold(Wide::ONE, term)
}

/// 2^x - 1 for x up to 1 in magnitude: t + t^2 / 2! + ... with t = x ln 2.
pub(crate) fn exponential_minus_one(x: Wide) -> Wide {
    let t = x.times(LN_2);
    let term = |sum: Wide, k: u32| Wide::ONE.plus(t.times(sum).over_integer(k));
    t.times((2..=34).rev().fold(Wide::ONE, term))
}

/// log2 x for a positive x.
pub(crate) fn logarithm(x: Wide) -> Wide {
    let significand = x.scaled(-1 - x.exponent());
    let (significand, exponent) = match significand.compare_magnitude(SQRT_1_2) {
        Ordering::Less => (significand.scaled(1), x.exponent()),
        _ => (significand, x.exponent() + 1),
    };
    let ratio = significand.minus(Wide::ONE).over(significand.plus(Wide::ONE));
    Wide::integer(exponent).plus(logarithm_of_ratio(ratio))
}

/// log2 (1 + x) for an x above -1, exact where x is so small that adding one would lose it.
pub(crate) fn logarithm_plus_one(x: Wide) -> Wide {
    if x.exponent() >= -2 {
        return logarithm(Wide::ONE.plus(x));
    }
    logarithm_of_ratio(x.over(Wide::ONE.scaled(1).plus(x)))
}

/// log2 ((1 + z) / (1 - z)) for z up to 0.172 in magnitude: 2 / ln 2 (z + z^3 / 3 + ...).
fn logarithm_of_ratio(z: Wide) -> Wide {
    let square = z.times(z);
    let term = |sum: Wide, k: u32| Wide::ONE.over_integer(2 * k - 1).plus(square.times(sum));
    z.times((1..=26).rev().fold(Wide::ZERO, term)).times(LOG2_E).scaled(1)
}

/// The angle of the point (x, y), between -pi and pi; not both are zero.
pub(crate) fn arctangent(y: Wide, x: Wide) -> Wide {
    let steep = y.compare_magnitude(x) == Ordering::Greater;
    let (small, large) = if steep { (x.abs(), y.abs()) } else { (y.abs(), x.abs()) };
    let mut angle = arctangent_below_one(small.over(large));
    if steep {
        angle = PI.scaled(-1).minus(angle);
    }
    if x.is_negative() {
        angle = PI.minus(angle);
    }
    if y.is_negative() { angle.negated() } else { angle }
}

/// atan q for q from 0 to 1: atan c + atan ((q - c) / (1 + q c)) for the nearest c of five.
fn arctangent_below_one(q: Wide) -> Wide {
    let eighths = |n| Wide::integer(n).scaled(-3);
    let nearest = (0..4).rev().find(|n| q.compare_magnitude(eighths(2 * n + 1)) != Ordering::Less);
    let (quarters, base) = match nearest {
        None => return arctangent_series(q),
        Some(0) => (1, ATAN_1_4),
        Some(1) => (2, ATAN_1_2),
        Some(2) => (3, ATAN_3_4),
        _ => (4, PI.scaled(-2)),
    };
    let c = Wide::integer(quarters).scaled(-2);
    base.plus(arctangent_series(q.minus(c).over(Wide::ONE.plus(q.times(c)))))
}

/// x - x^3 / 3 + ... for x up to 1/8 in magnitude.
fn arctangent_series(x: Wide) -> Wide {
    let square = x.times(x).negated();
    let term = |sum: Wide, k: u32| Wide::ONE.over_integer(2 * k - 1).plus(square.times(sum));
    x.times((1..=22).rev().fold(Wide::ZERO, term))
}

#[cfg(test)]
mod tests;
