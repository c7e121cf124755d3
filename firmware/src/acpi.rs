//! ACPI tables, placed in the BIOS area (ACPI 6.5, chapter 5).

mod dsdt;
mod fadt;
mod hpet;
mod madt;

use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;

use crate::blob::Blob;
use crate::config::{Config, ConfigError};
use crate::layout;

const OEM: [u8; 6] = *b"KJVM  ";
const OEM_TABLE: [u8; 8] = *b"KJVMPC  ";
const OEM_REVISION: u32 = 1;

/// All tables. Where one is depends on the sizes of those before it, so on the configuration and the devices, and on nothing else.
pub fn blobs(config: &Config, devices: &[&dyn Aml]) -> Result<Vec<Blob<'static>>, ConfigError> {
    let mut place = Place { blobs: Vec::new(), next: layout::TABLES.start };
    let dsdt = place.put("DSDT", &dsdt::table(config, devices)?)?;
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    // The FADT comes first: some kernels look for the DSDT by it before they read on.
    xsdt.add_entry(u64::from(place.put("FADT", &fadt::table(config, dsdt))?));
    xsdt.add_entry(u64::from(place.put("MADT", &madt::table(config))?));
    xsdt.add_entry(u64::from(place.put("MCFG", &mcfg(config))?));
    if let Some(hpet) = &config.hpet {
        xsdt.add_entry(u64::from(place.put("HPET", &hpet::table(hpet))?));
    }
    let xsdt = place.put("XSDT", &xsdt)?;
    let mut blobs = place.blobs;
    blobs.push(Blob::new("RSDP", layout::RSDP, bytes(&Rsdp::new(OEM, u64::from(xsdt)))));
    blobs.push(Blob::new("FACS", layout::FACS, bytes(&facs(config))));
    Ok(blobs)
}

/// Puts one table behind the other.
struct Place {
    blobs: Vec<Blob<'static>>,
    next: u64,
}

impl Place {
    fn put(&mut self, what: &'static str, table: &dyn Aml) -> Result<u32, ConfigError> {
        const ALIGNMENT: u64 = 64;
        let bytes = bytes(table);
        let (address, needed) = (self.next, bytes.len() as u64);
        let room = layout::TABLES.end.saturating_sub(address);
        let too_big = ConfigError::Room { what: "ACPI tables", needed, room };
        if needed > room {
            return Err(too_big);
        }
        self.next = (address + needed).next_multiple_of(ALIGNMENT);
        self.blobs.push(Blob::new(what, address, bytes));
        u32::try_from(address).map_err(|_| too_big)
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// With no flags set, an operating system may only arm the 32-bit vector, which is entered in real mode (5.2.10).
fn facs(config: &Config) -> FACS {
    const VERSION: u8 = 2;
    let mut facs = FACS::new();
    facs.hardware_signature = config.hardware_signature.into();
    facs.version = VERSION;
    facs
}

fn mcfg(config: &Config) -> MCFG {
    let mut mcfg = MCFG::new(OEM, OEM_TABLE, OEM_REVISION);
    mcfg.add_ecam(config.pci.ecam, 0, 0, config.pci.buses.saturating_sub(1));
    mcfg
}

#[cfg(test)]
mod tests;
