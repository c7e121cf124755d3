//! What every operating system finds in memory, whichever way it is entered.

use acpi_tables::Aml;

use crate::blob::Blob;
use crate::config::{Config, ConfigError};
use crate::memory_map::MemoryMap;
use crate::mtrr::{self, Mtrrs};
use crate::{acpi, bios_data, smbios};

/// The memory map, and all that firmware leaves below 1 MiB for any operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    /// The memory map.
    pub map: MemoryMap,
    /// Memory types, for every processor.
    pub mtrrs: Mtrrs,
    /// ACPI tables with RSDP and FACS, SMBIOS, and the BIOS data area. Nothing overlaps.
    pub blobs: Vec<Blob<'static>>,
}

/// Describes a board.
///
/// `devices`: what each device on it says about itself; it is put into `\_SB`, in this order.
///
/// # Errors
/// If the configuration contradicts itself or the tables do not fit into the place they have.
pub fn tables(config: &Config, devices: &[&dyn Aml]) -> Result<Tables, ConfigError> {
    config.check()?;
    let map = MemoryMap::new(&config.memory, &config.pci)?;
    let mut blobs = vec![bios_data::blob()];
    blobs.extend(acpi::blobs(config, devices)?);
    blobs.extend(smbios::blobs(config)?);
    let mtrrs = mtrr::mtrrs(&config.memory, config.physical_bits)?;
    Ok(Tables { map, mtrrs, blobs })
}
