//! What decides how the same bytes decode.

/// Default operand and address size of the code segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CodeWidth {
    /// Real mode, or a 16-bit segment.
    Bits16,
    /// A 32-bit segment.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// Part of the key of a translated block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode(u8);

impl Mode {
    const BIG_STACK: u8 = 1 << 2;
    const USER: u8 = 1 << 3;
    const ALONE: u8 = 1 << 4;

    /// From its parts: width of code; 32-bit stack segment; privilege level 3.
    pub fn new(width: CodeWidth, big_stack: bool, user: bool) -> Self {
        let bit = |set, bit| if set { bit } else { 0 };
        Self(width as u8 | bit(big_stack, Self::BIG_STACK) | bit(user, Self::USER))
    }

    /// Width of code.
    pub fn width(self) -> CodeWidth {
        match self.0 & 3 {
            0 => CodeWidth::Bits16,
            1 => CodeWidth::Bits32,
            _ => CodeWidth::Bits64,
        }
    }

    /// 16, 32 or 64.
    pub fn bits(self) -> u32 {
        16 << (self.0 & 3)
    }

    /// Whether this is 64-bit mode.
    pub fn is_64(self) -> bool {
        self.0 & CodeWidth::Bits64 as u8 != 0
    }

    /// Bits of the stack pointer that count: 16, 32 or 64.
    pub fn stack_bits(self) -> u32 {
        if self.is_64() {
            64
        } else if self.0 & Self::BIG_STACK != 0 {
            32
        } else {
            16
        }
    }

    /// Privilege level 3.
    pub fn is_user(self) -> bool {
        self.0 & Self::USER != 0
    }

    /// For a block of one instruction that may touch devices and code.
    #[must_use]
    pub fn alone(self) -> Self {
        Self(self.0 | Self::ALONE)
    }

    /// Whether the block has one instruction.
    pub fn is_alone(self) -> bool {
        self.0 & Self::ALONE != 0
    }

    /// All bits of an instruction pointer in this mode. 16-bit code has 32: it runs into its limit, not around.
    pub fn ip_mask(self) -> u64 {
        if self.is_64() { u64::MAX } else { 0xffff_ffff }
    }
}
