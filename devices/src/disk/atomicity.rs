//! What a power cut cannot tear.

use serde::{Deserialize, Serialize};

/// What media write in one piece: of a write that is under way when the power fails, each such unit is either old or new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AtomicUnit {
    /// 512 bytes: every disk writes at least that much in one piece.
    #[default]
    Sector,
    /// 4 KiB, aligned: disks with such physical sectors.
    Block,
}

impl AtomicUnit {
    /// Its size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Sector => super::SECTOR,
            Self::Block => super::BLOCK,
        }
    }

    /// Its size in sectors.
    pub const fn sectors(self) -> u64 {
        self.bytes() / super::SECTOR
    }
}

/// What survives together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Tie {
    /// Nothing: each atomic unit survives for itself, so that a write may be torn.
    #[default]
    Unit,
    /// The units of one request: all of them survive, or none.
    Write,
}
