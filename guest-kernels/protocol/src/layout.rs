//! Who owns which physical memory, and the kernel command lines that say so.
//!
//! The saver and the restorer live in one [`Region`]; everything else belongs to the primary. A kexec jump maps only the
//! jumping kernel's own RAM and ranges of type "ACPI data" or "ACPI NVS" (`arch/x86/kernel/machine_kexec_64.c`), so each kernel
//! describes the other's memory as ACPI data: not used as RAM, but mapped during the jump. Described as reserved, a second jump
//! into a resident saver ends in a triple fault.

use serde::{Deserialize, Serialize};

/// Bytes in a MiB.
pub const MIB: u64 = 1 << 20;

/// A stretch of physical memory, in bytes, page aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// First byte.
    pub start: u64,
    /// Length.
    pub len: u64,
}

impl Region {
    /// First byte after it, or `None` if it does not fit the address space.
    pub fn end(self) -> Option<u64> {
        self.start.checked_add(self.len)
    }
}

/// Where the saver lives by default: its kernel is linked for 128 MiB, so a restorer that boots cold lands there too.
pub const SAVER_REGION: Region = Region { start: 128 * MIB, len: 64 * MIB };

/// What a range of physical memory is for, as /proc/iomem names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryKind {
    /// `System RAM`.
    Ram,
    /// `Reserved`.
    Reserved,
    /// `ACPI Tables`.
    AcpiData,
    /// `ACPI Non-volatile Storage`.
    AcpiNvs,
}

/// A range of physical memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryRange {
    /// First byte.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
    /// What for.
    pub kind: MemoryKind,
}

/// Cuts `[start, end)` out of the ranges.
pub fn without(ranges: &[MemoryRange], start: u64, end: u64) -> Vec<MemoryRange> {
    let mut left = Vec::with_capacity(ranges.len() + 1);
    for range in ranges {
        if end <= range.start || start >= range.end {
            left.push(*range);
            continue;
        }
        if range.start < start {
            left.push(MemoryRange { end: start, ..*range });
        }
        if range.end > end {
            left.push(MemoryRange { start: end, ..*range });
        }
    }
    left
}

/// Where the memory below 1 MiB that both kernels need (trampolines) ends; above it firmware begins.
const LOW_MEMORY_END: u64 = MIB;

/// What the primary's command line needs so that it leaves the region alone and yet maps it when it jumps.
pub fn primary_arguments(region: Region) -> String {
    format!("memmap={:#x}#{:#x}", region.len, region.start)
}

/// What makes saver and restorer boot quickly: no calibration of the local APIC's timer, which waits 0.2 s for ticks of another one,
/// and no test whether that other one interrupts, 0.01 s. For the seconds they live, HPET or PIT do.
///
/// Not for a processor with a TSC deadline timer: there Linux has nothing to calibrate, takes the timer for granted and sets up no other one
/// (`apic_needs_pit`), so that without it the first kernel thread that waits waits for ever.
pub const QUICK_BOOT_ARGUMENTS: &str = "noapictimer no_timer_check";

/// What the restorer's command line needs so that it lives in the region alone: every other range of RAM above 1 MiB
/// is described as ACPI data. `firmware_map` is the machine's memory before any `memmap=`.
pub fn restorer_arguments(firmware_map: &[MemoryRange], region: Region) -> String {
    let end = region.end().unwrap_or(u64::MAX);
    without(firmware_map, region.start, end)
        .iter()
        .filter(|range| range.kind == MemoryKind::Ram && range.end > LOW_MEMORY_END)
        .map(|range| {
            let start = range.start.max(LOW_MEMORY_END);
            format!("memmap={:#x}#{start:#x}", range.end - start)
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PC_256: [MemoryRange; 3] = [
        MemoryRange { start: 0, end: 0x9_fc00, kind: MemoryKind::Ram },
        MemoryRange { start: 0xf_0000, end: 0x10_0000, kind: MemoryKind::Reserved },
        MemoryRange { start: 0x10_0000, end: 0xffd_d000, kind: MemoryKind::Ram },
    ];

    #[test]
    fn the_restorer_is_confined_to_the_region() {
        assert_eq!(
            restorer_arguments(&PC_256, SAVER_REGION),
            "memmap=0x7f00000#0x100000 memmap=0x3fdd000#0xc000000"
        );
    }

    #[test]
    fn the_primary_leaves_the_region_alone() {
        assert_eq!(primary_arguments(SAVER_REGION), "memmap=0x4000000#0x8000000");
    }

    #[test]
    fn cutting_splits_trims_and_removes() {
        let ram = |start, end| MemoryRange { start, end, kind: MemoryKind::Ram };
        assert_eq!(without(&[ram(0, 10)], 3, 5), vec![ram(0, 3), ram(5, 10)]);
        assert_eq!(without(&[ram(0, 10)], 0, 5), vec![ram(5, 10)]);
        assert_eq!(without(&[ram(0, 10)], 5, 20), vec![ram(0, 5)]);
        assert_eq!(without(&[ram(2, 4)], 0, 20), vec![]);
        assert_eq!(without(&[ram(2, 4)], 4, 20), vec![ram(2, 4)]);
    }
}
