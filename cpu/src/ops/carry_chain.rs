//! ADCX, ADOX: two chains of carries side by side, one in CF and one in OF.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::Form;
use crate::registers::Int;

/// Which flag is the carry.
trait Chain {
    fn get(exec: &Exec<'_>) -> bool;
    fn set(exec: &mut Exec<'_>, carry: bool);
}

struct Carry;
struct Overflow;

impl Chain for Carry {
    fn get(exec: &Exec<'_>) -> bool {
        exec.flags.cf()
    }
    fn set(exec: &mut Exec<'_>, carry: bool) {
        exec.flags.set_carry(carry);
    }
}

impl Chain for Overflow {
    fn get(exec: &Exec<'_>) -> bool {
        exec.flags.of()
    }
    fn set(exec: &mut Exec<'_>, carry: bool) {
        exec.flags.carry_and_overflow(exec.flags.cf(), carry);
    }
}

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Adcx => handler::<Carry>(form),
        Mnemonic::Adox => handler::<Overflow>(form),
        _ => return None,
    })
}

fn handler<C: Chain>(form: &Form<'_>) -> Handler {
    match (form.bytes(), form.is_memory(1)) {
        (4, false) => register::<C, u32>,
        (_, false) => register::<C, u64>,
        (4, true) => memory::<C, u32>,
        (_, true) => memory::<C, u64>,
    }
}

#[inline(always)]
fn add<C: Chain, T: Int>(exec: &mut Exec<'_>, op: &Op, b: T) -> Done {
    let sum = u128::from(exec.reg::<T>(op.dst).zext()) + u128::from(b.zext()) + u128::from(C::get(exec));
    C::set(exec, sum >> T::BITS != 0);
    exec.set_reg(op.dst, T::of(sum as u64));
    Ok(())
}

fn register<C: Chain, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let source = exec.reg::<T>(op.src);
    add::<C, T>(exec, op, source)
}

fn memory<C: Chain, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <T as Int>::BYTES)?;
    let source = exec.load::<T>(address)?;
    add::<C, T>(exec, op, source)
}
