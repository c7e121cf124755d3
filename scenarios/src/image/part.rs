//! A partition, or a disk without any.

use std::ops::Range;

use devices::disk::{BaseError, Media};

use super::PAGE;

/// A stretch of a disk, as the kernel that uses it sees it: its first byte is byte 0, and its pages are slots of swap.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    media: Media,
    start: u64,
    bytes: u64,
}

impl Part {
    /// All of a disk.
    pub fn whole(media: &Media) -> Self {
        Self { media: media.clone(), start: 0, bytes: media.bytes() }
    }

    /// A stretch of it; what lies beyond the end of the disk is left out. A copy of the contents costs nothing.
    pub fn of(media: &Media, range: &Range<u64>) -> Self {
        let end = range.end.min(media.bytes());
        let start = range.start.min(end);
        Self { media: media.clone(), start, bytes: end - start }
    }

    /// Where it begins on the disk, in bytes.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whole pages in it.
    pub fn slots(&self) -> u64 {
        self.bytes / PAGE as u64
    }

    /// Where a slot lies on the disk, in bytes.
    pub fn on_disk(&self, slot: u64) -> Range<u64> {
        let start = self.start.saturating_add(slot.saturating_mul(PAGE as u64));
        start..start.saturating_add(PAGE as u64)
    }

    /// Whether a stretch lies within it.
    pub fn holds(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.bytes)
    }

    /// Copies contents out; what lies beyond the end reads as zeros. Ask [`Part::holds`] first.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), BaseError> {
        let there = self.bytes.saturating_sub(offset);
        let there = usize::try_from(there).map_or(into.len(), |there| there.min(into.len()));
        let (part, beyond) = into.split_at_mut(there);
        beyond.fill(0);
        self.media.read(self.start.saturating_add(offset), part)
    }

    /// One slot.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn slot(&self, slot: u64) -> Result<Box<[u8; PAGE]>, BaseError> {
        let mut page = Box::new([0; PAGE]);
        self.read(slot.saturating_mul(PAGE as u64), page.as_mut_slice())?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_where_it_ends() {
        let mut media = Media::blank(1 << 16).unwrap();
        media.write(0, &[7; 1 << 16]).unwrap();
        let part = Part::of(&media, &(4096..3 * 4096));
        assert_eq!((part.start(), part.bytes(), part.slots()), (4096, 8192, 2));
        assert!(part.holds(4096, 4096) && !part.holds(4096, 4097) && !part.holds(u64::MAX, 2));
        let mut bytes = [1; 8192];
        part.read(4096, &mut bytes).unwrap();
        assert_eq!((bytes[4095], bytes[4096]), (7, 0));
        assert_eq!(part.slot(u64::MAX).unwrap()[0], 0);
        assert_eq!(Part::of(&media, &(1 << 20..2 << 20)).bytes(), 0);
        assert_eq!(part.on_disk(1), 8192..12288);
    }
}
