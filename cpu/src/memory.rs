//! From a linear address to a byte.

mod access;
mod paging;
mod physical;
mod runs;
pub(crate) mod tlb;

pub use access::Value;
pub use paging::{Access, Translation};
pub(crate) use runs::Row;
pub use tlb::Tlb;

/// Bits of an address within its page.
pub const PAGE_OFFSET: u64 = 0xfff;
/// Bits of the number of its page.
pub const PAGE_MASK: u64 = !PAGE_OFFSET;
