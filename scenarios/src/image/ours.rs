//! An image that one of our agents wrote to a partition ([`agent_protocol::image`]).

use std::ops::Range;

use agent_protocol::image::{HEADER_LEN, INDEX_OFFSET, ImageError, Index, PageEntry};
pub use agent_protocol::image::{Header, Kind, State};
use devices::disk::BaseError;
use thiserror::Error;

use super::PAGE;
use super::flaw::{FramesFlaw, InfoFlaw};
use super::frames::{FrameList, Frames, Kept, Page};
use super::info::Info;
use super::part::Part;

/// Most pages that are read: those of 64 GiB. No machine of ours has more, and the index of a hostile image could be larger than the
/// host.
const MOST_PAGES: u64 = 1 << 24;

/// The first thing wrong with an image of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OursFlaw {
    /// The host cannot read the disk.
    #[error("the disk cannot be read: {0}")]
    Unreadable(#[from] BaseError),
    /// What an agent refuses, too.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It is larger than where it is.
    #[error("image of {needed} bytes in a partition of {there}")]
    CutOff {
        /// Of its header.
        needed: u64,
        /// Of the partition.
        there: u64,
    },
    /// More than we read.
    #[error("image of {0} pages: more than {MOST_PAGES}, which is all that is read")]
    Large(u64),
    /// A stream of /dev/snapshot whose first page is wrong.
    #[error("stream of /dev/snapshot: {0}")]
    Info(#[from] InfoFlaw),
    /// A stream of /dev/snapshot whose list of page frames is wrong.
    #[error("stream of /dev/snapshot: {0}")]
    Frames(#[from] FramesFlaw),
    /// A stream of /dev/snapshot that has another length than its first page says.
    #[error("stream of /dev/snapshot: {found} pages, {expected} announced")]
    Length {
        /// In the image.
        found: u64,
        /// By swsusp_info.
        expected: u64,
    },
}

/// An image of ours, as far as it can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Ours {
    /// Where it is.
    pub part: Part,
    /// The commit record, if it is whole.
    pub header: Option<Header>,
    /// What /dev/snapshot says of a [`Kind::SnapshotStream`].
    pub info: Option<Info>,
    /// Page frames of the kernel's memory. In a stream, the stored ones are numbered as in the stream.
    pub frames: Frames,
    /// Pages of the image, whatever they are; the stored ones are numbered as they lie on the disk.
    entries: Frames,
    /// The first thing that is wrong; what comes behind it was not looked at.
    pub flaw: Option<OursFlaw>,
}

impl Ours {
    /// Reads and checks an image, all of it, once; of one in another state than [`State::Valid`] only the header. `None` where none is.
    ///
    /// # Errors
    /// [`BaseError`] for the header. Whatever else is wrong is [`Ours::flaw`].
    pub fn read(part: &Part) -> Result<Option<Self>, BaseError> {
        if !part.holds(0, HEADER_LEN as u64) {
            return Ok(None);
        }
        let mut sector = [0; HEADER_LEN];
        part.read(0, &mut sector)?;
        let mut image = Self {
            part: part.clone(),
            header: None,
            info: None,
            frames: Frames::default(),
            entries: Frames::default(),
            flaw: None,
        };
        match Header::decode(&sector) {
            Err(ImageError::Magic) => return Ok(None),
            Err(error) => image.flaw = Some(error.into()),
            Ok(header) => {
                // A consumed image is as it was; one that was not finished has nothing to check.
                let whole = matches!(header.state, State::Valid | State::Consumed);
                let flaw = if whole { image.examine(&header).err() } else { None };
                (image.header, image.flaw) = (Some(header), flaw);
            }
        }
        Ok(Some(image))
    }

    fn examine(&mut self, header: &Header) -> Result<(), OursFlaw> {
        if header.pages > MOST_PAGES {
            return Err(OursFlaw::Large(header.pages));
        }
        let needed = header.data_offset().saturating_add(header.stored.saturating_mul(PAGE as u64));
        if needed > self.part.bytes() {
            return Err(OursFlaw::CutOff { needed, there: self.part.bytes() });
        }
        let mut bytes = vec![0; usize::try_from(header.index_len()).unwrap_or(0)];
        self.part.read(INDEX_OFFSET, &mut bytes)?;
        let index = Index::decode(header, &bytes)?;
        let mut offset = header.data_offset();
        let mut page = [0; PAGE];
        for (frame, entry) in index.pages() {
            if entry == PageEntry::Zero {
                self.entries.zero.push(frame);
                continue;
            }
            self.part.read(offset, &mut page)?;
            entry.check(frame, &page)?;
            self.entries.stored.push(frame);
            offset = offset.saturating_add(PAGE as u64);
        }
        match header.kind {
            Kind::JumpedMemory => {
                self.frames = self.entries.clone();
                Ok(())
            }
            Kind::SnapshotStream => self.examine_stream(header),
        }
    }

    fn examine_stream(&mut self, header: &Header) -> Result<(), OursFlaw> {
        let first = self.entry(header, 0)?.ok_or(InfoFlaw::Absent)?;
        let info = Info::decode(first.bytes());
        let flaw = info.flaw(u64::MAX);
        let (pages, list_pages, stored) = (info.pages, info.list_pages(), info.image_pages);
        let physical = info.physical_pages;
        self.info = Some(info);
        flaw.map_or(Ok(()), Err)?;
        if pages != header.pages {
            return Err(OursFlaw::Length { found: header.pages, expected: pages });
        }
        let mut list = FrameList::default();
        let mut flaw = None;
        for number in 1..=list_pages {
            let page = self.entry(header, number)?.ok_or(InfoFlaw::Absent)?;
            flaw = list.page(page.bytes()).err();
            if flaw.is_some() {
                break;
            }
        }
        let (frames, whole) = list.finish(stored, physical);
        self.frames = frames;
        flaw.or(whole).map_or(Ok(()), |flaw| Err(flaw.into()))
    }

    /// A page of the image, by its number in the index.
    fn entry(&self, header: &Header, number: u64) -> Result<Option<Page>, BaseError> {
        match self.entries.find(number) {
            None => Ok(None),
            Some(Kept::Zero) => Ok(Some(Page::Zero)),
            Some(Kept::Stored(stored)) => self.stored(header, stored).map(Some),
        }
    }

    fn stored(&self, header: &Header, number: u64) -> Result<Page, BaseError> {
        let mut page = Box::new([0; PAGE]);
        self.part.read(Self::offset(header, number), page.as_mut_slice())?;
        Ok(Page::Stored(page))
    }

    fn offset(header: &Header, stored: u64) -> u64 {
        header.data_offset().saturating_add(stored.saturating_mul(PAGE as u64))
    }

    /// Whether an agent would enter it.
    pub fn is_valid(&self) -> bool {
        self.flaw.is_none() && self.header.as_ref().is_some_and(|header| header.state == State::Valid)
    }

    fn kept(&self, kept: Kept) -> Result<Option<Page>, OursFlaw> {
        let (Kept::Stored(stored), Some(header)) = (kept, &self.header) else { return Ok(Some(Page::Zero)) };
        match header.kind {
            Kind::JumpedMemory => Ok(Some(self.stored(header, stored)?)),
            Kind::SnapshotStream => {
                let Some(info) = &self.info else { return Ok(None) };
                Ok(self.entry(header, info.list_pages().saturating_add(1).saturating_add(stored))?)
            }
        }
    }

    /// The contents of a page frame; `None` if the image does not have it, or is damaged.
    ///
    /// # Errors
    /// [`OursFlaw::Unreadable`].
    pub fn page(&self, frame: u64) -> Result<Option<Page>, OursFlaw> {
        self.frames.find(frame).map_or(Ok(None), |kept| self.kept(kept))
    }

    /// All page frames with their contents, in ascending order, as far as the image can be read.
    pub fn pages(&self) -> impl Iterator<Item = Result<(u64, Page), OursFlaw>> + '_ {
        self.frames.iter().filter_map(|(frame, kept)| {
            self.kept(kept).map(|page| page.map(|page| (frame, page))).transpose()
        })
    }

    /// Where a page frame's contents lie on the disk, in bytes; `None` if they are zero, or the image does not have it.
    pub fn locate(&self, frame: u64) -> Option<Range<u64>> {
        let header = self.header.as_ref()?;
        let Kept::Stored(mut stored) = self.frames.find(frame)? else { return None };
        if header.kind == Kind::SnapshotStream {
            let number = self.info.as_ref()?.list_pages().checked_add(1)?.checked_add(stored)?;
            let Kept::Stored(there) = self.entries.find(number)? else { return None };
            stored = there;
        }
        let start = self.part.start().saturating_add(Self::offset(header, stored));
        Some(start..start.saturating_add(PAGE as u64))
    }

    /// Where header, index and pages lie on the disk, in bytes.
    pub fn pieces(&self) -> Option<[Range<u64>; 3]> {
        let header = self.header.as_ref()?;
        let start = self.part.start();
        let piece = |from: u64, len: u64| {
            let from = start.saturating_add(from);
            from..from.saturating_add(len)
        };
        Some([
            piece(0, HEADER_LEN as u64),
            piece(INDEX_OFFSET, header.index_len()),
            piece(header.data_offset(), header.stored.saturating_mul(PAGE as u64)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::tests::list;
    use super::super::info;
    use super::*;
    use agent_protocol::image::Extent;
    use devices::disk::Media;
    use proptest::prelude::*;

    fn image(kind: Kind, state: State, first: u64, pages: &[[u8; PAGE]]) -> Media {
        let entries: Vec<_> = pages.iter().map(|page| PageEntry::of(page)).collect();
        let index = Index { extents: vec![Extent { first, count: pages.len() as u64 }], entries };
        let stored: Vec<_> = pages.iter().filter(|page| PageEntry::of(*page) != PageEntry::Zero).collect();
        let header = Header {
            state,
            pages: pages.len() as u64,
            stored: stored.len() as u64,
            extents: 1,
            index_crc: crc32fast::hash(&index.encode()),
            release: "6.12".into(),
            ..Header::writing(kind)
        };
        let mut media = Media::blank(64 * 4096).unwrap();
        media.write(0, &header.encode()).unwrap();
        media.write(INDEX_OFFSET, &index.encode()).unwrap();
        for (page, number) in stored.into_iter().zip(0..) {
            media.write(header.data_offset() + number * 4096, page).unwrap();
        }
        media
    }

    fn read(media: &Media) -> Ours {
        Ours::read(&Part::whole(media)).unwrap().unwrap()
    }

    fn memory() -> Media {
        image(Kind::JumpedMemory, State::Valid, 16, &[[1; PAGE], [0; PAGE], [3; PAGE]])
    }

    fn stream() -> Media {
        let zero = 1 << 63;
        let pages = [info::tests::page(100, 2, 4), list(&[7, zero | 8, 9]), [1; PAGE], [0; PAGE]];
        image(Kind::SnapshotStream, State::Valid, 0, &pages)
    }

    #[test]
    fn memory_is_read_back() {
        let image = read(&memory());
        assert!(image.is_valid(), "{:?}", image.flaw);
        let pages: Vec<_> =
            image.pages().map(|page| page.unwrap()).map(|(frame, page)| (frame, page.bytes()[9])).collect();
        assert_eq!(pages, [(16, 1), (17, 0), (18, 3)]);
        assert_eq!(image.page(17).unwrap(), Some(Page::Zero));
        assert_eq!(image.page(19).unwrap(), None);
        assert_eq!((image.locate(18), image.locate(17)), (Some(3 * 4096..4 * 4096), None));
    }

    /// A page can be zero in the stream and yet not be marked so in the list, as 6.1 writes it.
    #[test]
    fn a_stream_is_read_through_both_lists() {
        let image = read(&stream());
        assert!(image.is_valid(), "{:?}", image.flaw);
        let pages: Vec<_> =
            image.pages().map(|page| page.unwrap()).map(|(frame, page)| (frame, page.bytes()[9])).collect();
        assert_eq!(pages, [(7, 1), (8, 0), (9, 0)]);
        assert_eq!(image.info.as_ref().unwrap().image_pages, 2);
        assert_eq!((image.locate(7).map(|range| range.start), image.locate(9)), (Some(4 * 4096), None));
    }

    #[test]
    fn what_is_damaged_is_said() {
        let mut media = memory();
        media.write(3 * 4096, &[4]).unwrap();
        assert!(matches!(
            read(&media).flaw,
            Some(OursFlaw::Image(ImageError::PageChecksum { frame: 18, .. }))
        ));
        let mut media = memory();
        media.write(INDEX_OFFSET + 17, &[4]).unwrap();
        assert!(matches!(read(&media).flaw, Some(OursFlaw::Image(ImageError::IndexChecksum { .. }))));
        let part = Part::of(&memory(), &(0..3 * 4096));
        let cut = Ours::read(&part).unwrap().unwrap();
        assert_eq!(cut.flaw, Some(OursFlaw::CutOff { needed: 4 * 4096, there: 3 * 4096 }));
        let short = [info::tests::page(100, 2, 4), list(&[7, 9]), [1; PAGE]];
        let short = read(&image(Kind::SnapshotStream, State::Valid, 0, &short));
        assert_eq!(short.flaw, Some(OursFlaw::Length { found: 3, expected: 4 }));
        let huge =
            Header { state: State::Valid, pages: 1 << 30, extents: 1, ..Header::writing(Kind::JumpedMemory) };
        let mut media = Media::blank(1 << 50).unwrap();
        media.write(0, &huge.encode()).unwrap();
        assert_eq!(read(&media).flaw, Some(OursFlaw::Large(1 << 30)));
    }

    #[test]
    fn an_image_that_is_not_finished_is_not_examined() {
        let mut media = image(Kind::JumpedMemory, State::Writing, 16, &[[1; PAGE]]);
        media.write(INDEX_OFFSET, &[1; 4096]).unwrap();
        let image = read(&media);
        assert_eq!((image.flaw.clone(), image.is_valid()), (None, false));
        assert_eq!(Ours::read(&Part::whole(&Media::blank(1 << 20).unwrap())).unwrap(), None);
        assert_eq!(Ours::read(&Part::of(&media, &(0..100))).unwrap(), None);
    }

    proptest! {
        /// No flipped bit of index and pages is missed, and none does harm.
        #[test]
        fn a_flipped_bit_is_seen(of_stream: bool, bit in 4096usize * 8..5 * 4096 * 8) {
            let media = if of_stream { stream() } else { memory() };
            let header = read(&media).header.unwrap();
            let at = (bit / 8) as u64;
            let (index, data) = (INDEX_OFFSET..INDEX_OFFSET + header.index_len(), header.data_offset()..header.data_offset() + header.stored * 4096);
            let mut flipped = media.clone();
            let mut byte = [0];
            flipped.read(at, &mut byte).unwrap();
            flipped.write(at, &[byte[0] ^ 1 << (bit % 8)]).unwrap();
            let image = read(&flipped);
            prop_assert_eq!(image.flaw.is_some(), index.contains(&at) || data.contains(&at));
            image.pages().for_each(drop);
        }
    }
}
