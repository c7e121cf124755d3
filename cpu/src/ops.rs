//! What instructions do, one file for each family.
//!
//! A family's `lower` looks at a decoded instruction and, if it is one of its own, names the handler for exactly this form:
//! operand kinds and sizes are type parameters, so that nothing is left to decide when it runs.

mod alu;
mod bit;
mod bit_count;
mod bmi;
mod bound;
mod branch;
mod carry_chain;
mod conditional;
mod control_registers;
mod convert;
mod crc32;
mod debug_registers;
mod decimal;
mod descriptor_tables;
mod exchange;
mod far;
mod far_return;
mod flag;
mod fpu_state;
mod fused;
mod hint;
mod interrupt_calls;
mod interrupt_flag;
mod iret;
mod mmx;
mod mov;
mod msr;
mod multiply;
mod port;
mod processor;
mod random;
mod segment_base;
mod segment_registers;
mod selectors;
mod shift;
mod sse;
mod stack;
mod strings;
mod system_calls;
mod translation;
mod unary;
pub(crate) mod x87;

#[cfg(test)]
mod tests;

pub(crate) use fused::fuse;
use iced_x86::{Code, Instruction, OpKind};

use crate::cpuid::has_instruction;
use crate::exec::{Exec, Missing};
use crate::fault::{Done, Fault, Stop};
use crate::mode::Mode;
use crate::op::{Lowered, Op, Place};

/// An instruction as a family looks at it.
pub struct Form<'a> {
    /// As iced-x86 decoded it.
    pub instruction: &'a Instruction,
    /// Of the code around it.
    pub mode: Mode,
}

impl Form<'_> {
    /// Kind of an operand; registers for what is not there.
    pub fn kind(&self, operand: u32) -> OpKind {
        if operand < self.instruction.op_count() {
            self.instruction.op_kind(operand)
        } else {
            OpKind::Register
        }
    }

    /// Whether an operand is in memory.
    pub fn is_memory(&self, operand: u32) -> bool {
        self.kind(operand) == OpKind::Memory
    }

    /// Whether an operand is a register.
    pub fn is_register(&self, operand: u32) -> bool {
        operand < self.instruction.op_count() && self.kind(operand) == OpKind::Register
    }

    /// Code of the condition of a conditional instruction, as [`crate::flags::LazyFlags::condition`] takes it.
    pub fn condition(&self) -> u8 {
        (self.instruction.condition_code() as u8).wrapping_sub(1)
    }

    /// Bytes of the first operand.
    pub fn bytes(&self) -> usize {
        self.bytes_of(0)
    }

    /// Bytes of an operand in a register or in memory.
    pub fn bytes_of(&self, operand: u32) -> usize {
        match self.kind(operand) {
            OpKind::Memory => self.instruction.memory_size().size(),
            OpKind::Register if operand < self.instruction.op_count() => {
                self.instruction.op_register(operand).size()
            }
            _ => 0,
        }
    }
}

/// Chooses among handlers that differ in the size of the operand only.
macro_rules! by_size {
    ($bytes:expr, $handler:ident $(::<$($argument:ty),*>)?) => {
        match $bytes {
            1 => $handler::<$($($argument,)*)? u8> as $crate::op::Handler,
            2 => $handler::<$($($argument,)*)? u16> as $crate::op::Handler,
            4 => $handler::<$($($argument,)*)? u32> as $crate::op::Handler,
            _ => $handler::<$($($argument,)*)? u64> as $crate::op::Handler,
        }
    };
}
pub(crate) use by_size;

/// Chooses among handlers that differ in their condition only, and calls for their other type arguments first.
macro_rules! by_condition {
    ($code:expr, $handler:ident $(, $argument:ty)*) => {
        match $code {
            0 => $handler::<$($argument,)* 0> as $crate::op::Handler,
            1 => $handler::<$($argument,)* 1> as $crate::op::Handler,
            2 => $handler::<$($argument,)* 2> as $crate::op::Handler,
            3 => $handler::<$($argument,)* 3> as $crate::op::Handler,
            4 => $handler::<$($argument,)* 4> as $crate::op::Handler,
            5 => $handler::<$($argument,)* 5> as $crate::op::Handler,
            6 => $handler::<$($argument,)* 6> as $crate::op::Handler,
            7 => $handler::<$($argument,)* 7> as $crate::op::Handler,
            8 => $handler::<$($argument,)* 8> as $crate::op::Handler,
            9 => $handler::<$($argument,)* 9> as $crate::op::Handler,
            10 => $handler::<$($argument,)* 10> as $crate::op::Handler,
            11 => $handler::<$($argument,)* 11> as $crate::op::Handler,
            12 => $handler::<$($argument,)* 12> as $crate::op::Handler,
            13 => $handler::<$($argument,)* 13> as $crate::op::Handler,
            14 => $handler::<$($argument,)* 14> as $crate::op::Handler,
            _ => $handler::<$($argument,)* 15> as $crate::op::Handler,
        }
    };
}
pub(crate) use by_condition;

type Family = fn(&Form<'_>) -> Option<Lowered>;

/// Asked in this order; the most frequent first.
const FAMILIES: &[Family] = &[
    mov::lower,
    alu::lower,
    branch::lower,
    stack::lower,
    unary::lower,
    shift::lower,
    conditional::lower,
    bit::lower,
    multiply::lower,
    exchange::lower,
    strings::lower,
    hint::lower,
    convert::lower,
    bit_count::lower,
    flag::lower,
    bmi::lower,
    carry_chain::lower,
    crc32::lower,
    random::lower,
    decimal::lower,
    bound::lower,
    interrupt_flag::lower,
    system_calls::lower,
    segment_registers::lower,
    iret::lower,
    interrupt_calls::lower,
    far::lower,
    far_return::lower,
    descriptor_tables::lower,
    selectors::lower,
    debug_registers::lower,
    sse::lower,
    mmx::lower,
    fpu_state::lower,
    x87::lower,
    processor::lower,
    port::lower,
    msr::lower,
    control_registers::lower,
    translation::lower,
    segment_base::lower,
];

/// The handler for an instruction.
pub(crate) fn lower(instruction: &Instruction, mode: Mode) -> Lowered {
    if !has_instruction(instruction.code()) {
        return undefined();
    }
    let form = Form { instruction, mode };
    FAMILIES.iter().find_map(|family| family(&form)).unwrap_or_else(unimplemented)
}

/// The operation, complete.
pub(crate) fn operands(instruction: &Instruction, mode: Mode, lowered: Lowered) -> Op {
    let mut op = Op::new(instruction, mode, lowered.handler);
    if lowered.handler as usize == missing as *const () as usize {
        op.imm = instruction.code() as u64;
    }
    op
}

/// For bytes that are no instruction.
pub(crate) fn undefined() -> Lowered {
    Lowered { handler: raise_undefined, place: Place::Last }
}

/// For what does not end within 15 bytes: #GP(0), not #UD (SDM 2A 2.3.11).
pub(crate) fn too_long() -> Lowered {
    Lowered { handler: raise_too_long, place: Place::Last }
}

fn raise_too_long(exec: &mut Exec<'_>, _: &Op) -> Done {
    Err(exec.raise(Fault::GP0))
}

fn raise_undefined(exec: &mut Exec<'_>, _: &Op) -> Done {
    Err(exec.raise(Fault::UD))
}

fn unimplemented() -> Lowered {
    Lowered { handler: missing, place: Place::Last }
}

fn missing(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.missing = Some(Missing::Instruction(Code::try_from(op.imm as usize).unwrap_or(Code::INVALID)));
    Err(Stop::Unimplemented)
}
