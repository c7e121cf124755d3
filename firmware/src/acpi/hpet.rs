//! The HPET table: where the timer block is and what it can do (IA-PC HPET 1.0a, 3.2.4).

use acpi_tables::Aml;
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::sdt::Sdt;

use super::{OEM, OEM_REVISION, OEM_TABLE};
use crate::config::Hpet;

const REVISION: u8 = 1;
const HEADER_LEN: u32 = 36;
/// The only one, so the one that Linux and everybody else takes.
const NUMBER: u8 = 0;
/// Nothing is said of what else its page holds.
const NO_PAGE_PROTECTION: u8 = 0;
/// Its registers have 64 bits.
const WIDTH: u8 = 64;

pub fn table(hpet: &Hpet) -> Sdt {
    let mut body = hpet.id.to_le_bytes().to_vec();
    let registers = GAS::new(AddressSpace::SystemMemory, WIDTH, 0, AccessSize::Undefined, hpet.address);
    registers.to_aml_bytes(&mut body);
    body.push(NUMBER);
    body.extend(hpet.minimum_tick.to_le_bytes());
    body.push(NO_PAGE_PROTECTION);
    let mut table = Sdt::new(*b"HPET", HEADER_LEN, REVISION, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(&body);
    table
}
