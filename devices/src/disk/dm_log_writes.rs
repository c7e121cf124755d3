//! The write log in the format of the kernel's dm-log-writes, which its `replay-log` and xfstests read.
//!
//! The format (drivers/md/dm-log-writes.c): a sector with the superblock, then for each entry a sector with its header, followed by its
//! data. All numbers are little-endian.

mod plan;
#[cfg(test)]
pub(super) mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Write};

use plan::{Item, Plan};
use serde::{Deserialize, Serialize};

use super::write_log::{Entry, Operation, Record};
use super::{Change, Contents, Extent, SECTOR, WriteLog};
use crate::VirtualTime;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
/// Flags of an entry.
mod flag {
    pub(super) const FLUSH: u64 = 1;
    pub(super) const FUA: u64 = 2;
    pub(super) const DISCARD: u64 = 4;
    pub(super) const MARK: u64 = 8;
}
/// Of an entry's header, before the data of a mark.
const HEADER: usize = 32;
/// Longest name of a mark: it shares the sector with the header, and readers want a zero after it.
const NAME: usize = SECTOR as usize - HEADER - 1;
/// Sectors of zeros in one entry: readers hold an entry in memory.
const ZEROS: u64 = 2048;
/// Sectors discarded by one entry: where the target cannot discard, `replay-log` writes zeros, but not for entries of more than 128 MiB.
const DISCARDED: u64 = 64 << 11;

/// In which order writes appear.
///
/// In both, a FLUSH entry says what it says to every reader of the format: all before it is durable. So a flush that was not completed is
/// left out, and a write that was completed while a flush was under way comes after it. Of a disk that lies, a FLUSH entry is what the
/// guest was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// In the order of completion, as QEMU's `blklogwrites` writes them.
    #[default]
    Completion,
    /// When they are no longer in a volatile cache: before the FLUSH that made them durable, by FUA, or by themselves, as dm-log-writes
    /// does. What never became durable comes last.
    Durability,
}

/// Writes a log out. Returns the number of entries.
///
/// A replay of everything, onto what the disk was when the log began, gives the disk as it is now, by bytes:
/// - Where writes overlap, later accepted sectors stay, whatever was completed first: that is what the disk did. A write that was
///   overtaken comes without them, in several entries if need be.
/// - Requests that were still in flight, or (in the order of durability) not durable, come after a mark `end`. So a replay to that mark is
///   the disk with completed (or durable) writes only.
/// - Where the disk lost its power they come in the same place, behind the mark that says why (`power-cut-1` is the first cut), followed
///   by a write of what is there instead for everything that did not survive.
///
/// A discard is a DISCARD entry; zeros are written as data, since a reader may ignore discards. Notes are marks with their text.
///
/// # Errors
/// Those of the writer.
pub fn export(log: &WriteLog, order: Order, into: &mut impl Write) -> io::Result<u64> {
    let items = Plan::of(log, order);
    let entries = items.iter().map(entries).sum();
    let mut superblock = [0; SECTOR as usize];
    put(&mut superblock, 0, MAGIC);
    put(&mut superblock, 8, VERSION);
    put(&mut superblock, 16, entries);
    put(&mut superblock, 24, SECTOR);
    into.write_all(&superblock)?;
    for item in &items {
        write_item(item, into)?;
    }
    into.flush()?;
    Ok(entries)
}

/// The log of a disk whose power fails at this place, as if the requests that are lost, of those since its power last came on, had never
/// been, or had not had the sectors that are given with them: [`export`]ed, whichever way, it gives the contents that the power cut left. Says nothing of authors.
pub fn at_cut(log: &WriteLog, place: usize, lost: &BTreeMap<u64, Vec<Extent>>) -> WriteLog {
    let before = || log.entries().take(place).enumerate();
    let begins = before().rfind(|(_, entry)| matches!(entry.record, Record::Lost { .. }));
    let begins = begins.map_or(0, |(at, _)| at + 1);
    let mut cut = WriteLog::default();
    for (at, Entry { at: time, record }) in before() {
        let is_lost = match record {
            Record::Accepted { request, .. }
            | Record::Completed { request }
            | Record::Failed { request }
            | Record::Durable { request } => begins <= at && lost.get(request).is_some_and(Vec::is_empty),
            Record::Author { .. } => true,
            Record::Power(_) | Record::Lost { .. } | Record::Note(_) => false,
        };
        match record {
            _ if is_lost => {}
            Record::Accepted { request, operation: Operation::Change { fua, changes } }
                if begins <= at && lost.contains_key(request) =>
            {
                let torn = lost.get(request).map_or(&[][..], Vec::as_slice);
                let changes = changes.iter().flat_map(|(extent, contents)| left_of(*extent, contents, torn));
                let operation = Operation::Change { fua: *fua, changes: changes.collect() };
                cut.push(*time, Record::Accepted { request: *request, operation });
            }
            _ => {
                cut.push(*time, record.clone());
            }
        }
    }
    cut
}

/// What a request changes but for these sectors.
fn left_of(extent: Extent, contents: &Contents, torn: &[Extent]) -> Vec<(Extent, Contents)> {
    let (contents, accepted) = (contents.clone(), VirtualTime::default());
    let whole = Change { request: 0, extent, contents, accepted, completed: None };
    whole.without_all(torn).into_iter().map(|left| (left.extent, left.contents)).collect()
}

/// How many entries an item is.
fn entries(item: &Item<'_>) -> u64 {
    match item {
        Item::Flush | Item::Mark(_) => 1,
        Item::Write { extent, contents, .. } => match contents {
            Contents::Data(_) => 1,
            Contents::Zeros => extent.sectors.div_ceil(ZEROS),
            Contents::Discarded => extent.sectors.div_ceil(DISCARDED),
        },
    }
}

fn write_item(item: &Item<'_>, into: &mut impl Write) -> io::Result<()> {
    match item {
        Item::Flush => into.write_all(&header(Extent::default(), flag::FLUSH, 0)),
        Item::Mark(name) => {
            let mut end = name.len().min(NAME);
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            let name = name.get(..end).unwrap_or_default();
            let mut sector = header(Extent::default(), flag::MARK, name.len() as u64);
            if let Some(place) = sector.get_mut(HEADER..HEADER + name.len()) {
                place.copy_from_slice(name.as_bytes());
            }
            into.write_all(&sector)
        }
        Item::Write { extent, contents: Contents::Data(data), skip, fua } => {
            into.write_all(&header(*extent, if *fua { flag::FUA } else { 0 }, 0))?;
            let start = (skip * SECTOR) as usize;
            let end = start + (extent.sectors * SECTOR) as usize;
            into.write_all(data.get(start..end).ok_or(io::ErrorKind::InvalidData)?)
        }
        Item::Write { extent, contents: Contents::Zeros, fua, .. } => {
            pieces(*extent, ZEROS).try_for_each(|piece| {
                into.write_all(&header(piece, if *fua { flag::FUA } else { 0 }, 0))?;
                (0..piece.sectors).try_for_each(|_| into.write_all(&[0; SECTOR as usize]))
            })
        }
        Item::Write { extent, contents: Contents::Discarded, .. } => {
            pieces(*extent, DISCARDED).try_for_each(|piece| into.write_all(&header(piece, flag::DISCARD, 0)))
        }
    }
}

fn pieces(extent: Extent, most: u64) -> impl Iterator<Item = Extent> {
    (0..extent.sectors.div_ceil(most)).map(move |piece| {
        let done = piece * most;
        Extent { sector: extent.sector + done, sectors: most.min(extent.sectors - done) }
    })
}

fn header(extent: Extent, flags: u64, data: u64) -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    for (at, value) in [(0, extent.sector), (8, extent.sectors), (16, flags), (24, data)] {
        put(&mut sector, at, value);
    }
    sector
}

fn put(sector: &mut [u8], at: usize, value: u64) {
    if let Some(place) = sector.get_mut(at..at + 8) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}
