//! Contents of a disk: changed blocks over a read-only base.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::block::Block;
use super::{BLOCK, Base, BaseError, BaseRef, Change, Contents, SECTOR};

/// Media that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MediaError {
    /// No disk has such a size.
    #[error("a disk of {0} bytes: the size must be a multiple of {SECTOR} and not 0")]
    Size(u64),
}

/// Contents of a disk. A copy costs nothing: the map of blocks is persistent (`rpds`: small, MIT, and ordered, which the runs between
/// changed blocks and the order on the wire need), so that copies share all that neither of them changed since.
///
/// Equal contents written in another order are equal here and look alike when serialized: a block that is all zero is kept as such, and
/// on a blank disk not at all. Only a block that was written with what the base has there anyway counts as changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Media {
    bytes: u64,
    /// None: all zero.
    base: Option<BaseRef>,
    changed: RedBlackTreeMapSync<u64, Block>,
}

impl Media {
    /// All zero.
    ///
    /// # Errors
    /// [`MediaError::Size`].
    pub fn blank(bytes: u64) -> Result<Self, MediaError> {
        Self::new(bytes, None)
    }

    /// As this base is, which is never written.
    ///
    /// # Errors
    /// [`MediaError::Size`].
    pub fn over(base: Arc<dyn Base>) -> Result<Self, MediaError> {
        Self::new(base.bytes(), Some(BaseRef::new(base)))
    }

    fn new(bytes: u64, base: Option<BaseRef>) -> Result<Self, MediaError> {
        if bytes == 0 || !bytes.is_multiple_of(SECTOR) {
            return Err(MediaError::Size(bytes));
        }
        Ok(Self { bytes, base, changed: RedBlackTreeMapSync::new_sync() })
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is under the changes, if anything.
    pub fn base(&self) -> Option<&BaseRef> {
        self.base.as_ref()
    }

    /// What is under the changes, if anything. Who restores contents attaches it.
    pub fn base_mut(&mut self) -> Option<&mut BaseRef> {
        self.base.as_mut()
    }

    /// Numbers of the 4 KiB blocks that were changed, in ascending order.
    pub fn changed_blocks(&self) -> impl Iterator<Item = u64> + '_ {
        self.changed.keys().copied()
    }

    /// BLAKE3 of a 4 KiB block, which is kept with the block; of one that was zeroed zeros. None: it is as the base has it, or blank.
    pub fn block_hash(&self, number: u64) -> Option<[u8; 32]> {
        self.changed.get(&number).map(Block::hash)
    }

    /// Copies contents out; what lies beyond the end reads as zeros.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn read(&self, offset: u64, mut into: &mut [u8]) -> Result<(), BaseError> {
        let mut offset = offset;
        while !into.is_empty() {
            let number = offset / BLOCK;
            let block = self.changed.get(&number);
            let run = if block.is_some() {
                BLOCK - offset % BLOCK
            } else {
                // All up to the next changed block, in one piece.
                let next = self.changed.range(number..).next();
                next.map_or(u64::MAX, |(&found, _)| found.saturating_mul(BLOCK).saturating_sub(offset))
            };
            let length = usize::try_from(run).map_or(into.len(), |run| run.min(into.len()));
            let (part, rest) = into.split_at_mut(length);
            match block {
                Some(block) => block.read((offset % BLOCK) as usize, part),
                None => self.read_base(offset, part)?,
            }
            into = rest;
            offset = offset.saturating_add(length as u64);
        }
        Ok(())
    }

    fn read_base(&self, offset: u64, into: &mut [u8]) -> Result<(), BaseError> {
        let Some(base) = &self.base else {
            into.fill(0);
            return Ok(());
        };
        let there = base.bytes().saturating_sub(offset);
        let there = usize::try_from(there).map_or(into.len(), |there| there.min(into.len()));
        let (part, beyond) = into.split_at_mut(there);
        beyond.fill(0);
        if part.is_empty() { Ok(()) } else { base.read(offset, part) }
    }

    /// Changes contents. What lies beyond the end is left out.
    ///
    /// # Errors
    /// [`BaseError`]: the rest of a block that is written in part comes from the base. Nothing is written then.
    pub fn write(&mut self, offset: u64, from: &[u8]) -> Result<(), BaseError> {
        let there = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let from = from.get(..there).unwrap_or(from);
        self.all_or_nothing(|media| media.write_blocks(offset, from))
    }

    fn write_blocks(&mut self, mut offset: u64, mut from: &[u8]) -> Result<(), BaseError> {
        while !from.is_empty() {
            let start = (offset % BLOCK) as usize;
            let (part, rest) = from.split_at(from.len().min(BLOCK as usize - start));
            match Block::whole(part) {
                Some(block) => self.put(offset / BLOCK, block),
                None => self.write_part(offset / BLOCK, start, part)?,
            }
            from = rest;
            offset = offset.saturating_add(part.len() as u64);
        }
        Ok(())
    }

    fn all_or_nothing(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<(), BaseError>,
    ) -> Result<(), BaseError> {
        // Only the base can fail, and only copying the map can undo.
        if self.base.is_none() {
            return change(self);
        }
        let before = self.changed.clone();
        change(self).inspect_err(|_| self.changed = before)
    }

    /// A 4 KiB block becomes as it is in other media, which stand on the same base. Its contents are shared, and its hash, if it is known.
    pub fn adopt(&mut self, number: u64, other: &Self) {
        match other.changed.get(&number) {
            Some(block) => self.changed.insert_mut(number, block.clone()),
            None => {
                self.changed.remove_mut(&number);
            }
        }
    }

    /// Makes a change.
    ///
    /// # Errors
    /// As [`Media::write`].
    pub fn apply(&mut self, change: &Change) -> Result<(), BaseError> {
        let start = change.extent.sector.saturating_mul(SECTOR);
        match &change.contents {
            Contents::Data(data) => self.write(start, data),
            Contents::Zeros | Contents::Discarded => {
                self.zero(start, change.extent.sectors.saturating_mul(SECTOR))
            }
        }
    }

    /// Makes a range zero. What lies beyond the end is left out.
    ///
    /// # Errors
    /// As [`Media::write`].
    pub fn zero(&mut self, offset: u64, length: u64) -> Result<(), BaseError> {
        self.all_or_nothing(|media| media.zero_blocks(offset, length))
    }

    fn zero_blocks(&mut self, offset: u64, length: u64) -> Result<(), BaseError> {
        let end = offset.saturating_add(length).min(self.bytes);
        let mut offset = offset;
        while offset < end {
            let number = offset / BLOCK;
            let block_end = number.saturating_add(1).saturating_mul(BLOCK);
            let part = block_end.min(end) - offset;
            // The last block of a disk may be cut short: zeroing what there is of it zeroes it.
            let whole = offset.is_multiple_of(BLOCK) && (end >= block_end || end >= self.bytes);
            if whole {
                self.put(number, Block::Zero);
            } else {
                let zeros = [0; BLOCK as usize];
                self.write_part(number, (offset % BLOCK) as usize, &zeros[..part as usize])?;
            }
            offset += part;
        }
        Ok(())
    }

    fn write_part(&mut self, number: u64, start: usize, from: &[u8]) -> Result<(), BaseError> {
        let mut block = match (self.changed.get(&number), &self.base) {
            (Some(block), _) => block.clone(),
            (None, None) => Block::Zero,
            (None, Some(_)) => {
                let mut before = [0; BLOCK as usize];
                self.read_base(number * BLOCK, &mut before)?;
                Block::from(before)
            }
        };
        block.write(start, from);
        self.put(number, block);
        Ok(())
    }

    fn put(&mut self, number: u64, block: Block) {
        if block == Block::Zero && self.base.is_none() {
            self.changed.remove_mut(&number);
        } else {
            self.changed.insert_mut(number, block);
        }
    }

    /// Blocks in which the other one differs, as they are there; None: as the base has it. Both stand on the same base.
    pub(super) fn differences(&self, other: &Self) -> Vec<(u64, Option<Block>)> {
        if self.changed.ptr_eq(&other.changed) {
            return Vec::new();
        }
        let there = other.changed.iter().filter(|(number, block)| self.changed.get(number) != Some(*block));
        let gone = self.changed.keys().filter(|number| !other.changed.contains_key(number));
        let mut differences: Vec<_> = there
            .map(|(number, block)| (*number, Some(block.clone())))
            .chain(gone.map(|number| (*number, None)))
            .collect();
        differences.sort_unstable_by_key(|(number, _)| *number);
        differences
    }

    /// What [`Media::differences`] is the difference to.
    #[must_use]
    pub(super) fn with(&self, differences: Vec<(u64, Option<Block>)>) -> Self {
        let mut other = self.clone();
        for (number, block) in differences {
            match block {
                Some(block) => other.changed.insert_mut(number, block),
                None => {
                    other.changed.remove_mut(&number);
                }
            }
        }
        other
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::MemoryBase;
    use super::*;

    #[test]
    fn sizes_are_whole_sectors() {
        assert_eq!(Media::blank(0), Err(MediaError::Size(0)));
        assert_eq!(Media::blank(513), Err(MediaError::Size(513)));
        assert!(Media::over(Arc::new(MemoryBase(vec![0; 100]))).is_err());
        assert_eq!(Media::blank(512).unwrap().bytes(), 512);
    }

    #[derive(Debug, Clone)]
    enum Change {
        Write(u64, Vec<u8>),
        Zero(u64, u64),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let write = (0u64..20_000, prop::collection::vec(any::<u8>(), 0..9000))
            .prop_map(|(at, data)| Change::Write(at, data));
        let zero = (0u64..20_000, 0u64..12_000).prop_map(|(at, length)| Change::Zero(at, length));
        prop::collection::vec(prop_oneof![write, zero], 0..12)
    }

    proptest! {
        /// Against a plain array, over a base and blank; the base stays as it was.
        #[test]
        fn behaves_like_an_array(blank: bool, changes in changes()) {
            const BYTES: usize = 20_992;
            let contents: Vec<u8> = (0..BYTES).map(|at| if blank { 0 } else { (at / 7) as u8 }).collect();
            let base = Arc::new(MemoryBase(contents.clone()));
            let mut media =
                if blank { Media::blank(BYTES as u64) } else { Media::over(base.clone()) }.unwrap();
            let mut model = contents.clone();
            for change in changes {
                match change {
                    Change::Write(at, mut data) => {
                        data.truncate(BYTES - at as usize);
                        media.write(at, &data).unwrap();
                        model[at as usize..at as usize + data.len()].copy_from_slice(&data);
                    }
                    Change::Zero(at, length) => {
                        let length = length.min(BYTES as u64 - at);
                        media.zero(at, length).unwrap();
                        model[at as usize..(at + length) as usize].fill(0);
                    }
                }
            }
            let mut read = vec![1; BYTES];
            media.read(0, &mut read).unwrap();
            prop_assert!(read == model);
            prop_assert!(base.0 == contents);
            let text = serde_json::to_string(&media).unwrap();
            prop_assert!(serde_json::from_str::<Media>(&text).unwrap() == media);
        }
    }

    #[test]
    fn what_lies_beyond_the_end_is_left_out() {
        let mut media = Media::blank(1024).unwrap();
        media.write(512, &[1; 1024]).unwrap();
        media.write(u64::MAX, &[1; 8192]).unwrap();
        media.zero(1000, u64::MAX).unwrap();
        let mut bytes = [2; 2048];
        media.read(0, &mut bytes).unwrap();
        let ones: Vec<usize> = (0..2048).filter(|at| bytes[*at] != 0).collect();
        assert_eq!(ones, (512..1000).collect::<Vec<_>>());
        assert_eq!(media.changed_blocks().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn what_was_written_in_another_way_is_written_the_same() {
        let text = |write: &dyn Fn(&mut Media)| {
            let mut media = Media::blank(64 << 10).unwrap();
            write(&mut media);
            serde_json::to_string(&media).unwrap()
        };
        let at_once = text(&|media| media.write(4096, &[7; 8192]).unwrap());
        let in_parts = text(&|media| {
            media.write(40_960, &[9; 512]).unwrap();
            for sector in (8..24).rev() {
                media.write(512 * sector, &[7; 512]).unwrap();
            }
            media.write(40_960, &[0; 512]).unwrap();
        });
        assert_eq!(at_once, in_parts);
    }

    #[test]
    fn a_copy_and_its_original_do_not_see_each_other() {
        let mut media = Media::blank(64 << 10).unwrap();
        media.write(0, &[1; 4096]).unwrap();
        let mut copy = media.clone();
        copy.write(0, &[2; 512]).unwrap();
        media.write(4096, &[3; 4096]).unwrap();
        let first = |media: &Media| {
            [0, 512, 4096].map(|at| {
                let mut byte = [0];
                media.read(at, &mut byte).unwrap();
                byte[0]
            })
        };
        assert_eq!((first(&media), first(&copy)), ([1, 1, 3], [2, 1, 0]));
        assert_eq!(media.with(media.differences(&copy)), copy);
        assert_eq!(media.differences(&copy).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_block_is_adopted_whatever_it_was_before() {
        let mut other = Media::blank(64 << 10).unwrap();
        other.write(4096, &[1; 512]).unwrap();
        let mut media = Media::blank(64 << 10).unwrap();
        media.write(8192, &[2; 512]).unwrap();
        media.adopt(1, &other);
        media.adopt(2, &other);
        assert_eq!(media, other);
    }

    #[test]
    fn a_zeroed_blank_disk_remembers_nothing() {
        let mut media = Media::blank(3 * 4096 + 512).unwrap();
        media.write(0, &[1; 3 * 4096 + 512]).unwrap();
        assert_eq!(media.changed_blocks().collect::<Vec<_>>(), [0, 1, 2, 3]);
        media.zero(0, 3 * 4096 + 512).unwrap();
        assert_eq!(media.changed_blocks().count(), 0);
    }
}
