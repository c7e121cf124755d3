//! SSE arithmetic on the host's own unit, under the guest's rounding and denormal control. All of it is in the baseline of x86-64
//! and defined to the last bit by IEEE 754 and the manual (SDM 1, 11.5), so that every host gives the same.
//!
//! Exceptions are masked on the host: what would have been raised comes back as flags.
#![allow(unsafe_code)]

use std::arch::asm;

use crate::fp::host_x87;
use crate::fp::sse2::{from_host, to_host};

/// MXCSR as compiled code expects it (System V ABI 3.2.1).
static HOST_MXCSR: u32 = 0x1f80;
/// Exception flags of MXCSR.
pub(crate) const FLAGS: u32 = 0x3f;
/// Exception masks of MXCSR.
pub(crate) const MASKS: u32 = 0x1f80;
/// Tiny results become zero, if underflow is masked.
pub(crate) const FLUSH: u32 = 0x8000;
/// Denormal operands count as zero.
const DENORMALS_ARE_ZEROS: u32 = 0x40;
const OVERFLOW: u32 = 0x08;
pub(crate) const UNDERFLOW: u32 = 0x10;
const PRECISION: u32 = 0x20;

/// A result and the exception flags that its computation raised.
pub(crate) type Raised<T> = (T, u32);

/// An instruction of two XMM registers of which the first receives the result.
pub(crate) trait Arithmetic {
    /// How many results it computes.
    const LANES: usize;

    /// Runs it with this rounding and this treatment of denormals.
    fn run(a: u128, b: u128, mxcsr: u32) -> Raised<u128>;

    /// What the computation of one of the results raises if not all exceptions are masked.
    fn raised(lane: usize, a: u128, b: u128, mxcsr: u32) -> u32;
}

/// What a computation raises if not all exceptions are masked: underflow is then any tiny result, exact or not, and an overflow
/// or underflow that is not masked leaves the result as it would be if exponents had no limits (SDM 1, 4.9.1.4 and 4.9.1.5):
/// `inexact` tells whether that one is not exact.
fn raised_unmasked(mxcsr: u32, run: impl Fn(u32) -> u32, inexact: impl Fn() -> bool) -> u32 {
    let unmasked = !(mxcsr >> 7);
    let mut raised = run(if unmasked & UNDERFLOW != 0 { mxcsr & !FLUSH } else { mxcsr });
    if unmasked & UNDERFLOW != 0 {
        // What would be flushed is tiny.
        raised |= run(mxcsr | FLUSH) & UNDERFLOW;
    }
    if raised & unmasked & (OVERFLOW | UNDERFLOW) != 0 {
        raised = raised & !PRECISION | if inexact() { PRECISION } else { 0 };
    }
    raised
}

/// The operand in a lane for x87, which always takes denormals for what they are.
fn lane32(register: u128, lane: usize, mxcsr: u32) -> u32 {
    let value = (register >> (32 * lane)) as u32;
    if mxcsr & DENORMALS_ARE_ZEROS != 0 && value & 0x7f80_0000 == 0 { value & 1 << 31 } else { value }
}

fn lane64(register: u128, lane: usize, mxcsr: u32) -> u64 {
    let value = (register >> (64 * lane)) as u64;
    if mxcsr & DENORMALS_ARE_ZEROS != 0 && value & 0x7ff0_0000_0000_0000 == 0 {
        value & 1 << 63
    } else {
        value
    }
}

/// A register with copies of one of its lanes: where an instruction uses all lanes alike, it raises what that one raises.
#[inline(always)]
fn spread(register: u128, lane: usize, lanes: usize) -> u128 {
    match lanes {
        4 => (register >> (32 * lane) & u128::from(u32::MAX)) * (u128::MAX / u128::from(u32::MAX)),
        2 => (register >> (64 * lane) & u128::from(u64::MAX)) * (u128::MAX / u128::from(u64::MAX)),
        _ => register,
    }
}

/// Runs one instruction between a load and a store of MXCSR; evaluates to the flags it raised.
macro_rules! under {
    ($mxcsr:ident, $instruction:expr, $($operands:tt)*) => {{
        let mut word: u32 = $mxcsr & !FLAGS | MASKS;
        // SAFETY: the instruction reads and writes the named registers only. `word` and `HOST_MXCSR` are 4 bytes that live longer
        // than the block, and no bit outside of MXCSR's defined ones is set in either. Exceptions are masked, so that it cannot
        // trap, and MXCSR is as compiled code expects it again afterwards.
        unsafe {
            asm!(
                "ldmxcsr [{word}]",
                $instruction,
                "stmxcsr [{word}]",
                "ldmxcsr [{host}]",
                word = in(reg) &raw mut word,
                host = in(reg) &raw const HOST_MXCSR,
                $($operands)*,
                options(nostack),
            );
        }
        word & FLAGS
    }};
}

/// A table: how many lanes; if results can be out of range, how to read a lane and whether its result is exact; instructions.
macro_rules! arithmetic {
    ($($lanes:literal $range:tt: $($name:ident $instruction:literal)*;)*) => {$($(
        impl_arithmetic! { $name, $instruction, $lanes, $range }
    )*)*};
}

macro_rules! impl_arithmetic {
    ($name:ident, $instruction:literal, $lanes:literal, ($($read:ident, $inexact:path)?)) => {
        #[doc = concat!("`", $instruction, "`")]
        pub(crate) struct $name;
        impl Arithmetic for $name {
            const LANES: usize = $lanes;
            fn raised(lane: usize, a: u128, b: u128, mxcsr: u32) -> u32 {
                let run = |mxcsr| Self::run(spread(a, lane, $lanes), spread(b, lane, $lanes), mxcsr).1;
                $(
                    let inexact = || $inexact($read(a, lane, mxcsr), $read(b, lane, mxcsr), mxcsr);
                    return raised_unmasked(mxcsr, run, inexact);
                )?
                #[allow(unreachable_code, reason = "where results are always in range")]
                run(mxcsr)
            }
            #[inline(always)]
            fn run(a: u128, b: u128, mxcsr: u32) -> Raised<u128> {
                let mut a = to_host(a);
                let b = to_host(b);
                let raised = under!(mxcsr, concat!($instruction, " {a}, {b}"), a = inout(xmm_reg) a, b = in(xmm_reg) b);
                (from_host(a), raised)
            }
        }
    };
}

arithmetic! {
    4 (lane32, host_x87::inexact_sum_single): Addps "addps";
    2 (lane64, host_x87::inexact_sum_double): Addpd "addpd";
    1 (lane32, host_x87::inexact_sum_single): Addss "addss";
    1 (lane64, host_x87::inexact_sum_double): Addsd "addsd";
    4 (lane32, host_x87::inexact_difference_single): Subps "subps";
    2 (lane64, host_x87::inexact_difference_double): Subpd "subpd";
    1 (lane32, host_x87::inexact_difference_single): Subss "subss";
    1 (lane64, host_x87::inexact_difference_double): Subsd "subsd";
    4 (lane32, host_x87::inexact_product_single): Mulps "mulps";
    2 (lane64, host_x87::inexact_product_double): Mulpd "mulpd";
    1 (lane32, host_x87::inexact_product_single): Mulss "mulss";
    1 (lane64, host_x87::inexact_product_double): Mulsd "mulsd";
    4 (lane32, host_x87::inexact_quotient_single): Divps "divps";
    2 (lane64, host_x87::inexact_quotient_double): Divpd "divpd";
    1 (lane32, host_x87::inexact_quotient_single): Divss "divss";
    1 (lane64, host_x87::inexact_quotient_double): Divsd "divsd";
    2 (lane64, host_x87::inexact_narrowing): Cvtpd2ps "cvtpd2ps";
    1 (lane64, host_x87::inexact_narrowing): Cvtsd2ss "cvtsd2ss";
    4 (): Minps "minps" Maxps "maxps" Sqrtps "sqrtps" Cvtdq2ps "cvtdq2ps" Cvtps2dq "cvtps2dq" Cvttps2dq "cvttps2dq";
    2 (): Minpd "minpd" Maxpd "maxpd" Sqrtpd "sqrtpd" Cvtpd2dq "cvtpd2dq" Cvttpd2dq "cvttpd2dq";
    1 (): Minss "minss" Maxss "maxss" Sqrtss "sqrtss" Minsd "minsd" Maxsd "maxsd" Sqrtsd "sqrtsd";
    1 (): Cvtps2pd "cvtps2pd" Cvtdq2pd "cvtdq2pd" Cvtss2sd "cvtss2sd";
}

macro_rules! comparisons {
    ($($name:ident $instruction:literal;)*) => {$(
        #[doc = concat!("`", $instruction, "` with one of its eight predicates.")]
        pub(crate) struct $name<const PREDICATE: u8>;
        impl<const PREDICATE: u8> Arithmetic for $name<PREDICATE> {
            // No comparison is out of range.
            const LANES: usize = 1;
            #[inline(always)]
            fn raised(_: usize, a: u128, b: u128, mxcsr: u32) -> u32 {
                Self::run(a, b, mxcsr).1
            }
            #[inline(always)]
            fn run(a: u128, b: u128, mxcsr: u32) -> Raised<u128> {
                let mut a = to_host(a);
                let b = to_host(b);
                let raised = under!(
                    mxcsr,
                    concat!($instruction, " {a}, {b}, {predicate}"),
                    predicate = const PREDICATE,
                    a = inout(xmm_reg) a,
                    b = in(xmm_reg) b
                );
                (from_host(a), raised)
            }
        }
    )*};
}

comparisons! {
    Cmpps "cmpps"; Cmppd "cmppd"; Cmpss "cmpss"; Cmpsd "cmpsd";
}

/// How two numbers compare: the flags ZF, PF and CF of COMISS and its kin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    /// Equal or unordered.
    pub zero: bool,
    /// Unordered.
    pub parity: bool,
    /// Less or unordered.
    pub carry: bool,
}

/// An instruction that compares the low lanes of two registers.
pub(crate) trait Ordering {
    /// Runs it.
    fn run(a: u128, b: u128, mxcsr: u32) -> Raised<Order>;
}

macro_rules! orderings {
    ($($name:ident $instruction:literal;)*) => {$(
        #[doc = concat!("`", $instruction, "`")]
        pub(crate) struct $name;
        impl Ordering for $name {
            #[inline(always)]
            fn run(a: u128, b: u128, mxcsr: u32) -> Raised<Order> {
                let (zero, parity, carry): (u8, u8, u8);
                let raised = under!(
                    mxcsr,
                    concat!($instruction, " {a}, {b}\nsetz {zero}\nsetp {parity}\nsetc {carry}"),
                    a = in(xmm_reg) to_host(a),
                    b = in(xmm_reg) to_host(b),
                    zero = out(reg_byte) zero,
                    parity = out(reg_byte) parity,
                    carry = out(reg_byte) carry
                );
                (Order { zero: zero != 0, parity: parity != 0, carry: carry != 0 }, raised)
            }
        }
    )*};
}

orderings! {
    Comiss "comiss"; Comisd "comisd"; Ucomiss "ucomiss"; Ucomisd "ucomisd";
}

/// A conversion of the low lane to an integer of 32 or 64 bits.
pub(crate) trait ToInteger {
    /// The integer, zero extended.
    fn run(b: u128, mxcsr: u32) -> Raised<u64>;
}

/// A conversion of an integer of 32 or 64 bits to the low lane.
pub(crate) trait FromInteger {
    /// The register, with the upper lanes of `a`.
    fn run(a: u128, integer: u64, mxcsr: u32) -> Raised<u128>;
}

macro_rules! to_integer {
    ($($name:ident $instruction:literal;)*) => {$(
        #[doc = concat!("`", $instruction, "`")]
        pub(crate) struct $name;
        impl ToInteger for $name {
            #[inline(always)]
            fn run(b: u128, mxcsr: u32) -> Raised<u64> {
                let integer: u64;
                let raised = under!(mxcsr, $instruction, integer = out(reg) integer, b = in(xmm_reg) to_host(b));
                (integer, raised)
            }
        }
    )*};
}

to_integer! {
    Cvtss2si32 "cvtss2si {integer:e}, {b}"; Cvtss2si64 "cvtss2si {integer:r}, {b}";
    Cvtsd2si32 "cvtsd2si {integer:e}, {b}"; Cvtsd2si64 "cvtsd2si {integer:r}, {b}";
    Cvttss2si32 "cvttss2si {integer:e}, {b}"; Cvttss2si64 "cvttss2si {integer:r}, {b}";
    Cvttsd2si32 "cvttsd2si {integer:e}, {b}"; Cvttsd2si64 "cvttsd2si {integer:r}, {b}";
}

macro_rules! from_integer {
    ($($name:ident $instruction:literal;)*) => {$(
        #[doc = concat!("`", $instruction, "`")]
        pub(crate) struct $name;
        impl FromInteger for $name {
            #[inline(always)]
            fn run(a: u128, integer: u64, mxcsr: u32) -> Raised<u128> {
                let mut a = to_host(a);
                let raised = under!(mxcsr, $instruction, a = inout(xmm_reg) a, integer = in(reg) integer);
                (from_host(a), raised)
            }
        }
    )*};
}

from_integer! {
    Cvtsi2ss32 "cvtsi2ss {a}, {integer:e}"; Cvtsi2ss64 "cvtsi2ss {a}, {integer:r}";
    Cvtsi2sd32 "cvtsi2sd {a}, {integer:e}"; Cvtsi2sd64 "cvtsi2sd {a}, {integer:r}";
}
