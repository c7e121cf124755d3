//! CLI, STI.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::flags::RFlags;
use crate::op::{Lowered, Op, last, within};
use crate::ops::Form;
use crate::state::InterruptShadow;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    match form.instruction.mnemonic() {
        Mnemonic::Cli => within(cli),
        Mnemonic::Sti => last(sti),
        _ => None,
    }
}

fn cli(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.require_iopl()?;
    exec.flags.replace(RFlags::IF, RFlags::empty());
    Ok(())
}

fn sti(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.require_iopl()?;
    if !exec.flags.system().contains(RFlags::IF) {
        exec.flags.replace(RFlags::IF, RFlags::IF);
        exec.state.shadow = InterruptShadow::Sti;
        exec.attention = true;
    }
    Ok(())
}
