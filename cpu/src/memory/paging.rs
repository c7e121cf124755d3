//! Page tables: 32-bit, PAE and 4-level (SDM 3A chapter 4).

use crate::exec::Exec;
use crate::fault::{Fault, vector};
use crate::state::{Cr0, Cr4, Efer};

/// What an access wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Load.
    Read,
    /// Store, or a read that a store follows.
    Write,
    /// Instruction fetch.
    Fetch,
}

/// Where a linear page lies, and what else may be done with it.
#[derive(Debug, Clone, Copy)]
pub struct Translation {
    /// Physical address.
    pub physical: u64,
    /// A store needs no other walk: allowed, and the dirty bit is set.
    pub writable: bool,
    /// Survives a change of CR3.
    pub global: bool,
    /// log2 of the size of the page.
    pub shift: u8,
}

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;

/// Physical address bits of this processor (CPUID 0x80000008).
pub const PHYSICAL_BITS: u32 = 39;
/// The address in an entry of 8 bytes.
const ADDRESS: u64 = ((1 << PHYSICAL_BITS) - 1) & !0xfff;
/// Address bits beyond what the processor has; bits 52 to 62 are ignored.
const RESERVED: u64 = ((1 << 52) - 1) & !((1 << PHYSICAL_BITS) - 1);

/// Error code of a page fault (SDM 3A 4.7).
mod code {
    pub const PRESENT: u32 = 1;
    pub const WRITE: u32 = 1 << 1;
    pub const USER: u32 = 1 << 2;
    pub const RESERVED: u32 = 1 << 3;
    pub const FETCH: u32 = 1 << 4;
}

/// One level of a walk.
struct Level {
    /// Lowest bit of the linear address that an entry of this level leaves alone.
    shift: u32,
    /// An entry may map memory itself.
    may_map: bool,
}

impl Exec<'_> {
    /// Walks the page tables, checks permissions and sets accessed and dirty bits. `user` is whether the access counts as made
    /// at privilege level 3; `ac` lifts SMAP.
    ///
    /// # Errors
    /// The page fault.
    pub(crate) fn walk(
        &mut self,
        linear: u64,
        access: Access,
        user: bool,
        ac: bool,
    ) -> Result<Translation, Fault> {
        if !self.state.cr0.contains(Cr0::PG) {
            return Ok(Translation {
                physical: linear & 0xffff_ffff,
                writable: true,
                global: false,
                shift: 12,
            });
        }
        let nx = self.state.msrs.efer.contains(Efer::NXE);
        if self.state.is_long() {
            const LEVELS: [Level; 4] = [
                Level { shift: 39, may_map: false },
                Level { shift: 30, may_map: true },
                Level { shift: 21, may_map: true },
                Level { shift: 12, may_map: true },
            ];
            let root = self.state.cr3 & ADDRESS;
            let reserved = if nx { RESERVED } else { RESERVED | NO_EXECUTE };
            self.walk_levels(linear, access, user, ac, root, &LEVELS, 8, reserved)
        } else if self.state.cr4.contains(Cr4::PAE) {
            const LEVELS: [Level; 2] =
                [Level { shift: 21, may_map: true }, Level { shift: 12, may_map: true }];
            let linear = linear & 0xffff_ffff;
            // The four top entries have no permissions; hardware loads them with CR3 (SDM 3A 4.4.1).
            let pointer = (self.state.cr3 & 0xffff_ffe0) + (linear >> 30) * 8;
            let top = self.physical_read(pointer, 8);
            let beyond = ((1 << 63) - 1) & !((1 << 52) - 1);
            let reserved = RESERVED | beyond | if nx { 0 } else { NO_EXECUTE };
            if top & PRESENT == 0 {
                return Err(self.page_fault(linear, access, user, 0));
            }
            self.walk_levels(linear, access, user, ac, top & ADDRESS, &LEVELS, 8, reserved)
        } else {
            const SMALL: [Level; 2] =
                [Level { shift: 22, may_map: false }, Level { shift: 12, may_map: true }];
            const PSE: [Level; 2] = [Level { shift: 22, may_map: true }, Level { shift: 12, may_map: true }];
            let levels = if self.state.cr4.contains(Cr4::PSE) { &PSE } else { &SMALL };
            self.walk_levels(
                linear & 0xffff_ffff,
                access,
                user,
                ac,
                self.state.cr3 & 0xffff_f000,
                levels,
                4,
                0,
            )
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one walk for all formats")]
    fn walk_levels(
        &mut self,
        linear: u64,
        access: Access,
        user: bool,
        ac: bool,
        root: u64,
        levels: &[Level],
        entry_bytes: u8,
        reserved: u64,
    ) -> Result<Translation, Fault> {
        let index_bits = if entry_bytes == 8 { 9 } else { 10 };
        let mut table = root;
        // Permissions of all levels together: any level can take write and user away, or forbid execution.
        let mut allowed = WRITE | USER;
        let mut no_execute = false;
        for level in levels {
            let index = (linear >> level.shift) & ((1 << index_bits) - 1);
            let pointer = table + index * u64::from(entry_bytes);
            let entry = self.physical_read(pointer, entry_bytes);
            if entry & PRESENT == 0 {
                return Err(self.page_fault(linear, access, user, 0));
            }
            allowed &= entry;
            no_execute |= entry & NO_EXECUTE != 0;
            let maps = level.shift == 12 || level.may_map && entry & LARGE != 0;
            let large = maps && level.shift != 12;
            // PS is reserved where nothing can be mapped; a large page's address is aligned (bit 12 is PAT).
            let low = if large { ((1 << level.shift) - 1) & !0x1fff } else { 0 };
            let wrong = if entry_bytes == 8 {
                let ps = if !level.may_map { LARGE } else { 0 };
                entry & (reserved | low | ps) != 0
            } else {
                // PSE-36: bits 13 to 20 are address bits 32 to 39 (SDM 3A 4.3); bit 21 is reserved.
                large && entry & 1 << 21 != 0
            };
            if wrong {
                return Err(self.page_fault(linear, access, user, code::PRESENT | code::RESERVED));
            }
            if !maps {
                if entry & ACCESSED == 0 {
                    self.physical_write(pointer, entry | ACCESSED, entry_bytes);
                }
                table = if entry_bytes == 8 { entry & ADDRESS } else { entry & 0xffff_f000 };
                continue;
            }
            let is_user_page = allowed & USER != 0;
            let write_allowed = allowed & WRITE != 0 || !user && !self.state.cr0.contains(Cr0::WP);
            let cr4 = self.state.cr4;
            let smap = !user && is_user_page && cr4.contains(Cr4::SMAP) && !ac;
            let smep = !user && is_user_page && cr4.contains(Cr4::SMEP);
            let executable = !no_execute && !smep && (!user || is_user_page);
            let permitted = match access {
                Access::Read => (!user || is_user_page) && !smap,
                Access::Write => (!user || is_user_page) && !smap && write_allowed,
                Access::Fetch => executable,
            };
            if !permitted {
                return Err(self.page_fault(linear, access, user, code::PRESENT));
            }
            let mut set = entry | ACCESSED;
            if access == Access::Write {
                set |= DIRTY;
            }
            if set != entry {
                self.physical_write(pointer, set, entry_bytes);
            }
            let within = (1u64 << level.shift) - 1;
            let frame = if entry_bytes == 8 {
                entry & ADDRESS & !within
            } else if large {
                entry & 0xffc0_0000 | (entry >> 13 & 0x7f) << 32
            } else {
                entry & 0xffff_f000
            };
            return Ok(Translation {
                physical: frame | linear & within,
                writable: write_allowed && set & DIRTY != 0,
                global: entry & GLOBAL != 0 && cr4.contains(Cr4::PGE),
                shift: level.shift as u8,
            });
        }
        // Every list of levels ends with one that maps.
        Err(self.page_fault(linear, access, user, code::PRESENT | code::RESERVED))
    }

    fn page_fault(&self, linear: u64, access: Access, user: bool, mut error: u32) -> Fault {
        if access == Access::Write {
            error |= code::WRITE;
        }
        if user {
            error |= code::USER;
        }
        let nx = self.state.msrs.efer.contains(Efer::NXE)
            && (self.state.is_long() || self.state.cr4.contains(Cr4::PAE));
        if access == Access::Fetch && (nx || self.state.cr4.contains(Cr4::SMEP)) {
            error |= code::FETCH;
        }
        Fault { vector: vector::PF, error: Some(error), address: linear }
    }
}
