//! Snapshots at any instant of any guest: whatever is restored, forked, written and read in between, the run is the same, to the bit.

use std::sync::Arc;

use cpu::CpuState;
use cpu::state::{Activity, InterruptShadow};
use vmm::{Config, Limit, Limits, Machine, Snapshot, Stop};

use crate::software::{Guest, LIMIT};

/// xorshift: the same walk every time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

pub fn to_bytes(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot.write_to(&mut bytes).unwrap();
    bytes
}

pub fn from_bytes(bytes: &[u8]) -> Arc<Snapshot> {
    Snapshot::read_from(bytes, Limits::default(), |_, _| None).unwrap()
}

fn step(guest: &mut Guest, instructions: u64) -> Stop {
    let instructions = Some(guest.machine.instructions() + instructions);
    guest.machine.run(Limit { instructions, ..LIMIT }, &mut guest.log)
}

/// A guest that is torn to and fro at thousands of instants ends as if nothing had happened.
pub fn compare(name: &str, processors: u32) {
    let mut whole = Guest::new(name, processors);
    let expected = whole.run();
    let mut guest = Guest::new(name, processors);
    let mut random = Random(0x6b6a_766d);
    let mut old = guest.machine.snapshot();
    let mut stop = Stop::Instructions;
    let mut instants = 0u64;
    while stop == Stop::Instructions {
        instants += 1;
        // Some instructions one by one, then a leap; further and further, since some guests wait for long.
        let far = 20 + instants * instants / 400;
        let piece = if instants.is_multiple_of(16) { 1 + random.below(far) } else { 1 };
        stop = step(&mut guest, piece);
        if stop != Stop::Instructions {
            break;
        }
        let (now, said) = (guest.machine.snapshot(), guest.log.bytes.len());
        // The future, and the past, and back.
        step(&mut guest, 1 + random.below(30));
        if random.below(3) == 0 {
            guest.machine.restore(&old).unwrap();
            step(&mut guest, random.below(30));
        }
        if random.below(10) == 0 {
            old = now.clone();
        }
        guest.machine.restore(&now).unwrap();
        guest.log.bytes.truncate(said);
        assert!(*guest.machine.snapshot() == *now, "{name}: a restored machine is another one");
        if instants.is_multiple_of(256) {
            let bytes = to_bytes(&now);
            let read = from_bytes(&bytes);
            assert!(*read == *now);
            guest.machine = Machine::from_snapshot(&read).unwrap();
            assert!(to_bytes(&guest.machine.snapshot()) == bytes, "{name}: other bytes");
        }
    }
    let seen = guest.ended(stop);
    assert_eq!(seen.to_string(), expected.to_string(), "{name}");
    assert_eq!(guest.digest(), whole.digest(), "{name}");
}

/// Steps a guest to an instant of which this holds, given the state before the last instruction too, and returns the machine as it is
/// then.
fn find(guest: &mut Guest, what: &str, holds: impl Fn(&Machine, &[CpuState]) -> bool) -> Arc<Snapshot> {
    let mut before: Vec<CpuState> = guest.machine.processors().cloned().collect();
    for _ in 0..200_000 {
        assert_eq!(step(guest, 1), Stop::Instructions, "{what} never comes");
        if holds(&guest.machine, &before) {
            return guest.machine.snapshot();
        }
        before = guest.machine.processors().cloned().collect();
    }
    panic!("{what} does not come");
}

/// From this instant on, a machine made of the snapshot's bytes, and one that went back to it from somewhere else, end as the one that
/// was never interrupted.
fn goes_on_equally(what: &str, guest: &mut Guest, snapshot: &Arc<Snapshot>) {
    let bytes = to_bytes(snapshot);
    let log = guest.log.bytes.clone();
    let mut fresh =
        Guest { machine: Machine::from_snapshot(&from_bytes(&bytes)).unwrap(), log: guest.log.clone() };
    assert!(to_bytes(&fresh.machine.snapshot()) == bytes, "{what}");
    let expected = (guest.run().to_string(), guest.digest());
    guest.machine.restore(snapshot).unwrap();
    guest.log.bytes = log;
    assert!(to_bytes(&guest.machine.snapshot()) == bytes, "{what}");
    assert_eq!((guest.run().to_string(), guest.digest()), expected, "{what}: restored");
    assert_eq!((fresh.run().to_string(), fresh.digest()), expected, "{what}: from bytes");
}

type Holds = fn(&Machine, &[CpuState]) -> bool;

fn any(machine: &Machine, holds: impl Fn(&CpuState) -> bool) -> bool {
    machine.processors().any(holds)
}

/// Of the first processor, the command register of the local APIC: delivery mode.
fn last_command(machine: &Machine) -> u64 {
    let mut first = machine.processors().next().unwrap().clone();
    let now = cpu::apic::Moment { ns: 0, tsc: 0 };
    first.apic.read(0x30, now).unwrap_or(0) >> 8 & 7
}

const MOMENTS: &[(&str, &str, u32, Holds)] = &[
    ("behind STI", "held_back", 1, |machine, _| any(machine, |cpu| cpu.shadow == InterruptShadow::Sti)),
    ("behind MOV SS", "held_back", 1, |machine, _| any(machine, |cpu| cpu.shadow == InterruptShadow::MovSs)),
    ("an interrupt waits", "held_back", 1, |machine, _| {
        any(machine, |cpu| cpu.rflags & 1 << 9 == 0 && cpu.apic.is_interrupt_pending())
    }),
    ("a debug trap waits", "single_step", 1, |machine, _| any(machine, |cpu| cpu.pending_debug != 0)),
    ("between INIT and start-up", "processors", 2, |machine, _| {
        let other = machine.processors().nth(1).unwrap();
        last_command(machine) == 5 && other.activity == Activity::WaitForSipi
    }),
    ("start-up", "processors", 2, |machine, before| {
        let other = machine.processors().nth(1).unwrap();
        before[1].activity == Activity::WaitForSipi && other.activity == Activity::Running
    }),
    ("halted", "processors", 2, |machine, _| any(machine, |cpu| cpu.activity == Activity::Halted)),
    ("in the middle of a repeated instruction", "repeats", 1, |machine, before| {
        let cpu = machine.processors().next().unwrap();
        cpu.rip == before[0].rip && cpu.gpr[1] + 1 == before[0].gpr[1] && cpu.gpr[1] > 1
    }),
    ("an NMI is being served", "processors", 2, |machine, _| any(machine, |cpu| cpu.nmi_blocked)),
];

#[test]
fn hostile_moments() {
    for (what, name, processors, holds) in MOMENTS {
        let mut guest = Guest::new(name, *processors);
        let snapshot = find(&mut guest, what, holds);
        goes_on_equally(what, &mut guest, &snapshot);
    }
}

#[test]
fn in_the_call_that_a_trigger_stopped() {
    let mut guest = Guest::new("self_modified", 1);
    for byte in [100, 101, 300] {
        guest.log.stop_after = Some(byte);
        assert_eq!(guest.machine.run(LIMIT, &mut guest.log), Stop::Triggered);
        let snapshot = guest.machine.snapshot();
        goes_on_equally("triggered", &mut guest, &snapshot);
        guest.machine.restore(&snapshot).unwrap();
        guest.log.bytes.truncate(byte);
    }
}

#[test]
fn with_bytes_on_the_serial_lines() {
    let mut guest = Guest::new("repeats", 1);
    step(&mut guest, 100);
    for (port, after) in [(0, 0), (1, 0), (1, 1_000_000)] {
        guest.machine.receive(port, &[0x55; 40], after, &mut guest.log);
    }
    step(&mut guest, 1);
    assert!(guest.machine.board().com1.waiting() > 0 && guest.machine.board().com2.waiting() > 0);
    let snapshot = guest.machine.snapshot();
    goes_on_equally("bytes", &mut guest, &snapshot);
}

/// A fork that does something else changes nothing in the other, nor in what they share.
#[test]
fn forks_go_their_own_ways() {
    let mut guest = Guest::new("self_modified", 1);
    step(&mut guest, 2_000);
    let root = guest.machine.snapshot();
    let bytes = to_bytes(&root);
    let mut forks: Vec<Guest> =
        (0..3).map(|_| Guest { machine: guest.machine.fork().unwrap(), log: guest.log.clone() }).collect();
    let [one, other, third] = &mut forks[..] else { panic!() };
    // One runs to the end, another has its memory changed under it, the third waits.
    let expected = (guest.run().to_string(), guest.digest());
    assert_eq!((one.run().to_string(), one.digest()), expected);
    other.machine.ram().write(0x20_0000, &[0xf4; 0x1000]).unwrap();
    step(other, 500);
    assert_ne!(to_bytes(&other.machine.snapshot()), bytes);
    assert_eq!(to_bytes(&third.machine.snapshot()), bytes);
    assert_eq!((third.run().to_string(), third.digest()), expected);
    assert_eq!(to_bytes(&root), bytes);
    // And back, each to what the others became.
    let end = third.machine.snapshot();
    other.machine.restore(&end).unwrap();
    assert_eq!(other.digest(), expected.1);
}

/// What a fork translated must not run where memory says otherwise.
#[test]
fn code_that_was_rewritten_before_a_restore_does_not_run_after_it() {
    let mut guest = Guest::new("repeats", 1);
    step(&mut guest, 50);
    let root = guest.machine.snapshot();
    let here = guest.machine.processors().next().unwrap().rip;
    let value = |machine: &Machine| machine.processors().next().unwrap().gpr[0];
    // mov eax, VALUE; jmp to itself.
    let code = |value: u8| [0xb8, value, 0, 0, 0, 0xeb, 0xf9];
    let mut branches = Vec::new();
    for number in 1..=3 {
        guest.machine.restore(&root).unwrap();
        guest.machine.ram().write(here, &code(number)).unwrap();
        let before = guest.machine.snapshot();
        step(&mut guest, 100);
        assert_eq!(value(&guest.machine), u64::from(number));
        branches.push((number, before, guest.machine.snapshot()));
    }
    for _ in 0..3 {
        for (number, before, after) in &branches {
            guest.machine.restore(after).unwrap();
            guest.machine.restore(before).unwrap();
            step(&mut guest, 100);
            assert_eq!(value(&guest.machine), u64::from(*number));
            assert!(*guest.machine.snapshot() == **after);
        }
    }
    guest.machine.restore(&root).unwrap();
    assert_eq!(guest.run().to_string(), Guest::new("repeats", 1).run().to_string());
}

/// Of other machines: more memory, more processors.
#[test]
fn a_machine_becomes_any_other() {
    let config = Config { memory: 16 << 20, ..Config::default() };
    let mut small = Machine::new(config, Vec::new()).unwrap();
    let blank = small.snapshot();
    let mut guest = Guest::new("processors", 2);
    step(&mut guest, 3_000);
    let snapshot = guest.machine.snapshot();
    small.restore(&snapshot).unwrap();
    let mut grown = Guest { machine: small, log: guest.log.clone() };
    assert_eq!(grown.run().to_string(), guest.run().to_string());
    assert_eq!(grown.digest(), guest.digest());
    grown.machine.restore(&blank).unwrap();
    assert_eq!(grown.machine.ram().bytes(), 16 << 20);
    assert!(*grown.machine.snapshot() == *blank);
}

/// Memory that was lost with the power is not memory that was saved.
#[test]
fn power_may_go_between() {
    let mut guest = Guest::new("processors", 2);
    step(&mut guest, 3_000);
    let snapshot = guest.machine.snapshot();
    let log = guest.log.clone();
    let expected = (guest.run().to_string(), guest.digest());
    guest.machine.power_cycle(1_000, &mut guest.log).unwrap();
    let off = guest.machine.snapshot();
    assert_eq!(off.pages(), 0);
    guest.machine.restore(&snapshot).unwrap();
    guest.log = log.clone();
    assert_eq!((guest.run().to_string(), guest.digest()), expected);
    guest.machine.restore(&off).unwrap();
    guest.machine.restore(&snapshot).unwrap();
    guest.machine.reset_line(&mut guest.log).unwrap();
    guest.machine.restore(&snapshot).unwrap();
    guest.log = log;
    assert_eq!((guest.run().to_string(), guest.digest()), expected);
}
