//! What it makes of landmarks without a kernel; with one: see the tests of this crate.

use devices::disk::{Disk, DiskConfig, Media};
use vmm::{Config, Drive, FrontEnd};

use super::*;
use crate::checks::Status;

fn machine() -> Machine {
    let disk = Disk::new(DiskConfig::default(), Media::blank(1 << 20).unwrap()).unwrap();
    let drive = Drive { front_end: FrontEnd::Virtio, disk };
    Machine::new(Config { processors: 2, memory: 64 << 20, ..Config::default() }, vec![drive]).unwrap()
}

fn witness(machine: &Machine) -> Witness {
    let place = Place { disk: 0, partition: 1, bytes: 0..1 << 20 };
    Witness::new(&[], machine, Some(0x100_0000..0x200_0000), vec![place.clone()], vec![place])
}

/// The processor comes by these, one after the other.
fn comes_by(witness: &mut Witness, machine: &mut Machine, processor: u32, landmarks: &[Landmark]) {
    for landmark in landmarks {
        let at = Moment { processor: Some(processor), ..Moment::default() };
        witness.sees(machine, Hit { point: *landmark as u16, at });
    }
}

fn found(witness: Witness, clause: Clause) -> Vec<(Status, String)> {
    let checks = witness.conclude().into_iter().filter(|check| check.clause == clause);
    checks.map(|check| (check.status, check.evidence.into_iter().next().unwrap_or_default())).collect()
}

use Landmark::*;

#[test]
fn the_primary_has_what_firmware_says_but_page_0_and_what_is_withheld() {
    let machine = machine();
    let ranges = usable(&machine, Some(0x100_0000..0x200_0000));
    assert_eq!(ranges.first().map(|range| range.start), Some(0x1000));
    assert!(ranges.iter().all(|range| range.start % PAGE_SIZE == 0 && range.end % PAGE_SIZE == 0));
    let is_usable = |address: u64| ranges.iter().any(|range| range.contains(&address));
    assert!(
        is_usable(0xff_ffff) && !is_usable(0x100_0000) && !is_usable(0x1ff_ffff) && is_usable(0x200_0000)
    );
    assert_eq!(usable(&machine, None).len() + 1, ranges.len());
}

#[test]
fn a_write_of_the_host_between_devices_down_and_up_is_found() {
    for (address, expected) in [(0x4000, Status::Fail), (0x180_0000, Status::Pass)] {
        let mut machine = machine();
        let mut witness = witness(&machine);
        comes_by(&mut witness, &mut machine, 0, &[Suspended, Snapshot]);
        machine.ram().write(address, &[1]).unwrap();
        comes_by(&mut witness, &mut machine, 0, &[ResumeStart]);
        // Nobody watches any more.
        machine.ram().write(0x5000, &[1]).unwrap();
        comes_by(&mut witness, &mut machine, 0, &[ResumeStart]);
        let found = found(witness, Clause::QuietMemoryInSave);
        assert_eq!(found.iter().map(|check| check.0).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn devices_that_do_not_go_down_or_go_down_for_nothing_are_no_matter() {
    let mut machine = machine();
    let mut witness = witness(&machine);
    machine.change_processor(0, |state| state.gpr[0] = 0xffff_fff0);
    comes_by(&mut witness, &mut machine, 0, &[Suspended, Snapshot]);
    machine.ram().write(0x4000, &[1]).unwrap();
    comes_by(&mut witness, &mut machine, 0, &[ResumeStart]);
    machine.change_processor(0, |state| state.gpr[0] = 0);
    comes_by(&mut witness, &mut machine, 0, &[Suspended]);
    machine.ram().write(0x4000, &[1]).unwrap();
    comes_by(&mut witness, &mut machine, 0, &[ResumeStart]);
    assert_eq!(witness.conclude(), []);
}

#[test]
fn a_register_that_is_lost_on_one_processor_is_found_when_it_enters_user_mode_and_not_before() {
    let sleep = |change: fn(&mut cpu::CpuState)| {
        let mut machine = machine();
        let mut witness = witness(&machine);
        comes_by(&mut witness, &mut machine, 0, &[Prepare]);
        machine.change_processor(1, change);
        comes_by(&mut witness, &mut machine, 0, &[Complete, ToUserByIret]);
        comes_by(&mut witness, &mut machine, 1, &[ToUserBySysret]);
        // A second time is none.
        machine.change_processor(1, |state| state.msrs.star ^= 1);
        comes_by(&mut witness, &mut machine, 1, &[ToUserBySysret]);
        let checks = witness.conclude();
        checks.into_iter().map(|check| (check.clause, check.status)).collect::<Vec<_>>()
    };
    let both = |system, debug| vec![(Clause::SystemRegisters, system), (Clause::DebugRegisters, debug)];
    assert_eq!(sleep(|_| {}), both(Status::Pass, Status::Pass));
    assert_eq!(sleep(|state| state.cr2 = 5), both(Status::Pass, Status::Pass));
    assert_eq!(sleep(|state| state.msrs.pat = 5), both(Status::Fail, Status::Pass));
    assert_eq!(sleep(|state| state.idtr.limit = 5), both(Status::Fail, Status::Pass));
    assert_eq!(sleep(|state| state.debug[5] |= 1), both(Status::Pass, Status::Note));
}

#[test]
fn of_a_kernel_that_only_looks_for_an_image_nobody_wants_to_know_registers() {
    let mut machine = machine();
    let mut witness = witness(&machine);
    comes_by(&mut witness, &mut machine, 0, &[Prepare]);
    witness.power_goes(&mut machine);
    machine.change_processor(0, |state| state.msrs.pat = 5);
    // Another kernel quiesces and then enters the image: what counts is what the one that slept had.
    comes_by(&mut witness, &mut machine, 0, &[Prepare, Suspended]);
    machine.change_processor(0, |state| state.msrs.pat = 0x7_0406_0007_0406);
    comes_by(&mut witness, &mut machine, 0, &[RestoreRegisters, ResumeStart, Complete, ToUserBySysret]);
    witness.ends(&mut machine, &[]);
    let checks: Vec<_> = witness.conclude().iter().map(|check| (check.clause, check.status)).collect();
    let expected = [
        (Clause::MemoryAcrossHibernation, Status::NotObserved),
        (Clause::QuietMemoryInRestore, Status::Pass),
        (Clause::SystemRegisters, Status::Pass),
        (Clause::DebugRegisters, Status::Pass),
    ];
    assert_eq!(checks, expected);
}

#[test]
fn what_a_step_should_show_and_does_not_is_not_observed() {
    let mut machine = machine();
    let mut witness = witness(&machine);
    witness.begins("cycle 1, jump-back".into());
    witness.ends(&mut machine, &[Clause::MemoryAcrossJump]);
    let found = found(witness, Clause::MemoryAcrossJump);
    assert_eq!(found[0].0, Status::NotObserved);
    assert!(found[0].1.contains("CONFIG_KALLSYMS"), "{}", found[0].1);
}

#[test]
fn of_another_kernel_in_the_primarys_place_nothing_is_watched_and_that_is_said() {
    let mut machine = machine();
    let mut witness = witness(&machine);
    witness.found.push(CodePoint { linear: 1, physical: None, id: Suspended as u16 });
    witness.boots(&mut machine, true);
    assert_eq!(machine.watched_code().len(), 1);
    witness.boots(&mut machine, false);
    assert_eq!(machine.watched_code(), []);
    witness.ends(&mut machine, &[Clause::MemoryAcrossHibernation]);
    let found = found(witness, Clause::MemoryAcrossHibernation);
    assert!(found[0].1.starts_with("another kernel booted"), "{}", found[0].1);
}
