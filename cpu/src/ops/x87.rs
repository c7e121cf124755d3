//! The x87 unit (SDM 1, chapter 8).
//!
//! An exception that is not masked is reported by the next instruction that waits. Of the pointers to the last instruction, its
//! address is kept by all instructions but those of control; opcode and operand are kept only when an exception is not masked, and
//! selectors are zero: what CPUID says in FDP_EXCPTN_ONLY and in the deprecation of FCS and FDS (leaf 7, EBX bits 6 and 13).

mod control;

use crate::exec::{Exec, Missing};
use crate::fault::{Done, Fault, Stop, vector};
use crate::op::Lowered;
use crate::ops::Form;
use crate::state::{Cr0, status};

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    control::lower(form)
}

impl Exec<'_> {
    /// Whether x87 instructions may run (SDM 3A, 2.5).
    pub(crate) fn x87_on(&mut self) -> Done {
        if self.state.cr0.intersects(Cr0::EM | Cr0::TS) { Err(self.raise(Fault::NM)) } else { Ok(()) }
    }

    /// Whether one that waits may run.
    pub(crate) fn x87_ready(&mut self) -> Done {
        self.x87_on()?;
        self.x87_pending()
    }

    /// #MF if an exception waits to be reported. Without CR0.NE it would be reported by an external interrupt.
    pub(crate) fn x87_pending(&mut self) -> Done {
        if self.state.fpu.status & status::ES == 0 {
            return Ok(());
        }
        if self.state.cr0.contains(Cr0::NE) {
            return Err(self.raise(Fault::plain(vector::MF)));
        }
        self.missing = Some(Missing::Feature("x87 exceptions by interrupt (CR0.NE clear)"));
        Err(Stop::Unimplemented)
    }
}
