//! The partition an image lives on. All I/O is direct: a page cache that survives while another kernel writes the same
//! partition would be stale.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use agent_protocol::image::{
    Extent, HEADER_LEN, Header, INDEX_OFFSET, ImageError, Index, Kind, PAGE, PageEntry, State,
};
use agent_protocol::message::Failure;
use agent_protocol::mutant::Mutant;
use nix::errno::Errno;

use crate::failure::{While, failure_with};
use crate::mapping::Mapping;
use crate::{disks, identity, ioctl, mutant};

/// Bytes of one write or read.
const CHUNK: usize = 1 << 20;

/// An image partition, opened for this kernel alone.
#[derive(Debug)]
pub struct Partition {
    device: String,
    file: File,
    bytes: u64,
}

impl Partition {
    /// Opens a partition. O_EXCL makes the kernel refuse one that is mounted or used for swap.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(device: &str) -> Result<Partition, Failure> {
        disks::appear(device);
        let opening = || format!("opening the image partition {device}");
        let direct = if mutant::is(Mutant::PageCache) { 0 } else { libc::O_DIRECT };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(direct | libc::O_EXCL)
            .open(device)
            .while_doing(opening)?;
        let bytes = ioctl::device_bytes(&file).while_doing(opening)?;
        Ok(Partition { device: device.to_owned(), file, bytes })
    }

    /// Reads the header; `None` if no image was ever written here.
    ///
    /// # Errors
    /// Those of the disk; the check that refuses it.
    pub fn header_if_any(&self) -> Result<Option<Header>, Failure> {
        let reading = || format!("reading the image on {}", self.device);
        let block = self.read(0, PAGE)?;
        let sector = block.first_chunk::<HEADER_LEN>().ok_or(Errno::EIO).while_doing(reading)?;
        let sector = mutant::believed_header(*sector);
        match Header::decode(&sector) {
            Err(ImageError::Magic) => Ok(None),
            header => header.map(Some).while_doing(reading),
        }
    }

    /// Reads the header of an image that must be there.
    ///
    /// # Errors
    /// Those of the disk; the check that refuses it.
    pub fn header(&self) -> Result<Header, Failure> {
        let reading = || format!("reading the image on {}", self.device);
        self.header_if_any()?.ok_or(ImageError::Magic).while_doing(reading)
    }

    /// Writes the header and makes it, and everything written before it, durable.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn commit(&self, header: &Header) -> Result<(), Failure> {
        let writing = || format!("writing the image header on {}", self.device);
        let mut block = Mapping::anonymous(PAGE).while_doing(writing)?;
        block[..HEADER_LEN].copy_from_slice(&header.encode());
        self.file.write_all_at(&block, 0).while_doing(writing)?;
        let unflushed = match header.state {
            State::Writing => Mutant::WritingNotFlushed,
            State::Valid => Mutant::ValidNotFlushed,
            State::Consumed => Mutant::ConsumedNotFlushed,
            State::Failed(_) => Mutant::FailedNotFlushed,
        };
        if mutant::is(unflushed) { Ok(()) } else { self.flush() }
    }

    /// Makes an image valid that [`ImageWriter::finish`] has finished, once everything is durable that was written to any disk this
    /// kernel sees: the sleeping kernel will not write again what it knows to be written. Returns the disks.
    ///
    /// The disks are flushed as a whole, past their partitions, so that nothing is written back that they or file systems hold dirty.
    ///
    /// # Errors
    /// Those of the disks.
    pub fn make_valid(&self, header: &Header) -> Result<Vec<String>, Failure> {
        if mutant::is(Mutant::ValidBeforeFlush) {
            self.commit(header)?;
        }
        let disks = identity::disks()?;
        let flushed = |name: &&String| !mutant::leaves_unflushed(name, &self.device);
        disks.iter().filter(flushed).try_for_each(|name| disks::flush(name))?;
        self.commit(header)?;
        Ok(disks)
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn flush(&self) -> Result<(), Failure> {
        self.file.sync_data().while_doing(|| format!("flushing {}", self.device))
    }

    /// Marks an image as consumed, durably, so that nobody can enter it a second time. An image in any other state but valid is
    /// left as it is.
    ///
    /// # Errors
    /// Those of the disk and of the header.
    pub fn consume(&self) -> Result<(), Failure> {
        let header = self.header()?;
        match header.state {
            State::Valid => self.commit(&Header { state: State::Consumed, ..header }),
            State::Writing | State::Consumed | State::Failed(_) => Ok(()),
        }
    }

    /// Reads and checks header and index of an image that is to be restored.
    ///
    /// # Errors
    /// Those of the disk; the first check that refuses it.
    pub fn restorable(&self, kind: Kind) -> Result<(Header, Index), Failure> {
        let reading = || format!("checking the image on {}", self.device);
        let header = self.header()?;
        if !mutant::is(Mutant::StateUnchecked) {
            header.restorable(kind).while_doing(reading)?;
        }
        let pages_bytes = header.stored.saturating_mul(PAGE as u64);
        if header.data_offset().saturating_add(pages_bytes) > self.bytes {
            let text =
                format!("while {}: it claims more than the partition's {} bytes", reading(), self.bytes);
            return Err(failure_with(Errno::EINVAL, text));
        }
        let len = usize::try_from(header.index_len()).map_err(|_| Errno::EFBIG).while_doing(reading)?;
        let padded = self.read(INDEX_OFFSET, len.next_multiple_of(PAGE))?;
        let bytes = &padded[..len];
        let index = Index::decode(&mutant::believed_index(&header, bytes), bytes).while_doing(reading)?;
        Ok((header, index))
    }

    fn read(&self, offset: u64, len: usize) -> Result<Mapping, Failure> {
        let reading = || format!("reading {len} bytes of {} at {offset}", self.device);
        let mut buffer = Mapping::anonymous(len).while_doing(reading)?;
        self.file.read_exact_at(&mut buffer, offset).while_doing(reading)?;
        Ok(buffer)
    }
}

/// Writes an image page by page.
#[derive(Debug)]
pub struct ImageWriter<'a> {
    partition: &'a Partition,
    kind: Kind,
    index: Index,
    stored: u64,
    chunk: Mapping,
    filled: usize,
    /// Where the chunk goes.
    offset: u64,
}

impl<'a> ImageWriter<'a> {
    /// Begins an image of these page frames: an older image becomes unusable, durably, first.
    ///
    /// # Errors
    /// Those of the disk; ENOSPC if not even the index fits.
    pub fn begin(partition: &'a Partition, kind: Kind, extents: Vec<Extent>) -> Result<Self, Failure> {
        if !mutant::is(Mutant::OldImageStays) {
            partition.commit(&Header::writing(kind))?;
        }
        let offset = Index::data_offset(&extents);
        if offset > partition.bytes {
            return Err(full(partition));
        }
        let chunk =
            Mapping::anonymous(CHUNK).while_doing(|| "making room for a piece of the image".into())?;
        let index = Index { extents, entries: Vec::new() };
        Ok(ImageWriter { partition, kind, index, stored: 0, chunk, filled: 0, offset })
    }

    /// Adds the next page, in the order of the extents.
    ///
    /// # Errors
    /// Those of the disk; ENOSPC if it is full.
    pub fn page(&mut self, page: &[u8]) -> Result<(), Failure> {
        let entry = PageEntry::of(page);
        self.index.entries.push(entry);
        if entry == PageEntry::Zero {
            return Ok(());
        }
        self.chunk[self.filled..self.filled + PAGE].copy_from_slice(page);
        self.filled += PAGE;
        self.stored += 1;
        if self.filled == CHUNK { self.write_chunk() } else { Ok(()) }
    }

    fn write_chunk(&mut self) -> Result<(), Failure> {
        if self.offset + self.filled as u64 > self.partition.bytes {
            return Err(full(self.partition));
        }
        let writing = || format!("writing the image on {} at {}", self.partition.device, self.offset);
        self.partition.file.write_all_at(&self.chunk[..self.filled], self.offset).while_doing(writing)?;
        self.offset += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    /// Writes what is left and makes pages and index durable. The image is not valid yet: see [`Partition::make_valid`].
    ///
    /// # Errors
    /// Those of the disk; ENOSPC if it is full.
    pub fn finish(mut self, entry: u64, release: String) -> Result<Header, Failure> {
        if self.filled > 0 {
            self.write_chunk()?;
        }
        let bytes = self.index.encode();
        let writing = || format!("writing the image index on {}", self.partition.device);
        let mut padded = Mapping::anonymous(bytes.len().next_multiple_of(PAGE)).while_doing(writing)?;
        padded[..bytes.len()].copy_from_slice(&bytes);
        let header = Header {
            state: State::Valid,
            kind: self.kind,
            entry,
            pages: self.index.entries.len() as u64,
            stored: self.stored,
            extents: u32::try_from(self.index.extents.len()).unwrap_or(u32::MAX),
            index_crc: crc32fast::hash(&bytes),
            release,
        };
        if mutant::is(Mutant::ValidBeforeIndex) {
            self.partition.commit(&header)?;
        }
        self.partition.file.write_all_at(&padded, INDEX_OFFSET).while_doing(writing)?;
        if !mutant::is(Mutant::ImageNotFlushed) {
            self.partition.flush()?;
        }
        Ok(header)
    }
}

fn full(partition: &Partition) -> Failure {
    let text = format!("the image does not fit: {} has {} bytes", partition.device, partition.bytes);
    failure_with(Errno::ENOSPC, text)
}

/// Reads the stored pages of an image in order and checks each.
#[derive(Debug)]
pub struct PageReader<'a> {
    partition: &'a Partition,
    left: u64,
    offset: u64,
    chunk: Option<Mapping>,
    used: usize,
}

impl<'a> PageReader<'a> {
    /// From the first stored page on.
    pub fn new(partition: &'a Partition, header: &Header) -> PageReader<'a> {
        PageReader { partition, left: header.stored, offset: header.data_offset(), chunk: None, used: 0 }
    }

    /// The next stored page.
    ///
    /// # Errors
    /// Those of the disk; a checksum that does not fit.
    pub fn page(&mut self, frame: u64, entry: PageEntry) -> Result<&[u8], Failure> {
        if self.chunk.as_ref().is_none_or(|chunk| self.used == chunk.len()) {
            let pages = self.left.min((CHUNK / PAGE) as u64);
            let len = usize::try_from(pages).unwrap_or(0) * PAGE;
            self.chunk = Some(self.partition.read(self.offset, len)?);
            self.left -= pages;
            self.offset += len as u64;
            self.used = 0;
        }
        let doing = || format!("checking the image on {}", self.partition.device);
        let page = self.chunk.as_ref().and_then(|chunk| chunk.get(self.used..self.used + PAGE));
        let page = page.ok_or(Errno::ENODATA).while_doing(doing)?;
        if !mutant::is(Mutant::PagesUnchecked) {
            entry.check(frame, page).while_doing(doing)?;
        }
        self.used += PAGE;
        Ok(page)
    }
}
