//! Descriptors as they lie in memory (SDM 3A 3.4.5, 5.8.3, 6.11, 7.2).

use crate::state::{Attributes, Segment};

/// A segment's descriptor, or the lower half of one of 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor(pub u64);

impl Descriptor {
    /// The base's lower 32 bits.
    pub fn base(self) -> u64 {
        self.0 >> 16 & 0xff_ffff | self.0 >> 56 << 24
    }

    /// Last valid offset in bytes.
    pub fn limit(self) -> u32 {
        let limit = (self.0 & 0xffff | self.0 >> 32 & 0xf_0000) as u32;
        if self.attributes().granular() { limit << 12 | 0xfff } else { limit }
    }

    /// The rest.
    pub fn attributes(self) -> Attributes {
        Attributes((self.0 >> 40) as u32 & 0xf0ff)
    }

    /// A segment register loaded with it.
    pub fn segment(self, selector: u16) -> Segment {
        Segment { selector, base: self.base(), limit: self.limit(), attributes: self.attributes() }
    }
}

/// A call, interrupt, trap or task gate. Gates of long mode have a second half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gate {
    low: u64,
    high: u64,
}

impl Gate {
    /// Available 16-bit call gate.
    pub const CALL_16: u8 = 0x4;
    /// Task gate.
    pub const TASK: u8 = 0x5;
    /// 16-bit interrupt gate.
    pub const INTERRUPT_16: u8 = 0x6;
    /// 16-bit trap gate.
    pub const TRAP_16: u8 = 0x7;
    /// 32-bit or 64-bit call gate.
    pub const CALL: u8 = 0xc;
    /// 32-bit or 64-bit interrupt gate.
    pub const INTERRUPT: u8 = 0xe;
    /// 32-bit or 64-bit trap gate.
    pub const TRAP: u8 = 0xf;

    /// From its halves; the second is 0 outside long mode.
    pub fn new(low: u64, high: u64) -> Self {
        Self { low, high }
    }

    /// Type with S: below 16 for a gate.
    pub fn kind(self) -> u8 {
        (self.low >> 40 & 0x1f) as u8
    }

    /// Code segment, or the TSS of a task gate.
    pub fn selector(self) -> u16 {
        (self.low >> 16) as u16
    }

    /// Where in it. 16-bit gates have 16 bits.
    pub fn offset(self) -> u64 {
        let low = self.low & 0xffff;
        match self.kind() {
            Self::CALL_16 | Self::INTERRUPT_16 | Self::TRAP_16 => low,
            _ => low | self.low >> 48 << 16 | self.high << 32,
        }
    }

    /// Whether it clears IF.
    pub fn masks_interrupts(self) -> bool {
        matches!(self.kind(), Self::INTERRUPT | Self::INTERRUPT_16)
    }

    /// Size of what is pushed outside long mode.
    pub fn bytes(self) -> u8 {
        if self.kind() < Self::CALL { 2 } else { 4 }
    }

    /// The least privileged level that may go through by an instruction.
    pub fn dpl(self) -> u8 {
        (self.low >> 45 & 3) as u8
    }

    /// Present.
    pub fn present(self) -> bool {
        self.low & 1 << 47 != 0
    }

    /// Number of the stack in the interrupt stack table, 0 for none.
    pub fn stack(self) -> u8 {
        (self.low >> 32 & 7) as u8
    }

    /// Parameters that a call copies from stack to stack.
    pub fn parameters(self) -> usize {
        (self.low >> 32 & 31) as usize
    }

    /// Whether the second half's type field is zero, as it must be in the GDT and LDT (SDM 3A 5.8.3.1).
    pub fn has_clean_upper_half(self) -> bool {
        self.high >> 40 & 0x1f == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_segment() {
        let flat = Descriptor(0x00cf_9b00_0000_ffff);
        assert_eq!((flat.base(), flat.limit(), flat.attributes()), (0, u32::MAX, Attributes(0xc09b)));
        let small = Descriptor(0x1240_9334_5678_9abc);
        assert_eq!((small.base(), small.limit()), (0x1234_5678, 0x9abc));
        assert_eq!(small.segment(0x2b).selector, 0x2b);
    }

    #[test]
    fn fields_of_a_gate() {
        let gate = Gate::new(0x5678_ee03_0010_1234, 0xffff_ffff);
        assert_eq!((gate.kind(), gate.dpl(), gate.present(), gate.stack()), (Gate::INTERRUPT, 3, true, 3));
        assert_eq!((gate.selector(), gate.offset()), (0x10, 0xffff_ffff_5678_1234));
        let small = Gate::new(0x5678_8705_0010_1234, 0);
        assert_eq!((small.offset(), small.parameters(), small.bytes()), (0x1234, 5, 2));
        assert!(!small.masks_interrupts());
    }
}
