//! Reading, writing, hashing and moving bytes.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use agent_protocol::message::{Answer, Bulk, Failure};
use sha2::{Digest, Sha256};

use crate::failure::{While, failure};

/// Most bytes a line carries.
const INLINE: u32 = 1024;
/// Most bytes of a kernel or an initramfs.
const BULK: u64 = 1 << 30;

/// Reads a few bytes.
///
/// # Errors
/// Those of the file.
pub fn read(path: &str, offset: u64, len: u32) -> Result<Answer, Failure> {
    let reading = || format!("reading {path} at {offset}");
    let mut file = File::open(path).while_doing(reading)?;
    file.seek(SeekFrom::Start(offset)).while_doing(reading)?;
    let mut bytes = Vec::new();
    file.take(len.min(INLINE).into()).read_to_end(&mut bytes).while_doing(reading)?;
    Ok(Answer::Bytes(bytes))
}

/// Writes a few bytes.
///
/// # Errors
/// Those of the file.
pub fn write(path: &str, offset: Option<u64>, bytes: &[u8], sync: bool) -> Result<(), Failure> {
    let writing = || format!("writing {path}");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(offset.is_none());
    let file = options.open(path).while_doing(writing)?;
    file.write_all_at(bytes, offset.unwrap_or(0)).while_doing(writing)?;
    if sync { file.sync_all().while_doing(writing) } else { Ok(()) }
}

/// SHA-256 of a file or of the start of a device.
///
/// # Errors
/// Those of the file.
pub fn hash(path: &str, len: Option<u64>) -> Result<Answer, Failure> {
    let hashing = || format!("hashing {path}");
    let file = File::open(path).while_doing(hashing)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file.take(len.unwrap_or(u64::MAX)), &mut hash).while_doing(hashing)?;
    Ok(Answer::Hash(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Reads everything a [`Bulk`] names, and checks it.
///
/// # Errors
/// Those of the file; a wrong checksum.
pub fn read_bulk(bulk: &Bulk) -> Result<Vec<u8>, Failure> {
    match bulk {
        Bulk::File { path } => std::fs::read(path).while_doing(|| format!("reading {path}")),
        Bulk::Scratch { device, offset, len, crc32 } => {
            let reading = || format!("reading {len} bytes of {device} at {offset}");
            if *len > BULK {
                return Err(failure(format!("while {}: more than {BULK} bytes", reading())));
            }
            let mut file = File::open(device).while_doing(reading)?;
            file.seek(SeekFrom::Start(*offset)).while_doing(reading)?;
            let mut bytes = vec![0; usize::try_from(*len).unwrap_or(usize::MAX)];
            file.read_exact(&mut bytes).while_doing(reading)?;
            let found = crc32fast::hash(&bytes);
            match crc32 {
                Some(sent) if *sent != found => {
                    let text =
                        format!("while {}: checksum {sent:#010x} sent, {found:#010x} found", reading());
                    Err(failure(text))
                }
                _ => Ok(bytes),
            }
        }
    }
}

/// Copies between a file and a scratch disk.
///
/// # Errors
/// Those of either; a source that does not fit the stretch of the scratch disk.
pub fn copy(from: &Bulk, to: &Bulk) -> Result<Answer, Failure> {
    let bytes = read_bulk(from)?;
    match to {
        Bulk::File { path } => {
            let writing = || format!("writing {path}");
            let mut file = File::create(path).while_doing(writing)?;
            file.write_all(&bytes).and_then(|()| file.sync_all()).while_doing(writing)?;
        }
        Bulk::Scratch { device, offset, len, .. } => {
            let writing = || format!("writing {device} at {offset}");
            if bytes.len() as u64 > *len {
                return Err(failure(format!(
                    "while {}: {} bytes do not fit into {len}",
                    writing(),
                    bytes.len()
                )));
            }
            let file = OpenOptions::new().write(true).open(device).while_doing(writing)?;
            file.write_all_at(&bytes, *offset).and_then(|()| file.sync_all()).while_doing(writing)?;
        }
    }
    Ok(Answer::Copied { len: bytes.len() as u64, crc32: crc32fast::hash(&bytes) })
}
