//! What a snapshot's bytes begin with.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `kjvm` 0x89 `SNP` |
//! | 8..12 | format, 1 |
//! | 12..40 | version of the kjvm that wrote it: text, then zeros |
//! | 40..56 | fingerprint of how that version lays out the state |
//! | 56..64 | bytes of memory |
//! | 64..72 | bytes of state |
//! | 72..80 | pages of memory that follow it: those that are not all zeros |
//! | 80..88 | bytes of the body |
//! | 88..120 | BLAKE3 of bytes 0..88 and the body |
//!
//! All numbers are little endian. The first 40 bytes are the same in all formats. The body is one zstd frame: the state (postcard), then
//! each page as its number (4 bytes, counted over memory alone, ascending) and its contents.

use crate::snapshot::SnapshotError;

/// Length.
pub const BYTES: usize = 120;
/// Of a page in the body.
pub const PAGE_RECORD: u64 = 4 + ram::PAGE_SIZE;

const MAGIC: &[u8; 8] = b"kjvm\x89SNP";
const FORMAT: u32 = 1;
const SUMMED: usize = 88;

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of state.
    pub state: u64,
    /// Pages of memory that are not all zeros.
    pub pages: u64,
    /// Bytes of the body.
    pub body: u64,
}

impl Header {
    /// With the checksum over it and this body.
    pub fn to_bytes(self, body: &[u8]) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let mut version = [0; 28];
        let text = env!("CARGO_PKG_VERSION").as_bytes();
        for (to, from) in version.iter_mut().zip(text) {
            *to = *from;
        }
        let parts: [&[u8]; 8] = [
            MAGIC,
            &FORMAT.to_le_bytes(),
            &version,
            &schema(),
            &self.memory.to_le_bytes(),
            &self.state.to_le_bytes(),
            &self.pages.to_le_bytes(),
            &self.body.to_le_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(parts.concat()) {
            *to = from;
        }
        let sum = checksum(&bytes, body);
        bytes[SUMMED..].copy_from_slice(&sum);
        bytes
    }

    /// Of what was read, which may be less than a header.
    pub fn parse(bytes: &[u8]) -> Result<Self, SnapshotError> {
        if !bytes.starts_with(MAGIC) {
            return Err(SnapshotError::NotASnapshot);
        }
        let short = || SnapshotError::Truncated { there: bytes.len() as u64, announced: BYTES as u64 };
        let format = u32::from_le_bytes(field(bytes, 8).ok_or_else(short)?);
        let version = || -> Option<String> {
            let text: [u8; 28] = field(bytes, 12)?;
            let text = text.split(|byte| *byte == 0).next()?;
            Some(text.iter().map(|byte| if byte.is_ascii_graphic() { *byte as char } else { '?' }).collect())
        };
        let version = version().ok_or_else(short)?;
        if format != FORMAT {
            return Err(SnapshotError::Format { format, version, known: FORMAT });
        }
        let found: [u8; 16] = field(bytes, 40).ok_or_else(short)?;
        if found != schema() {
            let [found, ours] = [found, schema()]
                .map(|schema| schema.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<String>());
            return Err(SnapshotError::Layout { version, found, ours, here: env!("CARGO_PKG_VERSION") });
        }
        let number = |at| field(bytes, at).map(u64::from_le_bytes).ok_or_else(short);
        let header = Self { memory: number(56)?, state: number(64)?, pages: number(72)?, body: number(80)? };
        if bytes.len() < BYTES { Err(short()) } else { Ok(header) }
    }
}

/// Whether the checksum in this header is that of itself and this body.
pub fn is_intact(header: &[u8], body: &[u8]) -> bool {
    header.get(SUMMED..BYTES).is_some_and(|sum| sum == checksum(header, body))
}

fn checksum(header: &[u8], body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header.get(..SUMMED).unwrap_or_default()).update(body);
    *hasher.finalize().as_bytes()
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The fingerprint of our own layout: see `build.rs`.
fn schema() -> [u8; 16] {
    u128::from_str_radix(env!("KJVM_SCHEMA"), 16).map_or([0; 16], u128::to_be_bytes)
}
