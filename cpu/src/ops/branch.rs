//! Near JMP, CALL, RET; Jcc, LOOP, JCXZ.

use iced_x86::{Code, Mnemonic, OpKind};

use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::op::{Handler, Lowered, Op, last};
use crate::ops::stack::{Word, by_word};
use crate::ops::{Form, by_condition};
use crate::registers::gpr::{RCX, RSP};
use crate::registers::{BLOCK_IP, Int};
use crate::state::SegmentName;

/// Chooses by the bytes of the instruction pointer that a branch sets, and by those of the counter it looks at.
macro_rules! by_two_words {
    ($pointer:expr, $counter:expr, $handler:ident $(::<$argument:ty>)?) => {
        match ($pointer, $counter) {
            (2, 2) => $handler::<$($argument,)? u16, u16> as Handler,
            (2, _) => $handler::<$($argument,)? u16, u32> as Handler,
            (4, 2) => $handler::<$($argument,)? u32, u16> as Handler,
            (4, _) => $handler::<$($argument,)? u32, u32> as Handler,
            (_, 4) => $handler::<$($argument,)? u64, u32> as Handler,
            _ => $handler::<$($argument,)? u64, u64> as Handler,
        }
    };
}

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    let code = form.instruction.code();
    let bytes = pointer_bytes(form);
    last(match form.instruction.mnemonic() {
        _ if code.is_jcc_short_or_near() => match bytes {
            2 => by_condition!(form.condition(), jump_if, u16),
            4 => by_condition!(form.condition(), jump_if, u32),
            _ => by_condition!(form.condition(), jump_if, u64),
        },
        Mnemonic::Jmp if code.is_jmp_short_or_near() => by_word!(bytes, jump),
        Mnemonic::Jmp if code.is_jmp_near_indirect() && form.is_memory(0) => by_word!(bytes, jump_memory),
        Mnemonic::Jmp if code.is_jmp_near_indirect() => by_word!(bytes, jump_register),
        Mnemonic::Call if code.is_call_near() => by_word!(bytes, call),
        Mnemonic::Call if code.is_call_near_indirect() && form.is_memory(0) => by_word!(bytes, call_memory),
        Mnemonic::Call if code.is_call_near_indirect() => by_word!(bytes, call_register),
        Mnemonic::Ret => match code {
            Code::Retnw | Code::Retnw_imm16 => ret::<u16>,
            Code::Retnd | Code::Retnd_imm16 => ret::<u32>,
            _ => ret::<u64>,
        },
        Mnemonic::Loop => by_two_words!(bytes, counter_bytes(code), count::<Always>),
        Mnemonic::Loope => by_two_words!(bytes, counter_bytes(code), count::<WhileZero>),
        Mnemonic::Loopne => by_two_words!(bytes, counter_bytes(code), count::<WhileNotZero>),
        Mnemonic::Jcxz => by_two_words!(bytes, 2, jump_if_counter_is_zero),
        Mnemonic::Jecxz => by_two_words!(bytes, 4, jump_if_counter_is_zero),
        Mnemonic::Jrcxz => by_two_words!(bytes, 8, jump_if_counter_is_zero),
        _ => return None,
    })
}

/// How much of the instruction pointer a branch sets.
fn pointer_bytes(form: &Form<'_>) -> usize {
    match form.kind(0) {
        OpKind::NearBranch16 => 2,
        OpKind::NearBranch32 => 4,
        OpKind::NearBranch64 => 8,
        _ => form.bytes(),
    }
}

/// How much of RCX is the counter: the address size.
fn counter_bytes(code: Code) -> usize {
    match code {
        Code::Loop_rel8_16_CX
        | Code::Loop_rel8_32_CX
        | Code::Loope_rel8_16_CX
        | Code::Loope_rel8_32_CX
        | Code::Loopne_rel8_16_CX
        | Code::Loopne_rel8_32_CX => 2,
        Code::Loop_rel8_16_RCX
        | Code::Loop_rel8_64_RCX
        | Code::Loope_rel8_16_RCX
        | Code::Loope_rel8_64_RCX
        | Code::Loopne_rel8_16_RCX
        | Code::Loopne_rel8_64_RCX => 8,
        _ => 4,
    }
}

impl Exec<'_> {
    /// Checks where a near branch leads.
    ///
    /// # Errors
    /// #GP if it is not canonical, or outside the code segment.
    #[inline(always)]
    fn check_target(&mut self, target: u64) -> Done {
        let inside = if self.mode.is_64() {
            self.is_canonical(target)
        } else {
            target <= u64::from(self.state.segment(SegmentName::Cs).limit)
        };
        if inside { Ok(()) } else { Err(self.raise(Fault::GP0)) }
    }

    #[inline(always)]
    fn go_to(&mut self, target: u64) -> Done {
        self.check_target(target)?;
        self.rip = target;
        Ok(())
    }

    /// Target of a relative branch.
    #[inline(always)]
    fn relative<T: Int>(&self, op: &Op) -> u64 {
        self.reg::<u64>(BLOCK_IP).wrapping_add(op.imm) & T::MASK
    }

    #[inline(always)]
    fn call<T: Word>(&mut self, target: u64) -> Done {
        self.check_target(target)?;
        self.push(T::of(self.rip))?;
        self.rip = target;
        Ok(())
    }

    /// The near branch target that is the memory operand.
    #[inline(always)]
    fn target_in_memory<T: Word>(&mut self, op: &Op) -> Result<u64, crate::fault::Stop> {
        let address = self.address(op, <T as Int>::BYTES)?;
        Ok(self.load::<T>(address)?.zext())
    }
}

fn jump_if<T: Int, const CODE: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    if exec.flags.condition(CODE) { exec.go_to(exec.relative::<T>(op)) } else { Ok(()) }
}

fn jump<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.go_to(exec.relative::<T>(op))
}

fn jump_register<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.go_to(exec.reg::<T>(op.dst).zext())
}

fn jump_memory<T: Word>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let target = exec.target_in_memory::<T>(op)?;
    exec.go_to(target)
}

fn call<T: Word>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.call::<T>(exec.relative::<T>(op))
}

fn call_register<T: Word>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.call::<T>(exec.reg::<T>(op.dst).zext())
}

fn call_memory<T: Word>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let target = exec.target_in_memory::<T>(op)?;
    exec.call::<T>(target)
}

/// `imm` bytes of arguments go as well.
fn ret<T: Word>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let pointer = exec.reg::<u64>(RSP);
    let target = exec.load_stack::<T>(pointer)?.zext();
    exec.go_to(target)?;
    exec.set_stack_pointer(pointer.wrapping_add(u64::from(<T as Int>::BYTES)).wrapping_add(op.imm));
    Ok(())
}

/// What a LOOP asks besides whether the counter has reached zero.
trait Condition {
    fn holds(zf: bool) -> bool;
}

struct Always;
struct WhileZero;
struct WhileNotZero;

impl Condition for Always {
    fn holds(_: bool) -> bool {
        true
    }
}

impl Condition for WhileZero {
    fn holds(zf: bool) -> bool {
        zf
    }
}

impl Condition for WhileNotZero {
    fn holds(zf: bool) -> bool {
        !zf
    }
}

fn count<C: Condition, T: Int, N: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let left = N::of(exec.reg::<N>(RCX).zext().wrapping_sub(1));
    if left.zext() != 0 && C::holds(exec.flags.zf()) {
        exec.go_to(exec.relative::<T>(op))?;
    }
    exec.set_reg(RCX, left);
    Ok(())
}

fn jump_if_counter_is_zero<T: Int, N: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    if exec.reg::<N>(RCX).zext() == 0 { exec.go_to(exec.relative::<T>(op)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
