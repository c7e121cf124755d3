use proptest::prelude::*;

use super::*;
use crate::fixture::{self, GIB, MIB};

/// `struct e820_entry` as Linux has it.
type Linux = Vec<(u64, u64, u32)>;

/// `e820__update_table` of arch/x86/kernel/e820.c: sorts, and where ranges overlap the larger type wins.
fn update_table(entries: &Linux) -> Linux {
    let mut points: Vec<u64> = entries.iter().flat_map(|(start, len, _)| [*start, start + len]).collect();
    points.sort_unstable();
    points.dedup();
    let mut table: Linux = Vec::new();
    for (start, end) in points.iter().zip(points.iter().skip(1)) {
        let covers = |entry: &&(u64, u64, u32)| entry.0 <= *start && entry.0 + entry.1 >= *end;
        let Some(kind) = entries.iter().filter(covers).map(|entry| entry.2).max() else { continue };
        match table.last_mut() {
            Some(last) if last.2 == kind && last.0 + last.1 == *start => last.1 += end - start,
            _ => table.push((*start, end - start, kind)),
        }
    }
    table
}

fn seen_by_boot_params(map: &MemoryMap) -> Linux {
    update_table(&map.e820().iter().map(|entry| (entry.addr, entry.size, entry.r#type)).collect())
}

/// `init_pvh_bootparams` of arch/x86/platform/pvh/enlighten.c copies the table and adds the ISA range.
fn seen_by_pvh(map: &MemoryMap) -> Linux {
    let mut table: Linux = map.hvm().iter().map(|entry| (entry.addr, entry.size, entry.type_)).collect();
    table.push((0xa_0000, 0x6_0000, 2));
    update_table(&table)
}

fn map(change: impl FnOnce(&mut crate::Config)) -> MemoryMap {
    let mut config = fixture::config(256 * MIB, 1);
    change(&mut config);
    MemoryMap::new(&config.memory, &config.pci).unwrap()
}

fn text(map: &MemoryMap) -> String {
    map.entries()
        .iter()
        .map(|entry| format!("{:#011x}-{:#011x} {:?}\n", entry.start, entry.start + entry.len, entry.kind))
        .collect()
}

#[test]
fn small() {
    insta::assert_snapshot!(text(&map(|_| ())), @r"
    0x000000000-0x0000a0000 Usable
    0x0000a0000-0x000100000 Reserved
    0x000100000-0x010000000 Usable
    0x0b0000000-0x0c0000000 Reserved
    ");
}

#[test]
fn what_does_not_fit_below_the_hole_goes_on_above() {
    insta::assert_snapshot!(text(&map(|config| config.memory.ram = 8 * GIB)), @r"
    0x000000000-0x0000a0000 Usable
    0x0000a0000-0x000100000 Reserved
    0x000100000-0x0b0000000 Usable
    0x0b0000000-0x0c0000000 Reserved
    0x100000000-0x250000000 Usable
    ");
}

#[test]
fn firmware_withholds_the_end_and_calls_the_facs_nvs() {
    let map = map(|config| {
        config.memory.withheld = 64 << 10;
        config.memory.facs = FacsRegion::Nvs;
    });
    insta::assert_snapshot!(text(&map), @r"
    0x000000000-0x0000a0000 Usable
    0x0000a0000-0x0000ef000 Reserved
    0x0000ef000-0x0000f0000 Nvs
    0x0000f0000-0x000100000 Reserved
    0x000100000-0x00fff0000 Usable
    0x00fff0000-0x010000000 Reserved
    0x0b0000000-0x0c0000000 Reserved
    ");
    assert!(map.is_ram(&(0x0fff_0000..0x1000_0000)), "withheld is RAM all the same");
    assert_eq!(map.kernel_room(), 0x10_0000..0x0fff_0000);
}

#[test]
fn a_reserved_page_moves_and_the_amount_of_memory_stays() {
    let usable = |page| {
        let map = map(|config| config.memory.reserved_page = Some(page));
        let usable = map.entries().iter().filter(|entry| entry.kind == Kind::Usable).map(|entry| entry.len);
        (map.entries().to_vec(), usable.sum::<u64>())
    };
    let (before, amount) = usable(0x0f00_0000);
    let (after, same_amount) = usable(0x0f00_1000);
    assert_ne!(before, after);
    assert_eq!((amount, same_amount), (256 * MIB - PAGE - (HIGH_START - LOW_END), amount));
    insta::assert_snapshot!(text(&map(|config| config.memory.reserved_page = Some(0x0f00_0000))), @r"
    0x000000000-0x0000a0000 Usable
    0x0000a0000-0x000100000 Reserved
    0x000100000-0x00f000000 Usable
    0x00f000000-0x00f001000 Reserved
    0x00f001000-0x010000000 Usable
    0x0b0000000-0x0c0000000 Reserved
    ");
    insta::assert_snapshot!(text(&map(|config| config.memory.reserved_page = Some(0x0fff_f000))), @r"
    0x000000000-0x0000a0000 Usable
    0x0000a0000-0x000100000 Reserved
    0x000100000-0x00ffff000 Usable
    0x00ffff000-0x010000000 Reserved
    0x0b0000000-0x0c0000000 Reserved
    ");
}

#[test]
fn the_model_of_the_kernel_sorts_and_lets_the_larger_type_win() {
    let table = vec![(0x3000, 0x1000, 1), (0, 0x3000, 1), (0x1000, 0x1000, 2)];
    assert_eq!(update_table(&table), [(0, 0x1000, 1), (0x1000, 0x1000, 2), (0x2000, 0x2000, 1)]);
}

proptest! {
    #[test]
    fn linux_sees_one_map_by_either_entry(
        pages in LEAST / PAGE..(16 * GIB) / PAGE,
        withheld in 0..64u64,
        nvs: bool,
    ) {
        let map = map(|config| {
            config.memory.ram = pages * PAGE;
            config.memory.withheld = withheld.min(pages - LEAST / PAGE) * PAGE;
            config.memory.facs = if nvs { FacsRegion::Nvs } else { FacsRegion::Reserved };
        });
        let ours: Linux = map.entries().iter().map(|entry| (entry.start, entry.len, entry.kind as u32)).collect();
        prop_assert_eq!(&seen_by_pvh(&map), &ours);
        prop_assert_eq!(&seen_by_boot_params(&map), &ours);
        let usable: u64 = map.entries().iter().filter(|entry| entry.kind == Kind::Usable).map(|entry| entry.len).sum();
        prop_assert_eq!(usable + withheld.min(pages - LEAST / PAGE) * PAGE + (HIGH_START - LOW_END), pages * PAGE);
    }
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let refused = |change: &dyn Fn(&mut crate::Config)| {
        let mut config = fixture::config(256 * MIB, 1);
        change(&mut config);
        MemoryMap::new(&config.memory, &config.pci).unwrap_err().to_string()
    };
    insta::assert_snapshot!([
        refused(&|config| config.memory.ram = 0),
        refused(&|config| config.memory.ram = 64 * MIB + 1),
        refused(&|config| config.memory.ram = u64::MAX - 4095),
        refused(&|config| config.memory.withheld = 256 * MIB),
        refused(&|config| config.memory.reserved_page = Some(0x1f_f000)),
        refused(&|config| config.memory.reserved_page = Some(0x20_0001)),
        refused(&|config| config.memory.reserved_page = Some(0x1000_0000)),
        refused(&|config| config.memory.hole = 0x1000..0x1_0000_0000),
        refused(&|config| config.pci.ecam = 0x1000),
        refused(&|config| config.pci.ecam = u64::MAX),
    ]
    .join("\n"), @r"
    0 bytes of RAM: a machine has whole pages of 4096 bytes, from 2 MiB to 32768 GiB
    67108865 bytes of RAM: a machine has whole pages of 4096 bytes, from 2 MiB to 32768 GiB
    18446744073709547520 bytes of RAM: a machine has whole pages of 4096 bytes, from 2 MiB to 32768 GiB
    268435456 bytes withheld from RAM: only whole pages, and 266338304 bytes at most, can be
    a reserved page at 0x1ff000: only a page of usable RAM from 0x200000 on can be one
    a reserved page at 0x200001: only a page of usable RAM from 0x200000 on can be one
    a reserved page at 0x10000000: only a page of usable RAM from 0x200000 on can be one
    the hole below 4 GiB from 0x1000 to 0x100000000 is not made of whole pages between 1 MiB and 4 GiB
    PCI: configuration space lies outside the hole below 4 GiB
    PCI: configuration space lies outside the hole below 4 GiB
    ");
}
