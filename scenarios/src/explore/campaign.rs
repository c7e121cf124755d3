//! A scenario explored: recorded once, cut everywhere, and every state of the family booted until all is decided or somebody says stop.
//!
//! Workers execute boots; whoever runs the campaign takes in what comes of them, one after the other, into its store and its findings. What
//! a boot makes of a state does not depend on who executes it or when, so neither does what is decided and found.

mod crew;
mod exhausted;
pub(crate) mod explored;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use devices::disk::{BaseError, Media};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use vmm::MachineError;

use super::commit::Life;
use super::cuts::{Cut, Points, by_name};
use super::family::Origin;
use super::finding::{self, Context, FindingError, Found, Options};
use super::judge::{Finding, Findings};
use super::recovery::Outcome;
use super::region::{Region, RegionError};
use super::replay::Unfollowed;
use super::set::Set;
use super::store::{Done, Store, StoreError};
use super::subject::{SubjectError, Unexplorable};
use super::survey::{Recording, Survey, Unit};
use super::tree::{Effort, Leaf};
use crate::lab::Trouble;
use crew::{Crew, Said};
pub use exhausted::Exhausted;
use exhausted::Mixed;
pub use explored::{AtCut, Explored};

/// Units of the listed family have smaller numbers.
const FIRST_PRODUCT: usize = 1 << 40;
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
    /// A finding cannot be told.
    #[error(transparent)]
    Finding(#[from] FindingError),
    /// There is no such region.
    #[error(transparent)]
    Region(#[from] RegionError),
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
            Self::Region(error) => !matches!(error, RegionError::Disk(_)),
            Self::Store(error) => error.is_users(),
            _ => false,
        }
    }

    /// Whether the host lacks something.
    pub fn is_hosts(&self) -> bool {
        match self {
            Self::Store(error) => error.is_hosts(),
            Self::Threads(_) | Self::Finding(FindingError::Write { .. }) => true,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// A campaign under way: what is decided, and what was found. All of it is in its store as well.
pub struct Campaign<'a> {
    survey: &'a Survey<'a>,
    store: &'a Store,
    findings: Findings,
    outcomes: BTreeMap<Outcome, u64>,
    /// Of each state: what came of it, if that is decided.
    decided: Vec<Option<Outcome>>,
    /// Of each unit: states that are not.
    left: BTreeMap<usize, usize>,
    progress: Progress,
    /// Regions of which every state was to be decided.
    regions: Vec<Exhausted>,
    is_exhausted: bool,
    /// Boots in a second, all workers together.
    rate: f64,
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
        let mut decided = vec![None; family.states.len()];
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
                *is_decided = Some(outcome.clone());
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
            undecided: decided.iter().filter(|decided| decided.is_none()).count(),
            findings: findings.iter().count(),
        };
        let (left, is_exhausted, rate, before) = (BTreeMap::new(), false, 0.0, before.seconds);
        Ok(Self {
            survey,
            store,
            findings,
            outcomes,
            decided,
            left,
            progress,
            regions: Vec::new(),
            is_exhausted,
            rate,
            before,
            begun,
        })
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Executes boots with so many workers until all is decided, or `goes_on` says no, which is asked after each boot and while they last.
    /// Boots that are under way then are left where they stand: their states are undecided.
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
            let is_open = |number: &usize| self.decided.get(*number) == Some(&None);
            let left: Vec<usize> = unit.set.listed().iter().copied().filter(is_open).collect();
            if left.is_empty() {
                self.store.finish(unit.number)?;
            } else {
                work.push(Unit { set: Set::Listed(left), ..unit });
            }
        }
        self.left = work.iter().map(|unit| (unit.number, unit.set.listed().len())).collect();
        let executed = self.progress.effort.executed;
        let from = Instant::now();
        self.execute(work, jobs, &mut goes_on)?;
        let executed = self.progress.effort.executed.saturating_sub(executed);
        self.rate = executed as f64 / from.elapsed().as_secs_f64().max(0.001);
        self.is_exhausted = self.progress.undecided == 0;
        Ok(())
    }

    /// Decides every state of a region, of which nobody lists any: `goes_on` as in [`Campaign::run`]. What is interrupted begins anew next time.
    ///
    /// # Errors
    /// [`ExploreError`]; a region that there is not.
    pub fn exhaust(
        &mut self,
        name: &str,
        jobs: usize,
        mut goes_on: impl FnMut(&Progress) -> bool,
    ) -> Result<(), ExploreError> {
        let Survey { recording, cuts, judge, .. } = self.survey;
        let record = recording.record();
        let region = Region::of(name, &record, cuts, judge.commit())?;
        let products = region.products(&record, cuts)?;
        self.regions.push(Exhausted::new(name, &products));
        let units = (FIRST_PRODUCT..).zip(products);
        let units = units.map(|(number, product)| Unit { number, set: Set::product(product) }).collect();
        self.execute(units, jobs, &mut goes_on)
    }

    /// Does this work with so many workers.
    fn execute(
        &mut self,
        work: Vec<Unit>,
        jobs: usize,
        goes_on: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<(), ExploreError> {
        let mut stopped = work.is_empty() || !goes_on(&self.progress);
        let crew = Crew::new(work);
        let survey = self.survey;
        let mut failure = None;
        std::thread::scope(|scope| {
            if stopped {
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
        failure.map_or(Ok(()), Err)
    }

    /// A boot of states that nobody lists came to its end.
    fn take_in_mixed(&mut self, unit: usize, leaf: &Leaf, effort: Effort) -> Result<(), ExploreError> {
        let Survey { cuts, judge, .. } = self.survey;
        self.progress.effort += effort;
        if let Some(region) = self.regions.last_mut() {
            region.decided(unit.saturating_sub(FIRST_PRODUCT), &leaf.set, effort);
        }
        if let Some(mixed) = Mixed::of(&leaf.set)? {
            self.findings.add_mixed(judge, cuts, &mixed.disks, mixed.origin, &leaf.outcome)?;
            self.progress.findings = self.findings.iter().count();
        }
        Ok(())
    }

    /// A boot came to its end.
    fn take_in(&mut self, unit: usize, leaf: &Leaf, effort: Effort) -> Result<(), ExploreError> {
        if unit >= FIRST_PRODUCT {
            return self.take_in_mixed(unit, leaf, effort);
        }
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
                *decided = Some(leaf.outcome.clone());
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

    /// Tells what was found: the smallest witness of each class, reproduced, in files in `directory`. `text` is the scenario's.
    ///
    /// # Errors
    /// [`ExploreError`].
    pub fn tell(&self, text: &str, directory: &Path, telling: Telling) -> Result<Vec<Found>, ExploreError> {
        let Survey { recording, cuts, judge, subject, .. } = self.survey;
        let Recording { name, scenario, kernels, .. } = *recording;
        if self.findings.iter().next().is_none() {
            return Ok(Vec::new());
        }
        let narrative = (!telling.is_hasty).then(|| finding::narrative(name, scenario, kernels));
        let record = recording.record();
        let narrative = narrative.as_ref();
        let context = Context {
            name,
            text,
            scenario,
            kernels,
            record: &record,
            cuts,
            judge,
            subject,
            narrative,
            fixed: None,
        };
        let mut options = Options { boots: telling.boots, report: telling.report, ..Options::default() };
        if telling.is_hasty {
            options = Options { boots: 0, repro: false, report: false };
        }
        let findings: Vec<&Finding> = self.findings.iter().collect();
        tell_all(&context, &findings, directory, &options, telling.jobs)
    }

    /// What came of it so far.
    pub fn explored(&self, findings: Vec<Found>) -> Explored {
        let Survey { cuts, family, judge, .. } = self.survey;
        let outcomes: Vec<(Outcome, u64)> = self.outcomes.clone().into_iter().collect();
        let allowed = |cut| judge.life(cut).map(Life::allowed).unwrap_or_default();
        let allowed = |cut| allowed(cut).into_iter().map(str::to_owned).collect();
        let mut along: Vec<AtCut> =
            (0..).zip(cuts).map(|(number, cut)| AtCut::of(cut, allowed(number), outcomes.len())).collect();
        let place = |outcome| outcomes.binary_search_by_key(&outcome, |(known, _)| known).ok();
        for (state, decided) in family.states.iter().zip(&self.decided) {
            let place = decided.as_ref().and_then(place);
            for cut in state.origins.iter().flat_map(Origin::cuts) {
                let Some(at) = along.get_mut(cut) else { continue };
                match place.and_then(|place| at.shown.get_mut(place)) {
                    Some(shown) => *shown += 1,
                    None => at.undecided += 1,
                }
            }
        }
        let tested = cuts.iter().zip(&along).filter(|(_, at)| at.undecided == 0);
        let tested: Vec<Cut> = tested.map(|(cut, _)| cut.clone()).collect();
        let names = by_name(&self.survey.recording.record(), cuts);
        let unfollowed = family.unfollowed.as_ref().map(|(_, why)| {
            let Unfollowed { entry, disk, request } = why;
            format!(
                "event {entry} tells of request {request} of disk {disk}, which its write log does not have"
            )
        });
        Explored {
            progress: self.progress,
            points_by_name: names.into_iter().map(|(name, points)| (name.to_owned(), points)).collect(),
            tested: Points::of(&tested, 0),
            unfollowed: unfollowed.unwrap_or_default(),
            is_exhausted: self.is_exhausted,
            spaces: family.spaces,
            regions: self.regions.clone(),
            outcomes,
            findings,
            rate: self.rate,
            seconds: self.seconds(),
            along,
        }
    }
}

/// Tells findings, so many at a time, and gives them in their order.
fn tell_all(
    context: &Context<'_>,
    findings: &[&Finding],
    directory: &Path,
    options: &Options,
    jobs: usize,
) -> Result<Vec<Found>, ExploreError> {
    let next = AtomicUsize::new(0);
    let told = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(finding) = findings.get(place) else { break };
            let boot = &mut |disks: &[Media]| finding::boot(context, disks);
            let found = finding::tell(context, finding, place + 1, directory, options, boot);
            told.lock().unwrap_or_else(PoisonError::into_inner).insert(place, found);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs.min(findings.len()) {
            let worker = Builder::new().stack_size(crew::STACK);
            // With fewer threads it takes longer.
            if worker.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(told.into_values().collect::<Result<_, _>>()?)
}

/// How much is done to tell findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    /// So many at a time.
    pub jobs: usize,
    /// Boots that looking for a smaller witness may take, of each.
    pub boots: u32,
    /// A report for a maintainer is written of each.
    pub report: bool,
    /// Somebody waits: nothing is booted or written any more.
    pub is_hasty: bool,
}

/// The sum of the state that shows a finding.
fn witness(survey: &Survey<'_>, finding: &Finding) -> u128 {
    survey.family.states.get(finding.state).map_or(0, |state| state.sum)
}
