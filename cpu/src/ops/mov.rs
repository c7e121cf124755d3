//! MOV, MOVNTI, MOVZX, MOVSX, MOVSXD, LEA.

use iced_x86::{Code, Mnemonic};

use crate::exec::Exec;
use crate::fault::Done;
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::{Form, by_size};
use crate::registers::Int;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Mov => mov(form)?,
        Mnemonic::Movnti => by_size!(form.bytes(), store_register),
        Mnemonic::Movzx => zero_extend(form)?,
        Mnemonic::Movsx | Mnemonic::Movsxd => sign_extend(form)?,
        Mnemonic::Lea => by_size!(form.bytes(), lea),
        _ => return None,
    })
}

/// MOV between general registers, memory and immediate operands. Segment, control and debug registers are not of this family.
fn mov(form: &Form<'_>) -> Option<Handler> {
    let bytes = form.bytes();
    match form.instruction.code() {
        Code::Mov_AL_moffs8 | Code::Mov_AX_moffs16 | Code::Mov_EAX_moffs32 | Code::Mov_RAX_moffs64 => {
            return Some(by_size!(bytes, load_absolute));
        }
        Code::Mov_moffs8_AL | Code::Mov_moffs16_AX | Code::Mov_moffs32_EAX | Code::Mov_moffs64_RAX => {
            return Some(by_size!(bytes, store_absolute));
        }
        _ => {}
    }
    let special = |operand| form.is_register(operand) && !form.instruction.op_register(operand).is_gpr();
    if special(0) || special(1) {
        return None;
    }
    Some(match (form.is_memory(0), form.is_register(1), form.is_memory(1)) {
        (false, true, _) => by_size!(bytes, copy),
        (false, _, true) => by_size!(bytes, load),
        (false, ..) => by_size!(bytes, immediate),
        (true, true, _) => by_size!(bytes, store_register),
        (true, ..) => by_size!(bytes, store_immediate),
    })
}

fn copy<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.set_reg(op.dst, exec.reg::<T>(op.src));
    Ok(())
}

fn immediate<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.set_reg(op.dst, T::of(op.imm));
    Ok(())
}

fn load<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <T as Int>::BYTES)?;
    let value = exec.load::<T>(address)?;
    exec.set_reg(op.dst, value);
    Ok(())
}

fn store_register<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address_for_write(op, <T as Int>::BYTES)?;
    exec.store(address, exec.reg::<T>(op.src))
}

fn store_immediate<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address_for_write(op, <T as Int>::BYTES)?;
    exec.store(address, T::of(op.imm))
}

/// The accumulator from an offset that is part of the instruction, of up to 64 bits.
fn load_absolute<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address_at(op, op.imm, <T as Int>::BYTES, false)?;
    let value = exec.load::<T>(address)?;
    exec.set_reg(op.dst, value);
    Ok(())
}

fn store_absolute<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address_at(op, op.imm, <T as Int>::BYTES, true)?;
    exec.store(address, exec.reg::<T>(op.src))
}

/// Chooses by the bytes of the destination and of the source.
macro_rules! by_two_sizes {
    ($form:expr, $register:ident, $memory:ident) => {
        match ($form.bytes(), $form.bytes_of(1), $form.is_memory(1)) {
            (2, 1, false) => $register::<u16, u8>,
            (4, 1, false) => $register::<u32, u8>,
            (8, 1, false) => $register::<u64, u8>,
            (2, 2, false) => $register::<u16, u16>,
            (4, 2, false) => $register::<u32, u16>,
            (8, 2, false) => $register::<u64, u16>,
            (4, 4, false) => $register::<u32, u32>,
            (8, 4, false) => $register::<u64, u32>,
            (2, 1, true) => $memory::<u16, u8>,
            (4, 1, true) => $memory::<u32, u8>,
            (8, 1, true) => $memory::<u64, u8>,
            (2, 2, true) => $memory::<u16, u16>,
            (4, 2, true) => $memory::<u32, u16>,
            (8, 2, true) => $memory::<u64, u16>,
            (4, 4, true) => $memory::<u32, u32>,
            (8, 4, true) => $memory::<u64, u32>,
            _ => return None,
        }
    };
}

fn zero_extend(form: &Form<'_>) -> Option<Handler> {
    Some(by_two_sizes!(form, zero_extend_register, zero_extend_memory))
}

fn sign_extend(form: &Form<'_>) -> Option<Handler> {
    Some(by_two_sizes!(form, sign_extend_register, sign_extend_memory))
}

fn zero_extend_register<D: Int, S: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.set_reg(op.dst, D::of(exec.reg::<S>(op.src).zext()));
    Ok(())
}

fn sign_extend_register<D: Int, S: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.set_reg(op.dst, D::of(exec.reg::<S>(op.src).sext()));
    Ok(())
}

fn zero_extend_memory<D: Int, S: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <S as Int>::BYTES)?;
    let value = exec.load::<S>(address)?;
    exec.set_reg(op.dst, D::of(value.zext()));
    Ok(())
}

fn sign_extend_memory<D: Int, S: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <S as Int>::BYTES)?;
    let value = exec.load::<S>(address)?;
    exec.set_reg(op.dst, D::of(value.sext()));
    Ok(())
}

/// The offset itself, cut to the address size and then to the operand size.
fn lea<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.set_reg(op.dst, T::of(exec.offset(op) & op.segment.address_mask()));
    Ok(())
}
