//! What is said of a finding.

use std::collections::BTreeSet;

use devices::{DiskAction, DiskEvent, DiskStep, PowerEvent};
use serde::{Deserialize, Serialize};

use super::loss::Loss;
use super::minimise::Minimised;
use super::owner::Owners;
use super::{Context, FindingError};
use crate::checks::FaultModel;
use crate::checks::record::Request;
use crate::explore::cuts::Kind;
use crate::explore::judge::{Finding, Life};
use crate::explore::recovery::Outcome;
use crate::history::Happening;

/// A finding, as files and reports have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Kind of failure.
    pub class: String,
    /// `O5`.
    pub oracle: String,
    /// `O5.C1`.
    pub clause: String,
    /// Where the power was cut.
    pub cut: CutTold,
    /// What was lost, in the order in which it was accepted.
    pub lost_writes: Vec<LostWrite>,
    /// The weakest disk that shows it.
    pub weakest_fault: String,
    /// What a user sees.
    pub user_effect: String,
    /// What would be legal.
    pub allowed: Vec<String>,
    /// What came.
    pub observed: Outcome,
    /// States of the class, counted once for each cut they come from.
    pub seen: u64,
    /// Nanoseconds of the guest's time during which a cut shows it.
    pub window: u64,
    /// How small it is.
    pub minimal: Minimal,
    /// What was written of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repro: Option<Files>,
    /// What could not be done or confirmed.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub said: Vec<String>,
}

/// Where the power was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutTold {
    /// The power fails right after this entry of the recorded history.
    pub entry: usize,
    /// In which boot.
    pub boot: u32,
    /// Run time of that boot.
    pub nanoseconds: u64,
    /// Instructions retired in that boot.
    pub instructions: u64,
    /// In which step of the scenario.
    pub step: String,
    /// What kind of place it is.
    pub kind: Kind,
    /// What had just happened: `write #294 accepted`.
    pub event: String,
    /// Where that is: `0.210 ms after #294 header S1SUSPEND; no FLUSH since #12`.
    pub words: String,
}

/// A write that did not survive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostWrite {
    /// Name of the disk.
    pub disk: String,
    /// Number of the request on it since its power came on.
    pub request: u64,
    /// Its first sector.
    pub sector: u64,
    /// How many.
    pub sectors: u64,
    /// Whose they are: `swap map page 23 of 23`.
    pub owner: String,
    /// The guest's functions behind it, innermost first. Empty: not looked at, or not known.
    pub function: String,
}

/// How small a witness is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minimal {
    /// Boots that were spent on making it smaller.
    pub boots: u32,
    /// No single lost write can be given back, and one accepted write earlier it is not there. Not so: the boots did not suffice.
    pub is_proven: bool,
}

/// Files of a finding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// A scenario that cuts the power there.
    pub scenario: String,
    /// A run of it, for `kjvm replay`. Empty: there is none.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub replay: String,
    /// For a maintainer. Empty: there is none.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub report: String,
    /// What builds the disks without kjvm and boots them. Empty: there is none.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub script: String,
    /// A log in the format of dm-log-writes for each disk.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub logs: Vec<String>,
}

/// Everything that is known of the smallest witness.
pub(super) struct Facts<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) requests: Vec<Request<'a>>,
    pub(super) owners: Owners,
    pub(super) loss: &'a Loss,
    /// The entry that the cut comes after.
    pub(super) entry: usize,
    pub(super) boot: u32,
}

impl<'a> Facts<'a> {
    pub(super) fn of(context: &'a Context<'a>, minimised: &'a Minimised) -> Result<Self, FindingError> {
        let cut = context.cuts.get(minimised.witness.cut).ok_or(FindingError::Foreign("no such cut"))?;
        Ok(Self {
            context,
            requests: context.record.requests(),
            owners: Owners::at(context.record, cut.entry, &context.subject.commit)?,
            loss: &minimised.witness.loss,
            entry: cut.entry,
            boot: cut.boot,
        })
    }

    /// Run time of an entry of the history.
    pub(super) fn time(&self, entry: usize) -> u64 {
        self.context.record.entries().get(entry).map_or(0, |entry| entry.at.time.0)
    }

    /// Name of a disk.
    pub(super) fn disk(&self, number: usize) -> &'a str {
        self.context.scenario.disks.get(number).map_or("scratch", |disk| disk.name.as_str())
    }

    /// Requests of the boot that is cut which are no reads, in the order of acceptance.
    pub(super) fn changes(&self) -> impl DoubleEndedIterator<Item = &Request<'a>> {
        self.requests
            .iter()
            .filter(|request| request.boot == self.boot && !matches!(request.action, DiskAction::Read(_)))
    }

    /// Those that are lost.
    fn lost(&self) -> impl DoubleEndedIterator<Item = &Request<'a>> {
        self.changes()
            .filter(|request| request.accepted <= self.entry && self.loss.has(request.disk, request.number))
    }

    /// The guest's functions behind a request.
    pub(super) fn function(&self, request: &Request<'_>) -> String {
        self.context
            .narrative
            .and_then(|narrative| narrative.of(request.boot, request.disk, request.number))
            .unwrap_or_default()
    }

    /// `#294 header S1SUSPEND`: the last write of a commit record before the cut, and when it was accepted.
    pub(super) fn commit(&self) -> Option<(&Request<'a>, String)> {
        self.changes().rev().filter(|request| request.accepted <= self.entry).find_map(|request| {
            let words = self.owners.commit(request)?;
            Some((request, words))
        })
    }

    /// The last flush of a disk that was completed before the cut.
    pub(super) fn flush(&self, disk: usize) -> Option<&Request<'a>> {
        self.changes().rev().find(|request| {
            request.disk == disk
                && request.action == DiskAction::Flush
                && request.completed.is_some_and(|done| done <= self.entry)
        })
    }

    fn words(&self) -> String {
        let swap = self.owners.commits().first().map_or(0, |commit| commit.disk);
        let (after, disk) = match self.commit() {
            Some((request, words)) => {
                let since = self.time(self.entry).saturating_sub(self.time(request.accepted));
                let after = if since == 0 { "right".to_owned() } else { milliseconds(since) };
                (format!("{after} after #{} {words}", request.number), request.disk)
            }
            None => ("no commit record written in this boot".into(), swap),
        };
        match self.flush(disk) {
            Some(flush) => format!("{after}; no FLUSH since #{}", flush.number),
            None => format!("{after}; no FLUSH in this boot"),
        }
    }

    /// What had just happened.
    fn event(&self) -> String {
        match self.context.record.entries().get(self.entry).map(|entry| &entry.what) {
            Some(Happening::Disk(event)) => disk_event(event, self.context.scenario.disks.len() > 1),
            Some(Happening::SleepRegister { slp_typ }) => format!("SLP_EN written with SLP_TYP {slp_typ}"),
            Some(Happening::Power(event)) => match event {
                PowerEvent::Off => "off".into(),
                PowerEvent::Asleep => "asleep in S3".into(),
                PowerEvent::Awake => "awake from S3".into(),
                PowerEvent::On => "power on".into(),
                PowerEvent::Cut => "power cut".into(),
                PowerEvent::Reset => "reset".into(),
            },
            Some(Happening::StepBegins { step, .. }) => format!("step `{step}` begins"),
            Some(Happening::StepEnds { step, .. }) => format!("step `{step}` ends"),
            Some(Happening::Kernel(role)) => format!("kernel {role} takes over"),
            Some(Happening::Ready { .. }) => "the agent is there".into(),
            Some(Happening::Going { .. }) => "the agent goes".into(),
            _ => "nothing".into(),
        }
    }

    /// From the cut to the first moment at which the same is no longer possible: one of the lost writes durable, another write
    /// accepted if none is lost, or the power gone.
    pub(super) fn window(&self) -> u64 {
        let entries = self.context.record.entries();
        let ends = |what: &Happening| match what {
            Happening::Disk(DiskEvent { action: DiskAction::Read(_) | DiskAction::Flush, .. }) => false,
            Happening::Disk(event) if self.loss.is_empty() => event.step == DiskStep::Accepted,
            Happening::Disk(event) => {
                event.step == DiskStep::Durable && self.loss.has(event.disk.into(), event.request)
            }
            Happening::Power(event) => !matches!(event, PowerEvent::Asleep | PowerEvent::Awake),
            _ => false,
        };
        let later = entries.iter().skip(self.entry + 1);
        let end = later.take_while(|entry| entry.boot == self.boot).find(|entry| ends(&entry.what));
        let end = end.or_else(|| entries.iter().rfind(|entry| entry.boot == self.boot));
        end.map_or(0, |entry| entry.at.time.0.saturating_sub(self.time(self.entry)))
    }

    /// The weakest disk that loses these.
    fn weakest(&self) -> FaultModel {
        let flushes: Vec<&Request<'_>> = self
            .changes()
            .filter(|flush| flush.action == DiskAction::Flush)
            .filter(|flush| flush.completed.is_some_and(|done| done <= self.entry))
            .collect();
        let of = |request: &Request<'_>| match request.completed.filter(|done| *done <= self.entry) {
            None => FaultModel::CutOnly,
            Some(_) if matches!(request.action, DiskAction::Write { fua: true, .. }) => FaultModel::LyingDisk,
            Some(done) if flushes.iter().any(|flush| flush.disk == request.disk && done < flush.accepted) => {
                FaultModel::LyingDisk
            }
            Some(_) => FaultModel::VolatileCache,
        };
        self.lost().map(of).max().unwrap_or(FaultModel::CutOnly)
    }
}

/// Says everything about a witness but what files it has.
pub(super) fn explain(
    facts: &Facts<'_>,
    finding: &Finding,
    minimised: &Minimised,
) -> Result<Found, FindingError> {
    let context = facts.context;
    let cut = context.cuts.get(minimised.witness.cut).ok_or(FindingError::Foreign("no such cut"))?;
    let mut lost_writes = Vec::new();
    let mut told = BTreeSet::new();
    for request in facts.lost() {
        let torn = facts.loss.sectors(request.disk, request.number);
        let whole = request.changes.iter().map(|(extent, _)| *extent).chain(request.extent());
        let whole = whole.filter(|_| torn.is_empty());
        let extents = whole.chain(torn.iter().copied());
        for extent in extents.filter(|extent| extent.sectors > 0) {
            if !told.insert((request.disk, request.number, extent.sector)) {
                continue;
            }
            lost_writes.push(LostWrite {
                disk: facts.disk(request.disk).to_owned(),
                request: request.number,
                sector: extent.sector,
                sectors: extent.sectors,
                owner: facts.owners.of(request.disk, extent),
                function: facts.function(request),
            });
        }
    }
    let observed = minimised.witness.outcome.clone();
    Ok(Found {
        class: finding.class.what.clone(),
        oracle: finding.class.clause.split('.').next().unwrap_or_default().to_owned(),
        clause: finding.class.clause.clone(),
        cut: CutTold {
            entry: cut.entry,
            boot: cut.boot,
            nanoseconds: cut.at.time.0,
            instructions: cut.at.instructions,
            step: cut.step.clone(),
            kind: cut.kind,
            event: facts.event(),
            words: facts.words(),
        },
        lost_writes,
        weakest_fault: facts.weakest().name().to_owned(),
        user_effect: user_effect(&observed),
        allowed: context
            .judge
            .life(minimised.witness.cut)
            .map(Life::allowed)
            .unwrap_or_default()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        observed,
        seen: finding.seen,
        window: facts.window(),
        minimal: Minimal { boots: minimised.boots, is_proven: !minimised.is_bounded },
        repro: None,
        said: Vec::new(),
    })
}

/// What a user sees of an outcome that must not be.
fn user_effect(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Lost(_) => {
            "the session is lost: the next boot is cold, though the image was said to be there".into()
        }
        Outcome::Damaged(_) => "the session goes on, and something in it is wrong".into(),
        Outcome::Dead(how) => format!("the next boot does not come up: {how}"),
        Outcome::Resumed => "a session that was over goes on, over disks that moved on since".into(),
        Outcome::Cold => "the session is lost: nobody looks for the image".into(),
        Outcome::FilesLost(_) => "what had been synced before is not there after a cold boot".into(),
        Outcome::Broken(why) => format!("unknown: {why}"),
    }
}

/// `write #294 accepted`.
fn disk_event(event: &DiskEvent, with_disk: bool) -> String {
    let what = action(&event.action);
    let step = match event.step {
        DiskStep::Accepted => "accepted",
        DiskStep::Completed => "completed",
        DiskStep::Failed => "failed",
        DiskStep::Durable => "durable",
    };
    let disk = if with_disk { format!(" of disk {}", event.disk) } else { String::new() };
    format!("{what} #{}{disk} {step}", event.request)
}

/// What a request asks.
pub(super) fn action(action: &DiskAction) -> &'static str {
    match action {
        DiskAction::Read(_) => "read",
        DiskAction::Write { fua: true, .. } => "FUA write",
        DiskAction::Write { .. } => "write",
        DiskAction::Flush => "FLUSH",
        DiskAction::Discard(_) => "discard",
        DiskAction::WriteZeroes(_) => "write zeroes",
    }
}

/// `0.210 ms`.
pub(super) fn milliseconds(nanoseconds: u64) -> String {
    format!("{}.{:03} ms", nanoseconds / 1_000_000, nanoseconds / 1000 % 1000)
}
