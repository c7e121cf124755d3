//! The physical memory map, as both boot protocols tell it.
//!
//! Linux compares a checksum of the map when it resumes from S4, so the map depends on nothing but the configuration, and it is the
//! same by either entry: entered by PVH, Linux adds a reserved range from 0xA0000 to 0x100000 to what it is told
//! (arch/x86/platform/pvh/enlighten.c). Exactly that range is in ours already.

use std::ops::Range;

use linux_loader::loader::bootparam::boot_e820_entry;
use linux_loader::loader::elf::start_info::hvm_memmap_table_entry;

use crate::config::{ConfigError, FacsRegion, Memory, Pci};
use crate::layout::{FACS, HIGH_START, LOW_END, PAGE};

/// What a range of memory is, with the numbers of ACPI 6.5, table 15.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// RAM to use.
    Usable = 1,
    /// Not to be used.
    Reserved = 2,
    /// ACPI non-volatile: to be kept over S4.
    Nvs = 4,
}

/// One range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// What it is.
    pub kind: Kind,
}

/// Ranges in ascending order that do not overlap. No two neighbours are of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryMap {
    entries: Vec<Entry>,
    low_ram: Range<u64>,
    high_ram: Range<u64>,
}

/// The least RAM: a mebibyte that firmware needs, and one to put something into.
const LEAST: u64 = 2 << 20;
/// The most RAM: with the hole, it stays below 2^46, all that Linux addresses with page tables of four levels.
const MOST: u64 = 1 << 45;
const FOUR_GIB: u64 = 1 << 32;

impl MemoryMap {
    /// The map of a board.
    ///
    /// # Errors
    /// If sizes are not whole pages, or there is too little of anything.
    pub fn new(memory: &Memory, pci: &Pci) -> Result<Self, ConfigError> {
        let whole = |value: u64| value.is_multiple_of(PAGE);
        let hole = &memory.hole;
        if !whole(hole.start)
            || !whole(hole.end)
            || hole.start < LEAST
            || hole.start >= hole.end
            || hole.end != FOUR_GIB
        {
            return Err(ConfigError::Hole(hole.clone()));
        }
        if !whole(memory.ram) || memory.ram < LEAST || memory.ram > MOST {
            return Err(ConfigError::Ram { ram: memory.ram, bounds: LEAST..MOST });
        }
        let low_end = memory.ram.min(hole.start);
        let high_end = hole.end + (memory.ram - low_end);
        let most = low_end - LEAST;
        if !whole(memory.withheld) || memory.withheld > most {
            return Err(ConfigError::Withheld { withheld: memory.withheld, most });
        }
        let usable = [HIGH_START..low_end - memory.withheld, hole.end..high_end];
        if let Some(address) = memory.reserved_page {
            let is_usable =
                usable.iter().any(|range| range.start.max(LEAST) <= address && address < range.end);
            if !whole(address) || !is_usable {
                return Err(ConfigError::ReservedPage { address, least: LEAST });
            }
        }
        let ecam_end =
            pci.ecam.checked_add(pci.ecam_len).filter(|end| pci.ecam >= hole.start && *end <= hole.end);
        let Some(ecam_end) = ecam_end else {
            return Err(ConfigError::Pci("configuration space lies outside the hole below 4 GiB"));
        };

        let mut map = Self { entries: Vec::new(), low_ram: 0..low_end, high_ram: hole.end..high_end };
        map.push(0..LOW_END, Kind::Usable);
        match memory.facs {
            FacsRegion::Reserved => map.push(LOW_END..HIGH_START, Kind::Reserved),
            FacsRegion::Nvs => {
                map.push(LOW_END..FACS, Kind::Reserved);
                map.push(FACS..FACS + PAGE, Kind::Nvs);
                map.push(FACS + PAGE..HIGH_START, Kind::Reserved);
            }
        }
        let [low, high] = usable;
        map.push_usable(low, memory.reserved_page);
        map.push(low_end - memory.withheld..low_end, Kind::Reserved);
        map.push(pci.ecam..ecam_end, Kind::Reserved);
        map.push_usable(high, memory.reserved_page);
        Ok(map)
    }

    /// Adds usable RAM at the end, but for the reserved page in it.
    fn push_usable(&mut self, range: Range<u64>, reserved: Option<u64>) {
        match reserved.filter(|page| range.contains(page)) {
            None => self.push(range, Kind::Usable),
            Some(page) => {
                self.push(range.start..page, Kind::Usable);
                self.push(page..page + PAGE, Kind::Reserved);
                self.push(page + PAGE..range.end, Kind::Usable);
            }
        }
    }

    /// Adds a range at the end; one that continues the last is joined with it, as the kernel would.
    fn push(&mut self, range: Range<u64>, kind: Kind) {
        if range.is_empty() {
            return;
        }
        let len = range.end - range.start;
        match self.entries.last_mut() {
            Some(last) if last.kind == kind && last.start + last.len == range.start => last.len += len,
            _ => self.entries.push(Entry { start: range.start, len, kind }),
        }
    }

    /// Its ranges, in ascending order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether there is RAM in all of a range, whatever the map calls it.
    pub fn is_ram(&self, range: &Range<u64>) -> bool {
        [&self.low_ram, &self.high_ram]
            .into_iter()
            .any(|ram| range.start >= ram.start && range.end <= ram.end)
    }

    /// The usable memory from 1 MiB on, below 4 GiB: where kernels and initramfs go.
    pub fn kernel_room(&self) -> Range<u64> {
        let room = self.entries.iter().find(|entry| entry.start == HIGH_START && entry.kind == Kind::Usable);
        room.map_or(HIGH_START..HIGH_START, |entry| entry.start..entry.start + entry.len)
    }

    /// As `boot_params` has it.
    pub fn e820(&self) -> Vec<boot_e820_entry> {
        let entry =
            |entry: &Entry| boot_e820_entry { addr: entry.start, size: entry.len, r#type: entry.kind as u32 };
        self.entries.iter().map(entry).collect()
    }

    /// As `hvm_start_info` points to it.
    pub fn hvm(&self) -> Vec<hvm_memmap_table_entry> {
        let entry = |entry: &Entry| hvm_memmap_table_entry {
            addr: entry.start,
            size: entry.len,
            type_: entry.kind as u32,
            reserved: 0,
        };
        self.entries.iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests;
