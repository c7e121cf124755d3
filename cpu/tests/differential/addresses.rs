//! Memory operands: first where they shall point, then registers and displacement that lead there.

use iced_x86::{OpKind, Register};

use crate::arena::{CODE, DATA, PAGE, READ_ONLY, STACK};
use crate::draft::{Draft, Unfit};
use crate::segments;

impl Draft {
    /// Where an operand of so many bytes shall lie: mostly in [`DATA`], now and then over an edge of it, or nowhere.
    pub fn target(&mut self, bytes: u64) -> u64 {
        let bytes = bytes.clamp(1, PAGE);
        let before = |edge: u64, random: &mut crate::random::Random| edge - random.below(bytes.max(2));
        let random = &mut self.random;
        match random.below(64) {
            0..4 => before(DATA.start + PAGE, random),
            4..8 => READ_ONLY.start + random.below(PAGE - bytes + 1),
            8..10 => before(READ_ONLY.start, random),
            10..13 => before(READ_ONLY.end, random),
            13..15 => READ_ONLY.end + random.below(PAGE - bytes + 1),
            15..17 => before(DATA.start, random),
            17..19 => STACK.start + random.below(2 * PAGE - bytes + 1),
            19 => random.below(PAGE),
            // Not canonical, at the edge, and in the kernel's half.
            20 if self.form.bits == 64 => random.integer() & 0xffff | 0x4000_0000_0000_0000,
            21 if self.form.bits == 64 => (1 << 47) - random.below(2 * bytes),
            22 if self.form.bits == 64 => 0xffff_9000_0000_0000 | random.integer() & 0xffff,
            _ => {
                let alignment = if random.once_in(3) { 1 } else { bytes.next_power_of_two().min(64) };
                DATA.start + random.below((2 * PAGE - bytes) / alignment + 1) * alignment
            }
        }
    }

    /// Bits of the address: those of the mode, at times those that a prefix makes of them.
    pub fn address_bits(&mut self) -> u32 {
        match self.form.bits {
            bits if !self.random.once_in(8) => bits,
            32 => 16,
            _ => 32,
        }
    }

    /// A segment override, or none. In 16 bits only a segment with a base leads anywhere.
    fn segment(&mut self, address_bits: u32) -> Register {
        let rare = if address_bits == 16 && self.form.bits != 16 { 1 } else { 8 };
        if !self.random.once_in(rare) {
            return Register::None;
        }
        match self.random.below(8) {
            0..3 => Register::FS,
            3..6 => Register::GS,
            6 => Register::DS,
            _ => self.random.pick(&[Register::ES, Register::SS, Register::CS]),
        }
    }

    /// A memory operand with this content.
    pub fn memory_operand(&mut self, operand: u32, bytes: u64) -> Result<(), Unfit> {
        let address_bits = self.address_bits();
        let segment = self.segment(address_bits);
        let target = self.target(bytes);
        self.note_operand(target, bytes);
        self.instruction.set_op_kind(operand, OpKind::Memory);
        self.instruction.set_segment_prefix(segment);
        if address_bits == 16 {
            self.address_16(target, bytes, segment)
        } else {
            self.address(target, bytes, segment, address_bits)
        }
    }

    /// The operand of MOV at an absolute offset.
    pub fn absolute_operand(&mut self, operand: u32, bytes: u64) -> Result<(), Unfit> {
        let address_bits = self.address_bits();
        let segment = self.segment(address_bits);
        let target = self.target(bytes);
        self.note_operand(target, bytes);
        self.instruction.set_op_kind(operand, OpKind::Memory);
        self.instruction.set_segment_prefix(segment);
        self.instruction.set_memory_displ_size(address_bits / 8);
        let offset = self.offset_of(target, bytes, segment_or(segment, Register::DS))?;
        if offset & !mask(address_bits) != 0 {
            return Err(Unfit);
        }
        self.instruction.set_memory_displacement64(offset);
        Ok(())
    }

    /// An operand at a register that the instruction implies, in DS (or an override) or ES.
    pub fn implied_operand(
        &mut self,
        register: Register,
        bytes: u64,
        may_override: bool,
    ) -> Result<u64, Unfit> {
        let address_bits = register.size() as u32 * 8;
        let segment = if may_override { self.segment(address_bits) } else { Register::None };
        if segment != Register::None {
            self.instruction.set_segment_prefix(segment);
        }
        let target = self.target(bytes);
        let usual = if may_override { Register::DS } else { Register::ES };
        let offset = self.offset_of(target, bytes, segment_or(segment, usual))?;
        self.fix(register, offset)?;
        self.note_operand(target, bytes);
        Ok(target)
    }

    /// Offset in a segment. That the last byte's offset is less than the first one's may be a fault or not (SDM 3A 5.3).
    fn offset_of(&self, target: u64, bytes: u64, segment: Register) -> Result<u64, Unfit> {
        let base = segments::base(self.form, &self.selectors, segment);
        let mask = mask(self.form.bits.max(32));
        let offset = target.wrapping_sub(base) & mask;
        let wraps = self.form.bits != 64 && offset + bytes > mask;
        if wraps { Err(Unfit) } else { Ok(offset) }
    }

    fn address(&mut self, target: u64, bytes: u64, segment: Register, bits: u32) -> Result<(), Unfit> {
        if self.form.bits == 64 && self.random.once_in(8) {
            let offset = self.offset_of(target, bytes, segment)?;
            return self.relative(offset, bits);
        }
        let base = if self.random.once_in(6) { Register::None } else { self.address_register(bits) };
        let mut index = if self.random.once_in(2) { self.address_register(bits) } else { Register::None };
        if matches!(index, Register::RSP | Register::ESP) {
            index = Register::None;
        }
        let offset = self.offset_of(target, bytes, segment_or(segment, usual_segment(base)))?;
        if offset & !mask(bits) != 0 {
            return Err(Unfit);
        }
        let scale = if index == Register::None { 1 } else { 1 << self.random.below(4) };
        self.instruction.set_memory_base(base);
        self.instruction.set_memory_index(index);
        self.instruction.set_memory_index_scale(scale);
        if base == Register::None && index != Register::None && !self.is_fixed(index) {
            // The displacement has 32 bits: the index leads nearly there.
            let near = (offset / u64::from(scale)).wrapping_add(self.random.below(1 << 16));
            self.fix(index, near & mask(bits))?;
        }
        let scaled = self.value(index).wrapping_mul(u64::from(scale));
        if base == Register::None || self.is_fixed(base) || base == index {
            let known = scaled.wrapping_add(self.value(base));
            self.displace(offset.wrapping_sub(known), bits, base)?;
        } else {
            let displacement = match self.random.below(3) {
                0 => 0,
                1 => self.random.bits() as i8 as i64 as u64,
                _ => self.random.integer() as i32 as i64 as u64,
            };
            self.displace(displacement, bits, base)?;
            self.fix(base, offset.wrapping_sub(scaled).wrapping_sub(displacement) & mask(bits))?;
        }
        self.hold(index);
        self.hold(base);
        Ok(())
    }

    fn displace(&mut self, displacement: u64, bits: u32, base: Register) -> Result<(), Unfit> {
        let displacement = if bits == 32 { displacement as i32 as i64 as u64 } else { displacement };
        let size = match displacement as i64 {
            0 if base != Register::None => 0,
            -128..=127 if base != Register::None => 1,
            value if i32::try_from(value).is_ok() => bits / 8,
            _ => return Err(Unfit),
        };
        self.instruction.set_memory_displ_size(size);
        let shown = if bits == 32 { displacement & mask(32) } else { displacement };
        self.instruction.set_memory_displacement64(shown);
        Ok(())
    }

    fn relative(&mut self, offset: u64, bits: u32) -> Result<(), Unfit> {
        if offset & !mask(bits) != 0 || offset.abs_diff(CODE.start) > 1 << 30 {
            return Err(Unfit);
        }
        self.instruction.set_memory_base(if bits == 64 { Register::RIP } else { Register::EIP });
        self.instruction.set_memory_displ_size(bits / 8);
        self.instruction.set_memory_displacement64(offset);
        Ok(())
    }

    fn address_16(&mut self, target: u64, bytes: u64, segment: Register) -> Result<(), Unfit> {
        const SHAPES: [(Register, Register); 9] = [
            (Register::BX, Register::SI),
            (Register::BX, Register::DI),
            (Register::BP, Register::SI),
            (Register::BP, Register::DI),
            (Register::SI, Register::None),
            (Register::DI, Register::None),
            (Register::BP, Register::None),
            (Register::BX, Register::None),
            (Register::None, Register::None),
        ];
        let (base, index) = self.random.pick(&SHAPES);
        let offset = self.offset_of(target, bytes, segment_or(segment, usual_segment(base)))?;
        if offset > 0xffff {
            return Err(Unfit);
        }
        self.instruction.set_memory_base(base);
        self.instruction.set_memory_index(index);
        let known = self.value(index);
        let free = base != Register::None && !self.is_fixed(base);
        let displacement = match self.random.below(3) {
            _ if !free => offset.wrapping_sub(known).wrapping_sub(self.value(base)),
            0 => 0,
            1 => self.random.bits() as i8 as u64,
            _ => self.random.integer(),
        } & 0xffff;
        let short = (-128..=127).contains(&(displacement as i16));
        let size = match displacement {
            0 if base != Register::None && base != Register::BP => 0,
            _ if short && base != Register::None => 1,
            _ => 2,
        };
        self.instruction.set_memory_displ_size(size);
        self.instruction.set_memory_displacement64(displacement);
        if free {
            self.fix(base, offset.wrapping_sub(known).wrapping_sub(displacement) & 0xffff)?;
        }
        self.hold(index);
        self.hold(base);
        Ok(())
    }

    fn address_register(&mut self, bits: u32) -> Register {
        let first = if bits == 64 { Register::RAX } else { Register::EAX };
        first + self.random.below(self.general_registers()) as u32
    }
}

fn segment_or(segment: Register, usual: Register) -> Register {
    if segment == Register::None { usual } else { segment }
}

/// Segment of an operand with this base.
fn usual_segment(base: Register) -> Register {
    match base.full_register() {
        Register::RSP | Register::RBP => Register::SS,
        _ => Register::DS,
    }
}

fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}
