//! The MADT: processors and interrupt controllers (ACPI 6.5, 5.2.12).

use acpi_tables::sdt::Sdt;

use super::{OEM, OEM_REVISION, OEM_TABLE};
use crate::config::Config;

const REVISION: u8 = 5;
/// There is a pair of 8259s as well.
const PCAT_COMPAT: u32 = 1;
/// Local APIC ids end here where x2APIC entries begin: 255 is the broadcast address.
const LOCAL_APIC_MAX: u32 = 254;
const ENABLED: u32 = 1;
const EVERY_PROCESSOR: u8 = 0xff;
const EVERY_X2APIC_PROCESSOR: u32 = u32::MAX;
const NMI_PIN: u8 = 1;

/// Types of entry (table 5.21).
mod entry {
    pub const LOCAL_APIC: u8 = 0;
    pub const IO_APIC: u8 = 1;
    pub const SOURCE_OVERRIDE: u8 = 2;
    pub const LOCAL_APIC_NMI: u8 = 4;
    pub const LOCAL_X2APIC: u8 = 9;
    pub const LOCAL_X2APIC_NMI: u8 = 10;
}

/// MPS INTI flags (table 5.26).
mod inti {
    pub const CONFORMS: u16 = 0;
    pub const EDGE_HIGH: u16 = 0x5;
    pub const LEVEL_HIGH: u16 = 0xd;
}

const ISA_TIMER: u8 = 0;
const ISA_BUS: u8 = 0;
const HEADER_LEN: u32 = 36;

/// Processors first, as every kernel numbers them in this order.
pub fn table(config: &Config) -> Sdt {
    let interrupts = &config.interrupts;
    let mut body = Vec::new();
    body.extend(interrupts.local_apic.to_le_bytes());
    body.extend(PCAT_COMPAT.to_le_bytes());
    for id in 0..config.processors {
        match u8::try_from(id) {
            Ok(id) if u32::from(id) <= LOCAL_APIC_MAX => {
                push(&mut body, entry::LOCAL_APIC, &[&[id, id], &ENABLED.to_le_bytes()]);
            }
            _ => {
                let id = id.to_le_bytes();
                push(&mut body, entry::LOCAL_X2APIC, &[&[0, 0], &id, &ENABLED.to_le_bytes(), &id]);
            }
        }
    }
    let gsi_base = 0u32.to_le_bytes();
    let io_apic = interrupts.io_apic.to_le_bytes();
    push(&mut body, entry::IO_APIC, &[&[interrupts.io_apic_id, 0], &io_apic, &gsi_base]);
    source_override(&mut body, ISA_TIMER, interrupts.timer_gsi, inti::EDGE_HIGH);
    source_override(&mut body, config.power.sci, u32::from(config.power.sci), inti::LEVEL_HIGH);
    let conforms = inti::CONFORMS.to_le_bytes();
    push(&mut body, entry::LOCAL_APIC_NMI, &[&[EVERY_PROCESSOR], &conforms, &[NMI_PIN]]);
    if config.processors > LOCAL_APIC_MAX + 1 {
        let every = EVERY_X2APIC_PROCESSOR.to_le_bytes();
        push(&mut body, entry::LOCAL_X2APIC_NMI, &[&conforms, &every, &[NMI_PIN, 0, 0, 0]]);
    }
    let mut table = Sdt::new(*b"APIC", HEADER_LEN, REVISION, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(&body);
    table
}

fn source_override(body: &mut Vec<u8>, source: u8, gsi: u32, flags: u16) {
    push(body, entry::SOURCE_OVERRIDE, &[&[ISA_BUS, source], &gsi.to_le_bytes(), &flags.to_le_bytes()]);
}

/// Type, length, fields.
fn push(body: &mut Vec<u8>, kind: u8, fields: &[&[u8]]) {
    let len: usize = 2 + fields.iter().map(|field| field.len()).sum::<usize>();
    body.extend([kind, len as u8]);
    body.extend(fields.iter().flat_map(|field| field.iter()));
}
