//! What a disk was told, in order, and whether the image's commit records kept their order.
//!
//! QEMU writes the log in the format of the kernel's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst): a superblock,
//! then for each request a header of one sector and its data. A FLUSH makes everything before it durable.

use std::io::{Read, Seek, SeekFrom};

use agent_protocol::image::{HEADER_LEN, Header, State};
use thiserror::Error;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
/// Flags of an entry.
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
/// Data kept of a write: enough for an image header.
const KEPT: usize = HEADER_LEN;

/// The log cannot be read.
#[derive(Debug, Error)]
pub enum LogError {
    /// The file ends early or cannot be read.
    #[error("reading the write log: {0}")]
    Io(#[from] std::io::Error),
    /// It is something else.
    #[error("no dm-log-writes log: magic {magic:#x}, version {version}")]
    Foreign {
        /// As found.
        magic: u64,
        /// As found.
        version: u64,
    },
}

/// A request of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Everything before it is durable when it completes.
    Flush,
    /// A write.
    Write {
        /// First sector.
        sector: u64,
        /// How many.
        sectors: u64,
        /// Durable by itself.
        fua: bool,
        /// Its first bytes.
        start: Vec<u8>,
    },
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Reads a log. One whose machine was killed has an outdated count in its superblock: entries are read to the end of the file. One of a disk
/// that was never written is empty.
///
/// # Errors
/// [`LogError`].
pub fn read(mut log: impl Read + Seek) -> Result<Vec<Request>, LogError> {
    let end = log.seek(SeekFrom::End(0))?;
    if end == 0 {
        return Ok(Vec::new());
    }
    log.rewind()?;
    let mut superblock = [0; 28];
    log.read_exact(&mut superblock)?;
    let (magic, version) = (u64_at(&superblock, 0), u64_at(&superblock, 8));
    let sector_bytes = u64_at(&superblock, 20) >> 32;
    if magic != MAGIC || version != VERSION || sector_bytes < 512 {
        return Err(LogError::Foreign { magic, version });
    }
    let mut at = sector_bytes;
    let mut requests = Vec::new();
    while at + 32 <= end {
        let mut entry = [0; 32];
        log.seek(SeekFrom::Start(at))?;
        log.read_exact(&mut entry)?;
        let [sector, sectors, flags] = [0, 8, 16].map(|field| u64_at(&entry, field));
        at += sector_bytes;
        if flags & FLUSH != 0 {
            requests.push(Request::Flush);
        }
        if sectors == 0 || flags & DISCARD != 0 {
            continue;
        }
        let bytes = sectors.saturating_mul(sector_bytes);
        if at.saturating_add(bytes) > end {
            break;
        }
        let mut start = vec![0; KEPT.min(usize::try_from(bytes).unwrap_or(KEPT))];
        log.seek(SeekFrom::Start(at))?;
        log.read_exact(&mut start)?;
        at += bytes;
        requests.push(Request::Write { sector, sectors, fua: flags & FUA != 0, start });
    }
    Ok(requests)
}

/// How the commit protocol of `agent_protocol::image` was broken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrderError {
    /// Step 1: the old image must be gone before the new one is written.
    #[error("request {request}: the image is written before the old header is durably gone")]
    OldHeader {
        /// Number in the log.
        request: usize,
    },
    /// Steps 2 and 3.
    #[error(
        "request {request}: the header becomes valid while the write of request {volatile} is not yet durable"
    )]
    ValidTooEarly {
        /// Number in the log.
        request: usize,
        /// The first write not durable.
        volatile: usize,
    },
    /// Step 4.
    #[error("request {request}: a write before the consumed header of request {header} is durable")]
    ConsumedTooLate {
        /// Number in the log.
        request: usize,
        /// Number of the header's write.
        header: usize,
    },
}

/// Header states in the order they were written.
pub type Life = Vec<State>;

/// Checks the order of the image's headers against everything else on the disk. `image` is the first sector of the image partition and
/// the first after it. Returns the states the header went through.
///
/// # Errors
/// The first violation.
pub fn check_commit_order(requests: &[Request], image: std::ops::Range<u64>) -> Result<Life, OrderError> {
    let mut life = Life::new();
    // Writes not yet durable: the oldest of all, and a header that others must wait for.
    let mut oldest: Option<usize> = None;
    let mut pending: Option<(usize, State)> = None;
    for (number, request) in requests.iter().enumerate() {
        let (sector, fua, start) = match request {
            Request::Flush => {
                (oldest, pending) = (None, None);
                continue;
            }
            Request::Write { sector, fua, start, .. } => (*sector, *fua, start),
        };
        match pending {
            Some((_, State::Writing)) if image.contains(&sector) => {
                return Err(OrderError::OldHeader { request: number });
            }
            Some((header, State::Consumed)) => {
                return Err(OrderError::ConsumedTooLate { request: number, header });
            }
            _ => {}
        }
        let header = start.first_chunk::<HEADER_LEN>().filter(|_| sector == image.start);
        if let Some(header) = header.and_then(|bytes| Header::decode(bytes).ok()) {
            if let (State::Valid, Some(volatile)) = (header.state, oldest) {
                return Err(OrderError::ValidTooEarly { request: number, volatile });
            }
            life.push(header.state);
            pending = (!fua).then_some((number, header.state));
        }
        if !fua {
            oldest.get_or_insert(number);
        }
    }
    Ok(life)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_protocol::image::Kind;

    const IMAGE: std::ops::Range<u64> = 1000..2000;

    fn header(state: State) -> Request {
        let start = Header { state, ..Header::writing(Kind::JumpedMemory) }.encode().to_vec();
        Request::Write { sector: IMAGE.start, sectors: 8, fua: false, start }
    }

    fn write(sector: u64) -> Request {
        Request::Write { sector, sectors: 8, fua: false, start: vec![0; KEPT] }
    }

    /// A correct life, with a write of A's file system before and after.
    fn correct() -> Vec<Request> {
        vec![
            write(16),
            header(State::Writing),
            Request::Flush,
            write(1016),
            write(1024),
            Request::Flush,
            header(State::Valid),
            Request::Flush,
            header(State::Consumed),
            Request::Flush,
            write(16),
        ]
    }

    #[test]
    fn a_correct_life_is_silent() {
        let life = check_commit_order(&correct(), IMAGE);
        assert_eq!(life, Ok(vec![State::Writing, State::Valid, State::Consumed]));
    }

    #[test]
    fn each_missing_flush_fires() {
        let without = |number: usize| {
            let mut requests = correct();
            requests.remove(number);
            check_commit_order(&requests, IMAGE)
        };
        assert_eq!(without(2), Err(OrderError::OldHeader { request: 2 }));
        assert_eq!(without(5), Err(OrderError::ValidTooEarly { request: 5, volatile: 3 }));
        assert_eq!(without(9), Err(OrderError::ConsumedTooLate { request: 9, header: 8 }));
    }

    #[test]
    fn a_log_is_read() {
        let mut log = Vec::new();
        log.extend([MAGIC, VERSION, 2].map(u64::to_le_bytes).concat());
        log.extend(512u32.to_le_bytes());
        log.resize(512, 0);
        for (sector, sectors, flags) in [(1000u64, 1u64, FUA), (0, 0, FLUSH)] {
            let entry = log.len();
            log.extend([sector, sectors, flags, 0].map(u64::to_le_bytes).concat());
            log.resize(entry + 512, 0);
            log.resize(entry + 512 + sectors as usize * 512, 7);
        }
        let expected =
            vec![Request::Write { sector: 1000, sectors: 1, fua: true, start: vec![7; 512] }, Request::Flush];
        assert_eq!(read(std::io::Cursor::new(&log)).unwrap(), expected);
        assert_eq!(read(std::io::Cursor::new(Vec::new())).unwrap(), []);
        assert!(matches!(read(std::io::Cursor::new(vec![0; 600])), Err(LogError::Foreign { .. })));
    }
}
