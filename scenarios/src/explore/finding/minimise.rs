//! From a witness to the smallest one: the fewest lost writes, then the earliest cut.
//!
//! A smaller witness is one that is booted and comes to the same failure: a finding of the same class, and an outcome of the same kind. First the power is cut before the
//! lost writes are accepted; then writes are given back, in halves and then one at a time (ddmin), until none can be; then the cut is moved back, in
//! halves, and at last by one write. What all this proves is local: no single lost write can be given back, and one accepted write
//! earlier the failure is not there.

use std::mem::discriminant;

use devices::{DiskAction, DiskStep};

use super::loss::{Loss, Then};
use super::{Context, Execute, FindingError};
use crate::checks::Record;
use crate::explore::cuts::Cut;
use crate::explore::judge::Finding;
use crate::explore::recovery::Outcome;
use crate::history::Happening;

/// Lost writes before which the power is cut instead.
const BEFORE: usize = 4;

/// A cut, what is lost there, and what comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Number of the cut.
    pub cut: usize,
    /// What does not survive.
    pub loss: Loss,
    /// What came of it.
    pub outcome: Outcome,
}

impl Witness {
    /// As it was found.
    ///
    /// # Errors
    /// [`FindingError`].
    pub fn of(context: &Context<'_>, finding: &Finding) -> Result<Self, FindingError> {
        let cut = context.cuts.get(finding.origin.cut).ok_or(FindingError::Foreign("no such cut"))?;
        let then = Then::at(context.record, cut.entry)?;
        let loss = Loss::of(&then.disks, &finding.origin.choices)?;
        Ok(Self { cut: finding.origin.cut, loss, outcome: finding.observed.clone() })
    }
}

/// The smallest witness that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minimised {
    /// It.
    pub witness: Witness,
    /// Boots that it took.
    pub boots: u32,
    /// There were not boots enough: it may not be the smallest.
    pub is_bounded: bool,
}

/// Whether something that changes contents was just accepted: what is on the disks if all of it survives is then another state.
pub(super) fn accepts(record: &Record<'_>, cut: &Cut) -> bool {
    match record.entries().get(cut.entry).map(|entry| &entry.what) {
        Some(Happening::Disk(event)) => {
            event.step == DiskStep::Accepted
                && !matches!(event.action, DiskAction::Flush | DiskAction::Read(_))
        }
        _ => false,
    }
}

struct Search<'a, 'b> {
    context: &'a Context<'a>,
    finding: &'a Finding,
    most: u32,
    boots: u32,
    is_bounded: bool,
    execute: &'b mut Execute<'b>,
}

/// Takes a witness down, with at most so many boots.
///
/// # Errors
/// [`FindingError`].
pub fn minimise(
    context: &Context<'_>,
    finding: &Finding,
    most: u32,
    execute: &mut Execute<'_>,
) -> Result<Minimised, FindingError> {
    let mut witness = Witness::of(context, finding)?;
    let mut search = Search { context, finding, most, boots: 0, is_bounded: false, execute };
    search.cut_before(&mut witness)?;
    search.give_back(&mut witness)?;
    search.move_back(&mut witness)?;
    Ok(Minimised { witness, boots: search.boots, is_bounded: search.is_bounded })
}

impl Search<'_, '_> {
    /// The outcome, if it is the same failure. None as well if there are no boots left.
    fn fails(&mut self, cut: usize, then: &Then, loss: &Loss) -> Result<Option<Outcome>, FindingError> {
        if self.boots >= self.most {
            self.is_bounded = true;
            return Ok(None);
        }
        self.boots += 1;
        let disks = loss.media(&then.disks)?;
        let outcome = (self.execute)(&disks)?;
        let class = self.context.judge.class_of(&disks, cut, self.context.cuts, &outcome)?;
        let is_same = discriminant(&outcome) == discriminant(&self.finding.observed)
            && class.as_ref() == Some(&self.finding.class);
        Ok(is_same.then_some(outcome))
    }

    /// What is lost last need not be: the power may fail before it is accepted.
    fn cut_before(&mut self, witness: &mut Witness) -> Result<(), FindingError> {
        let Some(own) = self.context.cuts.get(witness.cut) else { return Ok(()) };
        let entries = self.context.record.entries();
        let accepted = entries.iter().enumerate().take(own.entry + 1).filter_map(|(place, entry)| {
            let Happening::Disk(event) = &entry.what else { return None };
            let is_lost = entry.boot == own.boot
                && event.step == DiskStep::Accepted
                && !matches!(event.action, DiskAction::Read(_))
                && witness.loss.has(event.disk.into(), event.request);
            is_lost.then_some((place, (usize::from(event.disk), event.request)))
        });
        let accepted: Vec<(usize, (usize, u64))> = accepted.collect();
        for (kept, (place, _)) in accepted.iter().enumerate().take(BEFORE) {
            let earlier = self.context.cuts.iter().enumerate().take(witness.cut).rev();
            let is_before = |cut: &Cut| cut.entry < *place && cut.boot == own.boot && cut.step == own.step;
            let Some((number, cut)) = earlier.into_iter().find(|(_, cut)| is_before(cut)) else { continue };
            let before: Vec<(usize, u64)> = accepted.iter().take(kept).map(|(_, request)| *request).collect();
            let loss = witness.loss.only(|request| before.contains(&request));
            let then = Then::at(self.context.record, cut.entry)?;
            // What was lost may be durable by now, and then it is another state.
            if !loss.is_possible(&then.disks) {
                continue;
            }
            if let Some(outcome) = self.fails(number, &then, &loss)? {
                *witness = Witness { cut: number, loss, outcome };
                return Ok(());
            }
        }
        Ok(())
    }

    /// Gives lost writes back until no single one can be.
    fn give_back(&mut self, witness: &mut Witness) -> Result<(), FindingError> {
        let Some(cut) = self.context.cuts.get(witness.cut) else { return Ok(()) };
        let then = Then::at(self.context.record, cut.entry)?;
        let mut chunk = witness.loss.count();
        while chunk > 0 {
            let requests: Vec<(usize, u64)> = witness.loss.requests().collect();
            let mut smaller = false;
            // The oldest come back first: what is lost alone is most likely among the last.
            for given in requests.chunks(chunk) {
                let loss = witness.loss.only(|request| !given.contains(&request));
                if let Some(outcome) = self.fails(witness.cut, &then, &loss)? {
                    (witness.loss, witness.outcome, smaller) = (loss, outcome, true);
                }
            }
            chunk = match (chunk, smaller) {
                (1, true) => 1.min(witness.loss.count()),
                (1, false) => 0,
                _ => (chunk / 2).min(witness.loss.count()).max(usize::from(!witness.loss.is_empty())),
            };
        }
        Ok(())
    }

    /// Moves the cut back as far as the same is lost. Of cuts between two accepted writes the first is as good as any.
    fn move_back(&mut self, witness: &mut Witness) -> Result<(), FindingError> {
        let candidates = self.candidates(witness)?;
        // Shown to fail, shown not to: by place among the candidates, of which the last is no later than the witness.
        let (mut fails, mut holds) = (candidates.len(), None);
        let mut next = candidates.len().checked_sub(1);
        while let Some(place) = next {
            let Some(&number) = candidates.get(place) else { break };
            let Some(cut) = self.context.cuts.get(number) else { break };
            let then = Then::at(self.context.record, cut.entry)?;
            match self.fails(number, &then, &witness.loss)? {
                Some(outcome) => {
                    (witness.cut, witness.outcome, fails) = (number, outcome, place);
                }
                None => holds = Some(place),
            }
            let low = holds.map_or(0, |holds| holds + 1);
            next = (low < fails && !self.is_bounded).then(|| low + (fails - low - 1) / 2);
        }
        Ok(())
    }

    /// Cuts before that of a witness, in the same boot and step, at which a write had just been accepted and all that is lost was
    /// accepted already; and the witness's own moment, if it is a later one of the same state.
    fn candidates(&self, witness: &Witness) -> Result<Vec<usize>, FindingError> {
        let cuts = self.context.cuts;
        let Some(own) = cuts.get(witness.cut) else { return Ok(Vec::new()) };
        let lost_by = self.lost_by(own.entry, &witness.loss);
        let earlier = cuts.iter().enumerate().take(witness.cut).filter(|(_, cut)| {
            cut.boot == own.boot
                && cut.step == own.step
                && lost_by <= cut.entry
                && accepts(self.context.record, cut)
        });
        Ok(earlier.map(|(number, _)| number).collect())
    }

    /// Where the last of these requests was accepted, before this entry.
    fn lost_by(&self, before: usize, loss: &Loss) -> usize {
        let entries = self.context.record.entries();
        let accepted = entries.iter().enumerate().take(before + 1).rev().filter(|(_, entry)| {
            matches!(&entry.what, Happening::Disk(event)
                if event.step == DiskStep::Accepted
                    && !matches!(event.action, DiskAction::Read(_))
                    && loss.has(event.disk.into(), event.request))
        });
        accepted.map(|(place, _)| place).next().unwrap_or(0)
    }
}
