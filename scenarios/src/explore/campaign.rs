//! A scenario explored: recorded once, cut everywhere, and every state of the family booted until all is decided or somebody says stop.
//!
//! Workers execute boots; whoever runs the campaign takes in what comes of them, one after the other, into its store and its findings. What
//! a boot makes of a state does not depend on who executes it or when, so neither does what is decided and found.

mod crew;

use std::collections::BTreeMap;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use devices::disk::{BaseError, SECTOR};
use serde::Serialize;
use thiserror::Error;
use vmm::MachineError;

use super::cuts::{Cut, Points, by_name};
use super::family::{Choice, Spaces};
use super::judge::{Commit, Finding, Findings, Judge};
use super::recovery::Outcome;
use super::replay::Replay;
use super::set::Set;
use super::store::{Done, Store, StoreError};
use super::subject::{SubjectError, Unexplorable};
use super::survey::{Survey, Unit};
use super::tree::{Effort, Leaf};
use crate::checks::Record;
use crate::checks::record::places;
use crate::lab::Trouble;
use crate::language::Use;
use crew::{Crew, Said};

const SECTORS_OF_A_PAGE: u64 = 8;
/// So often somebody is asked whether it goes on while no boot ends.
const LOOK: Duration = Duration::from_millis(100);

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
    /// Where it is kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host has no threads.
    #[error("no thread to work with: {0}")]
    Threads(std::io::Error),
}

impl ExploreError {
    /// Whether what the user wrote is wrong, rather than kjvm.
    pub fn is_users(&self) -> bool {
        match self {
            Self::Unexplorable(_) | Self::Nothing | Self::Run(_) => true,
            Self::Store(error) => error.is_users(),
            _ => false,
        }
    }

    /// Whether the host lacks something.
    pub fn is_hosts(&self) -> bool {
        match self {
            Self::Store(error) => error.is_hosts(),
            Self::Threads(_) => true,
            _ => false,
        }
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

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explored {
    /// How far it came.
    pub progress: Progress,
    /// How many cut points there are of each kind, by its name.
    pub points_by_name: BTreeMap<&'static str, usize>,
    /// How large the spaces are of which the listed family is a part.
    pub spaces: Spaces,
    /// Cut points of which every listed state is decided.
    pub tested: usize,
    /// Whether everything of the family is decided.
    pub is_exhausted: bool,
    /// How many states end in which way.
    pub outcomes: Vec<(Outcome, u64)>,
    /// What must not be, and is.
    pub findings: Vec<Found>,
    /// What it took on the host's clock.
    pub seconds: f64,
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

/// A campaign under way: what is decided, and what was found. All of it is in its store as well.
pub struct Campaign<'a> {
    survey: &'a Survey<'a>,
    store: &'a Store,
    findings: Findings,
    outcomes: BTreeMap<Outcome, u64>,
    /// Of each state: whether it is decided.
    decided: Vec<bool>,
    /// Of each unit: states that are not.
    left: BTreeMap<usize, usize>,
    progress: Progress,
    is_exhausted: bool,
    /// Seconds that it took before now.
    before: f64,
    begun: Instant,
}

impl<'a> Campaign<'a> {
    /// Goes on with what is in the store, which may be nothing. `begun`: from then on time counts.
    ///
    /// # Errors
    /// [`ExploreError`].
    pub fn new(survey: &'a Survey<'a>, store: &'a Store, begun: Instant) -> Result<Self, ExploreError> {
        let Survey { cuts, family, judge, .. } = survey;
        let before = store.before()?;
        let numbers: BTreeMap<u128, usize> =
            (0..).zip(&family.states).map(|(number, state)| (state.sum, number)).collect();
        let mut findings = Findings::default();
        let mut decided = vec![false; family.states.len()];
        let mut outcomes = BTreeMap::new();
        for (outcome, sums) in &before.states {
            let mut states = Vec::with_capacity(sums.len());
            for sum in sums {
                let number = numbers.get(sum).copied();
                let (Some(number), Some(is_decided)) =
                    (number, number.and_then(|number| decided.get_mut(number)))
                else {
                    return Err(store.damaged("a state that there is not").into());
                };
                *is_decided = true;
                states.push(number);
            }
            findings.add(judge, family, cuts, &states, outcome)?;
            outcomes.insert(outcome.clone(), states.len() as u64);
        }
        let witness = |finding| (finding, witness(survey, finding));
        store.find_anew(findings.iter().map(witness))?;
        let progress = Progress {
            points: Points::of(cuts, family.skipped),
            listed: family.listed,
            states: family.states.len(),
            effort: before.effort,
            undecided: decided.iter().filter(|decided| !**decided).count(),
            findings: findings.iter().count(),
        };
        let (left, is_exhausted, before) = (BTreeMap::new(), false, before.seconds);
        Ok(Self { survey, store, findings, outcomes, decided, left, progress, is_exhausted, before, begun })
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Executes boots with so many workers until all is decided, or `goes_on` says no, which is asked after each boot and while they last.
    /// Boots that are under way then come to their end, and count.
    ///
    /// # Errors
    /// [`ExploreError`]. What was stored before stays.
    pub fn run(
        &mut self,
        jobs: usize,
        mut goes_on: impl FnMut(&Progress) -> bool,
    ) -> Result<(), ExploreError> {
        let (done, mut work) = (self.store.done()?, Vec::new());
        let units = self.survey.units();
        self.store.list(units.iter().map(|unit| (unit.number, unit.set.listed().len())))?;
        for unit in units.into_iter().filter(|unit| !done.contains(&unit.number)) {
            let is_open = |number: &usize| self.decided.get(*number) == Some(&false);
            let left: Vec<usize> = unit.set.listed().iter().copied().filter(is_open).collect();
            if left.is_empty() {
                self.store.finish(unit.number)?;
            } else {
                work.push(Unit { set: Set::Listed(left), ..unit });
            }
        }
        self.left = work.iter().map(|unit| (unit.number, unit.set.listed().len())).collect();
        let mut stopped = !goes_on(&self.progress);
        let crew = Crew::new(work);
        let survey = self.survey;
        let mut failure = None;
        std::thread::scope(|scope| {
            if stopped || self.left.is_empty() {
                return;
            }
            let reports = match crew.start(scope, survey, jobs) {
                Ok(reports) => reports,
                Err(error) => {
                    failure = Some(ExploreError::Threads(error));
                    return;
                }
            };
            loop {
                match reports.recv_timeout(LOOK) {
                    // After a failure of the store nothing more is taken in.
                    Ok(_) if failure.is_some() => {}
                    Ok(Said::Leaf(unit, leaf, effort)) => failure = self.take_in(unit, &leaf, effort).err(),
                    Ok(Said::Failed(error)) => failure = Some(error),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if failure.is_some() || (!stopped && !goes_on(&self.progress)) {
                    stopped = true;
                    crew.stop();
                }
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        self.is_exhausted = self.progress.undecided == 0;
        Ok(())
    }

    /// A boot came to its end.
    fn take_in(&mut self, unit: usize, leaf: &Leaf, effort: Effort) -> Result<(), ExploreError> {
        let Survey { cuts, family, judge, .. } = self.survey;
        let states = leaf.set.listed();
        let seen: BTreeMap<_, _> =
            self.findings.iter().map(|finding| (finding.class.clone(), finding.seen)).collect();
        self.findings.add(judge, family, cuts, states, &leaf.outcome)?;
        let more = self.findings.iter().filter(|finding| seen.get(&finding.class) != Some(&finding.seen));
        let is_plain = matches!(leaf.outcome, Outcome::Cold | Outcome::Resumed);
        self.store.add(&Done {
            unit,
            sums: states
                .iter()
                .filter_map(|number| family.states.get(*number))
                .map(|state| state.sum)
                .collect(),
            outcome: &leaf.outcome,
            effort,
            console: (!is_plain).then(|| leaf.console.join("\n")),
            findings: more.map(|finding| (finding, witness(self.survey, finding))).collect(),
            seconds: self.seconds(),
        })?;
        *self.outcomes.entry(leaf.outcome.clone()).or_default() += states.len() as u64;
        for number in states {
            if let Some(decided) = self.decided.get_mut(*number) {
                *decided = true;
            }
        }
        if let Some(left) = self.left.get_mut(&unit) {
            *left = left.saturating_sub(states.len());
            if *left == 0 {
                self.store.finish(unit)?;
            }
        }
        self.progress.effort += effort;
        self.progress.undecided = self.progress.undecided.saturating_sub(states.len());
        self.progress.findings = self.findings.iter().count();
        Ok(())
    }

    /// Seconds that it took, whenever that was.
    pub fn seconds(&self) -> f64 {
        self.before + self.begun.elapsed().as_secs_f64()
    }

    /// What came of it so far.
    ///
    /// # Errors
    /// [`ExploreError`].
    pub fn explored(&self) -> Result<Explored, ExploreError> {
        let Survey { recording, cuts, judge, subject, .. } = self.survey;
        let undecided = (0..).zip(&self.decided).filter(|(_, decided)| !**decided).map(|(number, _)| number);
        let open = self.survey.cuts_of(undecided);
        let record = recording.record();
        let findings =
            self.findings.iter().map(|finding| found(finding, judge, cuts, &record, &subject.commit));
        Ok(Explored {
            progress: self.progress,
            points_by_name: by_name(&record, cuts),
            spaces: self.survey.family.spaces,
            tested: cuts.len().saturating_sub(open.len()),
            is_exhausted: self.is_exhausted,
            outcomes: self.outcomes.clone().into_iter().collect(),
            findings: findings.collect::<Result<_, _>>()?,
            seconds: self.seconds(),
        })
    }
}

/// The sum of the state that shows a finding.
fn witness(survey: &Survey<'_>, finding: &Finding) -> u128 {
    survey.family.states.get(finding.state).map_or(0, |state| state.sum)
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
