//! The x87 unit (SDM 1, chapter 8).
//!
//! An exception that is not masked is reported by the next instruction that waits. Of the pointers to the last instruction, its
//! address is kept by all instructions but those of control; opcode and operand are kept only when an exception is not masked, and
//! selectors are zero: what CPUID says in FDP_EXCPTN_ONLY and in the deprecation of FCS and FDS (leaf 7, EBX bits 6 and 13).

mod arithmetic;
mod compare;
mod control;
mod environment;
mod load_store;
mod stack;
mod transcendental;

use crate::exec::{Exec, Missing};
use crate::fault::{Done, Fault, Stop, vector};
use crate::op::Lowered;
use crate::ops::Form;
use crate::state::{Cr0, status};

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    [
        load_store::lower,
        arithmetic::lower,
        compare::lower,
        control::lower,
        environment::lower,
        transcendental::lower,
    ]
    .iter()
    .find_map(|lower| lower(form))
}

/// The 11 bits that FOP keeps of an x87 instruction: three of its first byte, and the second.
pub(crate) fn opcode(code: &[u8]) -> Option<u16> {
    let is_prefix = |byte: &u8| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
    let mut code = code.iter().copied().skip_while(is_prefix);
    match (code.next(), code.next()) {
        (Some(first @ 0xd8..=0xdf), Some(second)) => Some(u16::from(first & 7) << 8 | u16::from(second)),
        _ => None,
    }
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

#[cfg(test)]
mod tests;
