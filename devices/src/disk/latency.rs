//! How long a disk takes.

use serde::{Deserialize, Serialize};

use super::Command;

/// Times in nanoseconds of run time. Those of a good NVMe drive by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// From the end of the transfer of a read to its completion.
    pub read: u64,
    /// The same of a write.
    pub write: u64,
    /// Of a flush.
    pub flush: u64,
    /// Of a discard, or of writing zeros.
    pub discard: u64,
    /// To transfer 1 KiB. Transfers follow one another.
    pub kibibyte: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { read: 50_000, write: 15_000, flush: 100_000, discard: 50_000, kibibyte: 400 }
    }
}

impl Latency {
    /// Nanoseconds in which the disk can transfer nothing else.
    pub(super) fn transfer(&self, command: &Command) -> u64 {
        command.transferred().div_ceil(1024).saturating_mul(self.kibibyte)
    }

    /// Nanoseconds from the end of the transfer to the completion, never 0.
    pub(super) fn access(&self, command: &Command) -> u64 {
        let access = match command {
            Command::Read(_) => self.read,
            Command::Write { .. } => self.write,
            Command::Flush => self.flush,
            Command::Discard(_) | Command::WriteZeroes(_) => self.discard,
        };
        access.max(1)
    }
}
