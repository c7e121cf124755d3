//! Who submitted a write that a disk accepts.
//!
//! Writes come in at `blk_mq_submit_bio`, in the task that submits them, with sectors counted from the beginning of the disk. The block
//! layer then merges, splits and reorders them, so a request that a disk accepts is matched by its sectors.
//!
//! Where a `struct bio` keeps its sector differs between kernels, and stock kernels need no BTF to say it. So the first words of each are
//! kept, and each place votes: whenever a disk accepts a write, a place at which some submitted bio has sectors of that write, and behind
//! it a length that fits, is confirmed. No other place keeps that up. What a bio asks (`bi_opf`) has stood behind two pointers since 4.14.

use std::collections::{BTreeMap, VecDeque};

use devices::disk::{Extent, SECTOR};

use super::Author;
use super::stack::Stack;

/// Words of a bio that are kept, from its beginning on.
const WORDS: usize = 14;
/// Those in which a sector is looked for: behind `bi_opf`.
const PLACES: std::ops::Range<usize> = 3..12;
/// Submitted and not accepted yet: more than any queue holds.
const MOST: usize = 1 << 14;
/// No bio is longer.
const LONGEST: u64 = 1 << 30;

/// A bio that was submitted.
#[derive(Debug, Clone)]
struct Submitted {
    words: [u64; WORDS],
    author: Author,
}

impl Submitted {
    /// `bi_bdev`: the partition, or the disk.
    fn device(&self) -> u64 {
        self.words[1]
    }

    /// Sectors, if they stand in this word.
    fn extent(&self, place: usize) -> Option<Extent> {
        let (sector, bytes) = (*self.words.get(place)?, *self.words.get(place + 1)? & 0xffff_ffff);
        let fits =
            bytes > 0 && bytes.is_multiple_of(SECTOR) && bytes < LONGEST && sector < u64::MAX / SECTOR / 2;
        fits.then_some(Extent { sector, sectors: bytes / SECTOR })
    }
}

/// Writes that were submitted.
#[derive(Debug, Default)]
pub(super) struct Writes {
    submitted: VecDeque<Submitted>,
    /// How often each word was confirmed to be the sector.
    votes: [u32; WORDS],
    /// Which disk a `bi_bdev` belongs to.
    devices: BTreeMap<u64, u8>,
}

impl Writes {
    /// Somebody submits the bio at this address.
    pub(super) fn submit(&mut self, stack: &Stack<'_>, bio: u64, author: impl FnOnce() -> Author) {
        let mut words = [0; WORDS];
        for (word, at) in words.iter_mut().zip((0u64..).step_by(8)) {
            let Some(found) = stack.word(bio.wrapping_add(at)) else { return };
            *word = found;
        }
        // Requests that change something have odd numbers.
        if words[2] & 1 == 1 {
            self.push(Submitted { words, author: author() });
        }
    }

    fn push(&mut self, submitted: Submitted) {
        if self.submitted.len() >= MOST {
            self.submitted.pop_front();
        }
        self.submitted.push_back(submitted);
    }

    /// A disk accepted a write of these sectors: who is behind it, each once.
    pub(super) fn accepted(&mut self, disk: u8, extent: Extent) -> Vec<Author> {
        for place in PLACES {
            let within = |bio: Extent| extent.sector <= bio.sector && bio.end() <= extent.end();
            if self.submitted.iter().any(|bio| bio.extent(place).is_some_and(within))
                && let Some(votes) = self.votes.get_mut(place)
            {
                *votes = votes.saturating_add(1);
            }
        }
        let most = self.votes.iter().copied().max().unwrap_or(0);
        let Some(place) = self.votes.iter().position(|votes| most > 0 && *votes == most) else {
            return Vec::new();
        };
        let touches = |bio: &Submitted| bio.extent(place).is_some_and(|bio| bio.overlaps(extent));
        let of = |device: u64| self.devices.get(&device).copied();
        let mut candidates: Vec<u64> =
            self.submitted.iter().filter(|bio| touches(bio)).map(Submitted::device).collect();
        candidates.retain(|device| of(*device).is_none_or(|known| known == disk));
        if candidates.iter().any(|device| of(*device).is_some()) {
            candidates.retain(|device| of(*device).is_some());
        }
        let Some(&device) = candidates.first() else { return Vec::new() };
        // Of several disks that are written in the same sectors before any of them is known, the one that was asked first.
        let is_sure = candidates.iter().all(|other| *other == device || of(*other).is_some());
        if is_sure {
            self.devices.insert(device, disk);
        }
        let devices = |bio: &Submitted| match is_sure {
            true => candidates.contains(&bio.device()),
            false => bio.device() == device,
        };
        let mut authors: Vec<Author> = Vec::new();
        self.submitted.retain(|bio| {
            let Some(sectors) = bio.extent(place).filter(|_| touches(bio) && devices(bio)) else {
                return true;
            };
            let author = Author { guessed: bio.author.guessed || !is_sure, ..bio.author.clone() };
            if !authors.contains(&author) {
                authors.push(author);
            }
            // Of one that was split the rest is still to come.
            extent.end() < sectors.end()
        });
        authors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bio with its sector in word 4, as kernels have it, for the device with this number.
    fn bio(device: u64, sector: u64, sectors: u64, name: &str) -> Submitted {
        let mut words = [0; WORDS];
        (words[1], words[2], words[4], words[5]) = (device, 1, sector, (sectors * SECTOR) | (7 << 32));
        Submitted { words, author: Author::of(&[name.to_owned()], false) }
    }

    fn accepted(writes: &mut Writes, disk: u8, sector: u64, sectors: u64) -> Vec<String> {
        writes.accepted(disk, Extent { sector, sectors }).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_request_has_the_authors_of_all_that_was_merged_into_it_and_of_nothing_else() {
        let mut writes = Writes::default();
        for (sector, name) in [(800, "a"), (808, "b"), (816, "b"), (4000, "c")] {
            writes.push(bio(9, sector, 8, name));
        }
        assert_eq!(accepted(&mut writes, 0, 800, 24), ["a", "b"]);
        assert_eq!(accepted(&mut writes, 0, 800, 8), [""; 0]);
        assert_eq!(accepted(&mut writes, 0, 4000, 8), ["c"]);
        // The place is the one that stands the test, whatever stood elsewhere.
        assert_eq!(writes.votes.iter().filter(|votes| **votes > 0).count(), 1);
        assert_eq!(accepted(&mut writes, 0, 9, 8), [""; 0]);
    }

    #[test]
    fn parts_of_one_that_was_split_have_its_author() {
        let mut writes = Writes::default();
        writes.push(bio(9, 80, 8, "small"));
        writes.push(bio(9, 1000, 64, "large"));
        assert_eq!(accepted(&mut writes, 0, 80, 8), ["small"]);
        assert_eq!(accepted(&mut writes, 0, 1000, 32), ["large"]);
        assert_eq!(accepted(&mut writes, 0, 1032, 32), ["large"]);
        assert!(writes.submitted.is_empty());
    }

    #[test]
    fn disks_that_are_written_in_the_same_place_are_told_apart() {
        let mut writes = Writes::default();
        writes.push(bio(1, 8, 8, "first"));
        writes.push(bio(2, 8, 8, "second"));
        // Nobody knows whose is whose: the first guess is one, and is said to be.
        assert_eq!(accepted(&mut writes, 0, 8, 8), ["first (guessed)"]);
        assert_eq!(accepted(&mut writes, 1, 8, 8), ["second"]);
        writes.push(bio(1, 8, 8, "first"));
        writes.push(bio(2, 8, 8, "second"));
        assert_eq!(accepted(&mut writes, 1, 8, 8), ["second"]);
        assert_eq!(accepted(&mut writes, 0, 8, 8), ["first"]);
    }

    #[test]
    fn what_is_never_accepted_is_forgotten_in_the_end() {
        let mut writes = Writes::default();
        for sector in 0..MOST as u64 + 5 {
            writes.push(bio(1, sector * 8 + 1, 8, "a"));
        }
        assert_eq!(writes.submitted.len(), MOST);
        assert_eq!(accepted(&mut writes, 0, 1, 8), [""; 0]);
    }
}
