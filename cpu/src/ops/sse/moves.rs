//! Moves between registers and memory.

use iced_x86::{Code, Mnemonic};

use crate::exec::Exec;
use crate::fault::Done;
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::Form;
use crate::ops::sse::{Memory, Vector, apply, vector, vectors};

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    // MOVSD is also a string instruction.
    let register = form.instruction.op0_register().is_xmm() || form.instruction.op1_register().is_xmm();
    if !register {
        return None;
    }
    if form.is_memory(0) {
        return stores(form).and_then(within);
    }
    general(form)
        .and_then(within)
        .or_else(|| unaligned(form))
        .or_else(|| whole::lower(form))
        .or_else(|| mixed(form))
}

/// Memory is the destination.
fn stores(form: &Form<'_>) -> Option<Handler> {
    Some(match form.instruction.mnemonic() {
        Mnemonic::Movaps
        | Mnemonic::Movapd
        | Mnemonic::Movdqa
        | Mnemonic::Movntps
        | Mnemonic::Movntpd
        | Mnemonic::Movntdq => store_aligned,
        Mnemonic::Movups | Mnemonic::Movupd | Mnemonic::Movdqu => store::<u128, 0>,
        Mnemonic::Movlps | Mnemonic::Movlpd | Mnemonic::Movsd | Mnemonic::Movq => store::<u64, 0>,
        Mnemonic::Movhps | Mnemonic::Movhpd => store::<u64, 64>,
        Mnemonic::Movss | Mnemonic::Movd => store::<u32, 0>,
        _ => return None,
    })
}

/// Between a general and an XMM register.
fn general(form: &Form<'_>) -> Option<Handler> {
    Some(match form.instruction.code() {
        Code::Movd_xmm_rm32 if form.is_register(1) => from_general::<u32>,
        Code::Movq_xmm_rm64 if form.is_register(1) => from_general::<u64>,
        Code::Movd_rm32_xmm => to_general::<Low32>,
        Code::Movq_rm64_xmm => to_general::<Low64>,
        Code::Movmskps_r32_xmm | Code::Movmskps_r64_xmm => to_general::<Signs32>,
        Code::Movmskpd_r32_xmm | Code::Movmskpd_r64_xmm => to_general::<Signs64>,
        Code::Pmovmskb_r32_xmm | Code::Pmovmskb_r64_xmm => to_general::<Signs8>,
        _ => return None,
    })
}

/// Loads of 16 bytes from anywhere.
fn unaligned(form: &Form<'_>) -> Option<Lowered> {
    match form.instruction.mnemonic() {
        Mnemonic::Movups | Mnemonic::Movupd | Mnemonic::Movdqu | Mnemonic::Lddqu => {
            if form.is_memory(1) {
                within(apply::<Second, Memory<u128>>)
            } else {
                vector::<Second>(form)
            }
        }
        // From memory the rest of the register is cleared; from a register it stays.
        Mnemonic::Movss if form.is_memory(1) => vector::<Second>(form),
        Mnemonic::Movsd if form.is_memory(1) => vector::<Second>(form),
        _ => None,
    }
}

/// The second operand as it is.
struct Second;

impl Vector for Second {
    #[inline(always)]
    fn wide(_: u128, b: u128, _: u8) -> u128 {
        b
    }
}

const LOW32: u128 = u32::MAX as u128;
const LOW64: u128 = u64::MAX as u128;

mod whole {
    use super::*;

    vectors! {
        Movaps(_, b) => b;
        Movapd(_, b) => b;
        Movdqa(_, b) => b;
        Movntdqa(_, b) => b;
        Movd(_, b) => b;
        Movq(_, b) => b & LOW64;
        Movss(a, b) => a & !LOW32 | b & LOW32;
        Movsd(a, b) => a & !LOW64 | b & LOW64;
        Movlps(a, b) => a & !LOW64 | b & LOW64;
        Movlpd(a, b) => a & !LOW64 | b & LOW64;
        Movhps(a, b) => a & LOW64 | b << 64;
        Movhpd(a, b) => a & LOW64 | b << 64;
        Movlhps(a, b) => a & LOW64 | b << 64;
        Movhlps(a, b) => a & !LOW64 | b >> 64;
        Movddup(_, b) => b & LOW64 | b << 64;
    }
}

fn store_aligned(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let address = exec.address_for_write(op, 16)?;
    exec.aligned(address, 16)?;
    exec.store(address, exec.xmm(op.src))
}

fn store<T: Value, const SHIFT: u32>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let address = exec.address_for_write(op, T::BYTES as u8)?;
    exec.store(address, T::from_bits(exec.xmm(op.src) >> SHIFT))
}

fn from_general<T: crate::registers::Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    exec.set_xmm(op.dst, u128::from(exec.reg::<T>(op.src).zext()));
    Ok(())
}

/// What a general register gets of an XMM register; the upper bits are cleared.
trait ToGeneral {
    fn of(register: u128) -> u64;
}

macro_rules! to_general {
    ($($name:ident($register:ident) => $value:expr;)*) => {$(
        struct $name;
        impl ToGeneral for $name {
            #[inline(always)]
            fn of($register: u128) -> u64 {
                $value
            }
        }
    )*};
}

to_general! {
    Low32(register) => u64::from(register as u32);
    Low64(register) => register as u64;
    Signs8(register) => signs8(register as u64) | signs8((register >> 64) as u64) << 8;
    Signs32(register) => (register >> 31 & 1 | register >> 62 & 2 | register >> 93 & 4 | register >> 124 & 8) as u64;
    Signs64(register) => (register >> 63 & 1 | register >> 126 & 2) as u64;
}

/// The most significant bits of eight bytes. The multiplication moves bit `8 * i + 7` to bit `56 + i`; no two sums meet.
#[inline(always)]
pub(crate) fn signs8(bytes: u64) -> u64 {
    ((bytes >> 7) & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

fn to_general<G: ToGeneral>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    exec.set_reg::<u64>(op.dst, G::of(exec.xmm(op.src)));
    Ok(())
}

/// Instructions of an XMM and an MMX register, and the one store under a mask.
fn mixed(form: &Form<'_>) -> Option<Lowered> {
    match form.instruction.mnemonic() {
        Mnemonic::Movdq2q => within(movdq2q),
        Mnemonic::Movq2dq => within(movq2dq),
        Mnemonic::Maskmovdqu => within(maskmovdqu),
        _ => None,
    }
}

fn movdq2q(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    exec.mmx_ready()?;
    exec.set_mmx(op.dst, exec.xmm(op.src) as u64);
    Ok(())
}

fn movq2dq(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    exec.mmx_ready()?;
    exec.enter_mmx();
    exec.set_xmm(op.dst, u128::from(exec.mmx(op.src)));
    Ok(())
}

/// Stores those bytes of the first operand for which the second has its most significant bit set, at DS:RDI.
fn maskmovdqu(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let (bytes, mask) = (exec.xmm(op.dst), exec.xmm(op.src));
    exec.store_masked(op, bytes.to_le_bytes().as_slice(), mask.to_le_bytes().as_slice())
}

impl Exec<'_> {
    /// MASKMOVDQU and MASKMOVQ. Bytes that are not selected are not accessed; whether an all-clear mask may fault is left to the
    /// processor (SDM 2, MASKMOVDQU), and here it does not.
    pub(crate) fn store_masked(&mut self, op: &Op, bytes: &[u8], mask: &[u8]) -> Done {
        let selected =
            (0..).zip(bytes).zip(mask).filter(|(_, mask)| **mask & 0x80 != 0).map(|(byte, _)| byte);
        if selected.clone().next().is_none() {
            return Ok(());
        }
        let base = self.address_for_write(op, bytes.len() as u8)?;
        for (at, _) in selected.clone() {
            self.probe_write(self.wrap_linear(base.wrapping_add(at)), 1)?;
        }
        for (at, byte) in selected {
            self.store(self.wrap_linear(base.wrapping_add(at)), *byte)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
