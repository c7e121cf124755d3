//! Segment registers with their hidden parts.

use serde::{Deserialize, Serialize};

/// Number of a segment register, as instructions encode it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum SegmentName {
    Es,
    Cs,
    Ss,
    Ds,
    Fs,
    Gs,
}

/// Bits 40 to 55 of a descriptor without the limit's upper bits, as VMX stores them: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13,
/// D/B 14, G 15; bit 16 is set for an unusable segment (SDM 3C 24.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attributes(pub u32);

impl Attributes {
    /// Data, writable, accessed, present: any segment in real mode.
    pub const REAL_DATA: Self = Self(0x93);
    /// Code, readable, accessed, present.
    pub const REAL_CODE: Self = Self(0x9b);
    /// A present LDT.
    pub const LDT: Self = Self(0x82);
    /// A present, busy 32/64-bit TSS.
    pub const BUSY_TSS: Self = Self(0x8b);
    /// Loaded with a null selector.
    pub const UNUSABLE: Self = Self(1 << 16);

    /// Type field.
    pub const fn kind(self) -> u8 {
        (self.0 & 15) as u8
    }
    /// Code or data (S), not a system segment.
    pub const fn is_code_or_data(self) -> bool {
        self.0 & 1 << 4 != 0
    }
    /// A code segment.
    pub const fn is_code(self) -> bool {
        self.0 & 0x18 == 0x18
    }
    /// A conforming code segment.
    pub const fn is_conforming(self) -> bool {
        self.0 & 0x1c == 0x1c
    }
    /// Readable: any data, or code with R.
    pub const fn is_readable(self) -> bool {
        self.0 & 8 == 0 || self.0 & 2 != 0
    }
    /// Writable data.
    pub const fn is_writable(self) -> bool {
        self.0 & 8 == 0 && self.0 & 2 != 0
    }
    /// Expand-down data.
    pub const fn expands_down(self) -> bool {
        self.0 & 0x1c == 0x14
    }
    /// Descriptor privilege level.
    pub const fn dpl(self) -> u8 {
        (self.0 >> 5 & 3) as u8
    }
    /// With another descriptor privilege level.
    #[must_use]
    pub const fn with_dpl(self, dpl: u8) -> Self {
        Self(self.0 & !(3 << 5) | (dpl as u32 & 3) << 5)
    }
    /// Present.
    pub const fn present(self) -> bool {
        self.0 & 1 << 7 != 0
    }
    /// 64-bit code (L).
    pub const fn long(self) -> bool {
        self.0 & 1 << 13 != 0
    }
    /// 32-bit default size (D/B).
    pub const fn big(self) -> bool {
        self.0 & 1 << 14 != 0
    }
    /// Limit in pages (G).
    pub const fn granular(self) -> bool {
        self.0 & 1 << 15 != 0
    }
    /// Nothing is there.
    pub const fn unusable(self) -> bool {
        self.0 & 1 << 16 != 0
    }
}

/// A segment register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Visible part.
    pub selector: u16,
    /// Linear address of offset 0.
    pub base: u64,
    /// Last valid offset, in bytes.
    pub limit: u32,
    /// The rest of the descriptor.
    pub attributes: Attributes,
}

impl Segment {
    /// A data segment as real mode loads it.
    pub const fn real(selector: u16) -> Self {
        Self { selector, base: (selector as u64) << 4, limit: 0xffff, attributes: Attributes::REAL_DATA }
    }

    /// A code segment as real mode loads it.
    pub const fn real_code(selector: u16) -> Self {
        Self { attributes: Attributes::REAL_CODE, ..Self::real(selector) }
    }

    /// A system segment after reset.
    pub const fn system(attributes: Attributes) -> Self {
        Self { selector: 0, base: 0, limit: 0xffff, attributes }
    }

    /// As a null selector loads it. Of SS only the privilege level counts then.
    pub const fn null(selector: u16, cpl: u8) -> Self {
        Self { selector, base: 0, limit: 0, attributes: Attributes::UNUSABLE.with_dpl(cpl) }
    }

    /// Whether this many bytes from an offset on lie within the limit (SDM 3A 5.3).
    pub fn holds(&self, offset: u64, bytes: u32) -> bool {
        let last = offset.wrapping_add(u64::from(bytes.max(1)) - 1);
        if self.attributes.expands_down() {
            let top = if self.attributes.big() { 0xffff_ffff } else { 0xffff };
            offset > u64::from(self.limit) && last <= top
        } else {
            last <= u64::from(self.limit)
        }
    }

    /// Whether every 32-bit offset is the linear address and may be read and written: no check is needed at run time. (Code may
    /// not be written; the flat model's CS is not written through, or is and then goes the checked way.)
    pub fn is_flat(&self) -> bool {
        let a = self.attributes;
        self.base == 0
            && self.limit == u32::MAX
            && !a.unusable()
            && a.is_readable()
            && !a.expands_down()
            && (a.is_writable() || a.is_code())
    }
}

/// GDTR or IDTR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TableRegister {
    /// Linear address.
    pub base: u64,
    /// Last valid offset.
    pub limit: u16,
}
