//! Which page frames an image has: a packed list (kernel/power/snapshot.c, `pack_pfns`).

use super::PAGE;
use super::flaw::FramesFlaw;

/// `BM_END_OF_MAP`.
const END: u64 = u64::MAX;
/// `ENCODED_PFN_ZERO_FLAG`, since 6.7: the page is zero and not stored.
const ZERO: u64 = 1 << 63;
/// x86-64 has 52 bits of physical address.
const FRAMES: u64 = 1 << 40;

/// Contents of a page frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// All zero, and not stored.
    Zero,
    /// Stored.
    Stored(Box<[u8; PAGE]>),
}

impl Page {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8; PAGE] {
        const ZEROS: [u8; PAGE] = [0; PAGE];
        match self {
            Self::Zero => &ZEROS,
            Self::Stored(bytes) => bytes,
        }
    }
}

/// Page frames of an image, both lists in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frames {
    /// Stored, in this order.
    pub stored: Vec<u64>,
    /// All zero.
    pub zero: Vec<u64>,
}

/// Where a page frame's contents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Nowhere: they are zero.
    Zero,
    /// Among the stored pages, with this number.
    Stored(u64),
}

impl Frames {
    /// How many.
    pub fn len(&self) -> u64 {
        self.stored.len() as u64 + self.zero.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the contents of a page frame are; `None` if the image does not have it.
    pub fn find(&self, frame: u64) -> Option<Kept> {
        match self.stored.binary_search(&frame) {
            Ok(number) => Some(Kept::Stored(number as u64)),
            Err(_) => self.zero.binary_search(&frame).ok().map(|_| Kept::Zero),
        }
    }

    /// All of them, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Kept)> + '_ {
        let mut stored = (0..).zip(&self.stored).peekable();
        let mut zero = self.zero.iter().peekable();
        std::iter::from_fn(move || {
            let stored_is_next = match (stored.peek(), zero.peek()) {
                (Some((_, stored)), Some(zero)) => stored < zero,
                (stored, _) => stored.is_some(),
            };
            if stored_is_next {
                stored.next().map(|(number, frame)| (*frame, Kept::Stored(number)))
            } else {
                zero.next().map(|frame| (*frame, Kept::Zero))
            }
        })
    }
}

/// Reads the list, page by page.
#[derive(Debug, Default)]
pub struct FrameList {
    frames: Frames,
    last: Option<u64>,
    ended: Option<u64>,
    pages: u64,
}

impl FrameList {
    /// The next page of the list.
    ///
    /// # Errors
    /// The first entry that the kernel would not have written.
    pub fn page(&mut self, page: &[u8; PAGE]) -> Result<(), FramesFlaw> {
        self.pages += 1;
        let (entries, _) = page.as_chunks::<8>();
        for bytes in entries {
            let entry = u64::from_le_bytes(*bytes);
            if entry == END {
                self.ended.get_or_insert(self.pages);
                break;
            }
            let frame = entry & !ZERO;
            let at = self.frames.len();
            if frame >= FRAMES {
                return Err(FramesFlaw::Beyond { at, frame });
            }
            if let Some(before) = self.last.replace(frame)
                && before >= frame
            {
                return Err(FramesFlaw::Order { at, frame, before });
            }
            let list = if entry & ZERO == 0 { &mut self.frames.stored } else { &mut self.frames.zero };
            list.push(frame);
        }
        Ok(())
    }

    /// The list, whole. `stored` and `physical`: pages there have to be and can be.
    ///
    /// # Errors
    /// With the list, what is wrong with it.
    pub fn finish(self, stored: u64, physical: u64) -> (Frames, Option<FramesFlaw>) {
        let Self { frames, ended, pages, .. } = self;
        let found = frames.stored.len() as u64;
        let flaw = match ended {
            Some(page) if page < pages => Some(FramesFlaw::Early { page, pages }),
            _ if found != stored => Some(FramesFlaw::Stored { found, expected: stored }),
            _ if frames.len() > physical => Some(FramesFlaw::Many { found: frames.len(), physical }),
            _ => None,
        };
        (frames, flaw)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A page of the list.
    pub fn list(entries: &[u64]) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        for (slot, entry) in page.chunks_exact_mut(8).zip(entries.iter().chain([&END])) {
            slot.copy_from_slice(&entry.to_le_bytes());
        }
        page
    }

    fn read(pages: &[[u8; PAGE]], stored: u64) -> Result<Frames, FramesFlaw> {
        let mut list = FrameList::default();
        pages.iter().try_for_each(|page| list.page(page))?;
        let (frames, flaw) = list.finish(stored, 2000);
        flaw.map_or(Ok(frames), Err)
    }

    #[test]
    fn zero_pages_are_told_apart() {
        let frames = read(&[list(&[1, ZERO | 2, 5, ZERO | 9])], 2).unwrap();
        assert_eq!((&frames.stored[..], &frames.zero[..]), (&[1, 5][..], &[2, 9][..]));
        let all: Vec<_> = frames.iter().collect();
        assert_eq!(all, [(1, Kept::Stored(0)), (2, Kept::Zero), (5, Kept::Stored(1)), (9, Kept::Zero)]);
        assert_eq!(
            (frames.find(5), frames.find(9), frames.find(3)),
            (Some(Kept::Stored(1)), Some(Kept::Zero), None)
        );
    }

    #[test]
    fn a_full_page_has_no_end() {
        let full: Vec<u64> = (0..512).collect();
        assert_eq!(read(&[list(&full), list(&[600])], 513).unwrap().len(), 513);
        assert_eq!(read(&[list(&full)], 512).unwrap().len(), 512);
    }

    #[test]
    fn what_no_kernel_writes_is_refused() {
        assert_eq!(read(&[list(&[5, 5])], 2), Err(FramesFlaw::Order { at: 1, frame: 5, before: 5 }));
        assert_eq!(read(&[list(&[1 << 41])], 1), Err(FramesFlaw::Beyond { at: 0, frame: 1 << 41 }));
        assert_eq!(read(&[list(&[1]), list(&[2])], 2), Err(FramesFlaw::Early { page: 1, pages: 2 }));
        assert_eq!(read(&[list(&[1, ZERO | 2])], 2), Err(FramesFlaw::Stored { found: 1, expected: 2 }));
        assert_eq!(read(&[[0; PAGE]], 1), Err(FramesFlaw::Order { at: 1, frame: 0, before: 0 }));
    }

    proptest! {
        #[test]
        fn a_list_of_anything_is_ascending_or_refused(entries in prop::collection::vec(any::<u64>(), 0..512)) {
            let mut reader = FrameList::default();
            if reader.page(&list(&entries)).is_ok() {
                let (frames, _) = reader.finish(0, 0);
                let found: Vec<u64> = frames.iter().map(|(frame, _)| frame).collect();
                prop_assert!(found.is_sorted());
            }
        }
    }
}
