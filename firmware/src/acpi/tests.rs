use std::fs;
use std::path::Path as FilePath;
use std::process::Command;

use acpi_tables::aml::{Device, EISAName, IO, Interrupt, Name, ResourceTemplate};

use super::*;
use crate::fixture::{self, MIB};

/// A device's own description, as the board hands it over.
struct SerialPort;

impl Aml for SerialPort {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        let port = IO::new(0x3f8, 0x3f8, 1, 8);
        let interrupt = Interrupt::new(true, true, false, false, 4);
        Device::new(
            "COM1".into(),
            vec![
                &Name::new("_HID".into(), &EISAName::new("PNP0501")),
                &Name::new("_UID".into(), &1u8),
                &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&port, &interrupt])),
            ],
        )
        .to_aml_bytes(sink);
    }
}

const HPET: crate::config::Hpet =
    crate::config::Hpet { address: 0xfed0_0000, id: 0x8086_a201, minimum_tick: 100 };

fn tables(change: impl FnOnce(&mut Config)) -> Vec<Blob<'static>> {
    let mut config = fixture::config(256 * MIB, 2);
    change(&mut config);
    blobs(&config, &[&SerialPort]).unwrap()
}

fn table<'a>(tables: &'a [Blob<'static>], what: &str) -> &'a Blob<'static> {
    tables.iter().find(|table| table.what == what).unwrap()
}

fn u32_at(blob: &Blob<'_>, at: usize) -> u32 {
    u32::from_le_bytes(blob.bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(blob: &Blob<'_>, at: usize) -> u64 {
    u64::from(u32_at(blob, at)) | u64::from(u32_at(blob, at + 4)) << 32
}

/// Runs the reference compiler of ACPI; `./setup` installs it (Debian package acpica-tools).
fn iasl(directory: &FilePath, arguments: &[&str]) -> String {
    let output = Command::new("iasl").args(arguments).current_dir(directory).output();
    let output = output.expect("iasl, of the Debian package acpica-tools, runs: ./setup installs it");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "iasl {arguments:?}: {text}");
    text
}

/// Takes a table apart into a source file beside it; `FACS` and `RSDP` have no compiler.
fn disassemble(directory: &FilePath, blob: &Blob<'_>) -> String {
    let name = blob.what.to_lowercase();
    fs::write(directory.join(format!("{name}.aml")), &blob.bytes).unwrap();
    let said = iasl(directory, &["-d", &format!("{name}.aml")]);
    for complaint in ["Warning", "Error", "Invalid", "Unknown", "incorrect"] {
        assert!(!said.contains(complaint), "{name}: {said}");
    }
    format!("{name}.dsl")
}

/// Bytes as every hex editor shows them. Not the disassembly: its layout differs by the version of the disassembler.
fn dump(blob: &Blob<'_>) -> String {
    let mut text = format!("{} at {:#x}, {} bytes\n", blob.what, blob.address, blob.bytes.len());
    for (row, bytes) in blob.bytes.chunks(16).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
        let printable = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
        let ascii: String = bytes.iter().map(printable).collect();
        text += &format!("{:04x} {hex:<48}  {ascii}\n", row * 16);
    }
    text
}

#[test]
fn tables_are_these() {
    let tables = tables(|config| {
        config.pci.slots = 4;
        config.hpet = Some(HPET);
    });
    for blob in &tables {
        insta::assert_snapshot!(blob.what.to_lowercase(), dump(blob));
    }
}

#[test]
fn the_reference_compiler_makes_the_same_tables_again() {
    let directory = tempfile::tempdir().unwrap();
    let tables = tables(|config| {
        config.processors = 300;
        config.hpet = Some(HPET);
    });
    for blob in tables.iter().filter(|blob| blob.what != "RSDP") {
        let source = disassemble(directory.path(), blob);
        // For an XSDT, the compiler lacks the tables it points to; a FACS has no header for it to make.
        if matches!(blob.what, "XSDT" | "FACS") {
            continue;
        }
        let said = iasl(directory.path(), &["-p", "again", &source]);
        assert!(said.contains("0 Errors, 0 Warnings, 0 Remarks"), "{}: {said}", blob.what);
        let again = fs::read(directory.path().join("again.aml")).unwrap();
        // The header has the compiler's name and version in it; all else is in the body.
        assert!(again[36..] == blob.bytes[36..], "{} comes out different", blob.what);
    }
}

#[test]
fn checksums_and_lengths_are_right() {
    let tables = tables(|config| {
        config.processors = 300;
        config.hpet = Some(HPET);
    });
    for blob in tables {
        let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        match blob.what {
            "FACS" => assert_eq!(u32_at(&blob, 4), 64),
            "RSDP" => assert_eq!((sum(&blob.bytes[..20]), sum(&blob.bytes), u32_at(&blob, 20)), (0, 0, 36)),
            _ => assert_eq!(
                (sum(&blob.bytes), u32_at(&blob, 4) as usize),
                (0, blob.bytes.len()),
                "{}",
                blob.what
            ),
        }
    }
}

#[test]
fn every_table_is_found_from_the_rsdp() {
    let tables = tables(|_| ());
    let xsdt = table(&tables, "XSDT");
    assert_eq!(u64_at(table(&tables, "RSDP"), 24), xsdt.address);
    let entries: Vec<u64> = (36..xsdt.bytes.len()).step_by(8).map(|at| u64_at(xsdt, at)).collect();
    let expected = ["FADT", "MADT", "MCFG"].map(|name| table(&tables, name).address);
    assert_eq!(entries, expected);
    let with_hpet = self::tables(|config| config.hpet = Some(HPET));
    assert_eq!(u64_at(table(&with_hpet, "XSDT"), 60), table(&with_hpet, "HPET").address);
    let fadt = table(&tables, "FADT");
    assert_eq!(u64::from(u32_at(fadt, 40)), table(&tables, "DSDT").address);
    assert_eq!((u32_at(fadt, 36), u64_at(fadt, 132)), (layout::FACS as u32, 0), "one FACS");
    assert_eq!(layout::FACS % 64, 0);
    assert_eq!(u32_at(table(&tables, "FACS"), 8), 0x6b6a_766d);
}

#[test]
fn the_sleep_states_are_those_offered() {
    let offered = |s3, s4| {
        let tables = tables(|config| {
            config.sleep.s3 = s3;
            config.sleep.s4 = s4;
        });
        let dsdt = table(&tables, "DSDT").bytes.clone();
        ["_S0_", "_S3_", "_S4_", "_S5_"].map(|name| dsdt.windows(4).any(|window| window == name.as_bytes()))
    };
    assert_eq!(offered(Some(1), Some(2)), [true, true, true, true]);
    assert_eq!(offered(None, Some(2)), [true, false, true, true]);
    assert_eq!(offered(None, None), [true, false, false, true]);
}

#[test]
fn processors_beyond_the_local_apic_get_x2apic_entries() {
    let kinds = |processors| {
        let tables = tables(|config| config.processors = processors);
        let bytes = &table(&tables, "MADT").bytes[44..];
        let (mut at, mut counts) = (0, [0; 11]);
        while at < bytes.len() {
            counts[usize::from(bytes[at])] += 1;
            at += usize::from(bytes[at + 1]);
        }
        assert_eq!(at, bytes.len());
        counts
    };
    assert_eq!(kinds(255), [255, 1, 2, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(kinds(256), [255, 1, 2, 0, 1, 0, 0, 0, 0, 1, 1]);
}

#[test]
fn the_most_processors_fit_with_room_for_devices() {
    let tables = tables(|config| config.processors = layout::PROCESSORS_MAX);
    let end = tables.iter().filter(|blob| blob.what != "FACS").map(|blob| blob.range().end).max().unwrap();
    assert!(layout::TABLES.end - end >= 16 << 10, "tables end at {end:#x}");
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    struct Huge;
    impl Aml for Huge {
        fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
            sink.vec(&[0xa3; 1 << 16]);
        }
    }
    let error = blobs(&fixture::config(256 * MIB, 1), &[&Huge]).unwrap_err();
    assert!(matches!(error, ConfigError::Room { what: "ACPI tables", .. }), "{error}");
}
