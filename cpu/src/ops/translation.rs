//! INVLPG and INVPCID: what becomes of translations. The TLB does not tell PCIDs apart and forgets everything but global pages when
//! CR3 is written, so that only those of the current PCID are ever in it.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::memory::is_canonical;
use crate::op::{Lowered, Op, last};
use crate::ops::{Form, by_size};
use crate::registers::Int;
use crate::state::{Cr4, SegmentName};

/// Process-context identifier, in CR3 and in the descriptor of INVPCID.
const PCID: u64 = 0xfff;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    match form.instruction.mnemonic() {
        Mnemonic::Invlpg => last(invlpg),
        Mnemonic::Invpcid => last(by_size!(form.bytes(), invpcid)),
        _ => None,
    }
}

fn invlpg(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.require_supervisor()?;
    let offset = exec.offset(op) & op.segment.address_mask();
    let name = op.segment.segment();
    let has_base = !exec.mode.is_64() || matches!(name, SegmentName::Fs | SegmentName::Gs);
    let base = if has_base { exec.state.segment(name).base } else { 0 };
    // Nothing is accessed: limits do not count, and an address that is not canonical has no translation.
    let linear = exec.wrap_linear(base.wrapping_add(offset));
    exec.tlb.invalidate(linear);
    Ok(())
}

fn invpcid<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.require_supervisor()?;
    let address = exec.address(op, 16)?;
    let descriptor = exec.load::<u128>(address)?;
    let (pcid, linear) = (descriptor as u64, (descriptor >> 64) as u64);
    let kind = exec.reg::<T>(op.dst).zext();
    let of_one = kind < 2;
    let allowed = kind < 4
        && pcid & !PCID == 0
        && (kind != 0 || is_canonical(linear))
        && (!of_one || pcid == 0 || exec.state.cr4.contains(Cr4::PCIDE));
    if !allowed {
        return Err(exec.raise(Fault::GP0));
    }
    let current = !exec.state.cr4.contains(Cr4::PCIDE) || exec.state.cr3 & PCID == pcid;
    match kind {
        0 if current => exec.tlb.invalidate(linear),
        1 if current => exec.tlb.flush(true),
        0 | 1 => {}
        2 => exec.tlb.flush(false),
        _ => exec.tlb.flush(true),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
