//! Exceptions an instruction raises, and the other reasons for which it stops.

/// Why an operation did not go through to the next one. In every case nothing of the instruction was committed, except what
/// [`Stop::Again`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It raises the exception in [`crate::exec::Exec::fault`].
    Fault,
    /// It touches something that has to happen at an exact instant (a device, a page with translated code): it must run again,
    /// in a block of its own.
    Alone,
    /// A repeated string instruction has done a part and continues at itself. What was done is counted.
    Again,
    /// The processor has no such operation; [`crate::exec::Exec::missing`] names it.
    Unimplemented,
}

/// How almost everything here ends.
pub type Done = Result<(), Stop>;

/// An exception (SDM 3A, table 6-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// 0 to 31.
    pub vector: u8,
    /// Pushed after the return address by the vectors that have one.
    pub error: Option<u32>,
    /// What a page fault puts into CR2 (a linear address), or a debug exception adds to DR6 (bits).
    pub address: u64,
}

/// Vectors by their mnemonics.
pub mod vector {
    /// Divide error.
    pub const DE: u8 = 0;
    /// Debug.
    pub const DB: u8 = 1;
    /// Non-maskable interrupt.
    pub const NMI: u8 = 2;
    /// Breakpoint.
    pub const BP: u8 = 3;
    /// Overflow.
    pub const OF: u8 = 4;
    /// BOUND range exceeded.
    pub const BR: u8 = 5;
    /// Invalid opcode.
    pub const UD: u8 = 6;
    /// Device not available.
    pub const NM: u8 = 7;
    /// Double fault.
    pub const DF: u8 = 8;
    /// Invalid TSS.
    pub const TS: u8 = 10;
    /// Segment not present.
    pub const NP: u8 = 11;
    /// Stack fault.
    pub const SS: u8 = 12;
    /// General protection.
    pub const GP: u8 = 13;
    /// Page fault.
    pub const PF: u8 = 14;
    /// x87 floating-point error.
    pub const MF: u8 = 16;
    /// Alignment check.
    pub const AC: u8 = 17;
    /// SIMD floating-point exception.
    pub const XM: u8 = 19;
}

impl Fault {
    /// One without an error code.
    pub const fn plain(vector: u8) -> Self {
        Self { vector, error: None, address: 0 }
    }

    /// One with an error code.
    pub const fn coded(vector: u8, error: u32) -> Self {
        Self { vector, error: Some(error), address: 0 }
    }

    /// One that names a selector in its error code: index and TI; EXT is set on delivery (SDM 3A 6.13).
    pub const fn selector(vector: u8, selector: u16) -> Self {
        Self::coded(vector, selector as u32 & 0xfffc)
    }

    /// #DB as a fault, with these bits for DR6.
    pub const fn debug(dr6: u64) -> Self {
        Self { vector: vector::DB, error: None, address: dr6 }
    }

    /// #UD.
    pub const UD: Self = Self::plain(vector::UD);
    /// #GP(0).
    pub const GP0: Self = Self::coded(vector::GP, 0);
    /// #SS(0).
    pub const SS0: Self = Self::coded(vector::SS, 0);
    /// #NM.
    pub const NM: Self = Self::plain(vector::NM);
}
