//! LDMXCSR and STMXCSR.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::op::{Lowered, Op, within};
use crate::ops::Form;

/// Bits of MXCSR that exist. FXSAVE tells software.
pub(crate) const MXCSR_MASK: u32 = 0xffff;

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Ldmxcsr => ldmxcsr,
        Mnemonic::Stmxcsr => stmxcsr,
        _ => return None,
    })
}

fn ldmxcsr(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let mxcsr = exec.load_operand::<u32>(op)? as u32;
    if mxcsr & !MXCSR_MASK != 0 {
        return Err(exec.raise(Fault::GP0));
    }
    exec.state.fpu.mxcsr = mxcsr;
    Ok(())
}

fn stmxcsr(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let address = exec.address_for_write(op, 4)?;
    exec.store(address, exec.state.fpu.mxcsr)
}
