//! BT, BTS, BTR, BTC.

use iced_x86::{Mnemonic, OpKind};

use crate::exec::Exec;
use crate::fault::{Done, Stop};
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::{Form, by_size};
use crate::registers::Int;

/// What becomes of the tested bit.
trait Change {
    const WRITES: bool = true;
    fn apply(value: u64, mask: u64) -> u64;
}

macro_rules! change {
    ($name:ident, $writes:expr, |$value:ident, $mask:ident| $body:expr) => {
        struct $name;
        impl Change for $name {
            const WRITES: bool = $writes;
            #[inline(always)]
            fn apply($value: u64, $mask: u64) -> u64 {
                $body
            }
        }
    };
}

change!(Test, false, |value, _mask| value);
change!(Set, true, |value, mask| value | mask);
change!(Reset, true, |value, mask| value & !mask);
change!(Complement, true, |value, mask| value ^ mask);

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Bt => handler::<Test>(form),
        Mnemonic::Bts => handler::<Set>(form),
        Mnemonic::Btr => handler::<Reset>(form),
        Mnemonic::Btc => handler::<Complement>(form),
        _ => return None,
    })
}

fn handler<C: Change>(form: &Form<'_>) -> Handler {
    let bytes = form.bytes();
    match (form.is_memory(0), form.kind(1) == OpKind::Immediate8) {
        (false, false) => by_size!(bytes, register::<C>),
        (false, true) => by_size!(bytes, register_immediate::<C>),
        (true, false) => by_size!(bytes, string::<C>),
        (true, true) => by_size!(bytes, memory_immediate::<C>),
    }
}

/// Tests and changes one bit; the other flags stay.
#[inline(always)]
fn change<C: Change, T: Int>(exec: &mut Exec<'_>, value: T, bit: u64) -> T {
    let mask = 1 << (bit % u64::from(T::BITS));
    exec.flags.set_carry(value.zext() & mask != 0);
    T::of(C::apply(value.zext(), mask))
}

fn register<C: Change, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let result = change::<C, T>(exec, exec.reg::<T>(op.dst), exec.reg::<u64>(op.src));
    if C::WRITES {
        exec.set_reg(op.dst, result);
    }
    Ok(())
}

fn register_immediate<C: Change, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let result = change::<C, T>(exec, exec.reg::<T>(op.dst), op.imm);
    if C::WRITES {
        exec.set_reg(op.dst, result);
    }
    Ok(())
}

#[inline(always)]
fn in_memory<C: Change, T: Int + Value>(exec: &mut Exec<'_>, address: u64, bit: u64) -> Result<(), Stop> {
    if C::WRITES {
        return exec.update::<T>(address, |exec, value| change::<C, T>(exec, value, bit));
    }
    let value = exec.load::<T>(address)?;
    change::<C, T>(exec, value, bit);
    Ok(())
}

/// The register is a signed distance in bits from the operand's first: a bit string of any length (SDM 1, 4.4.3 and figure 3-2).
fn string<C: Change, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let bit = exec.reg::<T>(op.src).sext();
    let operand = (bit as i64 >> T::BITS.trailing_zeros()).wrapping_mul(i64::from(<T as Int>::BYTES));
    let offset = exec.offset(op).wrapping_add(operand as u64);
    let address = exec.address_at(op, offset, <T as Int>::BYTES, C::WRITES)?;
    in_memory::<C, T>(exec, address, bit)
}

fn memory_immediate<C: Change, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let offset = exec.offset(op);
    let address = exec.address_at(op, offset, <T as Int>::BYTES, C::WRITES)?;
    in_memory::<C, T>(exec, address, op.imm)
}
