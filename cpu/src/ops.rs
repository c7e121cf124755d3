//! What instructions do, one file for each family.
//!
//! A family's `lower` looks at a decoded instruction and, if it is one of its own, names the handler for exactly this form:
//! operand kinds and sizes are type parameters, so that nothing is left to decide when it runs.

mod alu;

use iced_x86::{Code, Instruction, OpKind};

use crate::exec::{Exec, Missing};
use crate::fault::{Done, Fault, Stop};
use crate::mode::Mode;
use crate::op::{Lowered, Op, Place};

/// An instruction as a family looks at it.
pub struct Form<'a> {
    /// As iced-x86 decoded it.
    pub instruction: &'a Instruction,
    /// Of the code around it.
    #[allow(dead_code, reason = "families that need it come next")]
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

type Family = fn(&Form<'_>) -> Option<Lowered>;

/// Asked in this order; the most frequent first.
const FAMILIES: &[Family] = &[alu::lower];

/// The handler for an instruction.
pub(crate) fn lower(instruction: &Instruction, mode: Mode) -> Lowered {
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
