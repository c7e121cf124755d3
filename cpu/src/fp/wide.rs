//! Numbers of 128 significant bits, for functions whose result has 64: computed with integers only.
//!
//! What does not fit leaves a one in the last place. So a result that is not exact never looks exact, and is rounded to the right
//! side even if it differs from a number of 64 bits by less than 2^-128.

use std::cmp::Ordering;

use crate::fp::extended::{BIAS, Class, Extended, INTEGER_BIT};
use crate::fp::host_x87::Noted;
use crate::state::status;

/// `significand * 2^(exponent - 127)`; the most significant bit of the significand is set unless the number is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wide {
    negative: bool,
    exponent: i32,
    significand: u128,
}

const TOP: u128 = 1 << 127;

impl Wide {
    pub const ZERO: Self = Self { negative: false, exponent: 0, significand: 0 };
    pub const ONE: Self = Self::constant(0, TOP);

    /// A positive number.
    pub const fn constant(exponent: i32, significand: u128) -> Self {
        Self { negative: false, exponent, significand }
    }

    /// A small integer.
    pub fn integer(value: i32) -> Self {
        Self { negative: value < 0, ..Self::normalized(127, value.unsigned_abs().into()) }
    }

    /// `significand * 2^(exponent - 127)`.
    pub fn normalized(exponent: i32, significand: u128) -> Self {
        if significand == 0 {
            return Self::ZERO;
        }
        let zeros = significand.leading_zeros();
        Self::constant(exponent - zeros as i32, significand << zeros)
    }

    /// A finite number, exactly.
    pub fn from_extended(value: Extended) -> Self {
        let exponent = i32::from(value.exponent().max(1)) - BIAS;
        let magnitude = Self::normalized(exponent, u128::from(value.significand) << 64);
        Self { negative: value.is_negative(), ..magnitude }
    }

    pub fn is_negative(self) -> bool {
        self.negative
    }

    pub fn is_zero(self) -> bool {
        self.significand == 0
    }

    /// Power of two of the most significant bit.
    pub fn exponent(self) -> i32 {
        self.exponent
    }

    /// All bits of a number that came from 64.
    pub fn leading_64_bits(self) -> u64 {
        (self.significand >> 64) as u64
    }

    #[must_use]
    pub fn negated(self) -> Self {
        Self { negative: !self.negative, ..self }
    }

    #[must_use]
    pub fn abs(self) -> Self {
        Self { negative: false, ..self }
    }

    /// Times a power of two.
    #[must_use]
    pub fn scaled(self, by: i32) -> Self {
        Self { exponent: self.exponent + by, ..self }
    }

    /// Order of the magnitudes.
    pub fn compare_magnitude(self, other: Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            _ => (self.exponent, self.significand).cmp(&(other.exponent, other.significand)),
        }
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (a, b) =
            if self.compare_magnitude(other) == Ordering::Less { (other, self) } else { (self, other) };
        if b.is_zero() {
            return a;
        }
        let shifted = shift_right(b.significand, (a.exponent - b.exponent) as u32);
        let result = if a.negative != b.negative {
            Self::normalized(a.exponent, a.significand - shifted)
        } else {
            match a.significand.overflowing_add(shifted) {
                (sum, false) => Self::constant(a.exponent, sum),
                (sum, true) => Self::constant(a.exponent + 1, TOP | sum >> 1 | sum & 1),
            }
        };
        Self { negative: a.negative && !result.is_zero(), ..result }
    }

    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(other.negated())
    }

    #[must_use]
    pub fn times(self, other: Self) -> Self {
        if self.is_zero() || other.is_zero() {
            return Self::ZERO;
        }
        let (high, low) = multiply(self.significand, other.significand);
        let exponent = self.exponent + other.exponent;
        let negative = self.negative != other.negative;
        let (exponent, significand, rest) = if high & TOP != 0 {
            (exponent + 1, high, low)
        } else {
            (exponent, high << 1 | low >> 127, low << 1)
        };
        Self { negative, exponent, significand: significand | u128::from(rest != 0) }
    }

    /// The quotient; `divisor` is not zero.
    #[must_use]
    pub fn over(self, divisor: Self) -> Self {
        if self.is_zero() {
            return Self::ZERO;
        }
        let negative = self.negative != divisor.negative;
        let divisor_bits = divisor.significand;
        let fits = self.significand >= divisor_bits;
        let mut rest = if fits { self.significand - divisor_bits } else { self.significand };
        let mut quotient = u128::from(fits);
        // A quotient below one needs one more bit.
        for _ in 0..if fits { 127 } else { 128 } {
            let carry = rest & TOP != 0;
            rest <<= 1;
            quotient <<= 1;
            if carry || rest >= divisor_bits {
                rest = rest.wrapping_sub(divisor_bits);
                quotient |= 1;
            }
        }
        let exponent = self.exponent - divisor.exponent - i32::from(!fits);
        Self { negative, exponent, significand: quotient | u128::from(rest != 0) }
    }

    /// Divided by a small integer, which is not zero.
    #[must_use]
    pub fn over_integer(self, divisor: u32) -> Self {
        let divisor = u128::from(divisor);
        let (quotient, rest) = (self.significand / divisor, self.significand % divisor);
        let zeros = quotient.leading_zeros() % 128;
        let (lower, rest) = ((rest << zeros) / divisor, (rest << zeros) % divisor);
        let significand = quotient << zeros | lower | u128::from(rest != 0);
        Self { exponent: self.exponent - zeros as i32, significand, ..self }
    }

    /// Rounded to 64 bits as the control word's rounding control says; precision control does not apply to the functions this is
    /// for (SDM 1, 8.3.10). With the exceptions of the result, and C1 if its magnitude was rounded up.
    pub fn to_extended(self, control: u16) -> Noted<Extended> {
        if self.is_zero() {
            return (Extended::zero(self.negative), 0);
        }
        const SMALLEST: i32 = 1 - BIAS;
        let trapped = |exception: u16| control & exception == 0;
        let (significand, up, inexact) = round(self.significand, self.negative, control);
        let exponent = self.exponent + i32::from(significand == 0);
        let significand = significand | if significand == 0 { INTEGER_BIT } else { 0 };
        let note = |inexact: bool, up: bool| {
            let precision = if inexact { status::PE } else { 0 };
            precision | if up { status::C1 } else { 0 }
        };
        let number = |exponent: i32| {
            Extended { significand, sign_exponent: (exponent + BIAS) as u16 }.with_sign(self.negative)
        };
        // An exception of range that is not masked delivers the result with an exponent that fits (SDM 1, 8.5.4, 8.5.5).
        const WRAP: i32 = 0x6000;
        if exponent > BIAS {
            if trapped(status::OE) {
                return (number(exponent - WRAP), status::OE | note(inexact, up));
            }
            let to_infinity = match control >> 10 & 3 {
                0 => true,
                1 => self.negative,
                2 => !self.negative,
                _ => false,
            };
            let largest = Extended { significand: u64::MAX, sign_exponent: 0x7ffe };
            let value = if to_infinity { Extended::infinity(false) } else { largest };
            return (value.with_sign(self.negative), status::OE | note(true, to_infinity));
        }
        if exponent >= SMALLEST {
            return (number(exponent), note(inexact, up));
        }
        if trapped(status::UE) {
            return (number(exponent + WRAP), status::UE | note(inexact, up));
        }
        let denormal = shift_right(self.significand, (SMALLEST - self.exponent) as u32);
        let (significand, up, inexact) = round(denormal, self.negative, control);
        let underflow = if inexact { status::UE } else { 0 };
        // Rounded up it may be the smallest normal number, whose encoding follows.
        let sign_exponent = (significand >> 63) as u16;
        let value = Extended { significand, sign_exponent }.with_sign(self.negative);
        (value, underflow | note(inexact, up))
    }
}

/// Shifted right; bits that are lost leave a one in the last place.
fn shift_right(significand: u128, by: u32) -> u128 {
    let kept = significand.unbounded_shr(by);
    kept | u128::from(kept.unbounded_shl(by) != significand)
}

/// The upper 64 bits, rounded: zero if that carries out; whether the magnitude became larger; whether it changed at all.
fn round(significand: u128, negative: bool, control: u16) -> (u64, bool, bool) {
    const HALF: u64 = 1 << 63;
    let (kept, rest) = ((significand >> 64) as u64, significand as u64);
    let up = match control >> 10 & 3 {
        0 => rest > HALF || rest == HALF && kept & 1 != 0,
        1 => negative && rest != 0,
        2 => !negative && rest != 0,
        _ => false,
    };
    (kept.wrapping_add(u64::from(up)), up, rest != 0)
}

/// All 256 bits of a product.
fn multiply(a: u128, b: u128) -> (u128, u128) {
    let halves = |x: u128| (x >> 64, x & u128::from(u64::MAX));
    let ((a1, a0), (b1, b0)) = (halves(a), halves(b));
    let (low, mid, cross, high) = (a0 * b0, a1 * b0, a0 * b1, a1 * b1);
    let middle = (low >> 64) + (mid & u128::from(u64::MAX)) + (cross & u128::from(u64::MAX));
    (high + (mid >> 64) + (cross >> 64) + (middle >> 64), middle << 64 | low & u128::from(u64::MAX))
}

/// The number, if it is finite.
pub(crate) fn finite(value: Extended) -> Option<Wide> {
    matches!(value.class(), Class::Zero | Class::Denormal | Class::Normal).then(|| Wide::from_extended(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fp::host_x87::{Add, Divide, Multiply, Operation};
    use crate::testing::versus::Random;

    /// Sums, products and quotients of 64-bit numbers, rounded to 64 bits, are those of the host in every rounding mode.
    #[test]
    fn rounds_as_the_host_does() {
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            let mut operand = || {
                let (significand, sign_exponent) = random.extended();
                Extended { significand: significand | INTEGER_BIT, sign_exponent }
            };
            let (a, b) = (operand(), operand());
            let (Some(x), Some(y)) = (finite(a), finite(b)) else { continue };
            if a.class() != Class::Normal || b.class() != Class::Normal {
                continue;
            }
            let control = random.bits() as u16 & 0xc18 | 0x367;
            let host = [
                Add::extended(a, b, control),
                Multiply::extended(a, b, control),
                Divide::extended(a, b, control),
            ];
            let ours = [x.plus(y), x.times(y), x.over(y)].map(|value| value.to_extended(control));
            for (host, ours) in host.into_iter().zip(ours) {
                // The sign of an exact zero is another matter.
                if host.0.class() != Class::Zero || host.1 & status::PE != 0 {
                    assert_eq!(host, ours, "{a:x?} {b:x?} {control:x}");
                }
            }
        }
    }
}
