//! The oracles that read events and write logs, on real runs: silent on those that are in order, and loud on those that are not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::sync::Arc;

use agent_protocol::message::Ask;
use scenarios::Scenario;
use scenarios::checks::{self, Check, Clause, FaultModel, Record, Status};
use scenarios::kernels::{Kernels, Loaded};
use scenarios::lab::Lab;
use scenarios::language::BuildSpec;
use scenarios::report::{Phase, PowerHappening};
use scenarios::run::{self, Listener};

const FLAGSHIP: &str = include_str!("../power-lost-in-s3.toml");
const SAVE_AND_BACK: &str = include_str!("../save-and-back.toml");
const HIBERNATE: &str = include_str!("../hibernate-platform.toml");

struct Silent;

impl Listener for Silent {
    fn phase(&mut self, _: &Phase) {}
    fn power(&mut self, _: &PowerHappening) {}
}

fn scenario(text: &str, more: &[&str]) -> (Scenario, Kernels) {
    let overrides: Vec<String> =
        ["cycles=1"].iter().chain(more).map(|assignment| (*assignment).to_owned()).collect();
    let scenario = Scenario::read(text, &overrides).unwrap();
    let load = |name: &str, _: Option<&BuildSpec>, is_saver| {
        Loaded::new(name, is_saver, &|text| eprintln!("{text}")).map(Arc::new)
    };
    let kernels = Kernels::gather(&scenario, load).unwrap();
    (scenario, kernels)
}

fn checked(text: &str, more: &[&str]) -> Vec<Check> {
    let (scenario, kernels) = scenario(text, more);
    run::run("a run", &scenario, &kernels, &mut Silent).report.checks
}

/// Those of a clause.
fn of(checks: &[Check], clause: Clause) -> Vec<(Status, Option<&str>)> {
    let of_clause = checks.iter().filter(|check| check.clause == clause);
    of_clause.map(|check| (check.status, check.class.as_deref())).collect()
}

fn all_pass(checks: &[Check], clauses: &[Clause]) {
    for clause in clauses {
        let found = of(checks, *clause);
        let passed = !found.is_empty() && found.iter().all(|(status, _)| *status == Status::Pass);
        assert!(
            passed,
            "{clause}: {:#?}",
            checks.iter().filter(|it| it.clause == *clause).collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_flagship_is_in_order() {
    all_pass(
        &checked(FLAGSHIP, &[]),
        &[
            Clause::EnteredOnce,
            Clause::NotAfterForeignWrite,
            Clause::QuietDiskInSaver,
            Clause::SaverReads,
            Clause::HeaderLast,
            Clause::DisksBeforeHeader,
            Clause::ResetFirst,
            Clause::QueuesInitialised,
            Clause::Completions,
            Clause::LegalOutcome,
        ],
    );
}

/// What Linux does not flush, and nothing else.
#[test]
fn a_hibernation_fails_where_linux_flushes_nothing() {
    let checks = checked(HIBERNATE, &[]);
    let classes = |clause| of(&checks, clause).into_iter().filter_map(|(_, class)| class).collect::<Vec<_>>();
    assert_eq!(classes(Clause::HeaderLast), ["header before its map", "header before image data"]);
    assert_eq!(classes(Clause::DisksBeforeHeader), ["file system not flushed before the header"]);
    assert_eq!(classes(Clause::ResetFirst), ["reset not flushed"]);
    all_pass(
        &checks,
        &[
            Clause::EnteredOnce,
            Clause::NotAfterForeignWrite,
            Clause::QuietDiskInSave,
            Clause::QuietDiskBeforeReset,
            Clause::QuietDiskInRestore,
            Clause::QueuesInitialised,
            Clause::Completions,
        ],
    );
}

#[test]
fn a_disk_that_lies_is_named_and_not_the_kernel() {
    let lying = SAVE_AND_BACK.replace(
        "name = \"system\"",
        "name = \"system\"\nfaults = [{ lies = \"flush\", times = \"always\" }]",
    );
    let checks = checked(&lying, &[]);
    let failed: Vec<&Check> = checks
        .iter()
        .filter(|check| check.clause == Clause::HeaderLast && check.status == Status::Fail)
        .collect();
    assert!(!failed.is_empty(), "{checks:#?}");
    for check in failed {
        assert_eq!(
            (check.class.as_deref(), check.needs),
            (Some("the disk lied"), Some(FaultModel::LyingDisk))
        );
    }
}

/// Swap on a disk of its own: nothing flushes the reset there, and the power takes it back.
#[test]
fn a_reset_that_the_power_takes_back_lets_the_image_in_twice() {
    let text = r#"
        version = 1
        cycles = 1
        steps = ["hibernate", "resume", "check", "resume"]
        kernel = { primary = "primary-6.12" }
        [[disk]]
        name = "files"
        size = "66M"
        partitions = [{ use = "ext4", size = "64M" }]
        [[disk]]
        name = "swap"
        size = "194M"
        partitions = [{ use = "swap", size = "192M" }]
        [[power]]
        when = { write = 5, disk = "files", during = "check" }
        do = "cut"
    "#;
    let (scenario, kernels) = scenario(text, &[]);
    let checks = run::run("twice", &scenario, &kernels, &mut Silent).report.checks;
    assert_eq!(of(&checks, Clause::EnteredOnce), [(Status::Fail, Some("entered twice"))], "{checks:#?}");
    assert_eq!(of(&checks, Clause::NotAfterForeignWrite), [(Status::Fail, Some("foreign write"))]);
}

#[test]
fn a_saver_that_touches_the_swap_of_a_is_caught() {
    let (scenario, kernels) = scenario(SAVE_AND_BACK, &[]);
    let mut lab = Lab::new(&scenario, &kernels).unwrap();
    lab.start().unwrap();
    for step in scenario.steps.iter().take(2) {
        lab.step(step).unwrap();
    }
    const PATIENCE: u64 = 60_000_000_000;
    lab.guest.ask(&Ask::MakeSwap { device: "/dev/vda2".into() }, PATIENCE).unwrap();
    lab.guest.rest(1_000_000_000);
    let disks = lab.guest.machine.board().pci.disks().take(scenario.disks.len());
    let logs: Vec<_> = disks.map(|disk| disk.log().cloned().unwrap()).collect();
    let checks =
        checks::conclude(&Record { scenario: &scenario, history: &lab.guest.tape.history, logs: &logs });
    let class = Some("write outside the image partition");
    assert_eq!(of(&checks, Clause::QuietDiskInSaver), [(Status::Fail, class)], "{checks:#?}");
}
