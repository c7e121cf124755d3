//! BMI1 and BMI2: ANDN, BEXTR, BLSI, BLSMSK, BLSR, BZHI, PDEP, PEXT, MULX, RORX, SARX, SHLX, SHRX.
//!
//! All are VEX encoded. Flags that the manual leaves undefined are as on AMD's processors.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop};
use crate::flags::RFlags;
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::Form;
use crate::registers::Int;
use crate::registers::gpr::RDX;

/// An operation of two sources and a destination.
trait Operation {
    fn apply<T: Int>(exec: &mut Exec<'_>, a: T, b: T) -> T;
}

macro_rules! operation {
    ($name:ident, |$exec:ident, $a:ident, $b:ident| $body:expr) => {
        struct $name;
        impl Operation for $name {
            #[inline(always)]
            fn apply<T: Int>($exec: &mut Exec<'_>, $a: T, $b: T) -> T {
                $body
            }
        }
    };
}

operation!(Andn, |exec, a, b| {
    let result = T::of(!a.zext() & b.zext());
    exec.flags.logic(result);
    result
});
operation!(Bextr, |exec, a, control| {
    let (start, length) = (control.zext() as u8, (control.zext() >> 8) as u8);
    let result = a.zext().checked_shr(start.into()).unwrap_or(0) & ones(length.into());
    let mut flags = RFlags::AF;
    flags.set(RFlags::ZF, result == 0);
    flags.set(RFlags::PF, (result as u8).count_ones().is_multiple_of(2));
    exec.flags.replace(RFlags::STATUS, flags);
    T::of(result)
});
operation!(Bzhi, |exec, a, index| {
    let index = u32::from(index.zext() as u8);
    let result = T::of(a.zext() & ones(index));
    exec.flags.result(result, index >= T::BITS, false, false);
    result
});
operation!(Blsi, |exec, a, _b| {
    let result = T::of(a.zext() & a.zext().wrapping_neg());
    exec.flags.result(result, a.zext() != 0, false, false);
    result
});
operation!(Blsmsk, |exec, a, _b| {
    let result = T::of(a.zext() ^ a.zext().wrapping_sub(1));
    exec.flags.result(result, a.zext() == 0, false, false);
    result
});
operation!(Blsr, |exec, a, _b| {
    let result = T::of(a.zext() & a.zext().wrapping_sub(1));
    exec.flags.result(result, a.zext() == 0, false, false);
    result
});
operation!(Pdep, |_exec, a, mask| {
    let (mut source, mut mask, mut result) = (a.zext(), mask.zext(), 0);
    while mask != 0 {
        let lowest = mask & mask.wrapping_neg();
        if source & 1 != 0 {
            result |= lowest;
        }
        source >>= 1;
        mask ^= lowest;
    }
    T::of(result)
});
operation!(Pext, |_exec, a, mask| {
    let (mut mask, mut result, mut place) = (mask.zext(), 0, 1);
    while mask != 0 {
        let lowest = mask & mask.wrapping_neg();
        if a.zext() & lowest != 0 {
            result |= place;
        }
        place <<= 1;
        mask ^= lowest;
    }
    T::of(result)
});
operation!(Sarx, |_exec, a, count| T::of((a.sext() as i64 >> modulo(count)) as u64));
operation!(Shlx, |_exec, a, count| T::of(a.zext() << modulo(count)));
operation!(Shrx, |_exec, a, count| T::of(a.zext() >> modulo(count)));
operation!(Rorx, |_exec, a, count| {
    let count = modulo(count);
    T::of(a.zext() >> count | a.zext() << ((T::BITS - count) % T::BITS))
});

/// So many low bits.
fn ones(count: u32) -> u64 {
    !u64::MAX.checked_shl(count).unwrap_or(0)
}

/// A count as shifts take it.
#[inline(always)]
fn modulo<T: Int>(count: T) -> u32 {
    count.zext() as u32 % T::BITS
}

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Andn => register_first::<Andn>(form),
        Mnemonic::Pdep => register_first::<Pdep>(form),
        Mnemonic::Pext => register_first::<Pext>(form),
        Mnemonic::Bextr => operand_first::<Bextr>(form),
        Mnemonic::Bzhi => operand_first::<Bzhi>(form),
        Mnemonic::Sarx => operand_first::<Sarx>(form),
        Mnemonic::Shlx => operand_first::<Shlx>(form),
        Mnemonic::Shrx => operand_first::<Shrx>(form),
        Mnemonic::Blsi => operand_only::<Blsi>(form),
        Mnemonic::Blsmsk => operand_only::<Blsmsk>(form),
        Mnemonic::Blsr => operand_only::<Blsr>(form),
        Mnemonic::Rorx => operand_only::<Rorx>(form),
        Mnemonic::Mulx => {
            choose(form, 2, [product::<u32>, product::<u64>, product_memory::<u32>, product_memory::<u64>])
        }
        _ => return None,
    })
}

/// By the place of the operand that may be in memory: 32 and 64 bits in a register, 32 and 64 bits in memory.
fn choose(form: &Form<'_>, operand: u32, handlers: [Handler; 4]) -> Handler {
    let [register_32, register_64, memory_32, memory_64] = handlers;
    match (form.is_memory(operand), form.bytes()) {
        (false, 4) => register_32,
        (false, _) => register_64,
        (true, 4) => memory_32,
        (true, _) => memory_64,
    }
}

/// The second source may be in memory.
fn register_first<O: Operation>(form: &Form<'_>) -> Handler {
    choose(form, 2, [both::<O, u32>, both::<O, u64>, second_memory::<O, u32>, second_memory::<O, u64>])
}

/// The first source may be in memory.
fn operand_first<O: Operation>(form: &Form<'_>) -> Handler {
    choose(form, 1, [both::<O, u32>, both::<O, u64>, first_memory::<O, u32>, first_memory::<O, u64>])
}

/// There is one source, which may be in memory, and perhaps an immediate.
fn operand_only<O: Operation>(form: &Form<'_>) -> Handler {
    choose(form, 1, [only::<O, u32>, only::<O, u64>, only_memory::<O, u32>, only_memory::<O, u64>])
}

/// VEX prefixes exist in protected mode only (SDM 2A, table 2-12 and the notes above it).
#[inline(always)]
fn check_vex(exec: &mut Exec<'_>) -> Done {
    if exec.mode.is_64() || exec.state.is_protected() && !exec.flags.system().contains(RFlags::VM) {
        return Ok(());
    }
    Err(exec.raise(Fault::UD))
}

#[inline(always)]
fn load<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Result<T, Stop> {
    let address = exec.address(op, <T as Int>::BYTES)?;
    exec.load::<T>(address)
}

#[inline(always)]
fn finish<O: Operation, T: Int>(exec: &mut Exec<'_>, op: &Op, a: T, b: T) -> Done {
    let result = O::apply(exec, a, b);
    exec.set_reg(op.dst, result);
    Ok(())
}

fn both<O: Operation, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    check_vex(exec)?;
    finish::<O, T>(exec, op, exec.reg(op.src), exec.reg(op.extra as u8))
}

fn first_memory<O: Operation, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    check_vex(exec)?;
    let a = load::<T>(exec, op)?;
    finish::<O, T>(exec, op, a, exec.reg(op.src))
}

fn second_memory<O: Operation, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    check_vex(exec)?;
    let b = load::<T>(exec, op)?;
    finish::<O, T>(exec, op, exec.reg(op.src), b)
}

fn only<O: Operation, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    check_vex(exec)?;
    finish::<O, T>(exec, op, exec.reg(op.src), T::of(op.imm))
}

fn only_memory<O: Operation, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    check_vex(exec)?;
    let a = load::<T>(exec, op)?;
    finish::<O, T>(exec, op, a, T::of(op.imm))
}

/// The upper half goes to the first register, the lower to the second; if they are one, it is the upper that stays.
fn multiply<T: Int>(exec: &mut Exec<'_>, op: &Op, source: T) -> Done {
    let product = u128::from(exec.reg::<T>(RDX).zext()) * u128::from(source.zext());
    exec.set_reg(op.src, T::of(product as u64));
    exec.set_reg(op.dst, T::of((product >> T::BITS) as u64));
    Ok(())
}

fn product<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    check_vex(exec)?;
    multiply(exec, op, exec.reg::<T>(op.extra as u8))
}

fn product_memory<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    check_vex(exec)?;
    let source = load::<T>(exec, op)?;
    multiply(exec, op, source)
}
