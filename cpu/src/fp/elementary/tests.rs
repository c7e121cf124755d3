//! Identities to 112 bits, and the host's functions to what doubles can tell.

use super::*;
use crate::fp::extended::{BIAS, Extended};
use crate::testing::versus::Random;

/// A number with 64 random bits and this power of two, of either sign.
fn number(random: &mut Random, exponent: i32) -> Wide {
    let magnitude = Wide::normalized(exponent, u128::from(random.bits() | 1 << 63) << 64);
    if random.below(2) == 0 { magnitude } else { magnitude.negated() }
}

fn is_close(a: Wide, b: Wide, bits: i32) -> bool {
    let difference = a.minus(b);
    difference.is_zero() || difference.exponent() <= a.exponent() - bits
}

/// As a double, for comparison with what the standard library computes.
fn double(value: Wide) -> f64 {
    let Extended { significand, sign_exponent } = value.abs().to_extended(0x37f).0;
    let magnitude = significand as f64 * 2f64.powi(i32::from(sign_exponent) - BIAS - 63);
    if value.is_negative() { -magnitude } else { magnitude }
}

#[test]
fn sines_and_cosines() {
    let mut random = Random::new(2);
    for _ in 0..4000 {
        let exponent = random.below(100) as i32 - 37;
        let angle = number(&mut random, exponent);
        let (sine, cosine) = sine_cosine(angle);
        assert!(is_close(Wide::ONE, sine.times(sine).plus(cosine.times(cosine)), 112), "{angle:?}");
        // Twice the angle, which is reduced anew.
        if exponent < 62 {
            let (twice, _) = sine_cosine(angle.scaled(1));
            let product = sine.times(cosine).scaled(1);
            assert!(is_close(twice, product, 112), "{angle:?}");
        }
        assert!(is_close(tangent(angle), sine.over(cosine), 112), "{angle:?}");
        if exponent < 3 {
            assert!((double(sine) - double(angle).sin()).abs() < 1e-15, "{angle:?}");
            assert!((double(cosine) - double(angle).cos()).abs() < 1e-15, "{angle:?}");
        }
    }
}

#[test]
fn angles_near_a_multiple_of_half_pi() {
    // The sine of pi, rounded to 64 bits, is what the rounding took away.
    let pi = Wide::from_extended(PI.to_extended(0x37f).0);
    let (sine, cosine) = sine_cosine(pi);
    assert!(is_close(sine, PI.minus(pi), 60), "{sine:?}");
    assert_eq!(cosine.to_extended(0x37f).0, Extended::ONE.with_sign(true));
}

#[test]
fn exponentials_undo_logarithms() {
    let mut random = Random::new(3);
    for _ in 0..4000 {
        let exponent = -2 - random.below(80) as i32;
        let x = number(&mut random, exponent);
        let back = exponential_minus_one(logarithm_plus_one(x));
        assert!(is_close(x, back, 112), "{x:?} {back:?}");
        assert!(is_close(logarithm_plus_one(x), logarithm(Wide::ONE.plus(x)), 112 + exponent), "{x:?}");
    }
}

#[test]
fn logarithms_of_products_are_sums() {
    let mut random = Random::new(4);
    for _ in 0..4000 {
        let far = |random: &mut Random| random.below(200) as i32 + 3;
        let (exponent, other) = (far(&mut random), far(&mut random));
        let (a, b) = (number(&mut random, exponent).abs(), number(&mut random, other).abs());
        assert!(is_close(logarithm(a.times(b)), logarithm(a).plus(logarithm(b)), 112));
        assert!((double(logarithm(a)) - double(a).log2()).abs() < 1e-13);
    }
    assert_eq!(logarithm(Wide::ONE.scaled(-77)), Wide::integer(-77));
    assert!(logarithm(Wide::ONE).is_zero());
}

#[test]
fn tangents_undo_arctangents() {
    let mut random = Random::new(5);
    for _ in 0..4000 {
        let (a, b) = (random.below(60) as i32 - 30, random.below(60) as i32 - 30);
        let (y, x) = (number(&mut random, a), number(&mut random, b));
        let angle = arctangent(y, x);
        let expected = double(y).atan2(double(x));
        assert!((double(angle) - expected).abs() <= 1e-15 * expected.abs(), "{y:?} {x:?}");
        // Up to pi / 4 the tangent is taken without a reduction.
        let (small, large) = if a < b { (y.abs(), x.abs()) } else { (x.abs(), y.abs()) };
        if small.compare_magnitude(large) == Ordering::Less {
            let (sine, cosine) = sine_cosine(arctangent(small, large));
            assert!(is_close(small.over(large), sine.over(cosine), 112), "{y:?} {x:?}");
            let sum = arctangent(small, large).plus(arctangent(large, small));
            assert!(is_close(PI.scaled(-1), sum, 112), "{y:?} {x:?}");
        }
    }
}
