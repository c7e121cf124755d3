//! The memory itself.

use std::sync::Arc;

use thiserror::Error;
use vm_memory::{
    Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, GuestRegionMmap, MmapRegion,
};

use crate::{ForeignWrite, GuestMemory, HOLE_END, HOLE_START, PAGE_SIZE, PageMarks, Writer};

/// The most memory a machine can have.
pub const MAX_BYTES: u64 = 64 << 30;

/// Memory that cannot be had.
#[derive(Debug, Error)]
pub enum RamError {
    /// Not a size a machine can have.
    #[error("{0} bytes of memory: not a multiple of 4096 between 4096 and {MAX_BYTES}")]
    Size(u64),
    /// The host refuses.
    #[error("{bytes} bytes of memory: {reason}")]
    Host {
        /// How much was asked for.
        bytes: u64,
        /// What the host says.
        reason: String,
    },
}

/// Guest memory. Clones share it.
#[derive(Debug, Clone)]
pub struct GuestRam {
    memory: Arc<GuestMemory>,
    /// Below the hole, and above it if there is that much.
    regions: [Region; 2],
}

/// A contiguous part of this process's memory.
pub(crate) struct Extent {
    /// Address of the first byte.
    pub host: usize,
    /// How many.
    pub bytes: usize,
}

#[derive(Debug, Clone, Default)]
struct Region {
    first_frame: u64,
    frames: u64,
    /// Address of the first byte in this process.
    host: usize,
    marks: PageMarks,
}

impl GuestRam {
    /// Memory of this size in bytes, all zero.
    ///
    /// # Errors
    /// [`RamError`].
    pub fn new(bytes: u64) -> Result<Self, RamError> {
        if bytes == 0 || bytes > MAX_BYTES || !bytes.is_multiple_of(PAGE_SIZE) {
            return Err(RamError::Size(bytes));
        }
        let host = |reason: String| RamError::Host { bytes, reason };
        let below = bytes.min(HOLE_START);
        let mut mapped = Vec::new();
        for (start, len) in [(0, below), (HOLE_END, bytes - below)] {
            if len > 0 {
                let len = usize::try_from(len).map_err(|error| host(error.to_string()))?;
                let region = MmapRegion::new(len).map_err(|error| host(error.to_string()))?;
                let region = GuestRegionMmap::new(region, GuestAddress(start))
                    .ok_or_else(|| host("beyond the end of the address space".into()))?;
                mapped.push(region);
            }
        }
        let memory = GuestMemory::from_regions(mapped).map_err(|error| host(error.to_string()))?;
        let mut regions = <[Region; 2]>::default();
        for (region, mapped) in regions.iter_mut().zip(memory.iter()) {
            *region = Region {
                first_frame: mapped.start_addr().raw_value() / PAGE_SIZE,
                frames: mapped.len() / PAGE_SIZE,
                host: mapped.as_ptr() as usize,
                marks: mapped.bitmap().clone(),
            };
        }
        Ok(Self { memory: Arc::new(memory), regions })
    }

    /// For copying in and out.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Where its parts lie in this process.
    pub(crate) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        let bytes = |region: &Region| (region.frames * PAGE_SIZE) as usize;
        self.regions.iter().map(move |region| Extent { host: region.host, bytes: bytes(region) })
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.regions.iter().map(|region| region.frames * PAGE_SIZE).sum()
    }

    /// Whether this is the same memory, and not just as large.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.memory, &other.memory)
    }

    /// How many page frames of memory lie below this one, if it is memory.
    #[inline]
    pub fn number_of(&self, frame: u64) -> Option<usize> {
        let (_, page) = self.region(frame)?;
        let below = self.regions[0].frames;
        Some(if frame < below { page } else { below as usize + page })
    }

    /// The page frame with this many others of memory below it.
    #[inline]
    pub fn frame_of(&self, number: usize) -> Option<u64> {
        let [below, above] = &self.regions;
        let number = number as u64;
        match number.checked_sub(below.frames) {
            None => Some(below.first_frame + number),
            Some(number) => (number < above.frames).then_some(above.first_frame + number),
        }
    }

    /// Every page frame, in ascending order.
    pub fn frames(&self) -> impl Iterator<Item = u64> + '_ {
        self.regions.iter().flat_map(|region| region.first_frame..region.first_frame + region.frames)
    }

    #[inline]
    fn region(&self, frame: u64) -> Option<(&Region, usize)> {
        self.regions.iter().find_map(|region| {
            let page = frame.wrapping_sub(region.first_frame);
            (page < region.frames).then_some((region, page as usize))
        })
    }

    /// Where this page frame lies in this process, if it is memory. Who writes through it first calls [`GuestRam::note_write`].
    #[inline]
    pub fn host_page(&self, frame: u64) -> Option<*mut u8> {
        self.region(frame).map(|(region, page)| (region.host + page * PAGE_SIZE as usize) as *mut u8)
    }

    /// A processor is about to write to this frame.
    pub fn note_write(&self, frame: u64) {
        if let Some((region, page)) = self.region(frame) {
            region.marks.note_write(page);
        }
    }

    /// Translated code was made from this frame.
    pub fn note_code(&self, frame: u64) {
        if let Some((region, page)) = self.region(frame) {
            region.marks.note_code(page);
        }
    }

    /// All code made from this frame was dropped.
    pub fn forget_code(&self, frame: u64) {
        if let Some((region, page)) = self.region(frame) {
            region.marks.forget_code(page);
        }
    }

    /// All code was dropped.
    pub fn forget_all_code(&self) {
        self.regions.iter().for_each(|region| region.marks.forget_all_code());
    }

    /// Whether translated code was made from this frame.
    pub fn has_code(&self, frame: u64) -> bool {
        self.region(frame).is_some_and(|(region, page)| region.marks.has_code(page))
    }

    /// Whether some frame with code was written to since [`GuestRam::take_rewritten`].
    #[inline]
    pub fn any_rewritten(&self) -> bool {
        self.regions.iter().any(|region| region.marks.any_rewritten())
    }

    /// Frames with code that were written to since the last call, in ascending order.
    pub fn take_rewritten(&self) -> Vec<u64> {
        self.take(PageMarks::take_rewritten)
    }

    /// Frames written to since the last call, in ascending order; see [`PageMarks::take_written`].
    pub fn take_written(&self) -> Vec<u64> {
        self.take(PageMarks::take_written)
    }

    fn take(&self, of: fn(&PageMarks) -> Vec<usize>) -> Vec<u64> {
        let frames = |region: &Region| {
            let first = region.first_frame;
            of(&region.marks).into_iter().map(move |page| first + page as u64)
        };
        self.regions.iter().flat_map(frames).collect()
    }

    /// Remembers from now on which pages are written by anybody who is no processor; the host, until
    /// [`GuestRam::set_writer`] says otherwise. Or forgets it all.
    pub fn watch_foreign_writes(&self, watch: bool) {
        for region in &self.regions {
            region.marks.foreign().watch(watch.then_some(Writer::Host));
            region.marks.foreign().take();
        }
    }

    /// Whether that is remembered.
    pub fn watches_foreign_writes(&self) -> bool {
        self.regions[0].marks.foreign().watched().is_some()
    }

    /// Whose writes follow, if they are remembered at all: who drives devices says so, and takes it back.
    pub fn set_writer(&self, writer: Writer) {
        if self.watches_foreign_writes() {
            self.regions.iter().for_each(|region| region.marks.foreign().watch(Some(writer)));
        }
    }

    /// Pages written by anybody who is no processor since the last call, in ascending order.
    pub fn take_foreign_writes(&self) -> Vec<ForeignWrite> {
        let writes = |region: &Region| {
            let first = region.first_frame;
            let pages = region.marks.foreign().take().into_iter();
            pages.map(move |(page, writer)| ForeignWrite { frame: first + page as u64, writer })
        };
        self.regions.iter().flat_map(writes).collect()
    }

    /// Copies into memory for a processor that has no pointer to it: no foreign write.
    ///
    /// # Errors
    /// That of vm-memory, if some of it is no memory.
    pub fn write_by_processor(&self, address: u64, from: &[u8]) -> Result<(), vm_memory::GuestMemoryError> {
        let watched = self.regions.each_ref().map(|region| region.marks.foreign().watched());
        if watched == [None; 2] {
            return self.write(address, from);
        }
        self.regions.iter().for_each(|region| region.marks.foreign().watch(None));
        let written = self.write(address, from);
        for (region, watched) in self.regions.iter().zip(watched) {
            region.marks.foreign().watch(watched);
        }
        written
    }

    /// Copies out of memory.
    ///
    /// # Errors
    /// That of vm-memory, if some of it is no memory.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), vm_memory::GuestMemoryError> {
        self.memory.read_slice(into, GuestAddress(address))
    }

    /// Copies into memory.
    ///
    /// # Errors
    /// That of vm-memory, if some of it is no memory.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), vm_memory::GuestMemoryError> {
        self.memory.write_slice(from, GuestAddress(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_below_the_hole_continues_above() {
        let ram = GuestRam::new(HOLE_START + 8192).unwrap();
        assert_eq!(ram.bytes(), HOLE_START + 8192);
        ram.write(HOLE_END + 8191, &[7]).unwrap();
        assert!(ram.write(HOLE_END + 8191, &[7, 8]).is_err());
        assert!(ram.write(HOLE_START, &[7]).is_err());
        assert!(ram.host_page(HOLE_START / 4096).is_none());
        assert_eq!(ram.take_written(), [HOLE_END / 4096 + 1]);
        assert_eq!(ram.frames().last(), Some(HOLE_END / 4096 + 1));
        let below = (HOLE_START / 4096) as usize;
        for (number, frame) in [(0, 0), (below - 1, HOLE_START / 4096 - 1), (below + 1, HOLE_END / 4096 + 1)]
        {
            assert_eq!((ram.number_of(frame), ram.frame_of(number)), (Some(number), Some(frame)));
        }
        assert_eq!((ram.number_of(HOLE_START / 4096), ram.frame_of(below + 2)), (None, None));
    }

    #[test]
    fn a_copy_into_code_is_reported() {
        let ram = GuestRam::new(1 << 20).unwrap();
        ram.note_code(3);
        assert!(ram.has_code(3) && !ram.has_code(4));
        ram.write(3 * 4096 - 1, &[1, 2]).unwrap();
        assert!(ram.any_rewritten());
        assert_eq!(ram.take_rewritten(), [3]);
    }

    #[test]
    fn writes_of_others_are_remembered_while_somebody_asks() {
        let ram = GuestRam::new(HOLE_START + 8192).unwrap();
        let write = |frame, writer| ForeignWrite { frame, writer };
        ram.write(0x1000, &[1]).unwrap();
        ram.set_writer(Writer::Device);
        ram.write(0x1000, &[1]).unwrap();
        assert_eq!(ram.take_foreign_writes(), []);
        ram.watch_foreign_writes(true);
        ram.write(HOLE_END + 8191, &[1]).unwrap();
        ram.set_writer(Writer::Device);
        ram.memory().write_slice(&[1, 2], GuestAddress(0x2fff)).unwrap();
        ram.set_writer(Writer::Host);
        ram.write(0x3000, &[1]).unwrap();
        ram.write(0x1000, &[]).unwrap();
        // Processors.
        ram.write_by_processor(0x5000, &[1]).unwrap();
        ram.note_write(6);
        ram.write(0x7000, &[1]).unwrap();
        let expected = [
            write(2, Writer::Device),
            write(3, Writer::Device),
            write(7, Writer::Host),
            write(HOLE_END / 4096 + 1, Writer::Host),
        ];
        assert_eq!(ram.take_foreign_writes(), expected);
        assert_eq!(ram.take_foreign_writes(), []);
        ram.write(0x1000, &[1]).unwrap();
        ram.watch_foreign_writes(false);
        ram.write(0x1000, &[1]).unwrap();
        assert_eq!(ram.take_foreign_writes(), []);
        assert!(ram.take_written().contains(&5), "whoever wrote, it is marked");
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert!(matches!(GuestRam::new(0), Err(RamError::Size(0))));
        assert!(matches!(GuestRam::new(4097), Err(RamError::Size(4097))));
        assert!(matches!(GuestRam::new(1 << 62), Err(RamError::Size(_))));
    }
}
