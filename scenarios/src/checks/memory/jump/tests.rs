//! A small A, its structures by hand.

use cpu::state::{Cr0, Efer};

use super::*;
use crate::checks::Status;

/// Where what is, one page each.
const TABLES: [u64; 4] = [0x1000, 0x2000, 0x3000, 0x4000];
const IDENTITY: u64 = 0x5000;
const CONTROL: u64 = 0x6000;
const SWAP: u64 = 0x7000;
const INDIRECTION_PAGE: u64 = 0x8000;
const SOURCES: [u64; 2] = [0x9000, 0xa000];
const DESTINATION_PAGE: u64 = 0x20_0000;
const STACK: u64 = 0xb000;
const PAGE_LIST: u64 = 0xbf00;
/// The linear address of physical 0.
const MAP: u64 = 0xffff_8880_0000_0000;

fn put(ram: &GuestRam, address: u64, word: u64) {
    ram.write(address, &word.to_le_bytes()).unwrap();
}

/// A at the first instruction of `relocate_kernel`, and the ranges it has.
fn a() -> (CpuState, GuestRam, Vec<Range<u64>>) {
    let ram = GuestRam::new(4 << 20).unwrap();
    let mut state = CpuState::reset();
    state.cr0 |= Cr0::PG | Cr0::PE;
    state.msrs.efer |= Efer::LMA;
    state.cr3 = TABLES[0];
    put(&ram, TABLES[0] + (MAP >> 39 & 0x1ff) * 8, TABLES[1] | 3);
    put(&ram, TABLES[1] + (MAP >> 30 & 0x1ff) * 8, TABLES[2] | 3);
    put(&ram, TABLES[2], TABLES[3] | 3);
    for page in 0..512 {
        put(&ram, TABLES[3] + 8 * page, page << 12 | 3);
    }
    // The identity map has one large page of level 3.
    put(&ram, IDENTITY, 0xc000 | 3);
    put(&ram, 0xc000, 0x83);
    for (number, word) in [CONTROL, MAP + CONTROL, IDENTITY, SWAP].into_iter().enumerate() {
        put(&ram, PAGE_LIST + 8 * number as u64, word);
    }
    let list = [DESTINATION_PAGE | 1, SOURCES[0] | 8, SOURCES[1] | 8, 4];
    for (number, word) in list.into_iter().enumerate() {
        put(&ram, INDIRECTION_PAGE + 8 * number as u64, word);
    }
    state.gpr[1] = 1;
    state.gpr[4] = MAP + STACK + 0x120;
    state.gpr[6] = MAP + PAGE_LIST;
    state.gpr[7] = INDIRECTION_PAGE | 2;
    (state, ram, vec![0x1000..0x10_0000, 0x10_0000..0x40_0000])
}

fn status(departure: &Departure, ram: &GuestRam) -> (Status, String) {
    let check = departure.compare(ram, "");
    (check.status, check.evidence.into_iter().next().unwrap_or_default())
}

#[test]
fn what_the_way_out_and_the_way_back_change_is_not_compared() {
    let (state, ram, usable) = a();
    let departure = Departure::of(&state, &ram, &usable).unwrap();
    let swapped: Vec<u64> = departure.swapped().copied().collect();
    assert_eq!(swapped, [9, 10, 0x200, 0x201]);
    assert_eq!(departure.in_control_page(0x12b), 0x612b);
    ram.write(CONTROL + 0x800, &[1; 0x800]).unwrap();
    ram.write(SWAP, &[2; 4096]).unwrap();
    ram.write(SOURCES[1], &[3; 4096]).unwrap();
    ram.write(STACK, &[4; 0x120]).unwrap();
    put(&ram, TABLES[2], TABLES[3] | 0x63);
    put(&ram, 0xc000, 0xe3);
    ram.write(0xfff, &[5]).unwrap();
    let check = departure.compare(&ram, "cycle 1, jump-back");
    assert_eq!(check.status, Status::Pass, "{:?}", check.evidence);
    insta::assert_snapshot!(check.evidence.join("\n"), @r"
    compared: 1023 pages of A's RAM as firmware describes it, but for page 0
    not compared: control page 0x6000 from +0x800
    not compared: swap page 0x7000
    not compared: 2 source pages of image->head
    not compared: the stack below RSP, 0xb000..0xb120
    not compared: accessed and dirty bits in 6 page tables
    ");
}

#[test]
fn whatever_else_changes_is_found() {
    // Code of the control page; the stack above; pages that came back; the list itself; a table's address; A and D elsewhere.
    for address in [
        CONTROL + 0x7ff,
        STACK + 0x120,
        DESTINATION_PAGE,
        INDIRECTION_PAGE,
        TABLES[3] + 1,
        0x30_0000,
        0x3f_ffff,
    ] {
        let (state, ram, usable) = a();
        let departure = Departure::of(&state, &ram, &usable).unwrap();
        let mut byte = [0];
        ram.read(address, &mut byte).unwrap();
        ram.write(address, &[byte[0] ^ 0x40]).unwrap();
        let (status, evidence) = status(&departure, &ram);
        assert_eq!(status, Status::Fail, "{address:#x}");
        let (page, offset) = (address / 4096 * 4096, address % 4096);
        let expected = format!("page {page:#x}: 1 bytes differ, the first at +{offset:#x}");
        assert!(evidence.starts_with(&expected), "{evidence}");
    }
}

#[test]
fn a_stack_that_crosses_a_page_has_two_and_one_at_its_start_the_page_below() {
    let both = [0xb000..0xb020, 0xa000..0xb000];
    for (offset, expected) in [(0x20, &both[..]), (0, &both[1..])] {
        let (mut state, ram, _) = a();
        state.gpr[4] = MAP + STACK + offset;
        assert_eq!(stack_below(&state, &ram, state.gpr[4]).as_deref(), Some(expected));
    }
}

#[test]
fn what_cannot_be_read_is_said_and_a_kexec_that_does_not_come_back_is_none() {
    let (mut state, ram, usable) = a();
    state.gpr[1] = 0;
    assert_eq!(Departure::of(&state, &ram, &usable).err(), Some(None));
    for (register, value, why) in [
        (6, 0x1234_0000, "page_list of relocate_kernel cannot be read"),
        (7, 0x7000_0000 | 2, "the list of image->head cannot be read"),
        (4, 0x1000, "A's stack cannot be read"),
    ] {
        let (mut state, ram, usable) = a();
        state.gpr[register] = value;
        let found = Departure::of(&state, &ram, &usable).err().flatten().unwrap_or_default();
        assert_eq!(found, why);
    }
    let (state, ram, usable) = a();
    put(&ram, INDIRECTION_PAGE + 24, INDIRECTION_PAGE | 2);
    let found = Departure::of(&state, &ram, &usable).err().flatten();
    assert_eq!(found, Some("the list of image->head cannot be read"), "a list without an end");
    let beyond = [0x1000..0x2000, 0x2000..1 << 40];
    assert!(Departure::of(&state, &GuestRam::new(4096).unwrap(), &beyond).is_err());
}
