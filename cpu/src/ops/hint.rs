//! Instructions that do nothing here, or nothing but raise #UD: NOP in all its forms, ENDBR, prefetches, fences, CLFLUSH; UD0 to UD2.
//!
//! Memory is strongly ordered and there is no cache, so that fences and hints have no effect that a program could see. Among the
//! encodings set aside for hints are those of features this processor lacks: they are NOPs then (SDM 2A, NOP; 1, 17.4 for MPX and
//! CET).

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::memory::Access;
use crate::op::{Lowered, Op, within};
use crate::ops::{Form, undefined};

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    match form.instruction.mnemonic() {
        Mnemonic::Nop | Mnemonic::Reservednop | Mnemonic::Endbr32 | Mnemonic::Endbr64 => within(nothing),
        Mnemonic::Prefetch
        | Mnemonic::Prefetchw
        | Mnemonic::Prefetchwt1
        | Mnemonic::Prefetchnta
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2
        | Mnemonic::Prefetchit0
        | Mnemonic::Prefetchit1 => within(nothing),
        Mnemonic::Lfence | Mnemonic::Mfence | Mnemonic::Sfence => within(nothing),
        // MPX, CET's RDSSP, CLDEMOTE.
        Mnemonic::Bndcl
        | Mnemonic::Bndcn
        | Mnemonic::Bndcu
        | Mnemonic::Bndldx
        | Mnemonic::Bndmk
        | Mnemonic::Bndmov
        | Mnemonic::Bndstx
        | Mnemonic::Rdsspd
        | Mnemonic::Rdsspq
        | Mnemonic::Cldemote => within(nothing),
        Mnemonic::Clflush | Mnemonic::Clflushopt => within(flush_line),
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => Some(undefined()),
        _ => None,
    }
}

fn nothing(_: &mut Exec<'_>, _: &Op) -> Done {
    Ok(())
}

/// Needs the right to read the byte, but does not read it: at a device nothing happens.
fn flush_line(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, 1)?;
    exec.run_of_page(address, Access::Read)?;
    Ok(())
}
