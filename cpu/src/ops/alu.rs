//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::{Form, by_size};
use crate::registers::Int;

/// An operation of two operands that sets all status flags.
trait Alu {
    /// Whether the result goes back to the first operand.
    const WRITES: bool = true;
    fn apply<T: Int>(exec: &mut Exec<'_>, a: T, b: T) -> T;
}

macro_rules! alu {
    ($name:ident, $writes:expr, |$exec:ident, $a:ident, $b:ident| $body:expr) => {
        struct $name;
        impl Alu for $name {
            const WRITES: bool = $writes;
            #[inline(always)]
            fn apply<T: Int>($exec: &mut Exec<'_>, $a: T, $b: T) -> T {
                $body
            }
        }
    };
}

alu!(Add, true, |exec, a, b| {
    let result = T::of(a.zext().wrapping_add(b.zext()));
    exec.flags.add(a, b, result);
    result
});
alu!(Adc, true, |exec, a, b| {
    let carry = exec.flags.cf();
    let result = T::of(a.zext().wrapping_add(b.zext()).wrapping_add(u64::from(carry)));
    exec.flags.adc(a, b, carry, result);
    result
});
alu!(Sub, true, |exec, a, b| {
    let result = T::of(a.zext().wrapping_sub(b.zext()));
    exec.flags.sub(a, b, result);
    result
});
alu!(Sbb, true, |exec, a, b| {
    let borrow = exec.flags.cf();
    let result = T::of(a.zext().wrapping_sub(b.zext()).wrapping_sub(u64::from(borrow)));
    exec.flags.sbb(a, b, borrow, result);
    result
});
alu!(Cmp, false, |exec, a, b| {
    let result = T::of(a.zext().wrapping_sub(b.zext()));
    exec.flags.sub(a, b, result);
    result
});
alu!(And, true, |exec, a, b| logic(exec, a.zext() & b.zext()));
alu!(Or, true, |exec, a, b| logic(exec, a.zext() | b.zext()));
alu!(Xor, true, |exec, a, b| logic(exec, a.zext() ^ b.zext()));
alu!(Test, false, |exec, a, b| logic(exec, a.zext() & b.zext()));

#[inline(always)]
fn logic<T: Int>(exec: &mut Exec<'_>, result: u64) -> T {
    let result = T::of(result);
    exec.flags.logic(result);
    result
}

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Add => handler::<Add>(form),
        Mnemonic::Or => handler::<Or>(form),
        Mnemonic::Adc => handler::<Adc>(form),
        Mnemonic::Sbb => handler::<Sbb>(form),
        Mnemonic::And => handler::<And>(form),
        Mnemonic::Sub => handler::<Sub>(form),
        Mnemonic::Xor => handler::<Xor>(form),
        Mnemonic::Cmp => handler::<Cmp>(form),
        Mnemonic::Test => handler::<Test>(form),
        _ => return None,
    })
}

fn handler<A: Alu>(form: &Form<'_>) -> Handler {
    let bytes = form.bytes();
    match (form.is_memory(0), form.is_register(1), form.is_memory(1)) {
        (false, true, _) => by_size!(bytes, register_register::<A>),
        (false, _, true) => by_size!(bytes, register_memory::<A>),
        (false, ..) => by_size!(bytes, register_immediate::<A>),
        (true, true, _) => by_size!(bytes, memory_register::<A>),
        (true, ..) => by_size!(bytes, memory_immediate::<A>),
    }
}

fn register_register<A: Alu, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let result = A::apply(exec, exec.reg::<T>(op.dst), exec.reg::<T>(op.src));
    if A::WRITES {
        exec.set_reg(op.dst, result);
    }
    Ok(())
}

fn register_immediate<A: Alu, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let result = A::apply(exec, exec.reg::<T>(op.dst), T::of(op.imm));
    if A::WRITES {
        exec.set_reg(op.dst, result);
    }
    Ok(())
}

fn register_memory<A: Alu, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <T as Int>::BYTES)?;
    let b = exec.load::<T>(address)?;
    let result = A::apply(exec, exec.reg::<T>(op.dst), b);
    if A::WRITES {
        exec.set_reg(op.dst, result);
    }
    Ok(())
}

fn memory_register<A: Alu, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let b = exec.reg::<T>(op.src);
    memory::<A, T>(exec, op, b)
}

fn memory_immediate<A: Alu, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    memory::<A, T>(exec, op, T::of(op.imm))
}

#[inline(always)]
fn memory<A: Alu, T: Int + Value>(exec: &mut Exec<'_>, op: &Op, b: T) -> Done {
    if A::WRITES {
        let address = exec.address_for_write(op, <T as Int>::BYTES)?;
        return exec.update(address, |exec, a| A::apply(exec, a, b));
    }
    let address = exec.address(op, <T as Int>::BYTES)?;
    let a = exec.load::<T>(address)?;
    A::apply(exec, a, b);
    Ok(())
}
