//! A trigger stops the machine in the very event, and a machine that goes on is one that was never stopped.

use devices::acpi_pm::PM1_CONTROL;
use devices::{DiskStep, PowerRequest};
use proptest::prelude::*;

use super::*;
use crate::drive::FrontEnd;
use crate::testing::{Code, LIMIT, Record, drive, enter, guest, machine, run_over_stops};

/// Queues of the virtio disks in slots 1 and 2: descriptors, then the driver's ring, then the device's, a page each.
const QUEUES: [u32; 2] = [0x20_0000, 0x21_0000];
const BUFFERS: u32 = 0x30_0000;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Puts a request into the queue of a disk: type of virtio-blk, and sector.
    Put {
        disk: usize,
        kind: u32,
        sector: u64,
    },
    /// Tells a disk that there are requests.
    Notify(usize),
    Spin(u32),
    /// A byte for the console.
    Say(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![4 => Just(1u32), 2 => Just(0), 2 => Just(4)];
    let step = prop_oneof![
        4 => (0usize..2, kind, 0u64..64).prop_map(|(disk, kind, sector)| Step::Put { disk, kind, sector }),
        3 => (0usize..2).prop_map(Step::Notify),
        2 => (1u32..60_000).prop_map(Step::Spin),
        1 => any::<u8>().prop_map(Step::Say),
    ];
    proptest::collection::vec(step, 1..40)
}

/// A machine with two disks that is about to do this.
fn prepared(steps: &[Step]) -> Machine {
    let mut machine = machine(1, vec![drive(0, FrontEnd::Virtio), drive(1, FrontEnd::Virtio)]);
    let mut code = Code::new();
    let mut put = [0u16; 2];
    for step in steps {
        code = match *step {
            Step::Put { disk, kind, sector } => {
                let head = put[disk] % 5 * 3;
                let queue = u64::from(QUEUES[disk]);
                let buffer = u64::from(BUFFERS) + (disk as u64) * 0x10_000 + u64::from(put[disk]) * 0x400;
                if put[disk] >= 5 {
                    continue;
                }
                let mut header = kind.to_le_bytes().to_vec();
                header.extend([0; 4]);
                header.extend(sector.to_le_bytes());
                machine.ram.write(buffer, &header).unwrap();
                machine.ram.write(buffer + 0x100, &[kind as u8 + 7; 512]).unwrap();
                let data_flags = if kind == 1 { 1u16 } else { 3 };
                let descriptors =
                    [(buffer, 16u32, 1u16), (buffer + 0x100, 512, data_flags), (buffer + 0x300, 1, 2)];
                // A flush has no data.
                let next = if kind == 4 { [2, 2, 0] } else { [1, 2, 0] };
                for (number, (address, len, flags)) in descriptors.into_iter().enumerate() {
                    let mut entry = address.to_le_bytes().to_vec();
                    entry.extend(len.to_le_bytes());
                    entry.extend(flags.to_le_bytes());
                    entry.extend((head + next[number]).to_le_bytes());
                    machine.ram.write(queue + 16 * (u64::from(head) + number as u64), &entry).unwrap();
                }
                let ring = queue + 0x1000 + 4 + 2 * u64::from(put[disk]);
                machine.ram.write(ring, &head.to_le_bytes()).unwrap();
                put[disk] += 1;
                code.store(QUEUES[disk] + 0x1002, put[disk])
            }
            Step::Notify(disk) => code.store(0xc010_3000 + 0x10_0000 * disk as u32, 0),
            Step::Spin(times) => code.spin(times),
            Step::Say(byte) => code.outb(0x3f8, byte),
        };
    }
    enter(&mut machine, &code.halt());
    negotiate(&mut machine);
    machine
}

/// As a driver does it (virtio 1.2, 4.1.4.3).
fn negotiate(machine: &mut Machine) {
    let (ram, clock, mut record) = (&machine.ram, machine.clock, Record::default());
    let mut world = crate::board::World::of_host(ram, clock, 0, &mut record);
    for (disk, queue) in QUEUES.into_iter().enumerate() {
        let slot = disk as u64 + 1;
        let common = 0xc000_0000 + (slot << 20);
        let queue = u64::from(queue);
        let mut write = |address: u64, size: u8, value: u64| {
            machine.board.memory_write(VirtualTime(0), address, size, value, &mut world);
        };
        write(0xb000_0000 + (slot << 15) + 4, 2, 6);
        // VERSION_1 and FLUSH: nothing else.
        for (offset, size, value) in [
            (20, 1, 3),
            (8, 4, 0),
            (12, 4, 1 << 9),
            (8, 4, 1),
            (12, 4, 1),
            (20, 1, 11),
            (22, 2, 0),
            (24, 2, 16),
        ] {
            write(common + offset, size, value);
        }
        for (offset, value) in [(32, queue), (40, queue + 0x1000), (48, queue + 0x2000)] {
            write(common + offset, 4, value);
        }
        write(common + 28, 2, 1);
        write(common + 20, 1, 15);
    }
}

fn whole(steps: &[Step]) -> (Record, Stop, crate::Digest) {
    let (mut machine, mut record) = (prepared(steps), Record::default());
    let stop = machine.run(LIMIT, &mut record);
    (record, stop, machine.digest())
}

#[test]
fn two_disks_complete_at_one_instant_and_the_second_waits() {
    let write = |disk| Step::Put { disk, kind: 1, sector: 0 };
    // Accepted 50 instructions apart, and yet done at one time: the second is put so that it falls due in the same step of the clock.
    let steps = [write(0), write(1), Step::Notify(0), Step::Notify(1)];
    let completed = |event: &Event| matches!(event, Event::Disk(DiskEvent { step: DiskStep::Completed, .. }));
    let mut machine = prepared(&steps);
    // Nobody looks before both are due.
    let mut record = Record::default();
    assert_eq!(machine.run(Limit { time: Some(VirtualTime(20_000)), ..LIMIT }, &mut record), Stop::Time);
    machine.clock.advance(1_000_000);
    let mut record = Record::stopping(completed);
    assert_eq!(machine.run(LIMIT, &mut record), Stop::Triggered);
    assert_eq!(record.seen.len(), 1, "the other disk stands still: {:?}", record.seen);
    let first_time = record.seen[0].0.time;
    assert_eq!(machine.run(LIMIT, &mut record), Stop::Triggered);
    assert_eq!((record.seen.len(), record.seen[1].0.time), (2, first_time));
    assert_eq!(machine.run(LIMIT, &mut record), Stop::Idle);
}

#[test]
fn what_a_disk_and_the_host_write_to_memory_is_told_apart_from_what_the_guest_writes() {
    let read = Step::Put { disk: 0, kind: 0, sector: 0 };
    let mut machine = prepared(&[read, Step::Notify(0)]);
    machine.watch_foreign_writes(true);
    machine.ram.write(0x40_0000, &[1]).unwrap();
    assert_eq!(machine.run(LIMIT, &mut Record::default()), Stop::Idle);
    machine.ram.write(0x41_0000, &[1]).unwrap();
    let foreign: Vec<(u64, ram::Writer)> =
        machine.take_foreign_writes().iter().map(|write| (write.frame, write.writer)).collect();
    let device = [u64::from(QUEUES[0]) / 4096 + 2, u64::from(BUFFERS) / 4096];
    let [host, used, buffer, later] = [
        (0x400, ram::Writer::Host),
        (device[0], ram::Writer::Device),
        (device[1], ram::Writer::Device),
        (0x410, ram::Writer::Host),
    ];
    let mut expected = vec![host, used, buffer, later];
    expected.sort_unstable();
    assert_eq!(foreign, expected);
    machine.power_cycle(1, &mut Record::default()).unwrap();
    machine.take_foreign_writes();
    machine.ram.write(0x41_0000, &[1]).unwrap();
    assert_eq!(machine.take_foreign_writes().len(), 1, "power that went and came does not end it");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_machine_that_was_stopped_at_every_event_is_one_that_never_was(steps in steps()) {
        let (expected, stop, digest) = whole(&steps);
        let mut machine = prepared(&steps);
        let mut record = Record::stopping(|_| true);
        let (stopped, stops) = run_over_stops(&mut machine, &mut record);
        prop_assert_eq!(stopped, stop);
        prop_assert_eq!(stops, expected.seen.len());
        prop_assert_eq!(record.seen, expected.seen);
        prop_assert_eq!(machine.digest(), digest);
    }
}

#[test]
fn times_and_instructions_are_exact_and_the_first_to_come_wins() {
    let code = Code::new().spin(100_000).outb(0xe9, b'x').halt();
    let debug = Trigger::first(What::Debug { byte: None });
    let instruction = |number| Trigger::first(What::Instruction(number));
    let time = |ns| Trigger::first(What::Time(VirtualTime(ns)));
    let run = |triggers: Vec<Trigger>| {
        let (mut machine, mut triggers) = (guest(&code), Triggers::new(triggers));
        let stop = machine.run_to(&mut triggers, LIMIT, &mut Record::default());
        (stop, triggers.matched().to_vec(), machine.instructions(), machine.now().0)
    };
    let (stop, matched, instructions, now) = run(vec![debug.clone(), instruction(777), time(40_000)]);
    assert_eq!((stop, matched.len(), matched[0].trigger, instructions), (Stop::Triggered, 1, 1, 777));
    assert_eq!((matched[0].at.instructions, matched[0].at.time.0), (777, now));
    let (_, matched, instructions, now) = run(vec![debug.clone(), instruction(20_000), time(40_000)]);
    assert_eq!((matched[0].trigger, instructions, now), (2, 10_000, 40_000));
    // MOV, the loop, MOV, MOV, OUT.
    let (_, matched, instructions, _) = run(vec![debug, instruction(100_005), time(u64::MAX)]);
    assert_eq!((matched.len(), matched[0].trigger, instructions), (1, 0, 100_004));
    assert_eq!(matched[0].at.instructions, 100_004);
    assert_eq!(matched[0].at.processor, Some(0));
}

#[test]
fn a_match_inside_the_sleep_register_comes_before_the_sleep() {
    let code = Code::new().outw(PM1_CONTROL, 0x2401).halt();
    let (mut machine, mut record) = (guest(&code), Record::default());
    let mut triggers = Triggers::new([Trigger::first(What::sleep(SleepState::S3))]);
    assert_eq!(machine.run_to(&mut triggers, LIMIT, &mut record), Stop::Triggered);
    assert_eq!(machine.power_state(), crate::PowerState::S0);
    assert_eq!(record.events(), [Event::SleepRegister { slp_typ: 1 }]);
    let asked = Stop::Power(PowerRequest::Sleep { slp_typ: 1 });
    assert_eq!(machine.run_to(&mut triggers, LIMIT, &mut record), asked);
    assert_eq!(machine.power_state(), crate::PowerState::S3);
}
