//! ROUNDPS, ROUNDPD, ROUNDSS, ROUNDSD (SSE4.1).

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::fp::host_sse::Raised;
use crate::fp::lanes::Lanes;
use crate::op::{Lowered, Op, within};
use crate::ops::Form;
use crate::ops::sse::source::{Source, by_source};

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Roundps => by_source!(form, apply, Singles),
        Mnemonic::Roundpd => by_source!(form, apply, Doubles),
        Mnemonic::Roundss => by_source!(form, apply, Single),
        Mnemonic::Roundsd => by_source!(form, apply, Double),
        _ => return None,
    })
}

fn apply<R: Round, S: Source>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let b = S::read(exec, op)?;
    let (a, imm) = (exec.xmm(op.dst), op.imm as u8);
    let result = exec.compute(|mxcsr| R::run(a, b, Control::new(imm, mxcsr)))?;
    exec.set_xmm(op.dst, result);
    Ok(())
}

/// Which lanes are rounded.
trait Round {
    fn run(a: u128, b: u128, control: Control) -> Raised<u128>;
}

struct Singles;

impl Round for Singles {
    fn run(_: u128, b: u128, control: Control) -> Raised<u128> {
        let lanes = <[u32; 4]>::split(b).map(|lane| control.round(lane.into(), SINGLE));
        let raised = lanes.iter().fold(0, |raised, lane| raised | lane.1);
        (lanes.map(|lane| lane.0 as u32).join(), raised)
    }
}

struct Doubles;

impl Round for Doubles {
    fn run(_: u128, b: u128, control: Control) -> Raised<u128> {
        let lanes = <[u64; 2]>::split(b).map(|lane| control.round(lane, DOUBLE));
        (lanes.map(|lane| lane.0).join(), lanes[0].1 | lanes[1].1)
    }
}

struct Single;

impl Round for Single {
    fn run(a: u128, b: u128, control: Control) -> Raised<u128> {
        let (lane, raised) = control.round(b as u64 & 0xffff_ffff, SINGLE);
        (a & !(u32::MAX as u128) | u128::from(lane), raised)
    }
}

struct Double;

impl Round for Double {
    fn run(a: u128, b: u128, control: Control) -> Raised<u128> {
        let (lane, raised) = control.round(b as u64, DOUBLE);
        (a & !(u64::MAX as u128) | u128::from(lane), raised)
    }
}

/// A format by the bits of its fraction and of its exponent.
#[derive(Clone, Copy)]
struct Format {
    fraction: u32,
    exponent: u32,
}

const SINGLE: Format = Format { fraction: 23, exponent: 8 };
const DOUBLE: Format = Format { fraction: 52, exponent: 11 };

/// Invalid operation.
const INVALID: u32 = 0x01;
/// Result not exact.
const PRECISION: u32 = 0x20;
/// Denormals are zeros.
const DAZ: u32 = 0x40;

/// How to round: the immediate, or MXCSR where it says so.
#[derive(Clone, Copy)]
struct Control {
    /// 0 nearest even, 1 down, 2 up, 3 towards zero.
    mode: u8,
    /// Whether an inexact result is reported.
    reports: bool,
    denormals_are_zeros: bool,
}

impl Control {
    fn new(imm: u8, mxcsr: u32) -> Self {
        let mode = if imm & 4 != 0 { (mxcsr >> 13 & 3) as u8 } else { imm & 3 };
        Self { mode, reports: imm & 8 == 0, denormals_are_zeros: mxcsr & DAZ != 0 }
    }

    /// A number of this format, rounded to an integer of the same format.
    fn round(self, x: u64, format: Format) -> Raised<u64> {
        let Format { fraction, exponent } = format;
        let sign = x & 1 << (fraction + exponent);
        let magnitude = x ^ sign;
        let special = ((1 << exponent) - 1) << fraction;
        if magnitude > special {
            let quiet = 1 << (fraction - 1);
            return (x | quiet, if x & quiet == 0 { INVALID } else { 0 });
        }
        if magnitude == 0 || self.denormals_are_zeros && magnitude >> fraction == 0 {
            return (sign, 0);
        }
        let bias = (1i64 << (exponent - 1)) - 1;
        let power = (magnitude >> fraction) as i64 - bias;
        if power >= i64::from(fraction) {
            return (x, 0);
        }
        // What an increment adds, what is cut off, and half of an increment: in units of the last place of `magnitude`. Below one
        // the increment leads from zero to the encoding of one.
        let one = (bias as u64) << fraction;
        let (whole, increment, up_at_nearest) = if power < 0 {
            (0, one, magnitude > one - (1 << fraction))
        } else {
            let unit = 1u64 << (i64::from(fraction) - power);
            let rest = magnitude & (unit - 1);
            let whole = magnitude ^ rest;
            // Of one itself that bit is the exponent's lowest, which is set as well: the bias is odd.
            let odd = whole & unit != 0;
            (whole, unit, rest > unit / 2 || rest == unit / 2 && odd)
        };
        if whole == magnitude {
            return (x, 0);
        }
        let up = match self.mode {
            0 => up_at_nearest,
            1 => sign != 0,
            2 => sign == 0,
            _ => false,
        };
        let result = if up { whole + increment } else { whole };
        (sign | result, if self.reports { PRECISION } else { 0 })
    }
}
