//! The swap map: a chain of pages that say in which slots an image lies (kernel/power/swap.c, `struct swap_map_page`).

use std::collections::BTreeMap;

use super::PAGE;
use super::fields::u64_at;
use super::flaw::Flaw;
use super::part::Part;

/// Entries of a page of the map; the last number in it is the slot of the next page.
pub const ENTRIES: usize = PAGE / 8 - 1;

/// One page of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapPage {
    /// Where it is.
    pub slot: u64,
    /// Slots of the pages it governs, in order, up to the first that is empty.
    pub entries: Vec<u64>,
    /// Where the next one is; 0 at the end.
    pub next: u64,
}

/// The map, as far as it can be followed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SwapMap {
    /// In the order of the chain.
    pub pages: Vec<MapPage>,
}

impl SwapMap {
    /// Follows the chain. `header`: the slot that no image may use. Beside the map, the first thing wrong with it, at which reading
    /// stopped unless it is a slot with two uses.
    pub fn read(part: &Part, header: u64, first: u64) -> (Self, Option<Flaw>) {
        let mut map = Self::default();
        let stopped = map.follow(part, header, first).err();
        let flaw = stopped.or_else(|| map.two_uses());
        (map, flaw)
    }

    fn follow(&mut self, part: &Part, header: u64, first: u64) -> Result<(), Flaw> {
        let slots = part.slots();
        let usable = |slot: u64| slot != 0 && slot != header && slot < slots;
        let mut seen = BTreeMap::new();
        let mut slot = first;
        loop {
            let page = self.pages.len();
            if !usable(slot) {
                return Err(Flaw::MapOutside { page, slot, slots });
            }
            if let Some(&again) = seen.get(&slot) {
                return Err(Flaw::MapCycle { page: page.saturating_sub(1), slot, again });
            }
            seen.insert(slot, page);
            let contents = part.slot(slot)?;
            let (numbers, _) = contents.as_chunks::<8>();
            let entries = numbers.iter().take(ENTRIES).map(|bytes| u64::from_le_bytes(*bytes));
            let entries: Vec<u64> = entries.take_while(|entry| *entry != 0).collect();
            let next = u64_at(contents.as_slice(), ENTRIES * 8).unwrap_or(0);
            let outside = entries.iter().position(|entry| !usable(*entry));
            let bad = outside.and_then(|entry| Some((entry, *entries.get(entry)?)));
            self.pages.push(MapPage { slot, entries, next });
            if let Some((entry, slot)) = bad {
                if let Some(page) = self.pages.last_mut() {
                    page.entries.truncate(entry);
                }
                return Err(Flaw::EntryOutside { page, entry, slot, slots });
            }
            // The kernel fills a page before it begins the next: behind a hole nothing is ever read.
            if next == 0 || self.pages.last().is_some_and(|page| page.entries.len() < ENTRIES) {
                return Ok(());
            }
            slot = next;
        }
    }

    /// The kernel allocates each slot once. Found twice, one of the pages is an old one.
    fn two_uses(&self) -> Option<Flaw> {
        let mut used: BTreeMap<u64, usize> = self.pages.iter().map(|page| page.slot).zip(0..).collect();
        for (number, page) in self.pages.iter().enumerate() {
            for (entry, &slot) in page.entries.iter().enumerate() {
                if let Some(first) = used.insert(slot, number) {
                    return Some(Flaw::SlotTwice { page: number, entry, slot, first });
                }
            }
        }
        None
    }

    /// Slots of the image's pages, in order.
    pub fn slots(&self) -> impl Iterator<Item = u64> + '_ {
        self.pages.iter().flat_map(|page| page.entries.iter().copied())
    }

    /// How many.
    pub fn len(&self) -> u64 {
        self.pages.iter().fold(0, |sum, page| sum + page.entries.len() as u64)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slot with a number; all pages but the last are full.
    pub fn slot(&self, number: u64) -> Option<u64> {
        let number = usize::try_from(number).ok()?;
        self.pages.get(number / ENTRIES)?.entries.get(number % ENTRIES).copied()
    }

    /// The page of the map that says where the slot with this number is, and its entry there.
    pub fn governs(number: u64) -> (usize, usize) {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        (number / ENTRIES, number % ENTRIES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use devices::disk::Media;

    /// A map of pages: where each is, its entries, the next.
    fn part(pages: &[(u64, Vec<u64>, u64)]) -> Part {
        let mut media = Media::blank(4096 * 4096).unwrap();
        for (slot, entries, next) in pages {
            let mut bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
            bytes.resize(ENTRIES * 8, 0);
            bytes.extend_from_slice(&next.to_le_bytes());
            media.write(slot * 4096, &bytes).unwrap();
        }
        Part::whole(&media)
    }

    fn full(first: u64) -> Vec<u64> {
        (first..first + ENTRIES as u64).collect()
    }

    #[test]
    fn a_chain_is_followed() {
        let (map, flaw) = SwapMap::read(&part(&[(1, full(2), 600), (600, vec![601, 602], 0)]), 0, 1);
        assert_eq!(flaw, None);
        assert_eq!((map.pages.len(), map.len()), (2, 513));
        assert_eq!((map.slot(0), map.slot(511), map.slot(513)), (Some(2), Some(601), None));
        assert_eq!(SwapMap::governs(512), (1, 1));
        assert_eq!(map.slots().last(), Some(602));
    }

    /// The page behind a full one is written when the image is complete, and has nothing in it then.
    #[test]
    fn an_empty_page_at_the_end_is_none_the_worse() {
        let (map, flaw) = SwapMap::read(&part(&[(1, full(2), 600)]), 0, 1);
        assert_eq!((map.pages.len(), map.len(), flaw), (2, 511, None));
    }

    #[test]
    fn what_cannot_be_followed_is_said() {
        let read = |pages: &[(u64, Vec<u64>, u64)]| SwapMap::read(&part(pages), 7, 1).1;
        let slots = 4096;
        assert_eq!(read(&[(1, full(8), 1)]), Some(Flaw::MapCycle { page: 0, slot: 1, again: 0 }));
        assert_eq!(read(&[(1, full(8), 5000)]), Some(Flaw::MapOutside { page: 1, slot: 5000, slots }));
        assert_eq!(
            read(&[(1, full(8), u64::MAX)]).map(|flaw| matches!(flaw, Flaw::MapOutside { .. })),
            Some(true)
        );
        assert_eq!(
            read(&[(1, vec![8, 1 << 60], 0)]),
            Some(Flaw::EntryOutside { page: 0, entry: 1, slot: 1 << 60, slots })
        );
        assert_eq!(read(&[(1, vec![7], 0)]), Some(Flaw::EntryOutside { page: 0, entry: 0, slot: 7, slots }));
        assert_eq!(
            read(&[(1, full(8), 600), (600, vec![9], 0)]),
            Some(Flaw::SlotTwice { page: 1, entry: 0, slot: 9, first: 0 })
        );
        assert_eq!(SwapMap::read(&part(&[]), 0, 0).1, Some(Flaw::MapOutside { page: 0, slot: 0, slots }));
    }

    /// Longer than any chain that comes back: memory and time are bounded by what is on the disk.
    #[test]
    fn a_chain_of_full_pages_ends() {
        let pages: Vec<_> = (1..4000).map(|slot| (slot, full(slot % 3000 + 1), slot + 1)).collect();
        let (map, flaw) = SwapMap::read(&part(&pages), 0, 1);
        assert_eq!(map.pages.len(), 4000);
        assert!(matches!(flaw, Some(Flaw::SlotTwice { .. })), "{flaw:?}");
    }
}
