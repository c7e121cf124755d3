//! INS and OUTS: one element at a time, each at its exact time.

use iced_x86::Code;

use crate::exec::Exec;
use crate::fault::{Done, Stop};
use crate::memory::Value;
use crate::op::{Lowered, Op, alone};
use crate::ops::Form;
use crate::ops::strings::{RCX, RDI, RSI, address, advance, set_counter};
use crate::registers::Int;
use crate::registers::gpr::RDX;

/// A direction.
trait Transfer {
    /// Moves one element.
    fn apply<T: Int + Value>(exec: &mut Exec<'_>, op: &Op, port: u16) -> Done;
}

struct Input;

impl Transfer for Input {
    fn apply<T: Int + Value>(exec: &mut Exec<'_>, op: &Op, port: u16) -> Done {
        let to = address::<T>(exec, op, RDI, true)?;
        // What was read from a device cannot be read again: the store must go through.
        exec.probe_write(to, u64::from(<T as Int>::BYTES))?;
        let value = exec.port_read(port, <T as Int>::BYTES);
        exec.store::<T>(to, T::of(u64::from(value)))?;
        advance::<T>(exec, op, RDI, 1);
        Ok(())
    }
}

struct Output;

impl Transfer for Output {
    fn apply<T: Int + Value>(exec: &mut Exec<'_>, op: &Op, port: u16) -> Done {
        let from = address::<T>(exec, op, RSI, false)?;
        let value = exec.load::<T>(from)?;
        exec.port_write(port, <T as Int>::BYTES, value.zext() as u32);
        advance::<T>(exec, op, RSI, 1);
        Ok(())
    }
}

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    match form.instruction.code() {
        Code::Insb_m8_DX => transfer::<Input, u8>(form),
        Code::Insw_m16_DX => transfer::<Input, u16>(form),
        Code::Insd_m32_DX => transfer::<Input, u32>(form),
        Code::Outsb_DX_m8 => transfer::<Output, u8>(form),
        Code::Outsw_DX_m16 => transfer::<Output, u16>(form),
        Code::Outsd_DX_m32 => transfer::<Output, u32>(form),
        _ => None,
    }
}

fn transfer<X: Transfer, T: Int + Value>(form: &Form<'_>) -> Option<Lowered> {
    if form.instruction.has_rep_prefix() || form.instruction.has_repne_prefix() {
        alone(repeat::<X, T>)
    } else {
        alone(once::<X, T>)
    }
}

fn once<X: Transfer, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let port = exec.reg::<u16>(RDX);
    exec.check_port(port, <T as Int>::BYTES)?;
    X::apply::<T>(exec, op, port)
}

fn repeat<X: Transfer, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    // Who may not do it may not do it no times either.
    let port = exec.reg::<u16>(RDX);
    exec.check_port(port, <T as Int>::BYTES)?;
    let count = exec.reg::<u64>(RCX) & op.segment.address_mask();
    if count == 0 {
        return Ok(());
    }
    X::apply::<T>(exec, op, port)?;
    set_counter(exec, op, RCX, count - 1);
    if count == 1 {
        return Ok(());
    }
    // The caller gives back what this iteration cost.
    exec.budget -= 1;
    Err(Stop::Again)
}
