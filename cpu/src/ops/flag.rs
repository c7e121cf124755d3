//! CLC, STC, CMC, CLD, STD, SALC.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::flags::RFlags;
use crate::op::{Lowered, Op, within};
use crate::ops::Form;
use crate::registers::gpr::RAX;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Clc => clear_carry,
        Mnemonic::Stc => set_carry,
        Mnemonic::Cmc => complement_carry,
        Mnemonic::Cld => clear_direction,
        Mnemonic::Std => set_direction,
        Mnemonic::Salc => carry_to_al,
        _ => return None,
    })
}

fn clear_carry(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.flags.set_carry(false);
    Ok(())
}

fn set_carry(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.flags.set_carry(true);
    Ok(())
}

fn complement_carry(exec: &mut Exec<'_>, _: &Op) -> Done {
    let carry = exec.flags.cf();
    exec.flags.set_carry(!carry);
    Ok(())
}

fn clear_direction(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.flags.replace(RFlags::DF, RFlags::empty());
    Ok(())
}

fn set_direction(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.flags.replace(RFlags::DF, RFlags::DF);
    Ok(())
}

/// Undocumented, and on every processor: AL is all ones or zero.
fn carry_to_al(exec: &mut Exec<'_>, _: &Op) -> Done {
    let value = if exec.flags.cf() { u8::MAX } else { 0 };
    exec.set_reg(RAX, value);
    Ok(())
}
