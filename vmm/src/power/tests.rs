//! Ways between the states, legal and not.

use cpu::CpuState;
use cpu::state::Activity;
use devices::acpi_pm::{PM1_CONTROL, PM1_EVENT, Pm1, SleepState};
use devices::{Event, PowerEvent, PowerRequest, VirtualTime};
use firmware::layout;

use super::*;
use crate::config::Config;
use crate::drive::FrontEnd;
use crate::engine::Limit;
use crate::testing::{Code, LIMIT, Record, arm, drive, enter, guest, machine};
use crate::trigger::{Trigger, Triggers, What};

fn sleep(state: SleepState) -> Code {
    let typ = u16::from(state.slp_typ()) << 10;
    Code::new().outw(PM1_CONTROL, typ | 1).outw(PM1_CONTROL, typ | 0x2001)
}

fn asks(state: SleepState) -> Stop {
    Stop::Power(PowerRequest::Sleep { slp_typ: state.slp_typ() })
}

fn exits(status: u8) -> Stop {
    Stop::Power(PowerRequest::DebugExit { status })
}

/// A machine that a guest put into this state. The code behind the write never runs.
fn in_state(state: SleepState) -> (Machine, Record) {
    let (mut machine, mut record) = (guest(&sleep(state).exit(99).halt()), Record::default());
    assert_eq!(machine.run(LIMIT, &mut record), asks(state));
    (machine, record)
}

fn power_events(record: &Record) -> Vec<PowerEvent> {
    let power = |event: Event| if let Event::Power(event) = event { Some(event) } else { None };
    record.events().into_iter().filter_map(power).collect()
}

#[test]
fn the_guest_chooses_its_state() {
    use PowerEvent::{Asleep, Off};
    let states = [
        (SleepState::S3, PowerState::S3, Asleep),
        (SleepState::S4, PowerState::S4, Off),
        (SleepState::S5, PowerState::S5, Off),
    ];
    for (asked, state, event) in states {
        let (mut machine, record) = in_state(asked);
        assert_eq!((machine.power_state(), power_events(&record)), (state, vec![event]));
        assert_eq!(machine.run(LIMIT, &mut Record::default()), Stop::NotRunning(state));
    }
}

#[test]
fn types_that_mean_nothing_are_events_and_no_more() {
    let mut code = Code::new();
    for slp_typ in [3, 4, 5, 6, 7] {
        code = code.outw(PM1_CONTROL, slp_typ << 10 | 0x2001);
    }
    let (mut machine, mut record) = (guest(&code.exit(7).halt()), Record::default());
    assert_eq!(machine.run(LIMIT, &mut record), exits(7));
    let expected: Vec<Event> = [3, 4, 5, 6, 7].map(|slp_typ| Event::SleepRegister { slp_typ }).to_vec();
    assert_eq!((record.events(), machine.power_state()), (expected, PowerState::S0));
}

#[test]
fn each_way_needs_its_state() {
    let mut record = Record::default();
    let mut awake = guest(&Code::new().halt());
    assert_eq!(awake.sleep_until_wake(&mut record), Err(WakeError::NotAsleep(PowerState::S0)));
    assert_eq!(awake.wake_by_button(1, &mut record), Err(WakeError::NotAsleep(PowerState::S0)));
    assert_eq!(awake.wake_by_host(1, &mut record), Err(WakeError::NotAsleep(PowerState::S0)));
    let no = awake.power_on(0, &mut record).unwrap_err();
    assert_eq!(no.to_string(), "cannot switch on a machine that is on (S0)");
    for state in [SleepState::S3, SleepState::S4, SleepState::S5] {
        let (mut machine, mut record) = in_state(state);
        assert!(matches!(machine.reset_line(&mut record), Err(MachineError::Power { .. })));
        assert_eq!(machine.power_on(0, &mut record).is_ok(), state != SleepState::S3);
    }
    let (mut cut, mut record) = in_state(SleepState::S3);
    cut.power_cut(&mut nothing_unflushed, &mut record).unwrap();
    assert!(matches!(cut.power_cut(&mut nothing_unflushed, &mut record), Err(MachineError::Power { .. })));
    assert!(matches!(cut.reset_line(&mut record), Err(MachineError::Power { .. })));
    assert_eq!(cut.wake_by_host(0, &mut record), Err(WakeError::NotAsleep(PowerState::Cut)));
    assert_eq!(cut.run(LIMIT, &mut record), Stop::NotRunning(PowerState::Cut));
    let payload = firmware::boot::Payload { kernel: &[], initrd: None, command_line: "" };
    assert!(matches!(cut.boot(crate::Entry::Pvh, &payload), Err(MachineError::Power { .. })));
}

#[test]
fn a_wake_enters_the_vector_whatever_its_alignment() {
    for vector in [0x9000, 0x9005, 0xf, 0x9_fff0] {
        let (mut machine, mut record) = in_state(SleepState::S3);
        arm(&machine, vector, &Code::real().exit(42).halt());
        machine.ram.write(0x20_0000, b"stays").unwrap();
        let woke = machine.wake_by_host(5_000, &mut record);
        assert_eq!(woke, Ok(Wake { source: WakeSource::Host, slept: 5_000 }));
        assert_eq!(machine.board.pm.status(), Pm1::WAKE);
        let first = machine.processors().next().unwrap();
        assert_eq!(first.segments[1].base + first.rip, u64::from(vector));
        assert_eq!(machine.run(LIMIT, &mut record), exits(42));
        let mut kept = [0; 5];
        machine.ram.read(0x20_0000, &mut kept).unwrap();
        assert_eq!(&kept, b"stays");
        assert_eq!(power_events(&record), [PowerEvent::Asleep, PowerEvent::Awake]);
    }
}

#[test]
fn where_there_is_nothing_to_enter_firmware_boots() {
    // Bytes of the FACS that the guest wrote over.
    let bad: [(u64, &[u8], WakeError); 8] = [
        (12, &[0; 4], WakeError::NoVector),
        (12, &[0, 0, 0x10, 0], WakeError::BeyondRealMode(0x10_0000)),
        (12, &[0xff; 4], WakeError::BeyondRealMode(u32::MAX)),
        (12, &[0, 0, 0x0a, 0], WakeError::NotMemory(0xa_0000)),
        (12, &[0, 0xf0, 0x0e, 0], WakeError::NotMemory(0xe_f000)),
        (24, &[1], WakeError::ExtendedVector(1)),
        (0, &[0xff; 64], WakeError::NoFacs),
        (4, &[32], WakeError::NoFacs),
    ];
    for (at, bytes, error) in bad {
        let (mut machine, mut record) = in_state(SleepState::S3);
        arm(&machine, 0x9000, &Code::real().exit(42).halt());
        machine.ram.write(layout::FACS + at, bytes).unwrap();
        assert_eq!(machine.wake_by_button(1, &mut record), Err(error));
        // It runs, with its memory and the status that says why, and a kernel may be booted.
        assert_eq!(machine.power_state(), PowerState::S0);
        assert_eq!(machine.board.pm.status(), Pm1::WAKE | Pm1::POWER_BUTTON);
        assert_eq!(power_events(&record), [PowerEvent::Asleep, PowerEvent::Reset]);
        let fresh = CpuState { identity: machine.processors().next().unwrap().identity, ..CpuState::reset() };
        assert_eq!(machine.processors().next().unwrap().rip, fresh.rip);
        let mut code = [0];
        machine.ram.read(0x9000, &mut code).unwrap();
        assert_eq!(code, [0xba]);
        enter(&mut machine, &Code::new().exit(8).halt());
        assert_eq!(machine.run(LIMIT, &mut record), exits(8));
    }
}

#[test]
fn an_event_that_waits_wakes_at_once() {
    let code = Code::new().outw(PM1_EVENT + 2, Pm1::POWER_BUTTON.bits()).spin(1000);
    let code = code.outw(PM1_CONTROL, 0x0401).outw(PM1_CONTROL, 0x2401).halt();
    let (mut machine, mut record) = (guest(&code), Record::default());
    arm(&machine, 0x9000, &Code::real().exit(1).halt());
    machine.press_power_button(&mut record);
    assert_eq!(machine.run(LIMIT, &mut record), asks(SleepState::S3));
    let world = machine.clock.world_at(machine.now());
    let wake = machine.sleep_until_wake(&mut record);
    assert_eq!(wake, Ok(Wake { source: WakeSource::Pending, slept: 0 }));
    assert_eq!(machine.clock.world_at(machine.now()), world);
    assert_eq!(machine.run(LIMIT, &mut record), exits(1));
}

/// Sets the alarm `seconds` after power-on (2024-01-01 00:00:00) and switches its interrupt on.
fn with_alarm(mut code: Code, seconds: u8) -> Code {
    let decimal = |value: u8| value / 10 * 16 + value % 10;
    for (register, value) in [(1, decimal(seconds)), (3, 0), (5, 0), (0xb, 0x22)] {
        code = code.outb(0x70, register).outb(0x71, value);
    }
    code
}

#[test]
fn an_alarm_wakes_if_its_event_is_enabled_and_what_comes_first_wins() {
    for enabled in [true, false] {
        let enable = if enabled { Pm1::RTC.bits() } else { 0 };
        let code = with_alarm(Code::new().outw(PM1_EVENT + 2, enable), 30);
        let code = code.outw(PM1_CONTROL, 0x2401).halt();
        let asleep = || {
            let mut machine = guest(&code);
            arm(&machine, 0x9000, &Code::real().exit(1).halt());
            assert_eq!(machine.run(LIMIT, &mut Record::default()), asks(SleepState::S3));
            machine
        };
        let mut machine = asleep();
        let slept = 30_000_000_000 - machine.now().0;
        let alarm = Wake { source: WakeSource::Alarm, slept };
        assert_eq!(machine.next_alarm(), enabled.then_some(slept));
        let woke = machine.sleep_until_wake(&mut Record::default());
        if enabled {
            assert_eq!(woke, Ok(alarm));
            assert_eq!(machine.board.pm.status(), Pm1::WAKE | Pm1::RTC);
            assert_eq!(machine.now().0 + slept, 30_000_000_000, "run time stood still");
        } else {
            assert_eq!(woke, Err(WakeError::NothingWakes));
            assert_eq!(machine.power_state(), PowerState::S3, "and sleeps on");
        }
        for (after, first) in [(1, false), (60_000_000_000, enabled)] {
            let mut record = Record::default();
            let button = Wake { source: WakeSource::PowerButton, slept: after };
            assert_eq!(asleep().wake_by_button(after, &mut record), Ok(if first { alarm } else { button }));
            let host = Wake { source: WakeSource::Host, slept: after };
            assert_eq!(asleep().wake_by_host(after, &mut record), Ok(if first { alarm } else { host }));
        }
    }
}

/// What s2idle waits for: in S0 as well the alarm shows in PM1_STS, and the SCI is raised.
#[test]
fn an_alarm_in_s0_raises_the_sci() {
    let code = with_alarm(Code::new().outw(PM1_EVENT + 2, Pm1::RTC.bits()), 2).halt();
    let (mut machine, mut record) = (guest(&code), Record::default());
    let before = Limit { time: Some(VirtualTime(1_999_000_000)), ..Limit::default() };
    assert_eq!(machine.run(before, &mut record), Stop::Time);
    assert_eq!(machine.board.pm.status() & Pm1::RTC, Pm1::empty());
    assert!(!machine.board.signals.lines.is_active(devices::acpi_pm::SCI));
    let after = Limit { time: Some(VirtualTime(2_001_000_000)), ..Limit::default() };
    assert_eq!(machine.run(after, &mut record), Stop::Time);
    assert_eq!(machine.board.pm.status() & Pm1::RTC, Pm1::RTC);
    assert!(machine.board.signals.lines.is_active(devices::acpi_pm::SCI));
}

#[test]
fn the_other_processors_wait_for_a_start_up_ipi_after_a_wake_as_after_power_on() {
    let mut machine = machine(3, Vec::new());
    enter(&mut machine, &sleep(SleepState::S3).halt());
    let waiting = |machine: &Machine| -> Vec<Activity> {
        machine.processors().skip(1).map(|state| state.activity).collect()
    };
    assert_eq!(waiting(&machine), [Activity::WaitForSipi; 2]);
    for cpu in machine.engine.processors_mut().skip(1) {
        cpu.start_up(0x9f);
        cpu.msrs.star = 7;
    }
    let mut record = Record::default();
    // They execute zeros meanwhile.
    assert_eq!(machine.run(LIMIT, &mut record), asks(SleepState::S3));
    arm(&machine, 0x9000, &Code::real().halt());
    machine.wake_by_host(0, &mut record).unwrap();
    assert_eq!(waiting(&machine), [Activity::WaitForSipi; 2]);
    assert!(machine.processors().all(|state| state.msrs.star == 0));
}

#[test]
fn a_triple_fault_and_every_other_way_to_a_reset_end_in_a_boot() {
    let ways = [Code::new().triple_fault(), Code::new().outb(0xcf9, 6), Code::new().outb(0x64, 0xfe)];
    for code in ways {
        let (mut machine, mut record) = (guest(&code.halt()), Record::default());
        let stop = machine.run(LIMIT, &mut record);
        assert!(
            matches!(stop, Stop::TripleFault { processor: 0 } | Stop::Power(PowerRequest::Reset)),
            "{stop:?}"
        );
        machine.ram.write(0x20_0000, b"stays").unwrap();
        machine.reset_line(&mut record).unwrap();
        let mut kept = [0; 5];
        machine.ram.read(0x20_0000, &mut kept).unwrap();
        assert_eq!(&kept, b"stays");
        enter(&mut machine, &Code::new().exit(3).halt());
        assert_eq!(machine.run(LIMIT, &mut record), exits(3));
        assert_eq!(power_events(&record), [PowerEvent::Reset]);
    }
}

/// After a cut nothing of what was before it is left, wherever it came: in S0, inside the write to PM1_CNT, in S3, in S4, in S5.
#[test]
fn after_a_cut_a_machine_is_as_new_wherever_the_cut_was() {
    let world = WorldTime(1_800_000_000_000_000_000);
    let drives = || vec![drive(0, FrontEnd::Virtio), drive(1, FrontEnd::Nvme)];
    let config = Config { processors: 2, memory: 16 << 20, power_on: world.0, ..Config::default() };
    let mut fresh = Machine::new(config, drives()).unwrap();
    fresh.config.power_on = 0;
    let digest = fresh.digest();
    let busy =
        || with_alarm(Code::new().outw(PM1_EVENT + 2, Pm1::RTC.bits()).outw(0x43, 0x34).outb(0x3fb, 0x83), 9);
    let somewhere = Limit { instructions: Some(11), ..Limit::default() };
    let with = |code: Code, limit: Limit, trigger: Option<What>, stop: Stop| {
        let mut machine =
            Machine::new(Config { processors: 2, memory: 16 << 20, ..Config::default() }, drives()).unwrap();
        enter(&mut machine, &code.halt());
        let mut triggers = Triggers::new(trigger.map(Trigger::first));
        assert_eq!(machine.run_to(&mut triggers, limit, &mut Record::default()), stop);
        machine
    };
    let asked = |state: SleepState| busy().outw(PM1_CONTROL, u16::from(state.slp_typ()) << 10 | 0x2001);
    let places = [
        with(busy(), somewhere, None, Stop::Instructions),
        with(asked(SleepState::S3), LIMIT, Some(What::sleep(SleepState::S3)), Stop::Triggered),
        with(asked(SleepState::S3), LIMIT, None, asks(SleepState::S3)),
        with(asked(SleepState::S4), LIMIT, None, asks(SleepState::S4)),
        with(asked(SleepState::S5), LIMIT, None, asks(SleepState::S5)),
    ];
    for mut machine in places {
        let mut record = Record::default();
        machine.power_cut(&mut nothing_unflushed, &mut record).unwrap();
        machine.power_on_at(world, &mut record).unwrap();
        assert_eq!(power_events(&record), [PowerEvent::Cut, PowerEvent::On]);
        machine.config.power_on = 0;
        assert_eq!(machine.board, fresh.board);
        assert!(machine.processors().eq(fresh.processors()));
        assert_eq!(machine.digest(), digest);
    }
}

#[test]
fn power_that_went_by_order_leaves_the_battery_what_it_feeds() {
    let code = with_alarm(Code::new().outw(PM1_EVENT + 2, Pm1::RTC.bits()), 40);
    let code = code.outb(0x70, 0x50).outb(0x71, 0x77).outw(PM1_CONTROL, 0x2801).halt();
    let cmos = |machine: &mut Machine| {
        let mut record = Record::default();
        let mut world = World::of_host(&machine.ram, machine.clock, 0, &mut record);
        let now = machine.clock.now();
        machine.board.port_write(now, 0x70, 1, 0x50, &mut world);
        machine.board.port_read(now, 0x71, 1, &mut world)
    };
    for cut in [false, true] {
        let (mut machine, mut record) = (guest(&code), Record::default());
        assert_eq!(machine.run(LIMIT, &mut record), asks(SleepState::S4));
        let alarm = machine.next_alarm().unwrap();
        assert_eq!(alarm, 40_000_000_000 - machine.now().0);
        if cut {
            machine.power_cut(&mut nothing_unflushed, &mut record).unwrap();
            assert_eq!(machine.next_alarm(), None);
        }
        machine.power_on(alarm, &mut record).unwrap();
        assert_eq!(cmos(&mut machine), if cut { 0 } else { 0x77 });
        assert_eq!(machine.clock.world_at(machine.now()).0 % 60_000_000_000, 40_000_000_000);
        assert_eq!((machine.now(), machine.instructions()), (VirtualTime(0), 0));
    }
}

#[test]
fn a_trigger_on_a_wake_stops_before_the_first_instruction() {
    let (mut machine, mut record) = in_state(SleepState::S3);
    arm(&machine, 0x9000, &Code::real().exit(5).halt());
    let mut triggers = Triggers::new([Trigger::first(What::Power(PowerEvent::Awake))]);
    let mut watch = crate::trigger::Watch { triggers: &mut triggers, observer: &mut record };
    machine.wake_by_host(0, &mut watch).unwrap();
    let before = machine.instructions();
    assert_eq!(machine.run(LIMIT, &mut record), Stop::Triggered);
    assert_eq!(machine.instructions(), before);
    assert_eq!(machine.run(LIMIT, &mut record), exits(5));
}

#[test]
fn logs_of_disks_say_what_happened_to_the_power_and_when_it_took_the_cache() {
    let mut disk = drive(0, FrontEnd::Nvme);
    let config = devices::disk::DiskConfig { log: true, ..disk.disk.config().clone() };
    disk.disk = Disk::new(config, disk.disk.media().clone()).unwrap();
    let mut machine = Machine::new(Config { memory: 16 << 20, ..Config::default() }, vec![disk]).unwrap();
    let mut record = Record::default();
    for state in [SleepState::S3, SleepState::S4, SleepState::S5] {
        enter(&mut machine, &sleep(state).halt());
        assert_eq!(machine.run(LIMIT, &mut record), asks(state));
        if state == SleepState::S3 {
            arm(&machine, 0x9000, &Code::real().exit(5).halt());
            machine.wake_by_host(0, &mut record).unwrap();
            machine.reset_line(&mut record).unwrap();
        } else {
            machine.power_on(0, &mut record).unwrap();
        }
    }
    machine.power_cut(&mut everything_accepted, &mut record).unwrap();
    let log = machine.board().pci.disks().next().and_then(Disk::log).unwrap();
    let told: Vec<&str> = log
        .entries()
        .map(|entry| match &entry.record {
            devices::disk::write_log::Record::Power(mark) => mark.name(),
            devices::disk::write_log::Record::Lost { .. } => "lost",
            other => panic!("{other:?}"),
        })
        .collect();
    let cycle = |mark| [mark, "lost", "lost", "power-on"];
    let expected = [&["s3", "wake", "reset"][..], &cycle("s4"), &cycle("power-off"), &["power-cut", "lost"]];
    assert_eq!(told, expected.concat());
}
