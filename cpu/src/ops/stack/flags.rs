//! PUSHF, POPF (SDM 2B; privileges in its table for POPF).

use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::flags::RFlags;
use crate::op::Op;
use crate::ops::stack::Word;
use crate::registers::gpr::RSP;
use crate::state::Cr4;

/// In virtual-8086 mode with IOPL below 3 the flags are the monitor's business, unless CR4.VME virtualizes IF.
fn is_virtual(exec: &Exec<'_>) -> bool {
    let flags = exec.flags.system();
    flags.contains(RFlags::VM) && flags.intersection(RFlags::IOPL) != RFlags::IOPL
}

fn is_interrupt_virtualized<T: Word>(exec: &Exec<'_>) -> bool {
    T::BITS == 16 && exec.state.cr4.contains(Cr4::VME)
}

pub(super) fn push<T: Word>(exec: &mut Exec<'_>, _: &Op) -> Done {
    let mut flags = exec.flags.get();
    if is_virtual(exec) {
        if !is_interrupt_virtualized::<T>(exec) {
            return Err(exec.raise(Fault::GP0));
        }
        flags.insert(RFlags::IOPL);
        flags.set(RFlags::IF, flags.contains(RFlags::VIF));
    }
    flags.remove(RFlags::VM.union(RFlags::RF));
    exec.push(T::of(flags.bits() | RFlags::FIXED))
}

pub(super) fn pop<T: Word>(exec: &mut Exec<'_>, _: &Op) -> Done {
    let before = exec.flags.system();
    let stacked = RFlags::from_bits_truncate(exec.load_stack::<T>(exec.reg(RSP))?.zext());
    let mut value = stacked;
    let mut mask = RFlags::STATUS.union(RFlags::TF).union(RFlags::DF).union(RFlags::NT);
    if is_virtual(exec) {
        let refused =
            stacked.contains(RFlags::TF) || stacked.contains(RFlags::IF) && before.contains(RFlags::VIP);
        if !is_interrupt_virtualized::<T>(exec) || refused {
            return Err(exec.raise(Fault::GP0));
        }
        mask.insert(RFlags::VIF);
        value.set(RFlags::VIF, stacked.contains(RFlags::IF));
    } else {
        let cpl = u64::from(exec.state.cpl());
        if cpl <= before.intersection(RFlags::IOPL).bits() >> 12 {
            mask.insert(RFlags::IF);
        }
        if cpl == 0 {
            mask.insert(RFlags::IOPL);
        }
    }
    if T::BITS > 16 {
        mask.insert(RFlags::AC.union(RFlags::ID).union(RFlags::RF));
        value.remove(RFlags::RF);
    }
    exec.pop::<T>()?;
    exec.flags.replace(mask, value);
    let after = exec.flags.system();
    exec.attention |= after.difference(before).contains(RFlags::IF) || after.contains(RFlags::TF);
    if before.symmetric_difference(after).contains(RFlags::AC) {
        exec.rights_changed();
    }
    Ok(())
}
