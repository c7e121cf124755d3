//! Contents of a disk: changed blocks over a read-only base.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::block::Block;
use super::{BLOCK, Base, BaseError, BaseRef, SECTOR};

/// Media that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MediaError {
    /// No disk has such a size.
    #[error("a disk of {0} bytes: the size must be a multiple of {SECTOR} and not 0")]
    Size(u64),
}

/// Contents of a disk. Copies share the blocks that neither of them changed since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Media {
    bytes: u64,
    /// None: all zero.
    base: Option<BaseRef>,
    changed: BTreeMap<u64, Block>,
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
        Ok(Self { bytes, base, changed: BTreeMap::new() })
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is under the changes, if anything. Who restores a disk attaches it.
    pub fn base_mut(&mut self) -> Option<&mut BaseRef> {
        self.base.as_mut()
    }

    /// Numbers of the 4 KiB blocks that were changed, in ascending order.
    pub fn changed_blocks(&self) -> impl Iterator<Item = u64> + '_ {
        self.changed.keys().copied()
    }

    /// Copies contents out; what lies beyond the end reads as zeros.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn read(&self, offset: u64, mut into: &mut [u8]) -> Result<(), BaseError> {
        let mut offset = offset;
        while !into.is_empty() {
            let number = offset / BLOCK;
            let next_changed = self.changed.range(number..).next();
            let (run, block) = match next_changed {
                Some((&found, block)) if found == number => (BLOCK - offset % BLOCK, Some(block)),
                Some((&found, _)) => (found * BLOCK - offset, None),
                None => (u64::MAX, None),
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

    /// Changes contents. The range lies within the disk.
    ///
    /// # Errors
    /// [`BaseError`]: the rest of a block that is written in part comes from the base. Blocks before that one are then written.
    pub fn write(&mut self, offset: u64, mut from: &[u8]) -> Result<(), BaseError> {
        let mut offset = offset;
        while !from.is_empty() {
            let start = (offset % BLOCK) as usize;
            let (part, rest) = from.split_at(from.len().min(BLOCK as usize - start));
            self.block(offset / BLOCK, part.len() == BLOCK as usize)?.write(start, part);
            from = rest;
            offset = offset.saturating_add(part.len() as u64);
        }
        Ok(())
    }

    /// Makes a range zero, which lies within the disk.
    ///
    /// # Errors
    /// As [`Media::write`].
    pub fn zero(&mut self, offset: u64, length: u64) -> Result<(), BaseError> {
        let end = offset.saturating_add(length);
        let mut offset = offset;
        while offset < end {
            let number = offset / BLOCK;
            let block_end = number.saturating_add(1).saturating_mul(BLOCK);
            let part = block_end.min(end) - offset;
            // The last block of a disk may be cut short: zeroing what there is of it zeroes it.
            let whole = offset.is_multiple_of(BLOCK) && (end >= block_end || end >= self.bytes);
            if !whole {
                let zeros = [0; BLOCK as usize];
                self.block(number, false)?.write((offset % BLOCK) as usize, &zeros[..part as usize]);
            } else if self.base.is_some() {
                self.changed.insert(number, Block::Zero);
            } else {
                self.changed.remove(&number);
            }
            offset += part;
        }
        Ok(())
    }

    /// A block that is about to be changed. If all of it is, what was there need not be read.
    fn block(&mut self, number: u64, whole: bool) -> Result<&mut Block, BaseError> {
        if !self.changed.contains_key(&number) {
            let before = match (&self.base, whole) {
                (Some(_), false) => {
                    let mut before = [0; BLOCK as usize];
                    self.read_base(number * BLOCK, &mut before)?;
                    Block::from(before)
                }
                _ => Block::Zero,
            };
            self.changed.insert(number, before);
        }
        Ok(self.changed.entry(number).or_insert(Block::Zero))
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
    fn a_zeroed_blank_disk_remembers_nothing() {
        let mut media = Media::blank(3 * 4096 + 512).unwrap();
        media.write(0, &[1; 3 * 4096 + 512]).unwrap();
        assert_eq!(media.changed_blocks().collect::<Vec<_>>(), [0, 1, 2, 3]);
        media.zero(0, 3 * 4096 + 512).unwrap();
        assert_eq!(media.changed_blocks().count(), 0);
    }
}
