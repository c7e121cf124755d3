use proptest::prelude::*;

use super::*;
use crate::boot::elf_file::{Segment, elf32, vmlinux};
use crate::fixture::{self, MIB};
use crate::registers::Mode;

const BASE: u64 = 4 * MIB;

fn header(flags: u32) -> Vec<u8> {
    let checksum = HEADER_MAGIC.wrapping_add(flags).wrapping_neg();
    [HEADER_MAGIC, flags, checksum].into_iter().flat_map(u32::to_le_bytes).collect()
}

fn guest(header: Vec<u8>, entry: u64) -> Vec<u8> {
    guest_at(BASE, header, entry)
}

fn guest_at(address: u64, header: Vec<u8>, entry: u64) -> Vec<u8> {
    elf32(&[Segment { address, bytes: header, zeroes: 0x4000 }], entry)
}

fn board() -> Tables {
    crate::tables(&fixture::config(32 * MIB, 1), &[]).unwrap()
}

fn word(blob: &Blob<'_>, address: u64) -> u64 {
    let at = (address - blob.address) as usize;
    u64::from(u32::from_le_bytes(blob.bytes[at..at + 4].try_into().unwrap()))
}

fn text(blob: &Blob<'_>, address: u64) -> String {
    let bytes = &blob.bytes[(address - blob.address) as usize..];
    bytes.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
}

#[test]
fn a_guest_is_entered_with_its_information() {
    let (board, guest) = (board(), guest(header(3), BASE + 12));
    let payload = Payload { kernel: &guest, initrd: Some(b"FOO=1\n"), command_line: "apic 1" };
    let boot = multiboot(&board, &payload).unwrap();
    assert_eq!((boot.registers.mode(), boot.registers.rip), (Mode::Protected32, BASE + 12));
    assert_eq!(boot.registers.gprs[gpr::RAX], 0x2bad_b002);
    assert_eq!(boot.registers.gprs[gpr::RBX], layout::MULTIBOOT_INFO);

    let find = |address: u64| boot.blobs.iter().find(|blob| blob.address == address).unwrap();
    let info = find(layout::MULTIBOOT_INFO);
    let field = |offset: u64| word(info, layout::MULTIBOOT_INFO + offset);
    assert_eq!(field(0), 0b10_0100_1101);
    assert_eq!((field(4), field(8)), (640, 31 << 10));
    assert_eq!(text(find(field(16)), field(16)), "apic 1");
    assert_eq!(field(20), 1);
    let (start, end) = (word(info, field(24)), word(info, field(24) + 4));
    assert_eq!((start % 4096, end - start), (0, 6));
    assert_eq!(find(start).bytes.as_ref(), b"FOO=1\n");
    assert_eq!(text(info, field(64)), "kjvm");
    let (len, map) = (field(44), field(48));
    assert_eq!(len, 24 * board.map.entries().len() as u64);
    let second: Vec<u64> = (0..6).map(|index| word(info, map + 24 + index * 4)).collect();
    assert_eq!(second, [20, 0xa_0000, 0, 0x6_0000, 0, 2]);
}

#[test]
fn without_a_module_none_is_told() {
    let (board, guest) = (board(), guest(header(0), BASE));
    let boot = multiboot(&board, &Payload { kernel: &guest, initrd: None, command_line: "" }).unwrap();
    let info = boot.blobs.iter().find(|blob| blob.address == layout::MULTIBOOT_INFO).unwrap();
    let fields = [0, 20, 24].map(|offset| word(info, layout::MULTIBOOT_INFO + offset));
    assert_eq!(fields, [0b10_0100_0101, 0, 0]);
}

#[test]
fn a_guest_may_lie_below_1_mib_where_nothing_else_does() {
    let board = board();
    let load = |address| {
        let guest = guest_at(address, header(0), address + 12);
        let payload = Payload { kernel: &guest, initrd: Some(b"FOO=1\n"), command_line: "" };
        multiboot(&board, &payload).map(|boot| boot.registers.rip)
    };
    assert_eq!(load(0x8000).unwrap(), 0x800c);
    assert!(matches!(load(layout::COMMAND_LINE - 0x1000), Err(BootError::Overlap { .. })));
    assert!(matches!(load(layout::LOW_END - 0x1000), Err(BootError::KernelRoom { .. })));
}

#[test]
fn what_cannot_be_booted_is_named() {
    let board = board();
    let refused = |kernel: &[u8]| {
        multiboot(&board, &Payload { kernel, initrd: None, command_line: "" }).unwrap_err().to_string()
    };
    let late = [vec![0x90; HEADER_WITHIN], header(0)].concat();
    let wrong_sum = [&header(0)[..8], [0; 4].as_slice()].concat();
    let cases = [
        ("not ELF", refused(b"hello, world")),
        ("64 bits", refused(&vmlinux(BASE, 64, 0))),
        ("no header", refused(&guest(vec![0x90; 64], BASE))),
        ("wrong checksum", refused(&guest(wrong_sum, BASE))),
        ("late header", refused(&guest(late, BASE))),
        ("video mode", refused(&guest(header(4), BASE))),
        ("addresses", refused(&guest(header(1 << 16), BASE))),
        ("entry elsewhere", refused(&guest(header(0), 0x1234))),
        ("cut", refused(&guest(header(0), BASE)[..60])),
    ];
    let text: String = cases.iter().map(|(case, message)| format!("{case}: {message}\n")).collect();
    insta::assert_snapshot!(text);
}

proptest! {
    /// Whatever is changed in the headers: an error, or a sound boot.
    #[test]
    fn a_damaged_guest_never_gets_past_the_checks(
        changes in proptest::collection::vec((6..100usize, any::<u8>()), 1..6),
        cut in 0..200usize,
    ) {
        let (board, mut guest) = (board(), guest(header(0), BASE));
        for (at, value) in changes {
            if let Some(byte) = guest.get_mut(at) {
                *byte = value;
            }
        }
        guest.truncate(cut.max(6));
        let payload = Payload { kernel: &guest, initrd: Some(&[0; 100]), command_line: "" };
        fixture::assert_sound(&board, multiboot(&board, &payload));
    }
}
