//! x87 and SSE registers.

use serde::{Deserialize, Serialize};

use crate::fp::extended::Extended;

/// x87 and SSE state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fpu {
    /// Control word.
    pub control: u16,
    /// Status word, with TOP.
    pub status: u16,
    /// Bit n is set while physical register n holds something (abridged tag word, as FXSAVE stores it).
    pub tags: u8,
    /// Last opcode, 11 bits.
    pub opcode: u16,
    /// Last instruction's address.
    pub instruction: u64,
    /// Last operand's address.
    pub operand: u64,
    /// Selectors of both, in the 32-bit formats.
    pub selectors: [u16; 2],
    /// Physical registers R0 to R7, 80 bits each.
    pub registers: [[u8; 10]; 8],
    /// SSE control and status.
    pub mxcsr: u32,
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
}

impl Default for Fpu {
    /// After RESET (SDM 3A, table 9-1).
    fn default() -> Self {
        Self {
            control: 0x40,
            status: 0,
            tags: 0xff,
            opcode: 0,
            instruction: 0,
            operand: 0,
            selectors: [0; 2],
            registers: [[0; 10]; 8],
            mxcsr: 0x1f80,
            xmm: [0; 16],
        }
    }
}

/// Bits of the status word (SDM 1, 8.1.3).
#[allow(missing_docs, reason = "bits have the manual's names")]
pub mod status {
    pub const IE: u16 = 1 << 0;
    pub const DE: u16 = 1 << 1;
    pub const ZE: u16 = 1 << 2;
    pub const OE: u16 = 1 << 3;
    pub const UE: u16 = 1 << 4;
    pub const PE: u16 = 1 << 5;
    /// Stack fault.
    pub const SF: u16 = 1 << 6;
    /// Error summary: an exception is not masked.
    pub const ES: u16 = 1 << 7;
    pub const C0: u16 = 1 << 8;
    pub const C1: u16 = 1 << 9;
    pub const C2: u16 = 1 << 10;
    /// Top of the stack.
    pub const TOP: u16 = 7 << 11;
    pub const C3: u16 = 1 << 14;
    /// Busy: the same as ES.
    pub const B: u16 = 1 << 15;
    /// The exceptions that a mask in the control word belongs to.
    pub const EXCEPTIONS: u16 = 0x3f;
    /// The condition codes.
    pub const CONDITION: u16 = C0 | C1 | C2 | C3;
}

/// Control word after FNINIT: all exceptions masked, 64 bits of precision, round to nearest.
pub(crate) const INITIAL_CONTROL: u16 = 0x37f;

impl Fpu {
    /// The x87 part as FNINIT and XRSTOR leave it. Registers keep what they hold, but are empty.
    pub(crate) fn initialize_x87(&mut self) {
        *self = Self {
            control: INITIAL_CONTROL,
            status: 0,
            tags: 0,
            opcode: 0,
            instruction: 0,
            operand: 0,
            selectors: [0; 2],
            ..*self
        };
    }

    /// Whether the x87 part is as XRSTOR initializes it.
    pub(crate) fn is_x87_initial(&self) -> bool {
        let mut initial = Self { registers: [[0; 10]; 8], ..self.clone() };
        initial.initialize_x87();
        *self == initial
    }

    /// Writes the control word: bit 6 is always set, reserved bits are clear.
    pub(crate) fn set_control(&mut self, control: u16) {
        self.control = control & 0x1f3f | 0x40;
        self.summarize();
    }

    /// Sets the error summary if an exception is flagged and not masked, and clears it otherwise.
    pub(crate) fn summarize(&mut self) {
        let pending = self.status & !self.control & status::EXCEPTIONS != 0;
        self.status &= !(status::ES | status::B);
        if pending {
            self.status |= status::ES | status::B;
        }
    }

    /// Replaces all condition codes.
    pub(crate) fn set_conditions(&mut self, conditions: u16) {
        self.status = self.status & !status::CONDITION | conditions;
    }

    /// Number of the physical register that is ST(0).
    pub(crate) fn top(&self) -> u8 {
        (self.status >> 11 & 7) as u8
    }

    /// Makes this physical register ST(0).
    pub(crate) fn set_top(&mut self, top: u8) {
        self.status = self.status & !status::TOP | u16::from(top & 7) << 11;
    }

    /// Reads a physical register.
    pub(crate) fn register(&self, register: u8) -> Extended {
        Extended::from_bytes(self.registers[register as usize % 8])
    }

    /// Writes a physical register, without touching its tag.
    pub(crate) fn set_register(&mut self, register: u8, value: Extended) {
        self.registers[register as usize % 8] = value.to_bytes();
    }
}
