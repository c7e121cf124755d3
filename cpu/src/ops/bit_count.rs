//! BSF, BSR, TZCNT, LZCNT, POPCNT.
//!
//! Flags that the manual leaves undefined are as on AMD's processors.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::flags::RFlags;
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::{Form, by_size};
use crate::registers::Int;

/// Counts something; `None` leaves the destination alone.
trait Count {
    fn apply<T: Int>(exec: &mut Exec<'_>, source: T) -> Option<u32>;
}

struct ScanForward;
struct ScanReverse;
struct TrailingZeros;
struct LeadingZeros;
struct Ones;

/// Of a source that is not zero.
fn scanned(exec: &mut Exec<'_>, source: u64, place: u32) -> Option<u32> {
    let mut flags = RFlags::empty();
    flags.set(RFlags::ZF, source == 0);
    flags.set(RFlags::PF, source == 0 || place.count_ones().is_multiple_of(2));
    exec.flags.replace(RFlags::STATUS, flags);
    (source != 0).then_some(place)
}

impl Count for ScanForward {
    fn apply<T: Int>(exec: &mut Exec<'_>, source: T) -> Option<u32> {
        scanned(exec, source.zext(), source.zext().trailing_zeros())
    }
}

impl Count for ScanReverse {
    fn apply<T: Int>(exec: &mut Exec<'_>, source: T) -> Option<u32> {
        scanned(exec, source.zext(), 63u32.wrapping_sub(source.zext().leading_zeros()))
    }
}

/// OF stays.
fn counted<T: Int>(exec: &mut Exec<'_>, count: u32) -> Option<u32> {
    let mut flags = RFlags::empty();
    flags.set(RFlags::CF, count == T::BITS);
    flags.set(RFlags::ZF, count == 0);
    exec.flags.replace(RFlags::STATUS.difference(RFlags::OF), flags);
    Some(count)
}

impl Count for TrailingZeros {
    fn apply<T: Int>(exec: &mut Exec<'_>, source: T) -> Option<u32> {
        counted::<T>(exec, source.zext().trailing_zeros().min(T::BITS))
    }
}

impl Count for LeadingZeros {
    fn apply<T: Int>(exec: &mut Exec<'_>, source: T) -> Option<u32> {
        counted::<T>(exec, source.zext().leading_zeros() - (64 - T::BITS))
    }
}

impl Count for Ones {
    fn apply<T: Int>(exec: &mut Exec<'_>, source: T) -> Option<u32> {
        let zero = if source.zext() == 0 { RFlags::ZF } else { RFlags::empty() };
        exec.flags.replace(RFlags::STATUS, zero);
        Some(source.zext().count_ones())
    }
}

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Bsf => handler::<ScanForward>(form),
        Mnemonic::Bsr => handler::<ScanReverse>(form),
        Mnemonic::Tzcnt => handler::<TrailingZeros>(form),
        Mnemonic::Lzcnt => handler::<LeadingZeros>(form),
        Mnemonic::Popcnt => handler::<Ones>(form),
        _ => return None,
    })
}

fn handler<C: Count>(form: &Form<'_>) -> Handler {
    if form.is_memory(1) {
        by_size!(form.bytes(), memory::<C>)
    } else {
        by_size!(form.bytes(), register::<C>)
    }
}

#[inline(always)]
fn count<C: Count, T: Int>(exec: &mut Exec<'_>, op: &Op, source: T) {
    if let Some(count) = C::apply(exec, source) {
        exec.set_reg(op.dst, T::of(u64::from(count)));
    }
}

fn register<C: Count, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let source = exec.reg::<T>(op.src);
    count::<C, T>(exec, op, source);
    Ok(())
}

fn memory<C: Count, T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <T as Int>::BYTES)?;
    let source = exec.load::<T>(address)?;
    count::<C, T>(exec, op, source);
    Ok(())
}
