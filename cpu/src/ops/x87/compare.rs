//! Comparisons, and FXAM.

use iced_x86::{Code, Mnemonic};

use crate::exec::Exec;
use crate::fault::Done;
use crate::fp::extended::{Class, Extended};
use crate::fp::host_sse::Order;
use crate::fp::host_x87::{Compare, Operation, compare_unordered};
use crate::memory::Value;
use crate::op::{Lowered, Op, within};
use crate::ops::Form;
use crate::registers::Int;
use crate::state::{Fpu, status};

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match (form.instruction.code(), form.instruction.mnemonic()) {
        (Code::Fcom_m32fp, _) => single::<0>,
        (Code::Fcomp_m32fp, _) => single::<1>,
        (Code::Fcom_m64fp, _) => double::<0>,
        (Code::Fcomp_m64fp, _) => double::<1>,
        (Code::Ficom_m16int, _) => integer::<u16, 0>,
        (Code::Ficomp_m16int, _) => integer::<u16, 1>,
        (Code::Ficom_m32int, _) => integer::<u32, 0>,
        (Code::Ficomp_m32int, _) => integer::<u32, 1>,
        (_, Mnemonic::Fcom) => registers::<Ordered, 0>,
        (_, Mnemonic::Fcomp) => registers::<Ordered, 1>,
        (_, Mnemonic::Fcompp) => registers::<Ordered, 2>,
        (_, Mnemonic::Fucom) => registers::<Unordered, 0>,
        (_, Mnemonic::Fucomp) => registers::<Unordered, 1>,
        (_, Mnemonic::Fucompp) => registers::<Unordered, 2>,
        (_, Mnemonic::Fcomi) => to_flags::<Ordered, 0>,
        (_, Mnemonic::Fcomip) => to_flags::<Ordered, 1>,
        (_, Mnemonic::Fucomi) => to_flags::<Unordered, 0>,
        (_, Mnemonic::Fucomip) => to_flags::<Unordered, 1>,
        (_, Mnemonic::Ftst) => ftst,
        (_, Mnemonic::Fxam) => fxam,
        _ => return None,
    })
}

/// What an unordered comparison leaves.
const UNORDERED: u16 = status::C0 | status::C2 | status::C3;

/// Whether a quiet NaN is an invalid operand.
trait Kind {
    fn compare(a: Extended, b: Extended, control: u16) -> u16;
}

struct Ordered;

impl Kind for Ordered {
    fn compare(a: Extended, b: Extended, control: u16) -> u16 {
        Compare::extended(a, b, control).1
    }
}

struct Unordered;

impl Kind for Unordered {
    fn compare(a: Extended, b: Extended, control: u16) -> u16 {
        compare_unordered(a, b, control).1
    }
}

impl Exec<'_> {
    /// Compares registers, if none of them is empty: the condition codes, and whether the instruction goes on.
    fn compared(&mut self, op: &Op, operands: &[u8], compare: impl FnOnce(&Fpu) -> u16) -> (u16, bool) {
        if operands.iter().any(|operand| self.state.fpu.is_empty(*operand)) {
            return (UNORDERED, self.stack_underflow(op));
        }
        let noted = compare(&self.state.fpu);
        (noted & UNORDERED, self.note(op, noted & status::EXCEPTIONS))
    }

    /// Leaves the outcome in the status word, and pops if the instruction goes on.
    fn conclude(&mut self, outcome: (u16, bool), pops: u8) {
        self.state.fpu.set_conditions(outcome.0);
        if outcome.1 {
            (0..pops).for_each(|_| self.state.fpu.pop());
        }
    }
}

fn single<const POPS: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let b = exec.load_operand::<u32>(op)? as u32;
    let outcome = exec.compared(op, &[0], |fpu| Compare::single(fpu.st(0), b, fpu.control).1);
    exec.conclude(outcome, POPS);
    Ok(())
}

fn double<const POPS: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let b = exec.load_operand::<u64>(op)? as u64;
    let outcome = exec.compared(op, &[0], |fpu| Compare::double(fpu.st(0), b, fpu.control).1);
    exec.conclude(outcome, POPS);
    Ok(())
}

fn integer<T: Int + Value, const POPS: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let address = exec.address(op, <T as Int>::BYTES)?;
    let b = Extended::from_integer(exec.load::<T>(address)?.sext() as i64);
    let outcome = exec.compared(op, &[0], |fpu| Ordered::compare(fpu.st(0), b, fpu.control));
    exec.conclude(outcome, POPS);
    Ok(())
}

/// Those that pop twice compare with ST(1), which they do not name.
fn registers<K: Kind, const POPS: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let b = if POPS == 2 { 1 } else { op.src };
    let outcome = exec.compared(op, &[0, b], |fpu| K::compare(fpu.st(0), fpu.st(b), fpu.control));
    exec.conclude(outcome, POPS);
    Ok(())
}

/// Leaves condition codes alone, except that a stack fault clears C1.
fn to_flags<K: Kind, const POPS: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let before = exec.state.fpu.status & status::C1;
    let (conditions, goes_on) =
        exec.compared(op, &[0, op.src], |fpu| K::compare(fpu.st(0), fpu.st(op.src), fpu.control));
    let fpu = &mut exec.state.fpu;
    if !fpu.is_empty(0) && !fpu.is_empty(op.src) {
        fpu.status |= before;
    }
    exec.set_order(Order {
        zero: conditions & status::C3 != 0,
        parity: conditions & status::C2 != 0,
        carry: conditions & status::C0 != 0,
    });
    if goes_on {
        (0..POPS).for_each(|_| exec.state.fpu.pop());
    }
    Ok(())
}

fn ftst(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let outcome = exec.compared(op, &[0], |fpu| Ordered::compare(fpu.st(0), Extended::ZERO, fpu.control));
    exec.conclude(outcome, 0);
    Ok(())
}

/// C3, C2 and C0 tell the class, C1 the sign, also of an empty register.
fn fxam(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    exec.note_instruction(op);
    let fpu = &mut exec.state.fpu;
    let value = fpu.st(0);
    let class = match value.class() {
        _ if fpu.is_empty(0) => status::C3 | status::C0,
        Class::Unsupported => 0,
        Class::Nan => status::C0,
        Class::Normal => status::C2,
        Class::Infinity => status::C2 | status::C0,
        Class::Zero => status::C3,
        Class::Denormal => status::C3 | status::C2,
    };
    fpu.set_conditions(class | if value.is_negative() { status::C1 } else { 0 });
    Ok(())
}
