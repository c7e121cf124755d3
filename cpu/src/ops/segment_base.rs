//! RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::memory::is_canonical;
use crate::op::{Lowered, Op, within};
use crate::ops::{Form, by_size};
use crate::registers::Int;
use crate::state::{Cr4, SegmentName};

const FS: usize = SegmentName::Fs as usize;
const GS: usize = SegmentName::Gs as usize;

/// Which segment's base.
trait Base {
    /// Its number.
    const SEGMENT: usize;
}

struct OfFs;
impl Base for OfFs {
    const SEGMENT: usize = FS;
}

struct OfGs;
impl Base for OfGs {
    const SEGMENT: usize = GS;
}

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    let bytes = form.bytes();
    within(match form.instruction.mnemonic() {
        Mnemonic::Rdfsbase => by_size!(bytes, read::<OfFs>),
        Mnemonic::Rdgsbase => by_size!(bytes, read::<OfGs>),
        Mnemonic::Wrfsbase => by_size!(bytes, write::<OfFs>),
        Mnemonic::Wrgsbase => by_size!(bytes, write::<OfGs>),
        _ => return None,
    })
}

fn check(exec: &mut Exec<'_>) -> Done {
    if exec.state.cr4.contains(Cr4::FSGSBASE) { Ok(()) } else { Err(exec.raise(Fault::UD)) }
}

fn read<B: Base, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    check(exec)?;
    let base = exec.state.segments[B::SEGMENT].base;
    exec.set_reg(op.dst, T::of(base));
    Ok(())
}

fn write<B: Base, T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    check(exec)?;
    let base = exec.reg::<T>(op.dst).zext();
    if !is_canonical(base) {
        return Err(exec.raise(Fault::GP0));
    }
    exec.state.segments[B::SEGMENT].base = base;
    Ok(())
}

#[cfg(test)]
mod tests;
