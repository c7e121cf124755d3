//! How long a disk takes.

use serde::{Deserialize, Serialize};

use super::Command;

/// Times in nanoseconds of run time. Those of a good NVMe drive by default. They depend on the kind of a request, its length and its
/// number, never on contents: two disks with other contents take the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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

    /// Nanoseconds from the end of the transfer to the completion, never 0. With a seed, up to three times as long: by how much is a
    /// function of the seed and the number of the request.
    pub(super) fn access(&self, command: &Command, request: u64, seed: Option<u64>) -> u64 {
        let access = match command {
            Command::Read { .. } => self.read,
            Command::Write { .. } => self.write,
            Command::Flush => self.flush,
            Command::Discard(_) | Command::WriteZeroes { .. } => self.discard,
        };
        let access = access.max(1);
        let jitter = seed.map_or(0, |seed| mix(seed, request) % access.saturating_mul(2).saturating_add(1));
        access.saturating_add(jitter)
    }
}

/// The finalizer of SplitMix64: equal inputs give equal outputs, and near ones give far ones.
fn mix(seed: u64, number: u64) -> u64 {
    let mut mixed = seed ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
