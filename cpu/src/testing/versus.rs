//! The interpreter against the host: the same instruction, the same operands, everything that follows compared.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::fmt::Write;

use iced_x86::code_asm::*;
use iced_x86::{Code, Encoder, Instruction, MemoryOperand, OpCodeOperandKind, OpKind, Register};

use super::native::{Block, Native};
use super::{DATA, Guest};
use crate::fault::vector;
use crate::state::{Cr0, Cr4, TableRegister};

/// Tables and handlers of the guest.
const GDT: u64 = 0x8000;
const IDT: u64 = 0x9000;
const HANDLERS: u64 = 0xa000;

/// A small generator of pseudorandom numbers (xorshift64*): the same on every run.
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than this.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() >> 32) as usize % end
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A single with something special about it.
    pub fn single(&mut self) -> u32 {
        const SPECIAL: [u32; 20] = [
            0,
            0x8000_0000,
            0x3f80_0000,
            0xbf80_0000,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_0000,
            0x7f80_0001,
            0xffc1_2345,
            0xffa0_0000,
            1,
            0x807f_ffff,
            0x0080_0000,
            0x7f7f_ffff,
            0x4f00_0000,
            0xcf00_0000,
            0x3f00_0000,
            0x4020_0000,
            0x5f00_0000,
            0x4b80_0001,
        ];
        match self.below(4) {
            0 => self.pick(&SPECIAL),
            // Near one, so that sums and products of two are inexact or cancel.
            1 => (self.bits() as u32 & 0x807f_ffff) | (0x3e80_0000 + ((self.below(5) as u32) << 23)),
            2 => (self.below(41) as f32 * 0.5 - 10.0).to_bits(),
            _ => self.bits() as u32,
        }
    }

    /// A double with something special about it.
    pub fn double(&mut self) -> u64 {
        const SPECIAL: [u64; 21] = [
            0,
            1 << 63,
            0x3ff0_0000_0000_0000,
            0xbff0_0000_0000_0000,
            0x7ff0_0000_0000_0000,
            0xfff0_0000_0000_0000,
            0x7ff8_0000_0000_0000,
            0x7ff0_0000_0000_0001,
            0xfff8_1234_5678_9abc,
            0xfff4_0000_0000_0000,
            1,
            0x800f_ffff_ffff_ffff,
            0x0010_0000_0000_0000,
            0x7fef_ffff_ffff_ffff,
            0x41e0_0000_0000_0000,
            0xc1e0_0000_0000_0000,
            0x43e0_0000_0000_0000,
            0xc3e0_0000_0000_0000,
            0x3fe0_0000_0000_0000,
            0x4004_0000_0000_0000,
            0x47ef_ffff_f000_0000,
        ];
        match self.below(4) {
            0 => self.pick(&SPECIAL),
            1 => (self.bits() & 0x800f_ffff_ffff_ffff) | ((0x3fd + self.below(5) as u64) << 52),
            2 => (self.below(41) as f64 * 0.5 - 10.0).to_bits(),
            _ => self.bits(),
        }
    }

    /// A number of 80 bits with something special about it: significand, sign and exponent.
    pub fn extended(&mut self) -> (u64, u16) {
        const SIGNIFICANDS: [u64; 8] = [
            1 << 63,
            0xc000_0000_0000_0000,
            0x8000_0000_0000_0001,
            0xffff_ffff_ffff_ffff,
            0,
            1,
            0x4000_0000_0000_0000,
            0xa000_0000_0000_0000,
        ];
        const EXPONENTS: [u16; 12] =
            [0, 1, 2, 0x3ffe, 0x3fff, 0x4000, 0x403d, 0x403e, 0x43fe, 0x7ffd, 0x7ffe, 0x7fff];
        let significand = match self.below(3) {
            0 => self.pick(&SIGNIFICANDS),
            1 => self.bits() | 1 << 63,
            _ => (self.bits() & 0xfff) << 52 | 1 << 63,
        };
        let sign = (self.bits() as u16) << 15;
        let exponent = match self.below(4) {
            0 => self.pick(&EXPONENTS),
            1 => self.bits() as u16 & 0x7fff,
            _ => 0x3ff0 + self.below(32) as u16,
        };
        (significand, sign | exponent)
    }

    /// A register full of what some instruction may care about.
    pub fn vector(&mut self) -> u128 {
        let wide = |low: u64, high: u64| u128::from(low) | u128::from(high) << 64;
        let pair = |random: &mut Self| u64::from(random.single()) | u64::from(random.single()) << 32;
        match self.below(5) {
            0 => wide(pair(self), pair(self)),
            1 => wide(self.double(), self.double()),
            2 => wide(self.bits(), self.bits()),
            // Few different bytes, many zeros: for strings, comparisons and shift counts.
            3 => u128::from_le_bytes(std::array::from_fn(|_| self.pick(&[0, 1, 2, 3, 0x7f, 0x80, 0xff, 5]))),
            _ => u128::from(self.below(140) as u64),
        }
    }

    /// A control and status word of SSE: any rounding, any mode for denormals, often with unmasked exceptions.
    pub fn mxcsr(&mut self) -> u32 {
        let masks = if self.below(2) == 0 { 0x1f80 } else { self.bits() as u32 & 0x1f80 };
        masks | self.bits() as u32 & 0xe040 | if self.below(3) == 0 { self.bits() as u32 & 0x3f } else { 0 }
    }
}

/// One encoding of an instruction, with operands chosen at random; `None` if it has operands this cannot make.
pub fn instance(code: Code, memory: bool, offset: i64, random: &mut Random) -> Option<Vec<u8>> {
    const GENERAL: [Register; 4] = [Register::RAX, Register::RCX, Register::RDX, Register::RSI];
    const GENERAL32: [Register; 4] = [Register::EAX, Register::ECX, Register::EDX, Register::ESI];
    const GENERAL16: [Register; 4] = [Register::AX, Register::CX, Register::DX, Register::SI];
    const GENERAL8: [Register; 6] =
        [Register::AL, Register::CL, Register::DL, Register::AH, Register::CH, Register::DH];
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    let info = code.op_code();
    for operand in 0..info.op_count() {
        use OpCodeOperandKind as Kind;
        let numbered = |first: Register, random: &mut Random, count: usize| {
            Register::try_from(first as usize + random.below(count)).unwrap()
        };
        let register = match info.op_kind(operand) {
            Kind::mem | Kind::sibmem if memory => None,
            Kind::xmm_or_mem | Kind::mm_or_mem if memory => None,
            Kind::r8_or_mem | Kind::r16_or_mem | Kind::r32_or_mem | Kind::r64_or_mem if memory => None,
            Kind::r8_reg | Kind::r8_or_mem | Kind::r8_opcode => Some(random.pick(&GENERAL8)),
            Kind::r16_reg | Kind::r16_rm | Kind::r16_or_mem | Kind::r16_opcode => {
                Some(random.pick(&GENERAL16))
            }
            Kind::xmm_reg | Kind::xmm_rm | Kind::xmm_or_mem => Some(numbered(Register::XMM0, random, 16)),
            Kind::mm_reg | Kind::mm_rm | Kind::mm_or_mem => Some(numbered(Register::MM0, random, 8)),
            Kind::r32_reg | Kind::r32_rm | Kind::r32_or_mem | Kind::r32_opcode | Kind::r32_vvvv => {
                Some(random.pick(&GENERAL32))
            }
            Kind::r64_reg | Kind::r64_rm | Kind::r64_or_mem | Kind::r64_opcode | Kind::r64_vvvv => {
                Some(random.pick(&GENERAL))
            }
            Kind::al => Some(Register::AL),
            Kind::cl => Some(Register::CL),
            Kind::eax => Some(Register::EAX),
            Kind::rax => Some(Register::RAX),
            Kind::st0 => Some(Register::ST0),
            Kind::sti_opcode => Some(numbered(Register::ST0, random, 8)),
            Kind::ax => Some(Register::AX),
            kind if implied(kind).is_some() => {
                instruction.set_op_kind(operand, implied(kind)?);
                continue;
            }
            Kind::imm8_const_1 => {
                instruction.set_op_kind(operand, OpKind::Immediate8);
                instruction.set_immediate8(1);
                continue;
            }
            kind => {
                let (kind, bits) = immediate(kind)?;
                instruction.set_op_kind(operand, kind);
                // Sign extended, as far as the encoding has fewer bits than the operand.
                let value = (random.bits() as i64) << (64 - bits) >> (64 - bits);
                instruction.set_immediate_i64(operand, value);
                continue;
            }
        };
        match register {
            Some(register) => instruction.set_op_register(operand, register),
            None => {
                let place = MemoryOperand::with_base_displ(Register::RBX, offset);
                instruction.set_op_kind(operand, OpKind::Memory);
                instruction.set_memory_base(place.base);
                instruction.set_memory_displacement64(offset as u64);
                instruction.set_memory_displ_size(1);
            }
        }
    }
    let mut encoder = Encoder::new(64);
    encoder.encode(&instruction, 0).ok()?;
    Some(encoder.take_buffer())
}

/// Memory operands that string instructions imply.
fn implied(kind: OpCodeOperandKind) -> Option<OpKind> {
    match kind {
        OpCodeOperandKind::seg_rDI => Some(OpKind::MemorySegRDI),
        OpCodeOperandKind::seg_rSI => Some(OpKind::MemorySegRSI),
        OpCodeOperandKind::es_rDI => Some(OpKind::MemoryESRDI),
        _ => None,
    }
}

/// How an immediate operand is decoded, and how many bits of it are encoded.
fn immediate(kind: OpCodeOperandKind) -> Option<(OpKind, u32)> {
    use OpCodeOperandKind as Kind;
    Some(match kind {
        Kind::imm8 => (OpKind::Immediate8, 8),
        Kind::imm8sex16 => (OpKind::Immediate8to16, 8),
        Kind::imm8sex32 => (OpKind::Immediate8to32, 8),
        Kind::imm8sex64 => (OpKind::Immediate8to64, 8),
        Kind::imm16 => (OpKind::Immediate16, 16),
        Kind::imm32 => (OpKind::Immediate32, 32),
        Kind::imm32sex64 => (OpKind::Immediate32to64, 32),
        Kind::imm64 => (OpKind::Immediate64, 64),
        _ => return None,
    })
}

/// Whether an instruction has a form with a memory operand, and one without.
pub fn has_forms(code: Code) -> (bool, bool) {
    use OpCodeOperandKind as Kind;
    let kinds = code.op_code().op_kinds();
    let either = kinds.iter().any(|kind| {
        matches!(
            kind,
            Kind::xmm_or_mem
                | Kind::mm_or_mem
                | Kind::r8_or_mem
                | Kind::r16_or_mem
                | Kind::r32_or_mem
                | Kind::r64_or_mem
        )
    });
    let only = kinds.iter().any(|kind| matches!(kind, Kind::mem | Kind::sibmem));
    (either || only, !only)
}

/// An instruction on both processors.
pub struct Versus {
    guest: Guest,
    native: Native,
    save: u64,
    /// Registers that hold addresses in the data.
    pub pointers: Vec<usize>,
}

/// What both made of the same start.
pub struct Pair {
    /// The host's.
    pub native: Block,
    /// Vectors that the signal which ended the instruction may stand for; empty if it went through.
    pub signal: &'static [u8],
    /// The interpreter's.
    pub ours: Block,
    /// The exception it raised.
    pub vector: Option<u8>,
}

impl Versus {
    /// For these bytes of code.
    pub fn new(instruction: &[u8]) -> Self {
        let restore = [0x49, 0x0f, 0xae, 0x0f];
        let mut guest = Guest::long(|a| {
            a.db(&restore)?;
            a.db(instruction)?;
            a.fxsave64(ptr(r15 + 512))
        });
        let ram = &guest.ram;
        ram.write(GDT + 8, &0x00af_9b00_0000_ffff_u64.to_le_bytes()).unwrap();
        ram.write(GDT + 16, &0x00cf_9300_0000_ffff_u64.to_le_bytes()).unwrap();
        for vector in 0..32 {
            let gate = u128::from(HANDLERS + 16 * vector) | 0x8e00 << 32 | 8 << 16;
            ram.write(IDT + 16 * vector, &gate.to_le_bytes()).unwrap();
        }
        let save = guest.cpu.state.rip + (restore.len() + instruction.len()) as u64;
        let state = &mut guest.cpu.state;
        state.gdtr = TableRegister { base: GDT, limit: 23 };
        state.idtr = TableRegister { base: IDT, limit: 511 };
        state.cr0 |= Cr0::NE | Cr0::MP;
        state.cr4 |= Cr4::OSFXSR | Cr4::OSXMMEXCPT;
        Self { guest, native: Native::new(instruction), save, pointers: vec![3, 7] }
    }

    /// Runs it on both. Registers that hold addresses (RBX, RDI) are in `start` offsets from the beginning of its data.
    pub fn run(&mut self, start: &Block) -> Pair {
        let data = std::mem::offset_of!(Block, data) as u64;
        let mut native = start.clone();
        let base = &raw const native as u64;
        for &pointer in &self.pointers {
            native.registers[pointer] += base + data;
        }
        let signal: &[u8] = match self.native.run(&mut native) {
            0 => &[],
            libc::SIGFPE => &[vector::DE, vector::MF, vector::XM],
            libc::SIGILL => &[vector::UD],
            _ => &[vector::GP, vector::PF],
        };
        for &pointer in &self.pointers {
            native.registers[pointer] = native.registers[pointer].wrapping_sub(base + data);
        }

        let guest = &mut self.guest;
        guest.ram.write(DATA, bytes_of(start)).unwrap();
        let state = &mut guest.cpu.state;
        let begin = super::CODE;
        (state.rip, state.rflags) = (begin, start.flags | 2);
        state.gpr[..4].copy_from_slice(&start.registers[..4]);
        state.gpr[5..8].copy_from_slice(&start.registers[5..]);
        for &pointer in &self.pointers {
            state.gpr[pointer] += DATA + data;
        }
        (state.gpr[4], state.gpr[15]) = (super::STACK, DATA);
        guest.run(2);
        let state = &mut guest.cpu.state;
        let vector =
            (HANDLERS..HANDLERS + 512).contains(&state.rip).then(|| ((state.rip - HANDLERS) / 16) as u8);
        assert!(vector.is_some() || state.rip == self.save, "stopped at {:#x}", state.rip);
        state.rip = self.save;
        guest.run(1);
        let mut ours = start.clone();
        guest.ram.read(DATA, bytes_of_mut(&mut ours)).unwrap();
        let state = &guest.cpu.state;
        ours.registers[..4].copy_from_slice(&state.gpr[..4]);
        ours.registers[5..].copy_from_slice(&state.gpr[5..8]);
        for &pointer in &self.pointers {
            ours.registers[pointer] = ours.registers[pointer].wrapping_sub(DATA + data);
        }
        ours.flags = state.rflags;
        Pair { native, signal, ours, vector }
    }
}

/// Status flags.
const STATUS: u64 = 0x8d5;

impl Pair {
    /// How they differ, a line for each difference. The x87 pointers are left out: what is kept of them differs among processors.
    pub fn differences(&self) -> String {
        self.differences_but_for(0)
    }

    /// The same, but these flags may differ.
    pub fn differences_but_for(&self, flags: u64) -> String {
        let mut lines = String::new();
        match self.vector {
            Some(vector) if self.signal.contains(&vector) => {}
            None if self.signal.is_empty() => {}
            vector => writeln!(lines, "exception: host {:?}, ours {vector:?}", self.signal).unwrap(),
        }
        let mut compare = |name: &str, host: u128, ours: u128| {
            if host != ours {
                writeln!(lines, "{name}: host {host:#x}, ours {ours:#x}").unwrap();
            }
        };
        let (host, ours) = (&self.native, &self.ours);
        let word = |image: &[u8], at: usize, bytes: usize| {
            image[at..at + bytes].iter().rev().fold(0u128, |value, byte| value << 8 | u128::from(*byte))
        };
        for (name, at, bytes) in [("control", 0, 2), ("status", 2, 2), ("tags", 4, 1), ("mxcsr", 24, 4)] {
            compare(name, word(&host.after, at, bytes), word(&ours.after, at, bytes));
        }
        for i in 0..8 {
            let at = 32 + 16 * i;
            compare(&format!("st{i}"), word(&host.after, at, 10), word(&ours.after, at, 10));
        }
        for i in 0..16 {
            let at = 160 + 16 * i;
            compare(&format!("xmm{i}"), word(&host.after, at, 16), word(&ours.after, at, 16));
        }
        for i in [0, 1, 2, 3, 5, 6, 7] {
            compare(&format!("register {i}"), host.registers[i].into(), ours.registers[i].into());
        }
        if self.vector.is_none() {
            let compared = STATUS & !flags;
            compare("flags", (host.flags & compared).into(), (ours.flags & compared).into());
        }
        for at in (0..host.data.len()).step_by(16) {
            compare(&format!("data {at}"), word(&host.data, at, 16), word(&ours.data, at, 16));
        }
        lines
    }
}

fn bytes_of(block: &Block) -> &[u8] {
    // SAFETY: `Block` is `repr(C)` plain data without padding, and the slice borrows it.
    unsafe { std::slice::from_raw_parts((&raw const *block).cast(), size_of::<Block>()) }
}

fn bytes_of_mut(block: &mut Block) -> &mut [u8] {
    // SAFETY: as in `bytes_of`; every pattern of bytes is a `Block`.
    unsafe { std::slice::from_raw_parts_mut((&raw mut *block).cast(), size_of::<Block>()) }
}
