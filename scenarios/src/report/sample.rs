//! Runs that reports are tested with.

use agent_protocol::message::Role;

use super::{KernelUsed, Phase, PowerHappening, Report, Verdict};
use crate::checks::{Check, Clause, FaultModel};
use crate::language::Scenario;

const SCENARIO: &str = "version = 1\nabout = \"A jumps to B, B saves A and suspends to RAM, the power fails, C boots cold and restores A\"\n\
    steps = [\"check\"]\nkernel = { primary = \"primary-6.12\" }\n\
    [[disk]]\nname = \"system\"\nsize = \"64M\"\npartitions = [{ use = \"ext4\", size = \"16M\" }, { use = \"swap\", size = \"8M\" }]";

/// What was to happen.
pub fn scenario() -> Scenario {
    Scenario::read(SCENARIO, &[]).unwrap()
}

/// A cut of the power.
pub fn cut() -> PowerHappening {
    PowerHappening {
        phase: 4,
        what: "power cut".into(),
        when: "asleep in S3".into(),
        at: 1_900_000_000,
        instructions: 400_000_000,
        volatile_writes: 0,
        survived: "nothing".into(),
    }
}

/// A run in which all is well.
pub fn passes() -> Report {
    let kernels = [
        (Role::Primary, "primary-6.12", "6.12.117-primary"),
        (Role::Saver, "saver-6.12", ""),
        (Role::Restorer, "./bzImage", "6.13.0-rc1"),
    ];
    let kernels = kernels.map(|(role, name, release)| KernelUsed {
        role,
        name: name.into(),
        release: release.into(),
        blake3: "c564c1e442502d54".repeat(4),
    });
    let phases = [
        (1, Role::Primary, "boot, file systems, workloads", "", 612_000_000, 121_000_000, 412, 31),
        (1, Role::Primary, "preload", "211 MiB to be saved", 90_000_000, 17_000_000, 0, 0),
        (1, Role::Saver, "jump", "", 240_000_000, 40_000_001, 0, 0),
        (1, Role::Saver, "save", "image of A: 190 MiB, 32 MiB not zero", 800_000_000, 90_000_000, 12_160, 3),
        (1, Role::Saver, "suspend", "cut short", 20_000_000, 3_000_000, 0, 0),
        (2, Role::Primary, "restore", "image consumed, A continues", 310_000_000, 1_060_000_000, 1, 1),
    ];
    let phases = phases.map(|(boot, role, what, detail, nanoseconds, instructions, writes, flushes)| Phase {
        boot,
        cycle: 1,
        role: Some(role),
        what: what.into(),
        detail: detail.into(),
        nanoseconds,
        began: 0,
        instructions,
        writes,
        flushes,
    });
    let checks = vec![
        Check::pass(Clause::ImageGone, "cycle 1, after restore"),
        Check::note(Clause::SaverReads, "cycle 1", vec!["B read 8 sectors of system, partition 1".into()]),
        Check::pass(Clause::StepsEnd, ""),
        Check::not_observed(Clause::FileSystemWhole, "", "e2fsck is not installed"),
    ];
    Report {
        phases: phases.to_vec(),
        power_events: vec![cut()],
        checks,
        digest: Some("9f31c2a4ffff".into()),
        ..Report::begun("power-lost-in-s3", &scenario(), kernels.to_vec())
    }
}

/// A run in which something failed, something is known to fail, and something is not any more.
pub fn fails() -> Report {
    use crate::checks::Status;
    let evidence = vec![
        "1 write was not durable when #294 header S1SUSPEND was accepted: #295 swap map 23/23".to_owned(),
        "no FLUSH since #12\nboot 2: \"Failed to load image\", cold boot".to_owned(),
    ];
    let failed = Check::fail(Clause::HeaderLast, "cycle 1, system", "header first", evidence)
        .needs(FaultModel::VolatileCache);
    let known = vec![
        "written before the reset was durable".to_owned(),
        "more".to_owned(),
        "expected of stock-6.12: no flush before 6.14".to_owned(),
    ];
    let known = Check::fail(Clause::ResetFirst, "cycle 1", "no flush", known);
    let fixed = Check {
        evidence: vec!["known to fail on stock-6.1: it is fixed upstream".into()],
        ..Check::pass(Clause::DisksBeforeHeader, "")
    };
    let mut report = passes();
    report.checks.extend([
        failed,
        Check { status: Status::ExpectedFail, ..known },
        Check { status: Status::Fixed, ..fixed },
    ]);
    report.checks.sort_by_key(|check| check.clause);
    Report { verdict: Verdict::Fail, scenario: "stock-hibernate".into(), ..report }
}
