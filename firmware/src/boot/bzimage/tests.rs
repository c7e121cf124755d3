use proptest::prelude::*;

use super::*;
use crate::fixture::{self, MIB};
use crate::registers::Mode;

const BASE: u64 = 16 * MIB;
const SETUP: usize = 2 * 512;
const CODE: usize = 0x1000;

/// A bzImage as the kernel's build makes it: one sector of setup after the first, then code.
fn image() -> Vec<u8> {
    let mut file = vec![0; SETUP];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]);
    put(0x1f4, &((CODE / 16) as u32).to_le_bytes());
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &0x20fu16.to_le_bytes());
    put(0x211, &[1]);
    put(0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(0x230, &0x20_0000u32.to_le_bytes());
    put(0x234, &[1, 21]);
    put(0x236, &0x3fu16.to_le_bytes());
    put(0x238, &2047u32.to_le_bytes());
    put(0x258, &BASE.to_le_bytes());
    put(0x260, &0x80_0000u32.to_le_bytes());
    file.extend(std::iter::repeat_n(0xf4, CODE));
    file
}

fn board(ram: u64) -> Tables {
    crate::tables(&fixture::config(ram, 1), &[]).unwrap()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[test]
fn a_kernel_is_entered_in_64_bit_mode() {
    let (board, kernel, initrd) = (board(64 * MIB), image(), vec![5; 5000]);
    let payload = Payload { kernel: &kernel, initrd: Some(&initrd), command_line: "quiet" };
    let boot = bzimage(&board, &payload).unwrap();
    assert_eq!((boot.registers.mode(), boot.registers.rip), (Mode::Long64, BASE + 0x200));
    assert_eq!(boot.registers.gprs[gpr::RSI], layout::BOOT_PARAMS);
    assert_eq!(boot.registers.cr3, layout::PAGE_TABLES);

    let find = |address: u64| boot.blobs.iter().find(|blob| blob.address == address).unwrap();
    assert_eq!(find(BASE).bytes.as_ref(), &kernel[SETUP..]);
    assert_eq!(find(layout::COMMAND_LINE).bytes.as_ref(), b"quiet\0");
    assert_eq!(find(64 * MIB - 0x2000).bytes.as_ref(), initrd);

    let page = find(layout::BOOT_PARAMS).bytes.as_ref();
    assert_eq!(page.len(), 4096);
    assert_eq!(&page[0x1fe..0x210], &kernel[0x1fe..0x210], "the header as it came");
    assert_eq!(page[0x26c..0x290], [0; 0x24], "and nothing behind it");
    assert_eq!((page[0x1ef], page[0x210]), (0, 0xff));
    assert_eq!(u64_at(page, 0x70), layout::RSDP);
    assert_eq!(u64::from(u32_at(page, 0x228)), layout::COMMAND_LINE);
    assert_eq!((u32_at(page, 0x218), u32_at(page, 0x21c)), ((64 * MIB - 0x2000) as u32, 5000));
    assert_eq!(u64::from(u32_at(page, 0x214)), BASE);
    let map = board.map.entries();
    assert_eq!(usize::from(page[0x1e8]), map.len());
    for (index, entry) in map.iter().enumerate() {
        let at = 0x2d0 + index * 20;
        let told = (u64_at(page, at), u64_at(page, at + 8), u32_at(page, at + 16));
        assert_eq!(told, (entry.start, entry.len, entry.kind as u32));
    }
}

#[test]
fn what_is_behind_the_end_of_an_older_header_is_not_taken_for_it() {
    let (board, mut kernel) = (board(64 * MIB), image());
    kernel[0x201] = 0x62; // ends at 0x264, as protocol 2.12 does
    kernel[0x264..0x26c].fill(0xcc);
    let boot = bzimage(&board, &Payload { kernel: &kernel, initrd: None, command_line: "" }).unwrap();
    let page = boot.blobs.iter().find(|blob| blob.address == layout::BOOT_PARAMS).unwrap();
    assert_eq!(page.bytes[0x264..0x26c], [0; 8]);
}

#[test]
fn what_cannot_be_booted_is_named() {
    let board = board(32 * MIB);
    let refused = |kernel: &[u8], initrd: Option<&[u8]>, command_line: &str| {
        bzimage(&board, &Payload { kernel, initrd, command_line }).unwrap_err().to_string()
    };
    let good = image();
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let cases = [
        ("empty", refused(&[], None, "")),
        ("short", refused(&good[..0x203], None, "")),
        ("half a header", refused(&good[..0x240], None, "")),
        ("vmlinux", refused(b"\x7fELF", None, "")),
        ("no magic", refused(&patched(0x202, b"HdrX"), None, "")),
        ("arm64", refused(&[&[0; 0x38], b"ARM\x64".as_slice(), &[0; 0x400]].concat(), None, "")),
        ("RISC-V", refused(&[&[0; 0x30], b"RISCV".as_slice(), &[0; 0x400]].concat(), None, "")),
        ("no boot flag", refused(&patched(0x1fe, &[0, 0]), None, "")),
        ("old", refused(&patched(0x206, &0x209u16.to_le_bytes()), None, "")),
        ("32 bits", refused(&patched(0x236, &0x3eu16.to_le_bytes()), None, "")),
        ("zImage", refused(&patched(0x211, &[0]), None, "")),
        ("alignment 0", refused(&patched(0x230, &[0; 4]), None, "")),
        ("unaligned", refused(&patched(0x258, &(BASE + 4096).to_le_bytes()), None, "")),
        ("init_size too small", refused(&patched(0x260, &[0; 4]), None, "")),
        ("no code", refused(&patched(0x1f4, &[0; 4]), None, "")),
        ("cut", refused(&good[..SETUP + 100], None, "")),
        ("huge", refused(&patched(0x1f4, &[0xff; 4]), None, "")),
        ("below 1 MiB", refused(&patched(0x258, &[0; 8]), None, "")),
        ("beyond any address", refused(&patched(0x258, &(u64::MAX << 21).to_le_bytes()), None, "")),
        ("too little RAM", refused(&patched(0x260, &(17u32 << 20).to_le_bytes()), None, "")),
        ("initrd larger than RAM", refused(&good, Some(&vec![0; 33 << 20]), "")),
        ("initrd over the kernel", refused(&good, Some(&vec![0; 9 << 20]), "")),
        (
            "initrd_addr_max",
            refused(&patched(0x22c, &0x18f_ffffu32.to_le_bytes()), Some(&vec![0; 2 << 20]), ""),
        ),
        ("initrd_addr_max of 0", refused(&patched(0x22c, &[0; 4]), Some(&[1]), "")),
        ("long command line", refused(&patched(0x238, &[3, 0, 0, 0]), None, "quiet")),
    ];
    let text: String = cases.iter().map(|(case, message)| format!("{case}: {message}\n")).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn a_command_line_longer_than_its_place_is_refused_whatever_the_kernel_says() {
    let (board, mut kernel) = (board(32 * MIB), image());
    kernel[0x238..0x23c].fill(0xff);
    let line = "x".repeat(1 << 20);
    let error = bzimage(&board, &Payload { kernel: &kernel, initrd: None, command_line: &line }).unwrap_err();
    assert!(matches!(error, BootError::CommandLineLong { len: 0x10_0000, most: 0xffff }), "{error}");
}

proptest! {
    /// Whatever is changed in the headers: an error, or a sound boot.
    #[test]
    fn a_damaged_kernel_never_gets_past_the_checks(
        changes in proptest::collection::vec((0x1f1..0x270usize, any::<u8>()), 1..8),
        len in 0..SETUP + CODE + 1,
    ) {
        let (board, mut kernel) = (board(32 * MIB), image());
        for (at, value) in changes {
            kernel[at] = value;
        }
        // Most files are whole.
        kernel.truncate(if len % 4 == 0 { len } else { usize::MAX });
        let payload = Payload { kernel: &kernel, initrd: Some(&[0; 100]), command_line: "quiet" };
        fixture::assert_sound(&board, bzimage(&board, &payload));
    }
}
