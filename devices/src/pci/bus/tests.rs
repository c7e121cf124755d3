use proptest::prelude::*;

use super::super::virtio::{VirtioBlk, VirtioBlkConfig};
use super::super::{ECAM_BYTES, slot_memory};
use super::*;
use crate::bench::{Bench, abuses};
use crate::disk::{Command, DiskConfig, Media};

const DATA: u64 = CONFIG_DATA as u64;
const ADDRESS: u64 = CONFIG_ADDRESS as u64;

fn disk(id: u8) -> Disk {
    Disk::new(DiskConfig { id, ..DiskConfig::default() }, Media::blank(1 << 20).unwrap()).unwrap()
}

fn bus() -> Bus {
    bus_of(disk(9))
}

fn bus_of(last: Disk) -> Bus {
    let mut bus = Bus::new();
    for (slot, disk) in [(1, disk(1)), (9, last)] {
        let front_end = VirtioBlk::new(VirtioBlkConfig { slot, queues: 1 }, disk);
        bus.insert(slot, Function::VirtioBlk(front_end)).unwrap();
    }
    bus
}

fn read(bench: &mut Bench, bus: &mut Bus, address: u64, size: u8) -> u64 {
    bus.read(address, size, &mut bench.cx())
}

fn write(bench: &mut Bench, bus: &mut Bus, address: u64, size: u8, value: u64) {
    bus.write(address, size, value, &mut bench.cx());
}

fn latch(slot: u32, offset: u32) -> u64 {
    u64::from(ENABLE | slot << 11 | offset)
}

#[test]
fn slots_are_taken_once() {
    let mut bus = bus();
    let another = || Function::HostBridge(HostBridge::new());
    assert_eq!(bus.insert(9, another()), Err(BusError::Taken(9)));
    assert_eq!(bus.insert(32, another()), Err(BusError::NoSlot(32)));
    assert_eq!(bus.disks().map(|disk| disk.config().id).collect::<Vec<_>>(), [1, 9]);
}

#[test]
fn a_scan_by_ports_finds_what_is_there() {
    let (mut bench, mut bus) = (Bench::new(), bus());
    let mut found = Vec::new();
    for slot in 0..32 {
        write(&mut bench, &mut bus, ADDRESS, 4, latch(slot, 0));
        let identity = read(&mut bench, &mut bus, DATA, 4);
        write(&mut bench, &mut bus, ADDRESS, 4, latch(slot, 0x0c));
        let header = read(&mut bench, &mut bus, DATA + 2, 1);
        if identity != 0xffff_ffff {
            found.push(format!(
                "{slot:02}: {:04x}:{:04x} header {header}",
                identity & 0xffff,
                identity >> 16
            ));
        } else {
            assert_eq!(header, 0xff);
        }
    }
    insta::assert_snapshot!(found.join("\n"), @"
    00: 1b36:0008 header 0
    01: 1af4:1042 header 0
    09: 1af4:1042 header 0
    ");
}

#[test]
fn only_a_doubleword_with_the_enable_bit_addresses_a_function() {
    let (mut bench, mut bus) = (Bench::new(), bus());
    write(&mut bench, &mut bus, ADDRESS, 4, 0xffff_ffff);
    assert_eq!(read(&mut bench, &mut bus, ADDRESS, 4), 0x80ff_fffc);
    write(&mut bench, &mut bus, ADDRESS, 4, latch(1, 0));
    for size in [1, 2] {
        write(&mut bench, &mut bus, ADDRESS, size, 0);
    }
    write(&mut bench, &mut bus, ADDRESS + 2, 2, 0);
    assert_eq!(read(&mut bench, &mut bus, ADDRESS, 4), latch(1, 0));
    assert_eq!(read(&mut bench, &mut bus, ADDRESS, 2), 0xffff);
    assert_eq!(read(&mut bench, &mut bus, DATA, 4), 0x1042_1af4);
    assert_eq!(read(&mut bench, &mut bus, DATA + 2, 2), 0x1042);
    assert_eq!(read(&mut bench, &mut bus, DATA + 3, 1), 0x10);
    // Past the end of the data ports is somebody else's.
    assert_eq!(read(&mut bench, &mut bus, DATA + 2, 4), 0xffff_1042);
    for elsewhere in [latch(1, 0) & !u64::from(ENABLE), latch(1, 0) | 1 << 16, latch(1, 0) | 1 << 8] {
        write(&mut bench, &mut bus, ADDRESS, 4, elsewhere);
        assert_eq!(read(&mut bench, &mut bus, DATA, 4), 0xffff_ffff);
    }
}

#[test]
fn memory_and_ports_lead_to_the_same_registers() {
    let (mut bench, mut bus) = (Bench::new(), bus());
    let function = ECAM + (9 << 15);
    write(&mut bench, &mut bus, function + 0x3c, 1, 0x5a);
    write(&mut bench, &mut bus, ADDRESS, 4, latch(9, 0x3c));
    assert_eq!(read(&mut bench, &mut bus, DATA, 4), 0x015a);
    assert_eq!(read(&mut bench, &mut bus, function + 0x100, 4), 0xffff_ffff);
    assert_eq!(read(&mut bench, &mut bus, function + 0x1000, 4), 0xffff_ffff);
    assert_eq!(read(&mut bench, &mut bus, function + 0xfff, 2), 0xffff);
    assert_eq!(read(&mut bench, &mut bus, ECAM + ECAM_BYTES, 4), 0xffff_ffff);
}

#[test]
fn a_bar_decodes_inside_the_window_only() {
    let (mut bench, mut bus) = (Bench::new(), bus());
    let queues = |bench: &mut Bench, bus: &mut Bus, at: u64| read(bench, bus, at + 0x12, 2);
    assert_eq!(queues(&mut bench, &mut bus, slot_memory(9)), 1);
    let register = ECAM + (9 << 15) + 0x10;
    write(&mut bench, &mut bus, register, 4, 0xd000_0000);
    assert_eq!(queues(&mut bench, &mut bus, 0xd000_0000), 1);
    assert_eq!(queues(&mut bench, &mut bus, slot_memory(9)), 0xffff);
    write(&mut bench, &mut bus, register, 4, 0x0010_0000);
    assert_eq!(queues(&mut bench, &mut bus, 0x0010_0000), 0xffff);
    // The end of a BAR.
    assert_eq!(read(&mut bench, &mut bus, slot_memory(1) + 0x4ffe, 4), 0xffff_ffff);
}

#[test]
fn a_reset_puts_addresses_back_and_keeps_disks() {
    for kind in [Reset::Line, Reset::Wake, Reset::PowerOn] {
        let (mut bench, mut bus) = (Bench::new(), bus());
        let written = Command::Write { sector: 0, data: vec![1; 512].into(), fua: false };
        bus.disks_mut().last().unwrap().accept(written, &mut bench.cx());
        let disk = bus.disks().last().unwrap();
        let expected = match kind {
            Reset::PowerOn => Disk::new(disk.config().clone(), disk.media().clone()).unwrap(),
            Reset::Line | Reset::Wake => disk.clone(),
        };
        let expected = bus_of(expected);
        write(&mut bench, &mut bus, ECAM + (9 << 15) + 0x10, 4, 0xd000_0000);
        write(&mut bench, &mut bus, ADDRESS, 4, latch(9, 0));
        bus.reset(kind, &mut bench.cx());
        assert_eq!(bus, expected, "{kind:?}");
        let disk = bus.disks().last().unwrap();
        assert_eq!(
            (disk.changes().count(), disk.counters().writes),
            if kind == Reset::PowerOn { (0, 0) } else { (1, 1) }
        );
        assert_eq!(disk.media().changed_blocks().count(), 1);
    }
}

proptest! {
    /// Anything to any register of the bus and of its functions.
    #[test]
    fn garbage_is_harmless(first in abuses(), second in abuses()) {
        let (mut bench, mut bus) = (Bench::new(), bus());
        let configuration = (0..0x108).step_by(3).map(|offset| ECAM + (1 << 15) + offset);
        let registers = (0..0x3c).step_by(2).chain([0x1000, 0x2000, 0x2020, 0x3000, 0x3004, 0x4000, 0x400c, 0x4800]);
        let addresses: Vec<u64> = (ADDRESS..ADDRESS + 8)
            .chain(configuration)
            .chain(registers.map(|offset| slot_memory(9) + offset))
            .collect();
        bench.abuse(&mut bus, &addresses, &[first, second].concat());
    }
}
