//! MOV to and from debug registers (SDM 3B 17.2).

use iced_x86::Code;

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop};
use crate::interrupts::debug::{ACCESS_DETECTED, GENERAL_DETECT};
use crate::op::{Lowered, Op, last, within};
use crate::ops::Form;
use crate::state::Cr4;

/// Place of DR6 in the state.
const DR6: usize = 4;
/// Place of DR7 in the state.
const DR7: usize = 5;
/// Bits of DR6 that software changes: B0 to B3, BD, BS, BT. The others read as one, but bit 12 and the upper half as zero.
const DR6_WRITABLE: u64 = 0xe00f;
const DR6_ONES: u64 = 0xffff_0ff0;
/// Bits of DR7 that read as zero.
const DR7_ZEROS: u64 = 0xd800;
/// The bit of DR7 that reads as one.
const DR7_ONES: u64 = 0x400;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    match form.instruction.code() {
        Code::Mov_r32_dr => within(read::<false>),
        Code::Mov_r64_dr => within(read::<true>),
        Code::Mov_dr_r32 => last(write::<false>),
        Code::Mov_dr_r64 => last(write::<true>),
        _ => None,
    }
}

/// Place of a register in the state.
///
/// # Errors
/// #UD for DR8 and above, and for DR4 and DR5 with debug extensions (else they are DR6 and DR7); #GP(0) above level 0; #DB if
/// accesses are detected.
fn place(exec: &mut Exec<'_>, number: u8) -> Result<usize, Stop> {
    let place = match number {
        0..4 => usize::from(number),
        4 | 5 if !exec.state.cr4.contains(Cr4::DE) => usize::from(number),
        6 | 7 => usize::from(number - 2),
        _ => return Err(exec.raise(Fault::UD)),
    };
    exec.require_supervisor()?;
    if exec.state.debug[DR7] & GENERAL_DETECT != 0 {
        return Err(exec.raise(Fault::debug(ACCESS_DETECTED)));
    }
    Ok(place)
}

fn read<const WIDE: bool>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let place = place(exec, op.src)?;
    let value = exec.state.debug[place];
    if WIDE {
        exec.set_reg(op.dst, value)
    } else {
        exec.set_reg(op.dst, value as u32)
    }
    Ok(())
}

fn write<const WIDE: bool>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let place = place(exec, op.dst)?;
    let value = if WIDE { exec.reg::<u64>(op.src) } else { u64::from(exec.reg::<u32>(op.src)) };
    if place >= DR6 && value >> 32 != 0 {
        return Err(exec.raise(Fault::GP0));
    }
    let watched = exec.watches_data();
    exec.state.debug[place] = match place {
        DR6 => value & DR6_WRITABLE | DR6_ONES,
        DR7 => value & !DR7_ZEROS | DR7_ONES,
        _ => value,
    };
    if exec.watches_data() && !watched {
        // While something is watched, no access may take the fast way.
        exec.tlb.flush(false);
    }
    exec.attention = true;
    Ok(())
}
