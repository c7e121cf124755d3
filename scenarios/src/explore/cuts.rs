//! Where the power may fail: every place of a recorded run at which something can be told apart from the place before, and instructions
//! between.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use devices::{DiskAction, DiskEvent, DiskStep, Moment, PowerEvent};
use serde::{Deserialize, Serialize};

use super::choice::mix;
use crate::checks::Record;
use crate::history::{Entry, Happening};

/// A place at which the power may fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// The power fails right after this entry of the history, or some instructions later, before the next one.
    pub entry: usize,
    /// In which boot.
    pub boot: u32,
    /// When. Of an instruction between two entries the time is that of the first of them.
    pub at: Moment,
    /// What kind of place it is.
    pub kind: Kind,
    /// Which step of the scenario it lies in.
    pub step: String,
}

/// What just happened at a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A request to a disk went a step further, or its front end was started or reset.
    Disk,
    /// A register for sleep, reset or power was written, or the machine changed its state.
    Power,
    /// A step began or ended, a kernel took over, the agent came or went.
    Phase,
    /// Nothing: an instruction between two entries of the history, at which the disks are as they were at the first of them.
    Instruction,
}

/// Cuts, by what just happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Points {
    /// A request to a disk went a step further, or its front end was started or reset.
    pub disk: usize,
    /// A register for sleep or power was written, or the machine changed its state.
    pub power: usize,
    /// A step began or ended, a kernel took over, the agent came or went.
    pub phase: usize,
    /// Instructions between.
    pub instruction: usize,
    /// Those of which nobody knows what is on the disks, since history and write log do not tell the same. In none of the others.
    pub skipped: usize,
}

impl Points {
    /// These, and so many that are skipped.
    pub fn of(cuts: &[Cut], skipped: usize) -> Self {
        let of = |kind: Kind| cuts.iter().filter(|cut| cut.kind == kind).count();
        Self {
            disk: of(Kind::Disk),
            power: of(Kind::Power),
            phase: of(Kind::Phase),
            instruction: of(Kind::Instruction),
            skipped,
        }
    }

    /// All of them.
    pub fn total(self) -> usize {
        self.disk + self.power + self.phase + self.instruction + self.skipped
    }
}

/// Instructions at which the power fails as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Instructions {
    /// How many.
    pub count: usize,
    /// Which ones follows from it.
    pub seed: u64,
}

/// Cuts in this part of a history. Reads are none: they change nothing on a disk, and what is the same is the same state. Nor are lines of
/// the console, and who asked for a flush.
pub fn cuts(record: &Record<'_>, entries: Range<usize>) -> Vec<Cut> {
    cuts_and_instructions(record, entries, Instructions::default())
}

/// The same, and instructions between, in the order of the history: any instruction of this part is as likely as any other.
pub fn cuts_and_instructions(
    record: &Record<'_>,
    entries: Range<usize>,
    instructions: Instructions,
) -> Vec<Cut> {
    let mut between = between(record, &entries, instructions);
    let mut step = String::new();
    let mut cuts = Vec::new();
    for (number, entry) in record.entries().iter().enumerate().take(entries.end) {
        if let Happening::StepBegins { step: name, .. } = &entry.what {
            step.clone_from(name);
        }
        if !entries.contains(&number) {
            continue;
        }
        let cut =
            |at: Moment, kind: Kind| Cut { entry: number, boot: entry.boot, at, kind, step: step.clone() };
        cuts.extend(what(&entry.what).map(|(kind, _)| cut(entry.at, kind)));
        let counts = between.remove(&number).unwrap_or_default();
        cuts.extend(counts.into_iter().map(|instructions| {
            cut(Moment { instructions, processor: None, ..entry.at }, Kind::Instruction)
        }));
    }
    cuts
}

/// How many cuts there are of what was just seen, in words.
pub fn by_name(record: &Record<'_>, cuts: &[Cut]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for cut in cuts {
        let entry = record.entries().get(cut.entry).filter(|_| cut.kind != Kind::Instruction);
        let name = entry.and_then(|entry| what(&entry.what)).map_or("instruction", |(_, name)| name);
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// What kind of place follows a happening, and its name. None: nothing that was not there before.
fn what(happening: &Happening) -> Option<(Kind, &'static str)> {
    Some(match happening {
        Happening::Disk(event) => (Kind::Disk, disk(event)?),
        Happening::FrontEnd { started: true, .. } => (Kind::Disk, "front end started"),
        Happening::FrontEnd { started: false, .. } => (Kind::Disk, "front end reset"),
        Happening::SleepRegister { .. } => (Kind::Power, "sleep register written"),
        Happening::Power(event) => (
            Kind::Power,
            match event {
                PowerEvent::On => "power on",
                PowerEvent::Asleep => "asleep",
                PowerEvent::Awake => "awake",
                PowerEvent::Off => "off",
                PowerEvent::Cut => "power lost",
                PowerEvent::Reset => "reset",
            },
        ),
        Happening::StepBegins { .. } => (Kind::Phase, "step begins"),
        Happening::StepEnds { .. } => (Kind::Phase, "step ends"),
        Happening::Kernel(_) => (Kind::Phase, "kernel takes over"),
        Happening::Ready { .. } => (Kind::Phase, "agent comes"),
        Happening::Going { .. } => (Kind::Phase, "agent goes"),
        // Said of something that happened before, or not to anything that a cut could find changed.
        Happening::Console(_) | Happening::Authors { .. } => return None,
    })
}

fn disk(event: &DiskEvent) -> Option<&'static str> {
    Some(match (event.action, event.step) {
        (DiskAction::Read(_), _) => return None,
        (DiskAction::Flush, DiskStep::Accepted) => "flush accepted",
        (DiskAction::Flush, DiskStep::Completed) => "flush completed",
        (DiskAction::Flush, DiskStep::Failed) => "flush failed",
        (DiskAction::Write { fua: true, .. }, DiskStep::Accepted) => "FUA write accepted",
        (DiskAction::Write { fua: true, .. }, DiskStep::Completed) => "FUA write completed",
        (DiskAction::Write { .. }, DiskStep::Accepted) => "write accepted",
        (DiskAction::Write { .. }, DiskStep::Completed) => "write completed",
        (DiskAction::Write { .. }, DiskStep::Failed) => "write failed",
        (DiskAction::Discard(_), DiskStep::Accepted) => "discard accepted",
        (DiskAction::Discard(_), DiskStep::Completed) => "discard completed",
        (DiskAction::Discard(_), DiskStep::Failed) => "discard failed",
        (DiskAction::WriteZeroes(_), DiskStep::Accepted) => "zeroing accepted",
        (DiskAction::WriteZeroes(_), DiskStep::Completed) => "zeroing completed",
        (DiskAction::WriteZeroes(_), DiskStep::Failed) => "zeroing failed",
        (_, DiskStep::Durable) => "durable",
    })
}

/// Instructions between entries, by the entry before them: those strictly between it and the next one.
fn between(
    record: &Record<'_>,
    entries: &Range<usize>,
    instructions: Instructions,
) -> BTreeMap<usize, BTreeSet<u64>> {
    let is_in = |number: usize| entries.contains(&number) && entries.contains(&(number + 1));
    let length = |pair: &[Entry]| match pair {
        [first, second] if first.boot == second.boot => {
            second.at.instructions.saturating_sub(first.at.instructions).saturating_sub(1)
        }
        _ => 0,
    };
    let gaps: Vec<(usize, u64, u64)> = (record.entries().windows(2).enumerate())
        .filter(|(number, _)| is_in(*number))
        .filter_map(|(number, pair)| Some((number, pair.first()?.at.instructions, length(pair))))
        .filter(|(_, _, length)| *length > 0)
        .collect();
    let all: u64 = gaps.iter().map(|(_, _, length)| length).sum();
    let mut between: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
    if all == 0 {
        return between;
    }
    let mut chosen = BTreeSet::new();
    let mut number = 0;
    while chosen.len() < usize::try_from(all).unwrap_or(usize::MAX).min(instructions.count) {
        chosen.insert(((u128::from(mix(instructions.seed, number)) * u128::from(all)) >> 64) as u64);
        number += 1;
    }
    let mut gaps = gaps.into_iter();
    let (mut gap, mut before) = (gaps.next(), 0);
    for place in chosen {
        while let Some((_, _, length)) = gap.filter(|(_, _, length)| place >= before + length) {
            before += length;
            gap = gaps.next();
        }
        let Some((entry, first, _)) = gap else { break };
        between.entry(entry).or_default().insert(first + 1 + (place - before));
    }
    between
}

#[cfg(test)]
mod tests {
    use devices::disk::Extent;
    use devices::{Event, VirtualTime};

    use super::*;
    use crate::Scenario;
    use crate::history::History;

    fn history() -> History {
        let mut history = History::default();
        let mut now = 0;
        let mut see = |event: Event, later: u64| {
            now += later;
            let at = Moment { time: VirtualTime(now * 4), instructions: now, processor: Some(0) };
            history.see(at, event);
        };
        let extent = Extent { sector: 8, sectors: 8 };
        let write = DiskAction::Write { extent, fua: false };
        let step = |request, action, step| Event::Disk(DiskEvent { disk: 0, request, action, step });
        see(Event::Power(PowerEvent::On), 0);
        see(Event::FrontEnd { disk: 0, started: true }, 1000);
        see(step(0, DiskAction::Read(extent), DiskStep::Accepted), 10);
        see(step(0, DiskAction::Read(extent), DiskStep::Completed), 10);
        see(step(1, write, DiskStep::Accepted), 1);
        see(step(1, write, DiskStep::Completed), 50);
        see(step(2, DiskAction::Flush, DiskStep::Accepted), 0);
        see(step(2, DiskAction::Flush, DiskStep::Completed), 50);
        see(step(1, write, DiskStep::Durable), 0);
        see(Event::Serial { port: 0, byte: b'x' }, 5);
        see(Event::Serial { port: 0, byte: b'\n' }, 5);
        see(Event::SleepRegister { slp_typ: 5 }, 300);
        see(Event::Power(PowerEvent::Off), 0);
        see(Event::Power(PowerEvent::On), 0);
        history
    }

    fn told<T>(read: impl FnOnce(&Record<'_>) -> T) -> T {
        let scenario = "version = 1\nsteps = []\nkernel = { primary = \"a\" }";
        let scenario = Scenario::read(scenario, &[]).unwrap();
        read(&Record { scenario: &scenario, history: &history(), logs: &[] })
    }

    #[test]
    fn every_happening_is_a_cut_but_reads_and_words() {
        told(|record| {
            let all = record.entries().len();
            let cuts = cuts(record, 0..all);
            let names = by_name(record, &cuts);
            let wanted = [
                ("durable", 1),
                ("flush accepted", 1),
                ("flush completed", 1),
                ("front end started", 1),
                ("off", 1),
                ("power on", 2),
                ("sleep register written", 1),
                ("write accepted", 1),
                ("write completed", 1),
            ];
            assert_eq!(names, BTreeMap::from(wanted));
            assert_eq!(cuts.len(), all - 3);
            let of = |kind| cuts.iter().filter(|cut| cut.kind == kind).count();
            assert_eq!((of(Kind::Disk), of(Kind::Power), of(Kind::Phase)), (6, 4, 0));
            let last = super::cuts(record, all - 2..all);
            assert_eq!(last.iter().map(|cut| cut.entry).collect::<Vec<_>>(), [all - 2, all - 1]);
        });
    }

    #[test]
    fn instructions_lie_strictly_between_two_entries_and_follow_from_the_seed() {
        told(|record| {
            let all = record.entries().len();
            let cuts = |seed, count| {
                let mut cuts = cuts_and_instructions(record, 0..all, Instructions { count, seed });
                cuts.retain(|cut| cut.kind == Kind::Instruction);
                cuts
            };
            let chosen = cuts(7, 40);
            assert_eq!(chosen.len(), 40);
            for cut in &chosen {
                let (before, after) = (&record.entries()[cut.entry], &record.entries()[cut.entry + 1]);
                assert!(before.at.instructions < cut.at.instructions, "{cut:?}");
                assert!(cut.at.instructions < after.at.instructions, "{cut:?}");
                assert_eq!((cut.boot, cut.at.time), (before.boot, before.at.time));
            }
            assert_eq!(cuts(7, 40), chosen);
            assert_ne!(cuts(8, 40), chosen);
            assert!(chosen.is_sorted_by_key(|cut| (cut.entry, cut.at.instructions)));
            // There are no more: 999 + 9 + 9 + 49 + 49 + 9 + 299.
            assert_eq!(cuts(7, 10_000).len(), 1423);
            assert!(cuts(7, 0).is_empty());
        });
    }
}
