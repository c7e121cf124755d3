//! Page tables, descriptors and gates that somebody may have tampered with.

use crate::random::Random;

/// Where things lie. Everything else in memory is data.
pub const PAGE_TABLES: u64 = 0x1000;
pub const PAGE_TABLES_END: u64 = 0x9000;
pub const GDT: u64 = 0x1_1000;
pub const IDT: u64 = 0x1_2000;
pub const TSS: u64 = 0x1_3000;
pub const CODE: u64 = 0x2_0000;
pub const CODE_END: u64 = 0x2_8000;
pub const STACK: u64 = 0x3_0000;
/// Bytes of memory.
pub const MEMORY: u64 = 0x8_0000;

/// Flat segments of every kind: code and data of 64, 32 and 16 bits for the kernel and for users, a task and a gate.
const DESCRIPTORS: [u64; 12] = [
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_9b00_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0x000f_9b00_0000_ffff,
    0x000f_9300_0000_ffff,
    0x0000_8901_3000_0067,
    0,
    0x0002_ec00_0008_0000,
];
/// How many the table has.
pub const GDT_ENTRIES: u64 = 32;

/// A descriptor: one of the usual ones, or once in `rarity` times one with some bit changed, or anything.
pub fn descriptor(random: &mut Random, index: u64, rarity: u64) -> u64 {
    let usual = DESCRIPTORS.get(index as usize).copied().unwrap_or_else(|| random.pick(&DESCRIPTORS));
    match random.below(3 * rarity) {
        0 if index > 3 => random.bits(),
        1 if index > 3 => usual ^ 1 << (40 + random.below(16)),
        2 if index > 3 => usual ^ random.integer() << 16,
        _ => usual,
    }
}

/// A selector that is likely to lead somewhere.
pub fn selector(random: &mut Random) -> u16 {
    if random.once_in(8) {
        random.bits() as u16
    } else {
        (random.below(GDT_ENTRIES / 2) << 3 | random.below(4)) as u16
    }
}

/// A gate of the interrupt table: words of 8 bytes. Once in `rarity` times something is wrong with it.
pub fn gate(random: &mut Random, vector: u64, long: bool, rarity: u64) -> [u64; 2] {
    if random.once_in(2 * rarity) {
        return [random.bits(), random.integer()];
    }
    let code = if long { 0x08 } else { 0x18 };
    let selector = if random.once_in(rarity) { u64::from(selector(random)) } else { code };
    let kind = if random.once_in(rarity) { random.bits() & 15 } else { 14 | random.below(2) };
    let level = random.pick(&[0, 0, 3]);
    // Without a stack of its own, a double fault soon follows what a stack pointer did.
    let own_stack = long && (vector == 8 || !random.once_in(4));
    let stack = if own_stack { 1 + random.below(7) } else { 0 };
    let offset = CODE + random.below(CODE_END - CODE);
    let attributes = (0x80 | level << 5 | kind) << 8 | stack;
    [offset & 0xffff | selector << 16 | attributes << 32 | (offset >> 16) << 48, 0]
}

/// An entry of any level that may be there, point to memory, to another table, to a device, to nothing, or have bits that it must
/// not have.
pub fn entry(random: &mut Random) -> u64 {
    let bits = random.bits();
    let flags = bits & 0x8000_0000_0000_01ff;
    match random.below(12) {
        0 => 0,
        1 => bits,
        2 => (PAGE_TABLES + (bits & 7) * 0x1000) | flags | 7,
        3 => 0xfee0_0000 | flags & !0x80 | 3,
        4 => 0xe000_0000 | bits & 0xff_f000 | flags | 3,
        // Beyond the end of memory, and of all addresses.
        5 => MEMORY | flags | 3,
        6 => random.integer() & !0xfff | flags | 1,
        7 => 1 << (39 + random.below(13)) | flags | 3,
        8 => bits & 0x20_0000 | 0x87 | flags,
        _ => (bits >> 20 & (MEMORY - 1) & !0xfff) | flags | 7,
    }
}

/// An entry for a page at its own address, mostly with all rights. What keeps the processor alive is rarely tampered with.
pub fn own_entry(random: &mut Random, frame: u64, rarity: u64) -> u64 {
    let address = frame << 12;
    let is_vital = address < CODE || frame == STACK >> 12;
    match random.below(if is_vital { 64 * rarity } else { 4 * rarity }) {
        0 => entry(random),
        1 => address | random.bits() & 0x8000_0000_0000_0f7f,
        2 => address | 3,
        3 => address | 5,
        _ => address | 7,
    }
}

/// Words that are likely to mean something: integers, pointers, selectors.
pub fn word(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => random.integer(),
        1 => CODE + random.below(CODE_END - CODE),
        2 => STACK + random.below(0x1000),
        3 => PAGE_TABLES + random.below(PAGE_TABLES_END - PAGE_TABLES),
        4 => GDT + random.below(0x3000),
        5 => selector(random).into(),
        6 => random.pick(&[
            0xfee0_0000,
            0xfee0_0300,
            0xe000_0000,
            MEMORY - 4,
            0xffff_ffff_ffff_fffc,
            0x7fff_ffff_fffc,
        ]),
        _ => random.below(MEMORY),
    }
}
