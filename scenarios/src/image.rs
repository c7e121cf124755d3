//! Images of sleeping kernels, read from a disk's contents: what swsusp writes to swap, and what our agents write to a partition
//! ([`agent_protocol::image`]).
//!
//! Nothing here trusts what it reads. A reader goes as far as it can and keeps the first thing that is wrong beside what it read; it
//! needs no more memory than a small multiple of the image, and reads nothing more than twice.

pub mod find;
pub mod flaw;
pub mod frames;
pub mod info;
pub mod ours;
pub mod part;
pub mod partitions;
pub mod swap_header;
pub mod swap_map;
pub mod swsusp;
pub mod units;

pub use find::{Contents, Found, find};
pub use flaw::{Flaw, Reaction};
pub use frames::{Frames, Page};
pub use info::Info;
pub use ours::Ours;
pub use part::Part;
pub use swap_header::SwapHeader;
pub use swsusp::Swsusp;

/// Bytes of a page, of a page frame and of a slot of swap.
pub const PAGE: usize = 4096;

/// Little-endian numbers at fixed offsets; `None` beyond the end.
pub(crate) mod fields {
    /// 32 bits.
    pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
        bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
    }

    /// 64 bits.
    pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
        bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
    }

    /// Text of at most `len` bytes, up to the first zero.
    pub fn text_at(bytes: &[u8], at: usize, len: usize) -> String {
        let field = bytes.get(at..at.saturating_add(len)).unwrap_or_default();
        let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}
