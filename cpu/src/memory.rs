//! From a linear address to a byte.

mod access;
mod paging;
mod peek;
mod physical;
mod runs;
pub(crate) mod tlb;

pub use access::Value;
pub use paging::{Access, PHYSICAL_BITS, Translation};
pub use peek::{peek, translate};
pub(crate) use runs::Row;
pub use tlb::Tlb;

/// Bits of an address within its page.
pub const PAGE_OFFSET: u64 = 0xfff;
/// Bits of the number of its page.
pub const PAGE_MASK: u64 = !PAGE_OFFSET;

/// Whether the upper bits of a linear address are copies of bit 47.
pub const fn is_canonical(linear: u64) -> bool {
    (linear << 16) as i64 >> 16 == linear as i64
}
