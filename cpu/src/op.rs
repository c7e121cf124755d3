//! A decoded instruction.

use iced_x86::{Instruction, OpKind, Register};

use crate::exec::Exec;
use crate::fault::Done;
use crate::mode::Mode;
use crate::registers::gpr::RDI;
use crate::registers::{BLOCK_IP, HIGH_BYTE, ZERO};
use crate::state::SegmentName;

/// What an operation does. Nothing is committed before the last thing that can fault.
pub type Handler = fn(&mut Exec<'_>, &Op) -> Done;

/// Where an operation may stand in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Anywhere.
    Within,
    /// At the end: it changes the instruction pointer, or something that the next instruction's fetch or an interrupt depends on.
    Last,
    /// In a block of its own: it needs the exact time, or it always touches devices.
    Alone,
}

/// A handler and its place, chosen by a family in `ops/`.
#[derive(Clone, Copy)]
pub struct Lowered {
    /// What it does.
    pub handler: Handler,
    /// Where it may stand.
    pub place: Place,
}

/// For an operation that may stand anywhere.
pub fn within(handler: Handler) -> Option<Lowered> {
    Some(Lowered { handler, place: Place::Within })
}

/// For one that ends a block.
pub fn last(handler: Handler) -> Option<Lowered> {
    Some(Lowered { handler, place: Place::Last })
}

/// For one in a block of its own.
pub fn alone(handler: Handler) -> Option<Lowered> {
    Some(Lowered { handler, place: Place::Alone })
}

/// A decoded instruction, ready to run: 32 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Op {
    /// What it does.
    pub run: Handler,
    /// Immediate operand, sign extended; target of a near branch relative to the block's start; far pointer `selector << 32 | offset`.
    pub imm: u64,
    /// Displacement of the memory operand; relative to the block's start if the base is [`BLOCK_IP`].
    pub disp: i32,
    /// First register operand ([`HIGH_BYTE`] set for AH..BH). XMM, MMX, x87, segment, control and debug registers by their number.
    pub dst: u8,
    /// Second register operand. For instructions with one register and memory, `dst` and `src` are both that register.
    pub src: u8,
    /// Base register of the memory operand.
    pub base: u8,
    /// Index register.
    pub index: u8,
    /// log2 of the scale.
    pub scale: u8,
    /// How the memory operand's offset becomes a linear address.
    pub segment: SegmentUse,
    /// Start relative to the block's start.
    pub start: u16,
    /// Start of the next instruction, relative to the block's start.
    pub next: u16,
    /// For the handler's own use: a condition code, a prefix, a third operand, the upper half of a 64-bit displacement.
    pub extra: u16,
}

/// Segment and address size of a memory operand in one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentUse(u8);

impl SegmentUse {
    const FLAT_BIT: u8 = 0x80;
    /// The offset in DS is the linear address.
    pub const FLAT: Self = Self(Self::FLAT_BIT | SegmentName::Ds as u8);

    fn new(segment: SegmentName, address_bits: u32) -> Self {
        Self(segment as u8 | ((address_bits / 16) as u8) << 3)
    }

    /// Whether the offset is the linear address.
    #[inline(always)]
    pub fn is_flat(self) -> bool {
        self.0 & Self::FLAT_BIT != 0
    }

    /// The segment register's number. It tells whose fault it is even if the address is flat.
    pub fn segment(self) -> SegmentName {
        match self.0 & 7 {
            0 => SegmentName::Es,
            1 => SegmentName::Cs,
            2 => SegmentName::Ss,
            3 => SegmentName::Ds,
            4 => SegmentName::Fs,
            _ => SegmentName::Gs,
        }
    }

    /// Bits of the offset that count.
    pub fn address_mask(self) -> u64 {
        match self.0 >> 3 & 7 {
            1 => 0xffff,
            2 => 0xffff_ffff,
            _ => u64::MAX,
        }
    }
}

impl Op {
    /// Fills in what all instructions have in common. `instruction` was decoded with an instruction pointer that counts from the
    /// block's start.
    pub fn new(instruction: &Instruction, mode: Mode, handler: Handler) -> Self {
        let mut op = Self {
            run: handler,
            imm: 0,
            disp: 0,
            dst: 0,
            src: 0,
            base: ZERO,
            index: ZERO,
            scale: 0,
            segment: SegmentUse::FLAT,
            start: instruction.ip() as u16,
            next: instruction.next_ip() as u16,
            extra: 0,
        };
        let mut registers = 0;
        for operand in 0..instruction.op_count() {
            match instruction.op_kind(operand) {
                OpKind::Register => {
                    let number = register_number(instruction.op_register(operand));
                    match registers {
                        0 => (op.dst, op.src) = (number, number),
                        1 => op.src = number,
                        _ => op.extra = u16::from(number),
                    }
                    registers += 1;
                }
                OpKind::Memory => op.memory(instruction, mode),
                OpKind::MemorySegSI => op.string_source(instruction, 16, mode),
                OpKind::MemorySegESI => op.string_source(instruction, 32, mode),
                OpKind::MemorySegRSI => op.string_source(instruction, 64, mode),
                OpKind::MemorySegDI => op.masked_target(instruction, 16, mode),
                OpKind::MemorySegEDI => op.masked_target(instruction, 32, mode),
                OpKind::MemorySegRDI => op.masked_target(instruction, 64, mode),
                OpKind::MemoryESDI => op.string_target(16, mode),
                OpKind::MemoryESEDI => op.string_target(32, mode),
                OpKind::MemoryESRDI => op.string_target(64, mode),
                OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                    op.imm = instruction.near_branch_target();
                }
                OpKind::FarBranch16 => {
                    op.imm = u64::from(instruction.far_branch_selector()) << 32
                        | u64::from(instruction.far_branch16());
                }
                OpKind::FarBranch32 => {
                    op.imm = u64::from(instruction.far_branch_selector()) << 32
                        | u64::from(instruction.far_branch32());
                }
                OpKind::Immediate8
                | OpKind::Immediate16
                | OpKind::Immediate32
                | OpKind::Immediate64
                | OpKind::Immediate8to16
                | OpKind::Immediate8to32
                | OpKind::Immediate8to64
                | OpKind::Immediate32to64 => op.imm = instruction.immediate(operand),
                // ENTER has a second one.
                OpKind::Immediate8_2nd => op.extra = u16::from(instruction.immediate8_2nd()),
            }
        }
        op
    }

    fn string_source(&mut self, instruction: &Instruction, address_bits: u32, mode: Mode) {
        let segment = segment_of(instruction, Register::None, mode);
        self.segment = SegmentUse::for_access(segment, address_bits, mode);
    }

    /// MASKMOVQ, MASKMOVDQU: an ordinary memory operand, but implied.
    fn masked_target(&mut self, instruction: &Instruction, address_bits: u32, mode: Mode) {
        self.base = RDI;
        self.string_source(instruction, address_bits, mode);
    }

    /// Always in ES. Where there is a source as well, its segment is the one to remember; the address size is that of both.
    fn string_target(&mut self, address_bits: u32, mode: Mode) {
        if self.segment.is_flat() {
            self.segment = SegmentUse::for_access(SegmentName::Es, address_bits, mode);
        }
    }

    fn memory(&mut self, instruction: &Instruction, mode: Mode) {
        let displacement = instruction.memory_displacement64();
        self.disp = displacement as i32;
        self.scale = instruction.memory_index_scale().trailing_zeros() as u8;
        let base = instruction.memory_base();
        let index = instruction.memory_index();
        let address_bits = match (base, index, instruction.memory_displ_size()) {
            (Register::None, Register::None, 2) => 16,
            (Register::None, Register::None, 4) => 32,
            (Register::None, Register::None, _) => mode.bits(),
            (Register::None, _, _) => index.size() as u32 * 8,
            _ => base.size() as u32 * 8,
        };
        if base == Register::None && index == Register::None {
            // The whole of it, for MOV with a 64-bit offset; an immediate that follows takes the place.
            self.imm = displacement;
        }
        self.base = match base {
            Register::None => ZERO,
            Register::RIP | Register::EIP => BLOCK_IP,
            _ => base.number() as u8,
        };
        self.index = if index == Register::None { ZERO } else { index.number() as u8 };
        let segment = segment_of(instruction, base, mode);
        self.segment = SegmentUse::for_access(segment, address_bits, mode);
    }
}

/// The segment of a memory operand with this base. In 64-bit mode overrides but FS and GS are ignored, also for whose fault it is
/// (SDM 1, 3.3.7.1).
fn segment_of(instruction: &Instruction, base: Register, mode: Mode) -> SegmentName {
    match instruction.memory_segment() {
        segment if !mode.is_64() || matches!(segment, Register::FS | Register::GS) => segment_name(segment),
        _ if matches!(base.full_register(), Register::RSP | Register::RBP) => SegmentName::Ss,
        _ => SegmentName::Ds,
    }
}

impl SegmentUse {
    /// For an offset of this many bits in this segment.
    pub fn for_access(segment: SegmentName, address_bits: u32, mode: Mode) -> Self {
        let plain = !matches!(segment, SegmentName::Fs | SegmentName::Gs);
        if plain && mode.is_64() && address_bits == 64 {
            Self(Self::FLAT_BIT | segment as u8)
        } else {
            Self::new(segment, address_bits)
        }
    }
}

/// Number of any register, as instructions encode it.
fn register_number(register: Register) -> u8 {
    match register {
        Register::AH | Register::CH | Register::DH | Register::BH => {
            HIGH_BYTE | (register as u8 - Register::AH as u8)
        }
        // iced-x86 numbers SPL to R15L behind BH.
        _ if register.is_gpr8() => register.full_register().number() as u8,
        _ => register.number() as u8,
    }
}

/// The segment register of this name; DS for what is none.
pub fn segment_name(register: Register) -> SegmentName {
    match register {
        Register::ES => SegmentName::Es,
        Register::CS => SegmentName::Cs,
        Register::SS => SegmentName::Ss,
        Register::FS => SegmentName::Fs,
        Register::GS => SegmentName::Gs,
        _ => SegmentName::Ds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_registers_have_the_numbers_of_their_registers() {
        let numbers =
            [Register::AL, Register::BH, Register::SPL, Register::DIL, Register::R8L, Register::R15L];
        assert_eq!(numbers.map(register_number), [0, HIGH_BYTE | 3, 4, 7, 8, 15]);
    }
}
