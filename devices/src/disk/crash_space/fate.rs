//! What became of each write in a crash state.

use super::{CrashSpace, CrashState, CrashStateError, Extent, PendingWrite};

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// All of it survived, or was overwritten by a later write that did, or would have changed nothing.
    Kept,
    /// Nothing of it survived.
    Lost,
    /// Some of it survived.
    Torn {
        /// The rest: sectors that show older contents.
        lost: Vec<Extent>,
    },
}

/// A pending write and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteFate<'a> {
    /// The write.
    pub write: &'a PendingWrite,
    /// Its sectors.
    pub extents: Vec<Extent>,
    /// What became of it.
    pub fate: Fate,
}

/// Of one write, in open units.
#[derive(Default)]
struct Tally {
    kept: bool,
    lost: Vec<Extent>,
}

impl CrashSpace {
    /// What became of each pending write, in the order of acceptance. Where versions of a unit are equal by bytes, the newest is
    /// taken to have survived: nobody can tell, and nothing is missing.
    ///
    /// # Errors
    /// [`CrashStateError`].
    pub fn fates(&self, state: &CrashState) -> Result<Vec<WriteFate<'_>>, CrashStateError> {
        let choices = self.choices(state)?;
        let mut tallies: Vec<Tally> =
            std::iter::repeat_with(Tally::default).take(self.writes.len()).collect();
        match &self.tied {
            None => {
                for (open, id) in self.layout.open.iter().zip(choices) {
                    let survived = open.pattern.newest(id);
                    let unit = self.layout.extent(open.number, open.number + 1);
                    // By write: its sectors of the unit that survived, and those that did not.
                    let mut sectors: Vec<(usize, u8, u8)> = Vec::new();
                    for (layer, place) in self.layout.layers(open).iter().zip(0..) {
                        let change = self.changes.get(layer.change).map(|change| change.extent);
                        let bits = bits(unit, change.unwrap_or_default());
                        let (kept, lost) = if place < survived { (bits, 0) } else { (0, bits) };
                        match sectors.last_mut() {
                            Some(last) if last.0 == layer.write => {
                                *last = (last.0, last.1 | kept, last.2 | lost)
                            }
                            _ => sectors.push((layer.write, kept, lost)),
                        }
                    }
                    for (write, kept, lost) in sectors {
                        if let Some(tally) = tallies.get_mut(write) {
                            tally.kept |= kept != 0;
                            tally.lose(unit, lost & !kept);
                        }
                    }
                }
            }
            Some(tied) => {
                let kept: Vec<bool> = state.choices().map(|choice| choice == 1).collect();
                for (write, (tally, pending)) in tallies.iter_mut().zip(&self.writes).enumerate() {
                    if !tied.is_kept(&kept, write) {
                        tally.lost = self.extents(pending);
                    }
                }
            }
        }
        let fates = self.writes.iter().zip(tallies).map(|(write, tally)| WriteFate {
            write,
            extents: self.extents(write),
            fate: tally.fate(),
        });
        Ok(fates.collect())
    }

    /// Those of [`CrashSpace::fates`] of which something is lost.
    ///
    /// # Errors
    /// [`CrashStateError`].
    pub fn lost(&self, state: &CrashState) -> Result<Vec<WriteFate<'_>>, CrashStateError> {
        let mut fates = self.fates(state)?;
        fates.retain(|fate| fate.fate != Fate::Kept);
        Ok(fates)
    }
}

impl Tally {
    fn lose(&mut self, unit: Extent, sectors: u8) {
        for sector in (0..8).filter(|bit| sectors >> bit & 1 == 1).map(|bit| unit.sector + bit) {
            match self.lost.last_mut() {
                Some(last) if last.sector + last.sectors == sector => last.sectors += 1,
                _ => self.lost.push(Extent { sector, sectors: 1 }),
            }
        }
    }

    fn fate(self) -> Fate {
        match (self.kept, self.lost.is_empty()) {
            (_, true) => Fate::Kept,
            (false, false) => Fate::Lost,
            (true, false) => Fate::Torn { lost: self.lost },
        }
    }
}

/// Which of the sectors of a unit, of which there are 8 at most, are changed.
fn bits(unit: Extent, change: Extent) -> u8 {
    let changed = change.sector..change.sector.saturating_add(change.sectors);
    (0..unit.sectors.min(8))
        .filter(|bit| changed.contains(&(unit.sector + bit)))
        .fold(0, |bits, bit| bits | 1 << bit)
}
