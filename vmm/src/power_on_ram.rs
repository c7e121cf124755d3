//! What is in RAM when power comes on.

use ram::{GuestRam, RamError};

use crate::config::{Config, RamAtPowerOn};

/// The memory of a machine whose power comes on.
pub fn ram(config: &Config) -> Result<GuestRam, RamError> {
    match config.ram_at_power_on {
        RamAtPowerOn::Zero => GuestRam::new(config.memory),
        RamAtPowerOn::Seeded => GuestRam::noisy(config.memory, config.seed),
    }
}
