//! The agent with one step of its durability left out: exploration finds what is missing, and finds nothing in the agent as it is.
//!
//! Each mutant has a ground on which its step matters. There it is recorded, which the oracles watch, and those states of its cuts are booted in
//! which a header says that there is an image, and one in which all is over. What the agent as it is does not show on the same ground kills the
//! mutant; with the first finding it is dead.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use agent_protocol::mutant::{ANNOUNCED, APPLIED, Mutant};
use guest_kernels::initramfs::InitramfsError;
use scenarios::Scenario;
use scenarios::checks::Status;
use scenarios::explore::cuts::cuts;
use scenarios::explore::family::{Depth, Family};
use scenarios::explore::judge::{Findings, Judge};
use scenarios::explore::set::Set;
use scenarios::explore::subject::{Subject, recorded};
use scenarios::explore::survey::{Recording, Survey};
use scenarios::history::{Happening, History};
use scenarios::kernels::{Kernels, Loaded};
use scenarios::report::{Phase, PowerHappening, Report};
use scenarios::run::{self, Listener};

struct Silent;

impl Listener for Silent {
    fn phase(&mut self, _: &Phase) {}
    fn power(&mut self, _: &PowerHappening) {}
}

/// A scenario on which some step of the agent matters.
#[derive(Debug, Clone, Copy)]
struct Ground {
    name: &'static str,
    text: &'static str,
    /// Its power is cut everywhere; if not, where it says itself.
    is_cut: bool,
    /// What oracles see in the run of the agent as it is.
    seen: &'static [&'static str],
    /// Whether the agent as it is has findings: images that cannot be loaded.
    has_losses: bool,
}

const OFF: Ground = Ground {
    name: "save, off, restore",
    is_cut: true,
    seen: &[],
    has_losses: false,
    text: r#"
        steps = ["preload", "jump", "save", "power-off", "restore", "check"]
        workloads = ["memory", "ext4"]
        [kernel]
        primary = "primary-6.12"
        saver = "saver-6.12"
        [[disk]]
        name = "system"
        size = "320M"
        partitions = [{ use = "ext4", size = "32M" }, { use = "image", size = "256M" }]
    "#,
};

/// The disk says that it flushed while it did not: what is missing has to be noticed when it is read.
const LIES: Ground = Ground {
    name: "a disk that lies",
    is_cut: true,
    seen: &["O5.C1 the disk lied"],
    has_losses: true,
    text: r#"
        steps = ["preload", "jump", "save", "power-off", "restore", "check"]
        workloads = ["memory"]
        [kernel]
        primary = "primary-6.12"
        saver = "saver-6.12"
        [[disk]]
        name = "system"
        size = "300M"
        partitions = [{ use = "image", size = "256M" }]
        faults = [{ lies = "flush", times = "always", during = "save" }]
    "#,
};

/// An image that nobody wanted is there when the next one is saved.
const STALE: Ground = Ground {
    name: "save over an image",
    is_cut: true,
    seen: &[],
    has_losses: false,
    text: r#"
        steps = ["preload", "jump", "save", "power-off", "cold-boot", "preload", "jump", "save", "power-off", "restore", "check"]
        workloads = ["memory"]
        [kernel]
        primary = "primary-6.12"
        saver = "saver-6.12"
        [[disk]]
        name = "system"
        size = "300M"
        partitions = [{ use = "image", size = "256M" }]
    "#,
};

/// B sleeps in S3, and the power fails.
const S3: Ground = Ground {
    name: "power lost in S3",
    is_cut: false,
    seen: &[],
    has_losses: false,
    text: r#"
        steps = ["preload", "jump", "save", "suspend", "restore", "check"]
        workloads = ["memory"]
        [kernel]
        primary = "primary-6.12"
        saver = "saver-6.12"
        [[disk]]
        name = "system"
        size = "300M"
        partitions = [{ use = "image", size = "256M" }]
        [[power]]
        when = "s3-entered"
        do = "cut"
        survives = "nothing"
    "#,
};

/// The image does not fit.
const FULL: Ground = Ground {
    name: "no room for the image",
    is_cut: false,
    seen: &[],
    has_losses: false,
    text: r#"
        steps = [
            "preload", "jump",
            { do = "save", expect = "refused", says = "the image does not fit" },
            { do = "jump-back", expect = "refused", says = "errno 28" },
            "check",
        ]
        workloads = ["memory"]
        [kernel]
        primary = "primary-6.12"
        saver = "saver-6.12"
        [[disk]]
        name = "system"
        size = "20M"
        partitions = [{ use = "image", size = "4M" }]
    "#,
};

/// The flush that should make the header durable fails, and A goes on; what it swaps out is written, and never flushed.
const FAILS: Ground = Ground {
    name: "the last flush fails",
    is_cut: true,
    seen: &[],
    has_losses: false,
    text: r#"
        steps = [
            "preload", "jump", "save", "jump-back", "check", "preload", "jump",
            { do = "save", expect = "refused", says = "flushing" },
            { do = "jump-back", expect = "refused", says = "errno 5" },
            "check",
        ]
        workloads = ["memory", "swap"]
        allow = [{ says = "I/O error", because = "the scenario makes the disk fail" }]
        [kernel]
        primary = "primary-6.12"
        saver = "saver-6.12"
        [[disk]]
        name = "system"
        size = "320M"
        partitions = [{ use = "swap", size = "48M" }, { use = "image", size = "256M" }]
        faults = [{ fails = "flush", nth = 4, after = { step = "jump", is = "ends", nth = 2 } }]
    "#,
};

/// B has no driver for the disk that A swaps to; nobody flushes what is swapped out but who saves the session.
const UNSEEN: Ground = Ground {
    name: "a disk that B does not see",
    is_cut: true,
    // A swaps before its agent has said that it is back.
    seen: &["O1.C3 foreign write"],
    has_losses: false,
    text: r#"
        steps = ["preload", "jump", "save", "power-off", "restore", "check"]
        workloads = ["memory", "swap"]
        [kernel]
        primary = "primary-6.12"
        saver = "saver-6.12"
        saver-arguments = "initcall_blacklist=virtio_blk_init"
        [[disk]]
        name = "system"
        size = "64M"
        partitions = [{ use = "swap", size = "48M" }]
        [[disk]]
        name = "store"
        front-end = "nvme"
        size = "300M"
        partitions = [{ use = "image", size = "256M" }]
    "#,
};

const SNAPSHOT: Ground = Ground {
    name: "/dev/snapshot, off",
    is_cut: true,
    seen: &[],
    has_losses: false,
    text: r#"
        steps = [{ do = "snapshot", then = "off" }, "snapshot-restore", "check"]
        workloads = ["memory", "ext4"]
        [kernel]
        primary = "primary-6.12"
        [[disk]]
        name = "system"
        size = "320M"
        partitions = [{ use = "ext4", size = "32M" }, { use = "image", size = "256M" }]
    "#,
};

const SNAPSHOT_RAM: Ground = Ground {
    name: "/dev/snapshot, S3",
    is_cut: true,
    seen: &[],
    has_losses: false,
    text: r#"
        steps = [{ do = "snapshot", then = "ram" }, "check"]
        workloads = ["memory", "ext4"]
        [kernel]
        primary = "primary-6.12"
        [[disk]]
        name = "system"
        size = "320M"
        partitions = [{ use = "ext4", size = "32M" }, { use = "image", size = "256M" }]
    "#,
};

/// The image is on a disk of its own, and A swaps to the other; the kernel does too, to make room for the snapshot.
const SNAPSHOT_TWO_DISKS: Ground = Ground {
    name: "/dev/snapshot, two disks",
    is_cut: true,
    seen: &[],
    has_losses: false,
    text: r#"
        steps = [{ do = "snapshot", then = "off" }, "snapshot-restore", "check"]
        workloads = ["memory", "swap"]
        [kernel]
        primary = "primary-6.12"
        [[disk]]
        name = "system"
        size = "64M"
        partitions = [{ use = "swap", size = "48M" }]
        [[disk]]
        name = "store"
        size = "300M"
        partitions = [{ use = "image", size = "256M" }]
    "#,
};

/// Who has to find a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// A boot after a cut.
    Cut,
    /// An oracle that watches the run itself.
    Watch,
}

/// Every mutant that can be told from the agent, and where.
const MUTANTS: &[(Mutant, Ground, By)] = &[
    (Mutant::JumpWithoutSync, UNSEEN, By::Cut),
    (Mutant::JumpWithoutFlush, UNSEEN, By::Cut),
    (Mutant::OldImageStays, STALE, By::Cut),
    // From then on a cold boot is as good: what is left of the old image, its checksums refuse.
    (Mutant::WritingNotFlushed, STALE, By::Watch),
    (Mutant::ImageNotFlushed, OFF, By::Cut),
    (Mutant::ValidBeforeIndex, OFF, By::Cut),
    (Mutant::ValidBeforeFlush, SNAPSHOT_TWO_DISKS, By::Cut),
    (Mutant::DisksNotFlushed, SNAPSHOT_TWO_DISKS, By::Cut),
    // A record that is not durable yet may be lost, says the table of what is legal; that B sleeps on it is what the run shows.
    (Mutant::ValidNotFlushed, S3, By::Watch),
    (Mutant::FailedNotWritten, FULL, By::Watch),
    (Mutant::FailedNotFlushed, FAILS, By::Cut),
    (Mutant::StateUnchecked, OFF, By::Cut),
    (Mutant::PagesUnchecked, LIES, By::Cut),
    (Mutant::EnterUnconsumed, OFF, By::Cut),
    (Mutant::ConsumedNotFlushed, OFF, By::Cut),
    (Mutant::ConsumedTooLate, OFF, By::Cut),
    // An image that nobody ever consumes is valid at every cut, and to resume it what the table asks for.
    (Mutant::ResumeUnconsumed, SNAPSHOT, By::Watch),
    (Mutant::WakeUnconsumed, SNAPSHOT_RAM, By::Watch),
];

/// Those that cannot, and why.
const EQUIVALENT: &[(Mutant, &str)] = &[
    (Mutant::HeaderUnchecked, "the header is one sector, which no disk tears"),
    (
        Mutant::IndexUnchecked,
        "an index that is another one does not fit the header's counts, and its pages fail their checksums",
    ),
    (
        Mutant::PageCache,
        "fsync writes back and flushes at the same places, and the cache ends with the partition's last close",
    ),
];

/// States of one ground that are looked at, about.
const MOST: usize = 40;

/// What came of an agent on a ground.
#[derive(Debug, Default)]
struct Trial {
    /// What oracles saw in the run itself, by clause and class.
    seen: BTreeSet<String>,
    /// What came of its cuts, likewise.
    found: BTreeSet<String>,
    /// It was asked to be a mutant, and said so.
    announced: bool,
    /// It came to the step that the mutant leaves out.
    applied: bool,
    boots: u64,
    seconds: f32,
}

fn failures(report: &Report) -> BTreeSet<String> {
    let broken = report.broken.iter().chain(&report.skipped).map(|why| format!("broken: {why}"));
    let failed = report.checks.iter().filter(|check| check.status == Status::Fail);
    let failed =
        failed.map(|check| format!("{} {}", check.clause.id(), check.class.as_deref().unwrap_or("")));
    broken.chain(failed).collect()
}

fn says(history: &History, text: &str) -> bool {
    let said = |happening: &Happening| matches!(happening, Happening::Console(line) if line.contains(text));
    history.entries().iter().any(|entry| said(&entry.what))
}

/// Tries an agent on a ground until all is decided, or, with `known`, until something else is found. Cuts only if they are to find it.
fn trial(ground: Ground, mutant: Option<Mutant>, known: Option<&BTreeSet<String>>, by: By) -> Trial {
    let begun = Instant::now();
    let text = format!("version = 1\ncycles = 1\n{}", ground.text);
    let scenario = Scenario::read(&text, &[]).unwrap_or_else(|(mistake, _)| panic!("{mistake:?}"));
    let kernels = Kernels::gather(&scenario, |name, _, is_saver| {
        let mut loaded = Loaded::new(name, is_saver, &|_| {}).unwrap();
        loaded.initrd = agent_mutants::initrd(&loaded.initrd, mutant)?;
        Ok::<_, InitramfsError>(Arc::new(loaded))
    })
    .unwrap();
    let scenario = if ground.is_cut { recorded(&scenario).unwrap() } else { scenario };
    let finished = run::run(ground.name, &scenario, &kernels, &mut Silent);
    let name = mutant.map_or("", Mutant::name);
    let mut trial = Trial {
        seen: failures(&finished.report),
        announced: says(&finished.history, &format!("{ANNOUNCED}{name}:")),
        applied: says(&finished.history, &format!("{ANNOUNCED}{name}{APPLIED}")),
        ..Trial::default()
    };
    if ground.is_cut && by == By::Cut {
        explore(&Recording { name: ground.name, scenario, kernels: &kernels, finished }, known, &mut trial);
    }
    trial.seconds = begun.elapsed().as_secs_f32();
    trial
}

fn explore(recording: &Recording<'_>, known: Option<&BTreeSet<String>>, trial: &mut Trial) {
    let record = recording.record();
    let subject = Subject::of(&recording.scenario, recording.kernels, &recording.finished).unwrap();
    let mut cuts = cuts(&record, 0..record.entries().len());
    let judge = Judge::new(&record, &cuts, subject.commit.clone()).unwrap();
    // From the first on at which there may be an image.
    cuts.drain(..(0..cuts.len()).position(|number| judge.life(number).unwrap().valid).unwrap());
    let judge = Judge::new(&record, &cuts, subject.commit.clone()).unwrap();
    let family = Family::of(&record, &cuts, Depth::LEAST).unwrap();
    let survey = Survey { recording, cuts, family, judge, subject };
    let states = &survey.family.states;
    let is_hot = |number: &usize| survey.subject.commit.is_valid(&states[*number].disks()).unwrap();
    let hot: Vec<usize> = (0..states.len()).filter(is_hot).collect();
    // Of many that differ in what is lost of the image a part will do.
    let mut chosen: Vec<usize> = hot.iter().step_by((hot.len() / MOST).max(1)).copied().collect();
    chosen.extend((0..states.len()).rev().find(|number| !is_hot(number)));
    let mut worker = survey.worker().unwrap();
    worker.begin(Set::Listed(chosen));
    let mut findings = Findings::default();
    while known.is_none_or(|known| trial.found.is_subset(known)) {
        let Some(leaf) = worker.next_leaf().unwrap() else { break };
        findings.add(&survey.judge, &survey.family, &survey.cuts, leaf.set.listed(), &leaf.outcome).unwrap();
        let classes = findings.iter().map(|finding| &finding.class);
        trial.found.extend(classes.map(|class| format!("{} {}", class.clause, class.what)));
    }
    assert_eq!(findings.unfollowed(), 0);
    trial.boots = worker.tree().effort().executed;
}

/// The agent as it is, and then every mutant of this ground.
fn all_die(ground: Ground) {
    let seen: BTreeSet<String> = ground.seen.iter().map(|class| (*class).to_owned()).collect();
    let clean = trial(ground, None, None, By::Cut);
    println!("{:28} {:22} {:3} boots, {:4.1} s", ground.name, "-", clean.boots, clean.seconds);
    assert_eq!(clean.seen, seen, "the agent as it is, in the run itself");
    assert!(
        clean.found.iter().all(|class| ground.has_losses && class.starts_with("O5.C1")),
        "{:?}",
        clean.found
    );
    assert!(!clean.announced && !clean.applied);
    let mut survive = Vec::new();
    for (mutant, _, by) in MUTANTS.iter().filter(|(_, on, _)| on.name == ground.name) {
        let trial = trial(ground, Some(*mutant), Some(&clean.found), *by);
        assert!(trial.announced && trial.applied, "{}: {trial:?}", mutant.name());
        let watched: Vec<_> = trial.seen.difference(&seen).collect();
        let found: Vec<_> = trial.found.difference(&clean.found).collect();
        println!(
            "{:28} {:22} {:3} boots, {:4.1} s  cuts: {found:?}, run: {watched:?}",
            ground.name,
            mutant.name(),
            trial.boots,
            trial.seconds
        );
        if (if *by == By::Cut { found } else { watched }).is_empty() {
            survive.push(mutant.name());
        }
    }
    assert!(survive.is_empty(), "{survive:?} live");
}

#[test]
fn every_mutant_has_a_ground_or_a_reason() {
    let mut all: Vec<Mutant> = MUTANTS.iter().map(|(mutant, ..)| *mutant).collect();
    all.extend(EQUIVALENT.iter().map(|(mutant, _)| *mutant));
    all.sort();
    let mut wanted = Mutant::ALL.to_vec();
    wanted.sort();
    assert_eq!(all, wanted);
}

macro_rules! grounds {
    ($($name:ident: $ground:expr;)*) => {$(
        #[test]
        fn $name() {
            all_die($ground);
        }
    )*};
}

grounds! {
    save_off_restore: OFF;
    a_disk_that_lies: LIES;
    save_over_an_image: STALE;
    power_lost_in_s3: S3;
    no_room: FULL;
    the_last_flush_fails: FAILS;
    a_disk_that_the_saver_does_not_see: UNSEEN;
    snapshot_off: SNAPSHOT;
    snapshot_ram: SNAPSHOT_RAM;
    snapshot_two_disks: SNAPSHOT_TWO_DISKS;
}

/// A mutant on a ground, as the environment says: `MUTANT=page-cache GROUND=restore`.
#[test]
#[ignore = "to look at one by hand"]
fn look() {
    let grounds = [OFF, LIES, STALE, S3, FULL, FAILS, UNSEEN, SNAPSHOT, SNAPSHOT_RAM, SNAPSHOT_TWO_DISKS];
    let wanted = std::env::var("GROUND").unwrap_or_default();
    let mutant = std::env::var("MUTANT").ok().map(|name| Mutant::named(&name).unwrap());
    for ground in grounds.into_iter().filter(|ground| ground.name.contains(&wanted)) {
        println!("{:28} {:?}", ground.name, trial(ground, mutant, None, By::Cut));
    }
}
