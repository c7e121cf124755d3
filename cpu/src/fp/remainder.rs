//! FPREM and FPREM1.

use crate::fp::extended::{BIAS, Class, Extended};
use crate::fp::host_x87::{self, Noted};
use crate::state::status;

/// How the quotient is rounded whose remainder is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotient {
    /// FPREM: towards zero.
    Truncated,
    /// FPREM1: to nearest, as IEEE 754 asks.
    Nearest,
}

/// The remainder of `a / b`, or a step towards it, with C2 set, if their exponents are 64 or more apart.
///
/// By how much such a step makes the exponents differ less is up to the processor, between 32 and 63 (SDM 2, FPREM). Here the
/// difference becomes a multiple of 32; the step itself is exact and done on the host.
pub(crate) fn remainder(a: Extended, b: Extended, quotient: Quotient, control: u16) -> Noted<Extended> {
    let run = match quotient {
        Quotient::Truncated => host_x87::remainder,
        Quotient::Nearest => host_x87::remainder_nearest,
    };
    let (Some(high), Some(low)) = (power(a), power(b)) else {
        return run(a, b, control);
    };
    let apart = high - low;
    if apart < 64 {
        return run(a, b, control);
    }
    let step = 32 + apart % 32;
    // `b` times a power of two, which leaves them `step` apart: the remainder of a truncated quotient is what is asked for.
    let zeros = b.significand.leading_zeros();
    let exponent = (high - step + BIAS) as u16;
    let scaled = Extended { significand: b.significand << zeros, sign_exponent: exponent };
    let (value, noted) = host_x87::remainder(a, scaled, control);
    let denormal = if b.class() == Class::Denormal { status::DE } else { 0 };
    (value, noted & status::EXCEPTIONS | denormal | status::C2)
}

/// The power of two of a number that has one.
fn power(value: Extended) -> Option<i32> {
    match value.class() {
        Class::Normal | Class::Denormal => {
            let exponent = i32::from(value.exponent().max(1)) - BIAS;
            Some(exponent - value.significand.leading_zeros() as i32)
        }
        _ => None,
    }
}
