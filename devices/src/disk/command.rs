//! What a front end asks of a disk, and what it is told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{BaseError, Contents, Kind, SECTOR};
use crate::{DiskAction, VirtualTime};

/// Some sectors in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// The first.
    pub sector: u64,
    /// How many.
    pub sectors: u64,
}

impl Extent {
    /// First byte and number of bytes, if that can be said at all.
    pub(super) fn bytes(self) -> Option<(u64, u64)> {
        let start = self.sector.checked_mul(SECTOR)?;
        let length = self.sectors.checked_mul(SECTOR)?;
        start.checked_add(length)?;
        Some((start, length))
    }

    /// The sector after the last.
    pub fn end(self) -> u64 {
        self.sector.saturating_add(self.sectors)
    }

    /// Whether they have a sector in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.sector.max(other.sector) < self.end().min(other.end())
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Contents.
    Read {
        /// Of which sectors.
        extent: Extent,
        /// Made durable before they are read (force unit access).
        fua: bool,
    },
    /// New contents: whole sectors.
    Write {
        /// The first sector.
        sector: u64,
        /// What it becomes.
        data: Arc<[u8]>,
        /// Completed only when durable (force unit access).
        fua: bool,
    },
    /// Make durable what was completed.
    Flush,
    /// These contents are not needed any more; they read as zeros.
    Discard(Vec<Extent>),
    /// These become zero.
    WriteZeroes {
        /// Which.
        extents: Vec<Extent>,
        /// Completed only when durable (force unit access).
        fua: bool,
    },
}

impl Command {
    /// As events tell of it.
    pub(super) fn action(&self) -> DiskAction {
        let first = |extents: &[Extent]| extents.first().copied().unwrap_or_default();
        match self {
            Self::Read { extent, .. } => DiskAction::Read(*extent),
            Self::Write { sector, data, fua } => {
                let extent = Extent { sector: *sector, sectors: data.len() as u64 / SECTOR };
                DiskAction::Write { extent, fua: *fua }
            }
            Self::Flush => DiskAction::Flush,
            Self::Discard(extents) => DiskAction::Discard(first(extents)),
            Self::WriteZeroes { extents, .. } => DiskAction::WriteZeroes(first(extents)),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.action().into()
    }

    /// Whether what it reads or writes has to be durable when it completes, whatever the cache is set to.
    pub(super) fn is_fua(&self) -> bool {
        matches!(
            self,
            Self::Read { fua: true, .. }
                | Self::Write { fua: true, .. }
                | Self::WriteZeroes { fua: true, .. }
        )
    }

    /// The sectors it names, in the order in which it names them.
    pub(super) fn extents(&self) -> Vec<Extent> {
        match self {
            Self::Read { extent, .. } => vec![*extent],
            Self::Write { sector, data, .. } => {
                vec![Extent { sector: *sector, sectors: data.len() as u64 / SECTOR }]
            }
            Self::Flush => Vec::new(),
            Self::Discard(extents) | Self::WriteZeroes { extents, .. } => extents.clone(),
        }
    }

    /// What it changes its sectors to. None: it changes nothing.
    pub(super) fn contents(&self) -> Option<Contents> {
        match self {
            Self::Read { .. } | Self::Flush => None,
            Self::Write { data, .. } => Some(Contents::Data(data.clone())),
            Self::Discard(_) => Some(Contents::Discarded),
            Self::WriteZeroes { .. } => Some(Contents::Zeros),
        }
    }

    /// Bytes that pass between host and disk.
    pub(super) fn transferred(&self) -> u64 {
        match self {
            Self::Read { extent, .. } => extent.sectors.saturating_mul(SECTOR),
            Self::Write { data, .. } => data.len() as u64,
            Self::Flush | Self::Discard(_) | Self::WriteZeroes { .. } => 0,
        }
    }
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum DiskError {
    /// Reaches beyond the end, or is not a whole number of sectors.
    #[error("beyond the end of the disk, or not whole sectors")]
    Range,
    /// The disk is read-only.
    #[error("the disk is read-only")]
    ReadOnly,
    /// The scenario wants it to fail ([`super::Fault`]).
    #[error("a fault of the disk that the scenario asked for")]
    Fault,
    /// The contents cannot be had: the host's fault, not the disk's.
    #[error(transparent)]
    Base(#[from] BaseError),
}

/// An accepted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its number on this disk.
    pub request: u64,
    /// When the front end calls [`super::Disk::complete`]. None: never, since the scenario wants it to hang.
    pub due: Option<VirtualTime>,
    /// A trigger matched its acceptance: nothing more may happen before the machine has stopped.
    pub stop: bool,
}

/// A request whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// What it read, if it is a read.
    pub result: Result<Vec<u8>, DiskError>,
    /// A trigger matched: the front end tells the guest, and then nothing more may happen before the machine has stopped.
    pub stop: bool,
}
