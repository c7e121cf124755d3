//! Segments: those of Linux's GDT, and a local table with all that user space can ask for: code of 16 bits, bases, limits, every type.

use crate::arena::{CODE, DATA, FS_BASE, GS_BASE};
use crate::case::Form;
use iced_x86::Register;

/// As Linux has them: nothing, 32-bit kernel code, kernel code, kernel data, 32-bit user code, user data, user code. What follows is the
/// host's business.
pub const GLOBAL: [u64; 7] = [
    0,
    0x00cf_9b00_0000_ffff,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
];

/// A segment as modify_ldt(2) makes it: privilege level 3, accessed.
pub struct Local {
    pub base: u64,
    /// In bytes, or in pages.
    pub limit: u32,
    pub in_pages: bool,
    /// 32 bits.
    pub big: bool,
    pub kind: Kind,
    pub present: bool,
    pub writable: bool,
}

/// `contents` of modify_ldt.
#[derive(Clone, Copy)]
pub enum Kind {
    Data = 0,
    ExpandDown = 1,
    Code = 2,
    ConformingCode = 3,
}

const PLAIN: Local = Local {
    base: 0,
    limit: 0xffff,
    in_pages: false,
    big: false,
    kind: Kind::Data,
    present: true,
    writable: true,
};

/// The table. A selector is 8 times the place in it, plus 7.
pub const LOCAL: [Local; 9] = [
    // Code of 16 bits.
    Local { base: CODE.start, kind: Kind::Code, ..PLAIN },
    // Data within reach of 16 bits.
    Local { base: GS_BASE, ..PLAIN },
    // Data that ends in the middle of a page.
    Local { base: DATA.start, limit: 0x17ff, big: true, ..PLAIN },
    // Data that begins there.
    Local { base: DATA.start - 0x1000, limit: 0x17ff, big: true, kind: Kind::ExpandDown, ..PLAIN },
    Local { base: DATA.start, limit: 0x1fff, writable: false, ..PLAIN },
    Local { present: false, ..PLAIN },
    // Code that may not be read.
    Local { limit: 0xf_ffff, in_pages: true, big: true, kind: Kind::Code, writable: false, ..PLAIN },
    Local { kind: Kind::ConformingCode, present: false, ..PLAIN },
    Local { base: DATA.start - 0x1000, limit: 0x17ff, kind: Kind::ExpandDown, ..PLAIN },
];

/// Code of 16 bits.
pub const CODE_16: u16 = 0x07;
/// Data for it.
pub const DATA_16: u16 = 0x0f;
/// Data segments that are not flat.
pub const BOUNDED: [u16; 5] = [DATA_16, 0x17, 0x1f, 0x27, 0x47];
pub const CODE_32: u16 = 0x23;
/// Flat data.
pub const DATA_FLAT: u16 = 0x2b;
pub const CODE_64: u16 = 0x33;

/// Whether a selector means the local table.
pub fn is_local(selector: u16) -> bool {
    selector & 4 != 0
}

impl Local {
    /// As it lies in the table (SDM 3A 3.4.5).
    pub fn descriptor(&self) -> u64 {
        let bit = |set: bool, bit: u32| u64::from(set) << bit;
        let limit = u64::from(self.limit);
        let attributes = bit(true, 40)
            | bit(self.writable, 41)
            | (self.kind as u64) << 42
            | 0x7 << 44
            | bit(self.present, 47)
            | bit(self.big, 54)
            | bit(self.in_pages, 55);
        limit & 0xffff
            | (limit >> 16) << 48
            | (self.base & 0xff_ffff) << 16
            | (self.base >> 24) << 56
            | attributes
    }
}

/// The descriptor of a selector with which a case may begin.
pub fn descriptor(selector: u16) -> u64 {
    let index = usize::from(selector >> 3);
    if is_local(selector) { LOCAL[index].descriptor() } else { GLOBAL[index] }
}

/// Linear address of offset 0 in the code of a form.
pub fn code_base(form: Form) -> u64 {
    if form.bits == 16 { CODE.start } else { 0 }
}

/// Linear address of offset 0 in a segment register that holds this, of ES, CS, SS, DS, FS, GS.
pub fn base(form: Form, selectors: &[u16; 6], register: Register) -> u64 {
    match register {
        Register::FS => FS_BASE,
        Register::GS => GS_BASE,
        Register::ES | Register::CS | Register::SS | Register::DS if form.bits != 64 => {
            let selector = selectors[register.number()];
            if is_local(selector) { LOCAL[usize::from(selector >> 3)].base } else { 0 }
        }
        _ => 0,
    }
}
