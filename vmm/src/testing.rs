//! Small guests for tests: code by hand, and machines that are about to execute it.

use devices::disk::{Disk, DiskConfig, Latency, Media};
use devices::{Event, Moment, Observer};
use firmware::registers::{Segment, access};
use firmware::{Registers, layout, reset};

use crate::config::Config;
use crate::drive::{Drive, FrontEnd};
use crate::engine::{Limit, Stop};
use crate::machine::Machine;

/// Where code of 32 bits begins.
pub const CODE: u64 = 0x10_0000;
/// Run time within which each of these guests is done.
pub const LIMIT: Limit = Limit { instructions: None, time: Some(devices::VirtualTime(10_000_000_000)) };

/// Instructions, of 16 or 32 bits.
pub struct Code {
    bytes: Vec<u8>,
    wide: bool,
}

impl Code {
    /// Of 32 bits.
    pub fn new() -> Self {
        Self { bytes: Vec::new(), wide: true }
    }

    /// Of 16 bits, for real mode.
    pub fn real() -> Self {
        Self { bytes: Vec::new(), wide: false }
    }

    fn immediate(mut self, opcode: u8, value: u32) -> Self {
        self.bytes.push(opcode);
        let bytes = value.to_le_bytes();
        self.bytes.extend(if self.wide { &bytes[..] } else { &bytes[..2] });
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// Writes a byte to a port.
    pub fn outb(self, port: u16, value: u8) -> Self {
        self.immediate(0xba, port.into()).immediate(0xb8, value.into()).raw(&[0xee])
    }

    /// Writes two bytes to a port.
    pub fn outw(self, port: u16, value: u16) -> Self {
        let out = self.immediate(0xba, port.into()).immediate(0xb8, value.into());
        let wide = out.wide;
        out.raw(if wide { &[0x66, 0xef] } else { &[0xef] })
    }

    /// Stores two bytes at an address (32 bits only).
    pub fn store(mut self, address: u32, value: u16) -> Self {
        self.bytes.extend([0x66, 0xc7, 0x05]);
        self.bytes.extend(address.to_le_bytes());
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// Executes this many instructions.
    pub fn spin(self, times: u32) -> Self {
        self.immediate(0xb9, times.max(1)).raw(&[0xe2, 0xfe])
    }

    /// Ends the machine with this status.
    pub fn exit(self, status: u8) -> Self {
        self.outb(0xf4, status)
    }

    /// A triple fault: there is no interrupt descriptor table.
    pub fn triple_fault(self) -> Self {
        self.raw(&[0x0f, 0x01, 0x1d, 0, 0, 0, 0, 0x0f, 0x0b])
    }

    /// Waits for good.
    pub fn halt(self) -> Vec<u8> {
        self.raw(&[0xfa, 0xf4]).bytes
    }
}

/// A blank disk of 1 MiB.
pub fn drive(id: u8, front_end: FrontEnd) -> Drive {
    let latency = Latency { read: 90_000, write: 90_000, ..Latency::default() };
    let config = DiskConfig { id, latency, ..DiskConfig::default() };
    Drive { front_end, disk: Disk::new(config, Media::blank(1 << 20).unwrap()).unwrap() }
}

/// A small machine with these disks.
pub fn machine(processors: u32, drives: Vec<Drive>) -> Machine {
    Machine::new(Config { processors, memory: 16 << 20, ..Config::default() }, drives).unwrap()
}

/// Firmware's tables are in memory, and the first processor is about to execute this code in protected mode, flat, interrupts off.
pub fn enter(machine: &mut Machine, code: &[u8]) {
    let tables = firmware::tables(&machine.board.describe(&machine.config), &machine.board.aml()).unwrap();
    for blob in &tables.blobs {
        for (address, bytes) in blob.pieces() {
            machine.ram.write(address, bytes).unwrap();
        }
    }
    machine.ram.write(CODE, code).unwrap();
    let data = Segment::flat(16, access::DATA, false);
    let registers = Registers {
        rip: CODE,
        cr0: 0x11,
        cs: Segment::flat(8, access::CODE, false),
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        ..reset::power_on(machine.engine.signature())
    };
    machine.engine.enter(&registers, &tables.mtrrs);
}

/// A machine of one processor without disks that is about to execute this.
pub fn guest(code: &[u8]) -> Machine {
    let mut machine = machine(1, Vec::new());
    enter(&mut machine, code);
    machine
}

/// Puts code of 16 bits at an address, and its address into the FACS.
pub fn arm(machine: &Machine, vector: u32, code: &[u8]) {
    machine.ram.write(vector.into(), code).unwrap();
    machine.ram.write(layout::FACS + 12, &vector.to_le_bytes()).unwrap();
}

/// Keeps every event, and stops at those it is told to.
#[derive(Default, Debug)]
pub struct Record {
    /// In order.
    pub seen: Vec<(Moment, Event)>,
    /// Which stop the machine. None of them, if nothing is said.
    pub stop: Option<fn(&Event) -> bool>,
}

impl Record {
    /// Stops at all of them.
    pub fn stopping(stop: fn(&Event) -> bool) -> Self {
        Self { seen: Vec::new(), stop: Some(stop) }
    }

    /// What happened, without when.
    pub fn events(&self) -> Vec<Event> {
        self.seen.iter().map(|(_, event)| *event).collect()
    }
}

impl Observer for Record {
    fn event(&mut self, at: Moment, event: Event) -> bool {
        self.seen.push((at, event));
        self.stop.is_some_and(|stop| stop(&event))
    }
}

/// Runs to the end, over all stops of triggers; how often there was one.
pub fn run_over_stops(machine: &mut Machine, record: &mut Record) -> (Stop, usize) {
    let mut stops = 0;
    loop {
        let before = record.seen.len();
        match machine.run(LIMIT, record) {
            Stop::Triggered => {
                stops += 1;
                // One event and no more: everything stood still in it.
                let new: Vec<_> = record.seen[before..]
                    .iter()
                    .filter(|(_, event)| record.stop.is_some_and(|stop| stop(event)))
                    .collect();
                assert_eq!(new.len(), 1, "{new:?}");
                let (at, _) = record.seen.last().unwrap();
                assert_eq!(at.instructions, machine.instructions(), "the very instruction");
            }
            stop => return (stop, stops),
        }
    }
}
