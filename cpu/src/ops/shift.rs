//! SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD.
//!
//! Counts are taken modulo 32, or 64 for 64-bit operands; a count of zero changes no flag (SDM 2B, SAL/SAR/SHL/SHR). What the
//! manual leaves undefined is as AMD's processors have it: OF follows the same rule for every count, and shifts set AF.

use iced_x86::{Mnemonic, OpKind};

use crate::exec::Exec;
use crate::fault::Done;
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::{Form, by_size};
use crate::registers::Int;
use crate::registers::gpr::RCX;

/// A shift or rotation by at least 1 and less than the operand's size, 32 at least.
trait Shift {
    fn apply<T: Int>(exec: &mut Exec<'_>, a: T, count: u32) -> T;
}

macro_rules! shift {
    ($name:ident, |$exec:ident, $a:ident, $count:ident| $body:expr) => {
        struct $name;
        impl Shift for $name {
            #[inline(always)]
            fn apply<T: Int>($exec: &mut Exec<'_>, $a: T, $count: u32) -> T {
                $body
            }
        }
    };
}

/// Bit `n` of a value; zero beyond its end.
#[inline(always)]
fn bit(value: u64, n: u32) -> bool {
    value.checked_shr(n).unwrap_or(0) & 1 != 0
}

#[inline(always)]
fn top<T: Int>(value: T) -> bool {
    value.zext() & T::SIGN != 0
}

/// Whether the two most significant bits differ: the sign changed on the last step to the right.
#[inline(always)]
fn top_two_differ<T: Int>(value: T) -> bool {
    (value.zext() ^ value.zext() << 1) & T::SIGN != 0
}

shift!(Shl, |exec, a, count| {
    let result = T::of(a.zext() << count);
    // A count above the size wraps round to a bit that does not exist.
    let carry = bit(a.zext(), T::BITS.wrapping_sub(count));
    exec.flags.result(result, carry, top(result) != carry, true);
    result
});
shift!(Shr, |exec, a, count| {
    let result = T::of(a.zext() >> count);
    exec.flags.result(result, bit(a.zext(), count - 1), top_two_differ(result), true);
    result
});
shift!(Sar, |exec, a, count| {
    let wide = a.sext() as i64;
    let result = T::of((wide >> count) as u64);
    exec.flags.result(result, bit(wide as u64, count - 1), false, true);
    result
});
shift!(Rol, |exec, a, count| {
    let result = rotated_left(a, count % T::BITS);
    let carry = result.zext() & 1 != 0;
    exec.flags.carry_and_overflow(carry, top(result) != carry);
    result
});
shift!(Ror, |exec, a, count| {
    let result = rotated_left(a, T::BITS - count % T::BITS);
    exec.flags.carry_and_overflow(top(result), top_two_differ(result));
    result
});
shift!(Rcl, |exec, a, count| {
    let (result, carry) = rotated_with_carry(a, exec.flags.cf(), count % (T::BITS + 1));
    exec.flags.carry_and_overflow(carry, top(result) != carry);
    result
});
shift!(Rcr, |exec, a, count| {
    let left = T::BITS + 1 - count % (T::BITS + 1);
    let (result, carry) = rotated_with_carry(a, exec.flags.cf(), left);
    exec.flags.carry_and_overflow(carry, top_two_differ(result));
    result
});

/// `count` is at most the size.
#[inline(always)]
fn rotated_left<T: Int>(a: T, count: u32) -> T {
    let a = a.zext();
    T::of(a << (count % T::BITS) | a >> ((T::BITS - count) % T::BITS))
}

/// The operand with the carry above it, rotated left by at most its size plus one.
#[inline(always)]
fn rotated_with_carry<T: Int>(a: T, carry: bool, count: u32) -> (T, bool) {
    let wide = u128::from(carry) << T::BITS | u128::from(a.zext());
    let rotated = wide << count | wide >> (T::BITS + 1 - count);
    (T::of(rotated as u64), rotated >> T::BITS & 1 != 0)
}

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => handler::<Shl>(form),
        Mnemonic::Shr => handler::<Shr>(form),
        Mnemonic::Sar => handler::<Sar>(form),
        Mnemonic::Rol => handler::<Rol>(form),
        Mnemonic::Ror => handler::<Ror>(form),
        Mnemonic::Rcl => handler::<Rcl>(form),
        Mnemonic::Rcr => handler::<Rcr>(form),
        Mnemonic::Shld => double_handler::<Shld>(form),
        Mnemonic::Shrd => double_handler::<Shrd>(form),
        _ => return None,
    })
}

/// Where the count comes from.
trait Count {
    fn of<T: Int>(exec: &Exec<'_>, op: &Op) -> u32;
}

struct Immediate;
struct Cl;

#[inline(always)]
fn masked<T: Int>(count: u64) -> u32 {
    count as u32 & if T::BITS == 64 { 63 } else { 31 }
}

impl Count for Immediate {
    #[inline(always)]
    fn of<T: Int>(_: &Exec<'_>, op: &Op) -> u32 {
        masked::<T>(op.imm)
    }
}

impl Count for Cl {
    #[inline(always)]
    fn of<T: Int>(exec: &Exec<'_>, _: &Op) -> u32 {
        masked::<T>(exec.reg::<u64>(RCX))
    }
}

fn handler<S: Shift>(form: &Form<'_>) -> Handler {
    let bytes = form.bytes();
    match (form.is_memory(0), form.kind(1) == OpKind::Immediate8) {
        (false, true) => by_size!(bytes, register::<S, Immediate>),
        (false, false) => by_size!(bytes, register::<S, Cl>),
        (true, true) => by_size!(bytes, memory::<S, Immediate>),
        (true, false) => by_size!(bytes, memory::<S, Cl>),
    }
}

#[inline(always)]
fn shifted<S: Shift, T: Int>(exec: &mut Exec<'_>, a: T, count: u32) -> T {
    if count == 0 { a } else { S::apply(exec, a, count) }
}

/// The register is written even if the count is zero: with 32 bits the upper half is cleared.
fn register<S: Shift, C: Count, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let count = C::of::<T>(exec, op);
    let result = shifted::<S, T>(exec, exec.reg::<T>(op.dst), count);
    exec.set_reg(op.dst, result);
    Ok(())
}

fn memory<S: Shift, C: Count, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let count = C::of::<T>(exec, op);
    let address = exec.address_for_write(op, <T as Int>::BYTES)?;
    exec.update::<T>(address, |exec, a| shifted::<S, T>(exec, a, count))
}

/// A shift that takes in bits of a second operand; the count is at least 1.
trait DoubleShift {
    fn apply<T: Int>(exec: &mut Exec<'_>, a: T, b: T, count: u32) -> T;
}

struct Shld;
struct Shrd;

/// 16-bit operands may be shifted by more than their size, which is undefined; processors shift in the second operand twice.
#[inline(always)]
fn above<T: Int>(upper: T, lower: T) -> u128 {
    u128::from(upper.zext()) << T::BITS | u128::from(lower.zext())
}

impl DoubleShift for Shld {
    #[inline(always)]
    fn apply<T: Int>(exec: &mut Exec<'_>, a: T, b: T, count: u32) -> T {
        let (wide, count) =
            if count > T::BITS { (above(b, b), count - T::BITS) } else { (above(a, b), count) };
        let result = T::of((wide >> (T::BITS - count)) as u64);
        let carry = wide >> (2 * T::BITS - count) & 1 != 0;
        exec.flags.result(result, carry, top(result) != carry, true);
        result
    }
}

impl DoubleShift for Shrd {
    #[inline(always)]
    fn apply<T: Int>(exec: &mut Exec<'_>, a: T, b: T, count: u32) -> T {
        let (wide, count) =
            if count > T::BITS { (above(b, b), count - T::BITS) } else { (above(b, a), count) };
        let result = T::of((wide >> count) as u64);
        exec.flags.result(result, wide >> (count - 1) & 1 != 0, top_two_differ(result), true);
        result
    }
}

fn double_handler<D: DoubleShift>(form: &Form<'_>) -> Handler {
    let bytes = form.bytes();
    match (form.is_memory(0), form.kind(2) == OpKind::Immediate8) {
        (false, true) => by_size!(bytes, double_register::<D, Immediate>),
        (false, false) => by_size!(bytes, double_register::<D, Cl>),
        (true, true) => by_size!(bytes, double_memory::<D, Immediate>),
        (true, false) => by_size!(bytes, double_memory::<D, Cl>),
    }
}

#[inline(always)]
fn double_shifted<D: DoubleShift, T: Int>(exec: &mut Exec<'_>, a: T, b: T, count: u32) -> T {
    if count == 0 { a } else { D::apply(exec, a, b, count) }
}

fn double_register<D: DoubleShift, C: Count, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let count = C::of::<T>(exec, op);
    let (a, b) = (exec.reg::<T>(op.dst), exec.reg::<T>(op.src));
    let result = double_shifted::<D, T>(exec, a, b, count);
    exec.set_reg(op.dst, result);
    Ok(())
}

/// `dst` is the second operand: `src` is CL if that is the count.
fn double_memory<D: DoubleShift, C: Count, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let count = C::of::<T>(exec, op);
    let address = exec.address_for_write(op, <T as Int>::BYTES)?;
    let b = exec.reg::<T>(op.dst);
    exec.update::<T>(address, |exec, a| double_shifted::<D, T>(exec, a, b, count))
}
