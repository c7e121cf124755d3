//! An image that swsusp wrote to swap: header, map, first page, list of page frames, pages.

use std::ops::Range;

use devices::disk::BaseError;

use super::PAGE;
use super::flaw::{Flaw, FramesFlaw, InfoFlaw, Reaction, UnitFlaw};
use super::frames::{FrameList, Frames, Kept, Page};
use super::info::Info;
use super::part::Part;
use super::swap_header::{Compression, Flags, State, SwapHeader};
use super::swap_map::SwapMap;
use super::units::{self, Crc, UNPACKED, Unit};

/// What a stretch of the disk is to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The header of swap: the commit record.
    Header,
    /// A page of the map; its number in the chain.
    Map(usize),
    /// The first page, which no CRC protects.
    Info,
    /// Pages, compressed or not, the list of page frames in front. Governed by the page of the map with this number.
    Data(usize),
}

/// An image in swap, as far as it can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Swsusp {
    /// Where the swap area is.
    pub part: Part,
    /// Byte of the part at which the header is: 0 of a partition, and with a swap file `resume_offset` pages.
    pub header_at: u64,
    /// The header.
    pub header: SwapHeader,
    /// The map.
    pub map: SwapMap,
    /// The first page, if the map leads to it.
    pub info: Option<Info>,
    /// Its page frames.
    pub frames: Frames,
    /// Compressed units, in order. None without compression.
    pub units: Vec<Unit>,
    /// CRC of all pages behind the first, if they are compressed and all could be read.
    pub crc32: Option<u32>,
    /// The first thing that is wrong; what comes behind it was not looked at.
    pub flaw: Option<Flaw>,
}

/// Where a page frame of an image lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Nowhere: it is zero.
    Zero,
    /// In these slots of the part, alone or in a unit; the page of the map that governs each.
    Slots(Vec<(u64, usize)>),
}

impl Swsusp {
    /// Reads and checks an image; all of it is read once if it is compressed, and all but the pages if it is not. An image that was
    /// consumed reads as it did before, unless its slots were used since. `None` where no swap is, or swap without an image.
    ///
    /// # Errors
    /// [`BaseError`] for the header. Whatever else is wrong is [`Swsusp::flaw`].
    pub fn read(part: &Part, header_at: u64) -> Result<Option<Self>, BaseError> {
        let header = match header(part, header_at)? {
            Some(header) if header.state != State::Empty => header,
            _ => return Ok(None),
        };
        let mut image = Self {
            part: part.clone(),
            header_at,
            header,
            map: SwapMap::default(),
            info: None,
            frames: Frames::default(),
            units: Vec::new(),
            crc32: None,
            flaw: None,
        };
        image.flaw = image.examine().err();
        Ok(Some(image))
    }

    fn examine(&mut self) -> Result<(), Flaw> {
        if !self.header.comes_back_as_swap() {
            let value = format!("{:?}", self.header.original);
            return Err(Flaw::Header { field: "original signature", value });
        }
        let (map, flaw) = SwapMap::read(&self.part, self.header_at / PAGE as u64, self.header.image);
        self.map = map;
        let info = self.read_info();
        flaw.map_or(Ok(()), Err)?;
        info?;
        match self.header.compression() {
            Compression::None => self.examine_plain(),
            compression => self.examine_units(compression),
        }
    }

    /// Pages the image can have at most, given its map.
    fn most(&self) -> u64 {
        match self.header.compression() {
            Compression::None => self.map.len(),
            _ => self.map.len().saturating_mul((UNPACKED / PAGE) as u64),
        }
    }

    fn read_info(&mut self) -> Result<(), Flaw> {
        let slot = self.map.slot(0).ok_or(Flaw::Info(InfoFlaw::Absent))?;
        let info = Info::decode(&*self.part.slot(slot)?);
        // What a plain image lacks is said more exactly by its map.
        let most = if self.header.compression() == Compression::None { u64::MAX } else { self.most() };
        let flaw = info.flaw(most);
        self.info = Some(info);
        flaw.map_or(Ok(()), |flaw| Err(flaw.into()))
    }

    /// Counts of pages: of the list, stored, all, and of RAM.
    fn counts(&self) -> Option<(u64, u64, u64, u64)> {
        let info = self.info.as_ref()?;
        Some((info.list_pages(), info.image_pages, info.pages, info.physical_pages))
    }

    fn examine_plain(&mut self) -> Result<(), Flaw> {
        let (list_pages, stored, pages, physical) = self.counts().ok_or(InfoFlaw::Absent)?;
        let there = self.map.len();
        if there < pages {
            let (page, entry) = SwapMap::governs(there);
            return Err(Flaw::MapShort { page, entry, missing: pages - there, pages });
        }
        let mut list = FrameList::default();
        let mut flaw = None;
        for slot in self.map.slots().skip(1).take(usize::try_from(list_pages).unwrap_or(usize::MAX)) {
            flaw = list.page(&*self.part.slot(slot)?).err();
            if flaw.is_some() {
                break;
            }
        }
        self.take_list(list, flaw, stored, physical)?;
        if there > pages { Err(Flaw::MapLong { extra: there - pages }) } else { Ok(()) }
    }

    /// Keeps what was read of the list. `flaw`: at which reading stopped.
    fn take_list(
        &mut self,
        list: FrameList,
        flaw: Option<FramesFlaw>,
        stored: u64,
        physical: u64,
    ) -> Result<(), Flaw> {
        let (frames, whole) = list.finish(stored, physical);
        self.frames = frames;
        flaw.or(whole).map_or(Ok(()), |flaw| Err(flaw.into()))
    }

    fn examine_units(&mut self, compression: Compression) -> Result<(), Flaw> {
        let (list_pages, stored, pages, physical) = self.counts().ok_or(InfoFlaw::Absent)?;
        let mut list = Some(FrameList::default());
        let mut crc = Crc::default();
        let (mut page, mut slot) = (1, 1);
        while page < pages {
            let (unit, unpacked) = self.unit(compression, slot, page, pages)?;
            crc.update(&unpacked);
            self.units.push(unit);
            let (contents, _) = unpacked.as_chunks::<PAGE>();
            for (number, contents) in (page..).zip(contents).take_while(|(number, _)| *number <= list_pages) {
                let flaw = list.as_mut().and_then(|list| list.page(contents).err());
                if (flaw.is_some() || number == list_pages)
                    && let Some(list) = list.take()
                {
                    self.take_list(list, flaw, stored, physical)?;
                }
            }
            (page, slot) = (page + unit.pages, slot + unit.slots);
        }
        let found = crc.value();
        self.crc32 = Some(found);
        let protected = self.header.flags.contains(Flags::CRC32);
        if protected && found != self.header.crc32 {
            return Err(Flaw::Crc { stored: self.header.crc32, found });
        }
        if page > pages {
            let last = self.units.len().saturating_sub(1);
            return Err(self.unit_flaw(last, slot, UnitFlaw::Extra(page - pages)));
        }
        let there = self.map.len();
        if there > slot { Err(Flaw::MapLong { extra: there - slot }) } else { Ok(()) }
    }

    fn unit_flaw(&self, unit: usize, slot: u64, what: UnitFlaw) -> Flaw {
        Flaw::Unit { unit, slot: self.map.slot(slot).unwrap_or(0), what }
    }

    /// The unit that begins in the slot with this number, unpacked.
    fn unit(
        &self,
        compression: Compression,
        number: u64,
        page: u64,
        pages: u64,
    ) -> Result<(Unit, Vec<u8>), Flaw> {
        let Some(slot) = self.map.slot(number) else {
            let ((map, entry), missing) = (SwapMap::governs(number), pages.saturating_sub(page));
            return Err(Flaw::MapShort { page: map, entry, missing, pages });
        };
        let flaw = |what| self.unit_flaw(self.units.len(), number, what);
        let packed = units::packed_len(&*self.part.slot(slot)?).map_err(flaw)?;
        let slots = units::slots_of(packed);
        let there = self.map.len().saturating_sub(number);
        if slots > there {
            return Err(flaw(UnitFlaw::CutOff { needed: slots, there }));
        }
        let unit = Unit { slot: number, slots, packed, page, pages: 0 };
        let unpacked = self.unpack(compression, &unit)?.map_err(flaw)?;
        Ok((Unit { pages: (unpacked.len() / PAGE) as u64, ..unit }, unpacked))
    }

    fn unpack(&self, compression: Compression, unit: &Unit) -> Result<Result<Vec<u8>, UnitFlaw>, BaseError> {
        let mut bytes = Vec::new();
        for slot in
            (unit.slot..unit.slot.saturating_add(unit.slots)).filter_map(|number| self.map.slot(number))
        {
            bytes.extend_from_slice(self.part.slot(slot)?.as_slice());
        }
        Ok(units::unpack(compression, &bytes, unit.packed))
    }

    /// Whether something protects the pages.
    pub fn is_protected(&self) -> bool {
        self.header.compression() != Compression::None && self.header.flags.contains(Flags::CRC32)
    }

    /// What a kernel with the same memory makes of the image.
    pub fn reaction(&self) -> Option<Reaction> {
        self.flaw.as_ref().map(|flaw| flaw.reaction(self.is_protected()))
    }

    /// Compressed bytes of all units.
    pub fn packed(&self) -> u64 {
        self.units.iter().fold(0, |sum, unit| sum.saturating_add(unit.packed))
    }

    /// The unit that has a page of the image.
    fn unit_of(&self, page: u64) -> Option<&Unit> {
        let behind = self.units.partition_point(|unit| unit.page <= page);
        let unit = self.units.get(behind.checked_sub(1)?)?;
        (page < unit.page.saturating_add(unit.pages)).then_some(unit)
    }

    /// The page of the image in which a stored page is.
    fn page_of(&self, stored: u64) -> Option<u64> {
        self.info.as_ref()?.list_pages().checked_add(1)?.checked_add(stored)
    }

    /// Where a page frame lies; `None` if the image does not have it.
    pub fn locate(&self, frame: u64) -> Option<Location> {
        let stored = match self.frames.find(frame)? {
            Kept::Zero => return Some(Location::Zero),
            Kept::Stored(stored) => stored,
        };
        let page = self.page_of(stored)?;
        let numbers = match self.header.compression() {
            Compression::None => page..page.saturating_add(1),
            _ => self.unit_of(page).map(|unit| unit.slot..unit.slot.saturating_add(unit.slots))?,
        };
        let slots = numbers.filter_map(|number| Some((self.map.slot(number)?, SwapMap::governs(number).0)));
        Some(Location::Slots(slots.collect()))
    }

    /// The contents of a page frame; `None` if the image does not have it, or lies damaged before it.
    ///
    /// # Errors
    /// [`Flaw`] if the disk changed or cannot be read.
    pub fn page(&self, frame: u64) -> Result<Option<Page>, Flaw> {
        let Some(kept) = self.frames.find(frame) else { return Ok(None) };
        Reader { image: self, unpacked: None }.page(kept)
    }

    /// All page frames with their contents, in ascending order, as far as the image can be read.
    pub fn pages(&self) -> impl Iterator<Item = Result<(u64, Page), Flaw>> + '_ {
        let mut reader = Reader { image: self, unpacked: None };
        self.frames.iter().filter_map(move |(frame, kept)| {
            reader.page(kept).map(|page| page.map(|page| (frame, page))).transpose()
        })
    }

    /// Where each piece lies on the disk, in bytes: in the order in which a kernel reads them, neighbours of one role in one.
    pub fn pieces(&self) -> Vec<(Role, Range<u64>)> {
        let header = self.part.start().saturating_add(self.header_at);
        let mut pieces = vec![(Role::Header, header..header.saturating_add(PAGE as u64))];
        let maps = (0..).zip(&self.map.pages).map(|(number, page)| (Role::Map(number), page.slot));
        let data = (0..).zip(self.map.slots()).map(|(number, slot)| {
            (if number == 0 { Role::Info } else { Role::Data(SwapMap::governs(number).0) }, slot)
        });
        for (role, slot) in maps.chain(data) {
            let range = self.part.on_disk(slot);
            match pieces.last_mut() {
                Some((before, piece)) if *before == role && piece.end == range.start => piece.end = range.end,
                _ => pieces.push((role, range)),
            }
        }
        pieces
    }

    /// What the kernel that sleeps calls itself: its banner, found in its read-only data.
    pub fn banner(&self) -> Option<String> {
        banner(self.info.as_ref()?.jump?.physical / PAGE as u64, self.pages())
    }
}

/// Reads pages one after the other, and unpacks no unit twice in a row.
struct Reader<'a> {
    image: &'a Swsusp,
    unpacked: Option<(Unit, Vec<u8>)>,
}

impl Reader<'_> {
    fn page(&mut self, kept: Kept) -> Result<Option<Page>, Flaw> {
        let Kept::Stored(stored) = kept else { return Ok(Some(Page::Zero)) };
        let Some(page) = self.image.page_of(stored) else { return Ok(None) };
        if self.image.header.compression() == Compression::None {
            let Some(slot) = self.image.map.slot(page) else { return Ok(None) };
            return Ok(Some(Page::Stored(self.image.part.slot(slot)?)));
        }
        let Some(unit) = self.image.unit_of(page) else { return Ok(None) };
        if self.unpacked.as_ref().is_none_or(|(there, _)| there != unit) {
            let flaw = |what| self.image.unit_flaw(0, unit.slot, what);
            let unpacked = self.image.unpack(self.image.header.compression(), unit)?.map_err(flaw)?;
            self.unpacked = Some((*unit, unpacked));
        }
        let Some((_, unpacked)) = &self.unpacked else { return Ok(None) };
        let number = usize::try_from(page.saturating_sub(unit.page)).unwrap_or(usize::MAX);
        Ok(unpacked.as_chunks::<PAGE>().0.get(number).map(|bytes| Page::Stored(Box::new(*bytes))))
    }
}

/// The header of swap, if there is swap at this byte.
///
/// # Errors
/// [`BaseError`].
pub fn header(part: &Part, header_at: u64) -> Result<Option<SwapHeader>, BaseError> {
    if !part.holds(header_at, PAGE as u64) {
        return Ok(None);
    }
    let mut page = [0; PAGE];
    part.read(header_at, &mut page)?;
    Ok(SwapHeader::decode(&page))
}

/// The first "Linux version ..." in memory from this page frame on, and not far behind it: read-only data follows the kernel's text.
pub(super) fn banner<E>(first: u64, pages: impl Iterator<Item = Result<(u64, Page), E>>) -> Option<String> {
    const WORDS: &[u8] = b"Linux version ";
    const FAR: u64 = (64 << 20) / PAGE as u64;
    const LONG: usize = 256;
    let near = pages.map_while(Result::ok).skip_while(|(frame, _)| *frame < first);
    // The end of the page before, in which one may begin.
    let mut text = Vec::new();
    for (_, page) in near.take_while(|(frame, _)| *frame - first < FAR) {
        let kept = text.len();
        text.extend_from_slice(page.bytes());
        let lines = memchr::memmem::find_iter(&text, WORDS).filter(|at| at + LONG <= text.len());
        let mut lines =
            lines.filter_map(|at| text.get(at..at + LONG)?.split(|byte| matches!(byte, 0 | b'\n')).next());
        // What it is printed by begins with the same words.
        if let Some(line) = lines.find(|line| line.get(WORDS.len()).is_some_and(u8::is_ascii_digit)) {
            return Some(String::from_utf8_lossy(line).into_owned());
        }
        text.drain(..kept + PAGE - LONG.min(kept + PAGE));
    }
    None
}
