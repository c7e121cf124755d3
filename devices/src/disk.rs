//! Disks: what a front end ([`crate::pci`]) hands requests to.
//!
//! A [`Disk`] accepts requests, numbers them, says when each completes, and knows what of them survives when the power fails. Its
//! contents are [`Media`]: a sparse overlay of changed blocks on a read-only [`Base`] that belongs to the host. A disk is plain data;
//! of its base it keeps the identity only.
//!
//! A write is *accepted*, then *completed*, then *durable*. [`Disk::durable`] is what certainly survives a power cut;
//! [`Disk::changes`] is what may survive beside it, in the order of acceptance, which is the order of the versions of a sector.
//! Whoever cuts the power chooses among these, and [`Disk::power_on`] goes on with the choice.

mod atomicity;
mod base;
mod block;
mod cache;
mod change;
mod command;
mod config;
mod counters;
mod crash_space;
pub mod dm_log_writes;
mod drive;
mod fault;
mod latency;
mod media;
pub mod write_log;

pub use atomicity::{AtomicUnit, Tie};
pub use base::{Base, BaseError, BaseIdentity, BaseRef, MemoryBase};
pub use block::with_hashes;
pub use change::{Change, Contents};
pub use command::{Command, Completion, DiskError, Extent, Ticket};
pub use config::{CacheMode, DiskConfig, DiskConfigError, PowerOff, Standby};
pub use counters::Counters;
pub use crash_space::{
    CrashSpace, CrashSpaceError, CrashState, CrashStateError, CrashStateSyntax, Exhaustive, Fate, OpenUnit,
    PendingWrite, Search, Size, Version, WriteFate,
};
pub use drive::Disk;
pub use fault::{Applied, Fault, FaultOutcome, Kind, Times};
pub use latency::Latency;
pub use media::{Media, MediaError};
pub use write_log::WriteLog;

/// Bytes in a sector, the unit in which requests are addressed.
pub const SECTOR: u64 = 512;
/// Bytes in a block, the unit in which media remember what changed.
pub const BLOCK: u64 = 4096;
