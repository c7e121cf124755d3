//! Within registers: CBW and its relatives, BSWAP, MOVBE, XLAT, LAHF, SAHF.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::flags::RFlags;
use crate::memory::Value;
use crate::op::{Lowered, Op, within};
use crate::ops::{Form, by_size};
use crate::registers::gpr::{RAX, RBX, RDX};
use crate::registers::{HIGH_BYTE, Int};

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Cbw => extend_accumulator::<u8, u16>,
        Mnemonic::Cwde => extend_accumulator::<u16, u32>,
        Mnemonic::Cdqe => extend_accumulator::<u32, u64>,
        Mnemonic::Cwd => spread_sign::<u16>,
        Mnemonic::Cdq => spread_sign::<u32>,
        Mnemonic::Cqo => spread_sign::<u64>,
        Mnemonic::Bswap => match form.bytes() {
            // Undefined for 16 bits (SDM 2A); processors clear them.
            2 => clear_word,
            4 => swap_register::<u32>,
            _ => swap_register::<u64>,
        },
        Mnemonic::Movbe if form.is_memory(0) => by_size!(form.bytes(), store_swapped),
        Mnemonic::Movbe => by_size!(form.bytes(), load_swapped),
        Mnemonic::Xlatb => translate,
        Mnemonic::Lahf => load_flags,
        Mnemonic::Sahf => store_flags,
        _ => return None,
    })
}

fn extend_accumulator<S: Int, D: Int>(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.set_reg(RAX, D::of(exec.reg::<S>(RAX).sext()));
    Ok(())
}

fn spread_sign<T: Int>(exec: &mut Exec<'_>, _: &Op) -> Done {
    let sign = (exec.reg::<T>(RAX).sext() as i64) >> 63;
    exec.set_reg(RDX, T::of(sign as u64));
    Ok(())
}

#[inline(always)]
fn swapped<T: Int>(value: T) -> T {
    T::of(value.zext().swap_bytes() >> (64 - T::BITS))
}

fn swap_register<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.set_reg(op.dst, swapped(exec.reg::<T>(op.dst)));
    Ok(())
}

fn clear_word(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.set_reg(op.dst, 0u16);
    Ok(())
}

fn load_swapped<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <T as Int>::BYTES)?;
    let value = exec.load::<T>(address)?;
    exec.set_reg(op.dst, swapped(value));
    Ok(())
}

fn store_swapped<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address_for_write(op, <T as Int>::BYTES)?;
    exec.store(address, swapped(exec.reg::<T>(op.src)))
}

/// Only AL is the index.
fn translate(exec: &mut Exec<'_>, op: &Op) -> Done {
    let offset = exec.reg::<u64>(RBX).wrapping_add(u64::from(exec.reg::<u8>(RAX)));
    let address = exec.address_at(op, offset, 1, false)?;
    let value = exec.load::<u8>(address)?;
    exec.set_reg(RAX, value);
    Ok(())
}

const LOW: RFlags = RFlags::SF.union(RFlags::ZF).union(RFlags::AF).union(RFlags::PF).union(RFlags::CF);

fn load_flags(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.set_reg(HIGH_BYTE | RAX, exec.flags.rflags() as u8);
    Ok(())
}

fn store_flags(exec: &mut Exec<'_>, _: &Op) -> Done {
    let value = exec.reg::<u8>(HIGH_BYTE | RAX);
    exec.flags.replace(LOW, RFlags::from_bits_truncate(u64::from(value)));
    Ok(())
}
