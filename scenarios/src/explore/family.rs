//! The family of states that is looked at: out of the crash space of each cut those in which little is lost, or little survives.
//!
//! Cuts between which nothing changes on the disks have one space: it is listed once. A state comes from every cut at which it may arise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Range, RangeInclusive};

use devices::disk::{BaseError, Media};
use serde::{Deserialize, Serialize};

use super::cuts::Cut;
use super::order;
use super::replay::{DiskThen, Replay, Unfollowed};
use super::set::Place;
use super::space::{Chosen, Contents, Space, sum};
use crate::checks::Record;

pub use super::choice::{Choice, Rank};
pub use super::order::Depth;

/// What a disk has to be to lose what is lost in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Needs {
    /// Nothing that the disk had accepted is lost: any disk will do.
    CutOnly,
    /// A write cache that forgets, which is what a disk has flushes for.
    VolatileCache,
    /// The disk had said that it is durable: the guest is not to blame.
    LyingDisk,
}

impl Needs {
    /// As reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CutOnly => "cut only",
            Self::VolatileCache => "volatile cache",
            Self::LyingDisk => "lying disk",
        }
    }

    pub(super) fn of(lost: usize, is_lie: bool) -> Self {
        match (lost, is_lie) {
            (0, _) => Self::CutOnly,
            (_, false) => Self::VolatileCache,
            (_, true) => Self::LyingDisk,
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Where a state comes from: some cuts that follow one another, and how it arises at each of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Number of the cut: the first of them.
    pub cut: usize,
    /// The last of them, at which as much is lost or more.
    pub last: usize,
    /// What survives on each disk.
    pub choices: Vec<Choice>,
    /// How many writes are lost, at the first.
    pub lost: usize,
    /// What the disks have to be, at all of them.
    pub needs: Needs,
}

impl Origin {
    /// A single cut.
    pub fn at(cut: usize, choices: Vec<Choice>, lost: usize) -> Self {
        Self { cut, last: cut, choices, lost, needs: Needs::of(lost, false) }
    }

    /// All of them.
    pub fn cuts(&self) -> RangeInclusive<usize> {
        self.cut..=self.last
    }
}

/// Contents of the disks after a cut, from whatever cut.
#[derive(Debug, Clone)]
pub struct State {
    disks: Vec<Contents>,
    /// Over their contents: by it a state is known from one campaign to the next.
    pub sum: u128,
    /// In the order of the cuts. Each cut at which the state may arise is in one of them: in that of the weakest disk, and of these that in which
    /// the least is lost.
    pub origins: Vec<Origin>,
    /// The most promising of the choices that lead to it.
    pub rank: Rank,
}

impl State {
    /// With these contents.
    pub fn new(disks: Vec<Media>, origins: Vec<Origin>) -> Self {
        let rank = origins.iter().filter_map(rank).min().unwrap_or(Rank::Whole);
        let sums = disks.iter().enumerate().map(|(disk, media)| sum(disk, media));
        let sum = sums.fold(0, u128::wrapping_add);
        Self { disks: disks.into_iter().map(Contents::from).collect(), sum, origins, rank }
    }

    /// Media that have a block as this state has it. None: there is no such disk.
    pub fn media(&self, (disk, block): Place) -> Option<&Media> {
        Some(self.disks.get(disk)?.media(block))
    }

    /// All disks.
    pub fn disks(&self) -> Vec<Media> {
        self.disks.iter().map(Contents::whole).collect()
    }

    /// The fewest writes that are lost in it.
    pub fn least(&self) -> usize {
        self.origins.iter().map(|origin| origin.lost).min().unwrap_or_default()
    }

    /// How many cuts it comes from.
    pub fn cuts(&self) -> usize {
        self.origins.iter().map(|origin| origin.cuts().count()).sum()
    }

    fn comes_from(&mut self, origin: Origin) {
        let weight = |origin: &Origin| (origin.needs, origin.lost);
        if let Some(last) = self.origins.last_mut() {
            let is_like = last.needs == origin.needs && last.choices == origin.choices;
            if origin.cut <= last.last {
                // Of the same space.
                if weight(&origin) >= weight(last) {
                    return;
                }
                if last.cut == origin.cut {
                    *last = origin;
                    return;
                }
                last.last = origin.cut.saturating_sub(1);
            } else if origin.cut == last.last + 1 && is_like && origin.lost >= last.lost {
                last.last = origin.last;
                return;
            }
        }
        self.origins.push(origin);
    }
}

/// Of the disk that is not whole or empty.
fn rank(origin: &Origin) -> Option<Rank> {
    let ranks = origin.choices.iter().map(Choice::rank);
    ranks.max_by_key(|rank| (!matches!(rank, Rank::Whole | Rank::Nothing), *rank))
}

/// Sizes of whole crash spaces, of all disks together, as powers of two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spaces {
    /// How many there are: cuts between which nothing changes have one.
    pub count: usize,
    /// The largest.
    pub largest: f64,
    /// All of them together.
    pub sum: f64,
}

impl Spaces {
    fn add(&mut self, log2: f64) {
        let (more, less) = if log2 > self.sum { (log2, self.sum) } else { (self.sum, log2) };
        self.sum =
            if self.count == 0 { log2 } else { more + (less - more).exp2().ln_1p() / std::f64::consts::LN_2 };
        self.largest = self.largest.max(log2);
        self.count += 1;
    }
}

/// States of all cuts, equal ones once.
#[derive(Debug, Default)]
pub struct Family {
    /// They.
    pub states: Vec<State>,
    /// How many there were before equal ones became one, those of each cut counted.
    pub listed: u64,
    /// Blocks of each disk in which states may differ.
    pub touched: Vec<BTreeSet<u64>>,
    /// How large the spaces are of which they are a part.
    pub spaces: Spaces,
    /// From which cut on nothing is known, and why.
    pub unfollowed: Option<(usize, Unfollowed)>,
    /// How many cuts that are.
    pub skipped: usize,
}

impl Family {
    /// One state, of no cut.
    pub fn alone(disks: Vec<Media>) -> Self {
        let touched = vec![BTreeSet::new(); disks.len()];
        Self { states: vec![State::new(disks, Vec::new())], listed: 1, touched, ..Self::default() }
    }

    /// The states of these cuts.
    ///
    /// # Errors
    /// [`BaseError`]; a disk of a size that there is not.
    pub fn of(record: &Record<'_>, cuts: &[Cut], depth: Depth) -> Result<Self, BaseError> {
        let mut listing = Listing::new(record.scenario.disks.len(), depth);
        let unfollowed = each_space(record, cuts, |range, disks| listing.add(range, disks))?;
        let skipped = unfollowed.as_ref().map_or(0, |(first, _)| cuts.len().saturating_sub(*first));
        Ok(Self { unfollowed, skipped, ..listing.family })
    }
}

/// Calls for each crash space in turn, with the cuts that have it. Returns the first cut of which nothing is known.
pub(super) fn each_space(
    record: &Record<'_>,
    cuts: &[Cut],
    mut each: impl FnMut(Range<usize>, &[DiskThen]) -> Result<(), BaseError>,
) -> Result<Option<(usize, Unfollowed)>, BaseError> {
    let broken = |error: devices::disk::MediaError| BaseError::Host { offset: 0, reason: error.to_string() };
    let mut replay = Replay::new(record).map_err(broken)?;
    let known = match replay.unfollowed() {
        Some(unfollowed) => cuts.partition_point(|cut| cut.entry < unfollowed.entry),
        None => cuts.len(),
    };
    let (mut first, mut next) = (0, 0);
    while next < known {
        if replay.is_about_to_change() && first < next {
            each(first..next, replay.disks())?;
            first = next;
        }
        let Some(entry) = replay.step()? else { break };
        while next < known && cuts.get(next).is_some_and(|cut| cut.entry <= entry) {
            next += 1;
        }
    }
    if first < next {
        each(first..next, replay.disks())?;
    }
    Ok(replay.unfollowed().filter(|_| known < cuts.len()).map(|why| (known, why.clone())))
}

/// A family in the making.
struct Listing {
    family: Family,
    depth: Depth,
    known: BTreeMap<u128, usize>,
    spaces: Vec<Space>,
}

impl Listing {
    fn new(disks: usize, depth: Depth) -> Self {
        let family = Family { touched: vec![BTreeSet::new(); disks], ..Family::default() };
        Self { family, depth, known: BTreeMap::new(), spaces: Vec::new() }
    }

    /// The states of one space.
    fn add(&mut self, cuts: Range<usize>, disks: &[DiskThen]) -> Result<(), BaseError> {
        Space::follow_all(&mut self.spaces, disks)?;
        for (touched, space) in self.family.touched.iter_mut().zip(&self.spaces) {
            touched.extend(space.blocks());
        }
        let log2: f64 = self.spaces.iter().map(Space::log2).sum();
        self.family.spaces.add(log2);
        let base = |choice: Choice| vec![choice; disks.len()];
        self.choose(&cuts, base(Choice::All))?;
        self.choose(&cuts, base(Choice::Nothing))?;
        let number = self.family.spaces.count as u64;
        for disk in 0..self.spaces.len() {
            let Some(space) = self.spaces.get(disk) else { continue };
            let choices = order::choices(space, self.depth, number);
            let others = order::others(&self.spaces, disk);
            for choice in choices {
                for others in &others {
                    let mut chosen = base(others.clone());
                    if let Some(place) = chosen.get_mut(disk) {
                        place.clone_from(&choice);
                    }
                    self.choose(&cuts, chosen)?;
                }
            }
        }
        if log2 > 0.0 && log2 <= f64::from(self.depth.small) {
            self.small(&cuts, disks)?;
        }
        Ok(())
    }

    /// The state that these choices lead to.
    fn choose(&mut self, cuts: &Range<usize>, choices: Vec<Choice>) -> Result<(), BaseError> {
        let mut all = Chosen { sum: 0, lost: 0, is_lie: false };
        for (space, choice) in self.spaces.iter_mut().zip(&choices) {
            all.add(space.chosen(choice)?);
        }
        if self.find(cuts, &choices, all).is_none() {
            let contents = self.spaces.iter_mut().zip(&choices).map(|(space, choice)| space.contents(choice));
            let contents = contents.collect::<Result<_, _>>()?;
            self.insert(cuts, choices, all, contents);
        }
        Ok(())
    }

    /// Every state of a space that is small.
    fn small(&mut self, cuts: &Range<usize>, disks: &[DiskThen]) -> Result<(), BaseError> {
        let mut states: Vec<(Vec<Choice>, Chosen, Vec<Contents>)> =
            vec![(Vec::new(), Chosen { sum: 0, lost: 0, is_lie: false }, Vec::new())];
        for (space, then) in self.spaces.iter().zip(disks) {
            let own = space.small(then)?;
            let mut crossed = Vec::with_capacity(states.len() * own.len());
            for (choices, chosen, contents) in &states {
                for (choice, more, has) in &own {
                    let (mut choices, mut chosen, mut contents) =
                        (choices.clone(), *chosen, contents.clone());
                    choices.push(choice.clone());
                    contents.push(has.clone());
                    chosen.add(*more);
                    crossed.push((choices, chosen, contents));
                }
            }
            states = crossed;
        }
        for (choices, chosen, contents) in states {
            if self.find(cuts, &choices, chosen).is_none() {
                self.insert(cuts, choices, chosen, contents);
            }
        }
        Ok(())
    }

    /// Its number, if there is such a state already: it comes from here as well.
    fn find(&mut self, cuts: &Range<usize>, choices: &[Choice], chosen: Chosen) -> Option<usize> {
        self.family.listed += cuts.len() as u64;
        let number = *self.known.get(&chosen.sum)?;
        let state = self.family.states.get_mut(number)?;
        let origin = origin(cuts, choices.to_vec(), chosen);
        state.rank = state.rank.min(rank(&origin).unwrap_or(state.rank));
        state.comes_from(origin);
        Some(number)
    }

    fn insert(&mut self, cuts: &Range<usize>, choices: Vec<Choice>, chosen: Chosen, disks: Vec<Contents>) {
        let origin = origin(cuts, choices, chosen);
        let rank = rank(&origin).unwrap_or(Rank::Whole);
        self.known.insert(chosen.sum, self.family.states.len());
        self.family.states.push(State { disks, sum: chosen.sum, origins: vec![origin], rank });
    }
}

fn origin(cuts: &Range<usize>, choices: Vec<Choice>, chosen: Chosen) -> Origin {
    let needs = Needs::of(chosen.lost, chosen.is_lie);
    Origin { cut: cuts.start, last: cuts.end.saturating_sub(1), choices, lost: chosen.lost, needs }
}

#[cfg(test)]
mod tests;
