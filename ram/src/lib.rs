//! Guest memory, and the one gate every write to it passes.
//!
//! Whoever writes, a processor, a device or the host, marks the page as written; if translated code was made from that page, the
//! page is also reported as rewritten, so that the code is dropped before it runs again.
//!
//! The layout does not depend on anything but the size: what does not fit below [`HOLE_START`] continues at [`HOLE_END`]. Guests
//! remember addresses across hibernation.

mod foreign;
mod guest_ram;
mod marks;
mod noise;

pub use foreign::{ForeignWrite, Writer};
pub use guest_ram::{GuestRam, MAX_BYTES, RamError};
pub use marks::PageMarks;

/// Bytes in a page frame.
pub const PAGE_SIZE: u64 = 4096;
/// Where memory below 4 GiB ends at the latest; PCI configuration space, BARs and interrupt controllers follow.
pub const HOLE_START: u64 = 0xb000_0000;
/// Where memory goes on.
pub const HOLE_END: u64 = 0x1_0000_0000;

/// vm-memory's view of guest memory, for those who copy in and out of it: devices, loaders, the host.
pub type GuestMemory = vm_memory::GuestMemoryMmap<PageMarks>;
