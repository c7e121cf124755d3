//! Triggers and cuts under a kernel that works: a machine that was stopped anywhere is one that never was.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use agent_protocol::message::{Answer, Ask};
use common::{COMMAND_LINE, PATIENCE, SECOND, ask, boot, disk_behind, give_up, wait_ready};
use devices::disk::Media;
use devices::{DiskStep, PowerEvent};
use scenarios::{Guest, GuestError};
use vmm::power::nothing_unflushed;
use vmm::trigger::{DiskPattern, RequestKind, Watch, What};
use vmm::{Config, Entry, FrontEnd, Limit, Machine, Stop, Trigger, Triggers};

/// Two disks of either kind.
fn machine(processors: u32) -> Machine {
    let media = || Media::blank(64 << 20).unwrap();
    let drives = vec![disk_behind(FrontEnd::Virtio, 0, media()), disk_behind(FrontEnd::Nvme, 1, media())];
    let mut machine = Machine::new(Config { processors, ..Config::default() }, drives).unwrap();
    boot(&mut machine, "primary-6.12", Entry::Pvh, COMMAND_LINE);
    machine
}

/// Boots, and writes to both disks.
fn work(stop_everywhere: bool) -> Guest {
    let mut guest = Guest::new(machine(2));
    guest.tape.stop_everywhere = stop_everywhere;
    wait_ready(&mut guest);
    for (device, at) in [("/dev/vda", "/data"), ("/dev/nvme0n1", "/other")] {
        ask(&mut guest, &Ask::MakeExt4 { device: device.into(), arguments: Vec::new() });
        let (device, at, fstype) = (device.into(), at.into(), "ext4".into());
        ask(&mut guest, &Ask::Mount { device, at, fstype, options: String::new() });
    }
    guest
}

#[test]
fn a_machine_that_was_stopped_at_every_event_is_one_that_never_was() {
    let mut whole = work(false);
    let mut stopped = work(true);
    assert_eq!(stopped.tape.events(), whole.tape.events());
    assert!(whole.tape.events() > 10_000, "{} events", whole.tape.events());
    assert_eq!(stopped.machine.instructions(), whole.machine.instructions());
    assert_eq!(stopped.tape.console(), whole.tape.console());
    assert_eq!(stopped.machine.digest(), whole.machine.digest());
}

#[test]
fn the_power_is_cut_in_the_event_that_matches_and_what_boots_then_depends_on_the_disks_alone() {
    let write = |step| DiskPattern {
        disk: Some(0),
        step: Some(step),
        kind: Some(RequestKind::Write),
        ..DiskPattern::default()
    };
    // In three ways to the same contents: a disk that nothing was written to, and two whose writes are lost.
    let places = [
        What::Instruction(30_000_000),
        What::Disk(write(DiskStep::Accepted)),
        What::Disk(write(DiskStep::Completed)),
    ];
    let mut digests = Vec::new();
    for place in places {
        let mut guest = Guest::new(machine(1));
        let number = guest.triggers_mut().watch(Trigger::first(place.clone()));
        let make = Ask::MakeExt4 { device: "/dev/vda".into(), arguments: Vec::new() };
        let end = guest.wait_ready(120 * SECOND).and_then(|_| guest.ask(&make, PATIENCE));
        match end {
            Err(GuestError::Triggered(found)) if found.trigger == number => {
                assert_eq!(found.at.instructions, guest.machine.instructions(), "{place}");
            }
            other => give_up(&guest, &format!("{place}: {other:?}")),
        }
        let off = guest.machine.config().power_on;
        guest.machine.power_cut(&mut nothing_unflushed, &mut guest.tape).unwrap();
        guest.machine.power_on_at(devices::WorldTime(off + 3600 * SECOND), &mut guest.tape).unwrap();
        digests.push(guest.machine.digest());
        guest.power_lost();
        boot(&mut guest.machine, "primary-6.12", Entry::Pvh, COMMAND_LINE);
        let limit = Limit { instructions: Some(20_000_000), time: None };
        while guest.machine.run(limit, &mut guest.tape) == Stop::Triggered {}
        digests.push(guest.machine.digest());
    }
    for pair in digests.chunks(2) {
        assert_eq!(pair, &digests[..2]);
    }
}

#[test]
fn a_kernel_is_stopped_where_it_says_something_and_as_it_wakes() {
    let mut guest = Guest::new(machine(1));
    let said = guest.triggers_mut().watch(Trigger::first(What::console("PM: suspend entry (deep)")));
    let asleep = guest.triggers_mut().watch(Trigger::first(What::Power(PowerEvent::Asleep)));
    wait_ready(&mut guest);
    ask(&mut guest, &Ask::SetAlarm { seconds: 10 });
    let suspend = Ask::Suspend { state: agent_protocol::message::SuspendState::Mem, pm_test: None };
    let triggered = |end: Result<devices::PowerRequest, GuestError>| match end {
        Err(GuestError::Triggered(found)) => found.trigger,
        other => panic!("{other:?}"),
    };
    guest.depart(&suspend, PATIENCE).unwrap();
    assert_eq!(triggered(guest.run_to_power_request(PATIENCE)), said);
    assert!(guest.tape.console().ends_with("PM: suspend entry (deep)"));
    assert_eq!(triggered(guest.run_to_power_request(PATIENCE)), asleep);
    let mut awake = Triggers::new([Trigger::first(What::Power(PowerEvent::Awake))]);
    let before = guest.machine.instructions();
    guest.machine.sleep_until_wake(&mut Watch { triggers: &mut awake, observer: &mut guest.tape }).unwrap();
    assert_eq!(guest.machine.run(Limit::default(), &mut guest.tape), Stop::Triggered);
    assert_eq!((awake.matched().len(), guest.machine.instructions()), (1, before));
    common::returns(&mut guest);
    let Answer::Identity(_) = ask(&mut guest, &Ask::Identify) else { give_up(&guest, "no answer") };
}
