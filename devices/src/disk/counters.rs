//! What a disk counts.

use serde::{Deserialize, Serialize};

use super::fault::Kind;

/// What happened since power-on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Reads accepted.
    pub reads: u64,
    /// Sectors they read.
    pub sectors_read: u64,
    /// Writes accepted.
    pub writes: u64,
    /// Sectors they wrote.
    pub sectors_written: u64,
    /// Flushes accepted.
    pub flushes: u64,
    /// Discards accepted.
    pub discards: u64,
    /// Requests to write zeros accepted.
    pub zeroes: u64,
    /// Requests of any kind that failed.
    pub failed: u64,
}

impl Counters {
    /// Counts an accepted request of this many sectors. Returns its number among those of its kind, from 0.
    pub(super) fn accept(&mut self, kind: Kind, sectors: u64) -> u64 {
        let count = match kind {
            Kind::Read => {
                self.sectors_read = self.sectors_read.wrapping_add(sectors);
                &mut self.reads
            }
            Kind::Write => {
                self.sectors_written = self.sectors_written.wrapping_add(sectors);
                &mut self.writes
            }
            Kind::Flush => &mut self.flushes,
            Kind::Discard => &mut self.discards,
            Kind::WriteZeroes => &mut self.zeroes,
        };
        let number = *count;
        *count = count.wrapping_add(1);
        number
    }
}
