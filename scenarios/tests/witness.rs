//! Memory, time and processors of real kernels across their sleeps: silent where all is well, and not where something was changed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use common::lab::{Setup, in_full};
use devices::PowerEvent;
use scenarios::checks::{Check, Clause, Status};
use scenarios::image::Part;
use scenarios::image::swsusp::{Location, Swsusp};
use scenarios::kernels::{Kernels, Loaded};
use scenarios::lab::{Lab, Trouble};
use scenarios::run::{Listener, run};
use scenarios::witness::Landmark;
use scenarios::{GuestError, Scenario};
use vmm::FrontEnd;
use vmm::trigger::{Trigger, Triggers, What};

const JUMP: &str = include_str!("../jump-and-back.toml");
const FLAGSHIP: &str = include_str!("../power-lost-in-s3.toml");
const PLATFORM: &str = include_str!("../hibernate-platform.toml");
const TEST_RESUME: &str = include_str!("../hibernate-test-resume.toml");
const S3: &str = include_str!("../s3.toml");
const S2IDLE: &str = include_str!("../s2idle.toml");

/// A second of the guest's time.
const SECOND: u64 = 1_000_000_000;

fn read(text: &str, overrides: &[&str]) -> Scenario {
    let overrides: Vec<String> =
        ["cycles=1"].iter().chain(overrides).map(|text| (*text).to_owned()).collect();
    Scenario::read(text, &overrides).unwrap_or_else(|(mistake, _)| panic!("{mistake:?}"))
}

/// The scenario's kernels.
fn kernels(scenario: &Scenario) -> Kernels {
    Kernels::gather(scenario, |name, _, is_saver| Loaded::new(name, is_saver, &|_| {}).map(Arc::new)).unwrap()
}

struct Deaf;

impl Listener for Deaf {
    fn phase(&mut self, _: &scenarios::report::Phase) {}
    fn power(&mut self, _: &scenarios::report::PowerHappening) {}
}

/// What the witness found in a whole run.
fn witnessed(scenario: &Scenario) -> Vec<(Clause, Status)> {
    let kernels = kernels(scenario);
    let report = run("witness", scenario, &kernels, &mut Deaf).report;
    let ours = report.checks.iter().filter(|check| {
        let oracle = check.oracle.name();
        ["O2", "O3", "O6", "O7"].contains(&oracle)
    });
    for check in ours.clone().filter(|check| check.status != Status::Pass) {
        eprintln!("{} {}: {:?}", check.clause, check.of, check.evidence);
    }
    ours.map(|check| (check.clause, check.status)).collect()
}

/// Everything that may be seen of these clauses is, and is well; O6 and O7 are of every return.
fn is_silent(scenario: &Scenario, clauses: &[Clause]) {
    use Clause::{DebugRegisters, MonotonicStands, RealtimeGoesOn, SystemRegisters};
    let back = [MonotonicStands, RealtimeGoesOn, SystemRegisters, DebugRegisters];
    let expected: Vec<_> = clauses.iter().chain(&back).map(|clause| (*clause, Status::Pass)).collect();
    assert_eq!(witnessed(scenario), expected);
}

const JUMPED: [Clause; 2] = [Clause::MemoryAcrossJump, Clause::QuietMemoryInJump];
const HIBERNATED: [Clause; 3] =
    [Clause::MemoryAcrossHibernation, Clause::QuietMemoryInSave, Clause::QuietMemoryInRestore];

#[test]
fn a_jump_is_silent() {
    is_silent(&read(JUMP, &[]), &JUMPED);
}

#[test]
fn a_jump_over_a_power_cut_is_silent() {
    // Quiet until the power failed, and again from A's first instruction on.
    let [memory, quiet] = JUMPED;
    is_silent(&read(FLAGSHIP, &[]), &[memory, quiet, quiet]);
}

#[test]
fn hibernation_is_silent() {
    is_silent(&read(PLATFORM, &[]), &HIBERNATED);
}

#[test]
fn hibernation_that_never_leaves_is_silent() {
    is_silent(&read(TEST_RESUME, &[]), &HIBERNATED);
}

#[test]
fn suspend_to_idle_wakes_by_its_alarm() {
    is_silent_with_alarm(S2IDLE);
}

fn is_silent_with_alarm(text: &str) {
    let found = witnessed(&read(text, &[]));
    assert!(found.contains(&(Clause::AlarmOnce, Status::Pass)), "{found:?}");
    assert!(found.iter().all(|(_, status)| *status == Status::Pass), "{found:?}");
}

#[test]
fn suspend_to_ram_wakes_by_its_alarm() {
    is_silent_with_alarm(S3);
}

/// Of kernels that take long.
fn of(kernel: &'static str, text: &str, clauses: &[Clause]) {
    if !in_full(Setup { kernel, processors: 2, front_end: FrontEnd::Virtio }) {
        return;
    }
    let primary = format!("kernel.primary={kernel}");
    is_silent(&read(text, &[primary.as_str()]), clauses);
}

/// 6.1 does not load its GDT again when it is back (`virtual_mapped`), and dies of the first selector: behind where its memory is
/// looked at.
#[test]
fn primary_6_1_jump() {
    let setup = Setup { kernel: "primary-6.1", processors: 2, front_end: FrontEnd::Virtio };
    if !in_full(setup) {
        return;
    }
    let scenario = read(JUMP, &["kernel.primary=primary-6.1", "kernel.saver=saver-6.1"]);
    let kernels = kernels(&scenario);
    let report = run("witness", &scenario, &kernels, &mut Deaf).report;
    let of = |clause| report.checks.iter().find(|check| check.clause == clause).cloned().unwrap();
    assert_eq!(of(Clause::GoesOn).class.as_deref(), Some("triple fault"));
    let memory = of(Clause::MemoryAcrossJump);
    assert_eq!(memory.status, Status::Pass, "{:?}", memory.evidence);
}

#[test]
fn primary_6_1_hibernation() {
    of("primary-6.1", PLATFORM, &HIBERNATED);
}

#[test]
fn stock_6_12_hibernation() {
    of("stock-6.12", PLATFORM, &HIBERNATED);
}

#[test]
fn stock_6_1_hibernation() {
    of("stock-6.1", PLATFORM, &HIBERNATED);
}

#[test]
fn the_guest_cannot_tell_whether_somebody_looks() {
    let scenario = read(JUMP, &[]);
    let kernels = kernels(&scenario);
    let digest = |watched: bool| {
        let mut lab = Lab::new(&scenario, &kernels).unwrap();
        if !watched {
            lab.guest.witness = None;
        }
        lab.start().unwrap();
        steps(&mut lab, &scenario, usize::MAX);
        (lab.guest.machine.digest(), lab.guest.machine.instructions())
    };
    assert_eq!(digest(true), digest(false));
}

/// Does the first so many steps of a scenario.
fn steps(lab: &mut Lab<'_>, scenario: &Scenario, count: usize) {
    for spec in scenario.steps.iter().take(count) {
        lab.step(spec).unwrap_or_else(|trouble| panic!("{}: {trouble}", spec.step.name()));
    }
}

/// What the witness of a lab found, of one clause.
fn found(lab: &mut Lab<'_>, clause: Clause) -> Vec<Check> {
    let checks = lab.guest.witness.take().unwrap().conclude();
    checks.into_iter().filter(|check| check.clause == clause).collect()
}

fn fails(checks: &[Check], class: &str) {
    let [check] = checks else { panic!("{checks:?}") };
    assert_eq!((check.status, check.class.as_deref()), (Status::Fail, Some(class)), "{:?}", check.evidence);
}

#[test]
fn a_byte_that_the_host_changes_while_another_kernel_runs_is_found() {
    let scenario = read(JUMP, &[]);
    let kernels = kernels(&scenario);
    let mut lab = Lab::new(&scenario, &kernels).unwrap();
    lab.start().unwrap();
    steps(&mut lab, &scenario, 2);
    // Low memory is swapped; this is not.
    let address = 0x0eff_ffff;
    let mut byte = [0];
    lab.guest.machine.ram().read(address, &mut byte).unwrap();
    lab.guest.machine.ram().write(address, &[!byte[0]]).unwrap();
    lab.step(&scenario.steps[2]).unwrap();
    let checks = lab.guest.witness.take().unwrap().conclude();
    let of = |clause| checks.iter().filter(|check| check.clause == clause).cloned().collect::<Vec<_>>();
    fails(&of(Clause::MemoryAcrossJump), "memory differs");
    fails(&of(Clause::QuietMemoryInJump), "host write");
    let evidence = &of(Clause::MemoryAcrossJump)[0].evidence[0];
    assert!(evidence.starts_with("page 0xefff000: 1 bytes differ, the first at +0xfff"), "{evidence}");
}

#[test]
fn a_bit_of_an_image_that_nothing_protects_is_found() {
    let scenario = read(PLATFORM, &["kernel.arguments=hibernate=nocompress"]);
    let kernels = kernels(&scenario);
    let mut lab = Lab::new(&scenario, &kernels).unwrap();
    lab.start().unwrap();
    steps(&mut lab, &scenario, 1);
    let swap = 65 << 20..257 << 20;
    let media = lab.guest.machine.board().pci.disks().next().unwrap().media().clone();
    let image = Swsusp::read(&Part::of(&media, &swap), 0).unwrap().unwrap();
    let stored = image.frames.iter().filter_map(|(frame, _)| match image.locate(frame) {
        Some(Location::Slots(slots)) => Some((frame, slots[0].0)),
        _ => None,
    });
    let (frame, slot) = stored.last().unwrap();
    let offset = image.part.on_disk(slot).start + 5;
    let mut broken = media;
    let mut byte = [0];
    broken.read(offset, &mut byte).unwrap();
    broken.write(offset, &[byte[0] ^ 1]).unwrap();
    let guest = &mut lab.guest;
    guest.tell(|witness, machine| witness.power_goes(machine));
    guest.machine.power_cut(&mut |_| Ok(broken.clone()), &mut guest.tape).unwrap();
    guest.machine.power_on(SECOND, &mut guest.tape).unwrap();
    guest.power_lost();
    // Whatever becomes of it then.
    let _ = lab.step(&scenario.steps[1]);
    let checks = found(&mut lab, Clause::MemoryAcrossHibernation);
    fails(&checks, "memory differs");
    let page = format!("page {:#x}: 1 bytes differ, the first at +0x5", frame * 4096);
    assert!(checks[0].evidence[0].starts_with(&page), "{:?}", checks[0].evidence);
}

/// Runs a suspend to RAM up to what is watched for, has something done there, and on to the return.
fn suspended(steps: &str, what: What, act: impl FnOnce(&mut Lab<'_>), clause: Clause) -> Vec<Check> {
    let scenario = read(S3, &[steps]);
    let kernels = kernels(&scenario);
    let mut lab = Lab::new(&scenario, &kernels).unwrap();
    lab.start().unwrap();
    lab.guest.watch_for(Triggers::new([Trigger::first(what)]));
    let ended = lab.step(&scenario.steps[0]);
    assert!(matches!(ended, Err(Trouble::Guest(GuestError::Triggered(_)))), "{ended:?}");
    act(&mut lab);
    lab.guest.wait_ready(60 * SECOND).unwrap();
    lab.guest.tell(|witness, machine| witness.ends(machine, &[]));
    found(&mut lab, clause)
}

#[test]
fn a_register_that_a_wake_did_not_bring_back_is_found() {
    let complete = What::Executed { point: Landmark::Complete as u16 };
    let change = |lab: &mut Lab<'_>| lab.guest.machine.change_processor(1, |state| state.msrs.pat ^= 1 << 32);
    let asleep = |lab: &mut Lab<'_>| {
        let guest = &mut lab.guest;
        guest.run_to_power_request(60 * SECOND).unwrap();
        guest.machine.wake_by_button(SECOND, &mut guest.tape).unwrap();
    };
    let checks = suspended(
        "steps=[{ do = \"suspend\", wake = \"button\" }]",
        What::sleep(devices::acpi_pm::SleepState::S3),
        |lab| {
            asleep(lab);
            lab.guest.watch_for(Triggers::new([Trigger::first(complete)]));
            assert!(lab.guest.wait_ready(60 * SECOND).is_err(), "stopped where devices work again");
            change(lab);
        },
        Clause::SystemRegisters,
    );
    fails(&checks, "register differs");
    assert!(checks[0].evidence[0].starts_with("processor 1: PAT was "), "{:?}", checks[0].evidence);
}

#[test]
fn an_alarm_that_goes_off_when_it_is_not_due_is_found() {
    let checks = suspended(
        "steps=[{ do = \"suspend\", alarm = \"30s\" }]",
        What::Power(PowerEvent::Asleep),
        |lab| {
            let guest = &mut lab.guest;
            let now = guest.machine.world();
            guest.machine.board_mut().rtc.move_alarm(now, 5 * SECOND);
            guest.machine.sleep_until_wake(&mut guest.tape).unwrap();
            guest.tell(|witness, machine| witness.wakes(machine));
        },
        Clause::AlarmOnce,
    );
    fails(&checks, "alarm at another time");
}
