//! SSE arithmetic on the host's own unit, under the guest's rounding and denormal control. All of it is in the baseline of x86-64
//! and defined to the last bit by IEEE 754 and the manual (SDM 1, 11.5), so that every host gives the same.
//!
//! Exceptions are masked on the host: what would have been raised comes back as flags.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::__m128i;

/// MXCSR as compiled code expects it (System V ABI 3.2.1).
static HOST_MXCSR: u32 = 0x1f80;
/// Exception flags of MXCSR.
pub(crate) const FLAGS: u32 = 0x3f;
/// Exception masks of MXCSR.
pub(crate) const MASKS: u32 = 0x1f80;

/// A result and the exception flags that its computation raised.
pub(crate) type Raised<T> = (T, u32);

/// An instruction of two XMM registers of which the first receives the result.
pub(crate) trait Arithmetic {
    /// Runs it with this MXCSR, whose exceptions are masked and whose flags are clear.
    fn run(a: u128, b: u128, mxcsr: u32) -> Raised<u128>;
}

#[inline(always)]
fn to_host(register: u128) -> __m128i {
    // SAFETY: both are 16 bytes of plain data.
    unsafe { std::mem::transmute(register) }
}

#[inline(always)]
fn from_host(register: __m128i) -> u128 {
    // SAFETY: both are 16 bytes of plain data.
    unsafe { std::mem::transmute(register) }
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

macro_rules! arithmetic {
    ($($name:ident $instruction:literal;)*) => {$(
        #[doc = concat!("`", $instruction, "`")]
        pub(crate) struct $name;
        impl Arithmetic for $name {
            #[inline(always)]
            fn run(a: u128, b: u128, mxcsr: u32) -> Raised<u128> {
                let mut a = to_host(a);
                let b = to_host(b);
                let raised = under!(mxcsr, concat!($instruction, " {a}, {b}"), a = inout(xmm_reg) a, b = in(xmm_reg) b);
                (from_host(a), raised)
            }
        }
    )*};
}

arithmetic! {
    Addps "addps"; Addpd "addpd"; Addss "addss"; Addsd "addsd";
    Subps "subps"; Subpd "subpd"; Subss "subss"; Subsd "subsd";
    Mulps "mulps"; Mulpd "mulpd"; Mulss "mulss"; Mulsd "mulsd";
    Divps "divps"; Divpd "divpd"; Divss "divss"; Divsd "divsd";
    Minps "minps"; Minpd "minpd"; Minss "minss"; Minsd "minsd";
    Maxps "maxps"; Maxpd "maxpd"; Maxss "maxss"; Maxsd "maxsd";
    Sqrtps "sqrtps"; Sqrtpd "sqrtpd"; Sqrtss "sqrtss"; Sqrtsd "sqrtsd";
    Cvtps2pd "cvtps2pd"; Cvtpd2ps "cvtpd2ps"; Cvtss2sd "cvtss2sd"; Cvtsd2ss "cvtsd2ss";
    Cvtdq2ps "cvtdq2ps"; Cvtdq2pd "cvtdq2pd";
    Cvtps2dq "cvtps2dq"; Cvttps2dq "cvttps2dq"; Cvtpd2dq "cvtpd2dq"; Cvttpd2dq "cvttpd2dq";
}

macro_rules! comparisons {
    ($($name:ident $instruction:literal;)*) => {$(
        #[doc = concat!("`", $instruction, "` with one of its eight predicates.")]
        pub(crate) struct $name<const PREDICATE: u8>;
        impl<const PREDICATE: u8> Arithmetic for $name<PREDICATE> {
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
