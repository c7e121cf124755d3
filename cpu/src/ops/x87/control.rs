//! Control and status words.

use iced_x86::{Code, Mnemonic};

use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::op::{Lowered, Op, within};
use crate::ops::Form;
use crate::registers::gpr::RAX;
use crate::state::{Cr0, status};

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Wait => wait,
        Mnemonic::Fninit => fninit,
        Mnemonic::Fnclex => fnclex,
        Mnemonic::Fnstcw => fnstcw,
        Mnemonic::Fldcw => fldcw,
        Mnemonic::Fnstsw if form.instruction.code() == Code::Fnstsw_AX => fnstsw_ax,
        Mnemonic::Fnstsw => fnstsw,
        // Of the 8087 and the 80287; nothing since.
        Mnemonic::Fneni | Mnemonic::Fndisi | Mnemonic::Fnsetpm => nothing,
        Mnemonic::Fnop => fnop,
        _ => return None,
    })
}

fn wait(exec: &mut Exec<'_>, _: &Op) -> Done {
    if exec.state.cr0.contains(Cr0::MP | Cr0::TS) {
        return Err(exec.raise(Fault::NM));
    }
    exec.x87_pending()
}

fn nothing(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.x87_on()
}

fn fnop(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.x87_ready()
}

fn fninit(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.x87_on()?;
    exec.state.fpu.initialize_x87();
    Ok(())
}

fn fnclex(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.x87_on()?;
    exec.state.fpu.status &= status::TOP | status::CONDITION;
    Ok(())
}

fn fnstcw(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_on()?;
    let address = exec.address_for_write(op, 2)?;
    exec.store(address, exec.state.fpu.control)
}

fn fldcw(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let control = exec.load_operand::<u16>(op)? as u16;
    exec.state.fpu.set_control(control);
    Ok(())
}

fn fnstsw(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_on()?;
    let address = exec.address_for_write(op, 2)?;
    exec.store(address, exec.state.fpu.status)
}

fn fnstsw_ax(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.x87_on()?;
    exec.set_reg(RAX, exec.state.fpu.status);
    Ok(())
}

#[cfg(test)]
mod tests;
