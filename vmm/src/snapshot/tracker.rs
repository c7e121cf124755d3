//! What became of memory since somebody last looked: for snapshots, which copy only what was written, and for digests, which hash
//! only that.

use std::sync::Arc;

use ram::{GuestRam, PAGE_SIZE};

use crate::digest::RamDigest;
use crate::snapshot::page_set::PageSet;
use crate::snapshot::pages::{Page, Pages, ZERO};

/// Follows one memory. It is the only one who takes the marks of written pages: processors must ask before they write again after
/// every call.
#[derive(Debug, Clone)]
pub struct Tracker {
    ram: GuestRam,
    /// What it contained when it was last saved or restored.
    saved: Pages,
    /// Pages that may contain something else since.
    unsaved: PageSet,
    digest: RamDigest,
}

impl Tracker {
    /// Of a memory that was all zero when its marks were last taken.
    pub fn new(ram: &GuestRam) -> Self {
        Self {
            ram: ram.clone(),
            saved: Pages::default(),
            unsaved: PageSet::default(),
            digest: RamDigest::default(),
        }
    }

    fn catch_up(&mut self) {
        for frame in self.ram.take_written() {
            if let Some(number) = self.ram.number_of(frame) {
                self.unsaved.insert(number);
                self.digest.changed(number);
            }
        }
    }

    /// One hash over all of it.
    pub fn digest(&mut self) -> [u8; 32] {
        self.catch_up();
        self.digest.of(&self.ram)
    }

    /// What it contains.
    pub fn save(&mut self) -> Pages {
        self.catch_up();
        let Self { ram, saved, unsaved, .. } = self;
        unsaved.drain(|number| {
            let Some(page) = read(ram, number) else { return };
            if saved.get(number).map_or(&ZERO, |page| page) != &page {
                saved.set(number, (page != ZERO).then(|| Arc::new(page)));
            }
        });
        saved.clone()
    }

    /// Makes it contain this. Only pages that differ are copied, and the marks of code tell of those that had some.
    pub fn restore(&mut self, target: &Pages) {
        self.catch_up();
        let Self { ram, saved, unsaved, digest } = self;
        saved.differences(target, |number| unsaved.insert(number));
        unsaved.drain(|number| {
            let Some(frame) = ram.frame_of(number) else { return };
            let page = target.get(number).map_or(&ZERO, |page| page);
            if ram.has_code(frame) && read(ram, number).is_some_and(|before| before == *page) {
                return;
            }
            let copied = ram.write(frame * PAGE_SIZE, page);
            debug_assert!(copied.is_ok(), "a frame is wholly memory");
            digest.changed(number);
        });
        *saved = target.clone();
        ram.take_written();
    }
}

/// A page of memory.
fn read(ram: &GuestRam, number: usize) -> Option<Page> {
    let mut page = ZERO;
    ram.read(ram.frame_of(number)? * PAGE_SIZE, &mut page).ok()?;
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ram: &GuestRam, address: u64) -> u8 {
        let mut byte = [0];
        ram.read(address, &mut byte).unwrap();
        byte[0]
    }

    fn tracked() -> (GuestRam, Tracker) {
        let ram = GuestRam::new(1 << 20).unwrap();
        let tracker = Tracker::new(&ram);
        (ram, tracker)
    }

    #[test]
    fn memory_goes_to_and_fro_between_what_it_contained() {
        let (ram, mut tracker) = tracked();
        ram.write(0x5000, &[1]).unwrap();
        let one = tracker.save();
        ram.write(0x5000, &[2]).unwrap();
        ram.write(0x7000, &[3]).unwrap();
        let other = tracker.save();
        ram.write(0x5000, &[4]).unwrap();
        ram.write(0x9000, &[5]).unwrap();
        let digest = tracker.digest();
        let last = tracker.save();
        let contents = || [0x5000, 0x7000, 0x9000].map(|address| at(&ram, address));
        for (pages, expected) in
            [(&one, [1, 0, 0]), (&last, [4, 3, 5]), (&other, [2, 3, 0]), (&other, [2, 3, 0])]
        {
            tracker.restore(pages);
            assert_eq!(contents(), expected);
            assert_eq!(tracker.save(), *pages);
            ram.write(0x9000, &[8]).unwrap();
        }
        tracker.restore(&last);
        assert_eq!(tracker.digest(), digest);
        tracker.restore(&Pages::default());
        assert_eq!(tracker.digest(), Tracker::new(&GuestRam::new(1 << 20).unwrap()).digest());
    }

    #[test]
    fn a_digest_between_does_not_hide_what_was_written_from_a_snapshot() {
        let (ram, mut tracker) = tracked();
        let blank = tracker.save();
        ram.write(0x5000, &[1]).unwrap();
        tracker.digest();
        assert_ne!(tracker.save(), blank);
        ram.write(0x5000, &[2]).unwrap();
        tracker.digest();
        tracker.restore(&blank);
        assert_eq!(at(&ram, 0x5000), 0);
    }

    #[test]
    fn only_code_of_pages_that_differ_is_reported_as_rewritten() {
        let (ram, mut tracker) = tracked();
        let pages = tracker.save();
        for frame in [1, 2, 3] {
            ram.note_code(frame);
        }
        ram.write(0x1000, &[1]).unwrap();
        ram.write(0x2000, &[0]).unwrap();
        ram.take_rewritten();
        tracker.restore(&pages);
        assert_eq!(ram.take_rewritten(), [1]);
    }

    #[test]
    fn pages_of_zeros_and_pages_written_as_they_were_cost_nothing() {
        let (ram, mut tracker) = tracked();
        ram.write(0x5000, &[1]).unwrap();
        let pages = tracker.save();
        ram.write(0x5000, &[1]).unwrap();
        ram.write(0x6000, &[0]).unwrap();
        let again = tracker.save();
        assert_eq!(again.iter().count(), 1);
        assert!(Arc::ptr_eq(pages.get(5).unwrap(), again.get(5).unwrap()));
    }
}
