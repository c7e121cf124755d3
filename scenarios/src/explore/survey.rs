//! A scenario before the first boot after a cut: recorded once, its cuts and their states listed, and what is legal after each.

use std::collections::BTreeSet;

use super::campaign::ExploreError;
use super::cuts::{Cut, cuts, cuts_and_instructions};
use super::family::{Depth, Family, Origin};
use super::judge::Judge;
use super::set::Set;
use super::subject::{self, Subject};
use super::tree::{Given, Leaf, Tree};
use crate::checks::Record;
use crate::kernels::Kernels;
use crate::language::Scenario;
use crate::report::Report;
use crate::run::{self, Finished, Listener};

/// States of one unit at most. What a guest does not tell apart is decided by one boot for a whole unit: so they are large.
const UNIT: usize = 1 << 16;

/// A scenario that was recorded.
pub struct Recording<'a> {
    /// Its name.
    pub name: &'a str,
    /// It, without power cuts of its own.
    pub scenario: Scenario,
    /// What boots in it.
    pub kernels: &'a Kernels,
    /// Its run without any cut.
    pub finished: Finished,
}

impl<'a> Recording<'a> {
    /// Whether it can be explored, as far as that can be seen before it runs.
    ///
    /// # Errors
    /// [`ExploreError`]: why not.
    pub fn can(scenario: &Scenario) -> Result<(), ExploreError> {
        subject::way(scenario)?;
        subject::recorded(scenario)?;
        Ok(())
    }

    /// Runs it, once.
    ///
    /// # Errors
    /// [`ExploreError`]: it cannot be explored, or does not come to its end.
    pub fn of(
        name: &'a str,
        scenario: &Scenario,
        kernels: &'a Kernels,
        listener: &mut dyn Listener,
    ) -> Result<Self, ExploreError> {
        Self::can(scenario)?;
        let scenario = subject::recorded(scenario)?;
        let finished = run::run(name, &scenario, kernels, listener);
        passed(&finished.report)?;
        Ok(Self { name, scenario, kernels, finished })
    }

    /// For those who judge it.
    pub fn record(&self) -> Record<'_> {
        Record { scenario: &self.scenario, history: &self.finished.history, logs: &self.finished.logs }
    }
}

/// A piece of work that follows from recording and options alone, so that any worker anywhere can do it.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Counts from 0, the most promising first.
    pub number: usize,
    /// What is to be decided.
    pub set: Set,
}

/// All that is known before the first boot after a cut.
pub struct Survey<'a> {
    /// What was recorded.
    pub recording: &'a Recording<'a>,
    /// Where the power may fail.
    pub cuts: Vec<Cut>,
    /// What may be on the disks then.
    pub family: Family,
    /// What is legal.
    pub judge: Judge,
    /// How a session comes back.
    pub subject: Subject,
}

impl<'a> Survey<'a> {
    /// Of a recorded run.
    ///
    /// # Errors
    /// [`ExploreError`].
    pub fn of(recording: &'a Recording<'a>, depth: Depth) -> Result<Self, ExploreError> {
        let record = recording.record();
        let subject = Subject::of(&recording.scenario, recording.kernels, &recording.finished)?;
        let all = record.entries().len();
        let first = cuts(&record, 0..all).into_iter().find(|cut| cut.step == subject.first_step);
        let first = first.map_or(0, |cut| cut.entry);
        let subject = match depth.files {
            true => subject.with_files(recording.finished.found.synced_from(first)),
            false => subject,
        };
        let mut cuts = cuts_and_instructions(&record, first..all, depth.instructions());
        let judge = Judge::new(&record, &cuts, subject.commit.clone())?;
        let family = Family::of(&record, &cuts, depth)?;
        // What cannot be followed is said to be skipped, and judged by nobody.
        if let Some((first, _)) = &family.unfollowed {
            cuts.truncate(*first);
        }
        if family.states.is_empty() {
            return Err(ExploreError::Nothing);
        }
        Ok(Self { recording, cuts, family, judge, subject })
    }

    /// What there is to do, the most promising first: those of the first rank, and of these those in which little is lost.
    pub fn units(&self) -> Vec<Unit> {
        let promise =
            |number: &usize| self.family.states.get(*number).map(|state| (state.rank, state.least()));
        let mut numbers: Vec<usize> = (0..self.family.states.len()).collect();
        numbers.sort_by_cached_key(|number| (promise(number), *number));
        let sets = numbers.chunks(UNIT).map(|states| Set::Listed(states.to_vec()));
        (0..).zip(sets).map(|(number, set)| Unit { number, set }).collect()
    }

    /// Somebody who executes boots: a machine of its own.
    ///
    /// # Errors
    /// [`ExploreError`].
    pub fn worker(&self) -> Result<Worker<'_>, ExploreError> {
        let Recording { scenario, kernels, .. } = self.recording;
        let Some(first) = self.family.states.first() else { return Err(ExploreError::Nothing) };
        let machine = self.subject.machine(scenario, kernels, &first.disks())?;
        Ok(Worker { tree: Tree::new(&self.family, machine, self.subject.recovery())? })
    }

    /// Cut points of which a listed state is among these.
    pub fn cuts_of(&self, states: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        let states = states.filter_map(|number| self.family.states.get(number));
        states.flat_map(|state| state.origins.iter().flat_map(Origin::cuts)).collect()
    }
}

/// Executes boots.
pub struct Worker<'a> {
    tree: Tree<'a>,
}

impl<'a> Worker<'a> {
    /// Begins a unit, or what is left of it.
    pub fn begin(&mut self, set: Set) {
        self.tree.begin(set);
    }

    /// Gives a boot away that another worker may go on with, if there is more than one to do.
    pub fn give(&mut self) -> Option<Given> {
        self.tree.give()
    }

    /// Goes on with one that another worker began.
    pub fn take(&mut self, given: Given) {
        self.tree.take(given);
    }

    /// Executes one boot to its end; None if the unit is done.
    ///
    /// # Errors
    /// [`ExploreError`].
    pub fn next_leaf(&mut self) -> Result<Option<Leaf>, ExploreError> {
        Ok(self.tree.next_leaf()?)
    }

    /// The same, as long as `goes_on` says so; None as well if it said no.
    ///
    /// # Errors
    /// [`ExploreError`].
    pub fn next_leaf_while(&mut self, goes_on: &dyn Fn() -> bool) -> Result<Option<Leaf>, ExploreError> {
        Ok(self.tree.next_leaf_while(goes_on)?)
    }

    /// The tree of what it does.
    pub fn tree(&self) -> &Tree<'a> {
        &self.tree
    }
}

/// What is known to fail without any cut, as the order of writes, does not keep anybody from cutting; a run that did not come to its end does.
fn passed(report: &Report) -> Result<(), ExploreError> {
    use crate::checks::{Oracle, Status};
    let stopped =
        report.checks.iter().find(|check| check.status == Status::Fail && check.oracle == Oracle::O9);
    match (&report.broken, &report.skipped, stopped) {
        (Some(why), _, _) | (None, Some(why), _) => Err(ExploreError::Run(why.clone())),
        (None, None, Some(check)) => {
            let what = check.evidence.first().map_or(check.clause.about(), String::as_str);
            Err(ExploreError::Run(format!("does not come to its end: {what}")))
        }
        (None, None, None) => Ok(()),
    }
}
