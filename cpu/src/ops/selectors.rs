//! LAR, LSL, VERR, VERW: what a selector leads to, without a fault; ARPL.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::{Done, Stop};
use crate::flags::RFlags;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::Form;
use crate::segmentation::{Descriptor, Gate, is_null, rpl};

/// System descriptors with an access rights byte, by type, outside long mode: all but interrupt and trap gates.
const WITH_RIGHTS: u16 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 9 | 1 << 11 | 1 << 12;
/// In long mode: LDT, TSS, call gate.
const WITH_RIGHTS_LONG: u16 = 1 << 2 | 1 << 9 | 1 << 11 | 1 << 12;
/// Gates have no limit.
const GATES: u16 = 1 << Gate::CALL_16 | 1 << Gate::TASK | 1 << Gate::CALL;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    let memory = form.is_memory(0) || form.is_memory(1);
    let bytes = form.bytes();
    within(match form.instruction.mnemonic() {
        Mnemonic::Lar => sized::<Rights>(memory, bytes),
        Mnemonic::Lsl => sized::<Limit>(memory, bytes),
        Mnemonic::Verr if memory => verify::<false, true>,
        Mnemonic::Verr => verify::<false, false>,
        Mnemonic::Verw if memory => verify::<true, true>,
        Mnemonic::Verw => verify::<true, false>,
        Mnemonic::Arpl if memory => adjust_memory,
        Mnemonic::Arpl => adjust_register,
        _ => return None,
    })
}

fn sized<Q: Question>(memory: bool, bytes: usize) -> Handler {
    match (memory, bytes) {
        (false, 2) => ask::<Q, false, 2>,
        (false, 4) => ask::<Q, false, 4>,
        (false, _) => ask::<Q, false, 8>,
        (true, 2) => ask::<Q, true, 2>,
        (true, 4) => ask::<Q, true, 4>,
        (true, _) => ask::<Q, true, 8>,
    }
}

/// LAR or LSL.
trait Question {
    /// Types of system descriptors that have no answer.
    const WITHOUT: u16;
    fn answer(descriptor: Descriptor) -> u64;
}

/// LAR: the second half of the descriptor without its base.
struct Rights;
impl Question for Rights {
    const WITHOUT: u16 = 0;
    fn answer(descriptor: Descriptor) -> u64 {
        descriptor.0 >> 32 & 0xff_ff00
    }
}

/// LSL: the limit in bytes.
struct Limit;
impl Question for Limit {
    const WITHOUT: u16 = GATES;
    fn answer(descriptor: Descriptor) -> u64 {
        u64::from(descriptor.limit())
    }
}

fn ask<Q: Question, const MEMORY: bool, const BYTES: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let selector = operand::<MEMORY>(exec, op, op.src)?;
    let found = visible_descriptor(exec, selector)?.filter(|descriptor| {
        let attributes = descriptor.attributes();
        let known = if exec.state.is_long() { WITH_RIGHTS_LONG } else { WITH_RIGHTS };
        attributes.is_code_or_data() || known & !Q::WITHOUT & 1 << attributes.kind() != 0
    });
    if let Some(descriptor) = found {
        let answer = Q::answer(descriptor);
        match BYTES {
            2 => exec.set_reg(op.dst, answer as u16),
            4 => exec.set_reg(op.dst, answer as u32),
            _ => exec.set_reg(op.dst, answer),
        }
    }
    set_zf(exec, found.is_some());
    Ok(())
}

fn verify<const WRITE: bool, const MEMORY: bool>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let selector = operand::<MEMORY>(exec, op, op.dst)?;
    let possible = visible_descriptor(exec, selector)?.is_some_and(|descriptor| {
        let attributes = descriptor.attributes();
        attributes.is_code_or_data()
            && if WRITE { attributes.is_writable() } else { attributes.is_readable() }
    });
    set_zf(exec, possible);
    Ok(())
}

/// The selector with the caller's privilege level, if that is less privileged.
fn adjusted(exec: &Exec<'_>, op: &Op, selector: u16) -> Option<u16> {
    let caller = exec.reg::<u16>(op.src) & 3;
    (selector & 3 < caller).then_some(selector & !3 | caller)
}

fn adjust_register(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.require_protected()?;
    let adjusted = adjusted(exec, op, exec.reg(op.dst));
    if let Some(selector) = adjusted {
        exec.set_reg(op.dst, selector);
    }
    set_zf(exec, adjusted.is_some());
    Ok(())
}

fn adjust_memory(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.require_protected()?;
    let address = exec.address(op, 2)?;
    let selector = exec.load::<u16>(address)?;
    let adjusted = adjusted(exec, op, selector);
    if let Some(selector) = adjusted {
        let address = exec.address_for_write(op, 2)?;
        exec.store(address, selector)?;
    }
    set_zf(exec, adjusted.is_some());
    Ok(())
}

fn operand<const MEMORY: bool>(exec: &mut Exec<'_>, op: &Op, register: u8) -> Result<u16, Stop> {
    exec.require_protected()?;
    if !MEMORY {
        return Ok(exec.reg::<u16>(register));
    }
    let address = exec.address(op, 2)?;
    exec.load::<u16>(address)
}

/// The descriptor, if this privilege level and the selector's may see it.
fn visible_descriptor(exec: &mut Exec<'_>, selector: u16) -> Result<Option<Descriptor>, Stop> {
    if is_null(selector) {
        return Ok(None);
    }
    let level = exec.state.cpl().max(rpl(selector));
    let found = exec.find_descriptor(selector)?;
    Ok(found.filter(|found| found.attributes().is_conforming() || level <= found.attributes().dpl()))
}

fn set_zf(exec: &mut Exec<'_>, set: bool) {
    exec.flags.replace(RFlags::ZF, if set { RFlags::ZF } else { RFlags::empty() });
}
