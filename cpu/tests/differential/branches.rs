//! Where branches lead: mostly to an INT3, now and then to where no code can be.

use iced_x86::{OpCodeOperandKind as Kind, OpKind};

use crate::arena::{CODE, DATA, INSTRUCTIONS, PAGE};
use crate::draft::Draft;
use crate::segments::{CODE_16, CODE_32, CODE_64, DATA_FLAT, code_base};

/// Selectors with every kind of descriptor behind them, and with none. Those of thread-local storage and of the processor's number
/// are left out: their content is the host's business.
const SELECTORS: [u16; 32] = [
    0, 1, 3, 0x08, 0x0b, 0x10, 0x13, 0x18, 0x1b, 0x20, 0x23, 0x28, 0x2b, 0x30, 0x33, 0x3b, 0x40, 0x43, 0x4b,
    0x80, 0xfff8, 0x07, 0x0f, 0x0c, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47, 0x4f,
];

impl Draft {
    /// Often the only one of Linux that SS takes.
    pub fn selector(&mut self) -> u16 {
        if self.random.once_in(3) { DATA_FLAT } else { self.random.pick(&SELECTORS) }
    }

    /// One that is likely to be good for code.
    pub fn code_selector(&mut self) -> u16 {
        if self.random.once_in(4) { self.selector() } else { self.random.pick(&[CODE_16, CODE_32, CODE_64]) }
    }

    /// Offset to which an indirect branch leads.
    pub fn destination(&mut self) -> u64 {
        let random = &mut self.random;
        let target = match random.below(16) {
            0 => DATA.start + random.below(PAGE),
            1 => CODE.end + random.below(PAGE),
            2 if self.form.bits == 64 => random.bits() | 1 << 62,
            3 => CODE.start - 1,
            _ => CODE.start + random.below(INSTRUCTIONS - CODE.start),
        };
        target.wrapping_sub(code_base(self.form))
    }

    pub(super) fn near_branch(&mut self, operand: u32, short: bool) {
        let kind = match self.form.code.op_code().op_kind(operand) {
            Kind::br16_1 | Kind::br16_2 => OpKind::NearBranch16,
            Kind::br32_1 | Kind::br32_4 => OpKind::NearBranch32,
            _ => OpKind::NearBranch64,
        };
        self.instruction.set_op_kind(operand, kind);
        let base = code_base(self.form);
        let around = self.instruction.ip().wrapping_add(self.random.below(250)).wrapping_sub(120);
        let target = match kind {
            _ if short => around,
            OpKind::NearBranch16 if self.form.bits != 16 => self.random.bits() & 0xffff,
            _ => match self.random.below(4) {
                0 => around,
                1 => CODE.end + self.random.below(PAGE) - base,
                _ => CODE.start + self.random.below(2 * PAGE) - base,
            },
        };
        match kind {
            OpKind::NearBranch16 => self.instruction.set_near_branch16(target as u16),
            OpKind::NearBranch32 => self.instruction.set_near_branch32(target as u32),
            _ => self.instruction.set_near_branch64(target),
        }
    }

    pub(super) fn far_branch(&mut self, operand: u32, kind: Kind) {
        let selector = self.code_selector();
        let target = self.destination();
        if kind == Kind::farbr2_2 {
            self.instruction.set_op_kind(operand, OpKind::FarBranch16);
            self.instruction.set_far_branch16(target as u16);
        } else {
            self.instruction.set_op_kind(operand, OpKind::FarBranch32);
            self.instruction.set_far_branch32(target as u32);
        }
        self.instruction.set_far_branch_selector(selector);
    }
}
