//! What is lost of what was accepted, and what is then on the disks.

use std::collections::BTreeSet;

use devices::disk::{BaseError, Media};
use serde::{Deserialize, Serialize};

use crate::checks::Record;
use crate::explore::family::Choice;
use crate::explore::finding::FindingError;
use crate::explore::replay::{DiskThen, Replay};

/// Requests that were accepted and do not survive, by disk and number.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Loss(BTreeSet<(usize, u64)>);

impl Loss {
    /// Of what is pending on these disks: all that these choices do not keep.
    pub fn of(disks: &[DiskThen], choices: &[Choice]) -> Self {
        let mut lost = BTreeSet::new();
        for (disk, (then, choice)) in disks.iter().zip(choices).enumerate() {
            let gone = then.pending.iter().enumerate().filter(|(place, _)| !choice.keeps(*place));
            lost.extend(gone.map(|(_, write)| (disk, write.request)));
        }
        Self(lost)
    }

    /// These.
    pub fn new(requests: impl IntoIterator<Item = (usize, u64)>) -> Self {
        Self(requests.into_iter().collect())
    }

    /// Disk and number of each.
    pub fn requests(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Numbers on one disk.
    pub fn on(&self, disk: usize) -> BTreeSet<u64> {
        self.requests().filter(|(other, _)| *other == disk).map(|(_, request)| request).collect()
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is lost.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this request is.
    pub fn has(&self, disk: usize, request: u64) -> bool {
        self.0.contains(&(disk, request))
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
            let kept = then.pending.iter().filter(|write| !self.has(disk, write.request));
            kept.flat_map(|write| &write.changes).try_for_each(|change| media.apply(change))?;
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
    use devices::disk::{AtomicUnit, Change, Contents, Extent, Tie};

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
        let loss = Loss::of(&disks, &[Choice::Drop(2), Choice::All]);
        assert_eq!(loss.requests().collect::<Vec<_>>(), [(0, 9)]);
        assert_eq!(bytes(&loss.media(&disks).unwrap()[0]), [1, 2, 2, 0]);
        let loss = Loss::of(&disks, &[Choice::Keep(0), Choice::Nothing]);
        assert_eq!(loss.requests().collect::<Vec<_>>(), [(0, 5), (0, 9), (1, 4)]);
        assert_eq!(bytes(&loss.media(&disks).unwrap()[0]), [1, 1, 0, 0]);
        assert!(loss.is_possible(&disks) && !Loss::new([(1, 5)]).is_possible(&disks));
        assert_eq!((loss.on(0).len(), loss.on(1).len(), loss.has(1, 4), loss.has(1, 5)), (2, 1, true, false));
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
