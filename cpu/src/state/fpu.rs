//! x87 and SSE registers.

use serde::{Deserialize, Serialize};

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
