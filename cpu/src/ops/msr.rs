//! RDMSR, WRMSR, RDTSC, RDTSCP, RDPMC.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::op::{Lowered, Op, alone, within};
use crate::ops::Form;
use crate::registers::gpr;
use crate::state::Cr4;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    match form.instruction.mnemonic() {
        Mnemonic::Rdmsr => alone(rdmsr),
        Mnemonic::Wrmsr => alone(wrmsr),
        Mnemonic::Rdtsc => alone(rdtsc),
        Mnemonic::Rdtscp => alone(rdtscp),
        Mnemonic::Rdpmc => within(rdpmc),
        _ => None,
    }
}

fn rdmsr(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.require_supervisor()?;
    let Ok(value) = exec.read_msr(exec.reg::<u32>(gpr::RCX)) else {
        return Err(exec.raise(Fault::GP0));
    };
    exec.set_edx_eax(value);
    Ok(())
}

fn wrmsr(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.require_supervisor()?;
    let written = exec.write_msr(exec.reg::<u32>(gpr::RCX), exec.edx_eax());
    written.map_err(|_| exec.raise(Fault::GP0))
}

fn rdtsc(exec: &mut Exec<'_>, _: &Op) -> Done {
    if exec.state.cr4.contains(Cr4::TSD) {
        exec.require_supervisor()?;
    }
    exec.set_edx_eax(exec.state.tsc(exec.now()));
    Ok(())
}

fn rdtscp(exec: &mut Exec<'_>, op: &Op) -> Done {
    rdtsc(exec, op)?;
    exec.set_reg(gpr::RCX, exec.state.msrs.tsc_aux as u32);
    Ok(())
}

/// There are no counters: every number is wrong.
fn rdpmc(exec: &mut Exec<'_>, _: &Op) -> Done {
    Err(exec.raise(Fault::GP0))
}
