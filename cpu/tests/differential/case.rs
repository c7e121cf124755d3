//! What is run, and what came of it.

use std::fmt;

use iced_x86::{Code, Instruction, OpKind, Register};

use crate::arena::Memory;
use crate::segments;

/// An instruction with its operand kinds and sizes, in a code segment of 16, 32 or 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Form {
    pub code: Code,
    pub bits: u32,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.code, self.bits)
    }
}

/// Registers of a processor at privilege level 3.
#[derive(Clone, PartialEq, Eq)]
pub struct Registers {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// Offset in CS.
    pub rip: u64,
    pub rflags: u64,
    /// ES, CS, SS, DS, FS, GS.
    pub selectors: [u16; 6],
    /// Of FS and GS.
    pub bases: [u64; 2],
    /// As FXSAVE64 stores it.
    pub fpu: FpuImage,
}

/// The 512 bytes of FXSAVE64 (SDM 1, 10.5.1).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct FpuImage(pub [u8; 512]);

impl FpuImage {
    pub fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    pub fn control(&self) -> u16 {
        self.word(0)
    }

    pub fn status(&self) -> u16 {
        self.word(2)
    }

    /// One bit for each physical register.
    pub fn tags(&self) -> u8 {
        self.0[4]
    }

    pub fn mxcsr(&self) -> u32 {
        u32::from(self.word(24)) | u32::from(self.word(26)) << 16
    }

    /// ST(i).
    pub fn st(&self, i: usize) -> &[u8] {
        &self.0[32 + 16 * i..42 + 16 * i]
    }

    pub fn xmm(&self, i: usize) -> u128 {
        self.0[160 + 16 * i..176 + 16 * i].iter().rev().fold(0, |all, byte| all << 8 | u128::from(*byte))
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// Something to run.
#[derive(Clone)]
pub struct Case {
    pub form: Form,
    pub seed: u64,
    /// As a decoder sees `bytes`.
    pub instruction: Instruction,
    /// To be put at `registers.rip`.
    pub bytes: Vec<u8>,
    pub registers: Registers,
    pub memory: Memory,
}

impl Case {
    /// Linear address of the instruction.
    pub fn linear_ip(&self) -> u64 {
        self.registers.rip + segments::code_base(self.form)
    }

    /// Value of a general register, or base of a segment register, at the start.
    pub fn value(&self, register: Register) -> u64 {
        if !register.is_gpr() {
            return segments::base(self.form, &self.registers.selectors, register);
        }
        let whole = self.registers.gpr[register.full_register().number()];
        match register {
            Register::AH | Register::BH | Register::CH | Register::DH => whole >> 8 & 0xff,
            _ => whole & u64::MAX >> (64 - 8 * register.size()),
        }
    }

    /// Linear address of the memory operand.
    pub fn operand_address(&self) -> Option<u64> {
        let operand = (0..self.instruction.op_count())
            .find(|operand| self.instruction.op_kind(*operand) == OpKind::Memory)?;
        let address =
            self.instruction.virtual_address(operand, 0, |register, _, _| Some(self.value(register)))?;
        Some(self.wrap(address))
    }

    /// A linear address after addition.
    pub fn wrap(&self, address: u64) -> u64 {
        if self.form.bits == 64 { address } else { address & 0xffff_ffff }
    }
}

/// How it ended: always with an exception, be it that of the INT3 that follows.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    pub vector: u8,
    pub error: u32,
    /// Of a page fault.
    pub address: u64,
    pub registers: Registers,
    pub memory: Memory,
}
