//! Conversions between numbers in XMM registers and integers in general or MMX registers. Those within XMM registers are
//! arithmetic.

use iced_x86::{Code, Mnemonic};

use crate::exec::Exec;
use crate::fault::Done;
use crate::fp::host_sse::{self, Arithmetic, FromInteger, ToInteger};
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::Form;
use crate::ops::sse::source::{Source, by_source};
use crate::registers::Int;

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    use host_sse::*;
    within(match form.instruction.code() {
        Code::Cvtss2si_r32_xmmm32 => by_source!(form, to_integer, Cvtss2si32),
        Code::Cvtss2si_r64_xmmm32 => by_source!(form, to_integer, Cvtss2si64),
        Code::Cvtsd2si_r32_xmmm64 => by_source!(form, to_integer, Cvtsd2si32),
        Code::Cvtsd2si_r64_xmmm64 => by_source!(form, to_integer, Cvtsd2si64),
        Code::Cvttss2si_r32_xmmm32 => by_source!(form, to_integer, Cvttss2si32),
        Code::Cvttss2si_r64_xmmm32 => by_source!(form, to_integer, Cvttss2si64),
        Code::Cvttsd2si_r32_xmmm64 => by_source!(form, to_integer, Cvttsd2si32),
        Code::Cvttsd2si_r64_xmmm64 => by_source!(form, to_integer, Cvttsd2si64),
        Code::Cvtsi2ss_xmm_rm32 => from_integer::<Cvtsi2ss32, u32>(form),
        Code::Cvtsi2ss_xmm_rm64 => from_integer::<Cvtsi2ss64, u64>(form),
        Code::Cvtsi2sd_xmm_rm32 => from_integer::<Cvtsi2sd32, u32>(form),
        Code::Cvtsi2sd_xmm_rm64 => from_integer::<Cvtsi2sd64, u64>(form),
        _ => return mmx(form),
    })
}

fn to_integer<C: ToInteger, S: Source>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let b = S::read(exec, op)?;
    let integer = exec.compute(|mxcsr| C::run(b, mxcsr))?;
    exec.set_reg::<u64>(op.dst, integer);
    Ok(())
}

fn from_integer<C: FromInteger, T: Int + Value>(form: &Form<'_>) -> Handler {
    if form.is_memory(1) { from_integer_memory::<C, T> } else { from_integer_register::<C, T> }
}

fn from_integer_register<C: FromInteger, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let (a, integer) = (exec.xmm(op.dst), exec.reg::<T>(op.src).zext());
    let result = exec.compute(|mxcsr| C::run(a, integer, mxcsr))?;
    exec.set_xmm(op.dst, result);
    Ok(())
}

fn from_integer_memory<C: FromInteger, T: Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let integer = exec.load_operand::<T>(op)? as u64;
    let a = exec.xmm(op.dst);
    let result = exec.compute(|mxcsr| C::run(a, integer, mxcsr))?;
    exec.set_xmm(op.dst, result);
    Ok(())
}

/// Between an XMM and an MMX register: the conversion of two lanes within XMM registers, and a transition to MMX. As on
/// processors, that has taken place when #XM is raised.
fn mmx(form: &Form<'_>) -> Option<Lowered> {
    use host_sse::*;
    within(match form.instruction.mnemonic() {
        Mnemonic::Cvtpi2ps if form.is_memory(1) => from_mmx_memory::<Cvtdq2ps, LOW64>,
        Mnemonic::Cvtpi2ps => from_mmx::<Cvtdq2ps, LOW64>,
        Mnemonic::Cvtpi2pd if form.is_memory(1) => from_mmx_memory::<Cvtdq2pd, { u128::MAX }>,
        Mnemonic::Cvtpi2pd => from_mmx::<Cvtdq2pd, { u128::MAX }>,
        Mnemonic::Cvtps2pi => by_source!(form, to_mmx, Cvtps2dq, Half),
        Mnemonic::Cvttps2pi => by_source!(form, to_mmx, Cvttps2dq, Half),
        Mnemonic::Cvtpd2pi => by_source!(form, to_mmx, Cvtpd2dq, Whole),
        Mnemonic::Cvttpd2pi => by_source!(form, to_mmx, Cvttpd2dq, Whole),
        _ => return None,
    })
}

/// The lower half of a register.
const LOW64: u128 = u64::MAX as u128;

/// Which bits of a register are an operand.
trait Operand {
    const BITS: u128;
}

struct Half;

impl Operand for Half {
    const BITS: u128 = LOW64;
}

struct Whole;

impl Operand for Whole {
    const BITS: u128 = u128::MAX;
}

/// Bits of `RESULT` come from the conversion, the others stay.
fn from_mmx<C: Arithmetic, const RESULT: u128>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    exec.mmx_ready()?;
    let b = u128::from(exec.mmx(op.src));
    exec.enter_mmx();
    let result = exec.arithmetic::<C>(0, b)?;
    exec.set_xmm(op.dst, exec.xmm(op.dst) & !RESULT | result & RESULT);
    Ok(())
}

/// Without an MMX register there is no transition.
fn from_mmx_memory<C: Arithmetic, const RESULT: u128>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let b = exec.load_operand::<u64>(op)?;
    let result = exec.arithmetic::<C>(0, b)?;
    exec.set_xmm(op.dst, exec.xmm(op.dst) & !RESULT | result & RESULT);
    Ok(())
}

/// Of the operand only bits of `OPERAND` are looked at, so that no other lane raises anything.
fn to_mmx<C: Arithmetic, O: Operand, S: Source>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    exec.mmx_ready()?;
    let b = S::read(exec, op)? & O::BITS;
    exec.enter_mmx();
    let result = exec.arithmetic::<C>(0, b)?;
    exec.set_mmx(op.dst, result as u64);
    Ok(())
}
