//! Basic arithmetic.

use iced_x86::{Code, Mnemonic};

use crate::exec::Exec;
use crate::fault::Done;
use crate::fp::extended::{Class, Extended};
use crate::fp::host_x87::{
    self, Add, Divide, DivideReversed, Multiply, Noted, Operation, Subtract, SubtractReversed,
};
use crate::fp::remainder::{Quotient, remainder};
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::Form;
use crate::registers::Int;
use crate::state::status;

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Fadd | Mnemonic::Faddp | Mnemonic::Fiadd => handler::<Add>(form),
        Mnemonic::Fsub | Mnemonic::Fsubp | Mnemonic::Fisub => handler::<Subtract>(form),
        Mnemonic::Fsubr | Mnemonic::Fsubrp | Mnemonic::Fisubr => handler::<SubtractReversed>(form),
        Mnemonic::Fmul | Mnemonic::Fmulp | Mnemonic::Fimul => handler::<Multiply>(form),
        Mnemonic::Fdiv | Mnemonic::Fdivp | Mnemonic::Fidiv => handler::<Divide>(form),
        Mnemonic::Fdivr | Mnemonic::Fdivrp | Mnemonic::Fidivr => handler::<DivideReversed>(form),
        Mnemonic::Fsqrt => unary::<SquareRoot>,
        Mnemonic::Frndint => unary::<Round>,
        Mnemonic::Fabs => unary::<Absolute>,
        Mnemonic::Fchs => unary::<Negated>,
        Mnemonic::Fscale => fscale,
        Mnemonic::Fprem => fprem::<TRUNCATED>,
        Mnemonic::Fprem1 => fprem::<NEAREST>,
        Mnemonic::Fxtract => fxtract,
        _ => return None,
    })
}

/// The forms: with memory of four formats, ST(0) with ST(i), ST(i) with ST(0), the same with a pop.
fn handler<O: Operation>(form: &Form<'_>) -> Handler {
    use Code::*;
    match form.instruction.code() {
        Fadd_m32fp | Fsub_m32fp | Fsubr_m32fp | Fmul_m32fp | Fdiv_m32fp | Fdivr_m32fp => single::<O>,
        Fadd_m64fp | Fsub_m64fp | Fsubr_m64fp | Fmul_m64fp | Fdiv_m64fp | Fdivr_m64fp => double::<O>,
        Fiadd_m16int | Fisub_m16int | Fisubr_m16int | Fimul_m16int | Fidiv_m16int | Fidivr_m16int => {
            integer::<O, u16>
        }
        Fiadd_m32int | Fisub_m32int | Fisubr_m32int | Fimul_m32int | Fidiv_m32int | Fidivr_m32int => {
            integer::<O, u32>
        }
        Faddp_sti_st0 | Fsubp_sti_st0 | Fsubrp_sti_st0 | Fmulp_sti_st0 | Fdivp_sti_st0 | Fdivrp_sti_st0 => {
            registers::<O, true>
        }
        _ => registers::<O, false>,
    }
}

fn single<O: Operation>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let b = exec.load_operand::<u32>(op)? as u32;
    exec.replace_noted(op, 0, &[0], |fpu| O::single(fpu.st(0), b, fpu.control));
    Ok(())
}

fn double<O: Operation>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let b = exec.load_operand::<u64>(op)? as u64;
    exec.replace_noted(op, 0, &[0], |fpu| O::double(fpu.st(0), b, fpu.control));
    Ok(())
}

fn integer<O: Operation, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let address = exec.address(op, <T as Int>::BYTES)?;
    let b = Extended::from_integer(exec.load::<T>(address)?.sext() as i64);
    exec.replace_noted(op, 0, &[0], |fpu| O::extended(fpu.st(0), b, fpu.control));
    Ok(())
}

fn registers<O: Operation, const POP: bool>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let (a, b) = (op.dst, op.src);
    if exec.replace_noted(op, a, &[a, b], |fpu| O::extended(fpu.st(a), fpu.st(b), fpu.control)) && POP {
        exec.state.fpu.pop();
    }
    Ok(())
}

/// An operation of ST(0) alone.
trait Unary {
    fn run(value: Extended, control: u16) -> Noted<Extended>;
}

macro_rules! unary {
    ($($name:ident($value:ident, $control:pat) $result:expr;)*) => {$(
        struct $name;
        impl Unary for $name {
            fn run($value: Extended, $control: u16) -> Noted<Extended> {
                $result
            }
        }
    )*};
}

unary! {
    SquareRoot(value, control) host_x87::square_root(value, control);
    Round(value, control) host_x87::round(value, control);
    Absolute(value, _) (value.with_sign(false), 0);
    Negated(value, _) (value.with_sign(!value.is_negative()), 0);
}

fn unary<U: Unary>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    exec.replace_noted(op, 0, &[0], |fpu| U::run(fpu.st(0), fpu.control));
    Ok(())
}

fn fscale(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    exec.replace_noted(op, 0, &[0, 1], |fpu| host_x87::scale(fpu.st(0), fpu.st(1), fpu.control));
    Ok(())
}

const TRUNCATED: bool = false;
const NEAREST: bool = true;

/// Bits of the quotient go to C0, C3 and C1, which stay (C1 is cleared) where there is none.
fn fprem<const TO_NEAREST: bool>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let quotient = if TO_NEAREST { Quotient::Nearest } else { Quotient::Truncated };
    let before = exec.state.fpu.status & (status::C0 | status::C3);
    let mut bits = before;
    let goes_on = exec.replace_noted(op, 0, &[0, 1], |fpu| {
        let (value, noted) = remainder(fpu.st(0), fpu.st(1), quotient, fpu.control);
        if value.class() != Class::Nan {
            bits = noted & status::CONDITION;
        }
        (value, noted)
    });
    exec.state.fpu.set_conditions(if goes_on { bits } else { before });
    Ok(())
}

/// The exponent replaces the number, the significand is pushed.
fn fxtract(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let fpu = &exec.state.fpu;
    let (parts, goes_on) = if fpu.is_empty(0) {
        ((Extended::INDEFINITE, Extended::INDEFINITE), exec.stack_underflow(op))
    } else if !fpu.is_empty(7) {
        ((Extended::INDEFINITE, Extended::INDEFINITE), exec.stack_overflow(op))
    } else {
        let (parts, noted) = host_x87::extract(fpu.st(0), fpu.control);
        (parts, exec.note(op, noted))
    };
    if goes_on {
        exec.state.fpu.set_st(0, parts.0);
        exec.state.fpu.push(parts.1);
    }
    Ok(())
}
