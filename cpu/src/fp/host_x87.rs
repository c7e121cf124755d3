//! x87 arithmetic on the host's own unit, under the guest's control word: addition to division, square roots, scaling, rounding,
//! comparisons and conversions, which are exact or correctly rounded, so that every host gives the same.
//!
//! Exceptions that the guest does not mask are not masked on the host either, because the result depends on it (SDM 1, 8.5). An
//! x87 exception is only reported by a later instruction that waits; here the status is read and cleared before one comes.
#![allow(unsafe_code)]

use std::arch::asm;

use crate::fp::extended::Extended;
use crate::state::status;

/// A result, and the exception flags and condition codes that came with it.
pub(crate) type Noted<T> = (T, u16);

/// Runs x87 instructions on `a` and `b`, of which pointers are in the registers of the same names, and then, when nothing can be
/// raised any more, those that store to `out`. Evaluates to flags and condition codes.
macro_rules! on_x87 {
    ($control:expr, $a:expr, $b:expr, $out:expr, $compute:expr, $finish:expr) => {{
        let (control, mut word): (u16, u16) = ($control, 0);
        // SAFETY: `a`, `b` and `out` point to as many bytes as the instructions at the places of use read and write there. The
        // stack is empty on entry, because all its registers are clobbered. No exception is reported: all are cleared before the
        // next instruction that waits. FNINIT leaves an empty stack and the control word that compiled code expects (System V
        // ABI 3.2.1).
        unsafe {
            asm!(
                "fnclex",
                "fldcw word ptr [{control}]",
                $compute,
                "fnstsw word ptr [{word}]",
                "fnclex",
                $finish,
                "fninit",
                "/* {a} {b} {out} */",
                a = in(reg) $a,
                b = in(reg) $b,
                out = in(reg) $out,
                control = in(reg) &raw const control,
                word = in(reg) &raw mut word,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                options(nostack),
            );
        }
        word & (status::EXCEPTIONS | status::CONDITION)
    }};
}

/// Loads `a` on top of what `before` loads, computes, and takes the top as the result.
macro_rules! with_stack {
    ($a:expr, $b:expr, $control:expr, $before:expr, $compute:expr) => {{
        let (a, mut out) = ($a.to_bytes(), [0u8; 10]);
        let noted = on_x87!(
            $control,
            a.as_ptr(),
            $b,
            out.as_mut_ptr(),
            concat!($before, "\nfld tbyte ptr [{a}]\n", $compute),
            "fstp tbyte ptr [{out}]"
        );
        (Extended::from_bytes(out), noted)
    }};
}

/// An operation of ST(0) and a second operand, which may also be shorter than a register.
pub(crate) trait Operation {
    /// With another register.
    fn extended(a: Extended, b: Extended, control: u16) -> Noted<Extended>;
    /// With a number of single precision.
    fn single(a: Extended, b: u32, control: u16) -> Noted<Extended>;
    /// With a number of double precision.
    fn double(a: Extended, b: u64, control: u16) -> Noted<Extended>;
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident $instruction:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;
        impl Operation for $name {
            fn extended(a: Extended, b: Extended, control: u16) -> Noted<Extended> {
                let b = b.to_bytes();
                with_stack!(a, b.as_ptr(), control, "fld tbyte ptr [{b}]", concat!($instruction, " st(1)"))
            }
            fn single(a: Extended, b: u32, control: u16) -> Noted<Extended> {
                with_stack!(a, &raw const b, control, "", concat!($instruction, " dword ptr [{b}]"))
            }
            fn double(a: Extended, b: u64, control: u16) -> Noted<Extended> {
                with_stack!(a, &raw const b, control, "", concat!($instruction, " qword ptr [{b}]"))
            }
        }
    )*};
}

operations! {
    /// `a + b`
    Add "fadd";
    /// `a - b`
    Subtract "fsub";
    /// `b - a`
    SubtractReversed "fsubr";
    /// `a * b`
    Multiply "fmul";
    /// `a / b`
    Divide "fdiv";
    /// `b / a`
    DivideReversed "fdivr";
    /// Only compares, in C0, C2 and C3.
    Compare "fcom";
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident $instruction:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(a: Extended, b: Extended, control: u16) -> Noted<Extended> {
            let b = b.to_bytes();
            with_stack!(a, b.as_ptr(), control, "fld tbyte ptr [{b}]", $instruction)
        }
    )*};
}

binary! {
    /// Only compares, in C0, C2 and C3; a quiet NaN is no invalid operand.
    compare_unordered "fucom st(1)";
    /// `a * 2^b`, of `b` only the integer part.
    scale "fscale";
    /// Remainder of the truncated quotient, if exponents differ by less than 64; bits of the quotient in C0, C3 and C1.
    remainder "fprem";
    /// Remainder of the nearest quotient, under the same condition.
    remainder_nearest "fprem1";
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident $compute:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(a: Extended, control: u16) -> Noted<Extended> {
            with_stack!(a, std::ptr::null::<u8>(), control, "", $compute)
        }
    )*};
}

unary! {
    /// Square root.
    square_root "fsqrt";
    /// The nearest integer in the direction of rounding.
    round "frndint";
}

/// Exponent and significand of `a` as two numbers, meaningless if an exception is not masked.
pub(crate) fn extract(a: Extended, control: u16) -> Noted<(Extended, Extended)> {
    let (a, mut out) = (a.to_bytes(), [[0u8; 10]; 2]);
    let noted = on_x87!(
        control,
        a.as_ptr(),
        a.as_ptr(),
        out.as_mut_ptr(),
        "fld tbyte ptr [{a}]\nfxtract",
        "fstp tbyte ptr [{out}]\nfstp tbyte ptr [{out} + 10]"
    );
    ((Extended::from_bytes(out[1]), Extended::from_bytes(out[0])), noted)
}

macro_rules! load {
    ($($(#[$doc:meta])* $name:ident $type:ty, $compute:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(a: $type, control: u16) -> Noted<Extended> {
            let mut out = [0u8; 10];
            let a = &raw const a;
            let noted = on_x87!(control, a, a, out.as_mut_ptr(), $compute, "fstp tbyte ptr [{out}]");
            (Extended::from_bytes(out), noted)
        }
    )*};
}

load! {
    /// From single precision.
    load_single u32, "fld dword ptr [{a}]";
    /// From double precision.
    load_double u64, "fld qword ptr [{a}]";
}

macro_rules! store {
    ($($(#[$doc:meta])* $name:ident $bytes:literal, $compute:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(a: Extended, control: u16) -> Noted<[u8; $bytes]> {
            let (a, mut out) = (a.to_bytes(), [0u8; $bytes]);
            let noted = on_x87!(
                control,
                a.as_ptr(),
                a.as_ptr(),
                out.as_mut_ptr(),
                concat!("fld tbyte ptr [{a}]\n", $compute),
                ""
            );
            (out, noted)
        }
    )*};
}

store! {
    /// To single precision.
    store_single 4, "fst dword ptr [{out}]";
    /// To double precision.
    store_double 8, "fst qword ptr [{out}]";
    /// To an integer of 16 bits.
    store_i16 2, "fist word ptr [{out}]";
    /// To an integer of 32 bits.
    store_i32 4, "fist dword ptr [{out}]";
    /// To an integer of 64 bits.
    store_i64 8, "fistp qword ptr [{out}]";
    /// To 18 decimal digits.
    store_decimal 10, "fbstp tbyte ptr [{out}]";
}

macro_rules! constant {
    ($($(#[$doc:meta])* $name:ident $compute:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(control: u16) -> Extended {
            let mut out = [0u8; 10];
            let nothing = std::ptr::null::<u8>();
            let _inexact =
                on_x87!(control, nothing, nothing, out.as_mut_ptr(), $compute, "fstp tbyte ptr [{out}]");
            Extended::from_bytes(out)
        }
    )*};
}

constant! {
    /// log2 10, rounded as the control word says; so are the others.
    log2_ten "fldl2t";
    /// log2 e
    log2_e "fldl2e";
    /// Pi.
    pi "fldpi";
    /// log10 2
    log10_two "fldlg2";
    /// ln 2
    ln_two "fldln2";
}

macro_rules! inexact {
    ($($name:ident $type:ty, $precision:literal, $compute:literal;)*) => {$(
        /// Whether the result would not be exact in its precision if exponents had no limits; x87 has enough for those of SSE.
        pub(crate) fn $name(a: $type, b: $type, mxcsr: u32) -> bool {
            let rounding = (mxcsr >> 13 & 3) as u16;
            let control = $precision << 8 | rounding << 10 | 0x7f;
            let (a, b) = (&raw const a, &raw const b);
            on_x87!(control, a, b, a, $compute, "") & status::PE != 0
        }
    )*};
}

inexact! {
    inexact_sum_single u32, 0, "fld dword ptr [{a}]\nfadd dword ptr [{b}]";
    inexact_difference_single u32, 0, "fld dword ptr [{a}]\nfsub dword ptr [{b}]";
    inexact_product_single u32, 0, "fld dword ptr [{a}]\nfmul dword ptr [{b}]";
    inexact_quotient_single u32, 0, "fld dword ptr [{a}]\nfdiv dword ptr [{b}]";
    inexact_sum_double u64, 2, "fld qword ptr [{a}]\nfadd qword ptr [{b}]";
    inexact_difference_double u64, 2, "fld qword ptr [{a}]\nfsub qword ptr [{b}]";
    inexact_product_double u64, 2, "fld qword ptr [{a}]\nfmul qword ptr [{b}]";
    inexact_quotient_double u64, 2, "fld qword ptr [{a}]\nfdiv qword ptr [{b}]";
    inexact_narrowing u64, 0, "fld qword ptr [{b}]\nfld1\nfmul st(0), st(1)";
}
