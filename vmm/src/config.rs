//! What to build a machine from.

use firmware::config::Date;
use serde::{Deserialize, Serialize};

/// A machine. Disks are given apart: they have contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Virtual processors.
    pub processors: u32,
    /// Bytes of RAM.
    pub memory: u64,
    /// Of everything that is random: RDRAND, turns of the processors. The same seed gives the same run.
    pub seed: u64,
    /// World time when power comes on, in nanoseconds since 1970.
    pub power_on: u64,
    /// Instructions a processor runs before the next one takes its turn. With a seed other than 1 each turn is up to half as long or
    /// half as long again.
    pub quantum: u64,
    /// Date of the BIOS, which decides quirks of the guest.
    pub bios_date: Date,
    /// FACS hardware signature.
    pub hardware_signature: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            processors: 1,
            memory: 256 << 20,
            seed: 1,
            // 2024-01-01 00:00:00 UTC.
            power_on: 1_704_067_200_000_000_000,
            quantum: 10_000,
            bios_date: Date { year: 2024, month: 1, day: 1 },
            hardware_signature: 0x6b6a_766d,
        }
    }
}
