//! One hash over everything a machine is.

use std::fmt;

use ram::{GuestRam, PAGE_SIZE};
use serde::{Deserialize, Serialize};

use crate::snapshot::page_set::PageSet;

/// A hash over RAM, processors, devices, disks, clocks and instructions: two machines with equal digests go on equally.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Pages that are hashed together: so much as BLAKE3 hashes in the time it takes for one of them, with the vectors of today's
/// processors.
const PAGES: usize = 4;
/// Hashes of such pages that are hashed together.
const UNITS: usize = 512;

/// Of RAM: a tree of hashes, in which only what changed is hashed anew.
#[derive(Debug, Clone, Default)]
pub struct RamDigest {
    /// Of each unit of pages in ascending order; zero for zeros.
    units: Vec<[u8; 32]>,
    groups: Vec<[u8; 32]>,
    changed_units: PageSet,
}

impl RamDigest {
    /// A page, by how many pages of memory lie below, may have other contents than before. At first all are zero.
    pub fn changed(&mut self, page: usize) {
        self.changed_units.insert(page / PAGES);
    }

    /// The hash over all of this memory, whose size does not change.
    pub fn of(&mut self, ram: &GuestRam) -> [u8; 32] {
        let count = usize::try_from(ram.bytes() / PAGE_SIZE).unwrap_or(usize::MAX).div_ceil(PAGES);
        let Self { units, groups, changed_units } = self;
        let mut changed_groups = PageSet::default();
        if units.len() != count {
            *units = vec![[0; 32]; count];
            *groups = vec![[0; 32]; count.div_ceil(UNITS)];
            (0..groups.len()).for_each(|group| changed_groups.insert(group));
        }
        let mut bytes = [0; PAGES * PAGE_SIZE as usize];
        changed_units.drain(|unit| {
            let Some(hash) = units.get_mut(unit) else { return };
            changed_groups.insert(unit / UNITS);
            let length = read(ram, unit, &mut bytes);
            let bytes = bytes.get(..length).unwrap_or_default();
            let zero = bytes.iter().fold(0, |all, byte| all | byte) == 0;
            *hash = if zero { [0; 32] } else { *blake3::hash(bytes).as_bytes() };
        });
        changed_groups.drain(|group| {
            let units = units.chunks(UNITS).nth(group).unwrap_or_default();
            if let Some(hash) = groups.get_mut(group) {
                *hash = *blake3::hash(units.as_flattened()).as_bytes();
            }
        });
        let mut whole = blake3::Hasher::new();
        whole.update(&ram.bytes().to_le_bytes()).update(groups.as_flattened());
        *whole.finalize().as_bytes()
    }
}

/// Copies the pages of a unit; how many bytes there are.
fn read(ram: &GuestRam, unit: usize, into: &mut [u8; PAGES * PAGE_SIZE as usize]) -> usize {
    let mut length = 0;
    for (page, into) in (unit * PAGES..).zip(into.chunks_exact_mut(PAGE_SIZE as usize)) {
        if ram.frame_of(page).is_some_and(|frame| ram.read(frame * PAGE_SIZE, into).is_ok()) {
            length += into.len();
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tracker::Tracker;

    fn tracked() -> (GuestRam, Tracker) {
        let ram = GuestRam::new((9 << 20) + 4096).unwrap();
        let tracker = Tracker::new(&ram);
        (ram, tracker)
    }

    #[test]
    fn equal_contents_have_equal_digests_however_they_came_about() {
        let ((one, mut of_one), (other, mut of_other)) = (tracked(), tracked());
        assert_eq!(of_one.digest(), of_other.digest());
        one.write(0x5000, &[1, 2, 3]).unwrap();
        of_one.digest();
        one.write(0x9000, &[7]).unwrap();
        of_one.digest();
        one.write(0x9000, &[0]).unwrap();
        other.write(0x5000, &[1, 2]).unwrap();
        assert_ne!(of_one.digest(), of_other.digest());
        other.write(0x5002, &[3]).unwrap();
        assert_eq!(of_one.digest(), of_other.digest());
    }

    #[test]
    fn a_page_counts_by_its_place() {
        let mut found = Vec::new();
        for place in [0, 0x1000, 0x4000, 8 << 20, 9 << 20] {
            let (ram, mut tracker) = tracked();
            ram.write(place, &[1]).unwrap();
            found.push(tracker.digest());
        }
        let (_, mut blank) = tracked();
        found.push(blank.digest());
        let count = found.len();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), count);
    }

    #[test]
    fn size_counts() {
        let blank = |bytes| Tracker::new(&GuestRam::new(bytes).unwrap()).digest();
        assert_ne!(blank(1 << 20), blank(2 << 20));
    }
}
