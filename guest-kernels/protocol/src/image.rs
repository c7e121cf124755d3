//! The on-disk image of a sleeping kernel: a [`Header`], an [`Index`] of pages, the pages.
//!
//! ```text
//! byte 0        header, one sector of 512 bytes, little endian; the rest of its 4 KiB block is zero
//! byte 4096     index: extents, 16 bytes each (first page frame u64, count u64), then one u64 a page:
//!               0 for a page of zeros, else 1 << 32 | CRC-32 (IEEE) of the page
//! index end     rounded up to 4096: the pages that are not zero, in the order of the index
//! ```
//!
//! The header is the commit record, and the only block that is ever rewritten. Its life:
//!
//! 1. [`State::Writing`] is made durable before anything else of the partition is touched, so an older image cannot
//!    be taken for the new one.
//! 2. Index and pages are written and flushed, and so is every disk the sleeping kernel used.
//! 3. [`State::Valid`] is made durable: from here on, and not before, the image can be restored.
//! 4. [`State::Consumed`] is made durable *before* the sleeping kernel is entered, by whichever kernel enters it: an image is
//!    entered at most once. A power cut after that is a cold boot, never a second resume.
//!
//! [`State::Failed`] replaces step 3 where saving went wrong; it tells the kernel that is jumped back to why.
//! One sector is written atomically by any disk; a torn one fails its checksum and is refused.

use thiserror::Error;

/// Bytes of a page and of a block of the image.
pub const PAGE: usize = 4096;

/// Bytes of the header.
pub const HEADER_LEN: usize = 512;

/// Where the index begins, in bytes.
pub const INDEX_OFFSET: u64 = PAGE as u64;

/// Most pages an image can have: 4 TiB of memory. Bounds what a damaged header can make a reader allocate.
pub const MAX_PAGES: u64 = 1 << 30;

/// Most extents an image can have.
pub const MAX_EXTENTS: u32 = 1024;

const MAGIC: [u8; 8] = *b"KJVMIMG\n";
const VERSION: u32 = 1;
const RELEASE_LEN: usize = 65;

/// Where an image is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Being written: nothing can be restored.
    Writing,
    /// Complete and durable.
    Valid,
    /// Entered, or about to be.
    Consumed,
    /// Saving failed with this errno.
    Failed(i32),
}

/// What the pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Physical memory of a kernel that jumped away; [`Header::entry`] is where it continues.
    JumpedMemory,
    /// What /dev/snapshot gave out, in one extent from page 0.
    SnapshotStream,
}

/// Which check refused an image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImageError {
    /// No image was ever written here.
    #[error("image header magic: not an image")]
    Magic,
    /// Written by another version.
    #[error("image header version: {0}, this side reads {VERSION}")]
    Version(u32),
    /// The header was torn or damaged.
    #[error("image header checksum: {stored:#010x} stored, {found:#010x} found")]
    HeaderChecksum {
        /// In the header.
        stored: u32,
        /// Of the header.
        found: u32,
    },
    /// A field has a value no writer gives it.
    #[error("image header {field}: {value:#x} is impossible")]
    Field {
        /// Which.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The image is not to be restored.
    #[error("image state: {}", match .0 {
        State::Writing => "saving was not finished".to_owned(),
        State::Valid => "valid".to_owned(),
        State::Consumed => "already consumed".to_owned(),
        State::Failed(errno) => format!("saving failed with errno {errno}"),
    })]
    State(State),
    /// Another kind of image than asked for.
    #[error("image kind: {0:?}")]
    Kind(Kind),
    /// The index was damaged.
    #[error("image index checksum: {stored:#010x} stored, {found:#010x} found")]
    IndexChecksum {
        /// In the header.
        stored: u32,
        /// Of the index.
        found: u32,
    },
    /// The index contradicts the header or itself.
    #[error("image index: {0}")]
    Index(&'static str),
    /// A page was damaged.
    #[error("image page checksum: page frame {frame:#x}, {stored:#010x} stored, {found:#010x} found")]
    PageChecksum {
        /// Its page frame.
        frame: u64,
        /// In the index.
        stored: u32,
        /// Of the page.
        found: u32,
    },
}

/// The commit record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Where the image is in its life.
    pub state: State,
    /// What it holds.
    pub kind: Kind,
    /// Physical address at which the sleeping kernel continues; 0 for [`Kind::SnapshotStream`].
    pub entry: u64,
    /// Pages the image describes.
    pub pages: u64,
    /// Pages that are not zero and therefore stored.
    pub stored: u64,
    /// Extents in the index.
    pub extents: u32,
    /// CRC-32 of the index.
    pub index_crc: u32,
    /// uname -r of the sleeping kernel, for people; at most 65 bytes.
    pub release: String,
}

impl Header {
    /// A header for an image about to be written.
    pub fn writing(kind: Kind) -> Header {
        Header {
            state: State::Writing,
            kind,
            entry: 0,
            pages: 0,
            stored: 0,
            extents: 0,
            index_crc: 0,
            release: String::new(),
        }
    }

    /// As on disk.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let (state, errno) = match self.state {
            State::Writing => (1u32, 0),
            State::Valid => (2, 0),
            State::Consumed => (3, 0),
            State::Failed(errno) => (4, errno),
        };
        let kind = match self.kind {
            Kind::JumpedMemory => 1u32,
            Kind::SnapshotStream => 2,
        };
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&state.to_le_bytes());
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&errno.to_le_bytes());
        out.extend_from_slice(&self.entry.to_le_bytes());
        out.extend_from_slice(&self.pages.to_le_bytes());
        out.extend_from_slice(&self.stored.to_le_bytes());
        out.extend_from_slice(&self.extents.to_le_bytes());
        out.extend_from_slice(&self.index_crc.to_le_bytes());
        out.extend(self.release.bytes().take(RELEASE_LEN));
        let mut sector = [0; HEADER_LEN];
        sector[..out.len()].copy_from_slice(&out);
        let crc = crc32fast::hash(&sector[..HEADER_LEN - 4]);
        sector[HEADER_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        sector
    }

    /// Reads a header and checks everything that can be checked without the rest of the image.
    ///
    /// # Errors
    /// The first check that fails. The state is not among them: see [`Header::restorable`].
    pub fn decode(sector: &[u8; HEADER_LEN]) -> Result<Header, ImageError> {
        if sector[..8] != MAGIC {
            return Err(ImageError::Magic);
        }
        let mut fields = Fields { rest: &sector[8..] };
        let version = fields.u32();
        if version != VERSION {
            return Err(ImageError::Version(version));
        }
        let found = crc32fast::hash(&sector[..HEADER_LEN - 4]);
        let stored = Fields { rest: &sector[HEADER_LEN - 4..] }.u32();
        if found != stored {
            return Err(ImageError::HeaderChecksum { stored, found });
        }
        let (state, kind, errno) = (fields.u32(), fields.u32(), fields.u32().cast_signed());
        let state = match state {
            1 => State::Writing,
            2 => State::Valid,
            3 => State::Consumed,
            4 => State::Failed(errno),
            other => return Err(ImageError::Field { field: "state", value: other.into() }),
        };
        let kind = match kind {
            1 => Kind::JumpedMemory,
            2 => Kind::SnapshotStream,
            other => return Err(ImageError::Field { field: "kind", value: other.into() }),
        };
        let (entry, pages, pages_stored) = (fields.u64(), fields.u64(), fields.u64());
        let (extents, index_crc) = (fields.u32(), fields.u32());
        let release = fields.rest.iter().take(RELEASE_LEN).copied().take_while(|&byte| byte != 0).collect();
        let release = String::from_utf8(release).unwrap_or_default();
        if pages > MAX_PAGES {
            return Err(ImageError::Field { field: "pages", value: pages });
        }
        if pages_stored > pages {
            return Err(ImageError::Field { field: "stored pages", value: pages_stored });
        }
        if extents > MAX_EXTENTS || u64::from(extents) > pages {
            return Err(ImageError::Field { field: "extents", value: extents.into() });
        }
        Ok(Header { state, kind, entry, pages, stored: pages_stored, extents, index_crc, release })
    }

    /// Whether the image may be entered.
    ///
    /// # Errors
    /// [`ImageError::State`] unless it is [`State::Valid`], [`ImageError::Kind`] if it is of another kind.
    pub fn restorable(&self, kind: Kind) -> Result<(), ImageError> {
        match self.state {
            State::Valid if self.kind == kind => Ok(()),
            State::Valid => Err(ImageError::Kind(self.kind)),
            other => Err(ImageError::State(other)),
        }
    }

    /// Bytes of the index.
    pub fn index_len(&self) -> u64 {
        index_len(self.extents, self.pages)
    }

    /// Where the first stored page is, in bytes.
    pub fn data_offset(&self) -> u64 {
        data_offset(self.extents, self.pages)
    }
}

// Cannot overflow: both factors are bounded by MAX_EXTENTS and MAX_PAGES.
fn index_len(extents: u32, pages: u64) -> u64 {
    u64::from(extents) * 16 + pages * 8
}

fn data_offset(extents: u32, pages: u64) -> u64 {
    (INDEX_OFFSET + index_len(extents, pages)).next_multiple_of(PAGE as u64)
}

/// Little-endian fields from the front of a slice; zeros after its end.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        if let Some((head, tail)) = self.rest.split_first_chunk::<N>() {
            out = *head;
            self.rest = tail;
        } else {
            self.rest = &[];
        }
        out
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
}

/// A run of page frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First page frame.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What the index says of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageEntry {
    /// Zeros, not stored.
    Zero,
    /// Stored; CRC-32 of its bytes.
    Stored(u32),
}

impl PageEntry {
    /// Of a page's contents.
    pub fn of(page: &[u8]) -> PageEntry {
        // In large steps: the check runs over the whole memory of the sleeping kernel.
        let (words, tail) = page.as_chunks::<16>();
        if tail.is_empty() && words.iter().all(|word| *word == [0; 16]) {
            PageEntry::Zero
        } else {
            PageEntry::Stored(crc32fast::hash(page))
        }
    }

    /// Checks a stored page.
    ///
    /// # Errors
    /// [`ImageError::PageChecksum`].
    pub fn check(self, frame: u64, page: &[u8]) -> Result<(), ImageError> {
        match self {
            PageEntry::Stored(stored) => {
                let found = crc32fast::hash(page);
                if found == stored { Ok(()) } else { Err(ImageError::PageChecksum { frame, stored, found }) }
            }
            PageEntry::Zero => Ok(()),
        }
    }
}

/// Which pages the image describes, in order, and what each is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Index {
    /// Ascending, without overlap.
    pub extents: Vec<Extent>,
    /// One for each page of the extents, in order.
    pub entries: Vec<PageEntry>,
}

impl Index {
    /// Where the first stored page will be, in bytes, for an image of these extents: known before the pages are.
    pub fn data_offset(extents: &[Extent]) -> u64 {
        let pages = extents.iter().fold(0u64, |sum, extent| sum.saturating_add(extent.count)).min(MAX_PAGES);
        data_offset(u32::try_from(extents.len()).unwrap_or(MAX_EXTENTS), pages)
    }

    /// As on disk, without padding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.extents.len() * 16 + self.entries.len() * 8);
        for extent in &self.extents {
            out.extend_from_slice(&extent.first.to_le_bytes());
            out.extend_from_slice(&extent.count.to_le_bytes());
        }
        for entry in &self.entries {
            let word = match entry {
                PageEntry::Zero => 0u64,
                PageEntry::Stored(crc) => 1 << 32 | u64::from(*crc),
            };
            out.extend_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// Reads the index that belongs to a header. `bytes` are exactly [`Header::index_len`] bytes.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn decode(header: &Header, bytes: &[u8]) -> Result<Index, ImageError> {
        if bytes.len() as u64 != header.index_len() {
            return Err(ImageError::Index("truncated"));
        }
        let found = crc32fast::hash(bytes);
        if found != header.index_crc {
            return Err(ImageError::IndexChecksum { stored: header.index_crc, found });
        }
        let mut fields = Fields { rest: bytes };
        let mut index = Index::default();
        let (mut next, mut pages) = (0u64, 0u64);
        for _ in 0..header.extents {
            let extent = Extent { first: fields.u64(), count: fields.u64() };
            let end = extent.first.checked_add(extent.count).filter(|end| *end <= u64::MAX / PAGE as u64);
            let Some(end) = end else { return Err(ImageError::Index("extent outside the address space")) };
            if extent.first < next || extent.count == 0 {
                return Err(ImageError::Index("extents overlap or are out of order"));
            }
            next = end;
            pages = pages.saturating_add(extent.count);
            index.extents.push(extent);
        }
        if pages != header.pages {
            return Err(ImageError::Index("extents and page count differ"));
        }
        let mut stored = 0u64;
        for _ in 0..header.pages {
            let word = fields.u64();
            index.entries.push(match (word >> 32, word as u32) {
                (0, 0) => PageEntry::Zero,
                (1, crc) => {
                    stored += 1;
                    PageEntry::Stored(crc)
                }
                _ => return Err(ImageError::Index("unknown page entry")),
            });
        }
        if stored != header.stored {
            return Err(ImageError::Index("stored pages and their count differ"));
        }
        Ok(index)
    }

    /// Page frames with their entries, in order.
    pub fn pages(&self) -> impl Iterator<Item = (u64, PageEntry)> + '_ {
        let frames =
            self.extents.iter().flat_map(|extent| extent.first..extent.first.saturating_add(extent.count));
        frames.zip(self.entries.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn small() -> (Header, Index) {
        let index = Index {
            extents: vec![Extent { first: 1, count: 2 }, Extent { first: 0x8000, count: 1 }],
            entries: vec![PageEntry::Stored(7), PageEntry::Zero, PageEntry::Stored(0)],
        };
        let header = Header {
            state: State::Valid,
            kind: Kind::JumpedMemory,
            entry: 0x30c_30f2,
            pages: 3,
            stored: 2,
            extents: 2,
            index_crc: crc32fast::hash(&index.encode()),
            release: "6.12.0-primary".into(),
        };
        (header, index)
    }

    #[test]
    fn header_and_index_are_read_back() {
        let (header, index) = small();
        assert_eq!(Header::decode(&header.encode()), Ok(header.clone()));
        assert_eq!(Index::decode(&header, &index.encode()), Ok(index.clone()));
        assert_eq!(index.encode().len() as u64, header.index_len());
        assert_eq!(Index::data_offset(&index.extents), header.data_offset());
        let pages: Vec<_> = index.pages().collect();
        let expected = [(1, PageEntry::Stored(7)), (2, PageEntry::Zero), (0x8000, PageEntry::Stored(0))];
        assert_eq!(pages, expected);
    }

    #[test]
    fn every_state_is_read_back_and_only_a_valid_image_is_restorable() {
        for state in [State::Writing, State::Valid, State::Consumed, State::Failed(28)] {
            let header = Header { state, ..small().0 };
            let read = Header::decode(&header.encode()).unwrap();
            assert_eq!(read.state, state);
            assert_eq!(read.restorable(Kind::JumpedMemory).is_ok(), state == State::Valid);
            assert!(read.restorable(Kind::SnapshotStream).is_err());
        }
    }

    #[test]
    fn refusals_say_which_check_failed() {
        let (header, index) = small();
        let torn = {
            let mut sector = Header { state: State::Consumed, ..header.clone() }.encode();
            sector[256..].copy_from_slice(&header.encode()[256..]);
            Header::decode(&sector).unwrap_err()
        };
        let mut flipped = index.encode();
        flipped[40] ^= 4;
        insta::assert_snapshot!(
            [
                Header::decode(&[0; HEADER_LEN]).unwrap_err(),
                torn,
                ImageError::State(State::Consumed),
                ImageError::State(State::Writing),
                ImageError::State(State::Failed(28)),
                Index::decode(&header, &flipped).unwrap_err(),
                PageEntry::of(&[1; PAGE]).check(0x123, &[2; PAGE]).unwrap_err(),
            ]
            .map(|error| error.to_string())
            .join("\n")
        );
    }

    #[test]
    fn a_zero_page_is_not_stored() {
        assert_eq!(PageEntry::of(&[0; PAGE]), PageEntry::Zero);
        for at in [0, 1, 2047, PAGE - 1] {
            let mut page = [0; PAGE];
            page[at] = 1;
            assert_ne!(PageEntry::of(&page), PageEntry::Zero, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_of_the_header_is_refused(bit in 0..HEADER_LEN * 8) {
            let mut sector = small().0.encode();
            sector[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Header::decode(&sector).is_err());
        }

        #[test]
        fn a_hostile_index_never_panics(
            words in prop::collection::vec(any::<u64>(), 0..40), extents in 0u32..20, pages in 0u64..40,
        ) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let header = Header { extents, pages, index_crc: crc32fast::hash(&bytes), ..small().0 };
            if let Ok(index) = Index::decode(&header, &bytes) {
                prop_assert_eq!(index.entries.len() as u64, pages);
            }
        }
    }
}
