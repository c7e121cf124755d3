//! XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B. One processor runs at a time, so that the LOCK forms are the same code.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::flags::RFlags;
use crate::memory::Value;
use crate::op::{Lowered, Op, within};
use crate::ops::{Form, by_size};
use crate::registers::Int;
use crate::registers::gpr::{RAX, RBX, RCX, RDX};

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    let bytes = form.bytes();
    let memory = form.is_memory(0) || form.is_memory(1);
    within(match form.instruction.mnemonic() {
        Mnemonic::Xchg if memory => by_size!(bytes, exchange_memory),
        Mnemonic::Xchg => by_size!(bytes, exchange_registers),
        Mnemonic::Xadd if memory => by_size!(bytes, add_memory),
        Mnemonic::Xadd => by_size!(bytes, add_registers),
        Mnemonic::Cmpxchg if memory => by_size!(bytes, compare_memory),
        Mnemonic::Cmpxchg => by_size!(bytes, compare_registers),
        Mnemonic::Cmpxchg8b => compare_8_bytes,
        Mnemonic::Cmpxchg16b => compare_16_bytes,
        _ => return None,
    })
}

fn exchange_registers<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let (a, b) = (exec.reg::<T>(op.dst), exec.reg::<T>(op.src));
    exec.set_reg(op.dst, b);
    exec.set_reg(op.src, a);
    Ok(())
}

fn exchange_memory<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address_for_write(op, <T as Int>::BYTES)?;
    exec.update::<T>(address, |exec, before| {
        let value = exec.reg::<T>(op.src);
        exec.set_reg(op.src, before);
        value
    })
}

#[inline(always)]
fn sum<T: Int>(exec: &mut Exec<'_>, a: T, b: T) -> T {
    let result = T::of(a.zext().wrapping_add(b.zext()));
    exec.flags.add(a, b, result);
    result
}

/// The source first: if both are one register, it ends with the sum.
fn add_registers<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let before = exec.reg::<T>(op.dst);
    let result = sum(exec, before, exec.reg::<T>(op.src));
    exec.set_reg(op.src, before);
    exec.set_reg(op.dst, result);
    Ok(())
}

fn add_memory<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address_for_write(op, <T as Int>::BYTES)?;
    exec.update::<T>(address, |exec, before| {
        let result = sum(exec, before, exec.reg::<T>(op.src));
        exec.set_reg(op.src, before);
        result
    })
}

/// Compares the accumulator with what the destination holds, and sets the flags. Unless they are equal the accumulator gets the old
/// value.
#[inline(always)]
fn compare<T: Int>(exec: &mut Exec<'_>, before: T) -> bool {
    let accumulator = exec.reg::<T>(RAX);
    exec.flags.sub(accumulator, before, T::of(accumulator.zext().wrapping_sub(before.zext())));
    if accumulator != before {
        exec.set_reg(RAX, before);
    }
    accumulator == before
}

/// Unlike memory, a register that is not equal is not written: not even the upper half of 64 bits changes.
fn compare_registers<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let source = exec.reg::<T>(op.src);
    // A register that differs is left alone, with its upper half.
    if compare(exec, exec.reg::<T>(op.dst)) {
        exec.set_reg(op.dst, source);
    }
    Ok(())
}

fn compare_memory<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address_for_write(op, <T as Int>::BYTES)?;
    exec.update::<T>(address, |exec, before| {
        let source = exec.reg::<T>(op.src);
        if compare(exec, before) { source } else { before }
    })
}

fn compare_8_bytes(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address_for_write(op, 8)?;
    exec.update::<u64>(address, |exec, before| {
        let pair = |exec: &Exec<'_>, high, low| {
            u64::from(exec.reg::<u32>(high)) << 32 | u64::from(exec.reg::<u32>(low))
        };
        let equal = before == pair(exec, RDX, RAX);
        exec.flags.replace(RFlags::ZF, if equal { RFlags::ZF } else { RFlags::empty() });
        if equal {
            return pair(exec, RCX, RBX);
        }
        exec.set_reg(RDX, (before >> 32) as u32);
        exec.set_reg(RAX, before as u32);
        before
    })
}

/// The only integer instruction that insists on alignment.
fn compare_16_bytes(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address_for_write(op, 16)?;
    if address & 15 != 0 {
        return Err(exec.raise(Fault::GP0));
    }
    exec.update::<u128>(address, |exec, before| {
        let pair = |exec: &Exec<'_>, high, low| {
            u128::from(exec.reg::<u64>(high)) << 64 | u128::from(exec.reg::<u64>(low))
        };
        let equal = before == pair(exec, RDX, RAX);
        exec.flags.replace(RFlags::ZF, if equal { RFlags::ZF } else { RFlags::empty() });
        if equal {
            return pair(exec, RCX, RBX);
        }
        exec.set_reg(RDX, (before >> 64) as u64);
        exec.set_reg(RAX, before as u64);
        before
    })
}

#[cfg(test)]
mod tests;
