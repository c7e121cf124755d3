//! What is lost of what was accepted, and what is then on the disks.

use std::collections::{BTreeMap, BTreeSet};

use devices::disk::{BaseError, Extent, Media};

use crate::checks::Record;
use crate::explore::family::Choice;
use crate::explore::finding::FindingError;
use crate::explore::lost::lost;
use crate::explore::replay::{DiskThen, Replay};

/// Requests that were accepted and do not survive, by disk and number; of some only these sectors. Without sectors: as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loss(BTreeMap<(usize, u64), Vec<Extent>>);

impl Loss {
    /// Of what is pending on these disks: all that these choices do not keep.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn of(disks: &[DiskThen], choices: &[Choice]) -> Result<Self, BaseError> {
        let mut all = BTreeMap::new();
        let mut torn = vec![Choice::All; disks.len()];
        for (disk, (then, choice)) in disks.iter().zip(choices).enumerate() {
            if matches!(
                choice,
                Choice::Torn { .. } | Choice::Seeded(_) | Choice::Small(_) | Choice::Blocks(_)
            ) {
                if let Some(torn) = torn.get_mut(disk) {
                    torn.clone_from(choice);
                }
                continue;
            }
            let gone = then.pending.iter().enumerate().filter(|(place, _)| !choice.keeps(*place));
            all.extend(gone.map(|(_, write)| ((disk, write.request), Vec::new())));
        }
        // Of what is chosen by units, sectors that are not there.
        for sectors in lost(disks, &torn)? {
            let of: &mut Vec<Extent> = all.entry((sectors.disk, sectors.request)).or_default();
            of.push(sectors.extent());
        }
        for ((disk, request), sectors) in &mut all {
            let writes = disks.get(*disk).into_iter().flat_map(|then| &then.pending);
            let changes = writes.filter(|write| write.request == *request).flat_map(|write| &write.changes);
            let touched: u64 = changes.map(|change| change.extent.sectors).sum();
            if sectors.iter().map(|extent| extent.sectors).sum::<u64>() == touched {
                sectors.clear();
            }
        }
        Ok(Self(all))
    }

    /// These, as a whole.
    pub fn new(requests: impl IntoIterator<Item = (usize, u64)>) -> Self {
        Self(requests.into_iter().map(|request| (request, Vec::new())).collect())
    }

    /// Those of them that this is true of.
    #[must_use]
    pub fn only(&self, mut kept: impl FnMut((usize, u64)) -> bool) -> Self {
        let lost = self.0.iter().filter(|(request, _)| kept(**request));
        Self(lost.map(|(request, sectors)| (*request, sectors.clone())).collect())
    }

    /// Disk and number of each.
    pub fn requests(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.0.keys().copied()
    }

    /// Numbers on one disk.
    pub fn on(&self, disk: usize) -> BTreeSet<u64> {
        self.requests().filter(|(other, _)| *other == disk).map(|(_, request)| request).collect()
    }

    /// Numbers on one disk, with the sectors that are lost of each. None: all of them.
    pub fn parts(&self, disk: usize) -> BTreeMap<u64, Vec<Extent>> {
        let on = self.0.iter().filter(|((other, _), _)| *other == disk);
        on.map(|((_, request), sectors)| (*request, sectors.clone())).collect()
    }

    /// Sectors of a request that are lost. Empty: all of them, or none.
    pub fn sectors(&self, disk: usize, request: u64) -> &[Extent] {
        self.0.get(&(disk, request)).map_or(&[], Vec::as_slice)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is lost.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some write is lost in part.
    pub fn is_torn(&self) -> bool {
        self.0.values().any(|sectors| !sectors.is_empty())
    }

    /// Whether this request is lost, or a part of it.
    pub fn has(&self, disk: usize, request: u64) -> bool {
        self.0.contains_key(&(disk, request))
    }

    /// Whether all of them are pending on these disks, so that they can be lost.
    pub fn is_possible(&self, disks: &[DiskThen]) -> bool {
        self.requests().all(|(disk, request)| {
            disks.get(disk).is_some_and(|then| then.pending.iter().any(|write| write.request == request))
        })
    }

    /// What is on the disks then.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn media(&self, disks: &[DiskThen]) -> Result<Vec<Media>, BaseError> {
        let left = |(disk, then): (usize, &DiskThen)| {
            let mut media = then.durable.clone();
            for write in &then.pending {
                match self.0.get(&(disk, write.request)).map(Vec::as_slice) {
                    None => write.changes.iter().try_for_each(|change| media.apply(change))?,
                    Some([]) => {}
                    Some(lost) => {
                        let kept = write.changes.iter().flat_map(|change| change.without_all(lost));
                        kept.into_iter().try_for_each(|change| media.apply(&change))?;
                    }
                }
            }
            Ok(media)
        };
        disks.iter().enumerate().map(left).collect()
    }
}

/// Whether two disks have the same contents: what was changed of a blank disk, by hash.
pub fn is_same(one: &Media, other: &Media) -> bool {
    one.bytes() == other.bytes()
        && one
            .changed_blocks()
            .chain(other.changed_blocks())
            .all(|block| hash(one, block) == hash(other, block))
}

/// Of a block that was never written, and of one that is all zero, the same.
fn hash(media: &Media, block: u64) -> [u8; 32] {
    media.block_hash(block).unwrap_or_default()
}

/// The disks of a recorded run right after an entry of its history.
#[derive(Debug, Clone)]
pub struct Then {
    /// They.
    pub disks: Vec<DiskThen>,
    /// How many records of each write log belong to what was before.
    pub places: Vec<usize>,
}

impl Then {
    /// After this entry.
    ///
    /// # Errors
    /// [`FindingError`].
    pub fn at(record: &Record<'_>, entry: usize) -> Result<Self, FindingError> {
        let mut replay = Replay::new(record)?;
        while replay.step()?.is_some_and(|done| done < entry) {}
        Ok(Self { disks: replay.disks().to_vec(), places: replay.places().to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use devices::VirtualTime;
    use devices::disk::{AtomicUnit, Change, Contents, Tie};

    use super::*;

    fn write(request: u64, sector: u64, sectors: u64, byte: u8) -> (u64, Vec<Change>) {
        let extent = Extent { sector, sectors };
        let contents = Contents::Data(vec![byte; sectors as usize * 512].into());
        let change = Change { request, extent, contents, accepted: VirtualTime::default(), completed: None };
        (request, vec![change])
    }

    fn disks() -> Vec<DiskThen> {
        let durable = Media::blank(1 << 20).unwrap();
        let pending = vec![write(4, 0, 2, 1), write(5, 1, 2, 2), write(9, 1, 1, 3)];
        let disk = |pending: Vec<(u64, Vec<Change>)>| {
            let mut disk = DiskThen::new(durable.clone(), AtomicUnit::Sector, Tie::Unit);
            for (request, changes) in pending {
                disk.accept(request, false, changes).unwrap();
            }
            disk
        };
        vec![disk(pending), disk(vec![write(4, 8, 1, 7)])]
    }

    fn bytes(media: &Media) -> Vec<u8> {
        (0..4)
            .map(|sector| {
                let mut byte = [0];
                media.read(sector * 512, &mut byte).unwrap();
                byte[0]
            })
            .collect()
    }

    #[test]
    fn what_is_lost_shows_what_was_before_it() {
        let disks = disks();
        let loss = Loss::of(&disks, &[Choice::Drop(2), Choice::All]).unwrap();
        assert_eq!(loss.requests().collect::<Vec<_>>(), [(0, 9)]);
        assert_eq!(bytes(&loss.media(&disks).unwrap()[0]), [1, 2, 2, 0]);
        let loss = Loss::of(&disks, &[Choice::Keep(0), Choice::Nothing]).unwrap();
        assert_eq!(loss.requests().collect::<Vec<_>>(), [(0, 5), (0, 9), (1, 4)]);
        assert_eq!(bytes(&loss.media(&disks).unwrap()[0]), [1, 1, 0, 0]);
        assert!(loss.is_possible(&disks) && !Loss::new([(1, 5)]).is_possible(&disks));
        assert_eq!((loss.on(0).len(), loss.on(1).len(), loss.has(1, 4), loss.has(1, 5)), (2, 1, true, false));
    }

    #[test]
    fn a_torn_write_is_lost_in_part() {
        let disks = disks();
        let loss = Loss::of(&disks, &[Choice::Torn { write: 1, units: 1 }, Choice::All]).unwrap();
        assert_eq!(loss.requests().collect::<Vec<_>>(), [(0, 5)]);
        assert_eq!((loss.sectors(0, 5), loss.is_torn()), (&[Extent { sector: 2, sectors: 1 }][..], true));
        assert_eq!(bytes(&loss.media(&disks).unwrap()[0]), [1, 3, 0, 0]);
        let none = loss.only(|_| false);
        assert!(none.is_empty() && !none.is_torn());
        // Of which all is lost is no torn one.
        let loss = Loss::of(&disks, &[Choice::Torn { write: 2, units: 0 }, Choice::All]).unwrap();
        assert_eq!((loss.has(0, 9), loss.is_torn()), (true, false));
    }

    #[test]
    fn disks_are_the_same_by_contents() {
        let disks = disks();
        let all = Loss::default().media(&disks).unwrap();
        let mut other = all[0].clone();
        assert!(is_same(&all[0], &other));
        other.write(40_960, &[0; 512]).unwrap();
        assert!(is_same(&all[0], &other));
        other.write(40_960, &[1; 512]).unwrap();
        assert!(!is_same(&all[0], &other) && !is_same(&other, &all[0]));
        assert!(!is_same(&all[0], &all[1]));
    }
}
