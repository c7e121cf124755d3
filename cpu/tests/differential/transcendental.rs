//! Transcendental instructions: how far from each other two correct processors may be. The manual allows an error of one unit in the
//! last place (SDM 1, 8.3.10), and the reduction of angles differs by vendor.

use iced_x86::Mnemonic;

use crate::case::{Case, Outcome};

/// PE, and C1 that tells how it was rounded.
const INEXACT: u16 = 1 << 5 | 1 << 9;
/// A tiny result underflows only if it is inexact as well.
const UNDERFLOW: u16 = 1 << 4;
/// The summary that follows from it if it is not masked.
const SUMMARY: u16 = 1 << 7 | 1 << 15;
/// Error that each of both may have, with some left for those who keep no promises.
const UNITS: f64 = 2.0;
/// Of pi, that an angle is reduced with: 66 bits.
const PI_ERROR: f64 = 1.0 / (1u128 << 65) as f64;
/// Units in the last place of 64-bit significands.
const UNIT: f64 = 1.0 / (1u64 << 63) as f64;

/// A number of an x87 register.
#[derive(Clone, Copy)]
struct Number {
    negative: bool,
    exponent: i32,
    significand: u64,
}

impl Number {
    /// Exponent of denormal numbers.
    const SMALLEST: i32 = -16383;

    fn new(bytes: &[u8]) -> Self {
        let significand = bytes[..8].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let exponent = i32::from(bytes[8]) | i32::from(bytes[9] & 0x7f) << 8;
        Self { negative: bytes[9] & 0x80 != 0, exponent: exponent - 16383, significand }
    }

    fn is_finite(self) -> bool {
        self.exponent < 16384
    }

    /// As a double, which has fewer bits and exponents.
    fn value(self) -> f64 {
        let magnitude = self.significand as f64 * UNIT * 2f64.powi(self.exponent);
        if self.negative { -magnitude } else { magnitude }
    }

    /// Distance of two of about the same size, in units of this one's last place.
    fn distance(self, other: Self) -> f64 {
        let shift = other.exponent - self.exponent;
        let signed = |number: Self, shift: i32| {
            let magnitude = i128::from(number.significand) << 32;
            let magnitude = if shift < 0 { magnitude >> -shift } else { magnitude << shift };
            if number.negative { -magnitude } else { magnitude }
        };
        if shift.abs() > 30 {
            return f64::INFINITY;
        }
        let difference = (signed(self, 0) - signed(other, shift)) as f64;
        difference.abs() / (1u64 << 32) as f64
    }
}

/// Whether the form is one of them.
fn is_transcendental(case: &Case) -> bool {
    matches!(
        case.instruction.mnemonic(),
        Mnemonic::F2xm1
            | Mnemonic::Fyl2x
            | Mnemonic::Fyl2xp1
            | Mnemonic::Fptan
            | Mnemonic::Fpatan
            | Mnemonic::Fsin
            | Mnemonic::Fcos
            | Mnemonic::Fsincos
    )
}

/// Bits of the status word in which they may differ.
pub fn open_status(case: &Case, host: &Outcome) -> u16 {
    if !is_transcendental(case) {
        return 0;
    }
    let is_tiny = Number::new(host.registers.fpu.st(0)).exponent <= Number::SMALLEST + 1;
    let open = if is_tiny { INEXACT | UNDERFLOW } else { INEXACT };
    let is_masked = case.registers.fpu.control() & 1 << 5 != 0;
    if is_masked { open } else { open | SUMMARY }
}

/// Whether nothing is said of the result: the operand is out of range.
pub fn is_undefined(case: &Case) -> bool {
    let operand = Number::new(case.registers.fpu.st(0));
    match case.instruction.mnemonic() {
        Mnemonic::F2xm1 => operand.value().abs() > 1.0,
        Mnemonic::Fyl2xp1 => operand.value().abs() > 1.0 - std::f64::consts::FRAC_1_SQRT_2,
        _ => false,
    }
}

/// Whether what two processors have in a register is the same, or two results that are right.
pub fn is_near(case: &Case, host: &[u8], ours: &[u8]) -> bool {
    if host == ours {
        return true;
    }
    let (host, ours) = (Number::new(host), Number::new(ours));
    if !is_transcendental(case) || !host.is_finite() || !ours.is_finite() {
        return false;
    }
    host.distance(ours) <= UNITS + reduction_error(case, host) * host.significand as f64
}

/// Relative error that comes from the pi with which the angle was reduced: that of the angle, which grows with its multiples, as far
/// as the function is sensitive to it.
fn reduction_error(case: &Case, result: Number) -> f64 {
    let angle = Number::new(case.registers.fpu.st(0)).value().abs();
    let result = result.value().abs();
    let sensitivity = match case.instruction.mnemonic() {
        Mnemonic::Fsin | Mnemonic::Fcos | Mnemonic::Fsincos => 1.0,
        Mnemonic::Fptan => 1.0 + result * result,
        _ => return 0.0,
    };
    if angle < 0.5 { 0.0 } else { angle * PI_ERROR * sensitivity / result }
}
