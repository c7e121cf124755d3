//! The two states in which kernels are entered, and the tables in memory that belong to them.

use std::iter;

use crate::blob::Blob;
use crate::layout;
use crate::registers::{
    CR0_ET, CR0_PE, CR0_PG, CR4_PAE, DescriptorTable, EFER_LMA, EFER_LME, Registers, Segment, access,
};
use crate::reset;

/// `__BOOT_CS` and `__BOOT_DS` of the Linux boot protocol. PVH and Multiboot leave selectors open.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;

/// Protected mode with flat segments and no paging. No table is behind the selectors: the protocols that enter so leave the GDT to the
/// kernel. What they leave open is as after power-on.
pub fn protected_mode(entry: u64) -> Registers {
    let registers = Registers { cr0: CR0_PE | CR0_ET, ..flat(entry, false) };
    Registers { tr: Segment { limit: 0x67, ..registers.tr }, ..registers }
}

/// 64-bit mode, the first 4 GiB mapped one to one by [`tables`].
pub fn long_mode(entry: u64) -> Registers {
    Registers {
        cr0: CR0_PE | CR0_ET | CR0_PG,
        cr3: layout::PAGE_TABLES,
        cr4: CR4_PAE,
        efer: EFER_LME | EFER_LMA,
        gdtr: DescriptorTable { base: layout::GDT, limit: (GDT_LEN * size_of::<u64>() - 1) as u16 },
        ..flat(entry, true)
    }
}

fn flat(entry: u64, long: bool) -> Registers {
    let data = Segment::flat(DATA_SELECTOR, access::DATA, false);
    let cs = Segment::flat(CODE_SELECTOR, access::CODE, long);
    Registers {
        gprs: [0; 16],
        rip: entry,
        cs,
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        ..reset::power_on(0)
    }
}

const GDT_LEN: usize = 4;

/// GDT and page tables for [`long_mode`].
pub fn tables() -> [Blob<'static>; 2] {
    let code = Segment::flat(CODE_SELECTOR, access::CODE, true).descriptor();
    let data = Segment::flat(DATA_SELECTOR, access::DATA, false).descriptor();
    let gdt: [u64; GDT_LEN] = [0, 0, code, data];
    [
        Blob::new("the boot GDT", layout::GDT, little_endian(gdt)),
        Blob::new("the boot page tables", layout::PAGE_TABLES, little_endian(page_tables())),
    ]
}

/// A PML4, a PDPT and four page directories of 2 MiB pages, in this order (SDM 3A 4.5).
fn page_tables() -> impl Iterator<Item = u64> {
    const PRESENT_WRITABLE: u64 = 0b11;
    const LARGE: u64 = 1 << 7;
    const LARGE_PAGE: u64 = 2 << 20;
    const ENTRIES: u64 = 512;
    const DIRECTORIES: u64 = 4;
    let table = |index: u64| (layout::PAGE_TABLES + index * layout::PAGE) | PRESENT_WRITABLE;
    let pml4 = iter::once(table(1)).chain(iter::repeat_n(0, ENTRIES as usize - 1));
    let pdpt = (0..DIRECTORIES).map(move |index| table(2 + index));
    let pdpt = pdpt.chain(iter::repeat_n(0, (ENTRIES - DIRECTORIES) as usize));
    let pages = (0..DIRECTORIES * ENTRIES).map(|index| (index * LARGE_PAGE) | LARGE | PRESENT_WRITABLE);
    pml4.chain(pdpt).chain(pages)
}

fn little_endian(words: impl IntoIterator<Item = u64>) -> Vec<u8> {
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registers::Mode;

    fn word(blob: &Blob<'_>, address: u64) -> u64 {
        let at = (address - blob.address) as usize;
        u64::from_le_bytes(blob.bytes[at..at + 8].try_into().unwrap())
    }

    /// Walks the tables as the processor does.
    fn translate(tables: &Blob<'_>, address: u64) -> Option<u64> {
        let mut table = layout::PAGE_TABLES;
        for shift in [39, 30, 21] {
            let entry = word(tables, table + (address >> shift & 0x1ff) * 8);
            if entry & 1 == 0 {
                return None;
            }
            if entry & 0x80 != 0 {
                return Some((entry & !0x1f_ffff) + (address & 0x1f_ffff));
            }
            table = entry & !0xfff;
        }
        None
    }

    #[test]
    fn the_first_4_gib_are_mapped_one_to_one() {
        let [_, pages] = tables();
        assert_eq!(pages.bytes.len(), 6 * 4096);
        for address in [0, 0x1234, 0x10_0000, 0x3fff_ffff, 0x4000_0000, 0xb000_0123, 0xffff_ffff] {
            assert_eq!(translate(&pages, address), Some(address));
        }
        assert_eq!(translate(&pages, 1 << 32), None);
        assert_eq!(translate(&pages, 1 << 39), None);
    }

    #[test]
    fn the_gdt_has_the_segments_that_are_loaded() {
        let [gdt, _] = tables();
        let registers = long_mode(0x100_0200);
        assert_eq!(registers.mode(), Mode::Long64);
        assert_eq!(u64::from(registers.gdtr.limit) + 1, gdt.bytes.len() as u64);
        let at = |selector: u16| word(&gdt, layout::GDT + u64::from(selector));
        assert_eq!(at(registers.cs.selector), 0x00af_9b00_0000_ffff);
        assert_eq!(at(registers.ss.selector), 0x00cf_9300_0000_ffff);
        assert_eq!(at(0), 0);
    }

    #[test]
    fn protected_mode_is_flat_and_without_paging() {
        let registers = protected_mode(0x10_0000);
        assert_eq!(
            (registers.mode(), registers.cr0, registers.cr4, registers.efer),
            (Mode::Protected32, 0x11, 0, 0)
        );
        assert_eq!((registers.cs.base, registers.cs.limit, registers.cs.big), (0, u32::MAX, true));
        assert_eq!((registers.tr.base, registers.tr.limit, registers.tr.access), (0, 0x67, access::TSS));
        assert_eq!(registers.rflags, 2);
    }
}
