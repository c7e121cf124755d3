//! A scenario explored: recorded once, cut everywhere, and every state of the family booted until all is decided or somebody says stop.

use std::collections::BTreeMap;

use devices::disk::{BaseError, SECTOR};
use serde::Serialize;
use thiserror::Error;
use vmm::MachineError;

use super::cuts::{Cut, Kind};
use super::family::{Choice, Depth};
use super::judge::{Commit, Finding, Findings, Judge};
use super::recovery::Outcome;
use super::replay::Replay;
use super::subject::{SubjectError, Unexplorable};
use super::survey::{Recording, Survey};
use super::tree::Effort;
use crate::checks::Record;
use crate::checks::record::places;
use crate::kernels::Kernels;
use crate::lab::Trouble;
use crate::language::{Scenario, Use};
use crate::run::Listener;

const SECTORS_OF_A_PAGE: u64 = 8;

/// What cannot be explored.
#[derive(Debug, Error)]
pub enum ExploreError {
    /// It has nothing to explore.
    #[error(transparent)]
    Unexplorable(#[from] Unexplorable),
    /// The run has no state that could be booted.
    #[error("the run leaves nothing to boot from")]
    Nothing,
    /// The run without any cut does not do what it should, or has cuts of its own.
    #[error("the run itself has to pass, and {0}")]
    Run(String),
    /// What a state leaves on a disk.
    #[error(transparent)]
    Disk(#[from] BaseError),
    /// The machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The machine that boots after a cut.
    #[error(transparent)]
    Boot(#[from] Trouble),
}

impl ExploreError {
    /// Whether what the user wrote is wrong, rather than kjvm.
    pub fn is_users(&self) -> bool {
        matches!(self, Self::Unexplorable(_) | Self::Nothing | Self::Run(_))
    }
}

impl From<SubjectError> for ExploreError {
    fn from(error: SubjectError) -> Self {
        match error {
            SubjectError::Unexplorable(error) => error.into(),
            SubjectError::Trouble(error) => error.into(),
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Places at which the power may fail.
    pub points: Points,
    /// States that were listed: so many of each cut.
    pub listed: u64,
    /// Different ones among them.
    pub states: usize,
    /// What was done.
    pub effort: Effort,
    /// Different states that are not decided yet.
    pub undecided: usize,
    /// Classes of findings.
    pub findings: usize,
}

/// Cuts, by what just happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Points {
    /// A request to a disk went a step further.
    pub disk: usize,
    /// A register for sleep or power was written, or the machine changed its state.
    pub power: usize,
    /// A step began or ended, a kernel took over, the agent came or went.
    pub phase: usize,
}

impl Points {
    fn of(cuts: &[Cut]) -> Self {
        let of = |kind: Kind| cuts.iter().filter(|cut| cut.kind == kind).count();
        Self { disk: of(Kind::Disk), power: of(Kind::Power), phase: of(Kind::Phase) }
    }

    /// All of them.
    pub fn total(self) -> usize {
        self.disk + self.power + self.phase
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explored {
    /// How far it came.
    pub progress: Progress,
    /// Cut points of which every listed state is decided.
    pub tested: usize,
    /// Whether everything of the family is decided.
    pub is_exhausted: bool,
    /// How many states end in which way.
    pub outcomes: Vec<(Outcome, u64)>,
    /// What must not be, and is.
    pub findings: Vec<Found>,
}

/// A finding, told so that it can be followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Kind of failure.
    pub class: String,
    /// `O5`.
    pub oracle: String,
    /// `O5.C1`.
    pub clause: String,
    /// Where the power was cut.
    pub cut: Cut,
    /// What was lost.
    pub lost_writes: Vec<LostWrite>,
    /// The weakest disk that shows it.
    pub weakest_fault: &'static str,
    /// What a user sees.
    pub user_effect: String,
    /// What would be legal.
    pub allowed: Vec<&'static str>,
    /// What came.
    pub observed: Outcome,
    /// States of the class, counted once for each cut they come from.
    pub seen: u64,
}

/// A write that did not survive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostWrite {
    /// Number of the disk.
    pub disk: usize,
    /// Number of the request.
    pub request: u64,
    /// Its first sector, and how many.
    pub sector: u64,
    /// How many.
    pub sectors: u64,
    /// Whose the sector is.
    pub owner: String,
}

/// Explores a scenario. `goes_on` is asked after each boot.
///
/// # Errors
/// [`ExploreError`].
pub fn explore(
    name: &str,
    scenario: &Scenario,
    kernels: &Kernels,
    depth: Depth,
    listener: &mut dyn Listener,
    mut goes_on: impl FnMut(&Progress) -> bool,
) -> Result<Explored, ExploreError> {
    let recording = Recording::of(name, scenario, kernels, listener)?;
    let survey = Survey::of(&recording, depth)?;
    let Survey { cuts, family, judge, subject, .. } = &survey;
    let mut findings = Findings::default();
    let mut outcomes: BTreeMap<Outcome, u64> = BTreeMap::new();
    let mut progress = Progress {
        points: Points::of(cuts),
        listed: family.listed,
        states: family.states.len(),
        undecided: family.states.len(),
        ..Progress::default()
    };
    let mut worker = survey.worker()?;
    let mut units = survey.units().into_iter();
    let mut is_exhausted = false;
    while goes_on(&progress) {
        let leaf = match worker.next_leaf()? {
            Some(leaf) => leaf,
            None => match units.next() {
                Some(unit) => {
                    worker.begin(unit.set);
                    continue;
                }
                None => {
                    is_exhausted = true;
                    break;
                }
            },
        };
        let states = leaf.set.listed();
        findings.add(judge, family, cuts, states, &leaf.outcome)?;
        *outcomes.entry(leaf.outcome.clone()).or_default() += states.len() as u64;
        progress.effort = worker.tree().effort();
        progress.undecided -= states.len();
        progress.findings = findings.iter().count();
    }
    let left = units.flat_map(|unit| unit.set.listed().to_vec());
    let open = survey.cuts_of(worker.tree().undecided_states().chain(left));
    let tested = cuts.len().saturating_sub(open.len());
    let record = recording.record();
    let found = findings
        .iter()
        .map(|finding| found(finding, judge, cuts, &record, &subject.commit))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Explored { tested, progress, is_exhausted, outcomes: outcomes.into_iter().collect(), findings: found })
}

fn found(
    finding: &Finding,
    judge: &Judge,
    cuts: &[Cut],
    record: &Record<'_>,
    commit: &Commit,
) -> Result<Found, ExploreError> {
    let Finding { class, origin, seen, observed, .. } = finding;
    let cut = cuts.get(origin.cut).cloned().ok_or(ExploreError::Nothing)?;
    let lost_writes = lost(record, &cut, &origin.choices, commit)?;
    let user_effect = match observed {
        Outcome::Lost(_) => {
            "the session is lost: the next boot is cold, though the image was said to be there".into()
        }
        Outcome::Damaged(_) => "the session goes on, and something in it is wrong".into(),
        Outcome::Dead(how) => format!("the next boot does not come up: {how}"),
        Outcome::Resumed => "a session that was over goes on, over disks that moved on since".into(),
        Outcome::Cold => "the session is lost: nobody looks for the image".into(),
        Outcome::FilesLost(_) => "what had been synced before is not there after a cold boot".into(),
        Outcome::Broken(why) => format!("unknown: {why}"),
    };
    Ok(Found {
        class: class.what.clone(),
        oracle: class.clause.split('.').next().unwrap_or_default().to_owned(),
        clause: class.clause.clone(),
        weakest_fault: origin.needs.name(),
        allowed: judge.life(origin.cut).map(super::judge::Life::allowed).unwrap_or_default(),
        observed: observed.clone(),
        user_effect,
        lost_writes,
        seen: *seen,
        cut,
    })
}

/// The writes that a state lacks.
fn lost(
    record: &Record<'_>,
    cut: &Cut,
    choices: &[Choice],
    commit: &Commit,
) -> Result<Vec<LostWrite>, ExploreError> {
    let broken = |error: devices::disk::MediaError| BaseError::Host { offset: 0, reason: error.to_string() };
    let mut replay = Replay::new(record).map_err(broken)?;
    while replay.step()?.is_some_and(|entry| entry < cut.entry) {}
    let lost = super::lost::lost(replay.disks(), choices)?.into_iter().map(|lost| LostWrite {
        disk: lost.disk,
        request: lost.request,
        sector: lost.sector,
        sectors: lost.sectors,
        owner: owner(record, lost.disk, lost.sector, commit),
    });
    Ok(lost.collect())
}

fn owner(record: &Record<'_>, disk: usize, sector: u64, commit: &Commit) -> String {
    let start = commit.at / SECTOR;
    if disk == commit.disk && (start..start + SECTORS_OF_A_PAGE).contains(&sector) {
        return "header of the image".into();
    }
    [Use::Ext4, Use::Swap, Use::Image]
        .into_iter()
        .flat_map(|what| places(record.scenario, what).into_iter().map(move |place| (what, place)))
        .find(|(_, place)| place.disk == disk && place.sectors().contains(&sector))
        .map_or_else(
            || "no partition".to_owned(),
            |(what, place)| {
                format!("{}, page {}", what.name(), (sector - place.sectors().start) / SECTORS_OF_A_PAGE)
            },
        )
}
