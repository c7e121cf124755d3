//! CMOVcc, SETcc.

use iced_x86::ConditionCode;

use crate::exec::Exec;
use crate::fault::Done;
use crate::memory::Value;
use crate::op::{Lowered, Op, within};
use crate::ops::{Form, by_condition};
use crate::registers::Int;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    let instruction = form.instruction;
    if instruction.condition_code() == ConditionCode::None {
        return None;
    }
    let code = form.condition();
    let general = |operand| form.is_register(operand) && instruction.op_register(operand).is_gpr();
    within(match (instruction.op_count(), form.bytes(), form.is_memory(1)) {
        (1, ..) if form.is_memory(0) => by_condition!(code, set_memory),
        (1, ..) if general(0) => by_condition!(code, set_register),
        (2, 2, false) if general(0) => by_condition!(code, move_register, u16),
        (2, 4, false) if general(0) => by_condition!(code, move_register, u32),
        (2, 8, false) if general(0) => by_condition!(code, move_register, u64),
        (2, 2, true) if general(0) => by_condition!(code, move_memory, u16),
        (2, 4, true) if general(0) => by_condition!(code, move_memory, u32),
        (2, 8, true) if general(0) => by_condition!(code, move_memory, u64),
        // Branches, and what only other processors have.
        _ => return None,
    })
}

fn set_register<const CODE: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.set_reg(op.dst, u8::from(exec.flags.condition(CODE)));
    Ok(())
}

fn set_memory<const CODE: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address_for_write(op, 1)?;
    exec.store(address, u8::from(exec.flags.condition(CODE)))
}

/// The destination is written in any case: with 32 bits the upper half is cleared.
#[inline(always)]
fn choose<T: Int, const CODE: u8>(exec: &mut Exec<'_>, op: &Op, source: T) {
    let value = if exec.flags.condition(CODE) { source } else { exec.reg::<T>(op.dst) };
    exec.set_reg(op.dst, value);
}

fn move_register<T: Int, const CODE: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let source = exec.reg::<T>(op.src);
    choose::<T, CODE>(exec, op, source);
    Ok(())
}

/// The source is read, and faults, in any case.
fn move_memory<T: Int + Value, const CODE: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <T as Int>::BYTES)?;
    let source = exec.load::<T>(address)?;
    choose::<T, CODE>(exec, op, source);
    Ok(())
}
