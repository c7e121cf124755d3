use proptest::prelude::*;

use super::*;
use crate::boot::elf_file::{Segment as FileSegment, elf64, vmlinux, xen_note};
use crate::fixture::{self, MIB};
use crate::registers::Mode;

const BASE: u64 = 16 * MIB;

fn board(ram: u64) -> Tables {
    crate::tables(&fixture::config(ram, 2), &[]).unwrap()
}

fn payload<'a>(kernel: &'a [u8], initrd: Option<&'a [u8]>) -> Payload<'a> {
    Payload { kernel, initrd, command_line: "console=ttyS0" }
}

fn word(blob: &Blob<'_>, at: usize) -> u64 {
    u64::from_le_bytes(blob.bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn a_kernel_is_entered_at_its_note() {
    let board = board(64 * MIB);
    let (kernel, initrd) = (vmlinux(BASE, 0x3000, 0x2000), vec![7; 5000]);
    let boot = pvh(&board, &payload(&kernel, Some(&initrd))).unwrap();
    assert_eq!(boot.registers.mode(), Mode::Protected32);
    assert_eq!(boot.registers.rip, BASE);
    assert_eq!(boot.registers.gprs[gpr::RBX], layout::PVH_INFO);

    let find = |address: u64| boot.blobs.iter().find(|blob| blob.address == address).unwrap();
    let loaded = find(BASE);
    assert_eq!((loaded.bytes.as_ref(), loaded.zeroes), (vec![0xf4; 0x3000].as_slice(), 0x2000));
    assert_eq!(find(64 * MIB - 0x2000).bytes.as_ref(), initrd, "as high as it can be, on a page");
    assert_eq!(find(layout::COMMAND_LINE).bytes.as_ref(), b"console=ttyS0\0");

    let info = find(layout::PVH_INFO);
    assert_eq!(word(info, 0), 1 << 32 | u64::from(MAGIC));
    assert_eq!(word(info, 8), 1 << 32, "no flags, one module");
    assert_eq!(word(info, 24), layout::COMMAND_LINE);
    assert_eq!(word(info, 32), layout::RSDP);
    let modules = (word(info, 16) - layout::PVH_INFO) as usize;
    assert_eq!((word(info, modules), word(info, modules + 8)), (64 * MIB - 0x2000, 5000));
    let map = (word(info, 40) - layout::PVH_INFO) as usize;
    assert_eq!(word(info, 48), board.map.entries().len() as u64);
    assert_eq!(info.bytes.len(), map + 24 * board.map.entries().len());
    assert_eq!((word(info, map + 24), word(info, map + 32), word(info, map + 40)), (0xa_0000, 0x6_0000, 2));
}

#[test]
fn without_an_initrd_there_is_no_module() {
    let (board, kernel) = (board(64 * MIB), vmlinux(BASE, 64, 0));
    let boot = pvh(&board, &payload(&kernel, None)).unwrap();
    let info = boot.blobs.iter().find(|blob| blob.address == layout::PVH_INFO).unwrap();
    assert_eq!((word(info, 8), word(info, 16)), (0, 0));
}

#[test]
fn the_initrd_stays_where_the_kernel_reaches_it() {
    let (board, kernel) = (board(8 << 30), vmlinux(BASE, 64, 0));
    let boot = pvh(&board, &payload(&kernel, Some(&[1; 4096]))).unwrap();
    assert!(boot.blobs.iter().any(|blob| blob.what == "the initrd" && blob.address == 0x8000_0000 - 4096));
}

#[test]
fn what_cannot_be_booted_is_named() {
    let board = board(32 * MIB);
    let refused = |kernel: &[u8], initrd: Option<&[u8]>, command_line: &str| {
        pvh(&board, &Payload { kernel, initrd, command_line }).unwrap_err().to_string()
    };
    let good = vmlinux(BASE, 0x3000, 0);
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let with_note =
        |note: &[u8]| elf64(&[FileSegment { address: BASE, bytes: vec![0; 16], zeroes: 0 }], note);
    let mut bzimage = vec![0; 0x400];
    bzimage[0x202..0x206].copy_from_slice(b"HdrS");
    let cases = [
        ("empty", refused(&[], None, "")),
        ("text", refused(b"#!/bin/sh\n", None, "")),
        ("bzImage", refused(&bzimage, None, "")),
        ("32 bits", refused(&patched(4, &[1]), None, "")),
        ("big endian", refused(&patched(5, &[2]), None, "")),
        ("arm64", refused(&patched(18, &183u16.to_le_bytes()), None, "")),
        ("unknown machine", refused(&patched(18, &9999u16.to_le_bytes()), None, "")),
        ("only an identification", refused(&good[..20], None, "")),
        ("no program headers", refused(&good[..100], None, "")),
        ("half", refused(&good[..0x1000], None, "")),
        ("no note", refused(&with_note(&[]), None, "")),
        ("other notes only", refused(&with_note(&xen_note(6, b"linux\0")), None, "")),
        ("note too long", refused(&with_note(&xen_note(18, &[0; 12])), None, "")),
        ("note of 64 bits", refused(&with_note(&xen_note(18, &u64::MAX.to_le_bytes())), None, "")),
        ("notes cut", refused(&with_note(&xen_note(18, &[0; 4])[..14]), None, "")),
        ("entry elsewhere", refused(&with_note(&xen_note(18, &0x100u32.to_le_bytes())), None, "")),
        ("low kernel", refused(&vmlinux(0x1000, 64, 0), None, "")),
        ("kernel above RAM", refused(&vmlinux(32 * MIB, 64, 0), None, "")),
        ("zeroes beyond RAM", refused(&vmlinux(BASE, 64, 64 * MIB), None, "")),
        ("overflow", refused(&vmlinux(u64::MAX - 10, 64, 0), None, "")),
        ("empty initrd", refused(&good, Some(&[]), "")),
        ("initrd larger than RAM", refused(&good, Some(&vec![0; 33 << 20]), "")),
        ("initrd over the kernel", refused(&good, Some(&vec![0; 16 << 20]), "")),
        ("long command line", refused(&good, None, &"x".repeat(2048))),
        ("NUL", refused(&good, None, "quiet\0")),
    ];
    let text: String = cases.iter().map(|(case, message)| format!("{case}: {message}\n")).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn segments_over_each_other_are_refused() {
    let board = board(32 * MIB);
    let segment = |address: u64| FileSegment { address, bytes: vec![0; 0x1000], zeroes: 0x1000 };
    let note = xen_note(18, &(BASE as u32).to_le_bytes());
    let kernel = elf64(&[segment(BASE), segment(BASE + 0x1800)], &note);
    let error = pvh(&board, &payload(&kernel, None)).unwrap_err();
    assert_eq!(error, BootError::Overlap { what: ("the kernel", "the kernel"), address: BASE + 0x1800 });
    let kernel = elf64(&[segment(BASE), segment(BASE + 0x2000)], &note);
    assert!(pvh(&board, &payload(&kernel, None)).is_ok());
}

#[test]
fn an_initrd_that_just_fits_fits() {
    let (board, kernel) = (board(32 * MIB), vmlinux(BASE, 0x1000, 0));
    let room = vec![1; (16 * MIB - 0x1000) as usize];
    assert!(pvh(&board, &payload(&kernel, Some(&room))).is_ok());
}

proptest! {
    /// Whatever is changed in the headers: an error, or a sound boot.
    #[test]
    fn a_damaged_kernel_never_gets_past_the_checks(
        changes in proptest::collection::vec((0..400usize, any::<u8>()), 1..8),
        cut in 0..0x1200usize,
    ) {
        let board = board(32 * MIB);
        let mut kernel = vmlinux(BASE, 0x1000, 0x1000);
        for (at, value) in changes {
            if let Some(byte) = kernel.get_mut(at) {
                *byte = value;
            }
        }
        kernel.truncate(kernel.len().min(cut + 64));
        fixture::assert_sound(&board, pvh(&board, &payload(&kernel, Some(&[0; 100]))));
    }
}
