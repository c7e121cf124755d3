//! INC, DEC, NEG, NOT.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::{Form, by_size};
use crate::registers::Int;

/// An operation of one operand.
trait Unary {
    fn apply<T: Int>(exec: &mut Exec<'_>, a: T) -> T;
}

macro_rules! unary {
    ($name:ident, |$exec:ident, $a:ident| $body:expr) => {
        struct $name;
        impl Unary for $name {
            #[inline(always)]
            fn apply<T: Int>($exec: &mut Exec<'_>, $a: T) -> T {
                $body
            }
        }
    };
}

unary!(Inc, |exec, a| {
    let result = T::of(a.zext().wrapping_add(1));
    exec.flags.inc(a, result);
    result
});
unary!(Dec, |exec, a| {
    let result = T::of(a.zext().wrapping_sub(1));
    exec.flags.dec(a, result);
    result
});
unary!(Neg, |exec, a| {
    let result = T::of(a.zext().wrapping_neg());
    exec.flags.sub(T::of(0), a, result);
    result
});
// The only one that leaves the flags alone.
unary!(Not, |_exec, a| T::of(!a.zext()));

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Inc => handler::<Inc>(form),
        Mnemonic::Dec => handler::<Dec>(form),
        Mnemonic::Neg => handler::<Neg>(form),
        Mnemonic::Not => handler::<Not>(form),
        _ => return None,
    })
}

fn handler<U: Unary>(form: &Form<'_>) -> Handler {
    if form.is_memory(0) {
        by_size!(form.bytes(), memory::<U>)
    } else {
        by_size!(form.bytes(), register::<U>)
    }
}

fn register<U: Unary, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let result = U::apply(exec, exec.reg::<T>(op.dst));
    exec.set_reg(op.dst, result);
    Ok(())
}

fn memory<U: Unary, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address_for_write(op, <T as Int>::BYTES)?;
    exec.update::<T>(address, |exec, a| U::apply(exec, a))
}
