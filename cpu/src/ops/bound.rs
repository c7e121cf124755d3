//! BOUND: #BR unless an index lies within a pair of bounds. Not in 64-bit mode.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::{Done, Fault, vector};
use crate::memory::Value;
use crate::op::{Lowered, Op, within};
use crate::ops::Form;
use crate::registers::Int;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    if form.instruction.mnemonic() != Mnemonic::Bound {
        return None;
    }
    within(if form.bytes() == 2 { bound::<u16> } else { bound::<u32> })
}

fn bound<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, 2 * <T as Int>::BYTES)?;
    let second = exec.wrap_linear(address.wrapping_add(u64::from(<T as Int>::BYTES)));
    let signed = |value: T| value.sext() as i64;
    let lowest = signed(exec.load::<T>(address)?);
    let highest = signed(exec.load::<T>(second)?);
    let index = signed(exec.reg::<T>(op.dst));
    if index < lowest || index > highest { Err(exec.raise(Fault::plain(vector::BR))) } else { Ok(()) }
}
