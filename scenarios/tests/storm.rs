//! The power fails in a storm of writes: whatever the disk kept of what was not durable, the file system is whole after its journal was
//! replayed, and has every record whose fsync had returned.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::cell::Cell;
use std::rc::Rc;

use agent_link::filesystem::{self, FilesystemError};
use agent_protocol::journal::{JournalError, RECORD_LEN, record};
use agent_protocol::message::{Answer, Ask, Bulk};
use common::lab::{EXT4, Lab, Setup, always, copy_out, in_full};
use common::{PATIENCE, SEED, ask, boot, command_line, give_up, memory, partition, wait_ready};
use devices::disk::{
    AtomicUnit, CrashSpace, CrashState, Disk, DiskConfig, Fault, FaultOutcome, Kind, Media, Tie,
};
use devices::{DiskAction, DiskStep, Event};
use scenarios::{Guest, GuestError};
use sha2::{Digest, Sha256};
use vmm::{Config, Drive, Entry, FrontEnd, Machine, Stop};

/// An instant at which the power fails: the nth such step of a request from the start of the storm.
struct Cut {
    name: &'static str,
    /// Told also how many writes have completed since the last flush did.
    matches: fn(DiskAction, DiskStep, u32) -> bool,
    nth: u32,
}

const CUTS: [Cut; 6] = [
    Cut {
        name: "a write is in flight",
        matches: |action, step, _| matches!((action, step), (DiskAction::Write { .. }, DiskStep::Accepted)),
        nth: 51,
    },
    Cut {
        name: "a write has completed",
        matches: |action, step, _| matches!((action, step), (DiskAction::Write { .. }, DiskStep::Completed)),
        nth: 90,
    },
    Cut {
        name: "a flush has been accepted",
        matches: |action, step, _| matches!((action, step), (DiskAction::Flush, DiskStep::Accepted)),
        nth: 12,
    },
    Cut {
        name: "a flush has completed, and nothing of it is told yet",
        matches: |action, step, _| matches!((action, step), (DiskAction::Flush, DiskStep::Completed)),
        nth: 20,
    },
    Cut {
        name: "in the middle of what a flush makes durable",
        matches: |action, step, _| matches!((action, step), (DiskAction::Write { .. }, DiskStep::Durable)),
        nth: 70,
    },
    Cut {
        name: "several writes have completed since the last flush",
        matches: |action, step, waiting| {
            matches!((action, step), (DiskAction::Write { .. }, DiskStep::Completed)) && waiting >= 5
        },
        nth: 8,
    },
];

/// The file that the storm writes: records of the form of the journal, each synced before the next.
const FILE: &str = "/data/storm";
/// Of these records.
const STORM_SEED: u64 = 99;

/// What the power left when it failed.
struct Wreck {
    cut: &'static str,
    disk: Disk,
    /// Records of the storm whose fsync had returned.
    acknowledged: u64,
    /// Records of the workload's journal that were synced when the storm began.
    synced: u64,
}

/// A storm, and what would be left of it at each of the cuts.
struct Storm {
    wrecks: Vec<Wreck>,
    /// Flushes that the disk had accepted when it began.
    flushes_before: u64,
    /// The cut that was seen last.
    happened: Rc<Cell<&'static str>>,
}

impl Storm {
    /// Records as fast as the agent can write and sync them, between copies that are written out all at once, beside all workloads.
    fn of(setup: Setup, faults: Vec<Fault>) -> Self {
        let mut lab = Lab::started_on(setup, DiskConfig { faults, ..DiskConfig::default() });
        let flushes_before = lab.disk().counters().flushes;
        let (mut seen, mut waiting) = ([0; CUTS.len()], 0);
        let happened = Rc::new(Cell::new(""));
        let mut storm = Self { wrecks: Vec::new(), flushes_before, happened: happened.clone() };
        lab.guest.tape.watch(Box::new(move |_, event| {
            let Event::Disk(event) = event else { return false };
            match (event.action, event.step) {
                (DiskAction::Write { .. }, DiskStep::Completed) => waiting += 1,
                (DiskAction::Flush, DiskStep::Completed) => waiting = 0,
                _ => {}
            }
            let mut now = false;
            for (cut, seen) in CUTS.iter().zip(&mut seen) {
                let happens = (cut.matches)(event.action, event.step, waiting);
                *seen += u32::from(happens);
                if happens && *seen == cut.nth {
                    happened.set(cut.name);
                    now = true;
                }
            }
            now
        }));
        for number in 1..=1000 {
            let offset = Some((number - 1) * RECORD_LEN as u64);
            let bytes = record(STORM_SEED, number).to_vec();
            storm.ask(&mut lab, &Ask::WriteFile { path: FILE.into(), offset, bytes, sync: true }, number - 1);
            if number % 5 == 0 {
                let from = Bulk::File { path: "/init".into() };
                let to = Bulk::File { path: format!("/data/copy-{}", number % 3) };
                storm.ask(&mut lab, &Ask::CopyBulk { from, to }, number);
            }
            if number % 10 == 0 {
                storm.ask(&mut lab, &Ask::Sync, number);
            }
            if storm.wrecks.len() == CUTS.len() {
                return storm;
            }
        }
        give_up(&lab.guest, &format!("the storm is over after {} cuts", storm.wrecks.len()))
    }

    fn ask(&mut self, lab: &mut Lab, ask: &Ask, acknowledged: u64) {
        let mut answer = lab.guest.ask(ask, PATIENCE);
        while let Err(GuestError::Stopped(Stop::Triggered)) = answer {
            let cut = self.happened.get();
            self.wrecks.push(Wreck { cut, disk: lab.disk().clone(), acknowledged, synced: lab.synced });
            answer = lab.guest.answer(PATIENCE);
        }
        if let Err(error) = answer {
            give_up(&lab.guest, &error.to_string());
        }
    }
}

impl Wreck {
    fn space(&self, unit: AtomicUnit, tie: Tie) -> CrashSpace {
        let changes = self.disk.changes().cloned().collect();
        CrashSpace::new(self.disk.durable().clone(), changes, unit, tie).unwrap()
    }

    /// The file system of a disk with these contents is whole, and no record is missing.
    fn judge(&self, media: &Media) -> Result<(), FilesystemError> {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("ext4");
        copy_out(media, EXT4, &copy);
        filesystem::check(&copy, "/journal", SEED, self.synced)?;
        filesystem::check(&copy, "/storm", STORM_SEED, self.acknowledged)?;
        Ok(())
    }

    /// A kernel boots cold on these contents, mounts the file system, and finds the records.
    fn boots(&self, setup: Setup, media: Media) {
        let Setup { processors, front_end, kernel } = setup;
        let config = Config { processors, memory: memory(kernel), ..Config::default() };
        let disk = Disk::new(DiskConfig::default(), media).unwrap();
        let mut machine = Machine::new(config, vec![Drive { front_end, disk }]).unwrap();
        boot(&mut machine, kernel, Entry::Pvh, &command_line(front_end, 1000));
        let mut guest = Guest::new(machine);
        wait_ready(&mut guest);
        let (device, at, fstype) = (partition(&guest.machine, 1), "/data".into(), "ext4".into());
        ask(&mut guest, &Ask::Mount { device, at, fstype, options: String::new() });
        let mut expected = Sha256::new();
        (1..=self.acknowledged).for_each(|number| expected.update(record(STORM_SEED, number)));
        let len = Some(self.acknowledged * RECORD_LEN as u64);
        let Answer::Hash(found) = ask(&mut guest, &Ask::HashFile { path: FILE.into(), len }) else {
            give_up(&guest, "no hash")
        };
        assert_eq!(found, format!("{:x}", expected.finalize()), "the records that the guest finds");
    }
}

/// What survives: nothing, everything, prefixes, and some at random.
fn states(space: &CrashSpace) -> Vec<(String, CrashState)> {
    let prefixes: Vec<CrashState> = space.prefixes().collect();
    let some = [1, 2].map(|part| prefixes.get(prefixes.len() * part / 3).cloned());
    let mut states = vec![("nothing".to_owned(), space.none()), ("everything".to_owned(), space.all())];
    states.extend(some.into_iter().flatten().map(|state| ("a prefix".to_owned(), state)));
    states.extend((0..10).zip(space.seeded(4)).map(|(number, state)| (format!("seeded {number}"), state)));
    states
}

fn nothing_is_lost(setup: Setup) {
    let storm = Storm::of(setup, Vec::new());
    for wreck in &storm.wrecks {
        for (unit, tie) in [(AtomicUnit::Sector, Tie::Unit), (AtomicUnit::Block, Tie::Write)] {
            let space = wreck.space(unit, tie);
            let states = states(&space);
            for (name, state) in &states {
                let media = space.media(state).unwrap();
                if let Err(error) = wreck.judge(&media) {
                    panic!("power fails when {}; {name} survives, {unit:?}, {tie:?}: {error}", wreck.cut);
                }
            }
            eprintln!(
                "{}: {} records acknowledged, {} writes not durable, {:?}: {} states clean",
                wreck.cut,
                wreck.acknowledged,
                space.writes().len(),
                unit,
                states.len()
            );
        }
        // A guest agrees.
        let space = wreck.space(AtomicUnit::Sector, Tie::Unit);
        wreck.boots(setup, space.media(&space.seeded(5).next().unwrap_or(space.none())).unwrap());
    }
    let most = storm.wrecks.iter().map(|wreck| wreck.disk.changes().count()).max();
    assert!(most >= Some(5), "never more than {most:?} changes were open");
    assert!(storm.wrecks.iter().any(|wreck| wreck.acknowledged > 10));
}

macro_rules! storms {
    ($($test:ident: $kernel:literal, $processors:literal, $front_end:ident, $gate:path;)*) => {$(
        #[test]
        fn $test() {
            let setup = Setup { kernel: $kernel, processors: $processors, front_end: FrontEnd::$front_end };
            if $gate(setup) {
                nothing_is_lost(setup);
            }
        }
    )*};
}

storms! {
    primary_6_12_virtio: "primary-6.12", 2, Virtio, always;
    primary_6_12_nvme: "primary-6.12", 1, Nvme, always;
    stock_6_12_virtio: "stock-6.12", 1, Virtio, in_full;
    stock_6_12_nvme: "stock-6.12", 2, Nvme, in_full;
    stock_6_1_nvme: "stock-6.1", 1, Nvme, in_full;
}

/// The check can fail: a disk that says flushes are done, and does not do them, loses what was acknowledged.
#[test]
fn a_disk_that_lies_loses_records() {
    let setup = Setup { kernel: "primary-6.12", processors: 1, front_end: FrontEnd::Virtio };
    let flushes_before = Storm::of(setup, Vec::new()).flushes_before;
    let lie = |nth| Fault {
        kind: Some(Kind::Flush),
        nth: Some(nth),
        outcome: FaultOutcome::Lies,
        ..Fault::default()
    };
    // In the end it is honest, or nothing would ever be durable and the last cut never come.
    let storm = Storm::of(setup, (flushes_before..flushes_before + 100).map(lie).collect());
    let wreck = storm.wrecks.iter().find(|wreck| wreck.cut == CUTS[1].name).unwrap();
    let space = wreck.space(AtomicUnit::Sector, Tie::Unit);
    let judged = |state| wreck.judge(&space.media(&state).unwrap());
    let lost = judged(space.none());
    assert!(matches!(lost, Err(FilesystemError::Journal(JournalError::Lost { .. }))), "{lost:?}");
    judged(space.all()).unwrap();
}
