//! What survives what: the table at the head of [`crate::power`], and the one in `docs/machine.md`, cell by cell.

use std::collections::BTreeMap;

use cpu::CpuState;
use devices::disk::{Command, SECTOR};
use devices::{Context, VirtualTime};

use super::*;
use crate::drive::FrontEnd;
use crate::testing::{Code, LIMIT, Record, arm, drive, enter, machine};

/// Nanoseconds that the machine sleeps or is off.
const AWAY: u64 = 5_000_000_000;

/// A part: something to set in it, and a look at it.
struct Part {
    /// As its row begins.
    row: &'static str,
    set: fn(&mut Machine),
    see: fn(&mut Machine) -> String,
}

fn write(machine: &mut Machine, port: bool, address: u64, size: u8, value: u64) {
    let mut record = Record::default();
    let mut world = World::of_host(&machine.ram, machine.clock, machine.instructions, &mut record);
    let now = machine.clock.now();
    if port {
        machine.board.port_write(now, address as u16, size, value as u32, &mut world);
    } else {
        machine.board.memory_write(now, address, size, value, &mut world);
    }
}

fn read(machine: &mut Machine, port: bool, address: u64, size: u8) -> u64 {
    let mut record = Record::default();
    let mut world = World::of_host(&machine.ram, machine.clock, machine.instructions, &mut record);
    let now = machine.clock.now();
    if port {
        machine.board.port_read(now, address as u16, size, &mut world).into()
    } else {
        machine.board.memory_read(now, address, size, &mut world)
    }
}

fn outb(machine: &mut Machine, port: u16, value: u8) {
    write(machine, true, port.into(), 1, value.into());
}

fn hex(machine: &mut Machine, port: bool, address: u64, size: u8) -> String {
    format!("{:#x}", read(machine, port, address, size))
}

fn cmos(machine: &mut Machine, index: u8) -> String {
    outb(machine, 0x70, index);
    hex(machine, true, 0x71, 1)
}

fn set_cmos(machine: &mut Machine, index: u8, value: u8) {
    outb(machine, 0x70, index);
    outb(machine, 0x71, value);
}

fn first(machine: &mut Machine) -> &mut CpuState {
    machine.engine.processors_mut().next().unwrap()
}

/// A write to the disk behind NVMe, whose cache is on from the start, that completes, and a flush if it is to be durable.
fn put(machine: &mut Machine, sector: u64, durable: bool) {
    let (mut lines, mut messages, mut power, mut stop) = Default::default();
    let mut record = Record::default();
    let mut cx = Context {
        now: machine.clock.now(),
        world: WorldTime(0),
        ram: &machine.ram,
        lines: &mut lines,
        messages: &mut messages,
        power: &mut power,
        instructions: 0,
        processor: None,
        observer: &mut record,
        stop: &mut stop,
    };
    let disk = machine.board.pci.disks_mut().nth(1).unwrap();
    let write = disk.accept(Command::Write { sector, data: vec![0xab; 512].into(), fua: false }, &mut cx);
    cx.now = VirtualTime(cx.now.0 + 1_000_000);
    disk.complete(write.request, &mut cx).result.unwrap();
    if durable {
        let flush = disk.accept(Command::Flush, &mut cx);
        cx.now = VirtualTime(cx.now.0 + 1_000_000);
        disk.complete(flush.request, &mut cx).result.unwrap();
    }
}

fn sector(machine: &mut Machine, sector: u64) -> String {
    let mut byte = [0];
    machine.board.pci.disks().nth(1).unwrap().media().read(sector * SECTOR, &mut byte).unwrap();
    format!("{byte:x?}")
}

const BAR: u64 = 0xb000_8010;
const MSIX_CONTROL: u64 = 0xb000_8042;
const VIRTIO_STATUS: u64 = 0xc010_0014;
const NVME_AQA: u64 = 0xc020_0024;

const PARTS: &[Part] = &[
    Part {
        row: "RAM",
        set: |machine| machine.ram.write(0x20_0000, b"stays").unwrap(),
        see: |machine| {
            let mut bytes = [0; 5];
            machine.ram.read(0x20_0000, &mut bytes).unwrap();
            format!("{bytes:x?}")
        },
    },
    Part {
        row: "processors",
        set: |machine| {
            let state = first(machine);
            (state.gpr[3], state.msrs.lstar, state.fpu.xmm[2], state.debug[0]) = (7, 8, 9, 10);
        },
        see: |machine| {
            let state = first(machine);
            format!("{} {} {} {}", state.gpr[3], state.msrs.lstar, state.fpu.xmm[2], state.debug[0])
        },
    },
    Part {
        row: "local APICs",
        set: |machine| first(machine).apic.set_task_priority(0x50),
        see: |machine| first(machine).apic.task_priority().to_string(),
    },
    Part {
        row: "8259A",
        set: |machine| outb(machine, 0x21, 0x5a),
        see: |machine| hex(machine, true, 0x21, 1),
    },
    Part {
        row: "IOAPIC",
        set: |machine| {
            write(machine, false, 0xfec0_0000, 4, 0x20);
            write(machine, false, 0xfec0_0010, 4, 0x1_0031);
        },
        see: |machine| {
            write(machine, false, 0xfec0_0000, 4, 0x20);
            hex(machine, false, 0xfec0_0010, 4)
        },
    },
    Part {
        row: "interval timer",
        set: |machine| {
            [(0x43, 0x34), (0x40, 0x10), (0x40, 0x27)]
                .into_iter()
                .for_each(|(port, value)| outb(machine, port, value))
        },
        see: |machine| {
            // Read back: mode and access of counter 0.
            outb(machine, 0x43, 0xe2);
            format!("{:#x}", read(machine, true, 0x40, 1) & 0x3f)
        },
    },
    Part {
        row: "UARTs",
        set: |machine| outb(machine, 0x3ff, 0x5a),
        see: |machine| hex(machine, true, 0x3ff, 1),
    },
    Part {
        row: "PCI configuration and BARs",
        set: |machine| write(machine, false, BAR, 4, 0xc800_0000),
        see: |machine| hex(machine, false, BAR, 4),
    },
    Part {
        row: "MSI-X",
        set: |machine| write(machine, false, MSIX_CONTROL, 2, 0x8000),
        see: |machine| hex(machine, false, MSIX_CONTROL, 2),
    },
    Part {
        row: "virtio",
        set: |machine| write(machine, false, VIRTIO_STATUS, 1, 3),
        see: |machine| hex(machine, false, VIRTIO_STATUS, 1),
    },
    Part {
        row: "NVMe",
        set: |machine| write(machine, false, NVME_AQA, 4, 0x000f_000f),
        see: |machine| hex(machine, false, NVME_AQA, 4),
    },
    Part {
        row: "PM1_STS",
        set: |machine| machine.press_power_button(&mut Record::default()),
        see: |machine| format!("{:#x}", read(machine, true, 0x600, 2) & 0x0700),
    },
    Part {
        row: "PM1_EN",
        set: |machine| write(machine, true, 0x602, 2, 0x0400),
        see: |machine| hex(machine, true, 0x602, 2),
    },
    Part {
        row: "GPE0",
        set: |machine| write(machine, true, 0x622, 2, 0x10),
        see: |machine| hex(machine, true, 0x622, 2),
    },
    Part {
        row: "CMOS memory",
        set: |machine| set_cmos(machine, 0x50, 0x77),
        see: |machine| cmos(machine, 0x50),
    },
    Part { row: "alarm", set: |machine| set_cmos(machine, 5, 0x23), see: |machine| cmos(machine, 5) },
    Part {
        row: "real-time clock",
        set: |machine| set_cmos(machine, 9, 0x30),
        see: |machine| cmos(machine, 9),
    },
    Part {
        row: "contents of disks that are durable",
        set: |machine| put(machine, 0, true),
        see: |machine| sector(machine, 0),
    },
    Part {
        row: "contents of disks that are not yet durable",
        set: |machine| put(machine, 8, false),
        see: |machine| sector(machine, 8),
    },
    Part {
        row: "disks' counters",
        set: |machine| put(machine, 16, false),
        see: |machine| machine.board.pci.disks().nth(1).unwrap().counters().writes.to_string(),
    },
    Part {
        row: "random numbers",
        set: |machine| first(machine).random = 77,
        see: |machine| first(machine).random.to_string(),
    },
    Part {
        row: "time-stamp counters",
        set: |machine| machine.clock.advance(1_000_000),
        see: |machine| {
            let now = machine.clock.now().0;
            first(machine).tsc(now).to_string()
        },
    },
    Part {
        row: "run time",
        set: |machine| machine.clock.advance(1_000_000),
        see: |machine| machine.clock.now().0.to_string(),
    },
    Part {
        row: "instructions",
        set: |machine| machine.instructions += 1_000,
        see: |machine| machine.instructions.to_string(),
    },
    Part {
        row: "world time",
        set: |machine| machine.clock.pass(1_000),
        see: |machine| machine.clock.world_at(machine.clock.now()).0.to_string(),
    },
];

/// A machine in which nothing was set, about to execute nothing.
fn fresh() -> Machine {
    let mut machine = machine(1, vec![drive(0, FrontEnd::Virtio), drive(1, FrontEnd::Nvme)]);
    enter(&mut machine, &Code::new().halt());
    machine
}

#[derive(Debug, Clone, Copy)]
enum Way {
    S3,
    Reset,
    Off,
    Cut,
}

/// In the order of the columns.
const WAYS: [Way; 4] = [Way::S3, Way::Reset, Way::Off, Way::Cut];

fn go(machine: &mut Machine, way: Way, choose: &mut Choose<'_>) {
    let mut record = Record::default();
    match way {
        Way::S3 => {
            write(machine, true, 0x604, 2, 0x2401);
            assert!(matches!(machine.run(LIMIT, &mut record), Stop::Power(_)));
            arm(machine, 0x9000, &Code::real().halt());
            // What is set may wake it at once: then it was away for no time.
            machine.wake_by_host(AWAY, &mut record).unwrap();
        }
        Way::Reset => machine.reset_line(&mut record).unwrap(),
        Way::Off => {
            write(machine, true, 0x604, 2, 0x2801);
            assert!(matches!(machine.run(LIMIT, &mut record), Stop::Power(_)));
            machine.power_on(AWAY, &mut record).unwrap();
        }
        Way::Cut => {
            machine.power_cut(choose, &mut record).unwrap();
            machine.power_on(AWAY, &mut record).unwrap();
        }
    }
}

/// Rows of a table: what each is about, and its four cells.
fn table(text: &'static str) -> BTreeMap<&'static str, [&'static str; 4]> {
    let lines = text.lines().map(|line| line.trim_start_matches("//!").trim());
    let rows = lines.skip_while(|line| !line.starts_with("| | S3 and wake |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells[1], [cells[2], cells[3], cells[4], cells[5]])
        })
        .collect()
}

/// What a cell says must be what happens: `before` is what was set, `new` what a machine shows that was never on before.
fn holds(cell: &str, part: &Part, way: Way, before: &str, new: &str) {
    let mut machine = fresh();
    (part.set)(&mut machine);
    let (now, world) = (machine.clock.now().0, machine.clock.world_at(machine.clock.now()).0);
    go(&mut machine, way, &mut nothing_unflushed);
    let after = (part.see)(&mut machine);
    let case = format!("{}, {way:?}: {cell}", part.row);
    match cell {
        "kept" => assert_eq!(after, before, "{case}"),
        "lost" => assert_eq!(after, new, "{case}"),
        "from 0" => assert_eq!(after, "0", "{case}"),
        "from the seed" => assert_eq!(after, new, "{case}"),
        "set to world time" => assert_eq!(after, "0x24", "{case}"),
        "stands still" => assert_eq!(after, now.to_string(), "{case}"),
        "goes on" => {
            let away = if matches!(way, Way::Reset) { 0 } else { AWAY };
            assert_eq!(after, (world + away).to_string(), "{case}");
        }
        "as chosen" => {
            assert_eq!(after, new, "{case}: nothing chosen");
            let mut machine = fresh();
            (part.set)(&mut machine);
            go(&mut machine, way, &mut everything_accepted);
            assert_eq!((part.see)(&mut machine), before, "{case}: all chosen");
        }
        other => panic!("{case}: {other:?} says nothing"),
    }
}

#[test]
fn every_cell_of_the_table_is_true() {
    let table = table(include_str!("../power.rs"));
    assert_eq!(table, self::table(include_str!("../../../docs/machine.md")), "the book says the same");
    let mut rows: Vec<&str> = table.keys().copied().collect();
    for part in PARTS {
        let (row, cells) = table
            .iter()
            .find(|(row, _)| row.split("; ").any(|name| name == part.row))
            .unwrap_or_else(|| panic!("no row for {}", part.row));
        rows.retain(|other| other != row);
        let new = (part.see)(&mut fresh());
        let mut machine = fresh();
        (part.set)(&mut machine);
        let before = (part.see)(&mut machine);
        assert_ne!(before, new, "{}: what is set must be seen", part.row);
        for (way, cell) in WAYS.into_iter().zip(cells) {
            holds(cell, part, way, &before, &new);
        }
    }
    assert_eq!(rows, Vec::<&str>::new(), "rows that nothing checks");
}

#[test]
fn a_table_that_is_wrong_is_found_out() {
    let wrong = |row: &str, cell: &'static str, way| {
        let part = PARTS.iter().find(|part| part.row == row).unwrap();
        let (mut marked, new) = (fresh(), (part.see)(&mut fresh()));
        (part.set)(&mut marked);
        let before = (part.see)(&mut marked);
        std::panic::catch_unwind(move || holds(cell, part, way, &before, &new)).is_err()
    };
    assert!(wrong("RAM", "lost", Way::S3));
    assert!(wrong("RAM", "kept", Way::Cut));
    assert!(wrong("CMOS memory", "kept", Way::Cut));
    assert!(wrong("8259A", "kept", Way::Reset));
    assert!(wrong("RAM", "perhaps", Way::S3));
}
