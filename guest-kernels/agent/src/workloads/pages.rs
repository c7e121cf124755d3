//! Anonymous pages whose contents are known: `page | generation | seed | checksum` and a pattern.
//!
//! The page says itself what it holds, so a page that is wrong can be told apart: damaged, stale (of an older
//! generation, as an image taken too early would bring back), moved (the contents of another page) or empty.
#![allow(unsafe_code)] // madvise(2) on our own mapping

use agent_protocol::message::Failure;
use nix::sys::mman::{MmapAdvise, madvise};

use super::differences::Differences;
use super::pattern::{self, Pattern};
use crate::failure::{While, failure};
use crate::mapping::Mapping;

/// Bytes of a page.
pub const PAGE: usize = 4096;

const HEADER: usize = 32;

/// The pages and the generation each of them must hold.
#[derive(Debug)]
pub struct Pages {
    memory: Mapping,
    generations: Vec<u64>,
    seed: u64,
    /// What a page must hold, made anew for each comparison.
    expected: Vec<u8>,
}

impl Pages {
    /// `kib` KiB of pages, all filled.
    ///
    /// # Errors
    /// If that is less than a page, or the kernel has no memory.
    pub fn new(kib: u32, seed: u64) -> Result<Pages, Failure> {
        let count = kib as usize * 1024 / PAGE;
        if count == 0 {
            return Err(failure(format!("{kib} KiB are less than a page: ask for 4 or more")));
        }
        let memory =
            Mapping::anonymous(count * PAGE).while_doing(|| format!("mapping {kib} KiB of memory"))?;
        let mut pages = Pages { memory, generations: vec![0; count], seed, expected: vec![0; PAGE] };
        for page in 0..count {
            pages.write_generation(page, 1);
        }
        Ok(pages)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.generations.len()
    }

    /// Verifies a page and gives it its next generation. One that is wrong is left as it is, to be found again.
    pub fn renew(&mut self, page: usize, found: &mut Differences) {
        if self.verify(page, found) {
            self.write_generation(page, self.generations[page].wrapping_add(1));
        }
    }

    /// Whether a page holds what it must.
    pub fn verify(&mut self, page: usize, found: &mut Differences) -> bool {
        write_page(&mut self.expected, self.seed, page as u64, self.generations[page]);
        let actual = &self.memory[page * PAGE..(page + 1) * PAGE];
        let Some(difference) = pattern::difference(&self.expected, actual) else { return true };
        let generation = self.generations[page];
        found.add(match holds(actual) {
            Some(held) => format!("page {page}: expected generation {generation}, found {held}"),
            None => format!("page {page}, {difference}"),
        });
        false
    }

    /// Verifies all.
    pub fn verify_all(&mut self, found: &mut Differences) {
        for page in 0..self.count() {
            self.verify(page, found);
        }
    }

    /// Addresses of the pages, as /proc/self/smaps counts them.
    pub fn addresses(&self) -> std::ops::Range<u64> {
        let range = self.memory.as_ptr_range();
        range.start as u64..range.end as u64
    }

    /// Pushes pages out to swap, as far as the kernel can.
    ///
    /// # Errors
    /// Those of madvise(2).
    pub fn page_out(&mut self, pages: std::ops::Range<usize>) -> nix::Result<()> {
        let bytes = &mut self.memory[pages.start * PAGE..pages.end * PAGE];
        let len = bytes.len();
        // SAFETY: whole pages of our own mapping, held exclusively; MADV_PAGEOUT never changes what is read from them.
        unsafe { madvise(std::ptr::NonNull::from(bytes).cast(), len, MmapAdvise::MADV_PAGEOUT) }
    }

    fn write_generation(&mut self, page: usize, generation: u64) {
        self.generations[page] = generation;
        write_page(&mut self.memory[page * PAGE..(page + 1) * PAGE], self.seed, page as u64, generation);
    }

    /// The bytes, to be damaged by a test.
    #[cfg(test)]
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

fn write_page(bytes: &mut [u8], seed: u64, page: u64, generation: u64) {
    let (header, body) = bytes.split_at_mut(HEADER);
    Pattern::new(seed, [page, generation]).fill(body);
    let checksum = u64::from(crc32fast::hash(body));
    for (field, value) in header.chunks_exact_mut(8).zip([page, generation, seed, checksum]) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}

/// What a page that is not the expected one holds in full, if it is anything we ever wrote.
fn holds(bytes: &[u8]) -> Option<String> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Some("zeros".into());
    }
    let field = |number: usize| {
        let bytes = bytes.get(number * 8..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    };
    let (page, generation, seed) = (field(0)?, field(1)?, field(2)?);
    let mut whole = vec![0; bytes.len()];
    write_page(&mut whole, seed, page, generation);
    (whole == bytes).then(|| format!("page {page} of generation {generation}, seed {seed:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(pages: &mut Pages) -> Vec<String> {
        let mut found = Differences::default();
        pages.verify_all(&mut found);
        found.take()
    }

    #[test]
    fn renewed_pages_are_clean() {
        let (mut pages, mut found) = (Pages::new(64, 7).unwrap(), Differences::default());
        for round in 0..40 {
            pages.renew(round % pages.count(), &mut found);
        }
        assert!(found.is_empty());
        assert!(found_in(&mut pages).is_empty());
    }

    #[test]
    fn a_flipped_bit_is_found_and_stays_found() {
        let (mut pages, mut found) = (Pages::new(64, 7).unwrap(), Differences::default());
        let byte = pages.bytes()[5 * PAGE + 0x123];
        pages.bytes()[5 * PAGE + 0x123] ^= 0x10;
        let text =
            format!("page 5, offset 0x123: expected {byte:#04x}, found {:#04x}, 1 bytes differ", byte ^ 0x10);
        assert_eq!(found_in(&mut pages), [text]);
        pages.renew(5, &mut found);
        assert!(!found.is_empty());
        assert_eq!(found_in(&mut pages).len(), 1);
    }

    #[test]
    fn stale_moved_and_empty_pages_are_told_apart() {
        let (mut pages, mut found) = (Pages::new(64, 7).unwrap(), Differences::default());
        let stale = pages.bytes()[..PAGE].to_vec();
        pages.renew(0, &mut found);
        pages.bytes()[..PAGE].copy_from_slice(&stale);
        pages.bytes().copy_within(2 * PAGE..3 * PAGE, PAGE);
        pages.bytes()[4 * PAGE..5 * PAGE].fill(0);
        assert_eq!(
            found_in(&mut pages),
            [
                "page 0: expected generation 2, found page 0 of generation 1, seed 0x7",
                "page 1: expected generation 1, found page 2 of generation 1, seed 0x7",
                "page 4: expected generation 1, found zeros",
            ]
        );
    }

    #[test]
    fn less_than_a_page_is_refused() {
        assert_eq!(Pages::new(3, 1).unwrap_err().text, "3 KiB are less than a page: ask for 4 or more");
    }
}
