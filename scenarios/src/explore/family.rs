//! The family of states that is looked at: out of the crash space of each cut those in which little is lost, or little survives.

use std::collections::{BTreeMap, BTreeSet};

use devices::disk::{BLOCK, BaseError, Change, Media, SECTOR};
use serde::{Deserialize, Serialize};

use super::cuts::Cut;
use super::replay::{DiskThen, Replay, Write};
use crate::checks::Record;

const SECTORS: u64 = BLOCK / SECTOR;

/// Which of the writes of one disk that were not durable survive. Places count them in the order of acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// All of them.
    All,
    /// None of them.
    Nothing,
    /// So many of the first.
    Prefix(usize),
    /// All but this one.
    Drop(usize),
    /// Only this one.
    Keep(usize),
    /// All but these two.
    Pair(usize, usize),
}

impl Choice {
    /// Whether the write at this place survives.
    pub fn keeps(self, place: usize) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Prefix(count) => place < count,
            Self::Drop(lost) => place != lost,
            Self::Keep(kept) => place == kept,
            Self::Pair(first, second) => place != first && place != second,
        }
    }
}

/// Where a state comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Number of the cut.
    pub cut: usize,
    /// What survives on each disk.
    pub choices: Vec<Choice>,
    /// How many writes are lost.
    pub lost: usize,
}

/// Contents of the disks after a cut, from whatever cut.
#[derive(Debug, Clone)]
pub struct State {
    /// Of each disk.
    pub disks: Vec<Media>,
    /// Over their contents: by it a state is known from one campaign to the next.
    pub sum: u128,
    /// In the order of the cuts.
    pub origins: Vec<Origin>,
}

/// How far the search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Pairs of lost writes that stand so near one another in the order of acceptance. 0: none.
    pub pairs: usize,
}

/// States of all cuts, equal ones once.
#[derive(Debug, Default)]
pub struct Family {
    /// They.
    pub states: Vec<State>,
    /// How many there were before equal ones became one.
    pub listed: u64,
    /// Blocks of each disk in which states may differ.
    pub touched: Vec<BTreeSet<u64>>,
    known: BTreeMap<u128, usize>,
}

/// Contents of disks and a sum over them by which equal ones are found. Sums of 128 bits of BLAKE3: nobody chooses the contents to deceive.
#[derive(Debug, Clone)]
struct Summed {
    disks: Vec<Media>,
    sum: u128,
}

impl Summed {
    fn new(disks: Vec<Media>) -> Self {
        let mut sum: u128 = 0;
        for (disk, media) in disks.iter().enumerate() {
            for block in media.changed_blocks() {
                sum = sum.wrapping_add(term(disk, block, media));
            }
        }
        Self { disks, sum }
    }

    fn apply(&mut self, disk: usize, change: &Change) -> Result<(), BaseError> {
        let Some(media) = self.disks.get_mut(disk) else { return Ok(()) };
        let (first, last) = (change.extent.sector / SECTORS, change.extent.end().div_ceil(SECTORS));
        for block in first..last {
            self.sum = self.sum.wrapping_sub(term(disk, block, media));
        }
        media.apply(change)?;
        for block in first..last {
            self.sum = self.sum.wrapping_add(term(disk, block, media));
        }
        Ok(())
    }
}

/// What a block adds to the sum.
fn term(disk: usize, block: u64, media: &Media) -> u128 {
    let Some(hash) = media.block_hash(block) else { return 0 };
    // A block of a blank disk that was zeroed is none.
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(disk as u64).to_le_bytes()).update(&block.to_le_bytes()).update(&hash);
    let mut half = [0; 16];
    hasher.finalize_xof().fill(&mut half);
    u128::from_le_bytes(half)
}

impl Family {
    /// The states of these cuts.
    ///
    /// # Errors
    /// [`BaseError`]; a disk of a size that there is not.
    pub fn of(record: &Record<'_>, cuts: &[Cut], depth: Depth) -> Result<Self, BaseError> {
        let broken =
            |error: devices::disk::MediaError| BaseError::Host { offset: 0, reason: error.to_string() };
        let touched = vec![BTreeSet::new(); record.scenario.disks.len()];
        let mut family = Self { touched, ..Self::default() };
        let mut replay = Replay::new(record).map_err(broken)?;
        let mut next = cuts.iter().enumerate().peekable();
        while let Some(entry) = replay.step()? {
            while let Some((number, _)) = next.next_if(|(_, cut)| cut.entry == entry) {
                family.add(number, replay.disks(), depth)?;
            }
        }
        Ok(family)
    }

    /// The states of one cut: on one disk as the choice says, and on all others everything survives, or nothing.
    fn add(&mut self, cut: usize, disks: &[DiskThen], depth: Depth) -> Result<(), BaseError> {
        let mut all = Summed::new(disks.iter().map(|disk| disk.durable.clone()).collect());
        let nothing = all.clone();
        for (number, disk) in disks.iter().enumerate() {
            for change in disk.pending.iter().flat_map(|write| &write.changes) {
                all.apply(number, change)?;
                if let Some(touched) = self.touched.get_mut(number) {
                    touched.extend(change.extent.sector / SECTORS..change.extent.end().div_ceil(SECTORS));
                }
            }
        }
        let base = |choice: Choice| vec![choice; disks.len()];
        let total: usize = disks.iter().map(|disk| disk.pending.len()).sum();
        self.insert(all.clone(), Origin { cut, choices: base(Choice::All), lost: 0 });
        self.insert(nothing.clone(), Origin { cut, choices: base(Choice::Nothing), lost: total });
        for (number, disk) in disks.iter().enumerate() {
            let chosen = |choice: Choice, others: Choice| {
                let mut choices = base(others);
                if let Some(place) = choices.get_mut(number) {
                    *place = choice;
                }
                choices
            };
            let writes = &disk.pending;
            // With the others whole: what is lost is lost here.
            let mut prefix = Summed { disks: all.disks.clone(), sum: all.sum };
            if let (Some(media), Some(durable)) = (prefix.disks.get_mut(number), nothing.disks.get(number)) {
                *media = durable.clone();
                prefix = Summed::new(prefix.disks);
            }
            let mut before = Vec::with_capacity(writes.len());
            for (place, write) in writes.iter().enumerate() {
                before.push(prefix.disks.get(number).cloned());
                let origin = Origin {
                    cut,
                    choices: chosen(Choice::Prefix(place), Choice::All),
                    lost: writes.len() - place,
                };
                self.insert(prefix.clone(), origin);
                for change in &write.changes {
                    prefix.apply(number, change)?;
                }
            }
            for (place, write) in writes.iter().enumerate() {
                let mut keep = nothing.clone();
                for change in &write.changes {
                    keep.apply(number, change)?;
                }
                let choices = chosen(Choice::Keep(place), Choice::Nothing);
                self.insert(keep, Origin { cut, choices, lost: total - 1 });
                let mut drop = all.clone();
                revert(&mut drop, number, writes, place, None, &before)?;
                let choices = chosen(Choice::Drop(place), Choice::All);
                self.insert(drop.clone(), Origin { cut, choices, lost: 1 });
                for second in (0..place).rev().take(depth.pairs) {
                    let mut pair = drop.clone();
                    revert(&mut pair, number, writes, second, Some(place), &before)?;
                    let choices = chosen(Choice::Pair(second, place), Choice::All);
                    self.insert(pair, Origin { cut, choices, lost: 2 });
                }
            }
        }
        Ok(())
    }

    fn insert(&mut self, state: Summed, origin: Origin) {
        self.listed += 1;
        match self.known.get(&state.sum).and_then(|number| self.states.get_mut(*number)) {
            Some(known) => known.origins.push(origin),
            None => {
                self.known.insert(state.sum, self.states.len());
                self.states.push(State { disks: state.disks, sum: state.sum, origins: vec![origin] });
            }
        }
    }
}

/// Takes one write back: its sectors that no later write touched, but for one that is lost as well, are as they were before it.
fn revert(
    state: &mut Summed,
    disk: usize,
    writes: &[Write],
    place: usize,
    lost: Option<usize>,
    before: &[Option<Media>],
) -> Result<(), BaseError> {
    let (Some(write), Some(Some(before))) = (writes.get(place), before.get(place)) else { return Ok(()) };
    for change in &write.changes {
        let mut parts = vec![change.clone()];
        let later = writes.iter().enumerate().skip(place + 1).filter(|(number, _)| Some(*number) != lost);
        for later in later.flat_map(|(_, later)| &later.changes) {
            if parts.iter().any(|part| part.extent.overlaps(later.extent)) {
                parts = parts.iter().flat_map(|part| part.without(later.extent)).collect();
            }
        }
        for part in parts {
            let mut bytes = vec![0; (part.extent.sectors * SECTOR) as usize];
            before.read(part.extent.sector * SECTOR, &mut bytes)?;
            let contents = devices::disk::Contents::Data(bytes.into());
            state.apply(disk, &Change { contents, ..part })?;
        }
    }
    Ok(())
}
