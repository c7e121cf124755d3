//! Disks: what a front end ([`crate::pci`]) hands requests to.
//!
//! A [`Disk`] accepts requests, numbers them and says when each completes. Its contents are [`Media`]: a sparse overlay of changed
//! blocks on a read-only [`Base`] that belongs to the host. A disk is plain data; of its base it keeps the identity only.

mod atomicity;
mod base;
mod block;
mod change;
mod crash_space;
mod drive;
mod file;
mod latency;
mod media;

pub use atomicity::{AtomicUnit, Tie};
pub use base::{Base, BaseError, BaseIdentity, BaseRef, MemoryBase};
pub use change::{Change, Contents};
pub use crash_space::{
    CrashSpace, CrashSpaceError, CrashState, CrashStateError, CrashStateSyntax, Exhaustive, Fate, OpenUnit,
    PendingWrite, Search, Size, Version, WriteFate,
};
pub use drive::{Command, Completion, Counters, Disk, DiskConfig, DiskError, Extent, Ticket};
pub use file::{DiskFile, DiskFileError};
pub use latency::Latency;
pub use media::{Media, MediaError};

/// Bytes in a sector, the unit in which requests are addressed.
pub const SECTOR: u64 = 512;
/// Bytes in a block, the unit in which media remember what changed.
pub const BLOCK: u64 = 4096;
