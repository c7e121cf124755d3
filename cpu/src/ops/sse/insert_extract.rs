//! Single lanes in and out of a register, and blends under the mask in XMM0.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::fp::lanes::{Lanes, build};
use crate::memory::Value;
use crate::op::{Lowered, Op, within};
use crate::ops::Form;
use crate::ops::sse::source::{Source, by_source};
use crate::registers::Int;

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    let mnemonic = form.instruction.mnemonic();
    match mnemonic {
        Mnemonic::Pextrw | Mnemonic::Pinsrw => {
            let mmx = [form.instruction.op0_register(), form.instruction.op1_register()];
            if mmx.iter().any(|register| register.is_mm()) {
                return None;
            }
        }
        Mnemonic::Pblendvb => return within(by_source!(form, blend, u8)),
        Mnemonic::Blendvps => return within(by_source!(form, blend, u32)),
        Mnemonic::Blendvpd => return within(by_source!(form, blend, u64)),
        _ => {}
    }
    within(match (mnemonic, form.is_memory(0) || form.is_memory(1)) {
        (Mnemonic::Pinsrb, false) => insert::<u8>,
        (Mnemonic::Pinsrw, false) => insert::<u16>,
        (Mnemonic::Pinsrd, false) => insert::<u32>,
        (Mnemonic::Pinsrq, false) => insert::<u64>,
        (Mnemonic::Pinsrb, true) => insert_loaded::<u8>,
        (Mnemonic::Pinsrw, true) => insert_loaded::<u16>,
        (Mnemonic::Pinsrd, true) => insert_loaded::<u32>,
        (Mnemonic::Pinsrq, true) => insert_loaded::<u64>,
        (Mnemonic::Pextrb, false) => extract::<u8>,
        (Mnemonic::Pextrw, false) => extract::<u16>,
        (Mnemonic::Pextrd | Mnemonic::Extractps, false) => extract::<u32>,
        (Mnemonic::Pextrq, false) => extract::<u64>,
        (Mnemonic::Pextrb, true) => store_extracted::<u8>,
        (Mnemonic::Pextrw, true) => store_extracted::<u16>,
        (Mnemonic::Pextrd | Mnemonic::Extractps, true) => store_extracted::<u32>,
        (Mnemonic::Pextrq, true) => store_extracted::<u64>,
        (Mnemonic::Insertps, false) => insertps,
        (Mnemonic::Insertps, true) => insertps_loaded,
        _ => return None,
    })
}

/// Bits below the lane of this size that the immediate names.
fn shift<T: Int>(op: &Op) -> u32 {
    (op.imm as u32 * T::BITS) % 128
}

fn inserted<T: Int>(register: u128, op: &Op, lane: u128) -> u128 {
    register & !(u128::from(T::MASK) << shift::<T>(op)) | lane << shift::<T>(op)
}

fn insert<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let lane = u128::from(exec.reg::<T>(op.src).zext());
    exec.set_xmm(op.dst, inserted::<T>(exec.xmm(op.dst), op, lane));
    Ok(())
}

fn insert_loaded<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let lane = exec.load_operand::<T>(op)?;
    exec.set_xmm(op.dst, inserted::<T>(exec.xmm(op.dst), op, lane));
    Ok(())
}

fn extract<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let lane = (exec.xmm(op.src) >> shift::<T>(op)) as u64 & T::MASK;
    exec.set_reg::<u64>(op.dst, lane);
    Ok(())
}

fn store_extracted<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let address = exec.address_for_write(op, <T as Int>::BYTES)?;
    exec.store(address, T::from_bits(exec.xmm(op.src) >> shift::<T>(op)))
}

/// Puts a lane where bits 5:4 say and clears those that bits 3:0 name.
fn put(register: u128, lane: u32, imm: u8) -> u128 {
    let register = <[u32; 4]>::split(register);
    build::<u32, 4>(|i| match i {
        _ if imm >> i & 1 != 0 => 0,
        _ if usize::from(imm >> 4 & 3) == i => lane,
        _ => register[i],
    })
}

fn insertps(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let lane = <[u32; 4]>::split(exec.xmm(op.src))[op.imm as usize >> 6 & 3];
    exec.set_xmm(op.dst, put(exec.xmm(op.dst), lane, op.imm as u8));
    Ok(())
}

fn insertps_loaded(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let lane = exec.load_operand::<u32>(op)? as u32;
    exec.set_xmm(op.dst, put(exec.xmm(op.dst), lane, op.imm as u8));
    Ok(())
}

/// Lanes of `b` whose most significant bit is set in the mask, and of `a` where it is not.
fn blended<T: Int>(a: u128, b: u128, mask: u128) -> u128 {
    let lane = u128::from(T::MASK);
    let chosen = ((mask >> (T::BITS - 1)) & (u128::MAX / lane)) * lane;
    a & !chosen | b & chosen
}

fn blend<T: Int, S: Source>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let b = S::read(exec, op)?;
    exec.set_xmm(op.dst, blended::<T>(exec.xmm(op.dst), b, exec.xmm(0)));
    Ok(())
}
