//! Anonymous memory that is pushed out to swap again and again.

use std::fs::File;
use std::os::unix::fs::FileExt;

use agent_protocol::message::Failure;

use super::differences::Differences;
use super::pages::{PAGE, Pages};
use super::work::{Pulse, Work};

/// One entry of 64 bits for each page of our address space.
const PAGEMAP: &str = "/proc/self/pagemap";
/// Bit of an entry: the page is in swap.
const IN_SWAP: u64 = 1 << 62;

/// The workload.
pub struct Swap {
    pages: Pages,
    next: usize,
    renewed: u64,
}

impl Swap {
    /// `kib` KiB of pages, pushed out as far as the kernel can.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new(kib: u32, seed: u64) -> Result<Swap, Failure> {
        let mut swap = Swap { pages: Pages::new(kib, seed)?, next: 0, renewed: 0 };
        let mut found = Differences::default();
        swap.page_out(0..swap.pages.count(), &mut found);
        Ok(swap)
    }

    fn page_out(&mut self, pages: std::ops::Range<usize>, found: &mut Differences) {
        let (first, last) = (pages.start, pages.end);
        if let Err(errno) = self.pages.page_out(pages) {
            found.add(format!("pushing out pages {first} to {last}: {}", errno.desc()));
        }
    }

    /// How many of the pages are in swap now.
    fn swapped(&self) -> Result<usize, String> {
        let mut entries = vec![0; self.pages.count() * 8];
        let offset = self.pages.addresses().start / PAGE as u64 * 8;
        File::open(PAGEMAP)
            .and_then(|file| file.read_exact_at(&mut entries, offset))
            .map_err(|error| format!("reading {PAGEMAP}: {error}"))?;
        let (entries, _) = entries.as_chunks();
        Ok(entries.iter().filter(|entry| u64::from_ne_bytes(**entry) & IN_SWAP != 0).count())
    }
}

impl Work for Swap {
    fn step(&mut self, found: &mut Differences) {
        let page = self.next;
        self.pages.renew(page, found);
        self.page_out(page..page + 1, found);
        self.next = (page + 1) % self.pages.count();
        self.renewed = self.renewed.wrapping_add(1);
    }

    fn check(&mut self, found: &mut Differences) {
        // Asked first: verifying brings every page back in.
        match self.swapped() {
            Ok(0) => found.add("nothing was swapped out: is swap on?"),
            Ok(_) => {}
            Err(difference) => found.add(difference),
        }
        self.pages.verify_all(found);
        self.page_out(0..self.pages.count(), found);
    }

    fn pulses(&self) -> Vec<Pulse> {
        vec![Pulse::new("pages", self.renewed)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::work::Worker;

    const NO_SWAP: &str = "nothing was swapped out: is swap on?";

    /// Whether this machine has swap; both kinds are tested as they are.
    fn has_swap() -> bool {
        std::fs::read_to_string("/proc/swaps").unwrap().lines().count() > 1
    }

    #[test]
    fn says_when_nothing_is_swapped_and_nothing_else() {
        let mut worker = Worker::new(Swap::new(256, 5).unwrap());
        (0..100).for_each(|_| worker.step());
        let expected: &[&str] = if has_swap() { &[] } else { &[NO_SWAP] };
        assert_eq!(worker.check(), expected);
        assert_eq!(worker.check(), expected);
    }

    #[test]
    fn a_damaged_page_is_found() {
        let mut worker = Worker::new(Swap::new(256, 5).unwrap());
        worker.work.pages.bytes()[3 * PAGE + 40] ^= 0x80;
        let differences = worker.check();
        assert!(differences.iter().any(|text| text.starts_with("page 3, offset 0x28: ")), "{differences:?}");
    }
}
