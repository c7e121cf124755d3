//! CPUID, HLT, PAUSE, CLAC, STAC, and what has caches for its subject.

use iced_x86::Mnemonic;

use crate::exec::{Exec, PAUSE_NS};
use crate::fault::{Done, Fault};
use crate::flags::RFlags;
use crate::op::{Lowered, Op, alone, last, within};
use crate::ops::Form;
use crate::registers::gpr;
use crate::run::Leave;
use crate::state::Activity;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    match form.instruction.mnemonic() {
        Mnemonic::Cpuid => within(cpuid),
        Mnemonic::Hlt => last(hlt),
        Mnemonic::Pause => alone(pause),
        Mnemonic::Clac => last(set_ac::<false>),
        Mnemonic::Stac => last(set_ac::<true>),
        // There are no caches to write back, or to lose.
        Mnemonic::Invd | Mnemonic::Wbinvd => within(invalidate_caches),
        _ => None,
    }
}

fn cpuid(exec: &mut Exec<'_>, _: &Op) -> Done {
    let leaf = exec.state.cpuid(exec.reg::<u32>(gpr::RAX), exec.reg::<u32>(gpr::RCX));
    exec.set_reg(gpr::RAX, leaf.eax);
    exec.set_reg(gpr::RBX, leaf.ebx);
    exec.set_reg(gpr::RCX, leaf.ecx);
    exec.set_reg(gpr::RDX, leaf.edx);
    Ok(())
}

fn hlt(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.require_supervisor()?;
    exec.state.activity = Activity::Halted;
    exec.attention = true;
    Ok(())
}

fn pause(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.spend(PAUSE_NS);
    exec.request_leave(Leave::Pause);
    Ok(())
}

/// Lets a kernel access user pages, or not. At other privilege levels there is no such instruction (SDM 2A, CLAC).
fn set_ac<const SET: bool>(exec: &mut Exec<'_>, _: &Op) -> Done {
    if exec.state.cpl() != 0 {
        return Err(exec.raise(Fault::UD));
    }
    exec.flags.replace(RFlags::AC, if SET { RFlags::AC } else { RFlags::empty() });
    exec.rights_changed();
    Ok(())
}

fn invalidate_caches(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.require_supervisor()
}

#[cfg(test)]
mod tests;
