//! `faults` of a disk: requests that fail, hang, or are answered with a lie.

use devices::disk::{Applied, Counters, Extent, Fault, FaultOutcome, Kind as FaultKind, Times};

use super::reader::{Table, Value};
use super::when::{Occasion, when};
use super::{DiskSpec, Mistake, Region, Step, region};

/// Requests to a disk that go wrong, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultSpec {
    /// What becomes of them.
    pub outcome: FaultOutcome,
    /// Of which kind. None: any.
    pub kind: Option<FaultKind>,
    /// Only the nth of this kind, from 1, counted from when the fault begins to count.
    pub nth: Option<u64>,
    /// Only if they touch this.
    pub region: Option<Region>,
    /// All of them, or the first.
    pub times: Times,
    /// Only in this step of the scenario.
    pub during: Option<&'static str>,
    /// Only in this cycle.
    pub cycle: Option<u32>,
    /// Only after this happened.
    pub after: Option<Occasion>,
}

const KINDS: [(&str, Option<FaultKind>); 6] = [
    ("any", None),
    ("read", Some(FaultKind::Read)),
    ("write", Some(FaultKind::Write)),
    ("flush", Some(FaultKind::Flush)),
    ("discard", Some(FaultKind::Discard)),
    ("write-zeroes", Some(FaultKind::WriteZeroes)),
];

impl FaultSpec {
    /// Reads those of a disk; `disks` have no faults yet.
    pub(super) fn read_all(value: Value<'_>, disks: &[DiskSpec], disk: usize) -> Result<Vec<Self>, Mistake> {
        let mut faults = Vec::new();
        for value in value.list()? {
            let fault = Self::read(value.table("a fault")?, disks, disk)?;
            fault.check(value, disks, disk)?;
            faults.push(fault);
        }
        Ok(faults)
    }

    fn read(mut table: Table<'_>, disks: &[DiskSpec], disk: usize) -> Result<Self, Mistake> {
        let verb = table.one(&["fails", "hangs", "lies"])?;
        let kind = verb.word("kind of request", &KINDS)?;
        let done = table.optional("done").map_or(Ok(Applied::Nothing), applied)?;
        let outcome = match verb.key {
            "fails" => FaultOutcome::Fails(done),
            "hangs" => FaultOutcome::Hangs(done),
            _ => FaultOutcome::Lies,
        };
        let nth = table.optional("nth").map(|value| value.number(1..=u64::MAX >> 1)).transpose()?;
        let region = region::read(&mut table, disks, Some(disk))?;
        let words = [("once", Times::Once), ("always", Times::Always)];
        let times =
            table.optional("times").map_or(Ok(Times::Once), |value| value.word("number of times", &words))?;
        let during = table.optional("during").map(during).transpose()?;
        let cycle = table.optional("cycle").map(cycle).transpose()?;
        let after = table.optional("after").map(|value| when(value, disks)).transpose()?;
        table.end()?;
        Ok(Self { outcome, kind, nth, region, times, during, cycle, after })
    }

    /// Whether a disk can have it.
    fn check(&self, value: Value<'_>, disks: &[DiskSpec], disk: usize) -> Result<(), Mistake> {
        if let Some(region) = self.region.as_ref().filter(|region| region.disk != disk) {
            let name = disks.get(region.disk).map_or("", |disk| disk.name.as_str());
            return Err(value.mistake(format!("that region is on the disk `{name}`, not on this one")));
        }
        let config =
            devices::disk::DiskConfig { faults: vec![self.fault(Counters::default())], ..Default::default() };
        config.check().map_err(|error| {
            let text = error.to_string();
            value.mistake(text.strip_prefix("disk 0: fault 0: ").unwrap_or(&text))
        })
    }

    /// As a disk has it that has seen this much when it begins to count.
    pub fn fault(&self, seen: Counters) -> Fault {
        let before = match self.kind {
            Some(FaultKind::Read) => seen.reads,
            Some(FaultKind::Write) => seen.writes,
            Some(FaultKind::Flush) => seen.flushes,
            Some(FaultKind::Discard) => seen.discards,
            Some(FaultKind::WriteZeroes) => seen.zeroes,
            None => 0,
        };
        let extent = |region: &Region| Extent {
            sector: region.sectors.start,
            sectors: region.sectors.end.saturating_sub(region.sectors.start),
        };
        Fault {
            request: None,
            kind: self.kind,
            nth: self.nth.map(|nth| (nth - 1).saturating_add(before)),
            extent: self.region.as_ref().map(extent),
            times: self.times,
            outcome: self.outcome,
        }
    }

    /// One that never strikes.
    pub fn idle() -> Fault {
        Fault { request: Some(u64::MAX), ..Fault::default() }
    }

    /// Whether it counts from the beginning of the run on.
    pub fn counts_at_first(&self) -> bool {
        self.during.is_none() && self.cycle.is_none() && self.after.is_none()
    }
}

fn applied(value: Value<'_>) -> Result<Applied, Mistake> {
    if value.is_string() {
        return value.word("part of a request", &[("nothing", Applied::Nothing), ("all", Applied::All)]);
    }
    value.number(1..=u64::MAX >> 1).map(Applied::Units)
}

/// `during`: the name of a step.
pub(super) fn during(value: Value<'_>) -> Result<&'static str, Mistake> {
    Step::named(value).map(|step| step.name())
}

/// `cycle`: a number from 1.
pub(super) fn cycle(value: Value<'_>) -> Result<u32, Mistake> {
    value.number(1..=1000).map(|cycle| cycle as u32)
}
