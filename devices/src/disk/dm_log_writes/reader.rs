//! A reader of the format that shares nothing with the writer.

use super::{Order, export};
use crate::disk::WriteLog;

/// The byte of each sector.
pub(in crate::disk) type Image = Vec<u8>;

/// An entry as the format has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::disk) struct Read {
    pub(in crate::disk) sector: u64,
    pub(in crate::disk) sectors: u64,
    pub(in crate::disk) flags: u64,
    pub(in crate::disk) data: Vec<u8>,
}

/// Reads a log as `replay-log` does, which trusts the count of the superblock, and checks that nothing follows.
fn read(log: &[u8]) -> Vec<Read> {
    let number = |at: usize| u64::from_le_bytes(log[at..at + 8].try_into().unwrap());
    assert_eq!([number(0), number(8)], [0x006a_7366_7773_6872, 1]);
    let sector_bytes = u32::from_le_bytes(log[24..28].try_into().unwrap()) as usize;
    assert_eq!(sector_bytes, 512);
    let mut at = sector_bytes;
    let mut entries = Vec::new();
    for _ in 0..number(16) {
        let [sector, sectors, flags, length] = [0, 8, 16, 24].map(|field| number(at + field));
        let inline = log[at + 32..at + 32 + length as usize].to_vec();
        assert_eq!(log[at + 32 + length as usize], 0);
        at += sector_bytes;
        let data = if flags & 4 != 0 { 0 } else { sectors as usize * sector_bytes };
        entries.push(Read { sector, sectors, flags, data: [inline, log[at..at + data].to_vec()].concat() });
        at += data;
    }
    assert_eq!(at, log.len());
    entries
}

pub(in crate::disk) fn exported(log: &WriteLog, order: Order) -> Vec<Read> {
    let mut file = Vec::new();
    let entries = export(log, order, &mut file).unwrap();
    let read = read(&file);
    assert_eq!(read.len() as u64, entries);
    read
}

/// What a disk is after each entry.
pub(in crate::disk) fn replay(start: &Image, entries: &[Read]) -> Vec<Image> {
    let mut image = start.clone();
    let step = |entry: &Read| {
        for sector in 0..if entry.flags & 8 == 0 { entry.sectors as usize } else { 0 } {
            image[entry.sector as usize + sector] = entry.data.get(sector * 512).copied().unwrap_or(0);
        }
        image.clone()
    };
    entries.iter().map(step).collect()
}

pub(in crate::disk) fn name(entry: &Read) -> Option<&str> {
    (entry.flags & 8 != 0).then(|| std::str::from_utf8(&entry.data).unwrap())
}
