//! Every way in which a session comes back after a cut: around the commit record of its image only what is legal, and an image that lacks a
//! block is found.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::sync::Arc;

use devices::disk::{Media, SECTOR};
use scenarios::Scenario;
use scenarios::checks::Record;
use scenarios::checks::record::places;
use scenarios::explore::cuts::{Cut, cuts};
use scenarios::explore::judge::Judge;
use scenarios::explore::pieces::{Piece, Pieces};
use scenarios::explore::recovery::Outcome;
use scenarios::explore::replay::{DiskThen, Replay};
use scenarios::explore::subject::{Subject, recorded};
use scenarios::explore::tree::Ears;
use scenarios::kernels::{Kernels, Loaded};
use scenarios::language::Use;
use scenarios::report::{Phase, PowerHappening};
use scenarios::run::{self, Finished, Listener};
use vmm::Limit;

struct Silent;

impl Listener for Silent {
    fn phase(&mut self, _: &Phase) {}
    fn power(&mut self, _: &PowerHappening) {}
}

struct Explored {
    scenario: Scenario,
    kernels: Kernels,
    finished: Finished,
    subject: Subject,
}

impl Explored {
    /// A scenario of the library, once around.
    fn new(name: &str) -> Self {
        let text = std::fs::read_to_string(format!("{}/{name}.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let overrides = ["cycles=1", r#"workloads=["memory", "ext4"]"#].map(str::to_owned);
        let scenario = Scenario::read(&text, &overrides).unwrap_or_else(|(mistake, _)| panic!("{mistake:?}"));
        let scenario = recorded(&scenario).unwrap();
        let kernels = Kernels::gather(&scenario, |name, _, is_saver| {
            Loaded::new(name, is_saver, &|_| {}).map(Arc::new)
        })
        .unwrap();
        let finished = run::run(name, &scenario, &kernels, &mut Silent);
        let subject = Subject::of(&scenario, &kernels, &finished).unwrap();
        Self { scenario, kernels, finished, subject }
    }

    fn record(&self) -> Record<'_> {
        Record { scenario: &self.scenario, history: &self.finished.history, logs: &self.finished.logs }
    }

    fn cuts(&self) -> Vec<Cut> {
        let record = self.record();
        let mut cuts = cuts(&record, 0..record.entries().len());
        let first = cuts.iter().position(|cut| cut.step == self.subject.first_step).unwrap();
        cuts.split_off(first)
    }

    /// The disks at a cut, with nothing that was not durable, and with all of it.
    fn disks(&self, cut: &Cut) -> [Vec<Media>; 2] {
        let record = self.record();
        let mut replay = Replay::new(&record).unwrap();
        while replay.step().unwrap().is_some_and(|entry| entry < cut.entry) {}
        let durable = replay.disks().iter().map(|disk| disk.durable.clone()).collect();
        let accepted = replay.disks().iter().map(DiskThen::current).collect::<Result<_, _>>().unwrap();
        [durable, accepted]
    }

    /// What the next boot makes of these disks.
    fn boot(&self, subject: &Subject, disks: &[Media]) -> Outcome {
        let mut machine = subject.machine(&self.scenario, &self.kernels, disks).unwrap();
        let (mut recovery, mut ears) = (subject.recovery(), Ears::default());
        while recovery.outcome().is_none() {
            recovery.speak(&mut machine, &mut ears);
            let limit = Limit { time: Some(recovery.until()), instructions: None };
            let stop = machine.run(limit, &mut ears);
            recovery.hear(stop, machine.now(), &mut ears);
        }
        recovery.outcome().unwrap().clone()
    }
}

/// Disks whose image lacks the first block of this kind.
fn lacking(pieces: &Pieces, disk: usize, disks: &[Media], piece: Piece) -> Vec<Media> {
    let mut disks = disks.to_vec();
    let sectors = disks[disk].bytes() / SECTOR;
    let sector = (0..sectors).step_by(8).find(|sector| pieces.kind_of(disk, *sector) == piece).unwrap();
    disks[disk].write(sector * SECTOR, &[0xa5; 4096]).unwrap();
    disks
}

/// Disks on which the first blocks of this kind in the file system have nothing in them.
fn without(scenario: &Scenario, disks: &[Media], is_meant: impl Fn(&[u8]) -> bool) -> Vec<Media> {
    const BLOCK: u64 = 1024;
    let place = places(scenario, Use::Ext4).remove(0);
    let mut disks = disks.to_vec();
    let media = &mut disks[place.disk];
    let mut block = [0; BLOCK as usize];
    let found = (place.bytes.start..place.bytes.end).step_by(BLOCK as usize).find(|at| {
        media.read(*at, &mut block).unwrap();
        is_meant(&block)
    });
    media.write(found.unwrap(), &[0; BLOCK as usize]).unwrap();
    disks
}

/// Contents of the workload's files, which look like nothing else.
fn is_data(block: &[u8]) -> bool {
    block.iter().collect::<BTreeSet<_>>().len() > 200 && block.iter().filter(|byte| **byte == 0).count() < 20
}

fn is_directory(block: &[u8]) -> bool {
    block.windows(6).any(|name| name == b"data-0")
}

/// Around each turn in the life of the image, with everything and with nothing: what comes of it is legal, and both are seen. Then pieces of the
/// image that are missing.
fn comes_back(name: &str, step: &str) {
    let explored = Explored::new(name);
    let (record, cuts, subject) = (explored.record(), explored.cuts(), &explored.subject);
    let judge = Judge::new(&record, &cuts, subject.commit.clone()).unwrap();
    let turns: Vec<usize> = (1..cuts.len()).filter(|cut| judge.life(*cut) != judge.life(*cut - 1)).collect();
    // The record is accepted and becomes durable, and so does its reset.
    assert_eq!(turns.len(), 4, "{turns:?}");
    let mut known: Vec<(Vec<Media>, Outcome)> = Vec::new();
    for turn in &turns {
        for cut in [turn - 1, *turn] {
            for disks in explored.disks(&cuts[cut]) {
                let found =
                    known.iter().find(|(media, _)| *media == disks).map(|(_, outcome)| outcome.clone());
                let outcome = found.unwrap_or_else(|| explored.boot(subject, &disks));
                let class = judge.class_of(&disks, cut, &cuts, &outcome).unwrap();
                assert_eq!(class, None, "{outcome:?} at {:?}", cuts[cut]);
                known.push((disks, outcome));
            }
        }
    }
    for wanted in [Outcome::Cold, Outcome::Resumed] {
        assert!(known.iter().any(|(_, outcome)| *outcome == wanted), "{wanted:?} is not among them");
    }
    // Where the image is durable.
    let cut = turns[1];
    let [whole, _] = explored.disks(&cuts[cut]);
    let pieces = Pieces::of(&explored.scenario, &subject.commit, &whole).unwrap();
    for (piece, what) in
        [(Piece::Index, "a header without its index"), (Piece::Data, "a header without image data")]
    {
        let disks = lacking(&pieces, subject.commit.disk, &whole, piece);
        let outcome = explored.boot(subject, &disks);
        assert!(matches!(outcome, Outcome::Lost(_)), "{piece}: {outcome:?}");
        let class = judge.class_of(&disks, cut, &cuts, &outcome).unwrap().unwrap();
        assert_eq!((class.clause.as_str(), class.what.as_str(), class.step.as_str()), ("O5.C1", what, step));
    }
    // What the session believes to be in its files and its directory is read from the disk once more.
    for is_meant in [is_data, is_directory] {
        let disks = without(&explored.scenario, &whole, is_meant);
        let outcome = explored.boot(subject, &disks);
        assert_eq!(outcome, Outcome::Damaged("the ext4 workload found a difference".into()));
        let class = judge.class_of(&disks, cut, &cuts, &outcome).unwrap().unwrap();
        let what = "a session without data of its files: the ext4 workload found a difference";
        assert_eq!((class.clause.as_str(), class.what.as_str()), ("O13.C1", what));
    }
    // A cold boot that looks into the file system: what was synced is there, and what was not is missed.
    let none = &known[0].0;
    let synced = explored.finished.found.synced_from(cuts[turns[0]].entry);
    assert!(synced > 0);
    assert_eq!(explored.boot(&subject.clone().with_files(synced), none), Outcome::Cold);
    let more = explored.boot(&subject.clone().with_files(synced + 1000), none);
    assert_eq!(more, Outcome::FilesLost("records that were synced are not there".into()));
}

#[test]
fn through_the_restorer() {
    comes_back("save-off-restore", "save");
}

#[test]
fn through_the_snapshot_device() {
    comes_back("uswsusp-off", "snapshot");
}
