//! MMX, with what SSE to SSSE3 added to it (SDM 1, chapter 9). An MMX register is the significand of the x87 register of the same
//! number, whatever the top of the stack.

use iced_x86::{Code, OpKind};

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop};
use crate::fp::extended::Extended;
use crate::memory::Value;
use crate::op::{Lowered, Op, within};
use crate::ops::Form;
use crate::ops::sse::{Immediate, Memory, Source, Vector, signs8};
use crate::registers::Int;
use crate::state::Cr0;

/// The handler for an instruction of this family, except for the arithmetic it shares with SSE.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    let memory = form.is_memory(0) || form.is_memory(1);
    within(match (form.instruction.code(), memory) {
        (Code::Emms, _) => emms,
        (Code::Movd_mm_rm32, false) => from_general::<u32>,
        (Code::Movq_mm_rm64, false) => from_general::<u64>,
        (Code::Movd_mm_rm32, true) => apply::<Second, Memory<u32>>,
        (Code::Movq_mm_rm64 | Code::Movq_mm_mmm64, true) => apply::<Second, Memory<u64>>,
        (Code::Movd_rm32_mm, false) => to_general::<u32>,
        (Code::Movq_rm64_mm, false) => to_general::<u64>,
        (Code::Movd_rm32_mm, true) => store::<u32>,
        (Code::Movq_rm64_mm | Code::Movq_mmm64_mm | Code::Movntq_m64_mm, true) => store::<u64>,
        (Code::Movq_mm_mmm64 | Code::Movq_mmm64_mm, false) => apply::<Second, Register>,
        (Code::Maskmovq_rDI_mm_mm, _) => maskmovq,
        (Code::Pmovmskb_r32_mm | Code::Pmovmskb_r64_mm, _) => pmovmskb,
        (Code::Pinsrw_mm_r32m16_imm8 | Code::Pinsrw_mm_r64m16_imm8, false) => pinsrw,
        (Code::Pinsrw_mm_r32m16_imm8 | Code::Pinsrw_mm_r64m16_imm8, true) => pinsrw_loaded,
        (Code::Pextrw_r32_mm_imm8 | Code::Pextrw_r64_mm_imm8, _) => pextrw,
        _ => return None,
    })
}

/// The handler of a [`Vector`] on MMX registers.
pub(crate) fn vector<V: Vector>(form: &Form<'_>) -> Option<Lowered> {
    within(match (form.kind(1), form.bytes_of(1)) {
        (OpKind::Memory, 4) => apply::<V, Memory<u32>>,
        (OpKind::Memory, _) => apply::<V, Memory<u64>>,
        (OpKind::Immediate8, _) => apply::<V, Immediate>,
        _ => apply::<V, Register>,
    })
}

/// An MMX register.
struct Register;

impl Source for Register {
    fn read(exec: &mut Exec<'_>, op: &Op) -> Result<u128, Stop> {
        Ok(u128::from(exec.mmx(op.src)))
    }
}

/// The second operand as it is.
struct Second;

impl Vector for Second {
    fn wide(_: u128, b: u128, _: u8) -> u128 {
        b
    }
}

fn apply<V: Vector, S: Source>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.mmx_ready()?;
    let b = S::read(exec, op)? as u64;
    exec.set_mmx(op.dst, V::narrow(exec.mmx(op.dst), b, op.imm as u8));
    Ok(())
}

fn from_general<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.mmx_ready()?;
    exec.set_mmx(op.dst, exec.reg::<T>(op.src).zext());
    Ok(())
}

fn to_general<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.mmx_ready()?;
    exec.enter_mmx();
    exec.set_reg(op.dst, T::of(exec.mmx(op.src)));
    Ok(())
}

fn store<T: Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.mmx_ready()?;
    let address = exec.address_for_write(op, T::BYTES as u8)?;
    exec.store(address, T::from_bits(exec.mmx(op.src).into()))?;
    exec.enter_mmx();
    Ok(())
}

fn maskmovq(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.mmx_ready()?;
    let (bytes, mask) = (exec.mmx(op.dst).to_le_bytes(), exec.mmx(op.src).to_le_bytes());
    exec.store_masked(op, &bytes, &mask)?;
    exec.enter_mmx();
    Ok(())
}

fn pmovmskb(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.mmx_ready()?;
    exec.enter_mmx();
    exec.set_reg::<u64>(op.dst, signs8(exec.mmx(op.src)));
    Ok(())
}

/// Bits below the word that the immediate names.
fn shift(op: &Op) -> u32 {
    16 * (op.imm as u32 & 3)
}

fn inserted(register: u64, op: &Op, word: u16) -> u64 {
    register & !(0xffff << shift(op)) | u64::from(word) << shift(op)
}

fn pinsrw(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.mmx_ready()?;
    let word = exec.reg::<u16>(op.src);
    exec.set_mmx(op.dst, inserted(exec.mmx(op.dst), op, word));
    Ok(())
}

fn pinsrw_loaded(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.mmx_ready()?;
    let word = exec.load_operand::<u16>(op)? as u16;
    exec.set_mmx(op.dst, inserted(exec.mmx(op.dst), op, word));
    Ok(())
}

fn pextrw(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.mmx_ready()?;
    exec.enter_mmx();
    exec.set_reg::<u64>(op.dst, exec.mmx(op.src) >> shift(op) & 0xffff);
    Ok(())
}

/// Marks all x87 registers as empty: the end of MMX code (SDM 1, table 9-3).
fn emms(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.mmx_ready()?;
    exec.state.fpu.set_top(0);
    exec.state.fpu.tags = 0;
    Ok(())
}

impl Exec<'_> {
    /// Whether MMX instructions may run, and no x87 exception waits (SDM 3A, table 12-1 and 12.5).
    pub(crate) fn mmx_ready(&mut self) -> Done {
        if self.state.cr0.contains(Cr0::EM) {
            return Err(self.raise(Fault::UD));
        }
        if self.state.cr0.contains(Cr0::TS) {
            return Err(self.raise(Fault::NM));
        }
        self.x87_pending()
    }

    /// Reads an MMX register.
    pub(crate) fn mmx(&self, register: u8) -> u64 {
        self.state.fpu.register(register).significand
    }

    /// Every MMX instruction makes the top of the stack 0, and all but EMMS make all registers valid (SDM 1, 9.5.1).
    pub(crate) fn enter_mmx(&mut self) {
        self.state.fpu.set_top(0);
        self.state.fpu.tags = 0xff;
    }

    /// Writes an MMX register; the rest of the x87 register becomes all ones.
    pub(crate) fn set_mmx(&mut self, register: u8, value: u64) {
        self.enter_mmx();
        let value = Extended { significand: value, sign_exponent: 0xffff };
        self.state.fpu.set_register(register, value);
    }
}
