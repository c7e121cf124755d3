//! Requests of virtio-blk (5.2.6): what a descriptor chain asks for.

use ram::GuestRam;
use serde::{Deserialize, Serialize};

use super::ring::{Chain, RingError};
use crate::disk::{Command, Extent, SECTOR};
use crate::pci::dma::{gather, total};

/// Largest segment a driver may use, in bytes.
pub(super) const SIZE_MAX: u32 = 64 << 10;
/// Most segments of data a driver may use.
pub(super) const SEG_MAX: u32 = 126;
/// Most ranges in one request to discard or to write zeros.
pub(super) const MAX_RANGES: u32 = 16;
/// Most sectors in such a range.
pub(super) const MAX_RANGE_SECTORS: u32 = 64 << 10;
/// Characters of a serial number.
pub(super) const ID_BYTES: usize = 20;

const HEADER: u64 = 16;
/// Of a range: first sector, number of sectors, flags.
const RANGE: usize = 16;
/// Of writing zeros: the sectors may as well be discarded.
const UNMAP: u32 = 1;

/// How a request ended, as the driver reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
    Ok = 0,
    Error = 1,
    Unsupported = 2,
}

/// What a request wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Disk(Command),
    SerialNumber,
    /// Cannot be done.
    Refused(Status),
}

/// What was agreed upon.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub discard: bool,
    pub write_zeroes: bool,
}

/// Reads the request out of a chain.
///
/// # Errors
/// [`RingError::BrokenChain`] if it has no room for a header and a status: the driver can be told nothing then.
pub(super) fn parse(chain: &Chain, terms: Terms, ram: &GuestRam) -> Result<Wanted, RingError> {
    let (readable, writable) = (total(&chain.readable), total(&chain.writable));
    let Some(data_in) = writable.checked_sub(1) else { return Err(RingError::BrokenChain) };
    let Some(data_out) = readable.checked_sub(HEADER) else { return Err(RingError::BrokenChain) };
    let Ok(header) = gather(&chain.readable, 0, HEADER as usize, ram) else {
        return Ok(Wanted::Refused(Status::Error));
    };
    let kind = u32_at(&header, 0);
    let sector = u64::from(u32_at(&header, 8)) | u64::from(u32_at(&header, 12)) << 32;
    let asked = Asked { chain, sector, data_in, data_out };
    let wanted = match kind {
        IN => asked.read(),
        OUT => asked.write(ram),
        FLUSH => Ok(Command::Flush),
        GET_ID => return Ok(Wanted::SerialNumber),
        DISCARD if terms.discard => asked.ranges(0, ram).map(Command::Discard),
        WRITE_ZEROES if terms.write_zeroes => {
            asked.ranges(UNMAP, ram).map(|extents| Command::WriteZeroes { extents, fua: false })
        }
        _ => Err(Status::Unsupported),
    };
    Ok(wanted.map_or_else(Wanted::Refused, Wanted::Disk))
}

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

struct Asked<'a> {
    chain: &'a Chain,
    sector: u64,
    data_in: u64,
    data_out: u64,
}

impl Asked<'_> {
    fn read(&self) -> Result<Command, Status> {
        let length = transfer(self.data_in)?;
        let extent = Extent { sector: self.sector, sectors: length as u64 / SECTOR };
        Ok(Command::Read { extent, fua: false })
    }

    fn write(&self, ram: &GuestRam) -> Result<Command, Status> {
        let data = self.gather(transfer(self.data_out)?, ram)?;
        Ok(Command::Write { sector: self.sector, data: data.into(), fua: false })
    }

    fn ranges(&self, allowed_flags: u32, ram: &GuestRam) -> Result<Vec<Extent>, Status> {
        let length = self.data_out;
        if length == 0
            || !length.is_multiple_of(RANGE as u64)
            || length > u64::from(MAX_RANGES) * RANGE as u64
        {
            return Err(Status::Error);
        }
        let data = self.gather(length as usize, ram)?;
        data.chunks_exact(RANGE)
            .map(|range| {
                let (sectors, flags) = (u32_at(range, 8), u32_at(range, 12));
                if flags & !allowed_flags != 0 {
                    return Err(Status::Unsupported);
                }
                if sectors > MAX_RANGE_SECTORS {
                    return Err(Status::Error);
                }
                let sector = u64::from(u32_at(range, 0)) | u64::from(u32_at(range, 4)) << 32;
                Ok(Extent { sector, sectors: u64::from(sectors) })
            })
            .collect()
    }

    fn gather(&self, length: usize, ram: &GuestRam) -> Result<Vec<u8>, Status> {
        gather(&self.chain.readable, HEADER, length, ram).map_err(|_| Status::Error)
    }
}

/// How much is transferred: whole sectors, and no more than the limits allow, so that no request is unbounded work.
fn transfer(length: u64) -> Result<usize, Status> {
    let most = u64::from(SEG_MAX) * u64::from(SIZE_MAX);
    if length == 0 || !length.is_multiple_of(SECTOR) || length > most {
        Err(Status::Error)
    } else {
        Ok(length as usize)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
