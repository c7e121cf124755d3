//! A copy of memory, and what memory differs from it in later.

use std::fmt;
use std::ops::Range;

use ram::{GuestRam, PAGE_SIZE};

const PAGE: usize = PAGE_SIZE as usize;
/// Bytes compared at a time: few enough to stay in the processor's cache.
const PIECE: usize = 64 * PAGE;

/// What was in these ranges.
pub struct Copy(Vec<(u64, Vec<u8>)>);

/// A page that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its frame.
    pub frame: u64,
    /// Bytes that differ, or are differently masked.
    pub bytes: usize,
    /// The first of them.
    pub first: usize,
    /// What was there.
    pub was: u8,
    /// What is there.
    pub is: u8,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frame, bytes, first, was, is } = self;
        write!(
            f,
            "page {:#x}: {bytes} bytes differ, the first at +{first:#x}: {was:#04x} became {is:#04x}",
            frame * PAGE_SIZE
        )
    }
}

impl Difference {
    /// Between two pages, if there is any.
    pub fn between(frame: u64, was: &[u8], is: &[u8]) -> Option<Self> {
        let mut differing = was.iter().zip(is).enumerate().filter(|(_, (was, is))| was != is);
        let (first, (was, is)) = differing.next()?;
        Some(Self { frame, bytes: 1 + differing.count(), first, was: *was, is: *is })
    }
}

impl Copy {
    /// Of these ranges of whole pages. None: some of it is no memory.
    pub fn of(ram: &GuestRam, ranges: &[Range<u64>]) -> Option<Self> {
        let mut copies = Vec::new();
        for range in ranges {
            let mut bytes = vec![0; usize::try_from(range.end.checked_sub(range.start)?).ok()?];
            ram.read(range.start, &mut bytes).ok()?;
            copies.push((range.start, bytes));
        }
        Some(Self(copies))
    }

    /// How many pages it has.
    pub fn pages(&self) -> usize {
        self.0.iter().map(|(_, bytes)| bytes.len() / PAGE).sum()
    }

    /// Pages in which memory differs now, after `equalize` was given both contents of each page that does: what it makes equal does not
    /// count.
    pub fn differences(
        &self,
        ram: &GuestRam,
        mut equalize: impl FnMut(u64, &mut [u8], &mut [u8]),
    ) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut now = vec![0; PIECE];
        for (start, bytes) in &self.0 {
            for (piece, was) in bytes.chunks(PIECE).enumerate() {
                let address = start + (piece * PIECE) as u64;
                let Some(now) = now.get_mut(..was.len()) else { continue };
                if ram.read(address, now).is_ok() && was == now {
                    continue;
                }
                for (page, (was, now)) in was.chunks(PAGE).zip(now.chunks_mut(PAGE)).enumerate() {
                    if was != now {
                        let frame = address / PAGE_SIZE + page as u64;
                        let mut was = was.to_vec();
                        equalize(frame, &mut was, now);
                        found.extend(Difference::between(frame, &was, now));
                    }
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_meanwhile_is_found_unless_it_is_made_equal() {
        let ram = GuestRam::new(4 << 20).unwrap();
        let copy = Copy::of(&ram, &[0x1000..0x9000, 0x10_0000..0x40_0000]).unwrap();
        assert_eq!(copy.pages(), 8 + 768);
        assert_eq!(copy.differences(&ram, |_, _, _| {}), []);
        for (address, byte) in [(0x1007, 1), (0x9000, 2), (0x2f_f000, 3), (0x2f_f005, 4)] {
            ram.write(address, &[byte]).unwrap();
        }
        let found = copy.differences(&ram, |_, _, _| {});
        let first = Difference { frame: 1, bytes: 1, first: 7, was: 0, is: 1 };
        let second = Difference { frame: 0x2ff, bytes: 2, first: 0, was: 0, is: 3 };
        assert_eq!(found, [first, second.clone()]);
        assert_eq!(second.to_string(), "page 0x2ff000: 2 bytes differ, the first at +0x0: 0x00 became 0x03");
        let found = copy.differences(&ram, |frame, was, now| {
            if frame == 1 {
                was.copy_from_slice(now);
            }
        });
        assert_eq!(found, [second]);
        assert!(Copy::of(&ram, &[0..4096, 4096..8 << 20]).is_none());
    }
}
