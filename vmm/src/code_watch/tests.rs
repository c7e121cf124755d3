//! What is told of, when, and that the guest does not notice.

use devices::acpi_pm::PM1_CONTROL;
use devices::{PowerEvent, VirtualTime};
use proptest::prelude::*;

use super::*;
use crate::engine::{Limit, Stop};
use crate::testing::{CODE, Code, LIMIT, Record, arm, enter, guest, machine, run_over_stops};
use crate::trigger::{Trigger, Triggers, What};

fn point(linear: u64, id: u16) -> CodePoint {
    CodePoint { linear, physical: None, id }
}

fn executed(record: &Record) -> Vec<(u16, u64)> {
    let seen = record.seen.iter();
    seen.filter_map(|(at, event)| match event {
        Event::Executed { point } => Some((*point, at.instructions)),
        _ => None,
    })
    .collect()
}

/// mov ecx, 1000 ; loop $ ; mov edx, 0xe9 ; mov eax, 7 ; out dx, al ; then it halts.
fn program() -> Vec<u8> {
    Code::new().spin(1000).outb(0xe9, 7).halt()
}

#[test]
fn every_instruction_has_its_moment_and_the_run_is_the_same() {
    let mut plain = guest(&program());
    let stop = plain.run(LIMIT, &mut Record::default());
    // The start; the loop; behind it, where it falls through; the OUT; behind it, when the access has ended a slice.
    let expected: Vec<(u16, u64)> = std::iter::once((0, 0))
        .chain((1..=1000).map(|turn| (1, turn)))
        .chain([(2, 1001), (3, 1003), (4, 1004)])
        .collect();
    for stops in [None, Some((|event| matches!(event, Event::Executed { .. })) as fn(&Event) -> bool)] {
        let mut watched = guest(&program());
        watched.watch_code(vec![
            point(CODE + 18, 4),
            point(CODE + 17, 3),
            point(CODE, 0),
            point(CODE + 5, 1),
            point(CODE + 7, 2),
            point(CODE + 8, 99),
        ]);
        let mut record = Record { seen: Vec::new(), stop: stops };
        let (end, count) = run_over_stops(&mut watched, &mut record);
        assert_eq!((end, executed(&record)), (stop, expected.clone()));
        assert_eq!(count, if stops.is_some() { expected.len() } else { 0 });
        assert_eq!(watched.digest(), plain.digest());
        let at = record.seen[1001].0;
        assert_eq!((at.processor, at.time), (Some(0), VirtualTime(1001 * cpu::NS_PER_INSTRUCTION)));
    }
}

#[test]
fn it_stops_before_the_instruction_with_everything_as_the_instruction_will_find_it() {
    let mut machine = guest(&program());
    machine.watch_code(vec![point(CODE + 17, 4)]);
    let mut triggers = Triggers::new([Trigger::first(What::Executed { point: 4 })]);
    let mut record = Record::default();
    assert_eq!(machine.run_to(&mut triggers, LIMIT, &mut record), Stop::Triggered);
    let state = machine.processors().next().unwrap();
    assert_eq!((state.rip, state.gpr[2], state.gpr[0]), (CODE + 17, 0xe9, 7));
    assert_eq!(triggers.matched()[0].at.instructions, machine.instructions());
    // Replacing what is watched does not make it new.
    machine.watch_code(vec![point(CODE + 17, 5)]);
    assert_eq!(machine.run_to(&mut triggers, LIMIT, &mut record), Stop::Idle);
    assert_eq!(record.events(), [Event::Executed { point: 4 }, Event::Debug { byte: 7 }]);
}

#[test]
fn what_is_mapped_elsewhere_does_not_count_and_two_points_may_share_an_address() {
    let mut machine = guest(&program());
    let at = |physical, id| CodePoint { linear: CODE + 7, physical: Some(physical), id };
    machine.watch_code(vec![at(CODE + 7, 1), at(CODE + 0x1007, 2), point(CODE + 7, 3)]);
    let mut record = Record::default();
    machine.run(LIMIT, &mut record);
    // Those without a physical address come first, as in the list that tells what is watched.
    assert_eq!(executed(&record), [(3, 1001), (1, 1001)]);
}

#[test]
fn another_snapshot_is_told_of_again_and_what_was_restored_is_not_watched_less() {
    let mut machine = guest(&program());
    machine.watch_code(vec![point(CODE + 7, 1)]);
    let mut record = Record::stopping(|event| matches!(event, Event::Executed { .. }));
    assert_eq!(machine.run(LIMIT, &mut record), Stop::Triggered);
    let here = machine.snapshot();
    assert_eq!(machine.run(LIMIT, &mut record), Stop::Idle);
    machine.restore(&here).unwrap();
    assert_eq!(machine.run(LIMIT, &mut record), Stop::Triggered);
    assert_eq!(executed(&record), [(1, 1001), (1, 1001)]);
}

#[test]
fn s3_is_slept_through_and_a_reset_ends_it() {
    let mut machine = guest(&Code::new().outw(PM1_CONTROL, 0x2401).halt());
    arm(&machine, 0x8000, &Code::real().outb(0xe9, 7).halt());
    machine.watch_code(vec![point(0x8000, 1)]);
    let mut record = Record::default();
    assert!(matches!(machine.run(LIMIT, &mut record), Stop::Power(_)));
    machine.wake_by_button(1, &mut record).unwrap();
    assert_eq!(machine.run(LIMIT, &mut record), Stop::Idle);
    let events = record.events();
    let awake = events.iter().position(|event| *event == Event::Power(PowerEvent::Awake)).unwrap();
    assert_eq!(events[awake + 1..], [Event::Executed { point: 1 }, Event::Debug { byte: 7 }]);
    assert_eq!(machine.watched_code().len(), 1);
    machine.reset_line(&mut record).unwrap();
    assert_eq!(machine.watched_code(), []);
}

/// Two processors that execute the same.
fn pair(code: &[u8]) -> Machine {
    let mut machine = machine(2, Vec::new());
    enter(&mut machine, code);
    let mut processors = machine.engine.processors_mut();
    let (first, second) = (processors.next().unwrap(), processors.next().unwrap());
    second.activity = first.activity;
    (second.rip, second.rflags, second.cr0) = (first.rip, first.rflags, first.cr0);
    second.segments = first.segments;
    drop(processors);
    machine
}

#[test]
fn each_of_several_processors_is_told_of() {
    let program = Code::new().spin(60_000).outb(0xe9, 7).halt();
    let mut plain = pair(&program);
    let stop = plain.run(LIMIT, &mut Record::default());
    let mut machine = pair(&program);
    machine.watch_code(vec![point(CODE, 0), point(CODE + 7, 1)]);
    let mut record = Record::stopping(|_| true);
    let (end, _) = run_over_stops(&mut machine, &mut record);
    assert_eq!((end, machine.digest()), (stop, plain.digest()));
    for processor in [0, 1] {
        let seen: Vec<Event> = record
            .seen
            .iter()
            .filter(|(at, _)| at.processor == Some(processor))
            .map(|(_, event)| *event)
            .collect();
        let expected = [Event::Executed { point: 0 }, Event::Executed { point: 1 }, Event::Debug { byte: 7 }];
        assert_eq!(seen, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever is watched, however the run is cut into pieces: told of the same, and the machine is the same.
    #[test]
    fn pieces_do_not_matter(
        points in proptest::collection::btree_set(0u64..24, 0..6),
        pieces in proptest::collection::vec(1u64..400, 1..12),
        stops: bool,
    ) {
        let code = Code::new().spin(300).outb(0xe9, 7).spin(200).halt();
        let watched: Vec<CodePoint> =
            points.iter().map(|offset| point(CODE + offset, *offset as u16)).collect();
        let stop: Option<fn(&Event) -> bool> =
            stops.then_some((|event: &Event| matches!(event, Event::Executed { .. })) as _);
        let run = |watched: &[CodePoint], pieces: &[u64]| {
            let mut machine = guest(&code);
            machine.watch_code(watched.to_vec());
            let mut record = Record { seen: Vec::new(), stop };
            for piece in pieces {
                let instructions = Some(machine.instructions() + piece);
                machine.run(Limit { instructions, ..LIMIT }, &mut record);
            }
            while machine.run(LIMIT, &mut record) == Stop::Triggered {}
            (machine.digest(), record.seen)
        };
        let whole = run(&watched, &[]);
        prop_assert_eq!(whole.0, run(&[], &[]).0);
        prop_assert_eq!(run(&watched, &pieces), whole);
    }
}
