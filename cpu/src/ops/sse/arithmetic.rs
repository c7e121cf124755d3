//! Floating-point arithmetic, and how every instruction that computes with MXCSR ends.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop, vector};
use crate::fp::estimate::{reciprocal, reciprocal_root};
use crate::fp::host_sse::{self, Arithmetic, FLAGS, FLUSH, MASKS, Raised, UNDERFLOW};
use crate::fp::lanes::each32;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::Form;
use crate::ops::sse::source::{Source, by_source};
use crate::ops::sse::vectors;
use crate::state::Cr4;

/// Invalid operation, denormal operand, division by zero: found before anything is computed.
const BEFORE: u32 = 0x07;

impl Exec<'_> {
    /// Computes one result under the guest's MXCSR and notes what that raised. `run` must depend on MXCSR only.
    ///
    /// # Errors
    /// #XM for an exception that is not masked; #UD if the system has not said that it can handle #XM (SDM 1, 11.5).
    #[inline(always)]
    pub(crate) fn compute<T>(&mut self, run: impl Fn(u32) -> Raised<T>) -> Result<T, Stop> {
        self.compute_lanes(&run, 1, |_, mxcsr| run(mxcsr).1)
    }

    /// Computes `lanes` results at once; `raised` says what one of them raises.
    #[inline(always)]
    pub(crate) fn compute_lanes<T>(
        &mut self,
        run: impl Fn(u32) -> Raised<T>,
        lanes: usize,
        raised: impl Fn(usize, u32) -> u32,
    ) -> Result<T, Stop> {
        let mxcsr = self.state.fpu.mxcsr;
        if mxcsr & MASKS == MASKS {
            let (result, raised) = run(mxcsr);
            self.state.fpu.mxcsr |= raised;
            return Ok(result);
        }
        self.check_unmasked(mxcsr, lanes, raised)?;
        // Not masked, underflow keeps results from being flushed (SDM 1, 10.2.3.3).
        let control = if mxcsr >> 7 & UNDERFLOW == 0 { mxcsr & !FLUSH } else { mxcsr };
        Ok(run(control).0)
    }

    #[cold]
    fn check_unmasked(&mut self, mxcsr: u32, lanes: usize, raised: impl Fn(usize, u32) -> u32) -> Done {
        let all = (0..lanes).fold(0, |all, lane| all | raised(lane, mxcsr));
        let unmasked = all & !(mxcsr >> 7) & FLAGS;
        // An exception that is found before computing leaves nothing to be found afterwards.
        self.state.fpu.mxcsr |= if unmasked & BEFORE != 0 { all & BEFORE } else { all };
        if unmasked == 0 {
            return Ok(());
        }
        let handled = self.state.cr4.contains(Cr4::OSXMMEXCPT);
        Err(self.raise(if handled { Fault::plain(vector::XM) } else { Fault::UD }))
    }
}

macro_rules! arithmetic {
    ($($name:ident)*) => {
        /// The handler for an instruction of this family.
        pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
            match form.instruction.mnemonic() {
                $(Mnemonic::$name => within(handler::<host_sse::$name>(form)),)*
                _ => estimates::lower(form),
            }
        }
    };
}

arithmetic! {
    Addps Addpd Addss Addsd
    Subps Subpd Subss Subsd
    Mulps Mulpd Mulss Mulsd
    Divps Divpd Divss Divsd
    Minps Minpd Minss Minsd
    Maxps Maxpd Maxss Maxsd
    Sqrtps Sqrtpd Sqrtss Sqrtsd
    Cvtps2pd Cvtpd2ps Cvtss2sd Cvtsd2ss
    Cvtdq2ps Cvtdq2pd
    Cvtps2dq Cvttps2dq Cvtpd2dq Cvttpd2dq
}

/// The handler for the form of an instruction of two XMM registers, or one and memory.
pub(super) fn handler<A: Arithmetic>(form: &Form<'_>) -> Handler {
    by_source!(form, apply, A)
}

fn apply<A: Arithmetic, S: Source>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let b = S::read(exec, op)?;
    let result = exec.arithmetic::<A>(exec.xmm(op.dst), b)?;
    exec.set_xmm(op.dst, result);
    Ok(())
}

impl Exec<'_> {
    /// Computes what this instruction makes of two registers.
    ///
    /// # Errors
    /// As [`Exec::compute`].
    #[inline(always)]
    pub(crate) fn arithmetic<A: Arithmetic>(&mut self, a: u128, b: u128) -> Result<u128, Stop> {
        self.compute_lanes(|mxcsr| A::run(a, b, mxcsr), A::LANES, |lane, mxcsr| A::raised(lane, a, b, mxcsr))
    }
}

mod estimates {
    use super::*;

    const LOW: u128 = u32::MAX as u128;

    vectors! {
        Rcpps(_, b) => each32(b, b, |b: u32, _| reciprocal(b));
        Rsqrtps(_, b) => each32(b, b, |b: u32, _| reciprocal_root(b));
        Rcpss(a, b) => a & !LOW | u128::from(reciprocal(b as u32));
        Rsqrtss(a, b) => a & !LOW | u128::from(reciprocal_root(b as u32));
    }
}

#[cfg(test)]
mod tests;
