//! The registers of a processor that firmware has a say in, as plain values.

use serde::{Deserialize, Serialize};

/// A segment register with its hidden part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Linear address of its first byte.
    pub base: u64,
    /// Offset of its last byte, whatever the granularity.
    pub limit: u32,
    /// Byte 5 of a descriptor: present, privilege level, system or not, type (SDM 3A 3.4.5).
    pub access: u8,
    /// 64-bit code (L).
    pub long: bool,
    /// 32-bit code or stack (D/B).
    pub big: bool,
    /// Limit in pages (G); as `limit` is in bytes, of interest to descriptors only.
    pub granular: bool,
}

impl Segment {
    /// A segment as real mode has it: 64 KiB from 16 times the selector. Code and data alike are readable, writable and accessed; code
    /// is told by [`Registers::cs`].
    pub const fn real(selector: u16, access: u8) -> Self {
        Self {
            selector,
            base: (selector as u64) << 4,
            limit: 0xffff,
            access,
            long: false,
            big: false,
            granular: false,
        }
    }

    /// A segment of all 4 GiB.
    pub const fn flat(selector: u16, access: u8, long: bool) -> Self {
        Self { selector, base: 0, limit: u32::MAX, access, long, big: !long, granular: true }
    }

    /// The descriptor that loads this segment (SDM 3A figure 3-8). Bases beyond 32 bits and limits that are no whole pages lose what
    /// does not fit.
    pub const fn descriptor(&self) -> u64 {
        let limit = if self.granular { self.limit >> 12 } else { self.limit } as u64;
        let flags = (self.granular as u64) << 3 | (self.big as u64) << 2 | (self.long as u64) << 1;
        (limit & 0xffff)
            | (self.base & 0x00ff_ffff) << 16
            | (self.access as u64) << 40
            | (limit >> 16 & 0xf) << 48
            | flags << 52
            | (self.base >> 24 & 0xff) << 56
    }
}

/// Values of [`Segment::access`].
pub mod access {
    /// Data, writable, accessed.
    pub const DATA: u8 = 0x93;
    /// Code, readable, accessed.
    pub const CODE: u8 = 0x9b;
    /// A local descriptor table.
    pub const LDT: u8 = 0x82;
    /// A task state segment of 16 bits, busy.
    pub const TSS_16: u8 = 0x83;
    /// A task state segment of 32 or 64 bits, busy.
    pub const TSS: u8 = 0x8b;
}

/// GDTR or IDTR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorTable {
    /// Linear address.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u16,
}

/// The mode that a processor is in, as its control registers have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Real-address mode.
    Real,
    /// Protected mode, code of 32 bits, no paging.
    Protected32,
    /// 64-bit mode.
    Long64,
}

/// General registers in the order in which instructions number them.
pub mod gpr {
    /// RAX.
    pub const RAX: usize = 0;
    /// RDX.
    pub const RDX: usize = 2;
    /// RBX.
    pub const RBX: usize = 3;
    /// RSP.
    pub const RSP: usize = 4;
    /// RSI.
    pub const RSI: usize = 6;
}

/// What is loaded into a processor before its first instruction. Model-specific registers other than EFER and those of
/// [`crate::mtrr`], and the floating-point unit, are as after power-on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gprs: [u64; 16],
    /// Offset of the first instruction in the code segment.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// Code segment.
    pub cs: Segment,
    /// Data segment.
    pub ds: Segment,
    /// Extra segment.
    pub es: Segment,
    /// FS.
    pub fs: Segment,
    /// GS.
    pub gs: Segment,
    /// Stack segment.
    pub ss: Segment,
    /// Local descriptor table.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table.
    pub gdtr: DescriptorTable,
    /// Interrupt descriptor table.
    pub idtr: DescriptorTable,
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
}

/// CR0: protected mode.
pub const CR0_PE: u64 = 1 << 0;
/// CR0: extension type, always set.
pub const CR0_ET: u64 = 1 << 4;
/// CR0: not write-through.
pub const CR0_NW: u64 = 1 << 29;
/// CR0: cache disabled.
pub const CR0_CD: u64 = 1 << 30;
/// CR0: paging.
pub const CR0_PG: u64 = 1 << 31;
/// CR4: page tables with entries of 64 bits.
pub const CR4_PAE: u64 = 1 << 5;
/// EFER: long mode enabled.
pub const EFER_LME: u64 = 1 << 8;
/// EFER: long mode active.
pub const EFER_LMA: u64 = 1 << 10;
/// RFLAGS: the bit that always reads 1.
pub const RFLAGS_FIXED: u64 = 1 << 1;

impl Registers {
    /// The mode of the first instruction.
    pub const fn mode(&self) -> Mode {
        if self.cr0 & CR0_PE == 0 {
            Mode::Real
        } else if self.efer & EFER_LMA != 0 && self.cs.long {
            Mode::Long64
        } else {
            Mode::Protected32
        }
    }
}
