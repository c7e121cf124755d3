//! FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1: never the host's, whose last bits differ by vendor, but ours
//! ([`crate::fp::elementary`]), correctly rounded but for one case in 2^50. The manual allows an error of one unit (SDM 1, 8.3.10).

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::fp::elementary::{
    PI, arctangent, exponential_minus_one, logarithm, logarithm_plus_one, sine_cosine, tangent,
};
use crate::fp::extended::{Class, Extended};
use crate::fp::host_x87::{Add, Noted, Operation};
use crate::fp::wide::{Wide, finite};
use crate::op::{Lowered, Op, within};
use crate::ops::Form;
use crate::state::{Fpu, status};

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Fsin => of_angle::<Sine>,
        Mnemonic::Fcos => of_angle::<Cosine>,
        Mnemonic::Fsincos => of_angle::<SineAndCosine>,
        Mnemonic::Fptan => of_angle::<Tangent>,
        Mnemonic::F2xm1 => f2xm1,
        Mnemonic::Fpatan => of_two::<Arctangent>,
        Mnemonic::Fyl2x => of_two::<Logarithm>,
        Mnemonic::Fyl2xp1 => of_two::<LogarithmPlusOne>,
        _ => return None,
    })
}

const INVALID: Noted<Extended> = (Extended::INDEFINITE, status::IE);

/// The result if an operand is a NaN or nothing at all: that of any other operation.
fn propagated(a: Extended, b: Extended, control: u16) -> Option<Noted<Extended>> {
    let is_nan = |value: Extended| matches!(value.class(), Class::Nan | Class::Unsupported);
    (is_nan(a) || is_nan(b)).then(|| Add::extended(a, b, control))
}

/// The exception of a denormal operand.
fn denormal(operands: &[Extended]) -> u16 {
    if operands.iter().any(|operand| operand.class() == Class::Denormal) { status::DE } else { 0 }
}

/// A function of an angle in ST(0), and what it pushes beside its result.
trait OfAngle {
    const PUSHES: bool = false;
    /// Of zero.
    fn at_zero(zero: Extended) -> (Extended, Extended);
    /// Of any other.
    fn at(angle: Wide, control: u16) -> (Noted<Extended>, Noted<Extended>);
}

struct Sine;

impl OfAngle for Sine {
    fn at_zero(zero: Extended) -> (Extended, Extended) {
        (zero, zero)
    }
    fn at(angle: Wide, control: u16) -> (Noted<Extended>, Noted<Extended>) {
        (sine_cosine(angle).0.to_extended(control), (Extended::ZERO, 0))
    }
}

struct Cosine;

impl OfAngle for Cosine {
    fn at_zero(_: Extended) -> (Extended, Extended) {
        (Extended::ONE, Extended::ONE)
    }
    fn at(angle: Wide, control: u16) -> (Noted<Extended>, Noted<Extended>) {
        (sine_cosine(angle).1.to_extended(control), (Extended::ZERO, 0))
    }
}

struct SineAndCosine;

impl OfAngle for SineAndCosine {
    const PUSHES: bool = true;
    fn at_zero(zero: Extended) -> (Extended, Extended) {
        (zero, Extended::ONE)
    }
    fn at(angle: Wide, control: u16) -> (Noted<Extended>, Noted<Extended>) {
        let (sine, cosine) = sine_cosine(angle);
        (sine.to_extended(control), cosine.to_extended(control))
    }
}

struct Tangent;

impl OfAngle for Tangent {
    const PUSHES: bool = true;
    fn at_zero(zero: Extended) -> (Extended, Extended) {
        (zero, Extended::ONE)
    }
    fn at(angle: Wide, control: u16) -> (Noted<Extended>, Noted<Extended>) {
        (tangent(angle).to_extended(control), (Extended::ONE, 0))
    }
}

/// Exponent from which on an angle is not reduced: C2 says that nothing was done.
const OUT_OF_RANGE: i32 = 63;

fn of_angle<F: OfAngle>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let fpu = &exec.state.fpu;
    let (angle, control) = (fpu.st(0), fpu.control);
    let full = F::PUSHES && !fpu.is_empty(7);
    let ((result, pushed), noted) = if fpu.is_empty(0) {
        ((Extended::INDEFINITE, Extended::INDEFINITE), status::IE | status::SF)
    } else if full {
        ((Extended::INDEFINITE, Extended::INDEFINITE), status::IE | status::SF | status::C1)
    } else if let Some((nan, noted)) = propagated(angle, angle, control) {
        ((nan, nan), noted)
    } else {
        match finite(angle) {
            None => ((Extended::INDEFINITE, Extended::INDEFINITE), status::IE),
            Some(zero) if zero.is_zero() => (F::at_zero(angle), 0),
            Some(large) if large.exponent() >= OUT_OF_RANGE => {
                exec.note(op, 0);
                exec.state.fpu.status |= status::C2;
                return Ok(());
            }
            Some(value) => {
                let (result, pushed) = F::at(value, control);
                ((result.0, pushed.0), result.1 | pushed.1 & status::EXCEPTIONS | denormal(&[angle]))
            }
        }
    };
    exec.state.fpu.status &= !status::C2;
    if exec.note(op, noted) {
        exec.state.fpu.set_st(0, result);
        if F::PUSHES {
            exec.state.fpu.push(pushed);
        }
    }
    Ok(())
}

/// 2^x - 1. Outside of -1 to 1 the result is undefined, and here the operand stays.
fn f2xm1(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    exec.replace_noted(op, 0, &[0], |fpu| exponential(fpu.st(0), fpu.control));
    Ok(())
}

fn exponential(x: Extended, control: u16) -> Noted<Extended> {
    if let Some(nan) = propagated(x, x, control) {
        return nan;
    }
    match finite(x) {
        None if x.is_negative() => (Extended::ONE.with_sign(true), 0),
        None => (x, 0),
        Some(value) if value.is_zero() || value.exponent() > 0 => (x, 0),
        Some(value) if value == Wide::ONE => (x, 0),
        Some(value) if value == Wide::ONE.negated() => {
            (Wide::ONE.scaled(-1).negated().to_extended(control).0, 0)
        }
        // One and more.
        Some(value) if value.exponent() == 0 => (x, 0),
        Some(value) => {
            let (result, noted) = exponential_minus_one(value).to_extended(control);
            (result, noted | denormal(&[x]))
        }
    }
}

/// A function of ST(0) and ST(1), which replaces both.
trait OfTwo {
    /// Of operands of which none is a NaN.
    fn at(x: Extended, y: Extended, control: u16) -> Noted<Extended>;
}

fn of_two<F: OfTwo>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let compute = |fpu: &Fpu| {
        let (x, y, control) = (fpu.st(0), fpu.st(1), fpu.control);
        propagated(x, y, control).unwrap_or_else(|| {
            let (value, noted) = F::at(x, y, control);
            // Operands are looked at one after the other: an invalid one comes first.
            let denormal = if noted & (status::IE | status::ZE) == 0 { denormal(&[x, y]) } else { 0 };
            (value, noted | denormal)
        })
    };
    if exec.replace_noted(op, 1, &[0, 1], compute) {
        exec.state.fpu.pop();
    }
    Ok(())
}

/// atan (y / x), in the quadrant of the point (x, y).
struct Arctangent;

impl OfTwo for Arctangent {
    fn at(x: Extended, y: Extended, control: u16) -> Noted<Extended> {
        let angle = match (finite(y), finite(x)) {
            (Some(y), Some(x)) if !y.is_zero() && !x.is_zero() => arctangent(y, x),
            // A multiple of pi / 4 by the signs, and which of both is the larger, if any.
            (Some(tall), Some(_)) if !tall.is_zero() => PI.scaled(-1),
            (None, Some(_)) => PI.scaled(-1),
            (None, None) if x.is_negative() => PI.scaled(-2).plus(PI.scaled(-1)),
            (None, None) => PI.scaled(-2),
            _ if x.is_negative() => PI,
            _ => return (Extended::zero(y.is_negative()), 0),
        };
        let angle = if y.is_negative() { angle.abs().negated() } else { angle };
        angle.to_extended(control)
    }
}

/// y log2 x
struct Logarithm;

impl OfTwo for Logarithm {
    fn at(x: Extended, y: Extended, control: u16) -> Noted<Extended> {
        match finite(x) {
            Some(zero) if zero.is_zero() => match y.class() {
                Class::Zero => INVALID,
                Class::Infinity => (Extended::infinity(!y.is_negative()), 0),
                _ => (Extended::infinity(!y.is_negative()), status::ZE),
            },
            _ if x.is_negative() => INVALID,
            None => times_infinity(y, false),
            Some(x) => times(y, logarithm(x), control),
        }
    }
}

/// y log2 (x + 1). The result is undefined for an `x` beyond 1 - sqrt 1/2 in magnitude; here it is what it should be.
struct LogarithmPlusOne;

impl OfTwo for LogarithmPlusOne {
    fn at(x: Extended, y: Extended, control: u16) -> Noted<Extended> {
        match finite(x) {
            // Signs multiply.
            Some(zero) if zero.is_zero() => match y.class() {
                Class::Infinity => INVALID,
                _ => (Extended::zero(x.is_negative() != y.is_negative()), 0),
            },
            None if x.is_negative() => INVALID,
            None => times_infinity(y, false),
            Some(value) => match Wide::ONE.plus(value) {
                sum if sum.is_negative() => INVALID,
                sum if sum.is_zero() => times_infinity(y, true),
                _ => times(y, logarithm_plus_one(value), control),
            },
        }
    }
}

/// `y` times an infinity.
fn times_infinity(y: Extended, negative: bool) -> Noted<Extended> {
    match y.class() {
        Class::Zero => INVALID,
        _ => (Extended::infinity(y.is_negative() != negative), 0),
    }
}

/// `y` times a logarithm.
fn times(y: Extended, logarithm: Wide, control: u16) -> Noted<Extended> {
    match finite(y) {
        None if logarithm.is_zero() => INVALID,
        None => (Extended::infinity(y.is_negative() != logarithm.is_negative()), 0),
        Some(value) if value.is_zero() || logarithm.is_zero() => {
            (Extended::zero(y.is_negative() != logarithm.is_negative()), 0)
        }
        Some(value) => value.times(logarithm).to_extended(control),
    }
}
