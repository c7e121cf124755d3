//! MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS, and how they are repeated.

mod each;
mod port;

use iced_x86::Code;

use crate::exec::Exec;
use crate::fault::{Done, Stop};
use crate::flags::RFlags;
use crate::memory::tlb::Set;
use crate::memory::{Row, Value};
use crate::op::{Handler, Lowered, Op, last, within};
use crate::ops::Form;
use crate::registers::Int;
use crate::registers::gpr::{RCX, RDI, RSI};
use crate::state::SegmentName;

/// What is done with an element.
pub(crate) trait Element {
    /// Does it with at least one and at most `most` elements, and moves RSI and RDI. `most` is not zero.
    ///
    /// # Errors
    /// What the first element raises.
    fn apply<T: Int + Value>(exec: &mut Exec<'_>, op: &Op, most: u64) -> Result<u64, Stop>;
}

/// When a repetition ends before RCX is zero.
trait Until {
    fn ends(exec: &Exec<'_>) -> bool;
}

struct Exhausted;
struct Different;
struct Equal;

impl Until for Exhausted {
    fn ends(_: &Exec<'_>) -> bool {
        false
    }
}

impl Until for Different {
    #[inline(always)]
    fn ends(exec: &Exec<'_>) -> bool {
        !exec.flags.zf()
    }
}

impl Until for Equal {
    #[inline(always)]
    fn ends(exec: &Exec<'_>) -> bool {
        exec.flags.zf()
    }
}

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    match form.instruction.code() {
        Code::Movsb_m8_m8 => plain::<each::Move, u8>(form),
        Code::Movsw_m16_m16 => plain::<each::Move, u16>(form),
        Code::Movsd_m32_m32 => plain::<each::Move, u32>(form),
        Code::Movsq_m64_m64 => plain::<each::Move, u64>(form),
        Code::Stosb_m8_AL => plain::<each::Store, u8>(form),
        Code::Stosw_m16_AX => plain::<each::Store, u16>(form),
        Code::Stosd_m32_EAX => plain::<each::Store, u32>(form),
        Code::Stosq_m64_RAX => plain::<each::Store, u64>(form),
        Code::Lodsb_AL_m8 => plain::<each::Load, u8>(form),
        Code::Lodsw_AX_m16 => plain::<each::Load, u16>(form),
        Code::Lodsd_EAX_m32 => plain::<each::Load, u32>(form),
        Code::Lodsq_RAX_m64 => plain::<each::Load, u64>(form),
        Code::Scasb_AL_m8 => conditional::<each::Scan, u8>(form),
        Code::Scasw_AX_m16 => conditional::<each::Scan, u16>(form),
        Code::Scasd_EAX_m32 => conditional::<each::Scan, u32>(form),
        Code::Scasq_RAX_m64 => conditional::<each::Scan, u64>(form),
        Code::Cmpsb_m8_m8 => conditional::<each::Compare, u8>(form),
        Code::Cmpsw_m16_m16 => conditional::<each::Compare, u16>(form),
        Code::Cmpsd_m32_m32 => conditional::<each::Compare, u32>(form),
        Code::Cmpsq_m64_m64 => conditional::<each::Compare, u64>(form),
        _ => port::lower(form),
    }
}

/// Either prefix repeats until RCX is zero.
fn plain<E: Element, T: Int + Value>(form: &Form<'_>) -> Option<Lowered> {
    if form.instruction.has_rep_prefix() || form.instruction.has_repne_prefix() {
        repeated(repeat::<E, Exhausted, T>)
    } else {
        within(once::<E, T>)
    }
}

fn conditional<E: Element, T: Int + Value>(form: &Form<'_>) -> Option<Lowered> {
    // The last prefix of the two counts, which is the one iced-x86 reports.
    if form.instruction.has_repne_prefix() {
        repeated(repeat::<E, Equal, T>)
    } else if form.instruction.has_repe_prefix() {
        repeated(repeat::<E, Different, T>)
    } else {
        within(once::<E, T>)
    }
}

/// At the end of a block, so that what is left of the budget when it begins is all there is.
fn repeated(handler: Handler) -> Option<Lowered> {
    last(handler)
}

fn once<E: Element, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    E::apply::<T>(exec, op, 1).map(drop)
}

/// Repeats until RCX is zero or the condition ends it. Each iteration costs as much as an instruction; none at all costs one. Where
/// something else comes first (the end of the budget, a fault), RCX, RSI and RDI say how far it got, and it goes on from there
/// (SDM 2B, REP).
fn repeat<E: Element, U: Until, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let count = exec.reg::<u64>(RCX) & op.segment.address_mask();
    if count == 0 {
        return Ok(());
    }
    // One is already taken from the budget. In a block of its own each iteration gets another, at an exact time.
    let most = if exec.alone { 1 } else { count.min(exec.budget.unsigned_abs().saturating_add(1)) };
    let mut done = 0;
    let stopped = loop {
        match E::apply::<T>(exec, op, most - done) {
            Ok(elements) => done += elements,
            Err(stop) => break Some(stop),
        }
        if U::ends(exec) || done == count {
            break None;
        }
        if done >= most {
            break Some(Stop::Again);
        }
    };
    // If nothing was done nothing changes, not even the upper half of a counter of 32 bits.
    if done > 0 {
        set_counter(exec, op, RCX, count - done);
    }
    match stopped {
        // The caller gives back the one that was taken.
        Some(stop) => {
            exec.budget -= done as i64;
            Err(if stop == Stop::Alone && done > 0 { Stop::Again } else { stop })
        }
        None => {
            exec.budget -= done as i64 - 1;
            Ok(())
        }
    }
}

/// Sets as much of RCX, RSI or RDI as the address size says.
#[inline(always)]
fn set_counter(exec: &mut Exec<'_>, op: &Op, register: u8, value: u64) {
    match op.segment.address_mask() {
        0xffff => exec.set_reg(register, value as u16),
        0xffff_ffff => exec.set_reg(register, value as u32),
        _ => exec.set_reg(register, value),
    }
}

fn is_backward(exec: &Exec<'_>) -> bool {
    exec.flags.system().contains(RFlags::DF)
}

/// Moves RSI or RDI behind `elements`.
#[inline(always)]
fn advance<T: Int>(exec: &mut Exec<'_>, op: &Op, register: u8, elements: u64) {
    let distance = elements.wrapping_mul(u64::from(T::BYTES));
    let before = exec.reg::<u64>(register);
    let after = if is_backward(exec) { before.wrapping_sub(distance) } else { before.wrapping_add(distance) };
    set_counter(exec, op, register, after);
}

/// Where RSI or RDI points to: the source in its segment, the target in ES.
#[inline(always)]
fn address<T: Int>(exec: &mut Exec<'_>, op: &Op, register: u8, write: bool) -> Result<u64, Stop> {
    let offset = exec.reg::<u64>(register);
    if register == RSI || op.segment.is_flat() {
        return exec.address_at(op, offset, T::BYTES, write);
    }
    exec.linear(SegmentName::Es, offset & op.segment.address_mask(), u32::from(T::BYTES), write)
}

/// The elements from RSI or RDI on, and how many of at most `most` are sure to violate no limit and not to wrap around, if
/// that can be said of many at once.
fn row<T: Int>(exec: &mut Exec<'_>, op: &Op, register: u8, write: bool, most: u64) -> Option<(Row, u64)> {
    if exec.data_set == Set::UserAligned {
        // Each element's alignment is checked.
        return None;
    }
    let backward = is_backward(exec);
    let bytes = u64::from(T::BYTES);
    let offset = exec.reg::<u64>(register) & op.segment.address_mask();
    let count = if backward { offset / bytes } else { (op.segment.address_mask() - offset) / bytes };
    // No row is longer than a page.
    let count = most.min(count).min(0x1000 / bytes);
    let first = address::<T>(exec, op, register, write).ok()?;
    if !exec.mode.is_64() && count > 0 {
        let lowest = if backward { offset - (count - 1) * bytes } else { offset };
        let name = if register == RSI { op.segment.segment() } else { SegmentName::Es };
        exec.linear(name, lowest, (count * bytes) as u32, write).ok()?;
    }
    Some((Row { first, backward }, count))
}

#[cfg(test)]
mod tests;
