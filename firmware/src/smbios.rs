//! SMBIOS: who made the machine and when, as far as operating systems ask (DSP0134 3.2.0).
//!
//! Linux prints it, and decides by the year of the BIOS whether it runs on hardware of the older kind.

use crate::blob::Blob;
use crate::config::{Config, ConfigError, Date};
use crate::layout;

/// Version 3.2, document revision 0.
const VERSION: [u8; 3] = [3, 2, 0];
const ENTRY_POINT_LEN: usize = 24;
const ENTRY_POINT_REVISION: u8 = 1;
/// The structures begin on the next paragraph.
const STRUCTURES: u64 = layout::SMBIOS.start + 0x20;

const VENDOR: &str = "kjvm";
const PRODUCT: &str = "kjvm PC";
const NO_SERIAL_NUMBER: &str = "0";

/// Kinds of structure (6.2), which are their handles as well, as there is one of each.
mod kind {
    pub const BIOS: u8 = 0;
    pub const SYSTEM: u8 = 1;
    pub const BASEBOARD: u8 = 2;
    pub const CHASSIS: u8 = 3;
    pub const BOOT: u8 = 32;
    pub const END: u8 = 127;
}

/// The entry point, and the structures it points to; nothing if there is no SMBIOS.
pub fn blobs(config: &Config) -> Result<Vec<Blob<'static>>, ConfigError> {
    let Some(date) = config.bios_date else { return Ok(Vec::new()) };
    let structures = structures(date);
    let room = layout::SMBIOS.end - STRUCTURES;
    let needed = structures.len() as u64;
    let len = u32::try_from(needed).ok().filter(|_| needed <= room);
    let len = len.ok_or(ConfigError::Room { what: "SMBIOS structures", needed, room })?;
    Ok(vec![
        Blob::new("SMBIOS entry point", layout::SMBIOS.start, entry_point(len)),
        Blob::new("SMBIOS structures", STRUCTURES, structures),
    ])
}

/// The 64-bit entry point (5.2.2). `len`: bytes of all structures.
fn entry_point(len: u32) -> Vec<u8> {
    const CHECKSUM_AT: usize = 5;
    let [major, minor, document] = VERSION;
    let mut bytes = b"_SM3_".to_vec();
    bytes.extend([0, ENTRY_POINT_LEN as u8, major, minor, document, ENTRY_POINT_REVISION, 0]);
    bytes.extend(len.to_le_bytes());
    bytes.extend(STRUCTURES.to_le_bytes());
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[CHECKSUM_AT] = sum.wrapping_neg();
    bytes
}

fn structures(date: Date) -> Vec<u8> {
    let mut table = Vec::new();
    bios(date, &mut table);
    system(&mut table);
    baseboard(&mut table);
    chassis(&mut table);
    Structure::new(kind::BOOT).fields(&[0; 7]).end(&mut table);
    Structure::new(kind::END).end(&mut table);
    table
}

fn bios(date: Date, table: &mut Vec<u8>) {
    /// "BIOS characteristics are not supported": what those 64 bits list is not here.
    const CHARACTERISTICS: u64 = 1 << 3;
    const ACPI: u8 = 1 << 0;
    const VIRTUAL_MACHINE: u8 = 1 << 4;
    const NO_EMBEDDED_CONTROLLER: u8 = 0xff;
    let Date { year, month, day } = date;
    let mut bios = Structure::new(kind::BIOS);
    let (vendor, version) = (bios.text(VENDOR), bios.text(version()));
    let date = bios.text(&format!("{month:02}/{day:02}/{year:04}"));
    bios.fields(&[vendor, version])
        .fields(&((layout::RSDP >> 4) as u16).to_le_bytes())
        .fields(&[date, 1]) // 128 KiB
        .fields(&CHARACTERISTICS.to_le_bytes())
        .fields(&[ACPI, VIRTUAL_MACHINE])
        .fields(&[0, 1, NO_EMBEDDED_CONTROLLER, NO_EMBEDDED_CONTROLLER])
        .fields(&0u16.to_le_bytes())
        .end(table);
}

fn system(table: &mut Vec<u8>) {
    const NO_UUID: [u8; 16] = [0; 16];
    const WAKE_UP_BY_POWER_SWITCH: u8 = 6;
    let mut system = Structure::new(kind::SYSTEM);
    let (vendor, product, version) = (system.text(VENDOR), system.text(PRODUCT), system.text(version()));
    let serial = system.text(NO_SERIAL_NUMBER);
    system
        .fields(&[vendor, product, version, serial])
        .fields(&NO_UUID)
        .fields(&[WAKE_UP_BY_POWER_SWITCH, 0, 0])
        .end(table);
}

fn baseboard(table: &mut Vec<u8>) {
    const HOSTING: u8 = 1 << 0;
    const MOTHERBOARD: u8 = 0x0a;
    let mut board = Structure::new(kind::BASEBOARD);
    let (vendor, product, version) = (board.text(VENDOR), board.text(PRODUCT), board.text(version()));
    let serial = board.text(NO_SERIAL_NUMBER);
    board
        .fields(&[vendor, product, version, serial, 0, HOSTING, 0])
        .fields(&u16::from(kind::CHASSIS).to_le_bytes())
        .fields(&[MOTHERBOARD, 0])
        .end(table);
}

fn chassis(table: &mut Vec<u8>) {
    /// A desktop: of the others, some make Linux look for a lid or a tablet switch.
    const DESKTOP: u8 = 3;
    const SAFE: u8 = 3;
    const NO_SECURITY: u8 = 3;
    let mut chassis = Structure::new(kind::CHASSIS);
    let (vendor, version) = (chassis.text(VENDOR), chassis.text(version()));
    let serial = chassis.text(NO_SERIAL_NUMBER);
    chassis
        .fields(&[vendor, DESKTOP, version, serial, 0])
        .fields(&[SAFE, SAFE, SAFE, NO_SECURITY])
        .fields(&0u32.to_le_bytes())
        .fields(&[0, 1, 0, 0, 0])
        .end(table);
}

const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// One structure: header, fields, and the strings that fields name by number.
struct Structure {
    kind: u8,
    fields: Vec<u8>,
    strings: Vec<String>,
}

impl Structure {
    const HEADER_LEN: usize = 4;

    fn new(kind: u8) -> Self {
        Self { kind, fields: Vec::new(), strings: Vec::new() }
    }

    /// The number of a string.
    fn text(&mut self, text: &str) -> u8 {
        self.strings.push(text.to_owned());
        self.strings.len() as u8
    }

    fn fields(mut self, bytes: &[u8]) -> Self {
        self.fields.extend(bytes);
        self
    }

    /// Strings end with a NUL each, and the set of them with another; the empty set is two.
    fn end(self, table: &mut Vec<u8>) {
        table.extend([self.kind, (Self::HEADER_LEN + self.fields.len()) as u8]);
        table.extend(u16::from(self.kind).to_le_bytes());
        table.extend(&self.fields);
        for text in &self.strings {
            table.extend(text.as_bytes());
            table.push(0);
        }
        if self.strings.is_empty() {
            table.push(0);
        }
        table.push(0);
    }
}

#[cfg(test)]
mod tests;
