//! MUL, IMUL, DIV, IDIV.
//!
//! Flags that the manual leaves undefined are as on AMD's processors: products leave them alone, quotients set AF and clear the others
//! but CF and OF.

use iced_x86::{Mnemonic, OpKind};

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop, vector};
use crate::flags::RFlags;
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::{Form, by_size};
use crate::registers::gpr::{RAX, RDX};
use crate::registers::{HIGH_BYTE, Int};

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    let bytes = form.bytes();
    within(match form.instruction.mnemonic() {
        Mnemonic::Mul => by_source::<Mul>(form),
        Mnemonic::Imul if form.instruction.op_count() == 1 => by_source::<Imul>(form),
        Mnemonic::Imul => {
            let immediate = form.instruction.op_count() == 3 && form.kind(2) != OpKind::Register;
            match (form.is_memory(1), immediate) {
                (false, false) => by_size!(bytes, product_register),
                (true, false) => by_size!(bytes, product_memory),
                (false, true) => by_size!(bytes, product_register_immediate),
                (true, true) => by_size!(bytes, product_memory_immediate),
            }
        }
        Mnemonic::Div => by_source::<Div>(form),
        Mnemonic::Idiv => by_source::<Idiv>(form),
        _ => return None,
    })
}

/// An operation of the accumulator pair with one operand.
trait Wide {
    fn apply<T: Int>(exec: &mut Exec<'_>, source: T) -> Done;
}

fn by_source<W: Wide>(form: &Form<'_>) -> Handler {
    if form.is_memory(0) {
        by_size!(form.bytes(), memory::<W>)
    } else {
        by_size!(form.bytes(), register::<W>)
    }
}

fn register<W: Wide, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let source = exec.reg::<T>(op.dst);
    W::apply(exec, source)
}

fn memory<W: Wide, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <T as Int>::BYTES)?;
    let source = exec.load::<T>(address)?;
    W::apply(exec, source)
}

/// Where the upper half of products and dividends, and the remainder, is.
#[inline(always)]
fn upper_half<T: Int>() -> u8 {
    if T::BITS == 8 { HIGH_BYTE | RAX } else { RDX }
}

#[inline(always)]
fn set_pair<T: Int>(exec: &mut Exec<'_>, lower: T, upper: T) {
    exec.set_reg(RAX, lower);
    exec.set_reg(upper_half::<T>(), upper);
}

struct Mul;

impl Wide for Mul {
    #[inline(always)]
    fn apply<T: Int>(exec: &mut Exec<'_>, source: T) -> Done {
        let product = u128::from(exec.reg::<T>(RAX).zext()) * u128::from(source.zext());
        let upper = T::of((product >> T::BITS) as u64);
        set_pair(exec, T::of(product as u64), upper);
        let significant = upper.zext() != 0;
        exec.flags.carry_and_overflow(significant, significant);
        Ok(())
    }
}

struct Imul;

#[inline(always)]
fn signed<T: Int>(value: T) -> i128 {
    i128::from(value.sext() as i64)
}

impl Wide for Imul {
    #[inline(always)]
    fn apply<T: Int>(exec: &mut Exec<'_>, source: T) -> Done {
        let product = signed(exec.reg::<T>(RAX)) * signed(source);
        let lower = T::of(product as u64);
        set_pair(exec, lower, T::of((product >> T::BITS) as u64));
        let significant = signed(lower) != product;
        exec.flags.carry_and_overflow(significant, significant);
        Ok(())
    }
}

#[inline(always)]
fn product<T: Int>(exec: &mut Exec<'_>, op: &Op, a: T, b: T) {
    let product = signed(a) * signed(b);
    let lower = T::of(product as u64);
    exec.set_reg(op.dst, lower);
    let significant = signed(lower) != product;
    exec.flags.carry_and_overflow(significant, significant);
}

fn product_register<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    product(exec, op, exec.reg::<T>(op.dst), exec.reg::<T>(op.src));
    Ok(())
}

fn product_register_immediate<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    product(exec, op, exec.reg::<T>(op.src), T::of(op.imm));
    Ok(())
}

fn product_memory<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <T as Int>::BYTES)?;
    let source = exec.load::<T>(address)?;
    product(exec, op, exec.reg::<T>(op.dst), source);
    Ok(())
}

fn product_memory_immediate<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <T as Int>::BYTES)?;
    let source = exec.load::<T>(address)?;
    product(exec, op, source, T::of(op.imm));
    Ok(())
}

#[inline(always)]
fn set_quotient<T: Int>(exec: &mut Exec<'_>, quotient: T, remainder: T) {
    set_pair(exec, quotient, remainder);
    exec.flags.replace(RFlags::STATUS.difference(RFlags::CF.union(RFlags::OF)), RFlags::AF);
}

/// The divisor is zero, or the quotient does not fit.
#[cold]
fn divide_error(exec: &mut Exec<'_>) -> Stop {
    exec.raise(Fault::plain(vector::DE))
}

struct Div;

impl Wide for Div {
    #[inline(always)]
    fn apply<T: Int>(exec: &mut Exec<'_>, source: T) -> Done {
        let upper = exec.reg::<T>(upper_half::<T>()).zext();
        let lower = exec.reg::<T>(RAX).zext();
        let divisor = source.zext();
        // Then the quotient fits, and the divisor is not zero.
        if upper >= divisor {
            return Err(divide_error(exec));
        }
        let (quotient, remainder) = if T::BITS < 64 || upper == 0 {
            // Below 64 bits the shift is in range, and at 64 the upper half is zero.
            let dividend = upper.checked_shl(T::BITS).unwrap_or(0) | lower;
            (dividend / divisor, dividend % divisor)
        } else {
            let dividend = u128::from(upper) << 64 | u128::from(lower);
            let divisor = u128::from(divisor);
            ((dividend / divisor) as u64, (dividend % divisor) as u64)
        };
        set_quotient(exec, T::of(quotient), T::of(remainder));
        Ok(())
    }
}

struct Idiv;

impl Wide for Idiv {
    #[inline(always)]
    fn apply<T: Int>(exec: &mut Exec<'_>, source: T) -> Done {
        let upper = exec.reg::<T>(upper_half::<T>()).zext();
        let lower = exec.reg::<T>(RAX);
        let divisor = source.sext() as i64;
        let divided = if T::BITS < 64 {
            let dividend = T::of(upper).sext() << T::BITS.min(63) | lower.zext();
            let dividend = dividend as i64;
            dividend.checked_div(divisor).zip(dividend.checked_rem(divisor))
        } else if upper == ((lower.sext() as i64) >> 63) as u64 {
            let dividend = lower.sext() as i64;
            dividend.checked_div(divisor).zip(dividend.checked_rem(divisor))
        } else {
            let dividend = (u128::from(upper) << 64 | u128::from(lower.zext())) as i128;
            let divisor = i128::from(divisor);
            let quotient = dividend.checked_div(divisor).and_then(|quotient| i64::try_from(quotient).ok());
            quotient.zip(dividend.checked_rem(divisor).map(|remainder| remainder as i64))
        };
        let fitting = divided.filter(|(quotient, _)| T::of(*quotient as u64).sext() as i64 == *quotient);
        let Some((quotient, remainder)) = fitting else { return Err(divide_error(exec)) };
        set_quotient(exec, T::of(quotient as u64), T::of(remainder as u64));
        Ok(())
    }
}
