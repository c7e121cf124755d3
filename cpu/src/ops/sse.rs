//! SSE, SSE2, SSE3, SSSE3, SSE4.1 and SSE4.2 in their legacy encodings (SDM 1, chapters 10 to 12). The integer instructions also
//! have forms on MMX registers: those are lowered here and run in [`super::mmx`].

mod arithmetic;
mod compare;
mod control;
mod convert;
mod horizontal;
mod insert_extract;
mod integer;
mod moves;
mod round;
mod shuffle;
mod source;
mod strings;

pub(crate) use control::MXCSR_MASK;
pub(crate) use moves::signs8;
pub(crate) use source::{Immediate, Memory, Source};

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop};
use crate::memory::Value;
use crate::op::{Lowered, Op, within};
use crate::ops::sse::source::by_source;
use crate::ops::{Form, mmx};
use crate::state::{Cr0, Cr4};

/// The handler for an instruction of these families.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    [
        moves::lower,
        integer::lower,
        shuffle::lower,
        insert_extract::lower,
        arithmetic::lower,
        compare::lower,
        convert::lower,
        horizontal::lower,
        round::lower,
        strings::lower,
        control::lower,
    ]
    .iter()
    .find_map(|lower| lower(form))
}

/// An instruction that makes the first operand out of both and of an immediate byte, and cannot fault by itself.
pub(crate) trait Vector {
    /// On XMM registers.
    fn wide(a: u128, b: u128, imm: u8) -> u128;

    /// On MMX registers. Where lanes do not meet, that is the lower half of the same.
    #[inline(always)]
    fn narrow(a: u64, b: u64, imm: u8) -> u64 {
        Self::wide(u128::from(a), u128::from(b), imm) as u64
    }
}

/// A table of such instructions: `Mnemonic(a, b, imm) => result;`, with `, narrow(a, b, imm) => result` where MMX differs.
macro_rules! vectors {
    ($($name:ident($a:pat, $b:pat $(, $imm:pat)?) => $wide:expr $(, narrow($na:pat, $nb:pat, $ni:pat) => $narrow:expr)?;)*) => {
        /// The handler for an instruction of this family.
        pub(super) fn lower(form: &$crate::ops::Form<'_>) -> Option<$crate::op::Lowered> {
            match form.instruction.mnemonic() {
                $(iced_x86::Mnemonic::$name => {
                    struct Operation;
                    impl $crate::ops::sse::Vector for Operation {
                        #[inline(always)]
                        fn wide($a: u128, $b: u128, _imm: u8) -> u128 {
                            $(let $imm = _imm;)?
                            $wide
                        }
                        $(
                            #[inline(always)]
                            fn narrow($na: u64, $nb: u64, $ni: u8) -> u64 {
                                $narrow
                            }
                        )?
                    }
                    $crate::ops::sse::vector::<Operation>(form)
                })*
                _ => None,
            }
        }
    };
}
pub(crate) use vectors;

/// The handler of a [`Vector`] for this form.
pub(crate) fn vector<V: Vector>(form: &Form<'_>) -> Option<Lowered> {
    if form.instruction.op0_register().is_mm() {
        return mmx::vector::<V>(form);
    }
    within(by_source!(form, apply, V))
}

fn apply<V: Vector, S: Source>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let b = S::read(exec, op)?;
    exec.set_xmm(op.dst, V::wide(exec.xmm(op.dst), b, op.imm as u8));
    Ok(())
}

impl Exec<'_> {
    /// Whether SSE instructions may run (SDM 3A, table 13-1).
    #[inline(always)]
    pub(crate) fn sse_ready(&mut self) -> Done {
        let off = self.state.cr0.bits() & (Cr0::EM.bits() | Cr0::TS.bits());
        if off == 0 && self.state.cr4.bits() & Cr4::OSFXSR.bits() != 0 { Ok(()) } else { self.sse_off() }
    }

    #[cold]
    fn sse_off(&mut self) -> Done {
        let undefined = self.state.cr0.contains(Cr0::EM) || !self.state.cr4.contains(Cr4::OSFXSR);
        Err(self.raise(if undefined { Fault::UD } else { Fault::NM }))
    }

    /// Reads an XMM register.
    #[inline(always)]
    pub(crate) fn xmm(&self, register: u8) -> u128 {
        self.state.fpu.xmm[register as usize % 16]
    }

    /// Writes an XMM register.
    #[inline(always)]
    pub(crate) fn set_xmm(&mut self, register: u8, value: u128) {
        self.state.fpu.xmm[register as usize % 16] = value;
    }

    /// Loads a memory operand, zero extended.
    #[inline(always)]
    pub(crate) fn load_operand<T: Value>(&mut self, op: &Op) -> Result<u128, Stop> {
        let address = self.address(op, T::BYTES as u8)?;
        Ok(self.load::<T>(address)?.to_bits())
    }

    /// #GP(0) unless the address is a multiple of this power of two.
    #[inline(always)]
    pub(crate) fn aligned(&mut self, address: u64, bytes: u64) -> Done {
        if address & (bytes - 1) == 0 { Ok(()) } else { Err(self.raise(Fault::GP0)) }
    }
}

#[cfg(test)]
mod tests;
