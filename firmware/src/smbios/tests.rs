use super::*;
use crate::fixture::{self, MIB};

fn made(date: Date) -> [Blob<'static>; 2] {
    blobs(&Config { bios_date: Some(date), ..fixture::config(64 * MIB, 1) }).unwrap().try_into().unwrap()
}

const DATE: Date = Date { year: 2011, month: 2, day: 28 };

/// `dmi_decode_table` of drivers/firmware/dmi_scan.c: structures by their kind, with their strings.
fn decode(mut table: &[u8]) -> Vec<(u8, Vec<u8>, Vec<String>)> {
    let mut decoded = Vec::new();
    while let [kind, len, ..] = *table {
        let (fields, rest) = table.split_at(usize::from(len));
        let end = rest.windows(2).position(|pair| pair == [0, 0]).unwrap();
        let strings = String::from_utf8(rest[..end].to_vec()).unwrap();
        decoded.push((kind, fields.to_vec(), strings.split('\0').map(str::to_owned).collect()));
        table = &rest[end + 2..];
    }
    decoded
}

#[test]
fn linux_finds_the_entry_point_and_the_structures() {
    let [entry, structures] = made(DATE);
    assert_eq!((entry.address, &entry.bytes[..5], entry.bytes.len()), (0xf_0000, b"_SM3_".as_slice(), 24));
    assert_eq!(entry.bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    assert_eq!(usize::from(entry.bytes[6]), entry.bytes.len());
    assert_eq!(entry.bytes[12..16], (structures.bytes.len() as u32).to_le_bytes());
    assert_eq!(entry.bytes[16..24], structures.address.to_le_bytes());
    assert!(entry.range().end <= structures.address);
}

#[test]
fn a_machine_may_have_none() {
    assert_eq!(blobs(&Config { bios_date: None, ..fixture::config(64 * MIB, 1) }), Ok(Vec::new()));
}

#[test]
fn structures_have_the_lengths_of_the_specification() {
    let [_, structures] = made(DATE);
    let decoded = decode(&structures.bytes);
    let lengths: Vec<(u8, usize)> = decoded.iter().map(|(kind, fields, _)| (*kind, fields.len())).collect();
    assert_eq!(lengths, [(0, 0x1a), (1, 0x1b), (2, 0x0f), (3, 0x16), (32, 0x0b), (127, 4)]);
}

#[test]
fn the_date_of_the_bios_is_the_scenarios() {
    let text = |date| {
        let [_, structures] = made(date);
        let (_, fields, strings) = decode(&structures.bytes).swap_remove(0);
        strings[usize::from(fields[8]) - 1].clone()
    };
    assert_eq!(text(DATE), "02/28/2011");
    assert_eq!(text(Date { year: 2024, month: 12, day: 1 }), "12/01/2024");
}

#[test]
fn every_string_named_is_there() {
    let [_, structures] = made(DATE);
    let decoded = decode(&structures.bytes);
    let named = |kind: u8, at: usize| {
        let (_, fields, strings) = decoded.iter().find(|structure| structure.0 == kind).unwrap();
        strings[usize::from(fields[at]) - 1].as_str()
    };
    let names = [named(0, 4), named(1, 4), named(1, 5), named(2, 4), named(2, 5), named(3, 4)];
    assert_eq!(names, ["kjvm", "kjvm", "kjvm PC", "kjvm", "kjvm PC", "kjvm"]);
}
