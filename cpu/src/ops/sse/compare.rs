//! Floating-point comparisons, and PTEST.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::flags::RFlags;
use crate::fp::host_sse::{self, Cmppd, Cmpps, Cmpsd, Cmpss, Order, Ordering};
use crate::op::{Lowered, Op, within};
use crate::ops::Form;
use crate::ops::sse::arithmetic::handler;
use crate::ops::sse::source::{Source, by_source};

/// Chooses the predicate that the immediate names; its upper bits are ignored in legacy encodings.
macro_rules! by_predicate {
    ($form:ident, $comparison:ident) => {
        match $form.instruction.immediate8() & 7 {
            0 => handler::<$comparison<0>>($form),
            1 => handler::<$comparison<1>>($form),
            2 => handler::<$comparison<2>>($form),
            3 => handler::<$comparison<3>>($form),
            4 => handler::<$comparison<4>>($form),
            5 => handler::<$comparison<5>>($form),
            6 => handler::<$comparison<6>>($form),
            _ => handler::<$comparison<7>>($form),
        }
    };
}

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Cmpps => by_predicate!(form, Cmpps),
        Mnemonic::Cmppd => by_predicate!(form, Cmppd),
        Mnemonic::Cmpss => by_predicate!(form, Cmpss),
        // CMPSD is also a string instruction.
        Mnemonic::Cmpsd if form.instruction.op0_register().is_xmm() => by_predicate!(form, Cmpsd),
        Mnemonic::Comiss => by_source!(form, order, host_sse::Comiss),
        Mnemonic::Ucomiss => by_source!(form, order, host_sse::Ucomiss),
        Mnemonic::Comisd => by_source!(form, order, host_sse::Comisd),
        Mnemonic::Ucomisd => by_source!(form, order, host_sse::Ucomisd),
        Mnemonic::Ptest => by_source!(form, ptest),
        _ => return None,
    })
}

fn order<O: Ordering, S: Source>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let b = S::read(exec, op)?;
    let a = exec.xmm(op.dst);
    let order = exec.compute(|mxcsr| O::run(a, b, mxcsr))?;
    exec.set_order(order);
    Ok(())
}

fn ptest<S: Source>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let b = S::read(exec, op)?;
    let a = exec.xmm(op.dst);
    exec.set_order(Order { zero: a & b == 0, parity: false, carry: !a & b == 0 });
    Ok(())
}

impl Exec<'_> {
    /// ZF, PF and CF from a comparison; the other status flags are cleared.
    pub(crate) fn set_order(&mut self, order: Order) {
        let mut flags = RFlags::empty();
        flags.set(RFlags::ZF, order.zero);
        flags.set(RFlags::PF, order.parity);
        flags.set(RFlags::CF, order.carry);
        self.flags.replace(RFlags::STATUS, flags);
    }
}
