//! Control registers: what may be written to them, and what changes with them (SDM 3A 2.5, 4.1, 10.8).

use crate::cpuid::XCR0_MASK;
use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::memory::PHYSICAL_BITS;
use crate::state::{Cr0, Cr4, Efer, SegmentName};

/// CR3, bit 63, with PCIDs: translations of the new PCID may be kept.
const KEEP_TRANSLATIONS: u64 = 1 << 63;
/// CR3: process-context identifier.
const PCID: u64 = 0xfff;
/// A change of one of these may change any translation (SDM 3A 4.10.4.1).
const CR0_TRANSLATION: Cr0 = Cr0::PE.union(Cr0::PG).union(Cr0::WP);
const CR4_TRANSLATION: Cr4 =
    Cr4::PSE.union(Cr4::PAE).union(Cr4::PGE).union(Cr4::PCIDE).union(Cr4::SMEP).union(Cr4::SMAP);
/// The four entries that PAE paging starts with are checked when one of these changes (SDM 3A 4.4.1).
const CR4_PAE_ENTRIES: Cr4 = Cr4::PAE.union(Cr4::PGE).union(Cr4::PSE).union(Cr4::SMEP);
/// Of such an entry: present.
const PRESENT: u64 = 1;
/// Of such an entry: reserved bits.
const PAE_ENTRY_RESERVED: u64 = 0x1e6 | !((1 << PHYSICAL_BITS) - 1);

impl Exec<'_> {
    /// MOV to CR0, LMSW, CLTS: turns protected mode, paging and with it long mode on and off.
    ///
    /// # Errors
    /// #GP: contradictory bits.
    pub(crate) fn write_cr0(&mut self, value: u64) -> Done {
        let new = Cr0::from_bits_truncate(value) | Cr0::ET;
        let old = self.state.cr0;
        let contradictory = value > u64::from(u32::MAX)
            || new.contains(Cr0::PG) && !new.contains(Cr0::PE)
            || new.contains(Cr0::NW) && !new.contains(Cr0::CD);
        if contradictory {
            return Err(self.raise(Fault::GP0));
        }
        let changed = old.symmetric_difference(new);
        let mut efer = self.state.msrs.efer;
        if changed.contains(Cr0::PG) {
            let cs = self.state.segment(SegmentName::Cs).attributes;
            let allowed = if !new.contains(Cr0::PG) {
                // Not from 64-bit code, and not while PCIDs are in use.
                !self.mode.is_64() && !self.state.cr4.contains(Cr4::PCIDE)
            } else if efer.contains(Efer::LME) {
                // A TSS of 16 bits has no place in long mode.
                let old_tss = matches!(self.state.tr.attributes.kind(), 1 | 3);
                self.state.cr4.contains(Cr4::PAE) && !cs.long() && !old_tss
            } else {
                !self.state.cr4.contains(Cr4::PAE) || self.are_pae_entries_valid(self.state.cr3)
            };
            if !allowed {
                return Err(self.raise(Fault::GP0));
            }
            efer.set(Efer::LMA, new.contains(Cr0::PG) && efer.contains(Efer::LME));
        }
        self.state.cr0 = new;
        self.state.msrs.efer = efer;
        if changed.intersects(CR0_TRANSLATION) {
            self.tlb.flush(false);
            self.rights_changed();
        }
        Ok(())
    }

    /// MOV to CR3.
    ///
    /// # Errors
    /// #GP: reserved bits, or entries of PAE paging with reserved bits.
    pub(crate) fn write_cr3(&mut self, value: u64) -> Done {
        let pcids = self.state.cr4.contains(Cr4::PCIDE);
        let value = if pcids { value & !KEEP_TRANSLATIONS } else { value };
        let is_pae = self.uses_pae_entries(self.state.cr0, self.state.cr4);
        if self.state.is_long() && value >> PHYSICAL_BITS != 0 || is_pae && !self.are_pae_entries_valid(value)
        {
            return Err(self.raise(Fault::GP0));
        }
        self.state.cr3 = value;
        // The TLB does not tell PCIDs apart: it may forget more than it must.
        self.tlb.flush(true);
        Ok(())
    }

    /// MOV to CR4.
    ///
    /// # Errors
    /// #GP: features that are not there, or changes that the mode does not allow.
    pub(crate) fn write_cr4(&mut self, value: u64) -> Done {
        let old = self.state.cr4;
        let Some(new) = Cr4::from_bits(value).filter(|new| Cr4::ADVERTISED.contains(*new)) else {
            return Err(self.raise(Fault::GP0));
        };
        let changed = old.symmetric_difference(new);
        let long = self.state.is_long();
        let starts_pcids = changed.contains(Cr4::PCIDE) && new.contains(Cr4::PCIDE);
        let refused = long && !new.contains(Cr4::PAE)
            || starts_pcids && (!long || self.state.cr3 & PCID != 0)
            || changed.intersects(CR4_PAE_ENTRIES)
                && self.uses_pae_entries(self.state.cr0, new)
                && !self.are_pae_entries_valid(self.state.cr3);
        if refused {
            return Err(self.raise(Fault::GP0));
        }
        self.state.cr4 = new;
        if changed.intersects(CR4_TRANSLATION) {
            self.tlb.flush(false);
        }
        self.rights_changed();
        Ok(())
    }

    /// XSETBV of XCR0: x87 state is always enabled.
    ///
    /// # Errors
    /// #GP: state that is not there.
    pub(crate) fn write_xcr0(&mut self, value: u64) -> Done {
        if value & 1 == 0 || value & !XCR0_MASK != 0 {
            return Err(self.raise(Fault::GP0));
        }
        self.state.xcr0 = value;
        Ok(())
    }

    fn uses_pae_entries(&self, cr0: Cr0, cr4: Cr4) -> bool {
        cr0.contains(Cr0::PG) && cr4.contains(Cr4::PAE) && !self.state.is_long()
    }

    /// Whether the four entries at the root of PAE paging, if present, have no reserved bit.
    fn are_pae_entries_valid(&self, cr3: u64) -> bool {
        (0..4).map(|entry| self.physical_read((cr3 & 0xffff_ffe0) + 8 * entry, 8)).all(|entry| {
            // Where there is no memory all bits read as ones.
            entry & PRESENT == 0 || entry & PAE_ENTRY_RESERVED == 0
        })
    }
}

#[cfg(test)]
mod tests;
