//! PUSHA, POPA, ENTER, LEAVE: several words at once.

use iced_x86::Code;

use crate::exec::Exec;
use crate::fault::Done;
use crate::op::Op;
use crate::ops::Form;
use crate::ops::stack::Word;
use crate::registers::Int;
use crate::registers::gpr::{RBP, RSP};

/// All eight, with the stack pointer as it was before.
pub(super) fn push_all<T: Word>(exec: &mut Exec<'_>, _: &Op) -> Done {
    let bytes = u64::from(<T as Int>::BYTES);
    let top = exec.reg::<u64>(RSP);
    // Each word wraps by itself at the end of a 16-bit stack.
    for register in 0..8u8 {
        let pointer = top.wrapping_sub(bytes * (u64::from(register) + 1));
        exec.probe_stack(pointer, u32::from(<T as Int>::BYTES))?;
    }
    for register in 0..8u8 {
        let pointer = top.wrapping_sub(bytes * (u64::from(register) + 1));
        exec.store_stack(pointer, exec.reg::<T>(register))?;
    }
    exec.set_stack_pointer(top.wrapping_sub(8 * bytes));
    Ok(())
}

/// All but the stack pointer.
pub(super) fn pop_all<T: Word>(exec: &mut Exec<'_>, _: &Op) -> Done {
    let bytes = u64::from(<T as Int>::BYTES);
    let top = exec.reg::<u64>(RSP);
    let mut values = [T::of(0); 8];
    for (position, value) in values.iter_mut().enumerate() {
        *value = exec.load_stack(top.wrapping_add(bytes * position as u64))?;
    }
    for (position, value) in (0..8).zip(values) {
        if 7 - position != RSP {
            exec.set_reg(7 - position, value);
        }
    }
    exec.set_stack_pointer(top.wrapping_add(8 * bytes));
    Ok(())
}

/// Operand size of ENTER.
pub(super) fn enter_bytes(form: &Form<'_>) -> u32 {
    match form.instruction.code() {
        Code::Enterw_imm16_imm8 => 2,
        Code::Enterd_imm16_imm8 => 4,
        _ => 8,
    }
}

/// Builds a frame: `imm` bytes of variables, `extra` pointers to enclosing frames (SDM 1, 6.6.1).
pub(super) fn enter<T: Word>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let bytes = u64::from(<T as Int>::BYTES);
    let level = u64::from(op.extra & 31);
    let mut pointer = exec.reg::<u64>(RSP).wrapping_sub(bytes);
    let frame = pointer;
    let outer = exec.reg::<u64>(RBP);
    let bottom = frame.wrapping_sub(level * bytes).wrapping_sub(op.imm);
    // The processor checks for a write at the new top of the stack before it is done.
    exec.probe_stack(bottom, u32::from(<T as Int>::BYTES))?;
    exec.store_stack(pointer, exec.reg::<T>(RBP))?;
    for nested in 1..level {
        let link = exec.load_stack::<T>(outer.wrapping_sub(nested * bytes))?;
        pointer = pointer.wrapping_sub(bytes);
        exec.store_stack(pointer, link)?;
    }
    if level > 0 {
        exec.store_stack(pointer.wrapping_sub(bytes), T::of(frame))?;
    }
    exec.set_reg(RBP, T::of(frame));
    exec.set_stack_pointer(bottom);
    Ok(())
}

/// Takes it down.
pub(super) fn leave<T: Word>(exec: &mut Exec<'_>, _: &Op) -> Done {
    let frame = exec.reg::<u64>(RBP);
    let outer = exec.load_stack::<T>(frame)?;
    exec.set_stack_pointer(frame.wrapping_add(u64::from(<T as Int>::BYTES)));
    exec.set_reg(RBP, outer);
    Ok(())
}
